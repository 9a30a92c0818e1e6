//! Floor 4: the control thread: the API, signals, and the end of the node. Must never stand in the way of a byte to a
//! client: it speaks to shards by mail alone.

mod calls;
mod conn;
mod distant;
mod drain;
mod metrics;
mod reload;
mod requests;
mod status;
mod stream;
mod supervisor;
pub mod token_keys;

pub use reload::{Reload, Reloader};
pub use stream::{Listener, Stream};

use crate::api::Reply;
use crate::api::density::{Density, Measured};
use crate::api::status::Survey;
use crate::clock::Now;
use crate::cluster::Health;
use crate::config::policy::Policies;
use crate::hub::names::Names;
use crate::limits::{ACCEPT_BUDGET, API_BUDGET_REQUESTS, API_CONNS_MAX};
use crate::reactor::acceptor::{Acceptor, Arrival};
use crate::reactor::clock::Clock;
use crate::reactor::post_office::{PostOffice, Sender};
use crate::reactor::refused::turn_away;
use crate::shard::mail::Report;
use crate::sys::footprint;
use crate::sys::observe;
use crate::sys::signals::Signals;
use calls::{Call, Caller, Finished, Purpose};
use conn::{ApiConn, Fate};
use drain::Drain;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use status::Watch;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Supervisor;

/// The poll's name for the control thread's mailbox.
pub const MAILBOX: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);
const RELOADS: Token = Token(usize::MAX - 3);
/// How often time limits are looked at while there is anything to limit.
const SWEEP_MS: u64 = 250;

/// What the control thread is told once.
#[derive(Debug)]
pub struct Settings {
    /// The node's name.
    pub node: Box<str>,
    /// Connections that the node may hold, for `/metrics` and the status page.
    pub connections_max: usize,
    /// Bytes that may be queued to all connections, likewise.
    pub queued_bytes_max: usize,
    /// Bytes that may be queued to one for long, likewise.
    pub queue_soft_bytes: usize,
    /// Time between the word that the node is not ready and the first goodbye.
    pub drain_delay: Duration,
    /// Time over which the goodbyes of a drain are spread where nobody says otherwise.
    pub drain_over: Duration,
    /// Says who owns a channel.
    pub names: Names,
    /// Says whose followers are counted.
    pub policies: Policies,
    /// Whether clients come over IPv6: the kernel's sockets are of another kind then.
    pub ipv6: bool,
    /// Whether each shard has a descriptor table of its own.
    pub own_tables: bool,
    /// How the broker of several nodes is, where there is one.
    pub broker: Option<Health>,
}

/// What asks the process for something.
#[derive(Debug)]
pub struct AllSignals {
    /// To end.
    pub ends: Signals,
    /// To read its configuration anew.
    pub reloads: Signals,
}

/// The control thread.
pub struct Control {
    settings: Settings,
    reload: Reloader,
    poll: Poll,
    acceptor: Acceptor<Listener>,
    signals: AllSignals,
    office: Arc<PostOffice>,
    sender: Sender,
    clock: Clock,
    conns: Slab<(ApiConn, u64)>,
    calls: BTreeMap<u64, Call>,
    /// Tickets and generations: never used twice.
    serial: u64,
    requests: u64,
    drain: Drain,
    /// Connections that may have more requests waiting, of which nothing will say so again.
    again: Vec<usize>,
    /// Shards that are not done with a drain.
    running: usize,
    inbox: Vec<Report>,
    watch: Watch,
    supervisor: Supervisor,
    /// Bytes of the process that were resident when it began to serve.
    rss_at_start: Option<u64>,
    /// Descriptors that were open then, in all its tables.
    fds_at_start: u64,
}

impl Control {
    /// Whether the node takes connections, and what is published gets to everyone.
    fn is_ready(&self) -> bool {
        self.drain.is_ready() && self.settings.broker.as_ref().is_none_or(Health::is_up)
    }

