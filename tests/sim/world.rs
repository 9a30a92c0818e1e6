//! The world: shards, clients, mail on its way, and a clock, in one loop that a seed decides.

use crate::client::{Client, Excuses};
use crate::faults::Faults;
use crate::socket::{SimSocket, Wire};
use crate::truth::Truth;
use fastrand::Rng;
use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule};
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::hub::owned::ShardSet;
use roost::limits::{CHANNEL_KEEP_MS, Limits};
use roost::proto::origin::OriginPolicy;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Publisher, Report};
use roost::shard::{Readiness, Settings, Shard};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

const CHANNELS: [&str; 5] = ["open:a", "open:b", "closed:c", "d", "open:e"];
const CLIENTS_MAX: usize = 12;
/// Rounds in which a world without faults must have settled.
const ROUNDS_MAX: usize = 2_000;

/// A client and where its connection lives.
struct Place {
    client: Client,
    shard: usize,
    token: Token,
}

pub(crate) struct World {
    rng: Rng,
    faults: Faults,
    now: Now,
    shards: Vec<Shard<SimSocket>>,
    /// Mail on its way, by sender and receiver: first in first out, and slow as it likes.
    mail: BTreeMap<(usize, usize), VecDeque<Mail>>,
    places: Vec<Place>,
    stale: Vec<(usize, Token)>,
    truth: Truth,
    calls: HashMap<u64, (String, String)>,
    heads: HashMap<String, u64>,
    old_cursors: Vec<(String, String)>,
    tickets: u64,
    draining: bool,
    limits: Limits,
    hasher: DefaultHasher,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let faults = Faults::draw(&mut rng);
        let shards = rng.u16(1..=5);
        let limits = Limits {
            queue_hard_bytes: 4_000,
            queue_soft_bytes: 2_000,
            channels_per_conn_max: 4,
            messages_per_second: 1_000_000,
            messages_burst: 1_000_000,
            ..Limits::default()
        };
        let rule = PolicyRule { clients_may_publish: Some(true) };
        let policies = Policies::new(&BTreeMap::from([("open:".to_owned(), rule)])).expect("one prefix");
        let names = Names::new(rng.u64(..));
        let settings = |id: u16, own_seed| Settings {
            id: ShardId(id),
            shards,
            limits: limits.clone(),
            policies: policies.clone(),
            origins: OriginPolicy::SameOrigin,
            echo: false,
            node: "sim".into(),
            names,
            own_seed,
        };
        let shards = (0..shards).map(|id| Shard::new(settings(id, rng.u64(..)))).collect();
        if trace {
            println!("{faults:?}");
        }
        Self {
            faults,
            now: Now { mono_ms: 3_600_000, wall_ms: 1_700_000_000_000 },
            shards,
            mail: BTreeMap::new(),
            places: Vec::new(),
            stale: Vec::new(),
            truth: Truth::default(),
            calls: HashMap::new(),
            heads: HashMap::new(),
            old_cursors: Vec::new(),
            tickets: 0,
            draining: false,
            limits,
            hasher: DefaultHasher::new(),
            trace,
            rng,
        }
    }

    pub(crate) fn step(&mut self) {
        match self.rng.u8(..100) {
            0..5 => self.connect(),
            5..15 => self.command(),
            15..30 => self.pump(),
            30..45 => self.readiness(),
            45..60 => _ = self.deliver(),
            60..75 => _ = self.turn(),
            75..87 => self.client_reads(),
            87..92 => self.publish(),
            92..97 => self.pass_time(),
            _ => self.mischief(),
        }
    }

    /// The faults stop; everyone gets what is theirs; everyone leaves; nothing remains.
    pub(crate) fn finish(mut self) -> u64 {
        self.faults = Faults::none();
        self.shards.iter_mut().for_each(|shard| shard.set_congested(ShardSet::default()));
        for place in &mut self.places {
            place.client.stalled = false;
            place.client.wire.borrow_mut().calm();
        }
        self.settle();
        self.check_settled();
        for place in &mut self.places {
            if place.client.is_open() {
                place.client.goodbye();
            } else if !place.client.is_over() {
                place.client.excuses.own_doing = true;
                place.client.wire.borrow_mut().send_fin();
            }
        }
        self.settle();
        self.now.mono_ms += self.limits.idle_timeout_ms + self.limits.close_timeout_ms;
        self.settle();
        self.now.mono_ms += 2 * self.limits.close_timeout_ms;
        self.settle();
        self.now.mono_ms += 2 * CHANNEL_KEEP_MS;
        self.settle();
        for (id, shard) in self.shards.iter().enumerate() {
            let counters = shard.counters();
            let left =
                (counters.connections, counters.subscriptions, counters.channels, counters.channels_owned);
            assert_eq!(
                left,
                (0, 0, 0, 0),
                "shard {id}: connections, subscriptions, channels, owned channels"
            );
            assert_eq!(
                counters.accepted,
                counters.disconnects.iter().sum::<u64>(),
                "every end has one reason"
            );
            assert_eq!(shard.is_drained(), self.draining);
        }
        assert!(self.mail.values().all(VecDeque::is_empty));
        self.hasher.finish()
    }

    fn note(&mut self, text: &str) {
        text.hash(&mut self.hasher);
        if self.trace {
            println!("{:>8} {text}", self.now.mono_ms);
        }
    }

    fn chance(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.rng.f64() < rate
    }

    fn channel(&mut self) -> String {
        CHANNELS[self.rng.usize(..CHANNELS.len())].to_owned()
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.places.is_empty()).then(|| self.rng.usize(..self.places.len()))
    }

    fn since(&mut self, channel: &str) -> Option<String> {
        let known: Vec<_> =
            self.old_cursors.iter().filter(|(name, _)| name == channel).map(|(_, at)| at).collect();
        if known.is_empty() || self.rng.bool() {
            return None;
        }
        Some(known[self.rng.usize(..known.len())].clone())
    }

    fn connect(&mut self) {
        if self.places.len() >= CLIENTS_MAX {
            return;
        }
        let wire = Wire::new(self.faults.clone(), self.rng.fork());
        let mut query = Vec::new();
        for _ in 0..self.rng.usize(..3) {
            let channel = self.channel();
            let since = self.since(&channel);
            if query.iter().all(|(other, _)| *other != channel) {
                query.push((channel, since));
            }
        }
        let shard = self.rng.usize(..self.shards.len());
        let Ok(token) = self.shards[shard].insert(self.now, SimSocket(wire.clone())) else {
            assert!(self.draining, "only a draining shard takes nobody");
            return;
        };
        let mut client = Client::new(wire, &query, &mut self.rng);
        let Faults { window, would_block, single_byte, .. } = self.faults;
        let slow = window < 1 << 20 || would_block > 0.0 || single_byte > 0.0;
        client.excuses = Excuses { slow, drained: self.draining, ..Excuses::default() };
        self.note(&format!("connect {token:?} to {shard} for {query:?}"));
        self.places.push(Place { client, shard, token });
    }

    fn command(&mut self) {
        let Some(at) = self.pick() else { return };
        let channel = self.channel();
        let (kind, extra) = match self.rng.u8(..10) {
            0..4 => ("subscribe", self.since(&channel)),
            4..7 => ("unsubscribe", None),
            _ => ("publish", Some(self.truth.fresh_data())),
        };
        let client = &mut self.places[at].client;
        if client.is_open() {
            client.ask(kind, &channel, extra.clone());
            self.note(&format!("client {at} {kind} {channel} {extra:?}"));
        }
    }

    /// Some of what a client wants to send arrives.
    fn pump(&mut self) {
        let Some(at) = self.pick() else { return };
        let single = self.chance(self.faults.single_byte);
        let client = &mut self.places[at].client;
        let mut outbox = client.outbox.borrow_mut();
        let waiting = outbox.len();
        if waiting > 0 {
            let count = if single { 1 } else { self.rng.usize(1..=waiting) };
            client.wire.borrow_mut().send(outbox.drain(..count));
        }
    }

    /// The poll tells a shard about one socket.
    fn readiness(&mut self) {
        if self.chance(self.faults.spurious) {
            let stale = !self.stale.is_empty() && self.rng.bool();
            let known: Vec<_> = self.places.iter().map(|place| (place.shard, place.token)).collect();
            let tokens = if stale { &self.stale } else { &known };
            if let Some(&(shard, token)) = tokens.get(self.rng.usize(..tokens.len().max(1))) {
                let readiness =
                    Readiness { readable: self.rng.bool(), writable: self.rng.bool(), read_closed: false };
                self.shards[shard].ready(self.now, token, readiness);
            }
        }
        if let Some(at) = self.pick() {
            self.tell(at);
        }
    }

    fn tell(&mut self, at: usize) -> bool {
        let place = &self.places[at];
        let event = std::mem::take(&mut place.client.wire.borrow_mut().event);
        let any = event != Readiness::default();
        if any {
            self.shards[place.shard].ready(self.now, place.token, event);
        }
        any
    }

    fn deliver(&mut self) -> bool {
        let waiting: Vec<_> =
            self.mail.iter().filter(|(_, queue)| !queue.is_empty()).map(|(&road, _)| road).collect();
        if waiting.is_empty() {
            return false;
        }
        let road = waiting[self.rng.usize(..waiting.len())];
        let queue = self.mail.get_mut(&road).expect("listed");
        let count = self.rng.usize(1..=queue.len());
        let batch: Vec<_> = queue.drain(..count).collect();
        for mail in batch {
            self.shards[road.1].mail(self.now, mail);
        }
        true
    }

    fn turn(&mut self) -> bool {
        let at = self.rng.usize(..self.shards.len());
        self.turn_of(at)
    }

    fn turn_of(&mut self, at: usize) -> bool {
        let next = self.shards[at].turn(self.now);
        let parcels: Vec<_> = self.shards[at].parcels().collect();
        let busy = !parcels.is_empty() || next == roost::shard::Next::Now;
        for parcel in parcels {
            match parcel {
                Parcel::Shard(to, mail) => {
                    self.mail.entry((at, usize::from(to.0))).or_default().push_back(mail);
                }
                Parcel::Control(Report::Published { ticket, cursor, .. }) => self.numbered(ticket, cursor),
                Parcel::Control(report) => panic!("nobody asked for {report:?}"),
            }
        }
        busy
    }

    fn numbered(&mut self, ticket: u64, cursor: Option<roost::dialect::cursor::Cursor>) {
        let (channel, data) = self.calls.remove(&ticket).expect("one outcome a call");
        let cursor = cursor.expect("there is room for five channels");
        self.truth.agree(&channel, cursor.offset, &data);
        self.truth.note_epoch(&channel, &cursor.epoch.to_string());
        self.note(&format!("numbered {channel} {cursor}"));
    }

    fn client_reads(&mut self) {
        if let Some(at) = self.pick() {
            self.read(at);
        }
    }

    fn read(&mut self, at: usize) {
        if self.places[at].client.stalled {
            return;
        }
        let mut heard = Vec::new();
        self.places[at].client.read(&mut self.truth, &mut heard);
        for text in heard {
            self.note(&format!("client {at} hears {text}"));
        }
        if self.places[at].client.is_over() && self.places[at].client.wire.borrow().server_gone {
            let place = self.places.swap_remove(at);
            self.stale.push((place.shard, place.token));
            self.old_cursors.extend(place.client.cursors);
        }
    }

    fn publish(&mut self) {
        let channel = self.channel();
        let data = self.truth.fresh_data();
        let owner = self.owner(&channel);
        self.tickets += 1;
        self.calls.insert(self.tickets, (channel.clone(), data.clone()));
        let publisher = Publisher::Call { ticket: self.tickets, index: 0 };
        let mail = Mail::Publish { name: channel.into(), data: data.into(), publisher };
        self.mail.entry((self.shards.len(), owner)).or_default().push_back(mail);
    }

    fn owner(&self, channel: &str) -> usize {
        usize::from(self.shards[0].owner(channel).0)
    }

    fn pass_time(&mut self) {
        let leap = self.chance(self.faults.leap);
        let ms = if leap { self.limits.idle_timeout_ms } else { self.rng.u64(..20) };
        if leap {
            self.note("time leaps");
            self.places.iter_mut().for_each(|place| place.client.excuses.late = true);
        }
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
    }

    fn mischief(&mut self) {
        if self.chance(self.faults.congestion) {
            let mut congested = ShardSet::default();
            congested.insert(ShardId(self.rng.u16(..self.shards.len() as u16)));
            let at = self.rng.usize(..self.shards.len());
            self.shards[at].set_congested(congested);
        }
        if !self.draining && self.chance(self.faults.drain) {
            self.note("the node drains");
            self.draining = true;
            self.places.iter_mut().for_each(|place| place.client.excuses.drained = true);
            for to in 0..self.shards.len() {
                let road = (self.shards.len(), to);
                self.mail.entry(road).or_default().push_back(Mail::Drain { over_ms: 1_000 });
            }
        }
        let Some(at) = self.pick() else { return };
        let rate = self.faults.clone();
        if self.chance(rate.stall * 10.0) {
            let client = &mut self.places[at].client;
            client.stalled = !client.stalled;
            client.excuses.slow = true;
        }
        if self.chance(rate.reset * 10.0) {
            self.note(&format!("client {at} resets"));
            let client = &mut self.places[at].client;
            client.excuses.own_doing = true;
            client.wire.borrow_mut().send_reset();
        }
        if self.chance(rate.garbage * 10.0) {
            let garbage: Vec<u8> = (0..self.rng.usize(1..40)).map(|_| self.rng.u8(..)).collect();
            let client = &mut self.places[at].client;
            client.excuses.own_doing = true;
            client.saying_goodbye = true;
            client.outbox.borrow_mut().extend(garbage);
        }
        if self.rng.u8(..20) == 0 && self.places[at].client.is_open() {
            self.note(&format!("client {at} says goodbye"));
            self.places[at].client.goodbye();
        }
    }

    /// Everything that can happen without time passing happens.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut busy = false;
            for at in 0..self.places.len() {
                let client = &self.places[at].client;
                let waiting: Vec<u8> = client.outbox.borrow_mut().drain(..).collect();
                if !waiting.is_empty() {
                    client.wire.borrow_mut().send(waiting);
                }
                busy |= self.tell(at);
            }
            while self.deliver() {
                busy = true;
            }
            for at in 0..self.shards.len() {
                busy |= self.turn_of(at);
            }
            for at in (0..self.places.len()).rev() {
                busy |= !self.places[at].client.wire.borrow().to_client.is_empty();
                self.read(at);
            }
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    fn check_settled(&mut self) {
        for (channel, _) in CHANNELS.iter().zip(0..) {
            let owner = self.owner(channel);
            self.heads.insert((*channel).to_owned(), self.shards[owner].head(channel));
        }
        let heads = &self.heads;
        let open: Vec<_> = self.places.iter().filter(|place| place.client.is_open()).collect();
        open.iter().for_each(|place| place.client.check_settled(|channel| heads[channel]));
        let follows: usize = open.iter().map(|place| place.client.follows()).sum();
        let known: u64 = self.shards.iter().map(|shard| shard.counters().subscriptions).sum();
        let goodbyes = self.places.iter().any(|place| place.client.saying_goodbye && !place.client.is_over());
        assert!(known == follows as u64 || goodbyes, "{known} subscriptions, {follows} followed");
    }
}
