//! What a connection missed and still has to get, channel by channel. Must never hold a publication: it is fetched, a page
//! at a time, when the connection has taken the page before.
//!
//! ```text
//!              the queue is empty            an owner is asked
//!   Resting ──────────────────────▶ Listed ──────────────────▶ Asked
//!      ▲                              │ the queue is not         │ the page is there
//!      └──────────────────────────────┴──────────────────────────┘
//! ```

use super::subscriptions::ChannelId;
use crate::dialect::cursor::Cursor;

/// One channel's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The channel.
    pub channel: ChannelId,
    /// Where it stands: up to here the client has everything, or was told of the gap.
    pub since: Cursor,
}

/// What happens next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    /// It goes on when the connection's queue is empty.
    #[default]
    Resting,
    /// The shard will ask for the next page of the first channel.
    Listed,
    /// The owner of the first channel was asked; the number tells its answer from earlier ones.
    Asked(u32),
}

/// All of it. At most one entry a channel that the connection follows.
#[derive(Debug, Default)]
pub struct Replays {
    /// The channels, in the order of their turns.
    waiting: Vec<Replay>,
    /// What happens next for the first of them.
    pub step: Step,
}

impl Replays {
    /// Whether there is nothing to get any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes on the heap, its own box included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.waiting.capacity() * size_of::<Replay>()
    }

    /// The channel whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<Replay> {
        self.waiting.first().copied()
    }

    /// Where a channel stands, if there is something of it to get.
    #[must_use]
    pub fn since(&self, channel: ChannelId) -> Option<Cursor> {
        self.waiting.iter().find(|replay| replay.channel == channel).map(|replay| replay.since)
    }

    /// Adds a channel.
    pub fn push(&mut self, replay: Replay) {
        self.waiting.push(replay);
    }

    /// The first channel has got everything up to `since`; the next one's turn comes.
    pub fn advance(&mut self, since: Cursor) {
        if let Some(first) = self.waiting.first_mut() {
            first.since = since;
            self.waiting.rotate_left(1);
        }
    }

    /// Takes a channel out, because it has caught up or is followed no more. What an owner was asked for it is then
    /// the answer to nothing.
    pub fn remove(&mut self, channel: ChannelId) {
        if self.waiting.first().is_some_and(|first| first.channel == channel) && self.step != Step::Listed {
            self.step = Step::Resting;
        }
        self.waiting.retain(|replay| replay.channel != channel);
    }
}
