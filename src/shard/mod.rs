//! Floor 3: what one core owns. A shard is a value: the same moments, bytes and mail give the same result.
//! Must never know a poll, a thread or a real socket: the reactor and the simulation drive it through the same verbs.
//!
//! One turn: the reactor hands over what happened ([`Shard::insert`], [`Shard::ready`], [`Shard::mail`]), then calls
//! [`Shard::turn`], which works off what was marked, within budgets, and says when it wants to be called again; then
//! it carries out [`Shard::parcels`].
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod conn_table;
pub mod mail;

mod broker;
mod budget;
mod call;
mod catch_up;
mod close;
mod commands;
mod drain;
mod grants;
mod head;
mod http;
mod kick;
mod pass;
mod poll;
mod portrait;
mod post;
mod presence;
mod read;
mod replay;
mod said;
mod sign_in;
mod stream;
mod survey;
mod sweep;
mod upgrade;
mod view;
mod walk;
mod write;

use crate::clock::Now;
use crate::config::policy::Policies;
use crate::conn::socket::Socket;
use crate::hub::mirror::Mirror;
use crate::hub::names::Names;
use crate::hub::owned::ShardSet;
use crate::hub::{Hub, ShardId};
use crate::limits::{EXPIRY_BUDGET, Limits, READY_BUDGET, RECEIVE_BUFFER_BYTES};
use crate::metrics::Counters;
use crate::metrics::cause::Cause;
use crate::proto::origin::OriginPolicy;
use crate::tokens::{Demands, Keys};
use broker::Waiter;
use budget::Budget;
use catch_up::CatchUps;
use conn_table::{ConnTable, Token};
use drain::Drain;
use grants::Grants;
use kick::Kicking;
use mail::{Parcel, Rules};
use pass::Passes;
use presence::Moves;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use survey::Survey;
use sweep::Hand;
use walk::Walk;

/// What a shard is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which shard it is.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The bounds.
    pub limits: Limits,
    /// What clients may do, by channel.
    pub policies: Policies,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// What tokens may be signed with.
    pub keys: Arc<Keys>,
    /// What is asked of a token beside its signature.
    pub demands: Arc<Demands>,
    /// Serve `/echo`.
    pub echo: bool,
    /// Serve the demo page.
    pub demo: bool,
    /// The node's name in `welcome`.
    pub node: Box<str>,
    /// The node's hash of channel names, the same for all shards.
    pub names: Names,
    /// A broker numbers the channels, for several nodes.
    pub brokered: bool,
    /// Starts the epochs and the jitter; random and different for each shard.
    pub own_seed: u64,
}

impl Settings {
    /// One of `shards`, with the default of everything else: open to everybody, and the same each time.
    #[must_use]
    pub fn new(id: u16, shards: u16, names: Names) -> Self {
        Self {
            id: ShardId(id),
            shards,
            limits: Limits::default(),
            policies: Policies::default(),
            origins: OriginPolicy::SameOrigin,
            keys: Arc::default(),
            demands: Arc::default(),
            echo: false,
            demo: false,
            node: "roost".into(),
            names,
            brokered: false,
            own_seed: u64::from(id),
        }
    }

    fn take_over(&mut self, rules: Rules) {
        let Rules { message_bytes_max, queue_soft_bytes, queue_soft_for_ms, queue_hard_bytes, .. } = rules;
        let age_max_ms = rules.age_max_ms;
        self.limits = Limits {
            message_bytes_max,
            queue_soft_bytes,
            queue_soft_for_ms,
            queue_hard_bytes,
            age_max_ms,
            ..self.limits.clone()
        };
        (self.policies, self.origins) = (rules.policies, rules.origins);
        (self.keys, self.demands) = (rules.keys, rules.demands);
        (self.echo, self.demo) = (rules.echo, rules.demo);
    }
}

/// What the poll says of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There may be bytes.
    pub readable: bool,
    /// There may be room.
    pub writable: bool,
    /// The peer ended its side.
    pub read_closed: bool,
}

/// When a shard wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    Now,
    /// At this moment at the latest, in milliseconds since the node started.
    At(u64),
    /// When something happens.
    Idle,
}

