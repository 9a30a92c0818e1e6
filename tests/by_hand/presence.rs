//! How many follow a channel, and who.

use crate::READY;
use crate::node::{Client, Node, SHARDS};
use roost::clock::TICK_MS;
use roost::config::policy::PolicyRule;
use roost::limits::Limits;
use roost::proto::frame::{Opcode, put_masked_frame};
use roost::shard::mail::{DrainOrder, Mail, Publisher};
use serde_json::json;

const DEBOUNCE_MS: u64 = 3_000;

/// A node whose rooms have presence.
fn node() -> Node {
    Node::new(PolicyRule { presence: Some(true), ..PolicyRule::default() }, |settings| settings)
}

/// The counts that were announced to a client since it was last asked.
fn counts(client: &Client) -> Vec<u64> {
    let event = |heard: &serde_json::Value| {
        (heard["type"] == "presence").then(|| heard["count"].as_u64().expect("a number"))
    };
    client.hear().iter().filter_map(event).collect()
}

#[test]
fn who_stays_is_announced_once_after_three_seconds_to_everyone_on_every_shard() {
    let mut node = node();
    let room = node.room(2);
    let clients: Vec<Client> = (0..3).map(|shard| node.connect(shard, &room)).collect();
    clients.iter().for_each(|client| _ = client.hear());
    node.pass(DEBOUNCE_MS - 1);
    assert!(clients.iter().all(|client| client.hear().is_empty()), "too early");
    node.pass(1);
    for client in &clients {
        assert_eq!(client.hear(), [json!({ "type": "presence", "channel": room, "count": 3 })]);
    }
    node.pass(20_000);
    assert!(clients.iter().all(|client| counts(client).is_empty()), "nothing has changed");
    assert_eq!(node.counters(), (1, 1));
}

#[test]
fn a_page_that_is_loaded_anew_is_no_event() {
    let mut node = node();
    let room = node.room(0);
    let [stays, mut loads] = [1, 2].map(|shard| node.connect(shard, &room));
    node.pass(DEBOUNCE_MS);
    assert_eq!((counts(&stays), counts(&loads)), (vec![2], vec![2]));
    for shard in [0, 1, 2, 1] {
        node.vanish(&loads);
        node.pass(DEBOUNCE_MS - 100);
        loads = node.connect(shard, &room);
        node.pass(DEBOUNCE_MS);
        assert_eq!((counts(&stays), counts(&loads)), (vec![], vec![]));
    }
    node.vanish(&loads);
    node.pass(DEBOUNCE_MS);
    assert_eq!(counts(&stays), [1]);
}

#[test]
fn ten_thousand_who_come_one_by_one_are_an_event_every_three_seconds_and_a_piece_of_mail_a_turn() {
    let mut node = node();
    let room = node.room(0);
    let first = node.connect(1, &room);
    let (mut crowd, mut heard) = (Vec::new(), Vec::new());
    // Ten seconds: so many in each tick, in one turn each of two shards.
    for _ in 0..100 {
        crowd.extend((0..100).map(|number| node.arrive(1 + number % 2, &room)));
        node.settle();
        node.pass(TICK_MS);
        heard.extend(counts(&first));
    }
    assert_eq!(heard, [3_001, 6_001, 9_001], "at 3, 6 and 9 s");
    node.pass(DEBOUNCE_MS);
    assert_eq!(counts(&first), [10_001]);
    assert_eq!(crowd.iter().map(|client| counts(client).len()).max(), Some(4));
    assert_eq!(node.counters(), (1, 4));
    // The subscribers of shards 1 and 2 come in the turn in which their owner's answers do.
    assert!(node.told <= 1 + 2 * 100, "{} pieces of mail", node.told);
}

