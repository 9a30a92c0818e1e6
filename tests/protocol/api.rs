//! The API as HTTP/1.1, and the numbers it shows.

use serde_json::json;

use crate::node::Node;
use crate::wire::{TEXT, Wire, frame};

#[test]
fn one_connection_carries_many_requests_and_answers_them_in_order() {
    let node = Node::start(&["--shards", "2"]);
    let mut wire = Wire::connect(&node.api);
    let mut requests = String::new();
    for number in 1..=20 {
        let body = format!(r#"{{"channel":"c{}","data":{number}}}"#, number % 3);
        let length = body.len();
        requests += &format!("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        requests += "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    wire.send(requests.as_bytes());
    for number in 1..=20 {
        let published = wire.response();
        assert_eq!(published.json()["channel"], format!("c{}", number % 3), "{published:?}");
        assert_eq!(wire.response().body, "ok\n");
    }
    wire.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(wire.response().status, 200);
    wire.ended();
    node.end();
}

#[test]
fn a_request_may_arrive_byte_by_byte_and_its_body_in_chunks() {
    let node = Node::start(&[]);
    let mut client = node.subscriber(&["a"]);
    let mut wire = Wire::connect(&node.api);
    let request = "POST /publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\n{\"cha\r\n16\r\nnnel\":\"a\",\"data\":true}\r\n0\r\n\r\n";
    for byte in request.bytes() {
        wire.send(&[byte]);
    }
    assert_eq!(wire.response().status, 200);
    assert_eq!(client.hear()["data"], true);
    node.end();
}

#[test]
fn several_channels_and_ndjson_lines_are_answered_one_by_one() {
    let node = Node::start(&[]);
    let mut client = node.subscriber(&["a", "b"]);
    let answer = node.post(r#"{"channels":["b","a"],"data":1}"#).json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["channel"], &results[1]["channel"]), (&json!("b"), &json!("a")));
    assert_eq!((client.hear()["data"].clone(), client.hear()["data"].clone()), (json!(1), json!(1)));
    // All or nothing: a bad name among good ones.
    assert_eq!(node.post(r#"{"channels":["a","a b"],"data":2}"#).error_code(), "bad_channel");
    let lines = "{\"channel\":\"a\",\"data\":3}\nbroken\n{\"channel\":\"a\",\"data\":4}\n";
    let mut wire = Wire::connect(&node.api);
    let length = lines.len();
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
    );
    wire.send((head + lines).as_bytes());
    let answer = wire.response();
    let answers: Vec<serde_json::Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3, "{answer:?}");
    assert_eq!((&answers[1]["line"], &answers[1]["error"]["code"]), (&json!(2), &json!("bad_json")));
    assert_eq!((client.hear()["data"].clone(), client.hear()["data"].clone()), (json!(3), json!(4)));
    node.end();
}

#[test]
fn each_wrong_call_has_its_status_and_code() {
    let node = Node::start(&[]);
    assert_eq!((node.get("/nothing").status, node.get("/nothing").error_code()), (404, "not_found".into()));
    let wrong_method = node.get("/publish");
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    assert_eq!(node.get("/channels/a%20b").error_code(), "bad_channel");
    assert_eq!(node.get("/channels/nobody").status, 404);
    let large = format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(64 * 1024 - 1));
    let refused = node.post(&large);
    assert_eq!((refused.status, refused.error_code()), (413, "too_large".into()));
    node.end();
}

#[test]
fn metrics_count_what_happened() {
    let node = Node::start(&["--max-connections", "3", "--shards", "1"]);
    let mut clients = [node.subscriber(&["a"]), node.subscriber(&["a", "b"])];
    clients[0].refused("nonsense", "bad_json");
    for number in 1..=3 {
        node.publish("a", &number.into());
        clients.iter_mut().for_each(|client| assert_eq!(client.hear()["data"], number));
    }
    let mut broken = node.wire().open("/live");
    broken.send(&frame(TEXT, [0xff]));
    assert_eq!(broken.closed().0, 1007);
    drop(broken);
    node.await_metric("roost_connections", 2);
    for (name, label, value) in [
        ("roost_ready", "", 1),
        ("roost_connections_max", "", 3),
        ("roost_accepts_total", "", 3),
        ("roost_upgrades_total", "", 3),
        ("roost_subscriptions", "", 3),
        ("roost_channels", "", 2),
        ("roost_messages_received_total", "", 5),
        ("roost_messages_published_total", "", 3),
        ("roost_messages_delivered_total", "", 6),
        ("roost_command_errors_total", "", 1),
        ("roost_disconnects_total", "", 1),
        ("roost_disconnects_total", "reason=\"bad_utf8\"", 1),
        ("roost_panics_total", "", 0),
    ] {
        assert_eq!(node.metric_of(name, label), value, "{name}{{{label}}}");
    }
    for client in clients {
        client.close();
    }
    node.await_metric("roost_connections", 0);
    assert_eq!(node.metric("roost_subscriptions"), 0);
    assert_eq!(node.metric_of("roost_disconnects_total", "reason=\"peer_closed\",code=\"1000\""), 2);
    node.end();
}

#[test]
fn many_requests_at_once_are_all_answered() {
    const REQUESTS: usize = 3000;
    let node = Node::start(&[]);
    let mut wire = Wire::connect(&node.api);
    wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUESTS).as_bytes());
    for _ in 0..REQUESTS {
        assert_eq!(wire.response().body, "ok\n");
    }
    node.end();
}
