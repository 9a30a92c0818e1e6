//! What shards and the control thread say to each other. One queue a receiver, first in first out: what an owner
//! answers to a join and what it publishes travel the same road, so that nothing can overtake.

use crate::api::connections::{Connection, Detail, Listing};
use crate::api::disconnect::Kick;
use crate::config::policy::Policies;
use crate::conn::subscriptions::Subscription;
use crate::dialect::cursor::Cursor;
use crate::dialect::native::Refused;
use crate::hub::ShardId;
use crate::hub::broker::{Ask, Refusal, Told};
use crate::hub::channels::ChannelPart;
use crate::hub::distant;
use crate::hub::owned::Joined;
use crate::hub::publication::Publication;
use crate::hub::ranking::Top;
use crate::hub::users::Change;
use crate::metrics::Counters;
use crate::metrics::heap::Heap;
use crate::metrics::look::Look;
use crate::proto::origin::OriginPolicy;
use crate::tokens::{Demands, Keys};
use std::sync::Arc;

pub use crate::hub::conn_key::ConnKey;
pub use crate::hub::publisher::{Publisher, RequestId};

/// To a shard.
#[derive(Debug)]
pub enum Mail {
    /// To an owner: a connection joins.
    Join {
        /// Who.
        conn: ConnKey,
        /// The channel as the sender knows it, and which of its joins this is.
        subscription: Subscription,
        /// Its name.
        name: Arc<str>,
        /// Where the client left off.
        since: Option<Cursor>,
        /// To be echoed.
        id: RequestId,
    },
    /// From an owner: the join is done.
    Joined {
        /// Who.
        conn: ConnKey,
        /// As it was asked for.
        subscription: Subscription,
        /// Where it stands.
        joined: Joined,
        /// To be echoed.
        id: RequestId,
    },
    /// To an owner: a connection has taken what it got of its past, and there is more.
    Replay {
        /// Who.
        conn: ConnKey,
        /// To be given back with the answer.
        serial: u32,
        /// The channel.
        name: Arc<str>,
        /// Up to where the client has everything.
        since: Cursor,
    },
    /// From an owner: the next of what was missed.
    Replayed {
        /// Who.
        conn: ConnKey,
        /// The request's.
        serial: u32,
        /// The publications, and the channel's head.
        joined: Joined,
    },
    /// To an owner: nobody of `shard` follows the channel any more.
    Leave {
        /// The sender.
        shard: ShardId,
        /// The channel.
        name: Arc<str>,
    },
    /// To an owner and back: an answer that must not come before the owner's own to what was asked earlier takes the
    /// same road.
    Later {
        /// Whom to answer.
        conn: ConnKey,
        /// The channel.
        name: Arc<str>,
        /// The answer.
        answer: LateAnswer,
        /// To be echoed.
        id: RequestId,
        /// On the way back already.
        returning: bool,
    },
    /// To an owner: a publication to be numbered, unless it is known already.
    Publish {
        /// The channel.
        name: Box<str>,
        /// Valid JSON.
        data: Box<str>,
        /// What it is the latest of.
        key: Option<Arc<str>>,
        /// Who waits for the outcome.
        publisher: Publisher,
    },
    /// From an owner: what became of the publication of a client.
    Published {
        /// Who.
        conn: ConnKey,
        /// The channel.
        name: Arc<str>,
        /// Its number, or why it has none.
        offset: Result<u64, Refusal>,
        /// To be echoed.
        id: RequestId,
    },
    /// From an owner: for everyone who follows the channel.
    Publication(Publication),
    /// From an owner: what comes next does not follow what came, and everyone who follows the channel comes back for it.
    Break {
        /// The channel.
        name: Arc<str>,
        /// Where those stand who got everything that came.
        last: Cursor,
    },
    /// From an owner: it cannot answer the join, because the broker is away.
    NotJoined {
        /// Who.
        conn: ConnKey,
        /// As it was asked for.
        subscription: Subscription,
        /// To be echoed.
        id: RequestId,
    },
    /// From the broker, to an owner or to all.
    Told(Box<Told>),
    /// To an owner: so many connections of `shard` follow the channel now, whose policy has them counted.
    Present {
        /// The sender.
        shard: ShardId,
        /// The channel.
        name: Arc<str>,
        /// How many.
        count: u32,
        /// How many more or fewer each user has of them than when it last told.
        users: Vec<Change>,
    },
    /// From an owner: for everyone who follows the channel, and without a number.
    Notice {
        /// The channel.
        name: Arc<str>,
        /// The whole WebSocket frame.
        frame: Arc<[u8]>,
    },
    /// From the control thread.
    Ask {
        /// To be given back with the answer.
        ticket: u64,
        /// What it wants to know.
        question: Question,
    },
    /// From the control thread: these connections are to end.
    Disconnect {
        /// To be given back with the number of them.
        ticket: u64,
        /// Whose, and how soon.
        kick: Box<Kick>,
    },
    /// From the control thread: these take the place of what it was told at the start.
    Reload(Arc<Rules>),
    /// From the control thread: say goodbye.
    Drain(DrainOrder),
    /// From the control thread: say no more goodbyes; those who are still here stay.
    Resume,
}

