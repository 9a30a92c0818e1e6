//! Shards and clients without a WebSocket, driven by hand: a test moves the clock, and says when mail arrives and what sockets
//! take.

use crate::line::{Line, behind_head};
use crate::{ENDED, NOW, READY, settings};
use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule, Slow};
use roost::dialect::cursor::Cursor;
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::limits::Limits;
use roost::metrics::{Counters, Transport};
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Publisher, Report};
use roost::shard::{Next, Settings, Shard};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Publications that a channel keeps.
pub(crate) const HISTORY: u64 = 8;

/// A client of shard 0.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) line: Line,
    pub(crate) token: Token,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// An answer that is whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) keeps: bool,
    pub(crate) body: Value,
}

impl Answer {
    /// What was answered to a poll: the offsets of its messages, and the place in a channel.
    pub(crate) fn polled(&self, channel: &str) -> (Vec<u64>, String) {
        assert_eq!(self.status, 200, "{self:?}");
        let messages = self.body["messages"].as_array().unwrap().iter();
        let offsets = messages.filter(|message| message["channel"] == channel);
        let offsets = offsets.map(|message| message["offset"].as_u64().unwrap()).collect();
        (offsets, self.body["cursors"][channel].as_str().unwrap().to_owned())
    }
}

impl Client {
    /// The blocks of its stream, the opening first; demands that the last one is whole.
    pub(crate) fn blocks(&self) -> Vec<String> {
        let got = self.line.0.borrow().got.clone();
        let text = String::from_utf8(behind_head(&got).expect("a head").to_vec()).unwrap();
        let blocks: Vec<&str> = text.split("\n\n").collect();
        let Some(("", whole)) = blocks.split_last().map(|(last, whole)| (*last, whole)) else {
            panic!("it ends in the middle of a block: {blocks:?}")
        };
        whole.iter().map(|&block| block.to_owned()).collect()
    }

    /// The events of its stream, behind an opening.
    pub(crate) fn events(&self) -> Vec<Event> {
        let blocks = self.blocks();
        assert!(blocks[0].starts_with("retry: ") && blocks[0].contains("\nid: "), "{blocks:?}");
        let event = |block: &String| {
            let values = |name| block.lines().filter_map(move |line| line.strip_prefix(name));
            let data = values("data: ").collect::<Vec<_>>().join("\n");
            (!data.is_empty()).then(|| Event {
                kind: values("event: ").next().unwrap().to_owned(),
                id: values("id: ").next().map(str::to_owned),
                data: serde_json::from_str(&data).unwrap(),
            })
        };
        blocks[1..].iter().filter_map(event).collect()
    }

    /// The places in its last `id`.
    pub(crate) fn places(&self) -> Vec<String> {
        let blocks = self.blocks();
        let id =
            blocks.iter().rev().find_map(|block| block.lines().find_map(|line| line.strip_prefix("id: ")));
        id.expect("an id").split(',').map(str::to_owned).collect()
    }

    /// What it heard of each of its channels, as first and last offset of a notification or a gap. Demands that nothing is missing
    /// behind the opening, and that every event says where the client stands in all channels then.
    pub(crate) fn stories(&self, channels: &[&str]) -> Vec<Vec<(u64, u64)>> {
        let blocks = self.blocks();
        let opening = blocks[0].lines().find_map(|line| line.strip_prefix("id: ")).expect("an id");
        let mut places: Vec<String> = opening.split(',').map(str::to_owned).collect();
        assert_eq!(places.len(), channels.len(), "{opening}");
        let mut stories = vec![Vec::new(); channels.len()];
        for event in self.events() {
            let number = |member: &str| event.data[member].as_u64().unwrap();
            let (from, to) = match &*event.kind {
                "gap" => (number("from"), number("to")),
                "notification" => (number("offset"), number("offset")),
                other => panic!("{other}"),
            };
            assert_eq!(event.data["type"], event.kind);
            let at = channels.iter().position(|name| event.data["channel"] == *name).unwrap();
            let (epoch, offset) = places[at].split_once('-').unwrap();
            assert_eq!(from, offset.parse::<u64>().unwrap() + 1, "{channels:?} from {opening}: {event:?}");
            places[at] = format!("{epoch}-{to}");
            assert_eq!(event.id, Some(places.join(",")), "{channels:?} from {opening}");
            assert!(event.kind != "gap" || event.data["cursor"] == *places[at], "{event:?}");
            stories[at].push((from, to));
        }
        stories
    }

