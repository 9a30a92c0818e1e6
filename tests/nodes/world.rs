//! Several nodes and one broker in one thread: what a seed lets happen, and how it all comes to rest.

use crate::client::{Client, Way};
use crate::line::Line;
use crate::redis::Redis;
use fastrand::Rng;
use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule, Slow};
use roost::hub::broker::{Refusal, Told};
use roost::hub::names::Names;
use roost::shard::mail::{Mail, Parcel, Publisher, Report};
use roost::shard::{Next, Readiness, Settings, Shard};
use std::collections::{BTreeMap, VecDeque};

const SHARDS: u16 = 2;
const CHANNELS: [&str; 5] = ["a", "b", "bare:c", "latest:d", "drop:e"];
const WAYS: [Way; 3] = [Way::Query, Way::Message, Way::Poll];
const READY: Readiness = Readiness { readable: true, writable: true, read_closed: false };

struct Node {
    shards: Vec<Shard<Line>>,
    next: Vec<Next>,
    /// Mail by sender and receiver; the last sender is the broker's thread.
    lanes: BTreeMap<(usize, usize), VecDeque<Mail>>,
}

/// A publication that somebody waits for.
#[derive(Debug, Clone)]
struct Try {
    channel: &'static str,
    id: Option<Box<str>>,
}

