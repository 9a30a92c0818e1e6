//! What an operator is told of connections.

use serde_json::{Value, json};

use crate::node::Node;
use crate::wire::{Wire, head};

/// Ids in the order in which they are told.
fn ids(answer: &Value) -> Vec<&str> {
    let connections = answer["connections"].as_array().unwrap_or_else(|| panic!("{answer}"));
    connections.iter().map(|one| one["connection"].as_str().unwrap()).collect()
}

fn connections(node: &Node, query: &str) -> Value {
    let answer = node.get(&format!("/connections{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn a_connection_is_told_of_by_the_id_that_its_client_was_welcomed_with() {
    let node = Node::start(&["--shards", "2"]);
    let mut clients: Vec<_> = (0..4).map(|_| node.client_at("/live", Some("roost.v1"))).collect();
    let sessions: Vec<String> =
        clients.iter_mut().map(|client| client.hear()["session"].as_str().unwrap().to_owned()).collect();
    clients[2].subscribe("a");
    let answer = connections(&node, "?top=age&limit=3");
    assert_eq!((&answer["total"], ids(&answer).len()), (&json!(4), 3));
    assert!(ids(&answer).iter().all(|id| sessions.iter().any(|session| session == id)), "{answer}");
    let one = node.get(&format!("/connections/{}", sessions[2])).json();
    assert_eq!((&one["connection"], &one["transport"]), (&json!(sessions[2]), &json!("websocket")));
    assert_eq!(one["channels"], json!([{ "channel": "a", "state": "live" }]));
    assert!(one["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{one}");
    // The kernel counts whole segments as they are acknowledged: the head of the upgrade, at least.
    assert!(
        one["sent_bytes"].as_u64().unwrap() > 100 && one["received_bytes"].as_u64().unwrap() > 100,
        "{one}"
    );
    assert!(one["rtt_ms"].as_f64().unwrap() > 0.0 && one["silent_s"].as_f64().unwrap() < 20.0, "{one}");
    let last = clients.pop().unwrap();
    last.close();
    node.await_metric("roost_connections", 3);
    assert_eq!(node.get(&format!("/connections/{}", sessions[3])).error_code(), "not_found");
    assert_eq!(connections(&node, "")["total"], 3);
    node.end();
}

#[test]
fn whoever_moved_most_comes_first_and_every_transport_is_told() {
    let node = Node::start(&["--shards", "2"]);
    let mut quiet = node.client();
    let mut busy = node.client_at("/live", Some("roost.v1"));
    let session = busy.hear()["session"].as_str().unwrap().to_owned();
    let _stream = node.stream("channel=a&channel=b");
    let mut poller = node.poller();
    poller.begin("channel=a&wait=20&since=");
    busy.say(json!({ "type": "ping", "id": "x".repeat(20_000) }));
    assert_eq!(busy.hear()["type"], "pong");
    quiet.subscribe("c");
    node.await_metric("roost_connections", 4);
    let answer = connections(&node, "?top=bytes");
    assert_eq!(ids(&answer)[0], session, "{answer}");
    let mut transports: Vec<&str> = answer["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["transport"].as_str().unwrap())
        .collect();
    transports.sort_unstable();
    assert_eq!(transports, ["poll", "sse", "websocket", "websocket"]);
    let sse = answer["connections"].as_array().unwrap().iter().find(|one| one["transport"] == "sse").unwrap();
    assert_eq!((&sse["channels"], &sse["subscriptions"]), (&json!(["a", "b"]), &json!(2)));
    node.end();
}

#[test]
fn who_reads_too_slowly_is_at_the_top_of_the_lag() {
    let node = Node::start(&["--shards", "2", "--queue-soft", "1MiB", "--queue-hard", "16MiB"]);
    let _readers: Vec<_> = (0..3).map(|_| node.subscriber(&["other"])).collect();
    let slow = node.narrow_wire().open("/live?channel=big");
    let text = json!("x".repeat(60_000));
    let lag = || connections(&node, "?top=lag&limit=1")["connections"][0].clone();
    while lag()["queued_bytes"] == 0 {
        node.publish("big", &text);
    }
    let first = lag();
    assert_eq!((&first["channels"], &first["transport"]), (&json!(["big"]), &json!("websocket")), "{first}");
    drop(slow);
    node.end();
}

#[test]
fn each_wrong_question_is_named() {
    let node = Node::start(&[]);
    for (path, status, code) in [
        ("/connections?top=oldest", 400, "bad_request"),
        ("/connections?limit=0", 400, "bad_request"),
        ("/connections?limit=1001", 400, "bad_request"),
        ("/connections/0.0.1", 404, "not_found"),
        ("/connections/7f.0.1", 404, "not_found"),
        ("/connections/nobody", 404, "not_found"),
    ] {
        let answer = node.get(path);
        assert_eq!((answer.status, answer.error_code()), (status, code.to_owned()), "{path}");
    }
    let mut wire = Wire::connect(&node.api);
    let answer = wire.ask(head("POST /connections HTTP/1.1", &["Host: x", "Content-Length: 0"]));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    node.end();
}
