//! Floor 0: bytes to meaning and back. Knows no socket, no clock, no channel and no connection.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]
#![doc = include_str!("README.md")]

pub mod answer;
pub mod authority;
pub mod body;
pub mod channel_name;
pub mod close;
pub mod decoder;
mod fault;
pub mod frame;
pub mod handshake;
mod header;
pub mod http;
pub mod mask;
pub mod origin;
pub mod query;
pub mod sse;
pub mod target;
pub mod utf8;
