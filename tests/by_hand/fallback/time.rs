//! What time does to streams and polls.

use super::world::{Client, World, get, post};
use roost::clock::TICK_MS;
use roost::disconnect::Disconnect;
use roost::limits::{HEARTBEAT_MS, KEEP_ALIVE_MS, Limits};
use roost::metrics::Transport;
use roost::shard::Next;
use serde_json::json;

/// Late by as much as a shard may be: a moment is a tick, and a tick may have begun.
const LATE_MS: u64 = 2 * TICK_MS;

/// Moves the clock as the shards want it, for so long, and calls `look` after every step.
fn let_pass(world: &mut World, ms: u64, mut look: impl FnMut(&mut World)) {
    let end_ms = world.now.mono_ms + ms;
    while world.now.mono_ms < end_ms {
        let next = world.asks_for.iter().filter_map(|next| match next {
            Next::At(at_ms) => Some(*at_ms),
            Next::Now | Next::Idle => None,
        });
        let at_ms = next.min().unwrap_or(end_ms).clamp(world.now.mono_ms + 1, end_ms);
        world.pass(at_ms - world.now.mono_ms);
        look(world);
    }
}

#[test]
fn a_silent_stream_gets_a_comment_every_15_seconds_is_never_pinged_out_and_costs_few_turns() {
    let mut world = World::new(2);
    let mut streams: Vec<(Client, u64, usize)> = Vec::new();
    for number in 0..40 {
        let client =
            world.stream(if number % 2 == 0 { "channel=a" } else { "channel=a&channel=b&channel=c" });
        let got = client.line.0.borrow().got.len();
        streams.push((client, world.now.mono_ms, got));
        world.pass(37);
    }
    let mut turns = 0;
    // Ten times as long as a silent WebSocket would live.
    let_pass(&mut world, 600_000, |world| {
        turns += 1;
        for (client, sign_ms, got) in &mut streams {
            let now_got = client.line.0.borrow().got.len();
            if now_got > *got {
                assert_eq!(client.line.0.borrow().got[*got..], *b":\n\n");
                (*sign_ms, *got) = (world.now.mono_ms, now_got);
            }
            let silence_ms = world.now.mono_ms - *sign_ms;
            assert!(silence_ms <= HEARTBEAT_MS + LATE_MS, "{silence_ms} ms of silence");
        }
    });
    for (client, ..) in &streams {
        assert!(!client.is_finished());
        let comments = client.blocks().iter().filter(|block| *block == ":").count();
        // Not many more than one in 15 seconds either.
        assert!((40..=44).contains(&comments), "{comments} comments in ten minutes");
        assert_eq!(client.events(), []);
    }
    assert_eq!(world.count(Transport::Sse), 40);
    assert!(turns < 6_000, "{turns} turns");
    world.publish("a", None, 1);
    streams.iter().for_each(|(client, ..)| assert_eq!(client.events().len(), 1));
}

#[test]
fn comments_to_streams_that_were_opened_in_one_burst_go_out_as_a_stream() {
    let mut world = World::new(1);
    for _ in 0..3_000 {
        world.connect_late(get("/events?channel=a"));
    }
    world.settle();
    let_pass(&mut world, 30_000, |_| {});
    let (mut before, mut most) = (world.counters().pings, 0);
    for _ in 0..60 {
        let_pass(&mut world, 500, |_| {});
        let pings = world.counters().pings;
        most = most.max(pings - before);
        before = pings;
    }
    // Evenly it would be 107 in half a second.
    assert!((100..160).contains(&most), "{most} comments in half a second");
}

#[test]
fn no_comment_comes_before_the_opening_however_long_an_owner_takes() {
    // So little may be queued that the head is written before all owners have answered.
    let mut world = World::with(2, Limits { queue_soft_bytes: 100, ..Limits::default() });
    let [here, there] = [0, 1].map(|owner| world.channel("c", owner));
    let client = world.connect_late(get(&format!("/events?channel={here}&channel={there}")));
    let asked = world.turn(0);
    for _ in 0..30 {
        world.now.mono_ms += HEARTBEAT_MS / 10;
        world.turn(0);
        assert_eq!(client.blocks(), [""; 0], "the head alone");
    }
    world.carry(1, asked);
    world.settle();
    assert_eq!((client.events(), client.blocks().len()), (Vec::new(), 1));
    world.pass(HEARTBEAT_MS + LATE_MS);
    assert_eq!(client.blocks()[1..], [":"]);
}

#[test]
fn comments_do_not_pile_up_where_nobody_reads() {
    let mut world = World::new(1);
    let client = world.stream("channel=a");
    client.take(0);
    let_pass(&mut world, 600_000, |_| {});
    assert!(world.shards[0].queued_bytes() < 200, "{}", world.shards[0].queued_bytes());
    assert!(!client.is_finished());
    world.publish("a", None, 1);
    world.read(&client, usize::MAX);
    assert_eq!((client.events().len(), world.shards[0].queued_bytes()), (1, 0));
}

