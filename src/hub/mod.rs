//! Floor 2: who gets what. The channels that a shard's connections follow, and the channels that it numbers.
//! Must never know a socket or how bytes are written.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod batch;
pub mod broker;
pub mod calendar;
pub mod channels;
pub mod conn_key;
pub mod distant;
pub mod events;
pub mod history;
pub mod ids;
mod kept;
pub mod latest;
pub mod mirror;
pub mod names;
pub mod owned;
pub mod presence;
pub mod publication;
pub mod publisher;
pub mod ranking;
pub mod recency;
pub mod subscribers;
pub mod users;

use crate::limits::Limits;
use history::Bounds;
use names::Names;

/// A shard's number, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A shard's part of the hub.
#[derive(Debug)]
pub struct Hub {
    /// The channels that connections of this shard follow.
    pub channels: channels::Channels,
    /// The channels that this shard numbers.
    pub owned: owned::Owned,
    /// Who follows those whose policy asks for it.
    pub presence: presence::Presence,
    names: Names,
    shards: u16,
}

impl Hub {
    /// An empty hub. `names` is the node's, the same for every shard: it decides who owns a channel. `epoch` starts
    /// the numbering of epochs and differs from shard to shard and run to run. `limits` are the node's.
    #[must_use]
    pub fn new(shards: u16, names: Names, epoch: u64, limits: &Limits) -> Self {
        Self {
            channels: channels::Channels::new(names),
            owned: owned::Owned::new(names, epoch, history_bounds(shards, limits), id_bounds(shards, limits)),
            presence: presence::Presence::new(names),
            names,
            shards,
        }
    }

    /// The shard that numbers the publications of a channel.
    #[must_use]
    pub fn owner(&self, channel: &str) -> ShardId {
        self.names.owner(channel, self.shards)
    }
}

/// A shard's share of the history.
fn history_bounds(shards: u16, limits: &Limits) -> Bounds {
    Bounds {
        bytes: limits.history_bytes / usize::from(shards.max(1)),
        log_bytes: limits.history_channel_bytes,
        page_bytes: limits.replay_page_bytes(),
    }
}

/// A shard's share of the ids of publications.
fn id_bounds(shards: u16, limits: &Limits) -> ids::Bounds {
    let shards = usize::from(shards.max(1));
    ids::Bounds { count: limits.publish_ids / shards, bytes: limits.publish_ids_bytes / shards }
}
