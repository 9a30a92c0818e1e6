//! `GET /status` and each event of `GET /status/events`: the node at one look, as one JSON document. Must never look itself:
//! shards and kernel have spoken already.

use super::density::{Figure, Parts, Sizes};
use super::pace::{Growth, Pace};
use crate::disconnect::{Disconnect, Fault};
use crate::hub::ranking::Top;
use crate::limits::{SLOWEST_LISTED_MAX, STATUS_CHANNELS_MAX};
use crate::metrics::heap::Heap;
use crate::metrics::look::{Laggard, Look};
use crate::metrics::memory::{Process, SocketObjects};
use crate::metrics::{Counters, Transport};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What does not change between two looks, or is known without asking anybody.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: Box<str>,
    /// Whether it takes connections.
    pub ready: bool,
    /// The drain, if there is one: over how many milliseconds the goodbyes are spread, and in how many from now the last one is said.
    pub drain: Option<(u64, u64)>,
    /// Time since it began to serve, in milliseconds.
    pub uptime_ms: u64,
    /// The moment of the look, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Connections that it may hold.
    pub connections_max: u64,
    /// Bytes that may be queued to all connections.
    pub queued_bytes_max: u64,
    /// Bytes that may be queued to one for long.
    pub queue_soft_bytes: u64,
    /// The process's memory.
    pub process: Option<Process>,
    /// What the kernel makes for a connection.
    pub socket: SocketObjects,
    /// Who watches.
    pub watchers: usize,
}

/// One shard's answer to a look.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What it shows.
    pub look: Look,
    /// How long it took to answer, in milliseconds.
    pub after_ms: u64,
    /// Bytes that wait in its mailbox.
    pub mailbox_bytes: u64,
}

/// What the last walk over all shards found.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// When it ended, in milliseconds since the node started.
    pub at_ms: u64,
    /// Connections then.
    pub connections: u64,
    /// What their memory was spent on.
    pub heap: Heap,
    /// Each shard's largest channels.
    pub tops: Vec<Top>,
}

/// The document. What is not known is `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each is described where its type is")]
pub struct Status {
    pub node: About,
    /// Where there is a drain.
    pub drain: Option<Drain>,
    /// Rates are means over so many milliseconds before the look.
    pub over_ms: u64,
    pub connections: Connections,
    pub messages: Messages,
    pub bytes: Bytes,
    pub memory: Memory,
    pub lag: Lag,
    pub shards: Vec<Shard>,
    pub channels: Channels,
    pub closes: Vec<Close>,
}

/// Which node, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in Node")]
pub struct About {
    pub name: Box<str>,
    pub version: &'static str,
    pub ready: bool,
    pub uptime_ms: u64,
    pub time_ms: u64,
    pub watchers: usize,
}

/// Clients are being sent away.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drain {
    /// The goodbyes are spread over so many milliseconds.
    pub over_ms: u64,
    /// So many milliseconds from now the last one is said.
    pub ends_in_ms: u64,
    /// Clients that are still to be told.
    pub left: u64,
}

/// How many are connected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Connections {
    /// In whatever phase.
    pub count: u64,
    /// How many there may be.
    pub max: u64,
    /// Those of them that speak, by how: the others are about to, or on their way out.
    pub transports: BTreeMap<&'static str, u64>,
    /// Accepted since the node started.
    pub accepted: u64,
    /// Turned away since the node started, for want of room or descriptors.
    pub refused: u64,
}

/// Messages, by whether they came or went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Messages {
    /// From clients.
    pub received_per_second: f64,
    /// Publications numbered, whoever published them.
    pub published_per_second: f64,
    /// Publications written or queued to subscribers.
    pub delivered_per_second: f64,
    /// The same since the node started.
    pub received: u64,
    /// See above.
    pub published: u64,
    /// See above.
    pub delivered: u64,
}

/// Bytes on the wire of the public listener.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bytes {
    /// Read from clients.
    pub received_per_second: f64,
    /// Written to clients.
    pub sent_per_second: f64,
}

/// What connections take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    /// Resident set of the process.
    pub rss_bytes: Option<u64>,
    /// What the connections themselves and their channels take of it, as the last survey found it.
    pub own: Option<Figure>,
    /// The parts of that and everything else that shards have asked of the allocator.
    pub parts: Option<Parts>,
    /// What the kernel takes on top: one set of objects for each connection.
    pub kernel: Figure,
    /// Where the sizes of those objects come from.
    pub kernel_sizes: Sizes,
    /// How old the survey is, in milliseconds.
    pub age_ms: Option<u64>,
}