    /// Puts the API and the signals on the control thread's poll.
    ///
    /// # Errors
    /// When something cannot be registered.
    pub fn new(
        settings: Settings,
        reload: Reloader,
        poll: Poll,
        mut acceptor: Acceptor<Listener>,
        mut signals: AllSignals,
        office: Arc<PostOffice>,
        clock: Clock,
    ) -> io::Result<Self> {
        acceptor.source_mut().register(poll.registry(), LISTENER)?;
        poll.registry().register(signals.ends.source(), SIGNALS, Interest::READABLE)?;
        poll.registry().register(signals.reloads.source(), RELOADS, Interest::READABLE)?;
        let (sender, running) = (Sender::new(office.clone()), office.shards.len());
        Ok(Self {
            settings,
            reload,
            poll,
            acceptor,
            signals,
            office,
            sender,
            clock,
            conns: Slab::new(),
            calls: BTreeMap::new(),
            serial: 0,
            requests: 0,
            drain: Drain::Serving,
            again: Vec::new(),
            running,
            inbox: Vec::new(),
            watch: Watch::new(clock.now(), running),
            supervisor: Supervisor::from_environment(),
            rss_at_start: None,
            fds_at_start: 0,
        })
    }

    /// Serves the API until every shard is drained after a signal.
    ///
    /// # Errors
    /// When the poll fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        self.rss_at_start = footprint::process().map(|process| process.rss);
        self.fds_at_start = observe::list_open(self.settings.own_tables);
        self.acceptor.open_reserve();
        self.tell_ready();
        // Clients may have come while the node was being put together.
        let mut timeout = Some(Duration::ZERO);
        while self.running > 0 {
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let now = self.clock.now();
            for event in &events {
                match event.token() {
                    MAILBOX => self.open_mail(now),
                    LISTENER => self.acceptor.ready(),
                    SIGNALS => self.signalled(now),
                    RELOADS => self.reload(),
                    Token(key) => {
                        if let Some((conn, _)) = self.conns.get_mut(key) {
                            conn.set_readable();
                            self.advance(now, key);
                        }
                    }
                }
            }
            self.accept(now);
            for key in std::mem::take(&mut self.again) {
                self.advance(now, key);
            }
            self.sweep(now);
            self.drain_on(now);
            self.look_for_watchers(now);
            self.ask_for_life(now);
            self.sender.send();
            timeout = self.timeout(now);
        }
        Ok(())
    }

    fn timeout(&self, now: Now) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let busy = !self.conns.is_empty() || !self.calls.is_empty();
        let sweep_ms = busy.then_some(now.mono_ms + SWEEP_MS);
        let (watch_ms, supervisor_ms) = (self.watch.due_ms(), self.supervisor.due_ms());
        let due = [sweep_ms, self.acceptor.due_ms(now), watch_ms, supervisor_ms, self.drain.due_ms()];
        let due_ms = due.into_iter().flatten().min()?;
        Some(Clock::until(now, due_ms))
    }

    fn accept(&mut self, now: Now) {
        for _ in 0..ACCEPT_BUDGET {
            match self.acceptor.next(now) {
                Arrival::Newcomer(stream) => self.let_in(now, stream),
                Arrival::Refused | Arrival::Gone => {}
                Arrival::Nobody => return,
            }
        }
    }

    fn let_in(&mut self, now: Now, mut stream: Stream) {
        let outcome = if self.conns.len() < API_CONNS_MAX {
            stream.register(self.poll.registry(), Token(self.conns.vacant_key()))
        } else {
            Err(io::Error::other("too many connections to the API"))
        };
        match outcome {
            Ok(()) => {
                self.serial += 1;
                let key = self.conns.insert((ApiConn::new(stream, now), self.serial));
                self.advance(now, key);
            }
            Err(error) => {
                self.acceptor.complaint().refused(now, &error);
                turn_away(stream);
            }
        }
    }

    /// Serves one connection as far as it goes, within a budget.
    fn advance(&mut self, now: Now, key: usize) {
        for _ in 0..API_BUDGET_REQUESTS {
            let Some((conn, generation)) = self.conns.get_mut(key) else { return };
            let generation = *generation;
            match conn.advance(now) {
                Ok((Some(request), _)) => self.call(now, (key, generation), request),
                Ok((None, Fate::Open)) => return,
                Ok((None, Fate::Over)) | Err(_) => {
                    self.conns.remove(key);
                    return;
                }
            }
        }
        self.again.push(key);
    }

    fn open_mail(&mut self, now: Now) {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.office.control.take(&mut inbox);
        for report in inbox.drain(..) {
            let ticket = match report {
                Report::Published { ticket, index, outcome } => {
                    if let Some(call) = self.calls.get_mut(&ticket) {
                        call.published(index, outcome);
                    }
                    ticket
                }
                Report::Answer { ticket, shard, answer } => {
                    if let Some(call) = self.calls.get_mut(&ticket) {
                        call.answered(now, usize::from(shard.0), answer);
                    }
                    ticket
                }
                Report::Asked { node, ticket, question } => {
                    self.asked(now, node, ticket, question);
                    continue;
                }
                Report::Heard { ticket, part } => {
                    self.heard(ticket, part);
                    ticket
                }
                Report::Stopped { shard } => {
                    tracing::debug!(shard = shard.0, "shard drained");
                    self.running -= 1;
                    continue;
                }
            };
            if self.calls.get(&ticket).is_some_and(Call::is_complete)
                && let Some(call) = self.calls.remove(&ticket)
            {
                self.finish_late(now, call);
            }
        }
        self.inbox = inbox;
    }

    fn finish(&mut self, now: Now, mut call: Call) {
        if let Some((node, ticket)) = call.distant.take() {
            return self.answer_node(node, ticket, call);
        }
        let caller = call.caller;
        let reply = match call.finish() {
            Finished::Reply(reply) => reply,
            Finished::Counters(shards, format) => self.metrics(shards, format),
            Finished::Survey(survey, Purpose::Density) => self.density(&survey),
            Finished::Survey(survey, Purpose::Status) => return self.surveyed(now, caller, survey),
            Finished::Drain(shards) => self.drain_progress(now, &shards).reply(),
            Finished::Life(shards) => return self.heard_of_life(now, &shards),
            Finished::Look(shards) => return self.looked(now, caller, shards),
        };
        self.reply(now, caller, &reply);
    }

    /// Answers a call that other requests of its connection may be waiting behind.
    fn finish_late(&mut self, now: Now, call: Call) {
        let caller = call.caller;
        self.finish(now, call);
        if let Some((key, _)) = caller {
            self.advance(now, key);
        }
    }

    fn density(&self, survey: &Survey) -> Reply {
        let measured = Measured {
            shards: self.office.shards.len() as u64,
            connections: survey.connections,
            heap: survey.heap,
            process: footprint::process(),
            rss_at_start: self.rss_at_start,
            allocator: footprint::allocator(),
            socket: footprint::socket_objects(self.settings.ipv6),
            tcp: footprint::tcp(),
        };
        Density::new(&measured).reply()
    }

    /// Answers a call; a caller that is gone gets nothing.
    fn reply(&mut self, now: Now, caller: Caller, reply: &Reply) {
        if let Some((key, generation)) = caller
            && let Some((conn, found)) = self.conns.get_mut(key)
            && *found == generation
        {
            conn.answer(now, reply);
        }
    }

    fn sweep(&mut self, now: Now) {
        let late: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.due_ms <= now.mono_ms)
            .map(|(&ticket, _)| ticket)
            .collect();
        for call in late.into_iter().filter_map(|ticket| self.calls.remove(&ticket)).collect::<Vec<_>>() {
            self.finish_late(now, call);
        }
        let late: Vec<usize> = self
            .conns
            .iter()
            .filter(|(_, (conn, _))| conn.due_ms <= now.mono_ms)
            .map(|(key, _)| key)
            .collect();
        for key in late {
            if self.conns[key].0.expire(now) {
                self.conns.remove(key);
            } else {
                self.advance(now, key);
            }
        }
    }
}