#[test]
fn a_poll_is_held_for_as_long_as_it_said_and_no_shorter() {
    for (wait, held_ms) in [("&wait=1", 1_000), ("&wait=55", 55_000), ("", 25_000), ("&wait=0", 0)] {
        for shift_ms in [0, 1, 57, 99] {
            let mut world = World::new(2);
            world.pass(shift_ms);
            let head = world.publish("a", None, 1);
            let client = world.connect(get(&format!("/poll?channel=a&since={head}{wait}")));
            if held_ms > 0 {
                let_pass(&mut world, held_ms - 1, |_| assert!(client.answers().is_empty()));
                assert_eq!((world.counters().subscriptions, world.count(Transport::Poll)), (1, 1));
                let_pass(&mut world, LATE_MS, |_| {});
            }
            let answers = client.answers();
            assert_eq!(answers.len(), 1, "{wait} {shift_ms}");
            assert_eq!(answers[0].polled("a"), (vec![], head.to_string()));
            assert_eq!((world.counters().subscriptions, world.count(Transport::Poll)), (0, 1));
        }
    }
}

#[test]
fn a_poll_whose_time_is_over_while_an_owner_is_asked_is_answered_with_the_owners_answer() {
    let mut world = World::new(2);
    let channel = world.channel("c", 1);
    let head = world.publish(&channel, None, 1);
    let client = world.connect_late(get(&format!("/poll?channel={channel}&since={head}&wait=1")));
    let asked = world.turn(0);
    // The owner is very late, and meanwhile something is published.
    for _ in 0..30 {
        world.now.mono_ms += 100;
        assert!(world.turn(0).is_empty());
    }
    assert!(client.answers().is_empty());
    world.publish(&channel, None, 1);
    world.carry(1, asked);
    world.settle();
    assert_eq!(client.answers()[0].polled(&channel).0, [2]);
}

#[test]
fn a_kept_connection_ends_after_75_idle_seconds_and_every_request_begins_them_anew() {
    let mut world = World::new(1);
    let client = world.connect(get("/poll?channel=a"));
    for _ in 0..4 {
        let_pass(&mut world, KEEP_ALIVE_MS - LATE_MS, |_| {});
        assert!(!client.is_finished());
        world.say(&client, get("/poll?channel=a"));
    }
    assert_eq!(client.answers().len(), 5);
    let_pass(&mut world, KEEP_ALIVE_MS + 2 * LATE_MS, |_| {});
    assert!(client.is_finished(), "the client is told, so that its next request goes elsewhere");
    assert_eq!(world.count(Transport::Poll), 0);
    let_pass(&mut world, Limits::default().close_timeout_ms + 2 * LATE_MS, |_| {});
    assert_eq!(world.shards[0].len(), 0, "also where it does not hang up");
    assert_eq!(client.answers().len(), 5);
    assert_eq!(world.counters().disconnects.of(Disconnect::Answered), 1);
}

#[test]
fn a_body_that_comes_too_slowly_is_408_after_10_seconds_and_not_before() {
    for trickles in [false, true] {
        let mut world = World::new(1);
        let client = world.connect(post(100));
        for _ in 0..9 {
            let_pass(&mut world, 1_100, |_| {});
            world.say(&client, if trickles { " " } else { "" });
        }
        assert!(client.answers().is_empty() && !client.is_finished());
        assert_eq!(world.count(Transport::Poll), 1);
        let_pass(&mut world, 100 + 2_500, |_| {});
        let answers = client.answers();
        assert_eq!((answers[0].status, answers[0].keeps), (408, false));
        assert_eq!(answers[0].body["error"]["code"], "timeout");
        assert!(client.is_finished());
        assert_eq!(world.counters().disconnects.of(Disconnect::HandshakeTimeout), 1);
        world.hang_up(&client);
        assert_eq!((world.count(Transport::Poll), world.shards[0].len()), (0, 0));
    }
}

#[test]
fn the_next_head_on_a_kept_connection_has_10_seconds_too() {
    let mut world = World::new(1);
    let client = world.connect(get("/poll?channel=a"));
    let_pass(&mut world, 60_000, |_| {});
    world.say(&client, b"GET /poll?channel=a HT");
    let_pass(&mut world, 9_800, |_| {});
    assert_eq!(client.answers().len(), 1);
    world.say(&client, b"TP/1.1\r\nHost: node\r\n\r\n");
    assert_eq!(client.answers().len(), 2);
    world.say(&client, b"G");
    let_pass(&mut world, 10_000 + 2_500, |_| {});
    assert_eq!(client.answers()[2].status, 408);
}

#[test]
fn how_many_follow_a_channel_is_told_to_streams_without_an_id_and_not_to_polls() {
    let mut world = World::new(2);
    for owner in [0, 1] {
        let room = world.channel("room:", owner);
        let head = world.publish(&room, None, 1);
        let single = world.stream(&format!("channel={room}"));
        let several = world.stream(&format!("channel=a&channel={room}"));
        let poll = world.connect(get(&format!("/poll?channel={room}&since={head}&wait=55")));
        let_pass(&mut world, 4_000, |_| {});
        for client in [&single, &several] {
            let [event] = &client.events()[..] else { panic!("{:?}", client.events()) };
            assert_eq!((&*event.kind, &event.id), ("presence", &None));
            assert_eq!(event.data, json!({ "type": "presence", "channel": room, "count": 3 }));
            assert_eq!(*client.places().last().unwrap(), head.to_string());
        }
        assert!(poll.answers().is_empty());
        world.publish(&room, None, 1);
        assert_eq!(poll.answers()[0].polled(&room).0, [2]);
        assert_eq!(single.events().len(), 2);
    }
}
