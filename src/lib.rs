#![doc = include_str!("README.md")]

pub mod api;
pub mod bench;
pub mod clock;
pub mod config;
pub mod conn;
pub mod control;
pub mod dialect;
pub mod disconnect;
pub mod hub;
pub mod limits;
pub mod metrics;
pub mod node;
pub mod proto;
pub mod reactor;
pub mod shard;
pub mod sys;
