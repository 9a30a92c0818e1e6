//! Whole connections: whatever a client sends to a node of two shards, in whatever pieces, while others publish and time passes.
//! Nothing panics; what is answered are whole HTTP answers, no more than there were requests, and then perhaps a stream or
//! frames; what waits for a client is bounded; and when it has gone nothing of it is left.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::OnceLock;

use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule};
use roost::conn::socket::Socket;
use roost::disconnect::Disconnect;
use roost::hub::names::Names;
use roost::limits::{PIPELINED_BYTES_MAX, POLL_BATCH_BYTES_MAX};
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Publisher, Report};
use roost::shard::{Next, Readiness, Settings, Shard};
use serde_json::Value;

use crate::requests::session;
use crate::rng::Rng;

/// Channels, some owned by each shard, with a past. Clients may publish to the first.
pub(crate) const CHANNELS: [&str; 4] = ["room:1", "room:2", "a", "big"];
const SHARDS: u16 = 2;
/// What may wait for one client: the last answer that its connection is kept behind, the next, and what a head takes.
const QUEUE_BYTES_MAX: usize = PIPELINED_BYTES_MAX + 2 * POLL_BATCH_BYTES_MAX + 16 * 1024;

#[derive(Debug, Default)]
struct Peer {
    sends: VecDeque<u8>,
    got: Vec<u8>,
    room: usize,
    ended: bool,
}

#[derive(Debug, Clone, Default)]
struct Line(Rc<RefCell<Peer>>);

impl Socket for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Peer { sends, ended, .. } = &mut *self.0.borrow_mut();
        let count = into.len().min(sends.len());
        into.iter_mut().zip(sends.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        if count == 0 && !*ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Peer { got, room, .. } = &mut *self.0.borrow_mut();
        let count = bytes.len().min(*room);
        *room -= count;
        got.extend_from_slice(&bytes[..count]);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect::<Vec<u8>>())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Node {
    shards: Vec<Shard<Line>>,
    inboxes: [VecDeque<Mail>; SHARDS as usize],
    now: Now,
}

impl Node {
    fn new() -> Self {
        let rule =
            PolicyRule { presence: Some(true), clients_may_publish: Some(true), ..PolicyRule::default() };
        let policies = Policies::new(&BTreeMap::from([("room:".to_owned(), rule)])).expect("a good prefix");
        let settings = |id| Settings {
            policies: policies.clone(),
            demo: true,
            ..Settings::new(id, SHARDS, Names::new(1))
        };
        let shards = (0..SHARDS).map(|id| Shard::new(settings(id))).collect();
        let now = Now { mono_ms: 3_600_000, wall_ms: 1_800_000_000_000 };
        Self { shards, inboxes: Default::default(), now }
    }

    /// With a past in every channel; returns where they stand.
    fn with_a_past() -> (Self, Vec<String>) {
        let mut node = Self::new();
        let stands = |(channel, count, bytes): (&str, u32, usize)| {
            let cursors = (0..count).map(|_| node.publish(channel, bytes)).collect::<Vec<_>>();
            node.settle();
            cursors.into_iter().next_back().flatten().expect("it is numbered")
        };
        let pasts = [3, 1, 40, 32].into_iter().zip([5, 5, 5, 3_000]);
        let heads = CHANNELS
            .into_iter()
            .zip(pasts)
            .map(|(name, (count, bytes))| (name, count, bytes))
            .map(stands)
            .collect();
        (node, heads)
    }

    /// The owner numbers a publication; it is on its way.
    fn publish(&mut self, channel: &str, bytes: usize) -> Option<String> {
        let owner = self.shards[0].owner(channel);
        let data = format!("\"{}\"", "x".repeat(bytes)).into();
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        let mail = Mail::Publish { name: channel.into(), data, key: None, publisher };
        self.shards[usize::from(owner.0)].mail(self.now, mail);
        self.carry_out(usize::from(owner.0))
    }

