#![doc = include_str!("README.md")]

pub mod config;
pub mod bench;
pub mod disconnect;
pub mod limits;
pub mod proto;
pub mod sys;
