//! The world: a node, clients, the network between them and a clock, in one loop that a seed decides.

use crate::attempts::{Attempts, Outcome};
use crate::book::{Book, Customs};
use crate::client::{Client, Memory, Scene, Stage};
use crate::faults::{Faults, SocketFaults, draw_limits, draw_policies, pick};
use crate::node::Node;
use crate::past::{Past, Rules};
use crate::socket::{Pipe, SimSocket};
use crate::trace::{Trace, say};
use crate::truth::{Channel, Number, Truth, draw_padding};
use fastrand::Rng;
use roost::clock::Now;
use roost::limits::{CHANNEL_KEEP_MS, Limits, QUEUE_TOTAL_BYTES_MAX};
use roost::shard::Readiness;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Answer, Mail, Publisher, Question, Report};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// Steps of a world before its faults stop.
const STEPS: usize = 1_000;
/// Steps of a world with a crowd.
const CROWD_STEPS: usize = 300;
/// Clients of a crowd.
const CROWD: usize = 300;
/// Clients at once.
const CLIENTS_MAX: usize = 14;
/// Rounds in which a world without faults comes to rest: byte by byte through the narrowest window takes long.
const ROUNDS_MAX: usize = 400_000;
/// Tokens of connections that are gone, kept for stale events.
const STALE_MAX: usize = 16;

