//! Whoever comes back with its cursor gets what it missed, each once and in order, or is told what is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::node::Node;
use crate::publisher::Publisher;
use crate::wire::{CLOSE, TEXT, Wire, frame};

/// Publishes the numbers from `first` to `last`.
fn publish(node: &Node, channel: &str, first: u64, last: u64) -> String {
    node.publish_all(channel, (first..=last).map(Value::from))
}

fn epoch(cursor: &str) -> &str {
    cursor.split_once('-').unwrap().0
}

/// Subscribes with a cursor; returns whether everything could be recovered, and the head.
fn resume(client: &mut Client, channel: &str, since: &str) -> (bool, String) {
    let answer = client.ask(json!({ "type": "subscribe", "channel": channel, "since": since }));
    assert_eq!((&answer["type"], &answer["channel"]), (&json!("subscribed"), &json!(channel)), "{answer}");
    (answer["recovered"].as_bool().unwrap(), answer["cursor"].as_str().unwrap().to_owned())
}

/// Demands that the next message is this gap, and the cursor behind it.
fn hear_gap(client: &mut Client, channel: &str, from: u64, to: u64, epoch: &str) {
    let cursor = format!("{epoch}-{to}");
    let gap = json!({ "type": "gap", "channel": channel, "from": from, "to": to, "cursor": cursor });
    assert_eq!(client.hear(), gap);
}

/// Demands that the next messages are the notifications of these offsets, with their offsets as data.
fn hear_all(client: &mut Client, channel: &str, first: u64, last: u64) {
    for offset in first..=last {
        let heard = client.hear();
        assert_eq!((&heard["type"], &heard["channel"]), (&json!("notification"), &json!(channel)), "{heard}");
        assert_eq!((&heard["offset"], &heard["data"]), (&json!(offset), &json!(offset)), "{heard}");
    }
}

#[test]
fn what_was_missed_comes_behind_subscribed_in_order_and_then_what_is_published() {
    let node = Node::start(&["--shards", "2"]);
    let head = publish(&node, "a", 1, 20);
    for since in [0, 7, 19] {
        let mut client = node.client();
        let since = format!("{}-{since}", epoch(&head));
        assert_eq!(resume(&mut client, "a", &since), (true, head.clone()));
        hear_all(&mut client, "a", since.split_once('-').unwrap().1.parse::<u64>().unwrap() + 1, 20);
        client.lives();
    }
    let mut client = node.client();
    resume(&mut client, "a", &format!("{}-18", epoch(&head)));
    publish(&node, "a", 21, 25);
    hear_all(&mut client, "a", 19, 25);
    client.lives();
    node.end();
}

