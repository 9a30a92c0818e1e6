//! What the owner of a channel and the broker say to each other, where several nodes share their channels: the broker numbers
//! publications and keeps them, and every node's owner follows what its own clients want. Must never know how they travel.

use super::distant;
use super::publisher::Publisher;
use crate::dialect::cursor::{Cursor, Epoch};
use std::sync::Arc;

/// What an owner asks. Each is answered by one [`Told`] with the same name, in any order; one that cannot be answered comes back as
/// [`Told::Failed`].
#[derive(Debug)]
pub enum Ask {
    /// From now on this node wants what is published to the channel. Answered by [`Told::Stands`] once nothing can be missed any
    /// more, and again whenever that was not so for a while.
    Follow(Arc<str>),
    /// It does not any more. Not answered.
    Unfollow(Arc<str>),
    /// What is kept of the channel behind an offset, the oldest first and not all at once. Answered by [`Told::Kept`].
    Fetch {
        /// The channel.
        name: Arc<str>,
        /// What is wanted lies behind it.
        after: u64,
    },
    /// A publication. Answered by [`Told::Published`].
    Publish(Box<Draft>),
    /// Not of the broker but of all other nodes. Each that lives answers by [`Told::Heard`].
    Others {
        /// To be given back with the answers.
        ticket: u64,
        /// What this node wants to know.
        question: distant::Question,
    },
    /// What another node has asked is answered.
    Answer {
        /// Which.
        node: Box<str>,
        /// Its ticket.
        ticket: u64,
        /// What this node says.
        part: distant::Part,
    },
}

impl Ask {
    /// Bytes of a publication that it takes while it waits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Publish(draft) => draft.bytes(),
            Self::Follow(_)
            | Self::Unfollow(_)
            | Self::Fetch { .. }
            | Self::Others { .. }
            | Self::Answer { .. } => 0,
        }
    }
}

/// A publication without a number.
#[derive(Debug)]
pub struct Draft {
    /// The channel.
    pub name: Arc<str>,
    /// Valid JSON.
    pub data: Box<str>,
    /// What it is the latest of.
    pub key: Option<Arc<str>>,
    /// By which a second one of the channel is taken for the same, in the whole cluster.
    pub id: Option<Box<str>>,
    /// When it was published, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// How many publications of the channel are kept.
    pub keep: usize,
    /// For how long, in milliseconds.
    pub keep_ms: u64,
    /// Who waits for the outcome.
    pub publisher: Publisher,
}

impl Draft {
    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.publisher.bytes()
    }
}

/// What the broker tells the owner of a channel.
#[derive(Debug)]
pub enum Told {
    /// Where a channel stands. What is published from then on comes as [`Told::Incoming`], if the channel is followed.
    Stands {
        /// The channel.
        name: Arc<str>,
        /// Its head.
        cursor: Cursor,
    },
    /// What is kept of a channel behind an offset.
    Kept {
        /// The channel.
        name: Arc<str>,
        /// As it was asked for.
        after: u64,
        /// Its head.
        cursor: Cursor,
        /// The first of it, in order and without a hole. Empty when nothing behind `after` is kept.
        entries: Vec<Entry>,
    },
    /// Somebody has published to a channel that is followed.
    Incoming {
        /// The channel.
        name: Arc<str>,
        /// Which numbering its offset belongs to.
        epoch: Epoch,
        /// The publication.
        entry: Entry,
    },
    /// What became of a publication.
    Published {
        /// The channel.
        name: Arc<str>,
        /// Who waits for it.
        publisher: Publisher,
        /// Where it stands.
        outcome: Result<Cursor, Refusal>,
        /// It had been published before, with the same id.
        repeated: bool,
    },
    /// An [`Ask::Follow`] or [`Ask::Fetch`] could not be answered. Whoever is followed stays so, and is told of once the broker is back.
    Failed(Arc<str>),
    /// Another node asks; for the control thread.
    Asked {
        /// Which.
        node: Box<str>,
        /// To be given back with the answer.
        ticket: u64,
        /// What it wants to know.
        question: distant::Question,
    },
    /// Another node answers; for the control thread.
    Heard {
        /// That of the question.
        ticket: u64,
        /// What it says.
        part: distant::Part,
    },
    /// The broker is gone: publications are refused until [`Told::Back`].
    Away,
    /// It is there again. What channels are followed is known to it; each is told of by [`Told::Stands`].
    Back,
}

/// A publication with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub offset: u64,
    /// When it was published, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// What it is the latest of.
    pub key: Option<Arc<str>>,
    /// Valid JSON.
    pub data: Box<str>,
}

/// Why a publication has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room for one more channel, or too much waits already. Nobody has got it.
    Overloaded,
    /// The broker is away. Nobody has got it.
    Unavailable,
    /// The broker was lost before it answered. Whether it went out is not known; the same id may be tried again.
    Unknown,
}

impl Told {
    /// The channel that it is about; None where it is for all owners, or the control thread.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Stands { name, .. }
            | Self::Kept { name, .. }
            | Self::Incoming { name, .. }
            | Self::Published { name, .. }
            | Self::Failed(name) => Some(name),
            Self::Asked { .. } | Self::Heard { .. } | Self::Away | Self::Back => None,
        }
    }

    /// Bytes that it weighs in a mailbox.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let large = match self {
            Self::Kept { entries, .. } => entries.iter().map(Entry::bytes).sum(),
            Self::Incoming { entry, .. } => entry.bytes(),
            Self::Published { publisher, .. } => publisher.bytes(),
            Self::Stands { .. }
            | Self::Failed(_)
            | Self::Asked { .. }
            | Self::Heard { .. }
            | Self::Away
            | Self::Back => 0,
        };
        size_of::<Self>() + large
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.key.as_ref().map_or(0, |key| key.len())
    }
}
