//! What a shard says of its own memory, held against an allocator that counts every byte: the one witness that cannot be
//! mistaken. Shards are driven by hand on sockets that own no heap.

use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule, Slow};
use roost::conn::socket::Socket;
use roost::dialect::cursor::Cursor;
use roost::hub::names::Names;
use roost::limits::{Limits, RECEIVE_BUFFER_BYTES, SURVEY_BUDGET};
use roost::metrics::heap::Heap;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Answer, Mail, Parcel, Publisher, Question, Report};
use roost::shard::{Next, Readiness, Settings, Shard};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::ops::Range;

const NOW: Now = Now { mono_ms: 3_600_000, wall_ms: 1_700_000_000_000 };
const READABLE: Readiness = Readiness { readable: true, writable: true, read_closed: false };
const CONNS: u32 = 3_000;
/// From this number on, the readers of a channel get the latest when they are slow.
const LATEST: u32 = 9_000_000;
const UPGRADE: &[u8] = b" HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const TRANSPORTS: [&str; 3] = ["/live", "/events", "/poll"];

/// A peer without heap: it says one thing, and takes what comes until it stalls.
#[derive(Debug)]
struct Peer {
    says: Says,
    stalled: bool,
}

#[derive(Debug, Clone, Copy)]
enum Says {
    Nothing,
    /// The upgrade, following these many channels from this number on.
    Upgrade(u32, u32),
    /// The upgrade, coming back to this channel with this cursor.
    Resume(u32, Cursor),
    /// Any transport, by its path, following the same from this place on.
    Get(&'static str, u32, u32, Cursor),
    /// The beginning of a head.
    HalfHead,
    /// A masked text frame of 1,000 bytes, of which 100 come.
    HalfMessage,
    /// The end of the stream.
    End,
}

impl Socket for Peer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len();
        let mut rest = into;
        match std::mem::replace(&mut self.says, Says::Nothing) {
            Says::Nothing => return Err(ErrorKind::WouldBlock.into()),
            Says::Upgrade(first, count) => {
                put_target(&mut rest, "/live", first..first + count, "")?;
                rest.write_all(UPGRADE)?;
            }
            Says::Get(path, first, count, since) => {
                put_target(&mut rest, path, first..first + count, since)?;
                rest.write_all(if path == "/live" { UPGRADE } else { b" HTTP/1.1\r\nHost: node\r\n\r\n" })?;
            }
            Says::Resume(number, since) => {
                write!(rest, "GET /live?channel=user:{number:07}&since={since}")?;
                rest.write_all(UPGRADE)?;
            }
            Says::HalfHead => rest.write_all(b"GET /live HTTP/1.1\r\nHost: no")?,
            Says::HalfMessage => {
                rest.write_all(b"\x81\xfe\x03\xe8\0\0\0\0")?;
                rest.write_all(&[b'x'; 100])?;
            }
            Says::End => {}
        }
        Ok(room - rest.len())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stalled { Err(ErrorKind::WouldBlock.into()) } else { Ok(bytes.len()) }
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        chunks.iter().map(|chunk| self.write(chunk)).sum()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn put_target(out: &mut impl Write, path: &str, mut of: Range<u32>, since: impl Display) -> io::Result<()> {
    write!(out, "GET {path}?")?;
    of.try_for_each(|number| write!(out, "channel=user:{number:07}&since={since}&"))
}

/// Some shards and their mail.
struct World {
    shards: Vec<Shard<Peer>>,
    peers: Vec<(usize, Token)>,
    /// Publications so far: each has an id of its own.
    published: u32,
}

impl World {
    /// Room for shards, made before anything is counted, and what they are told.
    fn prepared(count: u16, policies: &Policies) -> (Self, Vec<Settings>) {
        let limits = Limits { messages_per_second: 1000, ..Limits::default() };
        let settings = |id| Settings {
            limits: limits.clone(),
            policies: policies.clone(),
            ..Settings::new(id, count, Names::new(1))
        };
        let shards = Vec::with_capacity(usize::from(count));
        let peers = Vec::with_capacity(CONNS as usize);
        (Self { shards, peers, published: 0 }, (0..count).map(settings).collect())
    }

