//! The native dialect: what each message is answered, and who hears what.

use serde_json::{Value, json};

use crate::node::Node;

#[test]
fn the_first_notification_after_subscribed_has_the_next_offset_and_five_members() {
    let node = Node::start(&[]);
    let mut client = node.client();
    let mut subscribed = client.ask(r#"{"type":"subscribe","channel":"news","id":[1]}"#);
    let cursor = subscribed["cursor"].take();
    assert_eq!(subscribed, json!({ "type": "subscribed", "channel": "news", "cursor": null, "id": [1] }));
    let (epoch, offset) = cursor.as_str().unwrap().split_once('-').unwrap();
    assert_eq!(offset, "0");
    assert!(!epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{epoch}");
    for expected in 1..=3 {
        assert_eq!(node.publish("news", &json!({ "n": expected })), format!("{epoch}-{expected}"));
        let mut heard = client.hear();
        assert!(heard["timestamp"].take().as_u64().unwrap() > 1_600_000_000_000);
        let whole = json!({ "type": "notification", "channel": "news", "data": { "n": expected },
            "timestamp": null, "offset": expected });
        assert_eq!(heard, whole);
    }
    assert_eq!(node.client().subscribe("news"), format!("{epoch}-3"));
    node.end();
}

#[test]
fn data_arrives_byte_for_byte() {
    let node = Node::start(&[]);
    let mut client = node.subscriber(&["a"]);
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let odd = [r#"{ "n": 1.00, "n": 12345678901234567890123, "e":1E+2 }"#, r#""\u00e9\/é""#, "null", &deep];
    for data in odd {
        assert_eq!(node.post(&format!(r#"{{"channel":"a","data":{data}}}"#)).status, 200);
        let text = client.hear_text();
        assert!(text.contains(&format!(r#""data":{data},"timestamp""#)), "{text:.200}");
    }
    node.end();
}

#[test]
fn who_has_unsubscribed_hears_no_more_of_that_channel() {
    let node = Node::start(&[]);
    let mut client = node.subscriber(&["a", "b"]);
    let answer = client.ask(r#"{"type":"unsubscribe","channel":"a","id":7}"#);
    assert_eq!(answer, json!({ "type": "unsubscribed", "channel": "a", "id": 7 }));
    node.publish("a", &1.into());
    node.publish("b", &2.into());
    assert_eq!(client.hear()["data"], 2);
    client.lives();
    node.end();
}

#[test]
fn each_mistake_is_answered_by_its_error_and_the_connection_lives_on() {
    let node = Node::start(&[]);
    let mut client = node.subscriber(&["a"]);
    for (message, code) in [
        ("", "bad_json"),
        (r#"{"type":"ping""#, "bad_json"),
        ("[1]", "bad_request"),
        (r#"{"type":7}"#, "bad_request"),
        (r#"{"type":"subscribe"}"#, "bad_request"),
        (r#"{"type":"subscribe","channel":"b","since":"x"}"#, "bad_request"),
        (r#"{"type":"dance"}"#, "unknown_type"),
        (r#"{"type":"subscribe","channel":"a b"}"#, "bad_channel"),
        (r#"{"type":"subscribe","channel":""}"#, "bad_channel"),
        (r#"{"type":"subscribe","channel":"a"}"#, "already_subscribed"),
        (r#"{"type":"unsubscribe","channel":"b"}"#, "not_subscribed"),
        (r#"{"type":"publish","channel":"a","data":1}"#, "forbidden"),
    ] {
        client.refused(message, code);
    }
    node.publish("a", &1.into());
    assert_eq!(client.hear()["data"], 1);
    node.end();
}

#[test]
fn with_roost_v1_the_node_speaks_first_and_otherwise_only_when_asked() {
    let node = Node::start(&["--ping-interval", "7s", "--node", "north"]);
    let sessions: Vec<Value> = (0..2)
        .map(|_| {
            let mut client = node.client_at("/live", Some("other, roost.v1"));
            assert_eq!(client.protocol.as_deref(), Some("roost.v1"));
            let mut welcome = client.hear();
            let session = welcome["session"].take();
            let rest = json!({ "type": "welcome", "session": null, "ping_ms": 7000, "node": "north" });
            assert_eq!(welcome, rest);
            session
        })
        .collect();
    assert!(sessions[0].is_string() && sessions[0] != sessions[1], "{sessions:?}");
    let mut silent = node.client();
    assert_eq!(silent.protocol, None);
    silent.lives();
    node.end();
}

#[test]
fn a_query_subscribes_during_the_handshake_and_resumes_by_position() {
    let node = Node::start(&[]);
    let head = node.publish("b", &1.into());
    let path = format!("/live?channel=a&channel=b&since=&since={head}");
    let mut client = node.client_at(&path, None);
    let mut heard = [client.hear(), client.hear()];
    heard.sort_by_key(|answer| answer["channel"].to_string());
    assert_eq!((&heard[0]["type"], &heard[0]["recovered"]), (&json!("subscribed"), &Value::Null));
    assert_eq!((&heard[1]["cursor"], &heard[1]["recovered"]), (&json!(head), &json!(true)));
    node.publish("a", &2.into());
    assert_eq!(client.hear()["data"], 2);
    node.end();
}

#[test]
fn who_resumes_behind_the_head_without_a_history_is_told_exactly_what_is_missing() {
    let node = Node::start(&["--history", "0"]);
    let mut client = node.client();
    let start = client.subscribe("a");
    for number in 1..=3 {
        node.publish("a", &number.into());
        client.hear();
    }
    let epoch = start.split_once('-').unwrap().0;
    for (since, from) in [(format!("{epoch}-1"), 2), (format!("{epoch}-9"), 1), ("elsewhere-2".to_owned(), 1)]
    {
        let mut client = node.client();
        let answer = client.ask(json!({ "type": "subscribe", "channel": "a", "since": since }));
        assert_eq!(answer["recovered"], false, "{since}: {answer}");
        assert_eq!(answer["cursor"], format!("{epoch}-3"));
        let gap = json!({ "type": "gap", "channel": "a", "from": from, "to": 3, "cursor": answer["cursor"] });
        assert_eq!(client.hear(), gap, "{since}");
        client.lives();
    }
    node.end();
}

#[test]
fn the_policy_of_the_longest_prefix_decides_who_may_publish() {
    let policies = "[channels.\"chat:\"]\nclients_may_publish = true\n\
                    [channels.\"chat:staff:\"]\nclients_may_publish = false\n";
    let node = Node::with_config(policies, &["--shards", "2"]);
    let mut reader = node.subscriber(&["chat:1"]);
    let mut writer = node.client();
    for offset in 1..=3 {
        let message =
            format!(r#"{{"type":"publish","channel":"chat:1","data":{{ "n":{offset} }},"id":"x"}}"#);
        let published = json!({ "type": "published", "channel": "chat:1", "offset": offset, "id": "x" });
        assert_eq!(writer.ask(message), published);
        assert!(reader.hear_text().contains(&format!(r#""data":{{ "n":{offset} }}"#)));
    }
    for channel in ["chat:staff:1", "chat", "news"] {
        writer.refused(json!({ "type": "publish", "channel": channel, "data": 1 }), "forbidden");
    }
    writer.refused(r#"{"type":"publish","channel":"chat:1"}"#, "bad_request");
    reader.lives();
    node.end();
}
