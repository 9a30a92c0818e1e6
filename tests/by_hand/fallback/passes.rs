//! Who comes and goes while a pass is under way, and mail that is late: each gets what lies behind its place, once.

use super::world::{Client, World, get, post};
use crate::{ENDED, READY};
use roost::limits::{Limits, PASS_FRESH_WRITES};
use roost::metrics::Transport;
use roost::shard::Next;
use roost::shard::mail::{DrainOrder, Mail, Parcel};
use serde_json::json;
use std::collections::VecDeque;

/// The offsets of a channel's events; demands that there is no gap.
fn offsets(client: &Client, channels: &[&str], channel: &str) -> Vec<u64> {
    let at = channels.iter().position(|name| *name == channel).unwrap();
    let stories = client.stories(channels);
    assert!(stories.iter().flatten().all(|(from, to)| from == to), "{stories:?}");
    stories[at].iter().map(|(offset, _)| *offset).collect()
}

#[test]
fn a_stream_that_joins_in_the_middle_of_a_pass_gets_only_the_part_of_a_batch_behind_its_opening() {
    let mut world = World::new(1);
    let crowd: Vec<Client> =
        (0..2 * PASS_FRESH_WRITES).map(|_| world.connect_late(get("/events?channel=a"))).collect();
    world.settle();
    world.publish_late("a", None, 10);
    world.turn(0);
    let waiting = crowd.iter().filter(|client| client.blocks().len() == 1).count();
    assert!((1..crowd.len()).contains(&waiting), "{waiting} still wait for it");
    world.publish_late("a", None, 10);
    world.publish_late("a", None, 10);
    // They join between two publications that will be one batch.
    let single = world.connect_late(get("/events?channel=a"));
    let several = world.connect_late(get("/events?channel=b&channel=a"));
    let polls = world.connect_late(get("/poll?channel=a"));
    let (_, place) = polls.answers()[0].polled("a");
    world.say(&polls, get(&format!("/poll?channel=a&since={place}")));
    let held = world.connect_late(get(&format!("/poll?channel=a&since={place}")));
    world.publish_late("a", None, 10);
    world.publish_late("a", None, 10);
    world.settle();
    assert_eq!(offsets(&single, &["a"], "a"), [4, 5]);
    assert_eq!(offsets(&several, &["b", "a"], "a"), [4, 5]);
    assert_eq!(held.answers()[0].polled("a").0, [4, 5]);
    crowd.iter().for_each(|client| assert_eq!(offsets(client, &["a"], "a"), [1, 2, 3, 4, 5]));
}

#[test]
fn a_poll_that_waits_for_one_owner_takes_what_another_channel_brings_meanwhile_once() {
    let mut world = World::new(2);
    let [here, there] = [0, 1].map(|owner| world.channel("c", owner));
    let places = [&here, &there].map(|channel| world.publish(channel, None, 1));
    let query = format!("channel={here}&since={}&channel={there}&since={}", places[0], places[1]);
    let client = world.connect_late(get(&format!("/poll?{query}")));
    let asked = world.turn(0);
    // The first of these are a batch that the poll gets; the others come when it has had something.
    for count in [2, 3] {
        (0..count).for_each(|_| world.publish_late(&here, None, 1));
        world.turn(0);
        assert!(client.answers().is_empty());
    }
    world.publish_late(&there, None, 1);
    world.turn(1);
    world.carry(1, asked);
    world.settle();
    let [answer] = &client.answers()[..] else { panic!("one answer") };
    let (offsets, place) = answer.polled(&here);
    assert_eq!((offsets, place.ends_with("-3")), (vec![2, 3], true), "{place}");
    let (offsets, there_place) = answer.polled(&there);
    assert_eq!((offsets, there_place.ends_with("-2")), (vec![2], true));
    world.say(
        &client,
        get(&format!("/poll?channel={here}&since={place}&channel={there}&since={there_place}")),
    );
    assert_eq!(client.answers()[1].polled(&here).0, [4, 5, 6]);
    assert_eq!(client.answers()[1].polled(&there).0, [] as [u64; 0]);
}

#[test]
fn a_poll_that_waits_for_one_owner_takes_no_more_of_a_past_that_it_has_a_page_of() {
    let mut world = World::new(2);
    let [long, fresh, there] =
        [("deep:", 0), ("c", 0), ("c", 1)].map(|(prefix, owner)| world.channel(prefix, owner));
    let first = world.publish(&long, None, 2_000);
    (0..30).for_each(|_| _ = world.publish(&long, None, 2_000));
    let query = format!("channel={long}&since={first}&channel={fresh}&since=&channel={there}&since=");
    let client = world.connect_late(get(&format!("/poll?{query}")));
    let asked = world.turn(0);
    [&long, &fresh].into_iter().for_each(|channel| world.publish_late(channel, None, 2_000));
    world.turn(0);
    world.carry(1, asked);
    world.settle();
    let [answer] = &client.answers()[..] else { panic!("one answer") };
    let (offsets, place) = answer.polled(&long);
    assert!((5..25).contains(&offsets.len()), "a page: {offsets:?}");
    assert_eq!(offsets, (2..).take(offsets.len()).collect::<Vec<_>>());
    assert!(place.ends_with(&format!("-{}", 1 + offsets.len())), "{place}");
    let (offsets, place) = answer.polled(&fresh);
    assert_eq!((offsets.len(), place.ends_with("-0")), (0, true), "it had no place to go on from: {place}");
}

