//! A client reads more slowly than is published, or nobody looks at it. Two shards are driven by hand through their public
//! verbs, with sockets that take as many bytes as a test says, and a clock that a test moves.

use roost::clock::Now;
use roost::config::policy::{Policies, PolicyRule, Slow};
use roost::conn::socket::Socket;
use roost::disconnect::Disconnect;
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::limits::{BATCH_BYTES_MAX, HIDDEN_REST_MS, Limits};
use roost::metrics::Counters;
use roost::metrics::heap::Heap;
use roost::proto::frame::{Opcode, put_masked_frame};
use roost::proto::origin::OriginPolicy;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Answer, Mail, Parcel, Publisher, Question, Report};
use roost::shard::{Next, Readiness, Settings, Shard};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

const READABLE: Readiness = Readiness { readable: true, writable: true, read_closed: false };
/// Publications that a channel keeps, where the test does not say otherwise.
const HISTORY: u64 = 8;

/// A peer that takes as many bytes as it has room for.
#[derive(Debug)]
struct Peer {
    sends: VecDeque<u8>,
    got: Vec<u8>,
    room: usize,
    /// Calls in which it took something.
    writes: usize,
}

#[derive(Debug, Clone)]
struct Line(Rc<RefCell<Peer>>);

impl Socket for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let sends = &mut self.0.borrow_mut().sends;
        let count = into.len().min(sends.len());
        into.iter_mut().zip(sends.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let peer = &mut *self.0.borrow_mut();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        let count = bytes.len().min(peer.room);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        peer.room -= count;
        peer.writes += 1;
        peer.got.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client of shard 0.
struct Client {
    line: Line,
    token: Token,
}

impl Client {
    /// From now on it takes so many bytes.
    fn take(&self, bytes: usize) {
        self.line.0.borrow_mut().room = bytes;
    }

    fn writes(&self) -> usize {
        self.line.0.borrow().writes
    }

    /// Every message so far.
    fn heard(&self) -> Vec<Value> {
        let got = &self.line.0.borrow().got;
        let head = got.windows(4).position(|window| window == b"\r\n\r\n").expect("a 101") + 4;
        let (mut rest, mut heard) = (&got[head..], Vec::new());
        while let [_, length, ..] = *rest {
            let (begin, length) = match length {
                127 => (10, u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize),
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                length => (2, usize::from(length)),
            };
            let Some(payload) = rest.get(begin..begin + length) else { break };
            heard.extend(serde_json::from_slice::<Value>(payload));
            rest = &rest[begin + length..];
        }
        heard
    }

    /// What it knows of a channel: notifications by offset, gaps by their ends. Demands that no offset is missing.
    fn story(&self, channel: &str) -> Vec<Event> {
        let mut at = None;
        let mut story = Vec::new();
        for message in self.heard().iter().filter(|message| message["channel"] == channel) {
            let number = |member: &str| message[member].as_u64().expect(member);
            let (from, to) = match message["type"].as_str().unwrap() {
                "notification" => (number("offset"), number("offset")),
                "gap" => (number("from"), number("to")),
                "subscribed" => {
                    let head = message["cursor"].as_str().unwrap().rsplit('-').next().unwrap();
                    // Whoever comes back begins before the head.
                    at = message["recovered"].is_null().then(|| head.parse().unwrap());
                    continue;
                }
                _ => continue,
            };
            assert!(at.is_none_or(|at| from == at + 1), "{from} comes behind {at:?} of {channel}");
            at = Some(to);
            if message["type"] == "gap" {
                let cursor = message["cursor"].as_str().unwrap();
                assert!(cursor.ends_with(&format!("-{to}")), "{message}");
                story.push(Event::Gap(from, to));
            } else {
                story.push(Event::Got(from));
            }
        }
        story
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Got(u64),
    Gap(u64, u64),
}
use Event::{Gap, Got};

/// The client is in shard 0. Channels whose names begin with a policy's word have that policy.
struct World {
    shards: [Shard<Line>; 2],
    names: Names,
    now: Now,
    asks_for: Vec<Next>,
}

impl World {
    fn new() -> Self {
        Self::with(HISTORY as usize, Limits::default())
    }

    fn with(history: usize, limits: Limits) -> Self {
        let names = Names::new(1);
        let mut rules = BTreeMap::new();
        for slow in Slow::ALL {
            let rule = PolicyRule { slow: Some(slow), history: Some(history), ..PolicyRule::default() };
            rules.insert(slow.to_string(), rule);
        }
        let policies = Policies::new(&rules).expect("good prefixes");
        let shard = |id| {
            Shard::new(Settings {
                id: ShardId(id),
                shards: 2,
                limits: limits.clone(),
                policies: policies.clone(),
                origins: OriginPolicy::SameOrigin,
                echo: false,
                node: "test".into(),
                names,
                own_seed: u64::from(id),
            })
        };
        let now = Now { mono_ms: 3_600_000, wall_ms: 1_700_000_000_000 };
        Self { shards: [shard(0), shard(1)], names, now, asks_for: Vec::new() }
    }

    /// Channels of a policy, owned by the client's own shard or by the other one.
    fn channels(&self, slow: Slow, owner: u16) -> impl Iterator<Item = String> + use<> {
        let names = self.names;
        (0..)
            .map(move |number| format!("{slow}:{number}"))
            .filter(move |name| names.owner(name, 2) == ShardId(owner))
    }

    fn channel(&self, slow: Slow, owner: u16) -> String {
        self.channels(slow, owner).next().unwrap()
    }

    /// A client that follows these channels and takes everything.
    fn client(&mut self, channels: &[&str]) -> Client {
        let query: Vec<String> = channels.iter().map(|channel| format!("channel={channel}")).collect();
        self.client_at(&format!("/live?{}", query.join("&")))
    }

    fn client_at(&mut self, target: &str) -> Client {
        let peer = Peer { sends: VecDeque::new(), got: Vec::new(), room: usize::MAX, writes: 0 };
        let line = Line(Rc::new(RefCell::new(peer)));
        let token = self.shards[0].insert(self.now, line.clone()).expect("there is room");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        line.0.borrow_mut().sends.extend(request.bytes());
        self.shards[0].ready(self.now, token, READABLE);
        self.settle();
        Client { line, token }
    }

    fn say(&mut self, client: &Client, message: &Value) {
        let mut frame = Vec::new();
        put_masked_frame(&mut frame, Opcode::Text, message.to_string().as_bytes(), [1, 2, 3, 4]);
        client.line.0.borrow_mut().sends.extend(frame);
        self.shards[0].ready(self.now, client.token, READABLE);
        self.settle();
    }

    fn set_visibility(&mut self, client: &Client, state: &str) {
        self.say(client, &json!({ "type": "visibility", "state": state }));
    }

    /// The client reads on: so many bytes, or everything.
    fn read(&mut self, client: &Client, bytes: usize) {
        client.take(bytes);
        self.shards[0].ready(self.now, client.token, READABLE);
        self.settle();
    }

    fn publish(&mut self, channel: &str, key: Option<&str>, bytes: usize) {
        let owner = usize::from(self.names.owner(channel, 2).0);
        let data = json!("x".repeat(bytes)).to_string().into();
        let publisher = Publisher::Call { ticket: 1, index: 0 };
        let mail = Mail::Publish { name: channel.into(), data, key: key.map(Into::into), publisher };
        self.shards[owner].mail(self.now, mail);
        self.settle();
    }

    fn publish_many(&mut self, channel: &str, count: u64, bytes: usize) {
        (0..count).for_each(|_| self.publish(channel, None, bytes));
    }

    /// Turns and mail until nothing moves.
    fn settle(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            let mut moved = false;
            self.asks_for.clear();
            for id in 0..2 {
                let next = self.shards[id].turn(self.now);
                self.asks_for.push(next);
                moved |= next == Next::Now;
                let parcels: Vec<Parcel> = self.shards[id].parcels().collect();
                for parcel in parcels {
                    moved = true;
                    match parcel {
                        Parcel::Shard(to, mail) => self.shards[usize::from(to.0)].mail(self.now, mail),
                        Parcel::Control(report) => reports.push(report),
                    }
                }
            }
            if !moved {
                return reports;
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.settle();
    }

    fn counters(&self) -> Counters {
        self.shards[0].counters()
    }

    fn cut_for_lagging(&self) -> u64 {
        self.counters().disconnects[Disconnect::SlowConsumer.index()]
    }

    /// What the client's shard spends its memory on.
    fn heap(&mut self) -> Heap {
        self.shards[0].mail(self.now, Mail::Ask { ticket: 7, question: Question::Density(Box::default()) });
        let answer = self.settle().into_iter().find_map(|report| match report {
            Report::Answer { answer: Answer::Density { heap, .. }, .. } => Some(*heap),
            Report::Answer { .. } | Report::Published { .. } | Report::Stopped { .. } => None,
        });
        answer.expect("an answer")
    }
}

#[test]
fn a_slow_reader_of_a_drop_channel_is_not_cut_and_hears_an_exact_gap_and_then_the_rest() {
    for owner in [0, 1] {
        let mut world = World::new();
        let channel = world.channel(Slow::Drop, owner);
        let client = world.client(&[&channel]);
        client.take(1_000);
        // More than the hard limit, for longer than the soft one.
        world.publish_many(&channel, 200, 2_000);
        let limits = Limits::default();
        let bound = limits.queue_soft_bytes + BATCH_BYTES_MAX + 4_096;
        assert!(world.heap().queues < bound as u64, "{:?}", world.heap());
        world.pass(limits.queue_soft_for_ms + 2_000);
        assert_eq!((world.cut_for_lagging(), world.shards[0].len()), (0, 1));
        assert_eq!(world.counters().paused, 1);
        world.read(&client, usize::MAX);
        let story = client.story(&channel);
        let queued = story.iter().take_while(|event| matches!(event, Got(_))).count() as u64;
        assert!((10..40).contains(&queued), "{queued} were queued before it was put behind");
        let expected = (1..=queued)
            .map(Got)
            .chain([Gap(queued + 1, 200 - HISTORY)])
            .chain((201 - HISTORY..=200).map(Got));
        assert_eq!(story, expected.collect::<Vec<_>>());
        world.publish(&channel, None, 10);
        assert_eq!(client.story(&channel).last(), Some(&Got(201)), "it is live again");
        let counters = world.counters();
        assert_eq!((counters.gaps, counters.gap_publications), (1, 200 - HISTORY - queued));
    }
}

#[test]
fn a_slow_reader_of_a_drop_channel_without_a_history_hears_one_gap() {
    let mut world = World::with(0, Limits::default());
    let channel = world.channel(Slow::Drop, 1);
    let client = world.client(&[&channel]);
    client.take(1_000);
    world.publish_many(&channel, 100, 2_000);
    world.read(&client, usize::MAX);
    let story = client.story(&channel);
    let queued = story.len() as u64 - 1;
    assert_eq!(story.last(), Some(&Gap(queued + 1, 100)));
    world.publish(&channel, None, 10);
    assert_eq!(client.story(&channel).last(), Some(&Got(101)));
}

#[test]
fn one_publication_larger_than_all_limits_cuts_no_slow_reader_but_where_the_policy_says_so() {
    let limits = Limits { queue_soft_bytes: 1_000, queue_hard_bytes: 2_000, ..Limits::default() };
    for (slow, cuts) in [(Slow::Disconnect, 1), (Slow::Drop, 0), (Slow::Latest, 0)] {
        let mut world = World::with(HISTORY as usize, limits.clone());
        let channel = world.channel(slow, 0);
        let client = world.client(&[&channel]);
        client.take(100);
        world.publish(&channel, None, 20_000);
        world.pass(limits.queue_soft_for_ms + 2_000);
        assert_eq!(world.cut_for_lagging(), cuts, "{slow}");
        if cuts == 0 {
            // It is put behind, and the page that it gets then is larger than all limits as well.
            world.publish(&channel, None, 20_000);
            world.read(&client, 25_000);
            world.pass(limits.queue_soft_for_ms + 2_000);
            world.read(&client, usize::MAX);
            assert_eq!(client.story(&channel), [Got(1), Got(2)], "{slow}");
            assert_eq!(world.cut_for_lagging(), 0, "{slow}");
        }
    }
}

#[test]
fn what_other_channels_queue_still_cuts_a_reader_that_also_follows_a_drop_channel() {
    let mut world = World::new();
    let (drop, other) = (world.channel(Slow::Drop, 1), world.channel(Slow::Disconnect, 1));
    let client = world.client(&[&drop, &other]);
    client.take(0);
    world.publish_many(&drop, 100, 2_000);
    assert_eq!(world.cut_for_lagging(), 0);
    world.publish_many(&other, 100, 2_000);
    assert_eq!(world.cut_for_lagging(), 0);
    world.publish_many(&other, 50, 2_000);
    assert_eq!(world.cut_for_lagging(), 1);
}

#[test]
fn a_slow_reader_of_a_latest_channel_hears_the_last_of_each_key_and_a_gap_for_every_hole() {
    for owner in [0, 1] {
        let mut world = World::new();
        let channel = world.channel(Slow::Latest, owner);
        let client = world.client(&[&channel]);
        client.take(50);
        // The first is begun and waits; of what comes then only the last of each key is kept.
        for key in [None, Some("a"), Some("b"), Some("a"), None, Some("c"), Some("c"), Some("a"), None] {
            world.publish(&channel, key, 500);
        }
        world.pass(Limits::default().queue_soft_for_ms + 2_000);
        assert_eq!(world.counters().paused, 1);
        world.read(&client, usize::MAX);
        let expected = [Got(1), Gap(2, 2), Got(3), Gap(4, 6), Got(7), Got(8), Got(9)];
        assert_eq!(client.story(&channel), expected);
        world.publish(&channel, Some("a"), 10);
        assert_eq!(client.story(&channel).last(), Some(&Got(10)), "it is live again");
        assert_eq!((world.heap().queues, world.heap().boxes), (0, 0), "nothing is kept for nobody");
    }
}

#[test]
fn a_reader_of_a_latest_channel_that_reads_a_little_at_a_time_hears_everything_in_order() {
    let mut world = World::new();
    let channel = world.channel(Slow::Latest, 1);
    let client = world.client(&[&channel]);
    client.take(0);
    for round in 0..400 {
        world.publish(&channel, Some(&format!("k{}", round * 7 % 23)), 3_000);
        if round % 3 == 0 {
            world.read(&client, 2_000);
        }
    }
    assert_eq!(world.cut_for_lagging(), 0);
    world.read(&client, usize::MAX);
    let story = client.story(&channel);
    // Each of the last 23 is the last of its key.
    assert_eq!(story[story.len() - 23..], (378..=400).map(Got).collect::<Vec<_>>());
    assert!(world.counters().gap_publications > 100);
}

#[test]
fn no_channel_that_never_rests_keeps_another_one_from_its_turn() {
    let mut world = World::new();
    let channels: Vec<String> = world.channels(Slow::Latest, 1).take(3).collect();
    let client = world.client(&channels.iter().map(String::as_str).collect::<Vec<_>>());
    client.take(0);
    // Each channel's latest are more than a page.
    for round in 0..60 {
        for channel in &channels {
            for key in 0..30 {
                world.publish(channel, Some(&key.to_string()), 2_000);
            }
        }
        world.read(&client, 20_000);
        if round == 0 {
            continue;
        }
        let behind = |channel: &&String| client.story(channel).len() < round / 6;
        assert_eq!(channels.iter().find(behind), None, "in round {round}");
    }
    world.read(&client, usize::MAX);
    for channel in &channels {
        assert_eq!(client.story(channel).last(), Some(&Got(1_800)));
    }
}

#[test]
fn who_leaves_while_it_lags_leaves_nothing_behind() {
    let mut world = World::new();
    let channel = world.channel(Slow::Latest, 1);
    let clients: Vec<Client> = (0..3).map(|_| world.client(&[&channel])).collect();
    clients.iter().for_each(|client| client.take(0));
    world.publish_many(&channel, 5, 500);
    assert_eq!(world.counters().paused, 3);
    // One unsubscribes, one follows on under the same name, one is gone.
    world.say(&clients[0], &json!({ "type": "unsubscribe", "channel": channel }));
    world.say(&clients[1], &json!({ "type": "unsubscribe", "channel": channel }));
    world.say(&clients[1], &json!({ "type": "subscribe", "channel": channel }));
    let gone = Readiness { read_closed: true, ..READABLE };
    world.shards[0].socket_mut(clients[2].token).unwrap().0.borrow_mut().room = usize::MAX;
    world.say(&clients[2], &json!({ "type": "unsubscribe", "channel": channel }));
    world.shards[0].ready(world.now, clients[2].token, gone);
    world.settle();
    for client in &clients[..2] {
        world.read(client, usize::MAX);
    }
    world.publish(&channel, None, 500);
    assert_eq!(clients[0].story(&channel), [Got(1)]);
    assert_eq!(clients[1].story(&channel), [Got(1), Got(6)], "it joined anew at 5");
    assert_eq!(world.heap().queues, 0);
}

#[test]
fn a_hidden_client_gets_one_delivery_a_second_with_the_latest_of_all_its_channels() {
    for slow in Slow::ALL {
        let mut world = World::new();
        let channels: Vec<String> = (0..2).flat_map(|owner| world.channels(slow, owner).take(2)).collect();
        let client = world.client(&channels.iter().map(String::as_str).collect::<Vec<_>>());
        world.set_visibility(&client, "hidden");
        let (mut seconds, mut deliveries) = (Vec::new(), client.writes());
        let mut look = |world: &World| {
            if client.writes() > deliveries {
                assert_eq!(client.writes(), deliveries + 1, "{slow}: one delivery is one write");
                deliveries = client.writes();
                seconds.push(world.now.mono_ms);
            }
        };
        for _ in 0..55 {
            for channel in &channels {
                world.publish(channel, Some("a"), 20);
                world.publish(channel, None, 20);
            }
            look(&world);
            world.pass(100);
            look(&world);
        }
        assert!((5..=6).contains(&seconds.len()), "{slow}: deliveries at {seconds:?}");
        let close = seconds.windows(2).find(|pair| pair[1] - pair[0] < HIDDEN_REST_MS);
        assert_eq!(close, None, "{slow}");
        for (at, channel) in channels.iter().enumerate() {
            // The first of all came at once; then it is one of each key, and the gap before.
            let latest = &client.story(channel)[usize::from(at == 0)..];
            assert!(
                latest.chunks(3).all(|three| matches!(three, [Gap(..), Got(_), Got(_)])),
                "{slow}: {latest:?}"
            );
        }
        let writes = client.writes();
        world.set_visibility(&client, "visible");
        assert_eq!(client.writes(), writes + 1, "{slow}: all of it comes at once");
        for channel in &channels {
            assert_eq!(client.story(channel).last(), Some(&Got(110)), "{slow}");
            world.publish(channel, None, 20);
            assert_eq!(client.story(channel).last(), Some(&Got(111)), "{slow}: it is live again");
        }
        assert_eq!(world.cut_for_lagging(), 0);
    }
}

#[test]
fn a_hidden_client_that_nothing_is_published_for_costs_nothing_and_hears_the_first_at_once() {
    let mut world = World::new();
    let channel = world.channel(Slow::Disconnect, 1);
    let client = world.client(&[&channel]);
    world.set_visibility(&client, "hidden");
    for _ in 0..3 {
        world.publish(&channel, None, 20);
        let wants_soon = |world: &World| {
            let soon = Next::At(world.now.mono_ms + HIDDEN_REST_MS + 100);
            world
                .asks_for
                .iter()
                .any(|next| matches!((next, soon), (Next::At(at), Next::At(soon)) if *at <= soon))
        };
        assert!(wants_soon(&world), "its rest ends");
        assert_eq!(world.heap().boxes, 0, "an idle connection owns no heap");
        world.pass(2 * HIDDEN_REST_MS);
        assert!(!wants_soon(&world), "nothing is due: {:?}", world.asks_for);
    }
    assert_eq!(client.story(&channel), [Got(1), Got(2), Got(3)]);
    assert_eq!(world.heap().queues, 0);
}

#[test]
fn a_client_cannot_get_more_than_a_delivery_a_second_by_hiding_again_and_again() {
    let mut world = World::new();
    let channel = world.channel(Slow::Disconnect, 1);
    let client = world.client(&[&channel]);
    world.set_visibility(&client, "hidden");
    world.publish(&channel, None, 20);
    let writes = client.writes();
    for _ in 0..3 {
        world.pass(100);
        world.set_visibility(&client, "visible");
        world.set_visibility(&client, "hidden");
        world.publish(&channel, None, 20);
    }
    // What each `visible` found waiting came at once; what was published while it was hidden waits.
    assert_eq!(client.writes(), writes + 2);
    world.pass(HIDDEN_REST_MS);
    assert_eq!(client.story(&channel).last(), Some(&Got(4)));
}

#[test]
fn a_hidden_client_that_does_not_read_is_not_cut_and_nothing_is_queued_to_it() {
    let mut world = World::new();
    let channel = world.channel(Slow::Disconnect, 1);
    let client = world.client(&[&channel]);
    world.set_visibility(&client, "hidden");
    client.take(10);
    for _ in 0..20 {
        world.publish_many(&channel, 20, 2_000);
        world.pass(HIDDEN_REST_MS);
    }
    assert_eq!(world.cut_for_lagging(), 0);
    assert!(world.heap().queues < 10_000, "{:?}", world.heap());
    world.read(&client, usize::MAX);
    world.pass(2 * HIDDEN_REST_MS);
    let story = client.story(&channel);
    assert_eq!((story.first(), story.last()), (Some(&Got(1)), Some(&Got(400))));
}

#[test]
fn a_client_that_comes_back_and_hides_gets_its_past_first() {
    let mut world = World::with(200, Limits::default());
    let channel = world.channel(Slow::Disconnect, 1);
    let first = world.client(&[&channel]);
    let cursor = first.heard()[0]["cursor"].as_str().unwrap().to_owned();
    world.publish_many(&channel, 100, 2_000);
    let epoch = cursor.split('-').next().unwrap();
    let peer_room = 40_000;
    let client = world.client_at(&format!("/live?channel={channel}&since={epoch}-0"));
    assert_eq!(client.story(&channel).len(), 100);
    // Another one takes it in pieces, hides, and more is published meanwhile.
    let slow = world.client(&[]);
    slow.take(peer_room);
    world.say(&slow, &json!({ "type": "subscribe", "channel": channel, "since": format!("{epoch}-0") }));
    world.set_visibility(&slow, "hidden");
    world.publish_many(&channel, 5, 20);
    world.read(&slow, usize::MAX);
    world.pass(2 * HIDDEN_REST_MS);
    assert_eq!(slow.story(&channel), (1..=105).map(Got).collect::<Vec<_>>());
    world.publish_many(&channel, 5, 20);
    world.pass(2 * HIDDEN_REST_MS);
    assert_eq!(slow.story(&channel)[105..], [Got(106), Gap(107, 109), Got(110)]);
}

#[test]
fn visibility_is_not_answered_unless_it_makes_no_sense() {
    let mut world = World::new();
    let client = world.client(&[]);
    world.say(&client, &json!({ "type": "visibility", "state": "hidden", "id": 1 }));
    world.say(&client, &json!({ "type": "visibility", "state": "visible" }));
    assert_eq!(client.heard(), [] as [Value; 0]);
    for wrong in [
        json!({ "type": "visibility", "id": 2 }),
        json!({ "type": "visibility", "state": "asleep", "id": 2 }),
    ] {
        world.say(&client, &wrong);
        let heard = client.heard();
        let answer = heard.last().expect("an answer");
        assert_eq!((&answer["code"], &answer["id"]), (&json!("bad_request"), &json!(2)));
    }
}
