//! The upgrade, byte for byte: what is accepted, and what each refusal says.

use crate::node::Node;
use crate::wire::{ACCEPT, GOOD, KEY, TEXT, Wire, close, frame, head, upgrade};

/// The good upgrade of `/live` with the line at `place` replaced by others.
fn with(place: usize, lines: &[&str]) -> Vec<u8> {
    let mut headers = GOOD.to_vec();
    headers.splice(place..=place, lines.iter().copied());
    head("GET /live HTTP/1.1", &headers)
}

/// The good upgrade of `/live` with further lines.
fn plus(lines: &[&str]) -> Vec<u8> {
    head("GET /live HTTP/1.1", &[&GOOD, lines].concat())
}

const HOST: usize = 0;
const UPGRADE: usize = 1;
const CONNECTION: usize = 2;
const KEY_LINE: usize = 3;
const VERSION: usize = 4;

#[test]
fn a_request_that_arrives_byte_by_byte_is_upgraded_and_nothing_is_written_before_its_last_byte() {
    let node = Node::start(&["--shards", "1"]);
    let mut wire = node.wire();
    let request = upgrade("/live");
    let (last, all_but_one) = request.split_last().unwrap();
    for byte in all_but_one {
        wire.send(&[*byte]);
    }
    // The one shard has read those bytes before it serves somebody who comes later.
    node.subscriber(&["a"]).lives();
    assert!(wire.is_silent(), "something was written before the request was complete");
    wire.send(&[*last]);
    assert_eq!(wire.switched().header("upgrade"), Some("websocket"));
    wire.send(&frame(TEXT, r#"{"type":"ping"}"#));
    assert_eq!(wire.message()["type"], "pong");
    node.end();
}

#[test]
fn frames_glued_to_the_request_are_read_after_the_101() {
    let node = Node::start(&[]);
    let mut wire = node.wire();
    let ping = frame(TEXT, r#"{"type":"ping"}"#);
    let subscribe = frame(TEXT, r#"{"type":"subscribe","channel":"a"}"#);
    wire.send(&[&upgrade("/live")[..], &subscribe, &ping[..7]].concat());
    wire.switched();
    assert_eq!(wire.message()["type"], "subscribed");
    wire.send(&ping[7..]);
    assert_eq!(wire.message()["type"], "pong");
    node.end();
}

#[test]
fn header_names_in_any_case_and_lists_of_tokens_are_accepted() {
    let node = Node::start(&[]);
    let key = format!("SEC-WEBSOCKET-KEY:\t{KEY}  ");
    for request in [
        with(CONNECTION, &["connection: keep-alive, UPGRADE"]),
        with(CONNECTION, &["Connection: keep-alive", "Connection: x, upgrade"]),
        with(UPGRADE, &["uPGRADE: h2c, WebSocket"]),
        with(KEY_LINE, &[&key]),
        plus(&["Cookie: a=b", "X-Empty:", "Sec-WebSocket-Extensions: permessage-deflate"]),
    ] {
        let mut wire = node.wire();
        wire.send(&request);
        let response = wire.switched();
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(response.header("sec-websocket-extensions"), None, "nobody here speaks any");
        wire.send(&close(1000, ""));
        assert_eq!(wire.closed().0, 1000);
    }
    node.end();
}

/// Demands that a request is refused with this status and code, in one line of JSON, and that the connection ends.
fn assert_refused(node: &Node, request: &[u8], status: u16, code: &str) -> Wire {
    let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    let mut wire = node.wire();
    wire.send(request);
    let response = wire.response();
    assert_eq!(response.status, status, "{shown}{response:?}");
    assert_eq!(response.error_code(), code, "{shown}{response:?}");
    assert!(response.header("connection").unwrap().starts_with("close"), "{shown}");
    match status {
        405 => assert_eq!(response.header("allow"), Some("GET"), "{shown}"),
        426 => assert_eq!(response.header("sec-websocket-version"), Some("13"), "{shown}"),
        _ => {}
    }
    wire.ended();
    wire
}

#[test]
fn each_refusal_has_its_status_and_a_reason_in_one_line_of_json() {
    let node = Node::start(&[]);
    let long = format!("X-Long: {}", "x".repeat(8192));
    let many: Vec<String> = (0..64).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let twice = format!("Sec-WebSocket-Key: {KEY}");
    for (request, status, code) in [
        (head("POST /live HTTP/1.1", &GOOD), 405, "method_not_allowed"),
        (head("GET /live HTTP/1.0", &GOOD), 505, "version_not_supported"),
        (head("GET /live HTTP/2.0", &GOOD), 505, "version_not_supported"),
        (head("GET /nowhere HTTP/1.1", &GOOD), 404, "not_found"),
        (head("GET /echo HTTP/1.1", &GOOD), 404, "not_found"),
        (with(UPGRADE, &[]), 426, "upgrade_required"),
        (with(CONNECTION, &["Connection: keep-alive"]), 426, "upgrade_required"),
        (with(VERSION, &[]), 426, "upgrade_required"),
        (with(VERSION, &["Sec-WebSocket-Version: 8"]), 426, "upgrade_required"),
        (with(KEY_LINE, &[]), 400, "bad_request"),
        (plus(&[&twice]), 400, "bad_request"),
        (with(KEY_LINE, &["Sec-WebSocket-Key: c2hvcnQ="]), 400, "bad_request"),
        (with(KEY_LINE, &["Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="]), 400, "bad_request"),
        (with(HOST, &[]), 400, "bad_request"),
        (plus(&["Host: other.test"]), 400, "bad_request"),
        (with(UPGRADE, &["Upgrade : websocket"]), 400, "bad_request"),
        (with(UPGRADE, &["Upgrade: websocket\r\n folded"]), 400, "bad_request"),
        (plus(&["Origin: http://evil.test"]), 403, "forbidden"),
        (plus(&["Origin: null"]), 403, "forbidden"),
        (plus(&[&long]), 431, "too_large"),
        (plus(&many), 431, "too_large"),
        (head("GET /live?channel=a%20b HTTP/1.1", &GOOD), 400, "bad_channel"),
        (head("GET /live?channel=a&since=x HTTP/1.1", &GOOD), 400, "bad_request"),
    ] {
        assert_refused(&node, &request, status, code);
    }
    node.end();
}

#[test]
fn a_body_on_an_upgrade_is_refused_and_never_read_as_frames() {
    let node = Node::start(&["--echo"]);
    let tail = frame(TEXT, "smuggled");
    let length = format!("Content-Length: {}", tail.len());
    let lines = [&length[..], "Content-Length: 0", "Transfer-Encoding: chunked"];
    for line in lines {
        for path in ["/live", "/echo"] {
            let request = head(&format!("GET {path} HTTP/1.1"), &[&GOOD, &[line][..]].concat());
            assert_refused(&node, &[request, tail.clone()].concat(), 400, "bad_request");
        }
    }
    assert_eq!(node.metric("roost_upgrades_total"), 0);
    assert_eq!(node.metric("roost_messages_received_total"), 0);
    assert_eq!(node.metric_of("roost_disconnects_total", "\"refused\""), 2 * lines.len() as u64);
    node.end();
}

#[test]
fn a_page_may_connect_from_its_own_origin_or_from_one_that_is_listed() {
    let node = Node::start(&[]);
    let mut wire = node.wire();
    wire.send(&plus(&["Origin: http://roost.test"]));
    wire.switched();
    node.end();
    let node = Node::start(&["--origin", "https://app.test", "--origin", "http://localhost:3000"]);
    for origin in ["Origin: https://app.test", "Origin: http://localhost:3000"] {
        let mut wire = node.wire();
        wire.send(&plus(&[origin]));
        wire.switched();
    }
    for origin in ["Origin: http://app.test", "Origin: http://localhost", "Origin: https://a.app.test"] {
        assert_refused(&node, &plus(&[origin]), 403, "forbidden");
    }
    node.end();
}

#[test]
fn a_head_is_accepted_up_to_its_limits() {
    let node = Node::start(&[]);
    let most: Vec<String> = (GOOD.len()..64).map(|number| format!("X-{number}: 1")).collect();
    let most: Vec<&str> = most.iter().map(String::as_str).collect();
    let fill = 8 * 1024 - plus(&["X-Long: "]).len();
    let longest = format!("X-Long: {}", "x".repeat(fill));
    for request in [plus(&most), plus(&[&longest])] {
        let mut wire = node.wire();
        wire.send(&request);
        wire.switched();
    }
    node.end();
}

#[test]
fn who_ends_its_side_right_behind_its_words_still_hears_the_answers() {
    let node = Node::start(&[]);
    for _ in 0..20 {
        let mut wire = node.wire();
        wire.send(&head("GET /nowhere HTTP/1.1", &["Host: x"]));
        wire.end();
        assert_eq!(wire.response().status, 404);
        let mut wire = node.wire();
        let subscribe = frame(TEXT, r#"{"type":"subscribe","channel":"a"}"#);
        wire.send(&[upgrade("/live"), subscribe].concat());
        wire.end();
        wire.switched();
    }
    node.end();
}
