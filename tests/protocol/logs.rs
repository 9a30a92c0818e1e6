//! What a node writes into its log: no secrets however they came, one kind of line never without end, and its level anew.

use crate::node::Node;
use crate::wire::{GOOD, TEXT, Wire, frame, head};
use jsonwebtoken::{EncodingKey, Header, encode};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const KEY: &str = "the-signing-secret-of-this-very-test";
/// In every payload.
const PAYLOAD: &str = "a-payload-that-nobody-else-may-read";

/// A good token of `user`, and one whose signature is wrong.
fn tokens(user: &str) -> [String; 2] {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims =
        json!({ "sub": user, "iat": now_s, "exp": now_s + 3600, "subscribe": ["*"], "publish": ["*"] });
    let key = EncodingKey::from_secret(KEY.as_bytes()).unwrap();
    let token = encode(&Header::default(), &claims, &key).unwrap();
    let mut wrong = token.clone();
    wrong.truncate(token.len() - 8);
    wrong.push_str("AAAAAAAA");
    [token, wrong]
}

/// One answered request without a WebSocket.
fn request(node: &Node, line: &str, headers: &[&str], body: &str) {
    let length = format!("Content-Length: {}", body.len());
    let mut all = vec!["Host: x"];
    all.extend(headers);
    if !body.is_empty() {
        all.push(&length);
    }
    let mut wire = node.wire();
    wire.send(&[head(line, &all), body.as_bytes().to_vec()].concat());
    assert!((200..500).contains(&wire.response().status), "{line}");
}

/// The node's log, once it has ended.
fn log_of(mut node: Node) -> String {
    node.signal(Signal::TERM);
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    log
}

#[test]
fn no_token_key_or_payload_is_in_the_log_whichever_way_it_came() {
    for format in ["text", "json"] {
        let key = format!("hs256:{KEY}");
        let options =
            ["--log-level", "trace", "--log-format", format, "--token-key", &key, "--drain-over", "1s"];
        let node = Node::with_config("[channels.\"a\"]\nclients_may_publish = true\n", &options);
        let publish = json!({ "type": "publish", "channel": "a", "data": PAYLOAD }).to_string();
        let mut shown = vec![KEY.to_owned(), PAYLOAD.to_owned()];
        for token in tokens("alice") {
            for part in token.split('.') {
                shown.push(part.to_owned());
            }
            let bearer = format!("Authorization: Bearer {token}");
            let upgrade = |line: &str, headers: &[&str]| head(line, &[&GOOD[..], headers].concat());
            let by_query = upgrade(&format!("GET /live?channel=a&token={token} HTTP/1.1"), &[]);
            let by_header = upgrade("GET /live?channel=a HTTP/1.1", &[&bearer]);
            for opening in [by_query, by_header] {
                let mut wire = node.wire();
                wire.send(&opening);
                wire.switched();
                wire.send(&frame(TEXT, &publish));
                wire.frame();
            }
            let mut client = node.client();
            client.ask(json!({ "type": "auth", "token": token }));
            client.ask(format!("{PAYLOAD} is no JSON, nor is {token}"));
            client.ask(&publish);
            request(&node, &format!("GET /events?channel=a&token={token} HTTP/1.1"), &[], "");
            request(&node, "GET /poll?channel=a&wait=0 HTTP/1.1", &[&bearer], "");
            let json_type = "Content-Type: application/json";
            request(&node, "POST /poll HTTP/1.1", &[&bearer, json_type], &publish);
            request(&node, "POST /poll HTTP/1.1", &[&bearer, json_type], PAYLOAD);
            request(&node, &format!("GET /nowhere?token={token} HTTP/1.1"), &[&bearer], "");
            request(&node, &format!("{token} {PAYLOAD} HTTP/1.1"), &[&bearer], "");
        }
        node.publish("a", &Value::from(PAYLOAD));
        assert_eq!(node.post(&format!("{{\"channel\":\"a\",\"data\":{PAYLOAD}")).status, 400);
        assert!(node.metric("roost_token_refusals_total") > 0);
        let log = log_of(node);
        assert!(log.contains("serving"), "{log}");
        for secret in shown {
            assert!(!log.contains(&secret), "{secret} is in\n{log}");
        }
    }
}

#[test]
fn a_flood_of_one_kind_is_told_a_line_a_second_with_the_number_of_those_left_out() {
    let node = Node::with_config("", &["--log-format", "json"]);
    let began = Instant::now();
    let mut wire = Wire::connect(&node.api);
    let mut signals = 0;
    // Several that come at once are one: so many as there is time for.
    while began.elapsed() < Duration::from_secs(2) {
        node.signal(Signal::HUP);
        signals += 1;
        // The control thread has had a turn since.
        let get = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", node.api);
        assert_eq!(wire.ask(get).status, 200);
    }
    // Whoever was left out may be told of by then.
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(node.get("/healthz").status, 200);
    }
    let log = log_of(node);
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let anew =
        lines.iter().filter(|line| line["message"] == "the configuration was read anew").count() as u64;
    let most = 16 + 1 + began.elapsed().as_secs();
    assert!((16..=most).contains(&anew), "{anew} of at most {most} lines:\n{log}");
    let left_out: u64 = lines.iter().filter_map(|line| line["left_out"].as_u64()).sum();
    assert!(left_out > 0 && anew + left_out <= signals, "{anew} lines, {left_out} left out:\n{log}");
    let told = lines.iter().find(|line| line["left_out"].is_u64()).unwrap();
    assert_eq!((&told["level"], &told["target"]), (&json!("INFO"), &json!("roost::log")));
    assert!(told["like"].as_str().is_some_and(|like| like.starts_with("roost::node:")), "{told}");
}

#[test]
fn the_level_of_the_log_changes_with_the_configuration() {
    let path = std::env::temp_dir().join(format!("roost-log-level-{}.toml", std::process::id()));
    std::fs::write(&path, "log_level = \"warn\"\n").unwrap();
    let node = Node::start(&["--config", path.to_str().unwrap(), "--drain-over", "1s"]);
    std::fs::write(&path, "log_level = \"debug\"\n").unwrap();
    node.signal(Signal::HUP);
    // The control thread reads the signal before what is asked later.
    assert_eq!(node.get("/healthz").status, 200);
    assert_eq!(node.get("/healthz").status, 200);
    let log = log_of(node);
    std::fs::remove_file(&path).unwrap();
    assert!(!log.contains("serving"), "it began with warnings alone:\n{log}");
    assert!(log.contains("saying goodbye") && log.contains("shard drained"), "{log}");
}
