//! Floor 0: bytes to meaning and back. Knows no socket, no clock, no channel and no connection.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]
#![doc = include_str!("README.md")]

pub mod answer;
pub mod authority;
pub mod body;
pub mod channel_name;
pub mod handshake;
pub mod http;
pub mod origin;
pub mod query;
pub mod target;
