#![doc = include_str!("README.md")]

pub mod config;
pub mod disconnect;
pub mod limits;
pub mod proto;
