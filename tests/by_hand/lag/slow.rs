//! A client reads more slowly than is published.

use super::world::Event::{Gap, Got};
use super::world::{Client, HISTORY, World};
use roost::config::policy::Slow;
use roost::limits::{BATCH_BYTES_MAX, Limits};
use serde_json::json;

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
fn a_client_that_comes_back_to_one_publication_larger_than_all_limits_is_not_cut_for_reading_it_slowly() {
    let limits = Limits { queue_soft_bytes: 1_000, queue_hard_bytes: 2_000, ..Limits::default() };
    for slow in Slow::ALL {
        let mut world = World::with(HISTORY as usize, limits.clone());
        let channel = world.channel(slow, 1);
        let first = world.client(&[&channel]);
        let epoch = first.heard()[0]["cursor"].as_str().unwrap().replace("-0", "");
        world.publish(&channel, None, 20_000);
        let client = world.client(&[]);
        client.take(100);
        let since = format!("{epoch}-0");
        world.say(&client, &json!({ "type": "subscribe", "channel": channel, "since": since }));
        world.pass(limits.queue_soft_for_ms + 2_000);
        assert_eq!(world.cut_for_lagging(), 0, "{slow}");
        world.read(&client, usize::MAX);
        assert_eq!(client.story(&channel), [Got(1)], "{slow}");
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
    world.hang_up(&clients[2]);
    assert_eq!(world.shards[0].len(), 2);
    for client in &clients[..2] {
        world.read(client, usize::MAX);
    }
    world.publish(&channel, None, 500);
    assert_eq!(clients[0].story(&channel), [Got(1)]);
    assert_eq!(clients[1].story(&channel), [Got(1), Got(6)], "it joined anew at 5");
    assert_eq!(world.heap().queues, 0);
}
