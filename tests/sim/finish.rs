//! The end of a world: the faults stop, and everything that was promised must be kept.

use crate::client::{Client, POLL, STREAM, Stage, WEBSOCKET, Way};
use crate::kick::KICK_OVER_MS;
use crate::trace::{count, say};
use crate::truth::{Channel, floor};
use crate::world::World;
use roost::clock::TICK_MS;
use roost::config::policy::Slow;
use roost::dialect::cursor::Cursor;
use roost::disconnect::{Bound, Disconnect};
use roost::limits::{HIDDEN_REST_MS, POLL_WAIT_S_MAX, PUBLISH_ID_KEEP_MS};
use roost::shard::mail::{Answer, Question};
use std::collections::BTreeSet;

/// Slack of a timeout beyond the rounds of the clock hand, in milliseconds.
const SLACK_MS: u64 = 300;

impl World {
    /// Runs the world to its end; returns the hash of all that it said.
    pub(crate) fn finish(mut self) -> u64 {
        self.calm_down();
        self.end_drains();
        self.settle();
        self.check_settled();
        self.check_drain();
        self.everyone_gets_one_more();
        self.publishers_try_again();
        self.everyone_is_counted();
        self.time_is_up();
        self.everyone_leaves();
        self.publishers_try_too_late();
        self.channels_are_forgotten();
        self.trace.hash()
    }

    fn calm_down(&mut self) {
        say(|| "the faults stop".to_owned());
        self.calm = true;
        // Whom an operator wants to be gone goes by now.
        self.pass(KICK_OVER_MS);
        let (clients, scene) = self.scene();
        for client in clients {
            client.pipe.borrow_mut().calm();
            if client.stalled {
                client.thaw(&scene);
            }
            client.read_on(scene.now);
        }
    }

    /// The model and the node agree about everything.
    pub(crate) fn check_settled(&mut self) {
        self.check_nobody_waits();
        if self.clients.iter().any(|client| client.hidden) {
            // These wait for their second, and for nothing else.
            self.wait(HIDDEN_REST_MS + TICK_MS);
        }
        self.what_is_due_happens();
        let tight_rate = self.has_tight_rate();
        self.clients.iter().for_each(|client| client.check_settled(tight_rate));
        for channel in 0..self.truth.names.len() {
            self.check_channel(channel);
        }
        self.check_gauges();
        self.check_within_budget();
        self.check_calls();
    }

    /// A turn moves the clock hand to where it should be by now, and what falls due by that must happen before a look is taken.
    pub(crate) fn what_is_due_happens(&mut self) {
        self.ask(&Question::Counters);
        self.settle();
        self.answers.clear();
    }

    /// Everyone that somebody looks at has what anybody knows of, before anything else wakes a shard.
    pub(crate) fn check_nobody_waits(&self) {
        for channel in 0..self.truth.names.len() {
            let heads = self.truth.heads(channel);
            for client in self
                .clients
                .iter()
                .filter(|client| follows(client, channel) && !client.stalled && !client.hidden)
            {
                let (who, at) = (client.serial, place(client, channel));
                let head = floor(&heads, at.epoch);
                assert_eq!(at.offset, head, "client {who} waits for {}", self.truth.names[channel]);
            }
        }
    }

    /// A node that drains has told everyone, and takes nobody.
    fn check_drain(&mut self) {
        if self.closing {
            let kept = self.clients.iter().find(|client| client.is_open() || client.stage == Stage::Greeting);
            assert!(kept.is_none(), "a draining node kept {kept:?}");
            for shard in 0..self.node.len() {
                let clients = self.clients.len();
                self.connect_to(shard);
                assert_eq!(self.clients.len(), clients, "a draining shard takes a connection");
            }
        }
    }

    fn check_channel(&mut self, channel: Channel) {
        let name = self.truth.names[channel].clone();
        let ticket = self.ask(&Question::Channel(name.as_str().into()));
        self.settle();
        let mut head: Option<Cursor> = None;
        let mut known = 0;
        for (_, answer) in self.answers.extract_if(.., |(other, _)| *other == ticket) {
            let Answer::Channels { channels, .. } = answer else { panic!("not the answer") };
            for part in channels {
                assert_eq!(&*part.name, name);
                if let (Some(_), Some(past)) = (part.cursor, &self.truth.past) {
                    let count = past.count(channel, self.now.mono_ms);
                    assert_eq!(part.history, count, "publications kept of {name}");
                }
                assert!(part.cursor.is_none() || head.is_none(), "{name} has two owners");
                head = head.or(part.cursor);
                known += part.subscribers;
            }
        }
        let followers: Vec<&Client> = self.clients.iter().filter(|client| follows(client, channel)).collect();
        assert_eq!(known, followers.len(), "subscribers of {name}");
        for client in followers {
            let at = place(client, channel);
            let who = client.serial;
            assert!(client.stalled || Some(at) == head, "client {who} is at {at} of {name}, not at {head:?}");
        }
        if let Some(head) = head {
            self.truth.seen(channel, head);
        }
    }

