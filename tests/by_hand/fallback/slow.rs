//! Streams and answers whose client reads slowly.

use super::world::{Client, HISTORY, World, get};
use roost::config::policy::Slow;
use roost::disconnect::{Bound, Disconnect};
use roost::limits::{BATCH_BYTES_MAX, KEEP_ALIVE_MS, Limits, PIPELINED_BYTES_MAX, POLL_BATCH_BYTES_MAX};
use roost::metrics::Transport;

/// What a stream knows of its last channel; see [`Client::stories`].
fn story(client: &Client, channel: &str) -> Vec<(u64, u64)> {
    let alone = client.places().len() == 1;
    let channels = if alone { vec![channel] } else { vec!["other", channel] };
    client.stories(&channels).pop().unwrap()
}

fn cut_for_lagging(world: &World) -> u64 {
    world.counters().disconnects.of(Disconnect::SlowConsumer)
}

/// A stream of a channel with this policy, alone or behind another channel.
fn slow_stream(world: &mut World, slow: Slow, owner: u16, alone: bool) -> (String, Client) {
    let channel = world.channel(&slow.to_string(), owner);
    let beside = if alone { "" } else { "channel=other&" };
    let client = world.stream(&format!("{beside}channel={channel}"));
    (channel, client)
}

#[test]
fn a_slow_stream_of_a_drop_channel_gets_an_exact_gap_and_then_the_rest() {
    for (owner, alone) in [(0, true), (1, true), (0, false), (1, false)] {
        let mut world = World::new(2);
        let (channel, client) = slow_stream(&mut world, Slow::Drop, owner, alone);
        client.take(1_000);
        (0..200).for_each(|_| _ = world.publish(&channel, None, 2_000));
        assert!(
            world.shards[0].queued_bytes() < Limits::default().queue_soft_bytes + BATCH_BYTES_MAX + 8_192
        );
        world.pass(60_000);
        assert_eq!((cut_for_lagging(&world), world.shards[0].len()), (0, 1));
        world.read(&client, usize::MAX);
        let story = story(&client, &channel);
        let queued = story.iter().take_while(|(from, to)| from == to).count() as u64;
        assert!((10..40).contains(&queued), "{queued}");
        let mut expected: Vec<(u64, u64)> = (1..=queued).map(|offset| (offset, offset)).collect();
        expected.push((queued + 1, 200 - HISTORY));
        expected.extend((201 - HISTORY..=200).map(|offset| (offset, offset)));
        assert_eq!(story, expected);
        world.publish(&channel, None, 10);
        assert_eq!(super::slow::story(&client, &channel).last(), Some(&(201, 201)), "it is live again");
    }
}

#[test]
fn a_slow_stream_of_a_latest_channel_gets_the_latest_of_each_key_and_a_gap_for_the_rest() {
    for (owner, alone) in [(0, true), (1, true), (0, false), (1, false)] {
        let mut world = World::new(2);
        let (channel, client) = slow_stream(&mut world, Slow::Latest, owner, alone);
        client.take(100);
        for number in 0..300 {
            world.publish(&channel, Some(&format!("key {}", number % 3)), 2_000);
        }
        assert!(world.shards[0].queued_bytes() < 10_000, "{}", world.shards[0].queued_bytes());
        world.pass(60_000);
        world.read(&client, usize::MAX);
        assert_eq!(story(&client, &channel), [(1, 1), (2, 297), (298, 298), (299, 299), (300, 300)]);
        assert_eq!(cut_for_lagging(&world), 0);
        world.publish(&channel, None, 10);
        assert_eq!(story(&client, &channel).last(), Some(&(301, 301)));
    }
}

#[test]
fn an_event_of_another_channel_does_not_say_that_a_client_has_what_it_is_behind_with() {
    for (slow, owner) in [(Slow::Drop, 0), (Slow::Drop, 1), (Slow::Latest, 0), (Slow::Latest, 1)] {
        let mut world = World::new(2);
        let slow = world.channel(&slow.to_string(), owner);
        let other = world.channel("c", 1 - owner);
        let client = world.stream(&format!("channel={slow}&channel={other}"));
        client.take(1_000);
        for _ in 0..100 {
            world.publish(&slow, None, 2_000);
            world.publish(&other, None, 1);
        }
        world.read(&client, usize::MAX);
        let stories = client.stories(&[&slow, &other]);
        assert!(stories[0].iter().any(|(from, to)| from < to), "it was behind: {stories:?}");
        assert_eq!(stories[1], (1..=100).map(|offset| (offset, offset)).collect::<Vec<_>>());
    }
}