/// What waits for clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lag {
    /// Weight of all queues.
    pub queued_bytes: u64,
    /// What it may be.
    pub queued_bytes_max: u64,
    /// Connections that have something queued.
    pub queues: u64,
    /// What may be queued to one connection for long.
    pub soft_bytes: u64,
    /// Connections that have more.
    pub over_soft: u64,
    /// There may be more of them: not all queues were looked at.
    pub truncated: bool,
    /// The largest queues.
    pub slowest: Vec<Slow>,
}

/// One that reads slowly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slow {
    /// Its id, as `welcome` told it.
    pub session: Box<str>,
    /// Where it lives.
    pub shard: usize,
    /// Weight of what waits for it.
    pub queued_bytes: u64,
    /// For how long that has been more than the soft bound; `null` when it is not.
    pub over_soft_ms: Option<u64>,
}

/// One shard. A silent one has nothing but its number, and `answered` false.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Shard {
    /// Its number.
    pub shard: usize,
    /// Whether it answered in time.
    pub answered: bool,
    /// How long that took, in milliseconds.
    pub answer_ms: u64,
    /// Connections.
    pub connections: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Channels that its connections follow.
    pub channels: u64,
    /// Publications written or queued to its subscribers.
    pub delivered_per_second: f64,
    /// Weight of its queues.
    pub queued_bytes: u64,
    /// Connections that have something queued.
    pub queues: u64,
    /// Its connections over the soft bound.
    pub over_soft: u64,
    /// Bytes that wait in its mailbox.
    pub mailbox_bytes: u64,
}

/// Channels of the node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Channels {
    /// How many there are: followed, or published to lately.
    pub count: u64,
    /// Subscriptions to them.
    pub subscriptions: u64,
    /// Those with the most subscribers, as the last survey found them.
    pub top: Vec<Ranked>,
}

/// A channel among the largest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// Its name.
    pub channel: Box<str>,
    /// Its subscribers in the shards where it is among the largest.
    pub subscribers: usize,
    /// It may have so many more in others.
    pub unsure: usize,
}

/// Ends of connections for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Close {
    /// As the metrics call it.
    pub reason: &'static str,
    /// The close code; 0 where the connection ends without a close frame.
    pub code: u16,
    /// Whose doing it is: `nobody`, `peer`, `network` or `node`.
    pub fault: &'static str,
    /// How many since the node started.
    pub count: u64,
}

impl Status {
    /// Adds up what was seen at `at_ms`, in milliseconds since the node started. `pace` remembers it for the next look.
    #[must_use]
    pub fn new(
        node: &Node,
        at_ms: u64,
        shards: &[Option<Seen>],
        pace: &mut Pace,
        survey: Option<&Survey>,
    ) -> Self {
        let growth = pace.growth(at_ms, &counters(shards));
        let sum = |read: fn(&Counters) -> u64| -> u64 {
            shards.iter().flatten().map(|seen| read(&seen.look.counters)).sum()
        };
        let connections = sum(|c| c.connections);
        Self {
            node: About {
                name: node.name.clone(),
                version: env!("CARGO_PKG_VERSION"),
                ready: node.ready,
                uptime_ms: node.uptime_ms,
                time_ms: node.time_ms,
                watchers: node.watchers,
            },
            drain: node.drain.map(|(over_ms, ends_in_ms)| Drain {
                over_ms,
                ends_in_ms,
                left: sum(|c| c.drain_left),
            }),
            over_ms: growth.over_ms,
            connections: Connections {
                count: connections,
                max: node.connections_max,
                transports: transports(shards),
                accepted: sum(|c| c.accepted),
                refused: sum(|c| c.accepts_refused),
            },
            messages: Messages {
                received_per_second: growth.per_second(|count| count.received),
                published_per_second: growth.per_second(|count| count.published),
                delivered_per_second: growth.per_second(|count| count.delivered),
                received: sum(|c| c.messages_received),
                published: sum(|c| c.published),
                delivered: sum(|c| c.delivered),
            },
            bytes: Bytes {
                received_per_second: growth.per_second(|count| count.bytes_received),
                sent_per_second: growth.per_second(|count| count.bytes_sent),
            },
            memory: Memory::new(node, at_ms, connections, survey),
            lag: Lag::new(node, shards),
            shards: shards.iter().enumerate().map(|(index, seen)| Shard::new(index, seen, &growth)).collect(),
            channels: Channels {
                count: sum(|c| c.channels_owned),
                subscriptions: sum(|c| c.subscriptions),
                top: survey.map_or_else(Vec::new, |survey| rank(&survey.tops)),
            },
            closes: closes(shards),
        }
    }

