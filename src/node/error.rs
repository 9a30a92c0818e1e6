//! Why a node does not start, in words that name the thing, its place and the fix. Must never know how it is started.

use super::passed::Misfit;
use crate::capacity::Shortage;
use std::os::fd::RawFd;
use std::{fmt, io};

/// Why a node does not start, or does not go on.
#[derive(Debug)]
pub enum NodeError {
    /// Somebody listens there already: the option that named the address, and the address.
    Taken(&'static str, String),
    /// It cannot listen there, for another reason.
    Listen(&'static str, String, io::Error),
    /// A descriptor from systemd is not what it is passed as: its number, its name, and why it is not taken.
    Passed(RawFd, String, Misfit),
    /// More connections were asked for than the host carries: how many, and the first limit in the way.
    Room(usize, Shortage),
    /// The `--origin` values.
    Origins(String),
    /// A `--token-key`.
    TokenKey(String),
    /// The `--broker`.
    Broker(String),
    /// The kernel refused something that every process may do: what, and why.
    System(&'static str, io::Error),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(option, address) => write!(
                f,
                "{option} {address}: somebody listens there already; end it, or choose another address (port 0 is any)"
            ),
            Self::Listen(option, address, error) => write!(f, "{option} {address}: {error}"),
            Self::Passed(number, name, misfit) => {
                write!(f, "descriptor {number} (`{name}`) from systemd: {misfit}")
            }
            Self::Room(wanted, shortage) => write!(f, "--max-connections {wanted}: {shortage}"),
            Self::Origins(message) => write!(f, "--origin: {message}"),
            Self::Broker(message) => write!(f, "--broker: {message}"),
            Self::TokenKey(message) => write!(f, "--token-key {message}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for NodeError {}