#[test]
fn places_keep_their_order_while_lagging_channels_take_turns() {
    let mut world = World::new(2);
    let channels: Vec<String> =
        world.channels("latest", 0).take(2).chain(world.channels("latest", 1).take(2)).collect();
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    let client = world.stream(&format!("channel={}", names.join("&channel=")));
    client.take(100);
    // More than a page of the latest of each.
    for key in 0..60 {
        names.iter().for_each(|channel| _ = world.publish(channel, Some(&format!("key {key}")), 2_000));
    }
    for _ in 0..200 {
        world.read(&client, 10_000);
    }
    let stories = client.stories(&names);
    assert!(
        stories.iter().all(|story| *story == (1..=60).map(|offset| (offset, offset)).collect::<Vec<_>>())
    );
}

#[test]
fn a_slow_stream_of_any_other_channel_is_cut_and_goes_on_from_its_last_whole_event() {
    // Over the hard bound at once, or over the soft one for its time.
    for (count, wait_ms) in [(200, 0), (60, 12_000)] {
        for (owner, alone) in [(0, true), (1, true), (0, false), (1, false)] {
            let mut world = World::new(2);
            let channel = world.channel("deep:", owner);
            let beside = if alone { "" } else { "channel=other&" };
            let query = format!("{beside}channel={channel}");
            let client = world.stream(&query);
            client.take(5_000);
            (0..count).for_each(|_| _ = world.publish(&channel, None, 2_000));
            world.pass(wait_ms);
            assert_eq!((cut_for_lagging(&world), world.shards[0].len()), (1, 0), "{count}");
            assert_eq!((world.count(Transport::Sse), world.counters().subscriptions), (0, 0));
            assert_eq!(world.shards[0].queued_bytes(), 0);
            // Two events are whole, and a browser throws away the third.
            let got = String::from_utf8(client.line.0.borrow().got.clone()).unwrap();
            let whole = &got[..got.rfind("\n\n").unwrap()];
            let id = whole.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap();
            assert!(id.ends_with("-2"), "{id}");
            let again = format!("GET /events?{query} HTTP/1.1\r\nHost: node\r\nLast-Event-ID: {id}\r\n\r\n");
            let client = world.connect(again);
            assert_eq!(
                story(&client, &channel),
                (3..=count).map(|offset| (offset, offset)).collect::<Vec<_>>()
            );
        }
    }
}

/// Channels with more in them than one answer takes, and a poll of all.
fn with_a_long_past(world: &mut World) -> (Vec<String>, String) {
    let channels: Vec<String> = world.channels("deep:", 0).take(16).collect();
    let mut query = Vec::new();
    for channel in &channels {
        let first = world.publish(channel, None, 2_000);
        (0..20).for_each(|_| _ = world.publish(channel, None, 2_000));
        query.push(format!("channel={channel}&since={first}"));
    }
    (channels, format!("/poll?{}", query.join("&")))
}

/// Lets the client take so many bytes a second until it has an answer; returns how many seconds that took.
fn read_slowly(world: &mut World, client: &Client, bytes: usize) -> u64 {
    for second in 0..600 {
        if let [answer] = &client.answers()[..] {
            assert_eq!(answer.status, 200);
            return second;
        }
        world.pass(1_000);
        world.read(client, bytes);
    }
    panic!("{} bytes came, and no more", client.line.0.borrow().got.len());
}

#[test]
fn an_answer_that_is_read_slowly_comes_whole_whether_or_not_the_connection_is_kept() {
    for version in ["1.1", "1.0"] {
        let mut world = World::new(1);
        let (channels, target) = with_a_long_past(&mut world);
        let client = world.connect_late("");
        client.take(0);
        world.say(&client, format!("GET {target} HTTP/{version}\r\nHost: node\r\n\r\n"));
        let seconds = read_slowly(&mut world, &client, 5_000);
        assert!((45..60).contains(&seconds), "a quarter of a megabyte in {seconds} s");
        let answer = &client.answers()[0];
        assert_eq!(answer.keeps, version == "1.1");
        for channel in &channels {
            let (offsets, place) = answer.polled(channel);
            assert_eq!(offsets, (2..).take(offsets.len()).collect::<Vec<_>>());
            assert!(place.ends_with(&format!("-{}", 1 + offsets.len())), "{place}");
        }
        world.pass(100);
        assert_eq!(client.is_finished(), version == "1.0");
    }
}

