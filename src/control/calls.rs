//! Calls that wait for shards: what was asked, what came back, and the answer once all is there. Must never wait.

use crate::api::Reply;
use crate::api::channels::Gathered;
use crate::api::connections::{Detail, Found, Listing, single};
use crate::api::disconnect;
use crate::api::publish::{Batch, Outcome};
use crate::api::status::{Seen, Survey};
use crate::clock::Now;
use crate::dialect::cursor::Cursor;
use crate::hub::broker::Refusal as Unnumbered;
use crate::hub::distant::Part;
use crate::limits::{CALL_TIMEOUT_MS, DISTANT_TIMEOUT_MS};
use crate::metrics::Counters;
use crate::metrics::heap::Heap;
use crate::metrics::text::Format;
use crate::proto::http::Refusal;
use crate::shard::mail::Answer;
use std::sync::Arc;

/// Whom to answer: a connection's key and generation, or those who watch the status page.
pub(super) type Caller = Option<(usize, u64)>;

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    /// Whom to answer.
    pub(super) caller: Caller,
    /// The other node that asked, if one did, and its ticket.
    pub(super) distant: Option<(Box<str>, u64)>,
    /// When it is answered whatever is missing, in milliseconds since the node started.
    pub(super) due_ms: u64,
    missing: usize,
    /// Other nodes that have not answered. What they would say is left out when the time is over.
    others: usize,
    /// There are other nodes, perhaps, and no way to tell them.
    alone: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Publish {
        batch: Batch,
        outcomes: Vec<Option<Outcome>>,
    },
    Counters {
        asked_ms: u64,
        shards: Vec<Option<Counted>>,
        of: About,
    },
    Channels {
        gathered: Gathered,
        of: Of,
    },
    Survey {
        survey: Survey,
        purpose: Purpose,
    },
    Look {
        asked_ms: u64,
        shards: Vec<Option<Seen>>,
    },
    Connections(Found),
    Connection(Option<Box<Detail>>),
    /// How many end, and whether a shard took no further call.
    Disconnect {
        count: u64,
        busy: bool,
    },
}

/// What a shard has counted, and how long it took to say so.
#[derive(Debug)]
pub(super) struct Counted {
    /// Its counters.
    pub(super) counters: Box<Counters>,
    /// Milliseconds from the question to the answer.
    pub(super) after_ms: u64,
}

/// What counters are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// `GET /metrics`, as one of its formats.
    Metrics(Format),
    /// Whether the shards live.
    Life,
    /// `/drain`: how far it is.
    Drain,
}

/// What a survey is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `GET /debug/density`.
    Density,
    /// The status page.
    Status,
}

/// What is asked of channels.
#[derive(Debug)]
pub(super) enum Of {
    /// Which there are.
    All,
    /// All about one.
    Single(Arc<str>),
    /// How many follow one.
    Presence(Arc<str>),
}

/// What a finished call says.
#[derive(Debug)]
pub(super) enum Finished {
    /// An answer.
    Reply(Reply),
    /// The shards' counters, in order; None where one did not answer in time.
    Counters(Vec<Option<Counted>>, Format),
    /// The same, asked for as a sign of life.
    Life(Vec<Option<Counted>>),
    /// The same, asked for to see how far a drain is.
    Drain(Vec<Option<Counted>>),
    /// What the shards found of themselves, summed.
    Survey(Survey, Purpose),
    /// What each shard shows, in order; None where one did not answer in time.
    Look(Vec<Option<Seen>>),
}

impl Call {
    fn new(caller: Caller, due_ms: u64, missing: usize, kind: Kind) -> Self {
        Self { caller, distant: None, due_ms, missing, others: 0, alone: false, kind }
    }

    /// A publish call.
    #[must_use]
    pub(super) fn publish(caller: Caller, due_ms: u64, batch: Batch) -> Self {
        let missing = batch.publications.len();
        let outcomes = (0..missing).map(|_| None).collect();
        Self::new(caller, due_ms, missing, Kind::Publish { batch, outcomes })
    }

    /// A scrape, asked for at `asked_ms`.
    #[must_use]
    pub(super) fn counters(caller: Caller, asked_ms: u64, shards: usize, format: Format) -> Self {
        Self::of_counters(caller, asked_ms, shards, About::Metrics(format))
    }

    /// Whether all shards answer in time when they are asked at `asked_ms`.
    #[must_use]
    pub(super) fn life(asked_ms: u64, shards: usize) -> Self {
        Self::of_counters(None, asked_ms, shards, About::Life)
    }