/// One shard.
#[derive(Debug)]
pub struct Shard<S> {
    settings: Settings,
    conns: ConnTable<S>,
    hub: Hub,
    counters: Counters,
    /// Mail to be carried out at the end of the turn.
    parcels: Vec<Parcel>,
    /// Shards whose mailbox is over its bound.
    congested: ShardSet,
    /// What waits for the broker is over its bound.
    broker_congested: bool,
    /// What this owner knows of channels that the broker numbers.
    mirror: Mirror<Waiter>,
    /// Connections whose read was cut short by the budget: an edge-triggered poll will not mention them again.
    again: VecDeque<Token>,
    /// Connections whose next page of what they missed may be fetched.
    replays: VecDeque<Token>,
    /// Connections that get the latest of what they lag behind.
    catch_ups: CatchUps,
    passes: Passes,
    /// Channels whose subscribers came or went in this turn, where their policy has them counted, and whose they were.
    moves: BTreeMap<Arc<str>, Moves>,
    /// Who is signed in.
    grants: Grants,
    /// Slots to be freed at the end of the turn.
    dead: Vec<u32>,
    /// The receive buffer of all connections.
    receive: Box<[u8]>,
    /// What is to be said to the connection being served.
    replies: Vec<u8>,
    hand: Hand,
    budget: Budget,
    drain: Option<Drain>,
    survey: Option<Box<Survey>>,
    /// Those who look for connections, in the order in which they came.
    walks: VecDeque<Walk>,
    /// Whom an operator wants to be gone.
    kicks: Vec<Kicking>,
    /// Joins by now: tells one from another.
    joins: u32,
    rng: fastrand::Rng,
}