    /// Every answer that is whole.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        let got = self.line.0.borrow().got.clone();
        let (mut rest, mut answers) = (&got[..], Vec::new());
        while let Some(body) = behind_head(rest) {
            let head = String::from_utf8(rest[..rest.len() - body.len()].to_vec()).unwrap();
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
            let length = header("Content-Length: ").map_or(0, |length| length.parse().unwrap());
            let Some(json) = body.get(..length) else { break };
            answers.push(Answer {
                status: head["HTTP/1.1 ".len()..][..3].parse().unwrap(),
                keeps: header("Connection: ") == Some("keep-alive"),
                body: serde_json::from_slice(json).unwrap_or_default(),
            });
            rest = &body[length..];
        }
        answers
    }

    /// From now on it takes so many bytes.
    pub(crate) fn take(&self, bytes: usize) {
        self.line.0.borrow_mut().room = bytes;
    }

    /// Whether the node has ended its side.
    pub(crate) fn is_finished(&self) -> bool {
        self.line.0.borrow().finished
    }
}

/// Clients are in shard 0. Channels whose names begin with a policy's word have that policy; those that begin with `room:` have
/// presence, and clients may publish there; those that begin with `deep:` keep everything.
pub(crate) struct World {
    pub(crate) shards: Vec<Shard<Line>>,
    names: Names,
    pub(crate) now: Now,
    /// When each shard wanted its next turn.
    pub(crate) asks_for: Vec<Next>,
}

impl World {
    pub(crate) fn new(shards: u16) -> Self {
        Self::with(shards, Limits::default())
    }

    pub(crate) fn with(shards: u16, limits: Limits) -> Self {
        let mut rules = BTreeMap::new();
        for slow in Slow::ALL {
            let rule =
                PolicyRule { slow: Some(slow), history: Some(HISTORY as usize), ..PolicyRule::default() };
            rules.insert(slow.to_string(), rule);
        }
        rules.insert("deep:".to_owned(), PolicyRule { history: Some(1_000), ..PolicyRule::default() });
        let room =
            PolicyRule { presence: Some(true), clients_may_publish: Some(true), ..PolicyRule::default() };
        rules.insert("room:".to_owned(), room);
        let policies = Policies::new(&rules).expect("good prefixes");
        let shard = |id| {
            Shard::new(Settings {
                limits: limits.clone(),
                policies: policies.clone(),
                ..settings(id, shards)
            })
        };
        let shards = (0..shards).map(shard).collect();
        Self { shards, names: Names::new(1), now: NOW, asks_for: Vec::new() }
    }

    /// Channels that begin like this and have this owner.
    pub(crate) fn channels(&self, prefix: &str, owner: u16) -> impl Iterator<Item = String> + use<> {
        let (names, shards, prefix) = (self.names, self.shards.len() as u16, prefix.to_owned());
        (0..)
            .map(move |number| format!("{prefix}{number}"))
            .filter(move |name| names.owner(name, shards) == ShardId(owner))
    }

    pub(crate) fn channel(&self, prefix: &str, owner: u16) -> String {
        self.channels(prefix, owner).next().unwrap()
    }

    /// A client that says this, and takes everything.
    pub(crate) fn connect(&mut self, bytes: impl AsRef<[u8]>) -> Client {
        let client = self.connect_late(bytes);
        self.settle();
        client
    }

    /// As [`World::connect`]; mail waits.
    pub(crate) fn connect_late(&mut self, bytes: impl AsRef<[u8]>) -> Client {
        let line = Line::sending(bytes);
        let token = self.shards[0].insert(self.now, line.clone()).expect("there is room");
        self.shards[0].ready(self.now, token, READY);
        Client { line, token }
    }