    fn of_counters(caller: Caller, asked_ms: u64, shards: usize, of: About) -> Self {
        let kind = Kind::Counters { asked_ms, shards: (0..shards).map(|_| None).collect(), of };
        Self::new(caller, asked_ms + CALL_TIMEOUT_MS, shards, kind)
    }

    /// How far a drain is, asked at `asked_ms`.
    #[must_use]
    pub(super) fn drain(caller: Caller, asked_ms: u64, shards: usize) -> Self {
        Self::of_counters(caller, asked_ms, shards, About::Drain)
    }

    /// A look at one channel, or at many.
    #[must_use]
    pub(super) fn channels(caller: Caller, due_ms: u64, shards: usize, of: Of) -> Self {
        let kind = Kind::Channels { gathered: Gathered::default(), of };
        Self::new(caller, due_ms, shards, kind)
    }

    /// A look at what memory is spent on, by the shards and by the control thread itself.
    #[must_use]
    pub(super) fn survey(caller: Caller, due_ms: u64, shards: usize, own: Heap, purpose: Purpose) -> Self {
        let survey = Survey { heap: own, ..Survey::default() };
        Self::new(caller, due_ms, shards, Kind::Survey { survey, purpose })
    }

    /// A look at all shards, asked for at `asked_ms`.
    #[must_use]
    pub(super) fn look(caller: Caller, asked_ms: u64, shards: usize) -> Self {
        let kind = Kind::Look { asked_ms, shards: (0..shards).map(|_| None).collect() };
        Self::new(caller, asked_ms + CALL_TIMEOUT_MS, shards, kind)
    }

    /// Who is at the top of all connections.
    #[must_use]
    pub(super) fn connections(caller: Caller, due_ms: u64, shards: usize, listing: Listing) -> Self {
        Self::new(caller, due_ms, shards, Kind::Connections(Found::new(listing)))
    }

    /// All about one connection, whose shard is asked alone.
    #[must_use]
    pub(super) fn connection(caller: Caller, due_ms: u64) -> Self {
        Self::new(caller, due_ms, 1, Kind::Connection(None))
    }

    /// Connections that are to end.
    #[must_use]
    pub(super) fn disconnect(caller: Caller, due_ms: u64, shards: usize) -> Self {
        Self::new(caller, due_ms, shards, Kind::Disconnect { count: 0, busy: false })
    }

