//! Nobody looks at a client.

use super::world::Event::{Gap, Got};
use super::world::World;
use roost::config::policy::Slow;
use roost::limits::{HIDDEN_REST_MS, Limits};
use roost::shard::Next;
use serde_json::{Value, json};

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