    fn check_gauges(&self) {
        for (id, shard) in self.node.shards.iter().enumerate() {
            let counters = shard.counters();
            let here = || self.clients.iter().filter(|client| client.shard == id);
            let connected = here().filter(|client| !client.pipe.borrow().server_gone).count();
            assert_eq!(counters.connections, connected as u64, "connections of shard {id}");
            if here().all(|client| !client.manners.wild) {
                let ways = [WEBSOCKET, STREAM, POLL].map(|way| here().filter(|client| is_of(client, way)));
                let ways = ways.map(|clients| clients.count() as u64);
                assert_eq!(counters.transports, ways, "clients of shard {id} by their way");
            }
            let channels = 0..self.truth.names.len();
            let followed: Vec<Channel> = here()
                .flat_map(|client| channels.clone().filter(move |&channel| follows(client, channel)))
                .collect();
            assert_eq!(counters.subscriptions, followed.len() as u64, "subscriptions of shard {id}");
            let channels: BTreeSet<&Channel> = followed.iter().collect();
            assert_eq!(counters.channels, channels.len() as u64, "channels of shard {id}");
            if let Some(past) = &self.truth.past {
                let kept = (counters.history_bytes as usize, counters.history_publications as usize);
                assert_eq!(kept, past.of_owner(id), "the history of shard {id}");
            }
            assert_eq!(counters.panics, 0, "a panic was caught");
            assert_eq!(counters.accepted, self.accepted[id]);
            let ended: u64 = counters.disconnects.sum();
            let open = here().filter(|client| client.is_open()).count() as u64;
            assert!(ended <= counters.accepted - open, "shard {id} counts an end twice");
        }
    }

    /// Every list of subscribers is as it should be.
    fn everyone_gets_one_more(&mut self) {
        let ticket = self.next_ticket();
        for channel in 0..self.truth.names.len() {
            self.publish_to(channel, (ticket, channel as u32), 100);
        }
        self.settle();
        self.check_settled();
    }

    fn publishers_try_again(&mut self) {
        self.send_every_id();
        self.check_settled();
    }

    /// Whatever has an id is sent once more.
    fn send_every_id(&mut self) {
        let ticket = self.next_ticket();
        for (index, (id, channel)) in self.attempts.known().into_iter().enumerate() {
            self.publish_as(Some(id), channel, (ticket, index as u32), 10);
        }
        self.settle();
    }

    /// All timeouts pass: who answers stays, everybody else is gone, each for its own reason.
    fn time_is_up(&mut self) {
        let limits = self.limits.clone();
        let (round_ms, soft_bytes) = (self.round_ms(), limits.queue_soft_bytes + 1_000);
        self.slow_readers_are_kept();
        let slow = [WEBSOCKET, STREAM].map(|way| self.make_slow_consumer(way, Slow::Disconnect, soft_bytes));
        self.clients.iter_mut().for_each(|client| client.pinged = 0);
        let polite = |client: &&Client| client.can_speak() && !client.stalled && !client.manners.mute;
        let polite: Vec<u64> = self.clients.iter().filter(polite).map(|client| client.serial).collect();
        self.wait(limits.queue_soft_for_ms + limits.close_timeout_ms + 3 * round_ms + SLACK_MS);
        for serial in slow.into_iter().flatten() {
            self.check_slow_consumer(serial);
        }
        // What comes behind a poll that is held has its own time.
        let silent_ms = limits.idle_timeout_ms.max(POLL_WAIT_S_MAX * 1_000);
        let all_ms = silent_ms + limits.handshake_timeout_ms + limits.close_timeout_ms;
        self.wait(all_ms + 4 * round_ms + SLACK_MS);
        for client in &self.clients {
            let (who, stage, manners) = (client.serial, client.stage, client.manners);
            let gone = client.pipe.borrow().server_gone;
            let expected = polite.contains(&who) != gone || manners.wild;
            assert!(expected, "client {who} in {stage:?}: {manners:?}");
        }
        for who in polite {
            let client = self.clients.iter().find(|client| client.serial == who);
            let pinged = client
                .is_some_and(|client| client.is_open() && (client.pinged > 0 || !client.is_websocket()));
            assert!(pinged, "client {who} answers all pings and was not pinged, or not kept");
        }
        self.check_settled();
    }