#[test]
fn a_stream_whose_head_is_written_before_all_owners_have_answered_gets_no_event_before_its_opening() {
    // The socket has room, or the node wants what is queued off its hands.
    for queue_total_bytes in [Limits::default().queue_total_bytes, 1] {
        let mut world = World::with(2, Limits { queue_total_bytes, ..Limits::default() });
        let channels = [0, 1].map(|owner| world.channel("c", owner));
        let pairs = channels.each_ref().map(|channel| {
            let first = world.publish(channel, None, 1);
            world.publish(channel, None, 1);
            format!("channel={channel}&since={first}")
        });
        let client = world.connect_late(get(&format!("/events?{}", pairs.join("&"))));
        let asked = world.turn(0);
        world.shards[0].ready(world.now, client.token, READY);
        let more = world.turn(0);
        assert!(!client.line.0.borrow().got.is_empty(), "the head is written");
        world.carry(1, asked);
        world.carry(1, more);
        world.settle();
        channels.iter().for_each(|channel| _ = world.publish(channel, None, 1));
        let names = channels.each_ref().map(String::as_str);
        names.iter().for_each(|name| assert_eq!(offsets(&client, &names, name), [2, 3]));
    }
}

#[test]
fn what_owners_answer_to_clients_that_are_gone_is_for_nobody_also_where_the_slot_is_taken_again() {
    let mut world = World::new(2);
    let channels: Vec<String> = world.channels("room:", 1).take(3).collect();
    let [a, b, c] = &channels[..] else { panic!("three") };
    let publish = json!({ "type": "publish", "channel": a, "data": 1 }).to_string();
    let head = world.publish(a, None, 1);
    let requests = [
        get(&format!("/poll?channel={a}&since={head}&channel={b}&since={head}")),
        get(&format!("/events?channel={a}&channel={b}&channel={c}")),
        get(&format!("/events?channel={a}")),
        post(publish.len()) + &publish,
    ];
    for gone in &requests {
        for next in &requests {
            let first = world.connect_late(gone.as_bytes());
            let asked = world.turn(0);
            assert!(!asked.is_empty());
            first.line.0.borrow_mut().broken = true;
            world.shards[0].ready(world.now, first.token, ENDED);
            let got = first.line.0.borrow().got.len();
            let left = world.turn(0);
            let second = world.connect_late(next.as_bytes());
            assert_eq!(second.token.slot, first.token.slot, "the slot is taken again");
            let asked_too = world.turn(0);
            for mail in [asked, left, asked_too] {
                world.carry(1, mail);
                world.settle();
            }
            assert_eq!(first.line.0.borrow().got.len(), got, "it hears something although it is gone");
            assert!(second.line.0.borrow().got.starts_with(b"HTTP/1.1 200 "));
            world.hang_up(&second);
            let counters = world.counters();
            assert_eq!((counters.connections, counters.subscriptions, counters.channels), (0, 0, 0));
            assert_eq!((counters.transports, counters.panics), ([0; 3], 0));
        }
    }
}

#[test]
fn who_ends_its_side_behind_its_request_is_answered_also_where_an_owner_is_asked() {
    let mut world = World::new(2);
    for owner in [0, 1] {
        let room = world.channel("room:", owner);
        let head = world.publish(&room, None, 1);
        let publish = json!({ "type": "publish", "channel": room, "data": 1 }).to_string();
        for request in [
            get(&format!("/poll?channel={room}")),
            get(&format!("/poll?channel={room}&since={head}&wait=0")),
            post(publish.len()) + &publish,
        ] {
            // The end comes with the request, or a moment later.
            for at_once in [true, false] {
                let client = world.connect_late("");
                client.line.0.borrow_mut().sends.extend(request.bytes());
                if !at_once {
                    world.shards[0].ready(world.now, client.token, READY);
                }
                world.hang_up(&client);
                let answers = client.answers();
                assert_eq!((answers.len(), answers[0].status), (1, 200), "{request}");
                let counters = world.counters();
                assert_eq!(
                    (counters.connections, counters.subscriptions, counters.transports),
                    (0, 0, [0; 3])
                );
            }
        }
        // Nothing is held for somebody who may as well be gone.
        let here = world.publish(&room, None, 1);
        let client = world.connect(get(&format!("/poll?channel={room}&since={here}&wait=55")));
        world.hang_up(&client);
        assert!(client.answers().is_empty());
        assert_eq!((world.counters().connections, world.counters().subscriptions), (0, 0));
    }
}