    /// Whether everything is there.
    #[must_use]
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0 && self.others == 0
    }

    /// Another node asks, by this ticket.
    #[must_use]
    pub(super) fn asked_by(self, node: Box<str>, ticket: u64) -> Self {
        Self { distant: Some((node, ticket)), ..self }
    }

    /// Nobody can be told elsewhere.
    pub(super) fn expect_nobody(&mut self) {
        self.alone = true;
    }

    /// Waits for so many other nodes as well, and not as long.
    pub(super) fn expect_others(&mut self, now: Now, others: usize) {
        if others > 0 {
            self.others = others;
            self.due_ms = self.due_ms.min(now.mono_ms + DISTANT_TIMEOUT_MS);
        }
    }

    /// Another node has answered.
    pub(super) fn heard(&mut self, part: Part) {
        match (&mut self.kind, part) {
            (Kind::Channels { gathered, .. }, Part::Channels { channels, truncated }) => {
                gathered.add(channels, truncated);
            }
            (Kind::Disconnect { count, busy }, Part::Disconnected { count: more, busy: some }) => {
                *count += more;
                *busy |= some;
            }
            // A node of another version, or of another mind.
            _ => return,
        }
        self.others = self.others.saturating_sub(1);
    }

    /// What the other node that asked is answered; None where a shard did not answer in time.
    pub(super) fn part(self) -> Option<Part> {
        match self.kind {
            _ if self.missing > 0 => None,
            Kind::Channels { gathered, .. } => {
                let (channels, truncated) = gathered.into_parts();
                Some(Part::Channels { channels, truncated })
            }
            Kind::Disconnect { count, busy } => Some(Part::Disconnected { count, busy }),
            _ => None,
        }
    }

    /// What became of one publication.
    pub(super) fn published(&mut self, index: u32, outcome: Result<Cursor, Unnumbered>) {
        let Kind::Publish { outcomes, .. } = &mut self.kind else { return };
        let place = &mut outcomes[index as usize];
        assert!(place.is_none(), "two outcomes of one publication");
        *place = Some(outcome.map_err(|why| match why {
            Unnumbered::Overloaded => overloaded(),
            Unnumbered::Unavailable => away(),
            Unnumbered::Unknown => lost(),
        }));
        self.missing -= 1;
    }

    /// One shard has answered.
    pub(super) fn answered(&mut self, now: Now, shard: usize, answer: Answer) {
        match (&mut self.kind, answer) {
            (Kind::Counters { asked_ms, shards, .. }, Answer::Counters(counters)) => {
                shards[shard] = Some(Counted { counters, after_ms: now.mono_ms - *asked_ms });
            }
            (Kind::Channels { gathered, .. }, Answer::Channels { channels, truncated }) => {
                gathered.add(channels, truncated);
            }
            (Kind::Survey { survey, .. }, Answer::Density { connections, heap, top }) => {
                survey.connections += connections;
                survey.heap += *heap;
                survey.tops.push(top);
            }
            (Kind::Look { asked_ms, shards }, Answer::Look(look)) => {
                let after_ms = now.mono_ms - *asked_ms;
                shards[shard] = Some(Seen { look: *look, after_ms, mailbox_bytes: 0 });
            }
            (Kind::Connections(found), Answer::Connections { connections, total }) => {
                found.add(connections, total);
            }
            (Kind::Connection(found), Answer::Connection(detail)) => *found = detail,
            (Kind::Disconnect { count, busy }, Answer::Disconnected(some)) => {
                *count += some.unwrap_or(0);
                *busy |= some.is_none();
            }
            (
                Kind::Publish { .. }
                | Kind::Counters { .. }
                | Kind::Channels { .. }
                | Kind::Survey { .. }
                | Kind::Look { .. }
                | Kind::Connections(_)
                | Kind::Connection(_)
                | Kind::Disconnect { .. },
                _,
            ) => {
                unreachable!("an answer to another question")
            }
        }
        self.missing -= 1;
    }

    /// The answer, with whatever is missing named.
    #[must_use]
    pub(super) fn finish(self) -> Finished {
        let complete = self.missing == 0;
        match self.kind {
            Kind::Publish { batch, outcomes } => {
                let outcomes: Vec<Outcome> =
                    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(unknown()))).collect();
                Finished::Reply(batch.reply(&outcomes))
            }
            Kind::Counters { shards, of: About::Metrics(format), .. } => Finished::Counters(shards, format),
            Kind::Counters { shards, of: About::Life, .. } => Finished::Life(shards),
            Kind::Counters { of: About::Drain, .. } if !complete => {
                Finished::Reply(Reply::refusal(&silent()))
            }
            Kind::Counters { shards, of: About::Drain, .. } => Finished::Drain(shards),
            Kind::Look { shards, .. } => Finished::Look(shards),
            // A page that shows which shard is silent shows what the others say.
            Kind::Survey { survey, purpose: Purpose::Status } => Finished::Survey(survey, Purpose::Status),
            Kind::Channels { .. } | Kind::Survey { .. } | Kind::Connections(_) | Kind::Connection(_)
                if !complete =>
            {
                Finished::Reply(Reply::refusal(&silent()))
            }
            Kind::Survey { survey, purpose } => Finished::Survey(survey, purpose),
            Kind::Connections(found) => Finished::Reply(found.reply()),
            Kind::Connection(detail) => Finished::Reply(single(detail.as_deref())),
            Kind::Disconnect { count, .. } if self.alone => Finished::Reply(Reply::refusal(&untold(count))),
            Kind::Disconnect { count, busy } => Finished::Reply(disconnect::reply(count, busy, complete)),
            Kind::Channels { gathered, of } => Finished::Reply(match of {
                Of::All => gathered.list(),
                Of::Single(name) => gathered.single(&name),
                Of::Presence(name) => gathered.presence(&name),
            }),
        }
    }
}

/// Nobody got it: the owner's mailbox or table is full.
#[must_use]
pub(super) fn overloaded() -> Refusal {
    Refusal::new(503, "overloaded", "nobody got it, try again later").with_header("Retry-After", "1")
}

/// Nobody got it, and nobody would: there is no broker.
#[must_use]
pub(super) fn away() -> Refusal {
    Refusal::new(503, "unavailable", "the broker is away: nobody got it, try again later")
        .with_header("Retry-After", "1")
}

fn untold(count: u64) -> Refusal {
    let message = format!(
        "the broker is away, so other nodes cannot be told: {count} connections of this one end; ask again when it is back"
    );
    Refusal::new(503, "unavailable", message).with_header("Retry-After", "1")
}

fn lost() -> Refusal {
    Refusal::new(
        503,
        "outcome_unknown",
        "the broker was lost before it answered: whether this went out is not known; with its `id` it may be sent again",
    )
}

fn unknown() -> Refusal {
    Refusal::new(
        503,
        "outcome_unknown",
        "a shard did not say in time whether this went out; with its `id` it may be sent again",
    )
}

fn silent() -> Refusal {
    Refusal::new(503, "unavailable", "a shard did not answer in time")
}
