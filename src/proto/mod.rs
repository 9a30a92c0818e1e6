//! Floor 0: bytes to meaning and back. Knows no socket, no clock, no channel and no connection.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod close;
pub mod decoder;
mod fault;
pub mod frame;
mod header;
pub mod mask;
pub mod utf8;
