//! A node of several shards, driven by hand through their public verbs in virtual time, whose mail arrives at once.

use crate::line::{Line, behind_head, messages};
use crate::{ENDED, READY, settings};
use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule};
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Report};
use roost::shard::{Next, Settings, Shard};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) const SHARDS: u16 = 3;
/// The moment at which nodes start, in milliseconds since the Unix epoch.
pub(crate) const BEGINS_MS: u64 = 1_800_000_000_000;

/// A client and its connection.
pub(crate) struct Client {
    pub(crate) shard: usize,
    pub(crate) token: Token,
    pub(crate) line: Line,
}

impl Client {
    /// What it has heard since it was last asked.
    pub(crate) fn hear(&self) -> Vec<Value> {
        let got = std::mem::take(&mut self.line.0.borrow_mut().got);
        let (heard, begun) = messages(behind_head(&got).unwrap_or(&got));
        assert!(begun.is_empty(), "it takes whole frames");
        heard
    }
}

pub(crate) struct Node {
    pub(crate) shards: Vec<Shard<Line>>,
    next: Vec<Next>,
    pub(crate) now: Now,
    names: Names,
    /// What shards told owners of who is present, ever.
    pub(crate) told: usize,
    /// What shards told the control thread.
    pub(crate) reports: Vec<Report>,
}

impl Node {
    /// Channels that begin with `room:` follow this rule; whatever else there is, shards are told.
    pub(crate) fn new(room: PolicyRule, tell: impl Fn(Settings) -> Settings) -> Self {
        let names = Names::new(1);
        let policies = Policies::new(&BTreeMap::from([("room:".to_owned(), room)])).expect("a good prefix");
        let told = |id| tell(Settings { policies: policies.clone(), ..settings(id, SHARDS) });
        let shard = |id| Shard::new(told(id));
        let shards = (0..SHARDS).map(shard).collect();
        Self {
            shards,
            next: vec![Next::Idle; SHARDS.into()],
            now: Now { mono_ms: 1_000, wall_ms: BEGINS_MS + 1_000 },
            names,
            told: 0,
            reports: Vec::new(),
        }
    }

    /// A presence channel that a shard owns.
    pub(crate) fn room(&self, owner: u16) -> String {
        let mut rooms = (0..).map(|number| format!("room:{number}"));
        rooms.find(|name| self.names.owner(name, SHARDS) == ShardId(owner)).expect("one of many")
    }

    /// A client comes, and follows a channel if there is one.
    pub(crate) fn connect(&mut self, shard: usize, channel: &str) -> Client {
        let client = self.arrive(shard, channel);
        self.settle();
        client
    }

    pub(crate) fn arrive(&mut self, shard: usize, channel: &str) -> Client {
        let query = if channel.is_empty() { String::new() } else { format!("?channel={channel}") };
        self.call(shard, Line::asking_for(&format!("/live{query}")))
    }

    /// A client comes that sends this.
    pub(crate) fn call(&mut self, shard: usize, line: Line) -> Client {
        let now = self.now;
        let token = self.shards[shard].insert(now, line.clone()).expect("there is room");
        self.shards[shard].ready(now, token, READY);
        self.next[shard] = Next::Now;
        Client { shard, token, line }
    }

    pub(crate) fn say(&mut self, client: &Client, message: &Value) {
        client.line.send(message);
        self.shards[client.shard].ready(self.now, client.token, READY);
        self.next[client.shard] = Next::Now;
        self.settle();
    }

    /// A client's end, without a goodbye.
    pub(crate) fn vanish(&mut self, client: &Client) {
        client.line.0.borrow_mut().ended = true;
        self.shards[client.shard].ready(self.now, client.token, ENDED);
        self.next[client.shard] = Next::Now;
        self.settle();
    }

    pub(crate) fn mail(&mut self, shard: usize, mail: Mail) {
        self.told += usize::from(matches!(mail, Mail::Present { .. }));
        self.shards[shard].mail(self.now, mail);
        self.next[shard] = Next::Now;
    }

    /// Turns and mail, until there is nothing to do at this moment.
    pub(crate) fn settle(&mut self) {
        let due =
            |next: &Next, now_ms| matches!(next, Next::Now) || matches!(next, Next::At(at) if *at <= now_ms);
        while let Some(shard) = self.next.iter().position(|next| due(next, self.now.mono_ms)) {
            self.next[shard] = self.shards[shard].turn(self.now);
            let parcels: Vec<Parcel> = self.shards[shard].parcels().collect();
            for parcel in parcels {
                match parcel {
                    Parcel::Shard(to, mail) => self.mail(usize::from(to.0), mail),
                    Parcel::Control(report) => self.reports.push(report),
                    Parcel::Broker(ask) => unreachable!("a node without a broker asks {ask:?}"),
                }
            }
        }
    }

    /// Time passes, with turns at the moments that shards asked for.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        let at_ms = |next: &Next| match next {
            Next::At(at_ms) => Some(*at_ms),
            Next::Now | Next::Idle => None,
        };
        while let Some(at_ms) = self.next.iter().filter_map(at_ms).min().filter(|at_ms| *at_ms <= end_ms) {
            self.set_time(at_ms);
            self.settle();
        }
        self.set_time(end_ms);
    }

    fn set_time(&mut self, mono_ms: u64) {
        self.now = Now { mono_ms, wall_ms: BEGINS_MS + mono_ms };
    }

    /// Counters of all shards: channels counted, events.
    pub(crate) fn counters(&self) -> (u64, u64) {
        let all = self.shards.iter().map(Shard::counters);
        all.fold((0, 0), |(channels, events), one| {
            (channels + one.presence_channels, events + one.presence_events)
        })
    }
}