/// To whom a shard says goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOrder {
    /// The goodbyes are spread over so many milliseconds.
    pub over_ms: u64,
    /// So many in a hundred of those who are connected go. With 100 nobody comes in any more either.
    pub percent: u8,
    /// Those who came first go; else any.
    pub oldest: bool,
    /// The process ends behind it.
    pub leaves: bool,
}

impl DrainOrder {
    /// All go, and the process ends.
    #[must_use]
    pub fn to_leave(over_ms: u64) -> Self {
        Self { over_ms, percent: 100, oldest: false, leaves: true }
    }

    /// Whether nobody is to stay.
    #[must_use]
    pub fn is_for_all(self) -> bool {
        self.percent >= 100
    }
}

/// What a running shard may be told anew. It holds for what clients ask for from then on.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Payload bytes of a client's message.
    pub message_bytes_max: usize,
    /// See [`crate::limits::Limits::queue_soft_bytes`].
    pub queue_soft_bytes: usize,
    /// See [`crate::limits::Limits::queue_soft_for_ms`].
    pub queue_soft_for_ms: u64,
    /// See [`crate::limits::Limits::queue_hard_bytes`].
    pub queue_hard_bytes: usize,
    /// See [`crate::limits::Limits::age_max_ms`].
    pub age_max_ms: u64,
    /// What clients may do, by channel.
    pub policies: Policies,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// What tokens may be signed with.
    pub keys: Arc<Keys>,
    /// What is asked of a token beside its signature.
    pub demands: Arc<Demands>,
    /// Serve `/echo`.
    pub echo: bool,
    /// Serve the demo page.
    pub demo: bool,
}

/// An answer that waits for its turn. What it tells of is done already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LateAnswer {
    /// `unsubscribed`.
    Unsubscribed,
    /// `error`.
    Refused(Refused),
    /// `presence`: the owner says how many follow the channel on other shards.
    Presence {
        /// So many.
        beside: u64,
        /// The users that follow it on any shard.
        users: Option<Vec<Arc<str>>>,
    },
}

/// What the control thread may ask a shard.
#[derive(Debug, Clone)]
pub enum Question {
    /// Its counters.
    Counters,
    /// Its counters, and who reads too slowly.
    Look,
    /// One channel.
    Channel(Arc<str>),
    /// All channels whose names begin so.
    Channels {
        /// The beginning.
        prefix: Arc<str>,
    },
    /// What its memory is spent on, and its largest channels. The reactor puts in what it owns beside the shard before it hands the question over.
    Density(Box<Heap>),
    /// Who is at the top of its connections.
    Connections(Listing),
    /// One connection.
    Connection(ConnKey),
}

/// To the control thread.
#[derive(Debug)]
pub enum Report {
    /// What became of a publication of a call.
    Published {
        /// The call.
        ticket: u64,
        /// Which of its publications.
        index: u32,
        /// Where the channel stands after it, or why it has no number.
        outcome: Result<Cursor, Refusal>,
    },
    /// An answer to [`Mail::Ask`].
    Answer {
        /// The question's.
        ticket: u64,
        /// Who answers.
        shard: ShardId,
        /// What it knows.
        answer: Answer,
    },
    /// Another node asks this one.
    Asked {
        /// Which.
        node: Box<str>,
        /// To be given back with the answer.
        ticket: u64,
        /// What it wants to know.
        question: distant::Question,
    },
    /// Another node answers.
    Heard {
        /// That of the question.
        ticket: u64,
        /// What it says.
        part: distant::Part,
    },
    /// A drain is over here: everyone is gone, or the time is.
    Stopped {
        /// Which.
        shard: ShardId,
    },
}