    /// Mail of a shard sets out; returns where the last publication stands.
    fn carry_out(&mut self, shard: usize) -> Option<String> {
        let mut cursor = None;
        for parcel in self.shards[shard].parcels() {
            match parcel {
                Parcel::Shard(to, mail) => self.inboxes[usize::from(to.0)].push_back(mail),
                Parcel::Control(Report::Published { outcome, .. }) => {
                    cursor = outcome.ok().map(|place| place.to_string());
                }
                Parcel::Control(_) => {}
                Parcel::Broker(ask) => unreachable!("a node without a broker asks {ask:?}"),
            }
        }
        cursor
    }

    fn turn(&mut self, shard: usize) -> Next {
        for mail in std::mem::take(&mut self.inboxes[shard]) {
            self.shards[shard].mail(self.now, mail);
        }
        let next = self.shards[shard].turn(self.now);
        self.carry_out(shard);
        next
    }

    fn settle(&mut self) {
        let mut moves = true;
        while moves {
            moves = false;
            for shard in 0..self.shards.len() {
                moves |= self.turn(shard) == Next::Now;
            }
            moves |= self.inboxes.iter().any(|inbox| !inbox.is_empty());
        }
    }
}

/// Where the channels stand at the beginning: the same for every connection.
pub(crate) fn heads() -> &'static [String] {
    static HEADS: OnceLock<Vec<String>> = OnceLock::new();
    HEADS.get_or_init(|| Node::with_a_past().1)
}

/// Takes what one client sends; panics where a promise is broken. Returns the statuses that it was answered with. How the bytes
/// are cut, and what happens in between, is decided by the bytes alone.
pub(crate) fn connection(bytes: &[u8]) -> Vec<u16> {
    let seed =
        bytes.iter().fold(bytes.len() as u64, |seed, &byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let (mut rng, mut node) = (Rng::new(seed), Node::with_a_past().0);
    let line = Line::default();
    let reads_slowly = rng.one_in(4);
    line.0.borrow_mut().room = if reads_slowly { 0 } else { usize::MAX };
    let token = node.shards[0].insert(node.now, line.clone()).expect("there is room");
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = rng.pick(&[1, 20, 200, rest.len()]).min(rest.len());
        let (piece, after) = rest.split_at(1 + rng.below(most));
        rest = after;
        line.0.borrow_mut().sends.extend(piece);
        ready(&mut node, token, false);
        something_happens(&mut rng, &mut node);
        if reads_slowly {
            line.0.borrow_mut().room = rng.below(10_000);
            ready(&mut node, token, false);
        }
        let queued = node.shards[0].queued_bytes();
        assert!(queued < QUEUE_BYTES_MAX, "{queued} bytes wait");
    }
    line.0.borrow_mut().room = usize::MAX;
    if rng.one_in(2) {
        node.settle();
    }
    ready(&mut node, token, false);
    something_happens(&mut rng, &mut node);
    line.0.borrow_mut().ended = true;
    ready(&mut node, token, true);
    node.settle();
    assert_nothing_is_left(&node);
    // Who takes nothing of its last answer for long does not get the rest.
    let was_cut = reads_slowly
        || [Disconnect::Protocol, Disconnect::SlowConsumer, Disconnect::HandshakeTimeout]
            .iter()
            .any(|reason| node.shards[0].counters().disconnects.of(*reason) > 0);
    let got = std::mem::take(&mut line.0.borrow_mut().got);
    let statuses = answers(&got, bytes, was_cut);
    let requests = bytes.windows(4).filter(|window| window == b"\r\n\r\n").count();
    // The beginning of one more may be refused.
    assert!(statuses.len() <= requests + 1, "{statuses:?} for {requests} requests");
    statuses
}

fn ready(node: &mut Node, token: Token, read_closed: bool) {
    let now = node.now;
    node.shards[0].ready(now, token, Readiness { readable: true, writable: true, read_closed });
    node.carry_out(0);
}

