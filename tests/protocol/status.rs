//! The status page, its document and its stream: what they say, who may watch, and what watching costs. And what the pages of
//! the node may do.

use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::node::{Node, PATIENCE};
use crate::wire::{Wire, upgrade};

/// Streams that a node serves at once, as its reference says.
const WATCHERS: usize = 16;

/// Begins to watch; the first block asks the client to come back when it loses the stream.
fn watch(mut wire: Wire) -> Wire {
    wire.send(b"GET /status/events HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = wire.response();
    assert_eq!(head.status, 200, "{head:?}");
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("connection", "close"),
    ] {
        assert_eq!(head.header(name), Some(value), "{head:?}");
    }
    let retry = wire.block();
    let retry_ms: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1_000..=2_000).contains(&retry_ms), "{retry}");
    wire
}

fn event(wire: &mut Wire) -> Value {
    let block = wire.block();
    let json = block.strip_prefix("data: ").unwrap_or_else(|| panic!("{block}"));
    assert_eq!(block.lines().count(), 1, "{block}");
    serde_json::from_str(json).unwrap()
}

/// Events until one satisfies a condition.
fn await_event(wire: &mut Wire, mut condition: impl FnMut(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let event = event(wire);
        if condition(&event) {
            return event;
        }
        assert!(began.elapsed() < 2 * PATIENCE, "{event}");
    }
}

/// Nothing happens for a while, as a client tells that asks for nothing until its time is over.
fn let_time_pass(node: &Node) {
    let mut wire = node.wire();
    wire.send(&upgrade("/live")[..10]);
    assert_eq!(wire.response().status, 408);
}