pub(crate) struct World {
    pub(crate) rng: Rng,
    faults: Faults,
    /// The faults have stopped.
    pub(crate) calm: bool,
    pub(crate) now: Now,
    clock: Rc<Cell<u64>>,
    pub(crate) limits: Limits,
    pub(crate) node: Node,
    pub(crate) clients: Vec<Client>,
    pub(crate) truth: Truth,
    pub(crate) trace: Trace,
    /// Connections accepted by each shard.
    pub(crate) accepted: Vec<u64>,
    /// A drain of all was asked for, and not stopped.
    pub(crate) closing: bool,
    /// A drain was asked for, of some or one that was stopped.
    pub(crate) thinned: bool,
    /// What clients that are gone remember, for those that come.
    memories: Vec<Memory>,
    stale: Vec<(usize, Token)>,
    /// Publications of the API without an outcome, by ticket and index.
    calls: HashMap<(u64, u32), Number>,
    pub(crate) attempts: Attempts,
    /// Answers that are still to come, by ticket.
    pub(crate) questions: HashMap<u64, usize>,
    /// The last call of an operator who wants somebody to be gone: its ticket, and the code.
    pub(crate) kick: Option<(u64, u16)>,
    pub(crate) answers: Vec<(u64, Answer)>,
    tickets: u64,
    serial: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let faults = Faults::draw(&mut rng, CROWD_STEPS);
        let limits = draw_limits(&mut rng, &faults);
        let policies = draw_policies(&mut rng);
        say(|| format!("{faults:?}\n{limits:?}\n{policies:?}"));
        let mut node = Node::new(&limits, &policies, &mut rng);
        let names = ["open:a", "closed:b", "open:c", "d", "open:e", "f", "open:long/name", "h"];
        let names: Vec<String> =
            names[..rng.usize(1..=names.len())].iter().map(|&name| name.to_owned()).collect();
        // Some nodes have been up for so long that 32 bits of milliseconds are about to run over.
        let up_ms = if rng.u8(..4) == 0 { (1 << 32) - rng.u64(..20_000) } else { 3_600_000 };
        let clock = Rc::new(Cell::new(up_ms));
        let now = Now { mono_ms: up_ms, wall_ms: 1_700_000_000_000 };
        let rules = Rules {
            policies: names.iter().map(|name| *policies.for_channel(name)).collect(),
            owners: names.iter().map(|name| node.owner(name)).collect(),
            owner_bytes: limits.history_bytes / node.len(),
            channel_bytes: limits.history_channel_bytes,
        };
        let counted = rules.policies.iter().map(|policy| policy.presence).collect();
        let keep_ms = rules.policies.iter().map(|policy| policy.history_ttl_ms.max(CHANNEL_KEEP_MS));
        let keep_ms: Vec<u64> = keep_ms.collect();
        let slow = rules.policies.iter().map(|policy| policy.slow).collect();
        // A channel that a witness follows is never forgotten, so some worlds have none.
        let watched = rng.u8(..3) > 0;
        names.iter().filter(|_| watched).for_each(|name| node.watch(now, name));
        let past = watched.then(|| Past::new(rules));
        Self {
            faults,
            calm: false,
            now,
            limits,
            accepted: vec![0; node.len()],
            node,
            clients: Vec::new(),
            truth: Truth::new(names, counted, slow, keep_ms, past, clock.clone()),
            clock,
            trace: Trace::default(),
            closing: false,
            thinned: false,
            memories: Vec::new(),
            stale: Vec::new(),
            calls: HashMap::new(),
            attempts: Attempts::default(),
            questions: HashMap::new(),
            kick: None,
            answers: Vec::new(),
            tickets: 0,
            serial: 0,
            rng,
        }
    }

    /// One thing after another happens, until the faults stop.
    pub(crate) fn run(&mut self) {
        let steps = if self.faults.crowd { CROWD_STEPS } else { STEPS };
        for _ in 0..if self.faults.crowd { CROWD } else { 0 } {
            self.connect_to(0);
        }
        (0..steps).for_each(|step| self.step(step));
    }

    fn step(&mut self, step: usize) {
        if self.faults.drain_at == Some(step) {
            self.drain();
        }
        if self.faults.thin_at == Some(step) {
            self.thin_out();
        }
        match self.rng.u8(..100) {
            0..3 => self.connect(),
            3..7 => self.somebody_comes_back(),
            7..24 => self.somebody_acts(),
            24..36 => self.bytes_arrive(),
            36..66 => self.somebody_wakes(),
            66..84 => self.somebody_reads(),
            84..90 => self.publish(),
            90..92 => self.ask_something(),
            92 => self.kick(),
            _ => self.time_passes(),
        }
        self.take_reports();
        self.retire();
        self.check_queues();
    }

    /// The clients, and what they need to know.
    pub(crate) fn scene(&mut self) -> (&mut Vec<Client>, Scene<'_>) {
        let scene = Scene {
            truth: &mut self.truth,
            trace: &mut self.trace,
            now: self.now,
            limits: &self.limits,
            closing: self.closing,
            thinned: self.thinned,
            tight_rate: self.faults.tight_rate,
            tight_total: self.limits.queue_total_bytes < QUEUE_TOTAL_BYTES_MAX,
            calm: self.calm,
        };
        (&mut self.clients, scene)
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.clock.set(self.now.mono_ms);
    }

    pub(crate) fn channel(&mut self) -> Channel {
        self.rng.usize(..self.truth.names.len())
    }

    pub(crate) fn pick(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.rng.usize(..self.clients.len()))
    }

    fn time_passes(&mut self) {
        let leap = self.faults.leap.hit(&mut self.rng);
        let ms = self.rng.u64(..if leap { 90_000 } else { 40 });
        say(|| format!("{ms} ms pass"));
        self.pass(ms);
    }

    fn connect(&mut self) {
        if self.clients.len() < CLIENTS_MAX {
            let shard = self.rng.usize(..self.node.len());
            self.connect_to(shard);
        }
    }

    /// A connection breaks, and its client comes back with its cursors, to whichever shard takes it.
    fn somebody_comes_back(&mut self) {
        let Some(at) = self.pick() else { return };
        let memory = self.clients[at].memory.clone();
        if memory.places.is_empty() || self.clients.len() > CLIENTS_MAX {
            return;
        }
        say(|| format!("client {} comes back", self.clients[at].serial));
        match self.rng.u8(..3) {
            0 => self.clients[at].reset(),
            1 => self.clients[at].end(),
            // The node does not know yet that it is gone.
            _ => self.clients[at].stalled = true,
        }
        let shard = self.rng.usize(..self.node.len());
        self.arrive(shard, Some(memory));
    }

    /// A client comes to a shard, if that takes it. It may remember what another one knew.
    pub(crate) fn connect_to(&mut self, shard: usize) {
        self.arrive(shard, None);
    }

    fn arrive(&mut self, shard: usize, memory: Option<Memory>) {
        let socket = if self.rng.u8(..4) == 0 { SocketFaults::default() } else { self.faults.socket };
        let window = if self.rng.u8(..4) == 0 { 1 << 20 } else { self.faults.window };
        let pipe = Pipe::new(socket, window, self.clock.clone(), self.rng.fork());
        let Ok(token) = self.node.shards[shard].insert(self.now, SimSocket(pipe.clone())) else {
            let connections = self.node.shards[shard].counters().connections;
            let full = connections >= self.limits.conns_per_shard_max as u64;
            assert!(full || self.closing || self.thinned, "a shard with room takes nobody");
            return;
        };
        self.accepted[shard] += 1;
        self.node.touch(shard);
        let customs = Customs {
            channels_max: self.limits.channels_per_conn_max,
            tight_rate: self.faults.tight_rate,
            congestion: !self.faults.congested.is_never(),
        };
        self.serial += 1;
        let (book, rng) = (Book::new(customs), self.rng.fork());
        let mut client = Client::new(self.serial, (shard, token), pipe, book, self.now, rng);
        client.manners.kicked = self.kicked();
        let returns = memory.is_some();
        if let Some(memory) = memory {
            client.memory = memory;
        } else if !self.memories.is_empty() && self.rng.bool() {
            client.memory = self.memories.swap_remove(self.rng.usize(..self.memories.len()));
        }
        let mut rng = self.rng.fork();
        let (clients, mut scene) = self.scene();
        client.greet(returns, &mut rng, &mut scene);
        say(|| format!("client {} is {token:?} of shard {shard}: {:?}", client.serial, client.manners));
        clients.push(client);
    }

    fn somebody_acts(&mut self) {
        let Some(at) = self.pick() else { return };
        let (faults, mut rng) = (self.faults.clone(), self.rng.fork());
        let (clients, mut scene) = self.scene();
        clients[at].act(&faults, &mut rng, &mut scene);
    }

    fn bytes_arrive(&mut self) {
        let Some(at) = self.pick() else { return };
        let piece = if self.faults.trickle { 1 } else { self.rng.usize(1..400) };
        let most = if self.rng.u8(..3) == 0 { usize::MAX } else { piece };
        let mut pipe = self.clients[at].pipe.borrow_mut();
        pipe.arrive(most);
        if self.rng.bool() {
            pipe.catch_up();
        }
    }

    fn somebody_reads(&mut self) {
        let Some(at) = self.pick() else { return };
        let most = if self.rng.bool() { usize::MAX } else { self.rng.usize(1..300) };
        let (clients, mut scene) = self.scene();
        clients[at].read(most, &mut scene);
        if self.rng.bool() {
            self.clients[at].pipe.borrow_mut().catch_up();
        }
    }

    fn somebody_wakes(&mut self) {
        let shard = self.rng.usize(..self.node.len());
        if self.has_cause(shard) || self.faults.idle_wake.hit(&mut self.rng) {
            self.wake(shard);
        }
    }

    fn has_cause(&self, shard: usize) -> bool {
        let event = |client: &Client| client.shard == shard && client.pipe.borrow().has_event();
        self.node.has_cause(shard, self.now) || self.clients.iter().any(event)
    }

    /// What a reactor does when its poll returns.
    fn wake(&mut self, shard: usize) {
        say(|| format!("{} shard {shard} wakes", self.now.mono_ms));
        self.tell_of_events(shard);
        let faults = (!self.calm).then_some(&self.faults);
        if faults.is_some_and(|faults| faults.stale.hit(&mut self.rng)) {
            let readiness = Readiness { readable: true, writable: true, read_closed: self.rng.bool() };
            for (_, token) in self.stale.iter().filter(|(at, _)| *at == shard) {
                self.node.shards[shard].ready(self.now, *token, readiness);
            }
        }
        self.node.open_mail(shard, self.now, faults, &mut self.rng);
        let congested = faults.is_some_and(|faults| faults.congested.hit(&mut self.rng));
        self.node.set_congested(shard, congested, &mut self.rng);
        let permitted = self.calm || self.rng.bool();
        self.node.permit_large_passes(shard, permitted);
        let told = self.node.turn(shard, self.now, &mut self.trace);
        for publication in told {
            let channel = self.truth.channel(&publication.channel);
            let past = self.truth.past.as_mut().expect("a witness");
            past.publish(channel, &publication, self.now.mono_ms);
        }
        if let Some(past) = &mut self.truth.past {
            past.turn(shard, self.now.mono_ms);
        }
        self.check_polls(shard);
    }

    fn tell_of_events(&mut self, shard: usize) {
        let count = self.clients.len();
        let first = self.rng.usize(..count.max(1));
        for at in (0..count).map(|at| (at + first) % count) {
            if self.clients[at].shard != shard {
                continue;
            }
            let late = !self.calm && self.faults.late_event.hit(&mut self.rng);
            let spurious = !self.calm && self.faults.spurious.hit(&mut self.rng);
            let client = &self.clients[at];
            let mut readiness = Readiness { readable: spurious, writable: spurious, read_closed: false };
            if client.pipe.borrow().has_event() && !late {
                readiness = client.pipe.borrow_mut().take_event();
            }
            if readiness != Readiness::default() {
                say(|| format!("    client {} is {readiness:?}", client.serial));
                self.node.shards[shard].ready(self.now, client.token, readiness);
            }
        }
    }

    /// The control thread hands on a call of the API.
    fn publish(&mut self) {
        let ticket = self.next_ticket();
        for index in 0..self.rng.u32(1..4) {
            let (channel, padding) = (self.channel(), draw_padding(&mut self.rng, 20_000));
            let id = self.attempts.draw(channel, &mut self.rng);
            self.publish_as(id, channel, (ticket, index), padding);
        }
    }

    /// Publishes as the API does; returns the length of the data.
    pub(crate) fn publish_to(&mut self, channel: Channel, call: (u64, u32), padding: usize) -> usize {
        self.publish_as(None, channel, call, padding)
    }

    /// The same with an id.
    pub(crate) fn publish_as(
        &mut self,
        id: Option<usize>,
        channel: Channel,
        call: (u64, u32),
        padding: usize,
    ) -> usize {
        let number = self.truth.publish(channel, padding);
        let name = self.truth.names[channel].as_str();
        say(|| format!("the API publishes {number} to {name}, with id {id:?}"));
        self.calls.insert(call, number);
        let (owner, (ticket, index)) = (self.node.owner(name), call);
        let data = self.truth.data(number);
        let id = id.map(|id| self.attempts.sent(id, number, self.now.mono_ms));
        let publisher = Publisher::Call { ticket, index, id };
        let key = pick(&mut self.rng, &[None, None, Some("a"), Some("b"), Some("c")]).map(Into::into);
        self.node.send(owner, Mail::Publish { name: name.into(), data: data.into(), key, publisher });
        data.len()
    }

    pub(crate) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn ask_something(&mut self) {
        let channel = self.channel();
        let name = self.truth.names[channel].as_str();
        let question = match self.rng.u8(..4) {
            0 => Question::Counters,
            3 => Question::Density(Box::default()),
            1 => Question::Channel(name.into()),
            _ => Question::Channels { prefix: name[..1].into() },
        };
        self.ask(&question);
    }

    /// Asks every shard; returns the ticket.
    pub(crate) fn ask(&mut self, question: &Question) -> u64 {
        let ticket = self.next_ticket();
        for shard in 0..self.node.len() {
            self.node.send(shard, Mail::Ask { ticket, question: question.clone() });
        }
        self.questions.insert(ticket, self.node.len());
        ticket
    }

    fn take_reports(&mut self) {
        while let Some(report) = self.node.reports.pop_front() {
            match report {
                Report::Published { ticket, index, outcome } => {
                    let number = self.calls.remove(&(ticket, index)).expect("one outcome a publication");
                    let cursor = outcome.expect("there is room for a few channels");
                    say(|| format!("the API is told that {number} is {cursor}"));
                    let channel = self.truth.channel_of(number);
                    match self.attempts.told(number, cursor, self.now.mono_ms) {
                        Outcome::New => self.truth.numbered(channel, cursor, number),
                        Outcome::Repeated => self.truth.repeated(number),
                    }
                }
                Report::Answer { ticket, answer, .. } => {
                    let left = self.questions.get_mut(&ticket).expect("a question that was asked");
                    *left = left.checked_sub(1).expect("one answer a shard");
                    self.answers.push((ticket, answer));
                }
                Report::Stopped { .. } => panic!("a shard does not stop by itself"),
                Report::Asked { .. } | Report::Heard { .. } => panic!("there is no other node"),
            }
        }
    }

    /// Whoever is gone on both sides makes room for others.
    fn retire(&mut self) {
        for at in (0..self.clients.len()).rev() {
            let client = &self.clients[at];
            if client.stage == Stage::Over && client.pipe.borrow().server_gone {
                let client = self.clients.swap_remove(at);
                if !client.memory.places.is_empty() {
                    self.memories.push(client.memory);
                }
                self.stale.push((client.shard, client.token));
                if self.stale.len() > STALE_MAX {
                    self.stale.remove(0);
                }
            }
        }
    }

    /// Without faults and without time passing, everything happens that can. Shards are woken for a reason only.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut busy = false;
            for client in &self.clients {
                let mut pipe = client.pipe.borrow_mut();
                busy |= pipe.arrive(usize::MAX) | pipe.catch_up();
            }
            for shard in 0..self.node.len() {
                if self.has_cause(shard) {
                    self.wake(shard);
                    busy = true;
                }
            }
            let (clients, mut scene) = self.scene();
            for client in clients {
                busy |= client.read(usize::MAX, &mut scene);
            }
            self.take_reports();
            self.retire();
            self.check_queues();
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Nothing is owed to the control thread.
    pub(crate) fn check_calls(&self) {
        assert!(self.calls.is_empty(), "publications without an outcome: {:?}", self.calls);
        assert!(self.questions.values().all(|left| *left == 0), "questions without an answer");
    }

    pub(crate) fn has_tight_rate(&self) -> bool {
        self.faults.tight_rate
    }
}