impl<S: Socket> Shard<S> {
    /// A shard without connections.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut rng = fastrand::Rng::with_seed(settings.own_seed);
        Self {
            hub: Hub::new(settings.shards, settings.names, rng.u64(..), &settings.limits),
            hand: Hand::new(&settings.limits, rng.u32(..)),
            budget: Budget::new(&settings),
            settings,
            conns: ConnTable::new(),
            counters: Counters::default(),
            parcels: Vec::new(),
            congested: ShardSet::default(),
            broker_congested: false,
            mirror: Mirror::default(),
            again: VecDeque::new(),
            replays: VecDeque::new(),
            catch_ups: CatchUps::default(),
            passes: Passes::default(),
            moves: BTreeMap::new(),
            grants: Grants::default(),
            dead: Vec::new(),
            // Not zeros, which the allocator would promise without having them: what every shard needs is there
            // before its first client.
            receive: vec![u8::MAX; RECEIVE_BUFFER_BYTES].into_boxed_slice(),
            replies: Vec::new(),
            drain: None,
            survey: None,
            walks: VecDeque::new(),
            kicks: Vec::new(),
            joins: 0,
            rng,
        }
    }

    /// Takes an accepted socket.
    ///
    /// # Errors
    /// Gives the socket back when the shard is full or drains.
    pub fn insert(&mut self, now: Now, socket: S) -> Result<Token, S> {
        self.insert_with(now, socket, |_, _| Ok(())).map_err(|(socket, _)| socket)
    }

    /// As [`Shard::insert`]; `register` puts the socket on the poll.
    ///
    /// # Errors
    /// Gives the socket back also when that fails, and then with what it reported.
    pub fn insert_with(
        &mut self,
        now: Now,
        socket: S,
        register: impl FnOnce(&mut S, Token) -> io::Result<()>,
    ) -> Result<Token, (S, Option<io::Error>)> {
        if self.conns.len() >= self.settings.limits.conns_per_shard_max || self.is_closing() {
            return Err((socket, None));
        }
        let token = self.conns.insert(socket, now);
        if let Err(error) = register(&mut self.conns[token.slot].socket, token) {
            return Err((self.conns.remove(token.slot).socket, Some(error)));
        }
        self.counters.accepted += 1;
        self.hand.expect(now.mono_ms + self.settings.limits.handshake_timeout_ms);
        Ok(token)
    }

    /// The socket of a connection, for whoever drives the shard.
    pub fn socket_mut(&mut self, token: Token) -> Option<&mut S> {
        self.conns.find_mut(token).map(|conn| &mut conn.socket)
    }

    /// Counts clients that were refused for want of room, descriptors or memory.
    pub fn count_refused(&mut self, clients: usize) {
        self.counters.accepts_refused += clients as u64;
        let cause = if self.drain.is_some() { Cause::Draining } else { Cause::Full };
        self.counters.handshake_failures[cause.index()] += clients as u64;
    }

    /// Does what the poll found ready; a stale token is nobody's.
    pub fn ready(&mut self, now: Now, token: Token, readiness: Readiness) {
        if readiness.writable && self.conns.find(token).is_some() {
            self.flush(now, token.slot);
        }
        let Some(conn) = self.conns.find_mut(token) else { return };
        conn.read_closed |= readiness.read_closed;
        if readiness.readable || readiness.read_closed {
            self.read(now, token.slot);
        }
    }

    /// Works off what was marked, within the budgets.
    pub fn turn(&mut self, now: Now) -> Next {
        self.counters.turns += 1;
        self.passes.begin_turn();
        self.read_again(now);
        let mut rest_at = None;
        if !self.budget.is_cutting() {
            self.run_replays(now);
            self.run_passes(now);
            rest_at = self.run_catch_ups(now);
        }
        let drain_at = self.drain_step(now);
        let walking = self.walk_step(now);
        let kick_at = self.kick_step(now);
        let sweep_at = self.sweep(now);
        let cutting = self.cut_largest(now);
        let expiry_at = self.hub.owned.sweep(now, EXPIRY_BUDGET);
        self.unfollow_forgotten();
        self.free_dead(now);
        self.tell_counts(now);
        let announce_at = self.announce(now);
        let surveying = self.survey_step();
        let listed = !self.again.is_empty() || !self.replays.is_empty() || !self.catch_ups.is_empty();
        let listed = listed || drain_at.into_iter().chain(kick_at).any(|at_ms| at_ms <= now.mono_ms);
        if cutting || walking || surveying || listed || self.passes.is_ready() || !self.dead.is_empty() {
            return Next::Now;
        }
        match [sweep_at, expiry_at, announce_at, rest_at, drain_at, kick_at].into_iter().flatten().min() {
            Some(at) => Next::At(at),
            None => Next::Idle,
        }
    }

    /// Counts what the turn that began at `now` took as a whole, in microseconds: whoever drives the shard has measured it.
    pub fn count_turn(&mut self, now: Now, us: u64) {
        self.counters.turn_times.observe(us);
        for pass_us in self.passes.took_us(now, us) {
            self.counters.pass_times.observe(pass_us);
        }
    }

    /// Counts how late a turn began that a moment had been set for, in milliseconds.
    pub fn count_lag(&mut self, ms: u64) {
        self.counters.lags.observe(ms * 1000);
    }

    /// What is to be carried out, in order. Empty afterwards.
    pub fn parcels(&mut self) -> std::vec::Drain<'_, Parcel> {
        self.parcels.drain(..)
    }

    /// Notes whose mailbox is over its bound: publications to those are refused until told otherwise.
    pub fn set_congested(&mut self, congested: ShardSet) {
        self.congested = congested;
    }

    /// Notes whether too much waits for the broker: publications are refused until told otherwise.
    pub fn set_broker_congested(&mut self, congested: bool) {
        self.broker_congested = congested;
    }

    /// Says whether this shard may go on with passes over large channels: true unless told otherwise. The first few writes of
    /// every pass are always made, so small channels wait for nobody.
    pub fn permit_large_passes(&mut self, permitted: bool) {
        self.passes.permit(permitted);
    }

    /// Whether there are passes over large channels to go on with.
    #[must_use]
    pub fn has_large_passes(&self) -> bool {
        self.passes.has_large()
    }

    /// Gives back what a crowd that has left made large. What it holds stays.
    pub fn give_back(&mut self) {
        self.parcels.shrink_to_fit();
        self.again.shrink_to_fit();
        self.replays.shrink_to_fit();
        self.catch_ups.shrink();
        self.passes.shrink();
        self.dead.shrink_to_fit();
        self.walks.shrink_to_fit();
        self.kicks.shrink_to_fit();
        self.replies.shrink_to_fit();
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// How many there may be.
    #[must_use]
    pub fn conns_max(&self) -> usize {
        self.settings.limits.conns_per_shard_max
    }

    /// The shard that numbers a channel.
    #[must_use]
    pub fn owner(&self, channel: &str) -> ShardId {
        self.hub.owner(channel)
    }

    /// The offset of the last publication of a channel that this shard numbers; 0 when it knows of none.
    #[must_use]
    pub fn head(&self, channel: &str) -> u64 {
        self.hub.owned.cursor(channel).map_or(0, |cursor| cursor.offset)
    }

    /// Whether everyone was to go, and is gone.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_closing() && self.conns.is_empty()
    }

    /// What it counted, with the gauges as they are now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.view_counters()
    }

    fn read_again(&mut self, now: Now) {
        for _ in 0..self.again.len().min(READY_BUDGET) {
            let Some(token) = self.again.pop_front() else { break };
            if let Some(conn) = self.conns.find_mut(token) {
                conn.listed = false;
                self.read(now, token.slot);
            }
        }
    }
}