pub(crate) struct World {
    rng: Rng,
    now: Now,
    names: Names,
    nodes: Vec<Node>,
    redis: Redis,
    clients: Vec<Client>,
    /// By its number, which is its data.
    tries: BTreeMap<u64, Try>,
    outcomes: BTreeMap<u64, Vec<Result<(), Refusal>>>,
    published: u64,
    /// Whether the broker may lose something in this world.
    lossy: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let names = Names::new(seed);
        let nodes = rng.usize(1..=3);
        let lossy = rng.bool();
        Self {
            now: Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 },
            names,
            nodes: (0..nodes).map(|_| node(names, &mut rng)).collect(),
            redis: Redis::new(nodes),
            clients: Vec::new(),
            tries: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            published: 0,
            lossy,
            rng,
        }
    }

    /// Lets so much happen, then come to rest, and holds everyone's place against the broker's.
    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.rest();
        // One more for everybody: what was lost unnoticed would be a hole now.
        for channel in CHANNELS {
            self.publish(0, channel, None);
        }
        self.rest();
        for client in &self.clients {
            assert!(
                client.joined && !client.refused,
                "{} was not let in by {:?}",
                client.channel,
                client.way
            );
            assert_eq!(
                client.place,
                self.redis.head(&client.channel),
                "{} by {:?}",
                client.channel,
                client.way
            );
        }
        self.demand_outcomes();
    }

    /// How many gaps were told.
    pub(crate) fn gaps(&self) -> usize {
        self.clients.iter().map(|client| client.gaps).sum()
    }

    fn step(&mut self) {
        let node = self.rng.usize(..self.nodes.len());
        let channel = CHANNELS[self.rng.usize(..CHANNELS.len())];
        match self.rng.u32(..100) {
            0..=14 => self.turn(node),
            15..=34 => (0..self.rng.usize(1..9)).for_each(|_| self.carry(node)),
            35..=60 => (0..self.rng.usize(1..9)).for_each(|_| self.work_link(node)),
            61..=69 => {
                let id = self.rng.bool().then(|| self.published.to_string().into());
                self.publish(node, channel, id);
            }
            70..=77 => self.arrive(node, channel),
            78..=81 => self.move_on(node),
            82..=86 => self.stall(),
            87 => self.leave(),
            88 => self.cut(node),
            89..=93 => self.restore(node),
            94 if self.lossy => self.restart(),
            95..=96 if self.lossy => self.redis.trim(channel, self.rng.usize(1..4)),
            // Short of the moment at which the first one would be pinged.
            97 => self.now.mono_ms += self.rng.u64(..1_500),
            _ => self.try_again(),
        }
        self.hear();
    }

    fn turn(&mut self, node: usize) {
        (0..usize::from(SHARDS)).for_each(|shard| self.turn_shard(node, shard));
    }

    fn turn_shard(&mut self, node: usize, shard: usize) {
        let Node { shards, next, lanes } = &mut self.nodes[node];
        next[shard] = shards[shard].turn(self.now);
        let parcels: Vec<Parcel> = shards[shard].parcels().collect();
        let mut reports = Vec::new();
        for parcel in parcels {
            match parcel {
                Parcel::Shard(to, mail) => {
                    lanes.entry((shard, usize::from(to.0))).or_default().push_back(mail);
                }
                Parcel::Control(report) => reports.push(report),
                Parcel::Broker(ask) => {
                    if let Some(told) = self.redis.ask(node, ask) {
                        tell(lanes, self.names, told);
                    }
                }
            }
        }
        reports.into_iter().for_each(|report| self.reported(report));
    }

    fn reported(&mut self, report: Report) {
        if let Report::Published { ticket, outcome, .. } = report {
            self.outcomes.entry(ticket).or_default().push(outcome.map(drop));
        }
    }

    /// One piece of mail arrives.
    fn carry(&mut self, node: usize) {
        let Node { shards, next, lanes } = &mut self.nodes[node];
        let full: Vec<_> = lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(key, _)| *key).collect();
        if full.is_empty() {
            return;
        }
        let (from, to) = full[self.rng.usize(..full.len())];
        if let Some(mail) = lanes.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
            shards[to].mail(self.now, mail);
            next[to] = Next::Now;
        }
    }

    fn work_link(&mut self, node: usize) {
        let told = match self.rng.u32(..4) {
            0 => {
                self.redis.send(node);
                None
            }
            1 => {
                self.redis.execute(node);
                None
            }
            2 => self.redis.answer(node),
            _ => self.redis.hear(node),
        };
        if let Some(told) = told {
            tell(&mut self.nodes[node].lanes, self.names, told);
        }
    }

    fn publish(&mut self, node: usize, channel: &'static str, id: Option<Box<str>>) {
        let number = self.published;
        self.published += 1;
        self.tries.insert(number, Try { channel, id });
        self.send_try(node, number);
    }

    /// Somebody whose publication has an id and no place tries again, at any node.
    fn try_again(&mut self) {
        let node = self.rng.usize(..self.nodes.len());
        let failed = |number: &u64| {
            self.tries[number].id.is_some()
                && self.outcomes.get(number).is_some_and(|outcomes| outcomes.iter().all(Result::is_err))
        };
        let again = self.tries.keys().copied().find(failed);
        if let Some(number) = again {
            self.send_try(node, number);
        }
    }

    fn send_try(&mut self, node: usize, number: u64) {
        let Try { channel, id } = self.tries[&number].clone();
        let owner = usize::from(self.names.owner(channel, SHARDS).0);
        let publisher = Publisher::Call { ticket: number, index: 0, id };
        let key = channel.starts_with("latest:").then(|| format!("k{}", number % 2).into());
        let mail = Mail::Publish { name: channel.into(), data: number.to_string().into(), key, publisher };
        let node = &mut self.nodes[node];
        node.shards[owner].mail(self.now, mail);
        node.next[owner] = Next::Now;
    }

    fn arrive(&mut self, node: usize, channel: &str) {
        if self.clients.len() < 12 {
            let way = WAYS[self.rng.usize(..WAYS.len())];
            let client = self.connect(node, channel, way, None);
            self.clients.push(client);
        }
    }

    fn connect(
        &mut self,
        node: usize,
        channel: &str,
        way: Way,
        place: Option<roost::dialect::cursor::Cursor>,
    ) -> Client {
        let shard = self.rng.usize(..usize::from(SHARDS));
        let line = Client::request(channel, way, place);
        let node_of = &mut self.nodes[node];
        let token = node_of.shards[shard].insert(self.now, line.clone()).expect("there is room");
        node_of.shards[shard].ready(self.now, token, READY);
        node_of.next[shard] = Next::Now;
        let (channel, joined, refused, gaps) = (channel.to_owned(), false, false, 0);
        Client { channel, way, node, shard, token, line, place, joined, refused, gaps }
    }

    /// A client goes to another node, by the other way perhaps.
    fn move_on(&mut self, node: usize) {
        if self.clients.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.clients.len());
        self.come_back(at, node);
    }

    fn come_back(&mut self, at: usize, node: usize) {
        let way = WAYS[self.rng.usize(..WAYS.len())];
        self.hang_up(at);
        let (channel, place, gaps) =
            (self.clients[at].channel.clone(), self.clients[at].place, self.clients[at].gaps);
        self.clients[at] = Client { gaps, ..self.connect(node, &channel, way, place) };
    }

    fn leave(&mut self) {
        if !self.clients.is_empty() {
            let at = self.rng.usize(..self.clients.len());
            self.hang_up(at);
            self.clients.swap_remove(at);
        }
    }

    fn hang_up(&mut self, at: usize) {
        let Client { node, shard, token, ref line, .. } = self.clients[at];
        line.0.borrow_mut().broken = true;
        let node = &mut self.nodes[node];
        let ended = Readiness { read_closed: true, ..READY };
        node.shards[shard].ready(self.now, token, ended);
        node.next[shard] = Next::Now;
    }

    /// A client does not read for a while, or reads on.
    fn stall(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.clients.len());
        let room = if self.rng.bool() { self.rng.usize(..300) } else { usize::MAX };
        self.make_room(at, room);
    }

    fn make_room(&mut self, at: usize, room: usize) {
        let Client { node, shard, token, ref line, .. } = self.clients[at];
        line.0.borrow_mut().room = room;
        if room > 0 {
            let node = &mut self.nodes[node];
            node.shards[shard].ready(self.now, token, Readiness { readable: false, ..READY });
            node.next[shard] = Next::Now;
        }
    }

    fn cut(&mut self, node: usize) {
        let still_done = self.rng.bool();
        for told in self.redis.cut(node, still_done) {
            tell(&mut self.nodes[node].lanes, self.names, told);
        }
    }

    fn restore(&mut self, node: usize) {
        if let Some(told) = self.redis.restore(node) {
            tell(&mut self.nodes[node].lanes, self.names, told);
        }
    }

    fn restart(&mut self) {
        for node in 0..self.nodes.len() {
            self.cut(node);
        }
        let forgets = self.rng.bool();
        self.redis.restart(forgets);
    }

    /// Everyone takes what has come; who polls asks again, and who was refused comes back when the broker may be there.
    fn hear(&mut self) {
        for at in 0..self.clients.len() {
            if self.clients[at].hear(&self.redis) {
                let Client { node, shard, token, ref channel, place, ref line, .. } = self.clients[at];
                let request = Client::request(channel, Way::Poll, place);
                line.0.borrow_mut().sends.append(&mut request.0.borrow_mut().sends);
                let node = &mut self.nodes[node];
                node.shards[shard].ready(self.now, token, READY);
                node.next[shard] = Next::Now;
            }
            let Client { node, shard, token, refused, .. } = self.clients[at];
            let gone = self.nodes[node].shards[shard].socket_mut(token).is_none();
            if refused || gone {
                let node = self.rng.usize(..self.nodes.len());
                self.come_back(at, node);
            }
        }
    }

    /// All links are there, everybody reads, and everything arrives.
    fn rest(&mut self) {
        for node in 0..self.nodes.len() {
            self.restore(node);
        }
        (0..self.clients.len()).for_each(|at| self.make_room(at, usize::MAX));
        for _ in 0..20_000 {
            for node in 0..self.nodes.len() {
                self.carry(node);
                self.redis.send(node);
                self.redis.execute(node);
                let told: Vec<_> = self.redis.answer(node).into_iter().chain(self.redis.hear(node)).collect();
                told.into_iter().for_each(|told| tell(&mut self.nodes[node].lanes, self.names, told));
                (0..usize::from(SHARDS)).for_each(|shard| self.turn_shard(node, shard));
            }
            self.hear();
            let rests =
                |node: &Node| node.lanes.values().all(VecDeque::is_empty) && !node.next.contains(&Next::Now);
            if self.redis.is_quiet() && self.nodes.iter().all(rests) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// What was told of publications is what became of them.
    fn demand_outcomes(&self) {
        for (number, Try { channel, id }) in &self.tries {
            let places = self
                .redis
                .numbered
                .iter()
                .filter(|((name, ..), data)| &**name == *channel && ***data == number.to_string());
            let (count, outcomes) = (places.count(), &self.outcomes[number]);
            if outcomes.iter().any(Result::is_ok) {
                assert!(
                    count == 1 || (count > 1 && self.redis.lost && id.is_some()),
                    "{number} went out {count} times"
                );
            } else if !outcomes.contains(&Err(Refusal::Unknown)) {
                assert_eq!(count, 0, "{number} went out, and its publisher was told that it did not");
            }
            assert!(count <= 1 || id.is_some(), "{number} went out twice");
        }
    }
}

fn node(names: Names, rng: &mut Rng) -> Node {
    let rule = |prefix: &str, rule| (prefix.to_owned(), rule);
    let rules = BTreeMap::from([
        rule("bare:", PolicyRule { history: Some(0), ..PolicyRule::default() }),
        rule("latest:", PolicyRule { slow: Some(Slow::Latest), ..PolicyRule::default() }),
        rule("drop:", PolicyRule { slow: Some(Slow::Drop), history: Some(1_000), ..PolicyRule::default() }),
        rule("", PolicyRule { history: Some(1_000), ..PolicyRule::default() }),
    ]);
    let policies = Policies::new(&rules).expect("good prefixes");
    let mut shard = |id| {
        let (policies, own_seed) = (policies.clone(), rng.u64(..));
        Shard::new(Settings { policies, own_seed, brokered: true, ..Settings::new(id, SHARDS, names) })
    };
    let shards = (0..SHARDS).map(&mut shard).collect();
    Node { shards, next: vec![Next::Idle; SHARDS.into()], lanes: BTreeMap::new() }
}

/// What a link tells goes to the owner of its channel, or to all, in the order in which it was told.
fn tell(lanes: &mut BTreeMap<(usize, usize), VecDeque<Mail>>, names: Names, told: Told) {
    const THREAD: usize = usize::MAX;
    let mut send =
        |to: usize, told| lanes.entry((THREAD, to)).or_default().push_back(Mail::Told(Box::new(told)));
    match told {
        Told::Away => (0..usize::from(SHARDS)).for_each(|shard| send(shard, Told::Away)),
        Told::Back => (0..usize::from(SHARDS)).for_each(|shard| send(shard, Told::Back)),
        told => {
            let owner = names.owner(told.name().expect("a channel"), SHARDS);
            send(usize::from(owner.0), told);
        }
    }
}
