//! What the nodes of a cluster ask each other, and what they answer: each for itself. Must never know how that travels.

use super::channels::ChannelPart;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a node asks all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// All channels whose names begin so.
    Channels(Arc<str>),
    /// One channel.
    Channel(Arc<str>),
    /// To end connections: the body of the call.
    Disconnect(String),
}

/// What one of them answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What it knows of the channels.
    Channels {
        /// Each with the subscribers there.
        channels: Vec<ChannelPart>,
        /// There are more.
        truncated: bool,
    },
    /// Connections that end there.
    Disconnected {
        /// How many.
        count: u64,
        /// Some shards there take no further call.
        busy: bool,
    },
}