#[test]
fn a_replayed_notification_is_byte_for_byte_what_a_live_one_was() {
    let node = Node::start(&[]);
    let mut live = node.subscriber(&["a"]);
    assert_eq!(node.post(r#"{"channel":"a","data":{ "n":1.00, "n":"\u00e9" }}"#).status, 200);
    let text = live.hear_text();
    let head = node.client().subscribe("a");
    let mut late = node.client();
    assert_eq!(resume(&mut late, "a", &format!("{}-0", epoch(&head))), (true, head.clone()));
    assert_eq!(late.hear_text(), text);
    node.end();
}

#[test]
fn a_trimmed_history_is_a_gap_up_to_the_oldest_kept_and_then_the_rest() {
    let node = Node::start(&["--history", "3"]);
    let head = publish(&node, "a", 1, 10);
    let mut client = node.client();
    assert_eq!(resume(&mut client, "a", &format!("{}-2", epoch(&head))), (false, head.clone()));
    hear_gap(&mut client, "a", 3, 7, epoch(&head));
    hear_all(&mut client, "a", 8, 10);
    node.publish("a", &11.into());
    hear_all(&mut client, "a", 11, 11);
    // Exactly what is kept is not a gap.
    let mut client = node.client();
    assert!(resume(&mut client, "a", &format!("{}-8", epoch(&head))).0);
    hear_all(&mut client, "a", 9, 11);
    client.lives();
    node.end();
}

#[test]
fn a_cursor_of_another_epoch_or_of_the_future_replays_nothing_and_names_the_whole_gap() {
    let node = Node::start(&[]);
    let head = publish(&node, "a", 1, 4);
    for since in [format!("{}-5", epoch(&head)), "elsewhere-2".to_owned(), "elsewhere-0".to_owned()] {
        let mut client = node.client();
        assert_eq!(resume(&mut client, "a", &since), (false, head.clone()), "{since}");
        hear_gap(&mut client, "a", 1, 4, epoch(&head));
        client.lives();
    }
    let mut client = node.client();
    let (recovered, fresh) = resume(&mut client, "b", "elsewhere-3");
    assert!(!recovered && fresh.ends_with("-0"), "{fresh}");
    hear_gap(&mut client, "b", 1, 0, epoch(&fresh));
    node.end();
}

#[test]
fn the_head_recovers_and_nothing_comes_but_what_is_published() {
    let node = Node::start(&[]);
    let fresh = node.client().subscribe("new");
    let head = publish(&node, "a", 1, 3);
    let mut client = node.client();
    assert_eq!(resume(&mut client, "a", &head), (true, head.clone()));
    // A channel without publications is forgotten with its last subscriber, and yet it resumes.
    assert_eq!(resume(&mut client, "new", &fresh), (true, fresh));
    client.lives();
    publish(&node, "a", 4, 4);
    hear_all(&mut client, "a", 4, 4);
    node.end();
}

#[test]
fn each_channel_of_a_query_gets_its_own_past_behind_its_own_answer() {
    let node = Node::start(&["--shards", "3"]);
    let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    let heads: Vec<String> = names.iter().map(|name| publish(&node, name, 1, 6)).collect();
    // The first resumes at 0, the second at 1, …; the last half does not resume.
    let sinces = heads.iter().enumerate().map(|(number, head)| match number {
        0..6 => format!("{}-{number}", epoch(head)),
        _ => String::new(),
    });
    let query: Vec<String> =
        names.iter().zip(sinces).map(|(name, since)| format!("channel={name}&since={since}")).collect();
    let mut client = node.client_at(&format!("/live?{}", query.join("&")), None);
    let mut next: Vec<Option<u64>> = vec![None; names.len()];
    for _ in 0..names.len() + (1..=6).sum::<usize>() {
        let heard = client.hear();
        let channel = names.iter().position(|name| heard["channel"] == **name).unwrap();
        match (heard["type"].as_str().unwrap(), next[channel]) {
            ("subscribed", None) => {
                assert_eq!(heard["recovered"], if channel < 6 { json!(true) } else { Value::Null });
                next[channel] = Some(channel as u64 + 1);
            }
            ("notification", Some(offset)) => {
                assert_eq!(heard["offset"], offset, "{heard}");
                next[channel] = Some(offset + 1);
            }
            _ => panic!("{heard}"),
        }
    }
    client.lives();
    node.end();
}

#[test]
fn publications_that_are_too_old_are_not_given_out_and_their_memory_returns() {
    let node = Node::start(&["--history-ttl", "300ms"]);
    let mut reader = node.subscriber(&["a"]);
    let began = Instant::now();
    let head = publish(&node, "a", 1, 3);
    hear_all(&mut reader, "a", 1, 3);
    assert!(node.get("/channels/a").json()["history"] == 3 || began.elapsed() >= Duration::from_millis(300));
    node.await_metric("roost_history_bytes", 0);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?} is too early", began.elapsed());
    assert_eq!(node.get("/channels/a").json()["history"], 0);
    let mut client = node.client();
    assert_eq!(resume(&mut client, "a", &format!("{}-1", epoch(&head))), (false, head.clone()));
    hear_gap(&mut client, "a", 2, 3, epoch(&head));
    assert!(resume(&mut node.client(), "a", &head).0, "the numbering is still known");
    node.end();
}

#[test]
fn over_the_bound_of_the_node_the_channel_published_to_longest_ago_loses_its_oldest_first() {
    let node = Node::start(&["--history-bytes", "8KiB", "--shards", "1"]);
    let data = json!("x".repeat(1000));
    for _ in 0..3 {
        node.publish("old", &data);
    }
    let head = node.publish("middle", &data);
    let count = |channel: &str| node.get(&format!("/channels/{channel}")).json()["history"].as_u64().unwrap();
    let (mut before, mut published) = (3, 0);
    while count("middle") > 0 {
        node.publish("busy", &data);
        published += 1;
        assert!(published < 20, "the bound is not kept");
        assert!(node.metric("roost_history_bytes") <= 8 * 1024);
        assert_eq!(count("busy"), published, "the channel published to last loses nothing yet");
        let left = count("old");
        assert!(left == before || left + 1 == before, "{before} were kept, then {left}");
        assert!(left == 0 || count("middle") == 1, "the one touched longest ago comes first");
        before = left;
    }
    assert_eq!(node.metric("roost_history_publications"), published);
    let mut client = node.client();
    assert!(!resume(&mut client, "middle", &format!("{}-0", epoch(&head))).0);
    hear_gap(&mut client, "middle", 1, 1, epoch(&head));
    node.end();
}

#[test]
fn a_policy_says_how_much_is_kept_and_the_longest_prefix_wins() {
    let policies = "history = 5\n[channels.\"news:\"]\nhistory = 0\n\
                    [channels.\"news:eu:\"]\nhistory = 2\nhistory_ttl = \"1h\"\n";
    let node = Node::with_config(policies, &[]);
    for (channel, kept) in [("chat", 5), ("news:1", 0), ("news:eu:1", 2)] {
        let head = publish(&node, channel, 1, 9);
        let known = node.get(&format!("/channels/{channel}")).json();
        assert_eq!((&known["history"], &known["cursor"]), (&json!(kept), &json!(head)));
        let mut client = node.client();
        assert!(!resume(&mut client, channel, &format!("{}-1", epoch(&head))).0);
        hear_gap(&mut client, channel, 2, 9 - kept, epoch(&head));
        hear_all(&mut client, channel, 10 - kept, 9);
        assert!(resume(&mut node.client(), channel, &head).0);
    }
    node.end();
}

#[test]
fn a_node_that_was_restarted_does_not_take_an_old_cursor_for_its_own() {
    let before = Node::start(&[]);
    let old = publish(&before, "a", 1, 3);
    before.end();
    let node = Node::start(&[]);
    let head = publish(&node, "a", 1, 5);
    assert_ne!(epoch(&old), epoch(&head));
    let mut client = node.client();
    assert_eq!(resume(&mut client, "a", &old), (false, head.clone()));
    hear_gap(&mut client, "a", 1, 5, epoch(&head));
    node.end();
}

/// Publishes 2 KiB for each of these offsets.
fn publish_large(node: &Node, first: u64, last: u64) -> String {
    let pad = "x".repeat(2000);
    node.publish_all("a", (first..=last).map(|number| json!([number, pad])))
}

/// A node whose queues are much smaller than what is missed: 300 publications of 2 KiB.
fn with_a_long_past() -> (Node, String) {
    let node = Node::start(
        &[
            &["--history", "1000", "--queue-soft", "8KiB", "--queue-hard", "16KiB", "--max-message", "16KiB"]
                [..],
            &["--queue-soft-for", "100ms", "--send-buffer", "8KiB", "--shards", "2"],
        ]
        .concat(),
    );
    let cursor = publish_large(&node, 1, 300);
    (node, cursor)
}

#[test]
fn a_past_much_larger_than_a_queue_may_be_arrives_whole_and_cuts_nobody() {
    let (node, head) = with_a_long_past();
    let mut client = node.client();
    assert!(resume(&mut client, "a", &format!("{}-0", epoch(&head))).0);
    for number in 1..=300 {
        let heard = client.hear();
        assert_eq!((&heard["offset"], &heard["data"][0]), (&json!(number), &json!(number)));
    }
    node.publish("a", &"live".into());
    assert_eq!(client.hear()["data"], "live");
    client.lives();
    node.end();
}

#[test]
fn many_pasts_at_once_arrive_whole_and_cut_nobody() {
    let queues = ["--queue-soft", "8KiB", "--queue-hard", "16KiB", "--max-message", "16KiB"];
    let node = Node::start(&[&queues[..], &["--send-buffer", "8KiB", "--shards", "2"]].concat());
    let names: Vec<String> = (0..80).map(|number| format!("c{number}")).collect();
    let pad = "x".repeat(1000);
    let since = |name: &String| {
        let head = node.publish_all(name, (1..=4).map(|number| json!([number, pad])));
        format!("channel={name}&since={}-1", epoch(&head))
    };
    let query: Vec<String> = names.iter().map(since).collect();
    let mut wire = node.narrow_wire().open(&format!("/live?{}", query.join("&")));
    let mut next = vec![1; names.len()];
    // An answer and three publications for each.
    for _ in 0..4 * names.len() {
        let heard = wire.message();
        let channel = names.iter().position(|name| heard["channel"] == **name).unwrap();
        match next[channel] {
            1 => assert_eq!(heard["recovered"], true, "{heard}"),
            offset => assert_eq!(heard["offset"], offset, "{heard}"),
        }
        next[channel] += 1;
    }
    wire.send(&frame(TEXT, r#"{"type":"ping"}"#));
    assert_eq!(wire.message(), json!({ "type": "pong" }));
    node.end();
}

#[test]
fn who_does_not_read_its_past_for_long_is_not_cut_for_it_and_goes_on_where_it_was() {
    let (node, head) = with_a_long_past();
    let mut late = node.narrow_wire().open(&format!("/live?channel=a&since={}-0", epoch(&head)));
    // Long after the time that more than the soft bound may wait, measured by another client's past.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        let mut client = node.client();
        resume(&mut client, "a", &format!("{}-200", epoch(&head)));
        for number in 201..=300 {
            assert_eq!(client.hear()["offset"], number);
        }
    }
    assert_eq!(node.metric_of("roost_disconnects_total", "slow_consumer"), 0);
    assert_eq!(late.message()["type"], "subscribed");
    for number in 1..=300 {
        assert_eq!(late.message()["offset"], number);
    }
    node.publish("a", &"live".into());
    assert_eq!(late.message()["data"], "live");
    node.end();
}

#[test]
fn who_unsubscribes_in_the_middle_of_its_past_hears_no_more_of_it() {
    let (node, head) = with_a_long_past();
    let mut wire = node.narrow_wire().open(&format!("/live?channel=a&since={}-0", epoch(&head)));
    let say = |wire: &mut Wire, message: Value| wire.send(&frame(TEXT, message.to_string()));
    say(&mut wire, json!({ "type": "unsubscribe", "channel": "a" }));
    let mut heard = 0;
    loop {
        match wire.message()["type"].as_str().unwrap() {
            "unsubscribed" => break,
            "notification" => heard += 1,
            "subscribed" => {}
            other => panic!("{other}"),
        }
    }
    assert!(heard < 300, "everything came before the answer");
    say(&mut wire, json!({ "type": "subscribe", "channel": "a", "since": format!("{}-299", epoch(&head)) }));
    assert_eq!(wire.message()["recovered"], true);
    assert_eq!(wire.message()["offset"], 300);
    say(&mut wire, json!({ "type": "ping" }));
    assert_eq!(wire.message(), json!({ "type": "pong" }));
    node.end();
}

#[test]
fn what_is_lost_while_somebody_gets_its_past_is_announced_in_its_place() {
    let (node, head) = with_a_long_past();
    let mut late = node.narrow_wire().open(&format!("/live?channel=a&since={}-0", epoch(&head)));
    assert_eq!(late.message()["recovered"], true);
    publish_large(&node, 301, 1400);
    let (mut at, mut gaps) = (0, 0);
    while at < 1400 {
        let (opcode, payload) = late.frame();
        assert_ne!(opcode, CLOSE, "{}", String::from_utf8_lossy(&payload));
        if opcode != TEXT {
            continue;
        }
        let heard: Value = serde_json::from_slice(&payload).unwrap();
        if heard["type"] == "gap" {
            assert_eq!(heard["from"], at + 1, "{heard}");
            (at, gaps) = (heard["to"].as_u64().unwrap(), gaps + 1);
            assert_eq!(heard["cursor"], format!("{}-{at}", epoch(&head)));
        } else {
            at += 1;
            assert_eq!((&heard["offset"], &heard["data"][0]), (&json!(at), &json!(at)));
        }
    }
    assert!(gaps >= 1, "400 publications were lost before they were read");
    node.end();
}

const CHANNELS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
/// Clients, and how often each connects.
const CLIENTS: u64 = 4;
const RECONNECTS: u64 = 60;

/// A client that never leaves in an orderly way.
struct Nomad {
    /// Up to where it has everything of each channel.
    cursors: [Option<String>; 3],
    /// What it heard of each.
    heard: [Vec<u64>; 3],
    rng: fastrand::Rng,
}

impl Nomad {
    /// One connection: by query or by command, and then some messages.
    fn visit(&mut self, node: &Node, round: u64) {
        let mut client = if round.is_multiple_of(2) {
            let pairs = CHANNELS.iter().zip(&self.cursors);
            let pair = |(name, since): (_, &Option<String>)| {
                format!("channel={name}&since={}", since.as_deref().unwrap_or_default())
            };
            node.client_at(&format!("/live?{}", pairs.map(pair).collect::<Vec<_>>().join("&")), None)
        } else {
            let mut client = node.client();
            for (name, since) in CHANNELS.iter().zip(&self.cursors) {
                client.say(json!({ "type": "subscribe", "channel": name, "since": since }));
            }
            client
        };
        // It hears every answer, so that it has a cursor to come back with, and is cut off anywhere behind them.
        let (mut answers, mut left) = (0, self.rng.u32(0..60));
        while answers < CHANNELS.len() || left > 0 {
            let message = client.hear();
            let channel = CHANNELS.iter().position(|name| message["channel"] == *name).unwrap();
            if message["type"] == "subscribed" {
                answers += 1;
                assert_ne!(message["recovered"], false, "round {round}: {message}");
                self.cursors[channel].get_or_insert_with(|| message["cursor"].as_str().unwrap().to_owned());
                continue;
            }
            assert_eq!(message["type"], "notification", "round {round}: {message}");
            left = left.saturating_sub(1);
            self.heard[channel].push(message["data"].as_u64().unwrap());
            let epoch = epoch(self.cursors[channel].as_ref().unwrap());
            self.cursors[channel] = Some(format!("{epoch}-{}", message["offset"]));
        }
    }
}

#[test]
fn clients_that_reconnect_240_times_while_1000_messages_a_second_are_published_have_each_exactly_once() {
    let node = Node::start(&["--shards", "3", "--history", "20000"]);
    let publisher = Publisher::start(&node, &CHANNELS, 1000);
    let nomad = |seed| Nomad {
        cursors: Default::default(),
        heard: Default::default(),
        rng: fastrand::Rng::with_seed(seed),
    };
    let mut nomads: Vec<Nomad> = (0..CLIENTS).map(nomad).collect();
    // While one is there, the others miss what is published.
    for round in 0..RECONNECTS {
        nomads.iter_mut().for_each(|nomad| nomad.visit(&node, round));
    }
    let published = publisher.stop();
    for (client, nomad) in nomads.iter().enumerate() {
        for (name, heard) in CHANNELS.iter().zip(&nomad.heard) {
            let first = heard.first().copied().unwrap_or(1);
            let each_once: Vec<u64> = (first..).take(heard.len()).collect();
            assert_eq!(*heard, each_once, "client {client} in {name}");
            assert!(heard.len() > 100, "client {client} heard {} of {published} in {name}", heard.len());
        }
    }
    assert_eq!(node.metric("roost_gaps_total"), 0);
    assert!(node.metric("roost_recovered_total") >= CLIENTS * (RECONNECTS - 1) * CHANNELS.len() as u64);
    assert!(node.metric("roost_replayed_total") > CLIENTS * RECONNECTS, "hardly anything was missed");
    node.end();
}