#[test]
fn a_message_to_a_late_owner_is_answered_before_the_requests_behind_it() {
    let mut world = World::new(2);
    let there = world.channel("room:", 1);
    let message = json!({ "type": "publish", "channel": there, "data": 1, "id": "x" }).to_string();
    let here = world.channel("c", 0);
    let requests = post(message.len())
        + &message
        + &get(&format!("/poll?channel={here}"))
        + &get("/nothing")
        + &get("/poll");
    let client = world.connect_late(requests);
    let asked = world.turn(0);
    assert!(client.answers().is_empty(), "the poll behind it could be answered at once");
    world.carry(1, asked);
    world.settle();
    let statuses: Vec<u16> = client.answers().iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 404], "behind a refusal nothing is answered");
    assert_eq!(
        client.answers()[0].body,
        json!({ "type": "published", "channel": there, "offset": 1, "id": "x" })
    );
    assert!(client.is_finished());
}

#[test]
fn a_drain_answers_polls_that_wait_for_an_owner_with_the_owners_answer() {
    let mut world = World::new(2);
    let there = world.channel("c", 1);
    let head = world.publish(&there, None, 1);
    let poll = world.connect_late(get(&format!("/poll?channel={there}&since={head}")));
    let stream = world.connect_late(get(&format!("/events?channel={there}")));
    let asked = world.turn(0);
    world.carry(0, vec![Mail::Drain(DrainOrder::to_leave(0))]);
    world.turn(0);
    assert!(poll.answers().is_empty());
    assert!(stream.blocks()[0].starts_with("retry: ") && stream.is_finished());
    world.carry(1, asked);
    world.settle();
    let answers = poll.answers();
    assert_eq!((answers[0].polled(&there), answers[0].keeps), ((vec![], head.to_string()), false));
    [poll, stream].iter().for_each(|client| world.hang_up(client));
    assert!(world.shards[0].is_drained());
}

/// A client of the seeded test, and the channels that it follows.
struct Somebody {
    client: Client,
    follows: Vec<&'static str>,
    polls: bool,
    /// Up to where polls were answered, by channel.
    places: Vec<String>,
    answered: usize,
    /// Bytes of the answers that it has read.
    read: usize,
}

impl Somebody {
    fn query(&self) -> String {
        let pair = |(name, place)| format!("channel={name}&since={place}");
        self.follows.iter().zip(&self.places).map(pair).collect::<Vec<_>>().join("&")
    }

    /// Reads the answers to its polls, and asks for more. Demands that what an answer has is what comes behind the last.
    fn go_on(&mut self, world: &mut World) {
        let got = self.client.line.0.borrow().got.len();
        if std::mem::replace(&mut self.read, got) == got {
            return;
        }
        let answers = self.client.answers();
        // It may have the beginning of one.
        let Some(answer) = answers.get(self.answered) else { return };
        self.answered += 1;
        for (name, place) in self.follows.iter().zip(&mut self.places) {
            let (offsets, next) = answer.polled(name);
            if let Some((_, from)) = place.split_once('-') {
                let from: u64 = from.parse().unwrap();
                assert_eq!(
                    offsets,
                    (from + 1..).take(offsets.len()).collect::<Vec<_>>(),
                    "{name} from {place}"
                );
                assert!(next.ends_with(&format!("-{}", from + offsets.len() as u64)), "{next}");
            }
            *place = next;
        }
        self.client.line.0.borrow_mut().sends.extend(get(&format!("/poll?{}", self.query())).into_bytes());
        world.shards[0].ready(world.now, self.client.token, READY);
    }
}

const CHANNELS: [&str; 3] = ["deep:a", "deep:b", "deep:c"];

