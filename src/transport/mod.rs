//! Floor 1: how what is said looks on each way to a client. A WebSocket has its frames (`proto::frame`); here are the two ways for
//! those that cannot have one. Must never know who is told what, nor when.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]
#![doc = include_str!("README.md")]

pub mod poll;
pub mod sse;
