//! The pace of pings, with a shard driven by hand: however its connections came to be due, pings go out as a stream, and
//! nobody is taken for gone meanwhile.

use crate::{READY, settings};
use roost::clock::Now;
use roost::conn::socket::Socket;
use roost::shard::conn_table::Token;
use roost::shard::{Next, Settings, Shard};
use std::io::{self, ErrorKind, IoSlice};

const CONNS: usize = 8_000;
const STEP_MS: u64 = 10;
const UPGRADE: &[u8] = b"GET /live HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const PING: &[u8] = &[0x89, 0];
const MASKED_PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];

/// A client that answers pings.
struct Peer {
    says: &'static [u8],
    pinged: bool,
}

impl Socket for Peer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let said = std::mem::take(&mut self.says);
        into[..said.len()].copy_from_slice(said);
        if said.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(said.len()) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pinged |= bytes == PING;
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        chunks.iter().map(|chunk| self.write(chunk)).sum()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct World {
    shard: Shard<Peer>,
    peers: Vec<Token>,
    now: Now,
}

impl World {
    fn empty() -> Self {
        Self::seeded(7)
    }

    fn seeded(own_seed: u64) -> Self {
        let shard = Shard::new(Settings { own_seed, ..settings(0, 1) });
        let now = Now { mono_ms: 3_600_000, wall_ms: 0 };
        Self { shard, peers: Vec::new(), now }
    }

    /// Everybody connects within one second.
    fn crowded() -> Self {
        Self::empty().crowd()
    }

    fn crowd(mut self) -> Self {
        for number in 0..CONNS {
            self.connect();
            if number % (CONNS / 100) == 0 {
                self.pass();
            }
        }
        self
    }

    fn connect(&mut self) {
        let token = self.shard.insert(self.now, Peer { says: UPGRADE, pinged: false }).ok().unwrap();
        self.shard.ready(self.now, token, READY);
        self.peers.push(token);
    }

    fn say(&mut self, peer: usize, says: &'static [u8]) {
        let token = self.peers[peer];
        self.shard.socket_mut(token).expect("it is still connected").says = says;
        self.shard.ready(self.now, token, READY);
    }

    /// A moment passes.
    fn pass(&mut self) {
        self.now.mono_ms += STEP_MS;
        self.shard.turn(self.now);
    }

    /// Seconds pass; whoever is pinged answers. Returns the pings of each tenth of a second.
    fn listen(&mut self, seconds: u64) -> Vec<f64> {
        (0..seconds * 10).map(|_| self.tenth() as f64).collect()
    }

    fn tenth(&mut self) -> u64 {
        let before = self.shard.counters().pings;
        for _ in 0..100 / STEP_MS {
            self.pass();
        }
        for peer in 0..self.peers.len() {
            let token = self.peers[peer];
            let socket = self.shard.socket_mut(token).expect("nobody is taken for gone");
            if std::mem::take(&mut socket.pinged) {
                self.say(peer, MASKED_PONG);
            }
        }
        self.shard.counters().pings - before
    }
}

/// How far the farthest is from the mean, as a part of it.
fn spread(tenths: &[f64]) -> f64 {
    let mean = tenths.iter().sum::<f64>() / tenths.len() as f64;
    tenths.iter().map(|count| (count - mean).abs()).fold(0.0, f64::max) / mean
}

#[test]
fn clients_that_connected_in_one_burst_are_pinged_in_a_stream() {
    let mut world = World::crowded();
    world.listen(30);
    let tenths = world.listen(60);
    assert!(spread(&tenths) < 0.2, "{} in {tenths:?}", spread(&tenths));
}

#[test]
fn clients_that_all_spoke_at_once_are_pinged_in_a_stream_and_none_is_taken_for_gone() {
    let mut world = World::crowded();
    (0..CONNS).for_each(|peer| world.say(peer, MASKED_PONG));
    let silence = world.listen(18);
    assert_eq!(silence.iter().sum::<f64>(), 0.0, "everybody was heard of");
    world.listen(2);
    let tenths = world.listen(100);
    assert!(spread(&tenths) < 0.2, "{} in {tenths:?}", spread(&tenths));
    let expected = CONNS as f64 / 25.0 * 100.0;
    let sum: f64 = tenths.iter().sum();
    assert!((sum - expected).abs() < expected * 0.05, "{sum} pings instead of {expected}");
}

/// Where in a beat of 50 ms the shard wants its next turn.
fn place_in_beat(world: &mut World) -> u64 {
    let Next::At(at_ms) = world.shard.turn(world.now) else { panic!("pings are due all the time") };
    at_ms % 50
}

#[test]
fn shards_that_wake_late_together_do_not_fall_into_step() {
    let places = [1, 2, 3, 4, 5, 6, 7, 8].map(|own_seed| {
        let mut world = World::seeded(own_seed).crowd();
        world.listen(30);
        let place = place_in_beat(&mut world);
        for late_ms in [3, 17, 49, 60, 120] {
            world.now.mono_ms += late_ms;
            assert_eq!(place_in_beat(&mut world), place, "{late_ms} ms late");
        }
        place
    });
    let mut apart = places.to_vec();
    apart.sort_unstable();
    apart.dedup();
    assert!(apart.len() >= 6, "eight shards step at {places:?}");
}

#[test]
fn a_shard_sleeps_until_a_ping_is_due_and_for_ever_while_nobody_is_there() {
    let mut world = World::empty();
    assert_eq!(world.shard.turn(world.now), Next::Idle);
    world.connect();
    let (connected_ms, mut wakes) = (world.now.mono_ms, 0);
    while world.shard.counters().pings == 0 {
        let Next::At(due_ms) = world.shard.turn(world.now) else { panic!("a ping will be due") };
        world.now.mono_ms = due_ms;
        wakes += 1;
    }
    assert!(
        world.now.mono_ms >= connected_ms + 18_000,
        "pinged after {} ms",
        world.now.mono_ms - connected_ms
    );
    assert!(
        wakes <= 3,
        "it woke {wakes} times for one ping: the time for the handshake, and the ping, are enough"
    );
}