    fn connect(&mut self, says: Says) {
        let shard = self.peers.len() % self.shards.len();
        let peer = Peer { says, stalled: false };
        let token = self.shards[shard].insert(NOW, peer).expect("there is room");
        self.shards[shard].ready(NOW, token, READABLE);
        self.peers.push((shard, token));
    }

    /// A peer says one more thing.
    fn say(&mut self, peer: usize, says: Says) {
        let (shard, token) = self.peers[peer];
        self.shards[shard].socket_mut(token).unwrap().says = says;
        self.shards[shard].ready(NOW, token, READABLE);
    }

    fn stall(&mut self, peer: usize) {
        let (shard, token) = self.peers[peer];
        self.shards[shard].socket_mut(token).unwrap().stalled = true;
    }

    /// Returns where the channel stands then.
    fn publish(&mut self, channel: &str, data: &str) -> Cursor {
        self.publish_latest(channel, data, None)
    }

    /// As [`World::publish`], with what it is the latest of.
    fn publish_latest(&mut self, channel: &str, data: &str, key: Option<&str>) -> Cursor {
        let owner = self.shards[0].owner(channel);
        self.published += 1;
        let id = Some(format!("order-{:07}", self.published).into());
        let publisher = Publisher::Call { ticket: 0, index: 0, id };
        let (data, key) = (data.into(), key.map(Into::into));
        let mail = Mail::Publish { name: channel.into(), data, key, publisher };
        self.shards[usize::from(owner.0)].mail(NOW, mail);
        match self.settle()[..] {
            [Report::Published { outcome: Ok(cursor), .. }] => cursor,
            ref other => panic!("not the outcome: {other:?}"),
        }
    }