fn something_happens(rng: &mut Rng, node: &mut Node) {
    for _ in 0..rng.below(4) {
        match rng.below(8) {
            0 => {
                let channel = rng.pick(&CHANNELS);
                node.publish(channel, rng.pick(&[1, 100, 3_000]));
            }
            1 => node.now.mono_ms += rng.pick(&[1, 100, 1_000, 20_000]),
            2..6 => _ = node.turn(rng.below(SHARDS.into())),
            _ => node.settle(),
        }
    }
}

fn assert_nothing_is_left(node: &Node) {
    for shard in &node.shards {
        let counters = shard.counters();
        assert_eq!((counters.panics, counters.connections, counters.transports), (0, 0, [0; 3]));
        assert_eq!((counters.subscriptions, counters.channels, counters.signed_in), (0, 0, 0));
        assert_eq!((counters.queued_bytes, counters.queues), (0, 0));
    }
}

/// The statuses of what a client got; demands whole answers, of which only the last may be a stream or an upgrade.
fn answers(got: &[u8], said: &[u8], was_cut: bool) -> Vec<u16> {
    let (mut rest, mut statuses, mut ends) = (got, Vec::new(), false);
    while !rest.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(rest).unwrap_or_else(|error| panic!("{error}: {}", text(rest)));
        let httparse::Status::Complete(length) = parsed else {
            assert!(was_cut, "half a head: {}", text(rest));
            break;
        };
        assert!(!ends, "an answer behind the last: {}", text(rest));
        let header = |name: &str| {
            let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| str::from_utf8(header.value).unwrap())
        };
        let status = answer.code.unwrap();
        rest = &rest[length..];
        if status == 100 {
            continue;
        }
        statuses.push(status);
        ends = header("connection").is_some_and(|value| value.contains("close"));
        if status == 101 {
            break;
        }
        if header("content-type") == Some("text/event-stream") {
            assert_events(rest, was_cut);
            break;
        }
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        if said.windows(5).any(|window| window == b"HEAD ")
            && (rest.is_empty() || rest.starts_with(b"HTTP/1.1 "))
        {
            continue;
        }
        let Some(body) = rest.get(..length) else {
            assert!(was_cut, "half a body: {}", text(rest));
            break;
        };
        if header("content-type") == Some("application/json") {
            assert_json(status, body);
        }
        rest = &rest[length..];
    }
    statuses
}

fn assert_json(status: u16, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", text(body)));
    let is_poll = body["messages"].is_array() && body["cursors"].is_object();
    match status {
        200 => assert!(is_poll || body["type"].is_string(), "{body}"),
        _ => assert!(body["error"]["code"].is_string(), "{body}"),
    }
}

/// An opening, and then events that know their place.
fn assert_events(bytes: &[u8], was_cut: bool) {
    let text = str::from_utf8(bytes).unwrap();
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    let begun = blocks.pop().unwrap();
    assert!(begun.is_empty() || was_cut, "half an event: {begun}");
    for (number, block) in blocks.into_iter().filter(|block| *block != ":").enumerate() {
        let is_opening = block.starts_with("retry: ") && block.contains("\nid: ");
        let is_event = block.starts_with("event: ") && block.contains("\ndata: {");
        assert!(if number == 0 { is_opening } else { is_event }, "{block}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).collect()
}

#[test]
fn whatever_a_client_sends_is_answered_whole_and_leaves_nothing_behind() {
    let mut seen = BTreeMap::new();
    for seed in 0..SEEDS {
        let bytes = session(&mut Rng::new(seed));
        let outcome = std::panic::catch_unwind(|| connection(&bytes));
        let statuses = outcome.unwrap_or_else(|panic| {
            eprintln!("seed {seed}: {}", String::from_utf8_lossy(&bytes));
            std::panic::resume_unwind(panic)
        });
        statuses.into_iter().for_each(|status| *seen.entry(status).or_insert(0) += 1);
    }
    // Sessions that were all refused at their first byte would test little.
    for status in [101, 200, 204, 304, 400, 403, 404, 405, 408, 413, 415, 431, 501, 505] {
        assert!(seen.contains_key(&status), "no {status} among {seen:?}");
    }
    assert!(seen[&200] > SEEDS, "{seen:?}");
}

const SEEDS: u64 = 3_000;