    /// A stream of events.
    pub(crate) fn stream(&mut self, query: &str) -> Client {
        self.connect(get(&format!("/events?{query}")))
    }

    /// It says something more.
    pub(crate) fn say(&mut self, client: &Client, bytes: impl AsRef<[u8]>) {
        client.line.0.borrow_mut().sends.extend(bytes.as_ref());
        self.shards[0].ready(self.now, client.token, READY);
        self.settle();
    }

    /// The client ends its side.
    pub(crate) fn hang_up(&mut self, client: &Client) {
        client.line.0.borrow_mut().ended = true;
        self.shards[0].ready(self.now, client.token, ENDED);
        self.settle();
    }

    /// The client takes so many bytes more.
    pub(crate) fn read(&mut self, client: &Client, bytes: usize) {
        self.read_late(client, bytes);
        self.settle();
    }

    /// As [`World::read`]; mail waits.
    pub(crate) fn read_late(&mut self, client: &Client, bytes: usize) {
        client.take(bytes);
        self.shards[0].ready(self.now, client.token, READY);
    }

    pub(crate) fn publish(&mut self, channel: &str, key: Option<&str>, bytes: usize) -> Cursor {
        self.publish_late(channel, key, bytes);
        match self.settle()[..] {
            [Report::Published { outcome: Ok(cursor), .. }] => cursor,
            ref other => panic!("not the outcome: {other:?}"),
        }
    }

    /// The owner numbers a publication; mail waits.
    pub(crate) fn publish_late(&mut self, channel: &str, key: Option<&str>, bytes: usize) {
        let owner = usize::from(self.shards[0].owner(channel).0);
        let data = json!("x".repeat(bytes)).to_string().into();
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        let mail = Mail::Publish { name: channel.into(), data, key: key.map(Into::into), publisher };
        self.shards[owner].mail(self.now, mail);
    }

    /// Turns and mail until nothing moves.
    pub(crate) fn settle(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while self.step(&mut reports) {}
        reports
    }

    /// One turn of each shard, and their mail. False when nothing moved.
    pub(crate) fn step(&mut self, reports: &mut Vec<Report>) -> bool {
        let mut moved = false;
        self.asks_for.clear();
        for id in 0..self.shards.len() {
            let next = self.shards[id].turn(self.now);
            self.asks_for.push(next);
            moved |= next == Next::Now;
            let parcels: Vec<Parcel> = self.shards[id].parcels().collect();
            moved |= !parcels.is_empty();
            for parcel in parcels {
                match parcel {
                    Parcel::Shard(to, mail) => self.shards[usize::from(to.0)].mail(self.now, mail),
                    Parcel::Control(report) => reports.push(report),
                    Parcel::Broker(ask) => unreachable!("a node without a broker asks {ask:?}"),
                }
            }
        }
        moved
    }

    /// One turn of a shard; returns the mail that it sends to others.
    pub(crate) fn turn(&mut self, shard: usize) -> Vec<Mail> {
        self.shards[shard].turn(self.now);
        let to_shard = |parcel| match parcel {
            Parcel::Shard(_, mail) => Some(mail),
            Parcel::Control(_) | Parcel::Broker(_) => None,
        };
        self.shards[shard].parcels().filter_map(to_shard).collect()
    }

    /// Mail arrives at a shard.
    pub(crate) fn carry(&mut self, shard: usize, mail: Vec<Mail>) {
        mail.into_iter().for_each(|mail| self.shards[shard].mail(self.now, mail));
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.settle();
    }

    pub(crate) fn counters(&self) -> Counters {
        self.shards[0].counters()
    }

    /// How many clients there are of a transport.
    pub(crate) fn count(&self, transport: Transport) -> u64 {
        self.counters().transports[transport.index()]
    }
}

/// A request without a body.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: node\r\n\r\n")
}

/// The head of a request whose body has so many bytes.
pub(crate) fn post(bytes: usize) -> String {
    format!(
        "POST /poll HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
    )
}
