//! What becomes of connections that an operator wants to be gone.

use serde_json::{Value, json};

use crate::client::Client;
use crate::node::Node;

const KEY: &str = "hs256:a secret of thirty-two bytes, or more";

/// How many connections a call ends.
fn disconnect(node: &Node, order: &Value) -> u64 {
    let answer = node.ask("POST", "/disconnect", &order.to_string());
    assert_eq!(answer.status, 200, "{order}: {answer:?}");
    answer.json()["disconnected"].as_u64().unwrap()
}

fn signed_in(node: &Node, user: &str) -> Client {
    let claims = json!({ "sub": user, "exp": 4_000_000_000u64, "subscribe": ["*"] });
    let key = jsonwebtoken::EncodingKey::from_secret(KEY.trim_start_matches("hs256:").as_bytes()).unwrap();
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let mut client = node.client_at(&format!("/live?token={token}"), Some("roost.v1"));
    assert_eq!(client.hear()["type"], "welcome");
    client
}

#[test]
fn all_connections_of_a_user_are_closed_with_4006_on_whatever_shard_they_are() {
    let node = Node::start(&["--shards", "2", "--token-key", KEY]);
    let mut anns: Vec<_> = (0..6).map(|_| signed_in(&node, "ann")).collect();
    let mut bob = signed_in(&node, "bob");
    let mut nobody = node.client();
    let told = node.get("/connections?top=age").json();
    let mut users: Vec<Option<&str>> =
        told["connections"].as_array().unwrap().iter().map(|one| one["user"].as_str()).collect();
    users.sort_unstable();
    assert_eq!(users[..2], [None, Some("ann")], "{told}");
    assert_eq!(users[6..], [Some("ann"), Some("bob")], "{told}");
    assert_eq!(disconnect(&node, &json!({ "user": "ann" })), 6);
    for ann in &mut anns {
        assert_eq!(ann.closed(), (4006, "kicked".to_owned()));
    }
    assert_eq!(disconnect(&node, &json!({ "user": "ann" })), 0);
    for other in [&mut bob, &mut nobody] {
        assert_eq!(other.ask(json!({ "type": "ping" }))["type"], "pong");
    }
    let kicked = "reason=\"kicked\",code=\"4006\",transport=\"websocket\"";
    assert_eq!(node.metric_of("roost_disconnects_total", kicked), 6);
    node.end();
}

#[test]
fn one_connection_is_closed_with_the_code_that_was_asked_for() {
    let node = Node::start(&["--shards", "2"]);
    for code in [1001, 1008, 1012, 1013, 4000, 4999] {
        let mut clients: Vec<_> = (0..3).map(|_| node.client_at("/live", Some("roost.v1"))).collect();
        let sessions: Vec<Value> =
            clients.iter_mut().map(|client| client.hear()["session"].clone()).collect();
        assert_eq!(disconnect(&node, &json!({ "connection": sessions[1], "code": code })), 1);
        assert_eq!(clients[1].closed().0, code);
        assert_eq!(clients[0].ask(json!({ "type": "ping" }))["type"], "pong");
        let gone = node.get(&format!("/connections/{}", sessions[1].as_str().unwrap()));
        assert_eq!(gone.status, 404, "{gone:?}");
        assert_eq!(disconnect(&node, &json!({ "connection": sessions[1] })), 0);
    }
    assert_eq!(disconnect(&node, &json!({ "connection": "7f.0.1" })), 0, "there is no such shard");
    node.end();
}

#[test]
fn everybody_in_a_channel_ends_over_the_time_and_whoever_comes_back_has_missed_nothing() {
    let node = Node::start(&["--shards", "2"]);
    let mut clients: Vec<_> = (0..20).map(|_| node.client()).collect();
    let cursors: Vec<String> = clients.iter_mut().map(|client| client.subscribe("a")).collect();
    let mut other = node.subscriber(&["b"]);
    assert_eq!(disconnect(&node, &json!({ "channel": "a", "code": 1012, "over_ms": 600 })), 20);
    let cursor = node.publish("a", &json!("while they go"));
    for (client, since) in clients.iter_mut().zip(&cursors) {
        // It may have got the publication before its close.
        assert_eq!(client.closed(), (1012, "kicked".to_owned()));
        let mut back = node.client_at(&format!("/live?channel=a&since={since}"), None);
        let subscribed = back.hear();
        assert_eq!((&subscribed["recovered"], &subscribed["cursor"]), (&json!(true), &json!(cursor)));
        assert_eq!(back.hear()["data"], "while they go");
    }
    assert_eq!(other.ask(json!({ "type": "ping" }))["type"], "pong");
    node.end();
}

#[test]
fn an_address_loses_its_streams_and_polls_as_well() {
    let node = Node::start(&["--shards", "2"]);
    let mut stream = node.stream("channel=a");
    let mut poller = node.poller();
    let cursor = poller.cursor("a");
    poller.begin(&format!("channel=a&since={cursor}&wait=50"));
    let mut client = node.client();
    // The node knows of the poll.
    while node.get("/channels/a").json()["subscribers"] != 2 {}
    assert_eq!(disconnect(&node, &json!({ "ip": "127.0.0.2" })), 0);
    assert_eq!(disconnect(&node, &json!({ "ip": "::ffff:127.0.0.1" })), 3);
    let refusal = poller.wire.response();
    assert_eq!((refusal.status, refusal.error_code()), (403, "kicked".to_owned()));
    poller.wire.ended();
    stream.wire.ended();
    assert_eq!(client.closed().0, 4006);
    for transport in ["websocket", "sse", "poll"] {
        let label = format!("reason=\"kicked\",code=\"4006\",transport=\"{transport}\"");
        assert_eq!(node.metric_of("roost_disconnects_total", &label), 1, "{transport}");
    }
    node.end();
}

#[test]
fn each_wrong_order_is_named_and_ends_nobody() {
    let node = Node::start(&[]);
    let mut client = node.subscriber(&["a"]);
    for (body, words) in [
        ("{}", "name one of"),
        ("nonsense", "expected"),
        (r#"{"user":"ann","channel":"a"}"#, "name one of"),
        (r#"{"chanel":"a"}"#, "unknown field `chanel`"),
        (r#"{"channel":"a b"}"#, "channel"),
        (r#"{"channel":"a","code":1000}"#, "1001, 1008, 1012, 1013"),
        (r#"{"channel":"a","over_ms":3600001}"#, "up to 3600000"),
        (r#"{"ip":"127.0.0.0/8"}"#, "without a port or a prefix length"),
    ] {
        let answer = node.ask("POST", "/disconnect", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{body}: {message}");
    }
    let wrong = node.get("/disconnect");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    let large = format!(r#"{{"user":"{}"}}"#, "x".repeat(4096));
    assert_eq!(node.ask("POST", "/disconnect", &large).status, 413);
    assert_eq!(client.ask(json!({ "type": "ping" }))["type"], "pong");
    node.end();
}