    /// One event of the stream: the document on one line.
    #[must_use]
    pub fn event(&self) -> Vec<u8> {
        // Plain structs and strings cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("data: {json}\n\n").into_bytes()
    }
}

impl Memory {
    fn new(node: &Node, at_ms: u64, connections: u64, survey: Option<&Survey>) -> Self {
        let of_one: u64 = node.socket.objects.iter().map(|(_, bytes)| bytes).sum();
        let own = |survey: &Survey| {
            let Heap { slab, boxes, queues, subscriptions, channels, channels_owned, .. } = survey.heap;
            let bytes = slab + boxes + queues + subscriptions + channels + channels_owned;
            Figure::new(bytes as i64, survey.connections)
        };
        let parts = |survey: &Survey| {
            let figure = |bytes| Figure::new(bytes, survey.connections);
            Parts::new(&survey.heap, None, node.process.map(|process| process.program), figure)
        };
        Self {
            rss_bytes: node.process.map(|process| process.rss),
            own: survey.map(own),
            parts: survey.map(parts),
            kernel: Figure::new((of_one * connections) as i64, connections),
            kernel_sizes: if node.socket.measured { Sizes::Slabinfo } else { Sizes::Documented },
            age_ms: survey.map(|survey| at_ms.saturating_sub(survey.at_ms)),
        }
    }
}

impl Lag {
    fn new(node: &Node, shards: &[Option<Seen>]) -> Self {
        let looks = || shards.iter().flatten().map(|seen| &seen.look);
        let slow = |shard: usize, laggard: &Laggard| {
            let Laggard { session, queued_bytes, over_soft_ms } = laggard.clone();
            Slow { session, shard, queued_bytes, over_soft_ms }
        };
        let of_all = shards.iter().enumerate().filter_map(|(index, seen)| Some((index, seen.as_ref()?)));
        let mut slowest: Vec<Slow> = of_all
            .flat_map(|(index, seen)| seen.look.slowest.iter().map(move |laggard| slow(index, laggard)))
            .collect();
        slowest.sort_by_key(|one| Reverse(one.queued_bytes));
        slowest.truncate(SLOWEST_LISTED_MAX);
        Self {
            queued_bytes: looks().map(|look| look.counters.queued_bytes).sum(),
            queued_bytes_max: node.queued_bytes_max,
            queues: looks().map(|look| look.counters.queues).sum(),
            soft_bytes: node.queue_soft_bytes,
            over_soft: looks().map(|look| look.over_soft).sum(),
            truncated: looks().any(|look| look.truncated),
            slowest,
        }
    }
}

impl Shard {
    fn new(index: usize, seen: &Option<Seen>, growth: &Growth) -> Self {
        let Some(Seen { look, after_ms, mailbox_bytes }) = seen else {
            return Self { shard: index, ..Self::default() };
        };
        let Counters { connections, subscriptions, channels, queued_bytes, queues, .. } = look.counters;
        Self {
            shard: index,
            answered: true,
            answer_ms: *after_ms,
            connections,
            subscriptions,
            channels,
            delivered_per_second: growth.per_second_of(index, |count| count.delivered),
            queued_bytes,
            queues,
            over_soft: look.over_soft,
            mailbox_bytes: *mailbox_bytes,
        }
    }
}

/// The shards' largest channels made one list. Where a channel is not among the largest of a shard, it has no more subscribers
/// there than the largest that found no room on that shard's list.
fn rank(tops: &[Top]) -> Vec<Ranked> {
    let left_out: usize = tops.iter().map(|top| top.left_out).sum();
    let mut channels: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for top in tops {
        for (channel, subscribers) in &top.channels {
            let (sum, unsure) = channels.entry(channel).or_insert((0, left_out));
            *sum += subscribers;
            *unsure -= top.left_out;
        }
    }
    let ranked =
        |(channel, (subscribers, unsure)): (&str, _)| Ranked { channel: channel.into(), subscribers, unsure };
    let mut ranked: Vec<Ranked> = channels.into_iter().map(ranked).collect();
    ranked.sort_by_key(|one| Reverse(one.subscribers));
    ranked.truncate(STATUS_CHANNELS_MAX);
    ranked
}