/// What a shard answers.
#[derive(Debug)]
pub enum Answer {
    /// Its counters.
    Counters(Box<Counters>),
    /// Its counters, and who reads too slowly.
    Look(Box<Look>),
    /// Its part of what is known of channels.
    Channels {
        /// Name, subscribers in this shard, and the cursor if this shard is the owner.
        channels: Vec<ChannelPart>,
        /// There are more than [`crate::limits::CHANNELS_LISTED_MAX`].
        truncated: bool,
    },
    /// What its memory is spent on, and its largest channels.
    Density {
        /// Its connections.
        connections: u64,
        /// The bytes.
        heap: Box<Heap>,
        /// The channels.
        top: Top,
    },
    /// Who is at the top of its connections.
    Connections {
        /// As many as were asked for, the topmost first.
        connections: Vec<Connection>,
        /// How many there are.
        total: u64,
    },
    /// All about one connection; None where nobody has that id.
    Connection(Option<Box<Detail>>),
    /// How many connections end; None where so many calls are being carried out that none does.
    Disconnected(Option<u64>),
}

/// Something to be carried out of a shard at the end of a turn.
#[derive(Debug)]
pub enum Parcel {
    /// To a shard.
    Shard(ShardId, Mail),
    /// To the control thread.
    Control(Report),
    /// To the broker.
    Broker(Ask),
}

// It is copied several times on its way. The largest is a publication: three texts of two words each, whoever published it
// with an id, and the kind.
const _: () = assert!(size_of::<Mail>() <= 88);

impl Mail {
    /// Bytes that it weighs in a mailbox: what a sender can make large, and a little for the rest.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let large = match self {
            Self::Publish { name, data, key, publisher } => {
                name.len() + data.len() + key.as_ref().map_or(0, |key| key.len()) + publisher.bytes()
            }
            Self::Publication(publication) => publication.bytes(),
            Self::Joined { joined, id, .. } => joined.bytes() + id.as_ref().map_or(0, |id| id.len()),
            Self::Replayed { joined, .. } => joined.bytes(),
            Self::Join { id, .. }
            | Self::NotJoined { id, .. }
            | Self::Later { id, .. }
            | Self::Published { id, .. } => id.as_ref().map_or(0, |id| id.len()),
            Self::Told(told) => told.bytes(),
            Self::Notice { frame, .. } => frame.len(),
            Self::Present { users, .. } => users.len() * size_of::<Change>(),
            Self::Replay { .. }
            | Self::Break { .. }
            | Self::Leave { .. }
            | Self::Ask { .. }
            | Self::Disconnect { .. }
            | Self::Reload(_)
            | Self::Drain(_)
            | Self::Resume => 0,
        };
        size_of::<Self>() + large
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::subscriptions::ChannelId;
    use crate::dialect::cursor::Epoch;
    use crate::hub::owned::Recovery;

    #[test]
    fn an_answer_weighs_the_list_of_what_was_missed_and_not_the_publications() {
        let frame: Arc<[u8]> = Arc::from(vec![0; 10_000]);
        let weight = |count| {
            let conn = ConnKey { shard: ShardId(0), slot: 0, generation: 0 };
            let cursor = Cursor { epoch: Epoch(1), offset: 9 };
            let recovery =
                Recovery { missed: vec![frame.clone(); count], ..Recovery::nothing_missed(cursor) };
            let joined = Joined { cursor, recovery: Some(Box::new(recovery)) };
            let subscription = Subscription::joining(ChannelId(0), 0);
            let answer = Mail::Joined { conn, subscription, joined: joined.clone(), id: Some("12".into()) };
            assert_eq!(answer.bytes(), Mail::Replayed { conn, serial: 0, joined }.bytes() + 2);
            answer.bytes()
        };
        assert_eq!(weight(100), weight(0) + 1_600);
    }
}