/// Streams and polls come, go and ask for more between any two turns, and mail waits as long as it likes.
fn come_and_go(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let shards = rng.u16(1..=3);
    let mut world = World::with(shards, Limits { pass_quantum_writes: rng.usize(1..4), ..Limits::default() });
    let mut inboxes: Vec<VecDeque<Mail>> = (0..shards).map(|_| VecDeque::new()).collect();
    let (mut there, mut gone): (Vec<Somebody>, Vec<Somebody>) = Default::default();
    let mut published = [0; CHANNELS.len()];
    for _ in 0..400 {
        match rng.u32(0..10) {
            0..2 => {
                let mut follows = CHANNELS.to_vec();
                rng.shuffle(&mut follows);
                follows.truncate(rng.usize(1..=3));
                let (polls, places) = (rng.bool(), vec![String::new(); follows.len()]);
                let client = world.connect_late("");
                let somebody = Somebody { client, follows, polls, places, answered: 0, read: 0 };
                let path = if polls { "poll" } else { "events" };
                let request = get(&format!("/{path}?{}", somebody.query()));
                somebody.client.line.0.borrow_mut().sends.extend(request.into_bytes());
                world.shards[0].ready(world.now, somebody.client.token, READY);
                there.push(somebody);
            }
            2..5 => {
                let channel = rng.usize(0..CHANNELS.len());
                published[channel] += 1;
                world.publish_late(CHANNELS[channel], None, 10);
            }
            5 if !there.is_empty() => {
                let somebody = there.swap_remove(rng.usize(..there.len()));
                world.read_late(&somebody.client, usize::MAX);
                somebody.client.line.0.borrow_mut().ended = true;
                world.shards[0].ready(world.now, somebody.client.token, ENDED);
                gone.push(somebody);
            }
            // It has room for a while, for little, or for nothing.
            6 if !there.is_empty() => {
                let room = rng.choice([0, 50, 1_000, usize::MAX]).unwrap();
                world.read_late(&there[rng.usize(..there.len())].client, room);
            }
            7 => {
                let shard = rng.usize(..usize::from(shards));
                let mail: Vec<Mail> = inboxes[shard].drain(..).collect();
                world.carry(shard, mail);
            }
            _ => turn(&mut world, rng.usize(..usize::from(shards)), &mut inboxes),
        }
        there.iter_mut().filter(|somebody| somebody.polls).for_each(|somebody| somebody.go_on(&mut world));
    }
    there.iter().for_each(|somebody| world.read_late(&somebody.client, usize::MAX));
    settle(&mut world, &mut inboxes, &mut there);
    judge(&world, &there, &gone, published);
    for somebody in there {
        world.hang_up(&somebody.client);
    }
    let counters = world.counters();
    assert_eq!((counters.subscriptions, counters.connections, counters.panics), (0, 0, 0));
    assert_eq!((counters.transports, counters.gaps), ([0; 3], 0));
}

fn turn(world: &mut World, shard: usize, inboxes: &mut [VecDeque<Mail>]) {
    world.shards[shard].turn(world.now);
    for parcel in world.shards[shard].parcels() {
        if let Parcel::Shard(to, mail) = parcel {
            inboxes[usize::from(to.0)].push_back(mail);
        }
    }
}

/// Until nothing moves, and nobody has an answer that it has not read.
fn settle(world: &mut World, inboxes: &mut [VecDeque<Mail>], there: &mut [Somebody]) {
    let mut quiet = 0;
    while quiet < 3 {
        quiet += 1;
        for shard in 0..inboxes.len() {
            turn(world, shard, inboxes);
            let mail: Vec<Mail> = inboxes[shard].drain(..).collect();
            if !mail.is_empty() || world.shards[shard].turn(world.now) == Next::Now {
                quiet = 0;
            }
            world.carry(shard, mail);
        }
        there.iter_mut().filter(|somebody| somebody.polls).for_each(|somebody| somebody.go_on(world));
    }
}

fn judge(world: &World, there: &[Somebody], gone: &[Somebody], published: [u64; CHANNELS.len()]) {
    for somebody in there.iter().filter(|somebody| somebody.polls) {
        for (name, place) in somebody.follows.iter().zip(&somebody.places) {
            let channel = CHANNELS.iter().position(|channel| channel == name).unwrap();
            assert!(
                place.ends_with(&format!("-{}", published[channel])),
                "{name} at {place} of {published:?}"
            );
        }
    }
    for somebody in there.iter().filter(|somebody| !somebody.polls) {
        for (name, place) in somebody.follows.iter().zip(somebody.client.places()) {
            let channel = CHANNELS.iter().position(|channel| channel == name).unwrap();
            offsets(&somebody.client, &somebody.follows, name);
            assert!(
                place.ends_with(&format!("-{}", published[channel])),
                "{name} at {place} of {published:?}"
            );
        }
    }
    for somebody in gone.iter().filter(|somebody| !somebody.polls) {
        if somebody.client.line.0.borrow().got.windows(5).any(|window| window == b"\nid: ") {
            offsets(&somebody.client, &somebody.follows, somebody.follows[0]);
        }
    }
    let (streams, polls) = (world.count(Transport::Sse), world.count(Transport::Poll));
    let polling = there.iter().filter(|somebody| somebody.polls).count() as u64;
    assert_eq!((streams, polls), (there.len() as u64 - polling, polling));
}

#[test]
fn whoever_comes_and_goes_between_any_turns_gets_each_message_behind_its_place_once() {
    for seed in 0..60 {
        if let Err(panic) = std::panic::catch_unwind(|| come_and_go(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