fn counters(shards: &[Option<Seen>]) -> Vec<Option<&Counters>> {
    shards.iter().map(|seen| seen.as_ref().map(|seen| &seen.look.counters)).collect()
}

fn transports(shards: &[Option<Seen>]) -> BTreeMap<&'static str, u64> {
    let counters = counters(shards);
    let sum =
        |one: Transport| counters.iter().flatten().map(|counters| counters.transports[one.index()]).sum();
    Transport::ALL.into_iter().map(|one| (one.label(), sum(one))).collect()
}

fn closes(shards: &[Option<Seen>]) -> Vec<Close> {
    let close = |disconnect: Disconnect| Close {
        reason: disconnect.label(),
        code: disconnect.code(),
        fault: match disconnect.fault() {
            Fault::Nobody => "nobody",
            Fault::Peer => "peer",
            Fault::Network => "network",
            Fault::Node => "node",
        },
        count: shards.iter().flatten().map(|s| s.look.counters.disconnects.of(disconnect)).sum(),
    };
    Disconnect::ALL.into_iter().map(close).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(channels: &[(&str, usize)], left_out: usize) -> Top {
        Top { channels: channels.iter().map(|&(name, count)| (name.into(), count)).collect(), left_out }
    }

    fn node() -> Node {
        Node {
            name: "edge".into(),
            ready: true,
            drain: None,
            uptime_ms: 5_000,
            time_ms: 0,
            connections_max: 9,
            queued_bytes_max: 7,
            queue_soft_bytes: 3,
            process: None,
            socket: SocketObjects { measured: false, objects: vec![("TCP", 2000), ("filp", 300)] },
            watchers: 0,
        }
    }

    fn seen(connections: u64, session: &str, queued_bytes: u64) -> Option<Seen> {
        let counters = Counters { connections, published: 10 * connections, ..Counters::default() };
        let slowest = vec![Laggard { session: session.into(), queued_bytes, over_soft_ms: None }];
        Some(Seen { look: Look { counters, slowest, ..Look::default() }, after_ms: 2, mailbox_bytes: 1 })
    }

    #[test]
    fn channels_are_summed_over_shards_and_what_may_be_missing_is_said() {
        let tops = [top(&[("all", 10), ("a", 3)], 2), top(&[("all", 5), ("b", 4)], 1), top(&[("a", 1)], 0)];
        let ranked: Vec<_> =
            rank(&tops).into_iter().map(|one| (one.channel, one.subscribers, one.unsure)).collect();
        assert_eq!(ranked, [("all".into(), 15, 0), ("a".into(), 4, 1), ("b".into(), 4, 2)]);
        let many: Vec<_> = (0..99).map(|number| (number.to_string(), 1)).collect();
        let many: Vec<_> = many.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(rank(&[top(&many, 1)]).len(), STATUS_CHANNELS_MAX);
    }

    #[test]
    fn a_silent_shard_is_named_and_the_others_are_summed() {
        let shards = [seen(2, "0.1.1", 5), None, seen(3, "2.1.1", 50)];
        let mut pace = Pace::since_start(0, 3);
        let status = Status::new(&node(), 5_000, &shards, &mut pace, None);
        assert_eq!((status.connections.count, status.messages.published_per_second), (5, 10.0));
        let answered: Vec<bool> = status.shards.iter().map(|shard| shard.answered).collect();
        assert_eq!(answered, [true, false, true]);
        let slowest: Vec<_> = status.lag.slowest.iter().map(|slow| (&*slow.session, slow.shard)).collect();
        assert_eq!(slowest, [("2.1.1", 2), ("0.1.1", 0)]);
        assert_eq!(status.memory.kernel, Figure { bytes: 11_500, bytes_per_connection: Some(2300.0) });
        assert_eq!((status.memory.own, status.channels.top.len()), (None, 0));
    }

    #[test]
    fn an_event_is_one_line_whatever_a_channel_is_called() {
        let survey = Survey { tops: vec![top(&[("a\n\ndata: b", 1)], 0)], ..Survey::default() };
        let mut pace = Pace::since_start(0, 1);
        let status = Status::new(&node(), 1_000, &[seen(1, "0.1.1", 1)], &mut pace, Some(&survey));
        let event = String::from_utf8(status.event()).unwrap();
        assert!(event.starts_with("data: {") && event.ends_with("}\n\n"), "{event}");
        assert_eq!(event.trim_end().lines().count(), 1, "{event}");
    }
}