#[test]
fn whoever_asks_behind_its_own_subscribe_is_counted_wherever_the_owner_is() {
    let mut node = node();
    for owner in 0..SHARDS {
        let room = node.room(owner);
        for shard in 0..3 {
            let client = node.arrive(shard, "");
            let mut frames = Vec::new();
            for (id, kind) in ["presence", "subscribe", "presence", "unsubscribe", "presence", "subscribe"]
                .into_iter()
                .enumerate()
            {
                let text = json!({ "type": kind, "channel": room, "id": id }).to_string();
                put_masked_frame(&mut frames, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
            }
            client.line.0.borrow_mut().sends.extend(frames);
            node.shards[shard].ready(node.now, client.token, READY);
            node.settle();
            let heard = client.hear();
            let ids: Vec<_> = heard.iter().map(|one| one["id"].as_u64().unwrap()).collect();
            assert_eq!(ids, [0, 1, 2, 3, 4, 5], "answers keep their order");
            let beside = shard as u64;
            assert_eq!(heard[0], json!({ "type": "presence", "channel": room, "count": beside, "id": 0 }));
            assert!(heard[2]["count"].as_u64() <= Some(beside + 1));
            assert_eq!(heard[4]["count"], beside, "it has left: {heard:?}");
            node.say(&client, &json!({ "type": "presence", "channel": room }));
            assert_eq!(client.hear()[0]["count"], beside + 1);
        }
    }
}

#[test]
fn a_channel_without_the_policy_answers_forbidden_and_announces_nothing() {
    let mut node = node();
    let client = node.connect(0, "hall:1");
    client.hear();
    node.say(&client, &json!({ "type": "presence", "channel": "hall:1", "id": 7 }));
    let answer = &client.hear()[0];
    assert_eq!((&answer["code"], &answer["id"]), (&json!("forbidden"), &json!(7)));
    node.say(&client, &json!({ "type": "presence", "channel": "a b" }));
    assert_eq!(client.hear()[0]["code"], "bad_channel");
    node.pass(2 * DEBOUNCE_MS);
    assert!(client.hear().is_empty());
    assert_eq!((node.counters(), node.told), ((0, 0), 0));
}

#[test]
fn events_keep_their_place_among_publications_and_take_no_number() {
    let mut node = node();
    let room = node.room(1);
    let client = node.connect(0, &room);
    client.hear();
    for number in 0..70 {
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        let (name, data) = (room.as_str().into(), number.to_string().into());
        node.mail(1, Mail::Publish { name, data, key: None, publisher });
        node.settle();
        node.pass(TICK_MS);
    }
    let heard = client.hear();
    let at = heard.iter().position(|one| one["type"] == "presence").expect("an event");
    assert_eq!(heard[at - 1]["offset"], 30, "those of the first three seconds");
    let offsets: Vec<_> = heard.iter().filter_map(|one| one["offset"].as_u64()).collect();
    assert_eq!(offsets, (1..=70).collect::<Vec<_>>());
}

#[test]
fn a_connection_that_died_without_a_goodbye_leaves_when_its_time_is_over() {
    let mut node = node();
    let room = node.room(2);
    let alive = node.connect(0, &room);
    let _dead = node.connect(1, &room);
    let idle_ms = Limits::default().idle_timeout_ms;
    for _ in 0..idle_ms / 1_000 + 5 {
        node.pass(1_000);
        node.say(&alive, &json!({ "type": "ping" }));
    }
    assert_eq!(counts(&alive), [2, 1]);
}

#[test]
fn a_drain_takes_everyone_out_of_the_count_and_the_channels_are_forgotten() {
    let mut node = node();
    for owner in 0..SHARDS {
        let room = node.room(owner);
        (0..3).for_each(|shard| _ = node.connect(shard, &room));
    }
    assert_eq!(node.counters().0, 3);
    (0..3).for_each(|shard| node.mail(shard, Mail::Drain(DrainOrder::to_leave(1_000))));
    node.settle();
    node.pass(2_000 + DEBOUNCE_MS);
    assert_eq!(node.counters().0, 0);
}