    /// Turns and mail until nothing moves; returns what the control thread hears.
    fn settle(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            let mut moved = false;
            for shard in 0..self.shards.len() {
                moved |= self.shards[shard].turn(NOW) == Next::Now;
                let parcels: Vec<Parcel> = self.shards[shard].parcels().collect();
                for parcel in parcels {
                    moved = true;
                    match parcel {
                        Parcel::Shard(to, mail) => self.shards[usize::from(to.0)].mail(NOW, mail),
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

    /// What all shards say of themselves.
    fn heap(&mut self) -> Heap {
        for shard in &mut self.shards {
            let question = Question::Density(Box::default());
            shard.mail(NOW, Mail::Ask { ticket: 7, question });
        }
        let reports = self.settle();
        assert_eq!(reports.len(), self.shards.len());
        let (mut sum, mut everybody) = (Heap::default(), 0);
        for report in reports {
            let Report::Answer { ticket: 7, answer: Answer::Density { connections, heap, .. }, .. } = report
            else {
                panic!("not the answer: {report:?}")
            };
            everybody += connections;
            sum += *heap;
        }
        let there: usize = self.shards.iter().map(Shard::len).sum();
        assert_eq!(everybody, there as u64);
        sum
    }
}

fn policies() -> Policies {
    let rule = PolicyRule { slow: Some(Slow::Latest), ..PolicyRule::default() };
    Policies::new(&BTreeMap::from([("user:9".to_owned(), rule)])).expect("a good prefix")
}

/// Builds a world of `shards`; returns it with the bytes that were allocated for it and are not freed.
fn counted(shards: u16, build: impl FnOnce(&mut World)) -> (World, u64) {
    counted_with(&policies(), shards, build)
}

/// The same under policies of its own.
fn counted_with(policies: &Policies, shards: u16, build: impl FnOnce(&mut World)) -> (World, u64) {
    let (mut world, mut settings) = World::prepared(shards, policies);
    let counted = allocation_counter::measure(|| {
        world.shards.extend(settings.drain(..).map(Shard::new));
        build(&mut world);
    });
    let bytes = u64::try_from(counted.bytes_current).expect("more is allocated than freed");
    (world, bytes)
}

/// The shards' word against the allocator's, byte for byte.
fn demand_truth(world: &mut World, allocated: u64) -> Heap {
    let heap = world.heap();
    assert_eq!(heap.allocated(), allocated, "{heap:#?}");
    heap
}

#[test]
fn every_byte_of_connections_with_one_shared_channel_is_accounted_for() {
    for shards in [1, 3] {
        let (mut world, allocated) = counted(shards, |world| {
            (0..CONNS).for_each(|_| world.connect(Says::Upgrade(1, 1)));
            world.settle();
        });
        let heap = demand_truth(&mut world, allocated);
        assert_eq!((heap.boxes, heap.queues), (0, 0), "an idle connection owns no heap");
    }
}

#[test]
fn every_byte_of_connections_with_a_channel_each_is_accounted_for_and_names_are_counted_once() {
    for shards in [1, 3] {
        let (mut world, allocated) = counted(shards, |world| {
            (0..CONNS).for_each(|number| world.connect(Says::Upgrade(number, 1)));
            world.settle();
        });
        demand_truth(&mut world, allocated);
    }
}

/// What is allocated for a crowd on one of the transports, where each follows so many channels, all of which have something
/// published: the same ones, or others than everybody else.
fn allocated_for(path: &'static str, count: u32, shared: bool) -> u64 {
    let (mut world, allocated) = counted(1, |world| {
        let mut head = Cursor::default();
        let (step, last) = if shared { (0, count) } else { (count, CONNS * count) };
        (0..last).for_each(|number| head = world.publish(&format!("user:{number:07}"), "1"));
        (0..CONNS).for_each(|number| world.connect(Says::Get(path, number * step, count, head)));
        world.settle();
        // Not what their coming took for a moment.
        world.shards[0].give_back();
    });
    let heap = demand_truth(&mut world, allocated);
    assert_eq!((heap.boxes, heap.queues), (0, 0), "an idle connection owns no box: {heap:#?}");
    assert_eq!(world.shards[0].counters().subscriptions, u64::from(CONNS * count), "all are held");
    allocated
}

#[test]
fn an_idle_stream_of_one_channel_costs_what_a_websocket_does_and_a_held_poll_its_place_more() {
    for shared in [true, false] {
        let [websockets, streams, polls] = TRANSPORTS.map(|path| allocated_for(path, 1, shared));
        // A subscription and a cursor, without what the allocator adds to a block.
        assert_eq!((streams, polls), (websockets, websockets + u64::from(CONNS) * 24));
    }
}

#[test]
fn streams_and_polls_of_several_channels_cost_a_place_for_each_more() {
    // The table of places, and a cursor for each channel that there is room for: 4, 8, 32.
    for (count, bytes) in [(2, 112), (7, 160), (30, 544)] {
        let [websockets, streams, polls] = TRANSPORTS.map(|path| allocated_for(path, count, true));
        assert_eq!((streams, polls), (websockets + u64::from(CONNS) * bytes, streams), "{count} channels");
    }
}

#[test]
fn when_all_streams_and_polls_have_left_what_they_took_is_given_back() {
    let (mut world, settings) = World::prepared(2, &Policies::default());
    world.shards.extend(settings.into_iter().map(Shard::new));
    let head = world.publish("user:0000000", "1");
    for number in 0..CONNS {
        match number % 4 {
            0 => world.connect(Says::Get("/events", number, 3, head)),
            1 => world.connect(Says::Get("/events", 0, 1, head)),
            // Two of three channels are elsewhere: that poll is answered, and its connection kept.
            2 => world.connect(Says::Get("/poll", 0, 3, head)),
            _ => world.connect(Says::Get("/poll", 0, 1, head)),
        }
    }
    world.settle();
    assert!(world.heap().subscriptions > u64::from(CONNS / 4) * (24 + 3 * 24));
    (0..CONNS as usize).for_each(|peer| world.say(peer, Says::End));
    world.settle();
    let heap = world.heap();
    assert_eq!([heap.slab, heap.boxes, heap.queues, heap.subscriptions], [0; 4], "{heap:#?}");
    for counters in world.shards.iter().map(Shard::counters) {
        assert_eq!((counters.transports, counters.subscriptions, counters.panics), ([0; 3], 0, 0));
    }
}

#[test]
fn every_byte_of_counting_who_follows_is_accounted_for() {
    let rule = PolicyRule { presence: Some(true), ..PolicyRule::default() };
    let policies = Policies::new(&BTreeMap::from([("user:".to_owned(), rule)])).expect("a good prefix");
    for shards in [1, 3] {
        let build = |world: &mut World| {
            // Two shards follow each channel, or one does.
            (0..CONNS).for_each(|number| world.connect(Says::Upgrade(number / 2, 1)));
            world.settle();
        };
        let (mut without, allocated) = counted(shards, build);
        let without = demand_truth(&mut without, allocated);
        let (mut with, allocated) = counted_with(&policies, shards, build);
        let with = with.heap();
        // A name of 32 bytes is divided among three who know it, and rounded down.
        let rounding = allocated - with.allocated();
        assert!(rounding <= u64::from(CONNS), "{rounding} bytes: {with:#?}");
        assert!(with.channels_owned > without.channels_owned + u64::from(CONNS / 2) * 40);
        assert_eq!((with.slab, with.subscriptions), (without.slab, without.subscriptions));
    }
}

#[test]
fn every_byte_of_busy_connections_is_accounted_for_and_publications_in_many_queues_are_counted_once() {
    let (mut world, allocated) = counted(3, |world| {
        for number in 0..CONNS {
            match number % 10 {
                0 => world.connect(Says::HalfHead),
                1 => world.connect(Says::Nothing),
                2..5 => world.connect(Says::Upgrade(number / 2, 1 + number % 7)),
                _ => world.connect(Says::Upgrade(0, 1)),
            }
        }
        world.settle();
        (2..CONNS as usize).step_by(10).for_each(|peer| world.say(peer, Says::HalfMessage));
        (8..CONNS as usize).step_by(10).for_each(|peer| world.stall(peer));
        (0..8).for_each(|_| _ = world.publish("user:0000000", &format!("\"{}\"", "x".repeat(5_000))));
        world.publish("nobody:follows:this", "1");
    });
    let heap = world.heap();
    // Each holder of something shared rounds its part down: every name has two or more, every queued frame 300.
    let holders = u64::from(2 * CONNS + 8 * CONNS / 10);
    assert!((allocated - holders..=allocated).contains(&heap.allocated()), "{allocated}: {heap:#?}");
    let parts = [heap.slab, heap.boxes, heap.queues, heap.subscriptions, heap.channels, heap.channels_owned];
    assert!(parts.iter().all(|&part| part > 10_000), "{heap:#?}");
}

#[test]
fn every_byte_of_a_history_is_accounted_for_and_of_clients_that_wait_for_their_past() {
    const CHANNELS: u32 = 300;
    let (mut world, allocated) = counted(2, |world| {
        for number in 0..CHANNELS {
            let mut head = None;
            // More than are kept in some, and more than one page in all.
            for size in 0..number % 20 + 20 {
                let data = "3".repeat(3_000 + size as usize);
                head = Some(world.publish(&format!("user:{number:07}"), &data));
            }
            let since = head.map(|head| Cursor { offset: 8, ..head });
            since.into_iter().for_each(|since| world.connect(Says::Resume(number, since)));
            // It takes what is written at once, and nothing later.
            world.stall(number as usize);
            world.settle();
        }
    });
    let heap = demand_truth(&mut world, allocated);
    assert!(heap.history > u64::from(CHANNELS) * 20 * 3_000, "{heap:#?}");
    assert!(heap.boxes > u64::from(CHANNELS) * 100, "{heap:#?}");
    assert!(heap.queues > u64::from(CHANNELS) * 10_000, "{heap:#?}");
}

#[test]
fn every_byte_of_what_is_kept_for_those_who_lag_is_accounted_for() {
    const CHANNELS: u32 = 300;
    let mut kept = 0;
    let (mut world, allocated) = counted(2, |world| {
        (0..4 * CHANNELS).for_each(|number| world.connect(Says::Upgrade(LATEST + number / 4, 1)));
        world.settle();
        (0..4 * CHANNELS as usize).for_each(|peer| world.stall(peer));
        for number in 0..CHANNELS {
            let channel = format!("user:{:07}", LATEST + number);
            // The first begins the queues, the others wait: one of each key.
            for publication in 0..3 + number % 9 {
                let data = format!("\"{}\"", "x".repeat(1_000));
                world.publish_latest(&channel, &data, Some(&format!("key {}", publication % 5)));
                kept += u64::from((1..=5).contains(&publication));
            }
        }
    });
    let heap = world.heap();
    // Each holder of something shared rounds its part down: names, and what is kept here and in the history.
    let holders = u64::from(6 * CHANNELS) + 4 * (kept + u64::from(11 * CHANNELS));
    assert!((allocated - holders..=allocated).contains(&heap.allocated()), "{allocated}: {heap:#?}");
    assert!(heap.queues > kept * 500, "{kept} are kept: {heap:#?}");
    (0..4 * CHANNELS as usize).for_each(|peer| world.say(peer, Says::End));
    world.settle();
    let heap = world.heap();
    assert_eq!([heap.boxes, heap.queues, heap.subscriptions], [0; 3], "{heap:#?}");
}

#[test]
fn every_byte_of_a_publication_on_its_way_is_accounted_for() {
    // Few enough for one turn to look at them all: what a turn more would change is not counted.
    const CROWD: u32 = 2_000;
    let (mut world, allocated) = counted(1, |world| {
        (0..CROWD).for_each(|_| world.connect(Says::Upgrade(1, 1)));
        (0..CROWD as usize).for_each(|peer| world.stall(peer));
        let shard = &mut world.shards[0];
        for index in 0..3 {
            let publisher = Publisher::Call { ticket: 1, index, id: None };
            let data = "2".repeat(3_000).into();
            shard.mail(NOW, Mail::Publish { name: "user:0000001".into(), data, key: None, publisher });
            // One turn serves some of them; the others wait, and what is published next waits behind.
            shard.turn(NOW);
        }
        shard.mail(NOW, Mail::Ask { ticket: 7, question: Question::Density(Box::default()) });
        shard.turn(NOW);
    });
    let parcels: Vec<Parcel> = world.shards[0].parcels().collect();
    let Some(Parcel::Control(Report::Answer { answer: Answer::Density { heap, .. }, .. })) = parcels.last()
    else {
        panic!("not the answer: {parcels:?}")
    };
    // The answer itself was not there yet when it was counted.
    let allocated = allocated - size_of::<Heap>() as u64;
    assert!(
        (allocated - u64::from(2 * CROWD)..=allocated).contains(&heap.allocated()),
        "{allocated}: {heap:#?}"
    );
    assert!(heap.queues > 6_000, "{heap:#?}");
}

#[test]
fn when_all_have_left_the_parts_that_they_took_are_empty() {
    let (mut world, settings) = World::prepared(2, &Policies::default());
    world.shards.extend(settings.into_iter().map(Shard::new));
    (0..CONNS).for_each(|number| world.connect(Says::Upgrade(number, 3)));
    world.settle();
    assert!(world.heap().subscriptions > u64::from(CONNS) * 3 * 8);
    (0..CONNS as usize).for_each(|peer| world.say(peer, Says::End));
    world.settle();
    let heap = world.heap();
    assert_eq!([heap.slab, heap.boxes, heap.queues, heap.subscriptions], [0; 4], "{heap:#?}");
    // The receive buffers stay, of which little was ever needed.
    assert!(heap.reserved < 2 * RECEIVE_BUFFER_BYTES as u64, "{heap:#?}");
    // Hash tables keep room for a thousand names each.
    assert!(heap.channels + heap.channels_owned < 64 * 1024, "{heap:#?}");
}

#[test]
fn a_large_shard_is_looked_at_in_many_turns_and_answers_everyone_who_asked() {
    let (mut world, settings) = World::prepared(1, &Policies::default());
    world.shards.extend(settings.into_iter().map(Shard::new));
    (0..CONNS).for_each(|number| world.connect(Says::Upgrade(number, 1)));
    world.settle();
    let shard = &mut world.shards[0];
    let ask = |ticket| Mail::Ask { ticket, question: Question::Density(Box::default()) };
    shard.mail(NOW, ask(1));
    // Connections, followed channels, numbered channels.
    let turns = (3 * CONNS as usize).div_ceil(SURVEY_BUDGET);
    for turn in 1..turns {
        assert_eq!(shard.turn(NOW), Next::Now);
        assert_eq!(shard.parcels().count(), 0, "turn {turn}");
        shard.mail(NOW, ask(2));
    }
    shard.turn(NOW);
    let tickets: Vec<u64> = shard.parcels().map(|parcel| ticket(&parcel)).collect();
    assert_eq!(tickets, [1, 2, 2]);
}

fn ticket(parcel: &Parcel) -> u64 {
    match parcel {
        Parcel::Control(Report::Answer { ticket, .. }) => *ticket,
        Parcel::Control(_) | Parcel::Shard(..) | Parcel::Broker(_) => panic!("not an answer: {parcel:?}"),
    }
}