    fn everyone_leaves(&mut self) {
        for at in 0..self.clients.len() {
            let way = self.rng.u8(..4);
            let client = &mut self.clients[at];
            match way {
                0 if client.can_speak() && client.is_websocket() => client.goodbye(Some(1000)),
                1 => client.reset(),
                2 => client.pipe.borrow_mut().close(),
                _ => client.end(),
            }
            client.manners.left = true;
        }
        self.settle();
        self.wait(self.limits.close_timeout_ms + 3 * self.round_ms() + SLACK_MS);
        for (id, shard) in self.node.shards.iter().enumerate() {
            let counters = shard.counters();
            let left = (counters.connections, counters.subscriptions, counters.channels);
            assert_eq!(left, (0, 0, 0), "shard {id}: connections, subscriptions, channels");
            assert_eq!(counters.transports, [0; 3], "shard {id}: clients by their way");
            let ended: u64 = counters.disconnects.sum();
            assert_eq!(counters.accepted, ended, "shard {id}: every connection ends for one reason");
            let slow = counters.disconnects.of(Disconnect::SlowConsumer);
            assert_eq!(counters.slow_consumers.iter().sum::<u64>(), slow, "shard {id}: each for one bound");
            (0..counters.slow_consumers[Bound::Total.index()]).for_each(|_| count("a lag cut for all"));
            let internal = counters.disconnects.of(Disconnect::Internal);
            assert_eq!((internal, counters.panics), (0, 0), "shard {id}: a fault of ours");
            assert_eq!(shard.is_drained(), self.closing);
        }
        self.check_memory_is_back();
    }

    /// Nobody is there, so nothing of anybody's is kept.
    fn check_memory_is_back(&mut self) {
        let ticket = self.ask(&Question::Density(Box::default()));
        self.settle();
        for (_, answer) in self.answers.extract_if(.., |(other, _)| *other == ticket) {
            let Answer::Density { connections, heap, .. } = answer else { panic!("not the answer") };
            let kept = [connections, heap.slab, heap.boxes, heap.queues, heap.subscriptions];
            assert_eq!(kept, [0; 5], "connections, slab, boxes, queues, subscriptions");
        }
    }

    /// After its time an id is a new one.
    fn publishers_try_too_late(&mut self) {
        self.wait(PUBLISH_ID_KEEP_MS + 2 * TICK_MS);
        self.send_every_id();
    }

    fn channels_are_forgotten(&mut self) {
        for name in self.truth.names.iter().filter(|_| self.truth.past.is_some()) {
            self.node.unwatch(name);
        }
        self.settle();
        self.wait(self.truth.longest_keep_ms().max(PUBLISH_ID_KEEP_MS) + 2 * TICK_MS);
        for (id, shard) in self.node.shards.iter().enumerate() {
            let counters = shard.counters();
            assert_eq!(counters.channels_owned, 0, "shard {id} remembers channels that nobody uses");
            assert_eq!((counters.history_bytes, counters.history_publications), (0, 0), "shard {id}");
            assert_eq!(counters.presence_channels, 0, "shard {id} counts channels that nobody follows");
            assert_eq!((counters.ids, counters.ids_evicted), (0, 0), "shard {id} remembers ids");
            assert!(!self.node.has_mail(id), "mail is left");
            assert!(!self.node.has_cause(id, self.now), "shard {id} has no peace");
        }
        // A shard may say "never" instead of "when something happens".
        let due_ms = self.node.due_ms().filter(|&due_ms| due_ms < u64::MAX);
        assert_eq!(due_ms, None, "a shard without anything to do wants a turn");
        self.check_calls();
    }

    /// Lets time pass from one moment that a shard asked for to the next.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < end_ms {
            let due_ms = self.node.due_ms().unwrap_or(end_ms).clamp(self.now.mono_ms + 1, end_ms);
            self.pass(due_ms - self.now.mono_ms);
            self.settle();
            self.check_heartbeats();
        }
    }

    /// The clock hand has seen everybody after this time.
    pub(crate) fn round_ms(&self) -> u64 {
        let limits = &self.limits;
        let shortest = limits.ping_interval_ms.min(limits.handshake_timeout_ms).min(limits.close_timeout_ms);
        (shortest / 4).clamp(100, 1_000) + 100
    }
}

/// Whether the node must count this client among those of a way. It says so with a whole request head.
fn is_of(client: &Client, way: &str) -> bool {
    let said = match &client.way {
        Way::WebSocket | Way::Stream(_) => client.stage.is_open() && client.manners.said_close.is_none(),
        Way::Poll(poll) => client.is_open() && poll.is_known(),
    };
    client.way.label() == way && said && client.is_open()
}

/// Whether the node must know this client as a subscriber. Noise that is no whole frame changes nothing; nor does what comes
/// behind a poll that is held.
pub(crate) fn follows(client: &Client, channel: Channel) -> bool {
    let waits = client.manners.wild || matches!(client.way, Way::Poll(_));
    let speaks = client.can_speak() || waits && !client.manners.left;
    client.is_open() && speaks && client.place(channel).is_some()
}

/// Where a client that follows a channel is in it.
fn place(client: &Client, channel: Channel) -> Cursor {
    client.place(channel).expect("it follows the channel")
}