#[test]
fn the_status_says_what_happened() {
    let node = Node::start(&["--shards", "2", "--max-connections", "50", "--node", "edge-7"]);
    let mut clients: Vec<_> = (0..6).map(|_| node.subscriber(&["all"])).collect();
    clients.push(node.subscriber(&["all", "few"]));
    for number in 0..3 {
        node.publish("all", &number.into());
        clients.iter_mut().for_each(|client| assert_eq!(client.hear()["data"], number));
    }
    clients.pop().unwrap().close();
    node.await_metric("roost_connections", 6);
    let status = node.get("/status").json();
    assert_eq!((&status["node"]["name"], &status["node"]["ready"]), (&json!("edge-7"), &json!(true)));
    let transports = json!({"websocket": 6, "sse": 0, "poll": 0});
    let connections = json!({"count": 6, "max": 50, "transports": transports, "accepted": 7, "refused": 0});
    assert_eq!(status["connections"], connections);
    let messages = &status["messages"];
    assert_eq!(
        (&messages["received"], &messages["published"], &messages["delivered"]),
        (&json!(8), &json!(3), &json!(21))
    );
    let rate = |count: f64| count * 1_000.0 / status["over_ms"].as_f64().unwrap();
    let published = messages["published_per_second"].as_f64().unwrap();
    assert!((published - rate(3.0)).abs() < 0.1, "the first rates are means since the start: {status}");
    let shards = status["shards"].as_array().unwrap();
    let sum = |name: &str| shards.iter().map(|shard| shard[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((shards.len(), sum("connections"), sum("subscriptions")), (2, 6, 6));
    assert!(shards.iter().all(|shard| shard["answered"] == true), "{status}");
    assert_eq!(status["channels"]["top"], json!([{"channel": "all", "subscribers": 6, "unsure": 0}]));
    let own = status["memory"]["own"]["bytes_per_connection"].as_f64().unwrap();
    assert!((64.0..4096.0).contains(&own), "{status}");
    let closes = status["closes"].as_array().unwrap();
    let closed: Vec<&Value> = closes.iter().filter(|close| close["count"] != 0).collect();
    assert_eq!(closed, [&json!({"reason": "peer_closed", "code": 1000, "fault": "nobody", "count": 1})]);
    node.end();
}

#[test]
fn connections_are_told_apart_by_how_they_speak() {
    let node = Node::start(&["--shards", "2"]);
    let _sockets = [node.subscriber(&["a"]), node.subscriber(&["b"]), node.subscriber(&["c"])];
    let mut streams = [node.wire(), node.wire()];
    for stream in &mut streams {
        stream.send(b"GET /events?channel=a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(stream.response().status, 200);
    }
    let mut poll = node.wire();
    poll.send(b"GET /poll?channel=a&wait=0 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(poll.response().status, 200);
    let _silent = node.wire();
    let mut watcher = watch(Wire::connect(&node.api));
    let seen = await_event(&mut watcher, |status| status["connections"]["count"] == 7);
    assert_eq!(seen["connections"]["transports"], json!({"websocket": 3, "sse": 2, "poll": 1}));
    drop(streams);
    await_event(&mut watcher, |status| status["connections"]["transports"]["sse"] == 0);
    node.end();
}

#[test]
fn a_client_that_does_not_read_is_named_with_what_waits_for_it() {
    let node = Node::start(&["--shards", "1", "--queue-soft", "8KiB", "--send-buffer", "4KiB"]);
    let mut wire = node.narrow_wire().open("/live?channel=a");
    wire.message();
    let data = json!("x".repeat(4_000));
    let mut watcher = watch(Wire::connect(&node.api));
    let slow = loop {
        node.publish("a", &data);
        let status = node.get("/status").json();
        if status["lag"]["over_soft"] == 1 {
            break status;
        }
    };
    let slowest = &slow["lag"]["slowest"][0];
    assert_eq!((&slowest["shard"], slow["lag"]["soft_bytes"].as_u64()), (&json!(0), Some(8 * 1024)));
    assert!(slowest["queued_bytes"].as_u64().unwrap() > 8 * 1024, "{slow}");
    assert!(slowest["session"].as_str().unwrap().starts_with("0."), "{slow}");
    let seen = await_event(&mut watcher, |status| status["lag"]["slowest"] != json!([]));
    assert_eq!(seen["lag"]["slowest"][0]["session"], slowest["session"]);
    node.end();
}

#[test]
fn a_watcher_gets_the_status_at_once_and_then_every_second() {
    let node = Node::start(&[]);
    let mut watcher = watch(Wire::connect(&node.api));
    let first = event(&mut watcher);
    let began = Instant::now();
    let mut before = first["node"]["uptime_ms"].as_u64().unwrap();
    assert!(first["memory"]["own"].is_object(), "a survey is in the first one already: {first}");
    for _ in 0..3 {
        let next = event(&mut watcher)["node"]["uptime_ms"].as_u64().unwrap();
        assert!((900..5_000).contains(&(next - before)), "{before} {next}");
        before = next;
    }
    assert!(began.elapsed() >= Duration::from_millis(2_700), "{:?}", began.elapsed());
    let mut client = node.subscriber(&["a"]);
    let seen = await_event(&mut watcher, |status| status["connections"]["count"] == 1);
    assert!(seen["over_ms"].as_u64().unwrap() < 5_000, "{seen}");
    for number in 0..500 {
        node.publish("a", &number.into());
        client.hear();
    }
    await_event(&mut watcher, |status| status["messages"]["delivered_per_second"].as_f64().unwrap() > 0.0);
    node.end();
}

#[test]
fn nobody_is_looked_at_while_nobody_watches() {
    let node = Node::start(&["--shards", "1", "--handshake-timeout", "2500ms"]);
    let mut watcher = watch(Wire::connect(&node.api));
    event(&mut watcher);
    assert_eq!(node.metric("roost_status_watchers"), 1);
    drop(watcher);
    node.await_metric("roost_status_watchers", 0);
    let (looks, turns) = (node.metric("roost_status_looks_total"), node.metric("roost_turns_total"));
    let_time_pass(&node);
    assert_eq!(node.metric("roost_status_looks_total"), looks);
    let turns = node.metric("roost_turns_total") - turns;
    assert!(turns < 60, "the shard made {turns} turns for one client and three scrapes");
    // While somebody does, all of them together are one look a second.
    let mut watchers: Vec<Wire> = (0..5).map(|_| watch(Wire::connect(&node.api))).collect();
    let began = Instant::now();
    for _ in 0..3 {
        watchers.iter_mut().for_each(|watcher| _ = event(watcher));
    }
    let most = began.elapsed().as_secs() + 2;
    let seen = node.metric("roost_status_looks_total") - looks;
    assert!((3..=most).contains(&seen), "{seen} looks in {:?}", began.elapsed());
    node.end();
}

#[test]
fn so_many_may_watch_and_the_next_one_is_told_so_until_one_leaves() {
    let node = Node::start(&[]);
    let mut watchers: Vec<Wire> = (0..WATCHERS).map(|_| watch(Wire::connect(&node.api))).collect();
    let refused = node.get("/status/events");
    assert_eq!((refused.status, refused.error_code()), (503, "unavailable".into()));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(node.get("/status").json()["node"]["watchers"], WATCHERS);
    watchers.pop();
    let began = Instant::now();
    while node.metric("roost_status_watchers") == WATCHERS as u64 {
        assert!(began.elapsed() < PATIENCE);
    }
    event(&mut watch(Wire::connect(&node.api)));
    watchers.iter_mut().for_each(|watcher| _ = event(watcher));
    node.end();
}

#[test]
fn a_watcher_that_does_not_read_is_cut_and_the_others_do_not_wait_for_it() {
    // The more shards, the longer an event: soon more than the two kernels keep for who does not read.
    let node = Node::start(&["--shards", "100"]);
    let mut stalled = watch(node.narrow_wire_to(&node.api));
    let mut watcher = watch(Wire::connect(&node.api));
    let mut events: Vec<u64> = Vec::new();
    let event_bytes = event(&mut watcher).to_string().len();
    let last = await_event(&mut watcher, |status| {
        events.push(status["node"]["uptime_ms"].as_u64().unwrap());
        status["node"]["watchers"] == 1
    });
    assert_eq!(last["shards"].as_array().unwrap().len(), 100);
    assert!(events.len() >= 9, "it has ten seconds: {events:?}");
    assert!(events.is_sorted_by_key(|at| *at), "{events:?}");
    // Of all that was sent meanwhile the stalled one got what kernels keep, and then the end.
    assert!(stalled.until_end().len() < 6 * event_bytes + 64 * 1024);
    node.end();
}

#[test]
fn what_a_watcher_says_is_thrown_away_and_its_goodbye_ends_the_stream() {
    let node = Node::start(&[]);
    let mut watcher = watch(Wire::connect(&node.api));
    for _ in 0..3 {
        watcher.send(&b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100));
        event(&mut watcher);
    }
    watcher.end();
    watcher.until_end();
    node.await_metric("roost_status_watchers", 0);
    node.end();
}

#[test]
fn each_wrong_request_has_its_status_and_a_head_has_no_body() {
    let node = Node::start(&[]);
    for path in ["/", "/status", "/status/events"] {
        let mut wire = Wire::connect(&node.api);
        wire.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").as_bytes());
        let refused = wire.response();
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET")), "{path}");
        assert_eq!(refused.error_code(), "method_not_allowed");
        let mut wire = Wire::connect(&node.api);
        wire.send(
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n").as_bytes(),
        );
        assert_eq!(wire.response().error_code(), "forbidden", "{path}");
        let mut wire = Wire::connect(&node.api);
        wire.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        let head = String::from_utf8(wire.until_end()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(head.matches("\r\n\r\n").count(), 1, "{head}");
    }
    for path in ["/status/", "/status/event", "/index.html", "//"] {
        assert_eq!(node.get(path).error_code(), "not_found", "{path}");
    }
    assert_eq!(node.metric("roost_status_watchers"), 0);
    node.end();
}

/// Demands that a page stands for itself, and that `policy` names its script and its style by their hashes; `place` is where
/// the policy stands, and `also` what else scripts may be.
fn demand_closed(page: &str, policy: &str, place: &str, also: &str) {
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for (element, directive) in [("script", format!("script-src {also}")), ("style", "style-src ".into())] {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        assert_eq!(page.matches(&open).count(), 1, "one {element} that stands in the page");
        let (_, rest) = page.split_once(&open).unwrap();
        let (text, _) = rest.split_once(&close).unwrap();
        let hash = format!("{directive}'sha256-{}';", BASE64.encode(&Sha256::digest(text)));
        assert!(policy.contains(&hash), "{place} has to say {hash}");
    }
    for foreign in
        ["src=\"http", "src=\"//", "href=\"http", "href=\"//", "@import", "url(", "style=\"", "onclick="]
    {
        assert!(!page.contains(foreign), "the policy forbids {foreign}");
    }
}

#[test]
fn the_page_may_run_its_own_script_and_nothing_else() {
    let node = Node::start(&[]);
    let page = node.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(!page.body.contains("src=\""), "it needs no other file");
    demand_closed(&page.body, page.header("content-security-policy").unwrap(), "src/api/page.rs", "");
    node.end();
}

#[test]
fn the_demo_page_may_run_its_own_script_and_those_of_the_node() {
    let node = Node::start(&["--demo"]);
    let mut wire = node.wire();
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let page = wire.response();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let page = page.body;
    let (_, rest) = page.split_once("<meta http-equiv=\"Content-Security-Policy\" content=\"").unwrap();
    let (policy, _) = rest.split_once("\">").unwrap();
    demand_closed(&page, policy, "src/assets/demo.html", "'self' ");
    node.end();
}
