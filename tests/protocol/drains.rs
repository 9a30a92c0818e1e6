//! Drains that are asked for: of everyone, of some, stopped again; and clients that are too old.

use rustix::process::Signal;
use serde_json::json;

use crate::node::Node;
use crate::wire::upgrade;

#[test]
fn a_drain_of_all_says_not_ready_tells_everyone_and_the_process_stays() {
    let node = Node::start(&["--shards", "2"]);
    let mut clients = [node.subscriber(&["a"]), node.client(), node.client()];
    let mut stream = node.stream("channel=a");
    let begun = node.ask("POST", "/drain", r#"{"over_ms":500}"#);
    assert_eq!(begun.status, 200, "{begun:?}");
    let begun = begun.json();
    assert_eq!(
        (&begun["draining"], &begun["ready"], &begun["over_ms"]),
        (&json!(true), &json!(false), &json!(500))
    );
    assert_eq!(node.get("/readyz").status, 503);
    assert_eq!(node.get("/healthz").status, 200);
    for client in &mut clients {
        let (code, reason) = client.closed();
        assert_eq!(code, 1001);
        let retry_ms: u64 = reason.strip_prefix("going away retry_after_ms=").unwrap().parse().unwrap();
        assert!(retry_ms <= 1000, "{reason}");
    }
    assert!(stream.block()[0].starts_with("retry: "));
    node.await_metric_of("roost_disconnects_total", "reason=\"going_away\"", 4);
    assert_eq!(node.metric("roost_drained_connections_total"), 4);
    // Whoever comes is told to come again, and where the node stands is told to whoever asks.
    let mut late = node.wire();
    late.send(&upgrade("/live"));
    let refused = late.response();
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{refused:?}");
    let progress = node.get("/drain").json();
    assert_eq!((&progress["draining"], &progress["left"]), (&json!(true), &json!(0)));

    let stopped = node.ask("DELETE", "/drain", "").json();
    assert_eq!(
        (&stopped["draining"], &stopped["ready"], &stopped["over_ms"]),
        (&json!(false), &json!(true), &json!(null))
    );
    assert_eq!(node.get("/readyz").status, 200);
    node.client().lives();
    node.end();
}

#[test]
fn a_drain_that_is_stopped_leaves_those_alone_who_are_still_there() {
    let node = Node::start(&["--shards", "2"]);
    let clients: Vec<_> = (0..20).map(|_| node.subscriber(&["a"])).collect();
    let begun = node.ask("POST", "/drain", r#"{"over_ms":3600000}"#).json();
    assert!(begun["left"].as_u64().unwrap() >= 18, "{begun}");
    let seen = node.get("/status").json()["drain"].clone();
    assert_eq!((&seen["over_ms"], &seen["left"]), (&json!(3_600_000), &begun["left"]));
    assert!(seen["ends_in_ms"].as_u64().is_some_and(|ends_in_ms| ends_in_ms <= 3_600_000), "{seen}");
    assert_eq!(node.ask("DELETE", "/drain", "").json()["left"], 0);
    assert_eq!(node.get("/status").json()["drain"], json!(null));
    node.publish("a", &1.into());
    // In an hour's first moments a shard owes no more than the goodbye that it begins with.
    assert!(node.metric("roost_connections") >= 18);
    assert!(node.metric("roost_messages_delivered_total") >= 18);
    drop(clients);
    node.end();
}

#[test]
fn of_some_the_oldest_go_and_the_node_stays_ready() {
    let node = Node::start(&["--shards", "1"]);
    let mut clients: Vec<_> = (0..10).map(|_| node.client()).collect();
    let begun = node.ask("POST", "/drain", r#"{"over_ms":0,"percent":30,"oldest":true}"#).json();
    assert_eq!(begun["ready"], true);
    for client in &mut clients[..3] {
        assert_eq!(client.closed().0, 1001);
    }
    clients[3..].iter_mut().for_each(|client| client.lives());
    node.client().lives();
    assert_eq!(node.get("/readyz").status, 200);
    assert_eq!(node.get("/drain").json()["draining"], false);
    node.end();
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_its_reason_and_nobody_goes() {
    let node = Node::start(&[]);
    let mut client = node.client();
    for (body, words) in [
        (r#"{"percent":0}"#, "from 1 to 100"),
        (r#"{"over_ms":-1}"#, "over_ms"),
        (r#"{"over_ms":99999999999}"#, "at most"),
        (r#"{"oldest":true}"#, "percent"),
        (r#"{"everyone":true}"#, "everyone"),
        ("{", "over_ms"),
    ] {
        let answer = node.ask("POST", "/drain", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.body.contains(words), "{body}: {answer:?}");
    }
    assert_eq!(node.ask("PUT", "/drain", "").status, 405);
    assert_eq!(node.ask("POST", "/drain", &" ".repeat(5000)).status, 413);
    assert_eq!(node.ask("DELETE", "/drain", "").json()["draining"], false);
    client.lives();
    node.end();
}

#[test]
fn clients_come_in_until_a_load_balancer_has_had_time_to_notice() {
    let mut node = Node::start(&["--drain-delay", "1h"]);
    node.signal(Signal::TERM);
    while node.get("/readyz").status != 503 {}
    let mut late = node.client();
    late.lives();
    assert_eq!(node.metric("roost_drain_left_connections"), 0);
    let answer = node.ask("DELETE", "/drain", "");
    assert_eq!((answer.status, answer.error_code()), (409, "conflict".into()));
    assert_eq!(node.ask("POST", "/drain", "").status, 409);
    // A second one ends it at once.
    node.signal(Signal::TERM);
    assert_eq!(node.wait().0.code(), Some(1));
}

#[test]
fn who_is_too_old_is_told_to_connect_again_and_who_is_not_stays() {
    let node = Node::start(&["--max-age", "1s"]);
    let mut client = node.client();
    let (code, reason) = client.closed();
    assert_eq!(code, 1001);
    assert!(reason.starts_with("going away retry_after_ms="), "{reason}");
    assert_eq!(node.metric_of("roost_disconnects_total", "reason=\"max_age\""), 1);
    node.client().lives();
    node.end();
}
