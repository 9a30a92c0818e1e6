#![doc = include_str!("README.md")]

pub mod cli;
pub mod config;
pub mod disconnect;
pub mod limits;
pub mod node;
pub mod proto;
