//! Two shards driven by hand through their public verbs, with sockets that take as many bytes as a test says, and a clock that
//! a test moves.

use crate::line::{Line, behind_head, messages};
use crate::{ENDED, NOW, READY, settings};
use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule, Slow};
use roost::disconnect::Disconnect;
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::limits::Limits;
use roost::metrics::Counters;
use roost::metrics::heap::Heap;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Answer, Mail, Parcel, Publisher, Question, Report};
use roost::shard::{Next, Settings, Shard};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Publications that a channel keeps, where the test does not say otherwise.
pub(crate) const HISTORY: u64 = 8;

/// A client of shard 0.
#[derive(Debug)]
pub(crate) struct Client {
    line: Line,
    pub(crate) token: Token,
}

impl Client {
    /// From now on it takes so many bytes.
    pub(crate) fn take(&self, bytes: usize) {
        self.line.0.borrow_mut().room = bytes;
    }

    pub(crate) fn writes(&self) -> usize {
        self.line.0.borrow().writes
    }

    /// Every message so far.
    pub(crate) fn heard(&self) -> Vec<Value> {
        let got = &self.line.0.borrow().got;
        messages(behind_head(got).expect("a 101")).0
    }

    /// What it knows of a channel: notifications by offset, gaps by their ends. Demands that no offset is missing.
    pub(crate) fn story(&self, channel: &str) -> Vec<Event> {
        let mut at = None;
        let mut story = Vec::new();
        for message in self.heard().iter().filter(|message| message["channel"] == channel) {
            let number = |member: &str| message[member].as_u64().expect(member);
            let (from, to) = match message["type"].as_str().unwrap() {
                "notification" => (number("offset"), number("offset")),
                "gap" => (number("from"), number("to")),
                "subscribed" => {
                    let head = message["cursor"].as_str().unwrap().rsplit('-').next().unwrap();
                    // Whoever comes back begins before the head.
                    at = message["recovered"].is_null().then(|| head.parse().unwrap());
                    continue;
                }
                _ => continue,
            };
            assert!(at.is_none_or(|at| from == at + 1), "{from} comes behind {at:?} of {channel}");
            at = Some(to);
            if message["type"] == "gap" {
                let cursor = message["cursor"].as_str().unwrap();
                assert!(cursor.ends_with(&format!("-{to}")), "{message}");
                story.push(Event::Gap(from, to));
            } else {
                story.push(Event::Got(from));
            }
        }
        story
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Got(u64),
    Gap(u64, u64),
}

/// The client is in shard 0. Channels whose names begin with a policy's word have that policy.
pub(crate) struct World {
    pub(crate) shards: [Shard<Line>; 2],
    names: Names,
    pub(crate) now: Now,
    /// When each shard wanted its next turn.
    pub(crate) asks_for: Vec<Next>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(HISTORY as usize, Limits::default())
    }

    pub(crate) fn with(history: usize, limits: Limits) -> Self {
        let names = Names::new(1);
        let mut rules = BTreeMap::new();
        for slow in Slow::ALL {
            let rule = PolicyRule { slow: Some(slow), history: Some(history), ..PolicyRule::default() };
            rules.insert(slow.to_string(), rule);
        }
        let policies = Policies::new(&rules).expect("good prefixes");
        let shard = |id| {
            Shard::new(Settings { limits: limits.clone(), policies: policies.clone(), ..settings(id, 2) })
        };
        Self { shards: [shard(0), shard(1)], names, now: NOW, asks_for: Vec::new() }
    }

    /// Channels of a policy, owned by the client's own shard or by the other one.
    pub(crate) fn channels(&self, slow: Slow, owner: u16) -> impl Iterator<Item = String> + use<> {
        let names = self.names;
        (0..)
            .map(move |number| format!("{slow}:{number}"))
            .filter(move |name| names.owner(name, 2) == ShardId(owner))
    }

    pub(crate) fn channel(&self, slow: Slow, owner: u16) -> String {
        self.channels(slow, owner).next().unwrap()
    }

    /// A client that follows these channels and takes everything.
    pub(crate) fn client(&mut self, channels: &[&str]) -> Client {
        let query: Vec<String> = channels.iter().map(|channel| format!("channel={channel}")).collect();
        self.client_at(&format!("/live?{}", query.join("&")))
    }

    pub(crate) fn client_at(&mut self, target: &str) -> Client {
        let line = Line::asking_for(target);
        let token = self.shards[0].insert(self.now, line.clone()).expect("there is room");
        self.shards[0].ready(self.now, token, READY);
        self.settle();
        Client { line, token }
    }

    pub(crate) fn say(&mut self, client: &Client, message: &Value) {
        client.line.send(message);
        self.shards[0].ready(self.now, client.token, READY);
        self.settle();
    }

    pub(crate) fn set_visibility(&mut self, client: &Client, state: &str) {
        self.say(client, &json!({ "type": "visibility", "state": state }));
    }

    /// The client is gone.
    pub(crate) fn hang_up(&mut self, client: &Client) {
        client.line.0.borrow_mut().ended = true;
        self.shards[0].ready(self.now, client.token, ENDED);
        self.settle();
    }

    /// The client reads on: so many bytes, or everything.
    pub(crate) fn read(&mut self, client: &Client, bytes: usize) {
        client.take(bytes);
        self.shards[0].ready(self.now, client.token, READY);
        self.settle();
    }

    pub(crate) fn publish(&mut self, channel: &str, key: Option<&str>, bytes: usize) {
        let owner = usize::from(self.names.owner(channel, 2).0);
        let data = json!("x".repeat(bytes)).to_string().into();
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        let mail = Mail::Publish { name: channel.into(), data, key: key.map(Into::into), publisher };
        self.shards[owner].mail(self.now, mail);
        self.settle();
    }

    pub(crate) fn publish_many(&mut self, channel: &str, count: u64, bytes: usize) {
        (0..count).for_each(|_| self.publish(channel, None, bytes));
    }

    /// Turns and mail until nothing moves.
    pub(crate) fn settle(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            let mut moved = false;
            self.asks_for.clear();
            for id in 0..2 {
                let next = self.shards[id].turn(self.now);
                self.asks_for.push(next);
                moved |= next == Next::Now;
                let parcels: Vec<Parcel> = self.shards[id].parcels().collect();
                for parcel in parcels {
                    moved = true;
                    match parcel {
                        Parcel::Shard(to, mail) => self.shards[usize::from(to.0)].mail(self.now, mail),
                        Parcel::Control(report) => reports.push(report),
                        Parcel::Broker(ask) => unreachable!("a node without a broker asks {ask:?}"),
                    }
                }
            }
            if !moved {
                return reports;
            }
        }
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.settle();
    }

    pub(crate) fn counters(&self) -> Counters {
        self.shards[0].counters()
    }

    pub(crate) fn cut_for_lagging(&self) -> u64 {
        self.counters().disconnects.of(Disconnect::SlowConsumer)
    }

    /// What the client's shard spends its memory on.
    pub(crate) fn heap(&mut self) -> Heap {
        self.shards[0].mail(self.now, Mail::Ask { ticket: 7, question: Question::Density(Box::default()) });
        let answer = self.settle().into_iter().find_map(|report| match report {
            Report::Answer { answer: Answer::Density { heap, .. }, .. } => Some(*heap),
            Report::Answer { .. }
            | Report::Published { .. }
            | Report::Stopped { .. }
            | Report::Asked { .. }
            | Report::Heard { .. } => None,
        });
        answer.expect("an answer")
    }
}
