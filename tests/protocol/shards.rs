//! Several shards are one node: whoever publishes wherever, everybody hears the same in the same order.

use serde_json::json;

use crate::client::Client;
use crate::node::Node;

const CHANNELS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
const ROUNDS: u64 = 30;

/// Connects until every shard has clients: the kernel spreads them as it likes.
fn on_both_shards(node: &Node) -> Vec<Client> {
    let mut clients = Vec::new();
    let has = |shard| node.metric_of("roost_connections", &format!("shard=\"{shard}\"")) > 1;
    while !(has(0) && has(1)) {
        assert!(clients.len() < 200, "one shard gets no client");
        clients.push(node.subscriber(&CHANNELS));
    }
    clients
}

#[test]
fn two_shards_hear_each_others_publications_in_one_order_without_a_hole() {
    let node = Node::with_config("[channels.\"chat:\"]\nclients_may_publish = true\n", &["--shards", "2"]);
    let mut clients = on_both_shards(&node);
    // Every channel is published to from the API and from a client of each shard.
    for round in 0..ROUNDS {
        for channel in CHANNELS {
            node.publish(channel, &json!([round, "api"]));
        }
        for (index, client) in clients.iter_mut().enumerate().take(4) {
            let channel = CHANNELS[(round as usize + index) % CHANNELS.len()];
            client.say(json!({ "type": "publish", "channel": channel, "data": [round, index] }));
        }
    }
    let expected = ROUNDS as usize * (CHANNELS.len() + clients.len().min(4));
    let mut first = None;
    for client in &mut clients {
        let mut heard: [Vec<String>; 3] = Default::default();
        while heard.iter().map(Vec::len).sum::<usize>() < expected {
            let message = client.hear();
            if message["type"] == "published" {
                continue;
            }
            assert_eq!(message["type"], "notification", "{message}");
            let channel = CHANNELS.iter().position(|name| message["channel"] == *name).unwrap();
            heard[channel].push(message["data"].to_string());
            assert_eq!(message["offset"], heard[channel].len(), "{message}");
        }
        assert_eq!(&heard, first.get_or_insert_with(|| heard.clone()));
    }
    node.end();
}

#[test]
fn the_api_sums_what_the_shards_know_of_a_channel() {
    let node = Node::start(&["--shards", "2"]);
    let clients = on_both_shards(&node);
    let cursor = node.publish("chat:a", &1.into());
    let channel = node.get("/channels/chat:a").json();
    assert_eq!((&channel["subscribers"], &channel["cursor"]), (&json!(clients.len()), &json!(cursor)));
    assert_eq!(node.get("/channels?prefix=chat:").json()["channels"].as_array().unwrap().len(), 3);
    drop(clients);
    node.await_metric("roost_subscriptions", 0);
    assert_eq!(node.get("/channels/chat:a").json()["subscribers"], 0);
    node.end();
}

#[test]
fn more_clients_than_one_descriptor_table_holds_all_hear_a_publication() {
    const CLIENTS: usize = 150;
    let most = CLIENTS.to_string();
    let node = Node::with_descriptors(120, &["--max-connections", &most, "--shards", "2"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| node.subscriber(&["a"])).collect();
    assert_eq!(node.metric("roost_connections"), CLIENTS as u64);
    node.publish("a", &"to all".into());
    for client in &mut clients {
        assert_eq!(client.hear()["data"], "to all");
    }
    node.end();
}