#[test]
fn who_ends_its_side_behind_its_request_still_gets_the_whole_answer() {
    for version in ["1.1", "1.0"] {
        let mut world = World::new(1);
        let (_, target) = with_a_long_past(&mut world);
        let client = world.connect_late("");
        client.take(0);
        world.say(&client, format!("GET {target} HTTP/{version}\r\nHost: node\r\n\r\n"));
        world.hang_up(&client);
        assert!((10..20).contains(&read_slowly(&mut world, &client, 20_000)));
        assert_eq!((world.shards[0].len(), world.shards[0].queued_bytes()), (0, 0));
        assert!(client.is_finished());
        assert_eq!(world.counters().disconnects.of(Disconnect::Answered), 1);
    }
}

#[test]
fn an_answer_that_nobody_reads_does_not_stay_for_ever() {
    for version in ["1.1", "1.0"] {
        let mut world = World::new(1);
        let (_, target) = with_a_long_past(&mut world);
        let client = world.connect_late("");
        client.take(1_000);
        world.say(&client, format!("GET {target} HTTP/{version}\r\nHost: node\r\n\r\n"));
        assert!(world.shards[0].queued_bytes() > POLL_BATCH_BYTES_MAX - 10_000);
        for _ in 0..KEEP_ALIVE_MS / 1_000 + 5 {
            world.pass(1_000);
        }
        assert_eq!((world.shards[0].len(), world.shards[0].queued_bytes()), (0, 0), "{version}");
    }
}

#[test]
fn an_answer_that_is_cut_because_too_much_waits_for_all_counts_for_that_bound() {
    let mut world = World::with(1, Limits { queue_total_bytes: 10_000, ..Limits::default() });
    let (_, target) = with_a_long_past(&mut world);
    let client = world.connect_late("");
    client.take(1_000);
    world.say(&client, get(&target));
    assert_eq!((world.shards[0].len(), cut_for_lagging(&world)), (0, 1));
    assert_eq!(world.counters().slow_consumers[Bound::Total.index()], 1);
}

#[test]
fn who_asks_and_asks_and_does_not_read_has_no_more_queued_than_two_answers_beside_the_bound() {
    let mut world = World::new(1);
    let (_, target) = with_a_long_past(&mut world);
    let client = world.connect_late("");
    client.take(0);
    let request = get(&target);
    world.say(&client, request.repeat(50));
    let bound = PIPELINED_BYTES_MAX + 2 * POLL_BATCH_BYTES_MAX;
    assert!(world.shards[0].queued_bytes() < bound, "{}", world.shards[0].queued_bytes());
    world.read(&client, usize::MAX);
    let answers = client.answers();
    assert!((1..5).contains(&answers.len()), "{}", answers.len());
    let (last, before) = answers.split_last().unwrap();
    assert!(before.iter().all(|answer| answer.keeps) && !last.keeps);
    assert!(client.is_finished(), "it was told so");
}

#[test]
fn who_goes_on_asking_while_its_poll_is_held_is_kept_for_later_up_to_a_bound() {
    let mut world = World::new(1);
    let head = world.publish("a", None, 1);
    let client = world.connect(get(&format!("/poll?channel=a&since={head}&wait=55")));
    world.say(&client, get("/poll?channel=a").repeat(300));
    assert_eq!(world.shards[0].len(), 1);
    let head = world.publish("a", None, 1);
    assert_eq!(client.answers().len(), 1 + 300);
    let greedy = world.connect(get(&format!("/poll?channel=a&since={head}&wait=55")));
    (0..50).for_each(|_| world.say(&greedy, get("/poll?channel=a").repeat(100)));
    assert_eq!((world.shards[0].len(), world.counters().subscriptions), (1, 0));
    assert_eq!(world.counters().disconnects.of(Disconnect::Protocol), 1);
}

#[test]
fn who_says_something_on_a_stream_is_cut() {
    let mut world = World::new(1);
    let client = world.stream("channel=a");
    assert_eq!(client.events(), []);
    world.say(&client, get("/poll?channel=a"));
    assert_eq!((world.shards[0].len(), world.counters().subscriptions), (0, 0));
    assert_eq!(world.counters().disconnects.of(Disconnect::Protocol), 1);
}
