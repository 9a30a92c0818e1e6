//! The end of a world: who reads slowly catches up, is kept or is cut, as the policy of its channel says.

use crate::client::{Client, STREAM, Stage, WEBSOCKET};
use crate::trace::{count, say};
use crate::world::World;
use roost::config::policy::Slow;
use roost::proto::frame::Opcode;

impl World {
    /// Those that read slowly and need not go.
    pub(crate) fn slow_readers_are_kept(&mut self) {
        for way in [WEBSOCKET, STREAM] {
            self.give_signs_of_life();
            self.a_slow_reader_catches_up(way);
            for slow in [Slow::Drop, Slow::Latest] {
                self.give_signs_of_life();
                self.a_slow_reader_is_kept(way, slow);
            }
        }
        self.give_signs_of_life();
    }

    /// Time may have leapt while they waited for their turn.
    fn give_signs_of_life(&mut self) {
        self.clients.iter_mut().filter(|client| !client.manners.mute).for_each(give_sign);
        self.settle();
    }

    /// One client stalls, and reads on in time, but not to the end: it stays below what may be queued for long.
    fn a_slow_reader_catches_up(&mut self, way: &'static str) {
        let limits = self.limits.clone();
        // What stands around a publication counts as well, and more of it in a stream.
        let dress = if way == STREAM { 3_000 } else { 0 };
        // Publications of 1,000 bytes are too coarse for smaller bounds.
        let least = limits.queue_soft_bytes + 4_000 + dress;
        if self.has_tight_total() || limits.queue_soft_bytes < 4_000 || limits.queue_hard_bytes < least {
            return;
        }
        let wanted = limits.queue_soft_bytes + 1_000;
        let Some(serial) = self.make_slow_consumer(way, Slow::Disconnect, wanted) else { return };
        while self.queued_to(serial) > limits.queue_soft_bytes * 7 / 8 {
            let at = self.place(serial);
            let count = self.clients[at].pipe.borrow().down.len().min(1_000);
            assert!(count > 0, "client {serial} gets nothing although it reads");
            let (clients, mut scene) = self.scene();
            clients[at].stalled = false;
            clients[at].read(count, &mut scene);
            clients[at].stalled = true;
            self.settle();
        }
        self.outlast_the_soft_bound(serial);
        let at = self.place(serial);
        assert!(self.clients[at].stage.is_open(), "client {serial} had caught up and was cut");
        count(&format!("a slow {way} that caught up"));
    }

    /// One client stalls for as long as it likes, on a channel that cuts nobody for that, and reads on.
    fn a_slow_reader_is_kept(&mut self, way: &'static str, slow: Slow) {
        if self.has_tight_total() {
            return;
        }
        let wanted = self.limits.queue_hard_bytes + 2_000;
        let Some(serial) = self.make_slow_consumer(way, slow, wanted) else { return };
        self.outlast_the_soft_bound(serial);
        let at = self.place(serial);
        assert!(self.clients[at].stage.is_open(), "client {serial} was cut although its channel is {slow}");
        self.check_nobody_waits();
        count(&format!("a slow {way} of a {slow} channel that was kept"));
    }

    /// A client that stalls goes on with it for longer than a queue may be over its soft bound, alive all the while, and reads on.
    fn outlast_the_soft_bound(&mut self, serial: u64) {
        for _ in 0..4 {
            let at = self.place(serial);
            give_sign(&mut self.clients[at]);
            self.wait(self.limits.queue_soft_for_ms / 4 + self.round_ms());
        }
        let (at, now) = (self.place(serial), self.now);
        self.clients[at].read_on(now);
        self.settle();
    }

    /// One client of a way stops reading, and gets so many bytes of a channel with this policy. Returns its serial.
    pub(crate) fn make_slow_consumer(&mut self, way: &str, slow: Slow, wanted: usize) -> Option<u64> {
        let slows = self.truth.slow.clone();
        let of_policy =
            |client: &Client| client.book.places.channels().find(|&channel| slows[channel] == slow);
        let able = |client: &&mut Client| {
            let narrow = client.pipe.borrow().window <= 5_000;
            client.is_open()
                && client.way.label() == way
                && client.can_speak()
                && !client.hidden
                && of_policy(client).is_some()
                && narrow
        };
        let client = self.clients.iter_mut().find(able)?;
        let channel = of_policy(client)?;
        client.stalled = true;
        let serial = client.serial;
        let wanted = client.pipe.borrow().window + wanted;
        say(|| format!("client {serial} reads no more"));
        let mut bytes = 0;
        while bytes <= wanted {
            let call = (self.next_ticket(), 0);
            bytes += self.publish_to(channel, call, 900);
            self.settle();
        }
        Some(serial)
    }

    fn queued_to(&self, serial: u64) -> usize {
        let Client { shard, token, .. } = self.clients[self.place(serial)];
        self.node.shards[shard].queued_to(token)
    }

    /// Where a client is that must still be there.
    fn place(&self, serial: u64) -> usize {
        let at = self.clients.iter().position(|client| client.serial == serial);
        at.unwrap_or_else(|| panic!("client {serial} is gone"))
    }

    pub(crate) fn check_slow_consumer(&mut self, serial: u64) {
        let Some(at) = self.clients.iter().position(|client| client.serial == serial) else { return };
        let gone = self.clients[at].pipe.borrow().server_gone;
        assert!(gone, "client {serial} reads nothing and was kept");
        let (clients, mut scene) = self.scene();
        clients[at].thaw(&scene);
        clients[at].read(usize::MAX, &mut scene);
        assert_ne!(clients[at].stage, Stage::Closed(Some(4004)), "a slow consumer was taken for idle");
        count(&format!("a slow {} that was cut", clients[at].way.label()));
    }
}

/// A frame that asks for nothing. Streams and polls need no signs of their clients.
fn give_sign(client: &mut Client) {
    if client.can_speak() && client.is_websocket() {
        client.frame(Opcode::Pong, b"alive");
    }
}
