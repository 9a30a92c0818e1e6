//! Who is signed in, and what that allows: over a WebSocket, a stream of events and polls, in virtual time.

use crate::READY;
use crate::line::Line;
use crate::node::{BEGINS_MS, Client, Node};
use roost::config::policy::{Auth, PolicyRule};
use roost::limits::{TOKEN_LEEWAY_S, TOKEN_WARNING_MS};
use roost::shard::Settings;
use roost::tokens::{Key, Keys};
use serde_json::{Value, json};
use std::sync::Arc;

const SECRET: &[u8] = b"thirty-two bytes that nobody else";
const DEBOUNCE_MS: u64 = 3_000;
const HOUR_S: u64 = 3_600;

/// A node whose rooms ask for a token, have presence, and let clients publish.
fn node() -> Node {
    let room = PolicyRule {
        auth: Some(Auth::Token),
        presence: Some(true),
        clients_may_publish: Some(true),
        ..PolicyRule::default()
    };
    let keys = Arc::new(Keys::new(1, vec![Key::from_secret(SECRET).expect("long enough")]));
    Node::new(room, |settings| Settings { keys: keys.clone(), ..settings })
}

/// A token for `user` that is good for so long from the start of the node, and allows what `rights` say.
fn token(user: &str, life_s: u64, rights: &Value) -> String {
    let mut claims = json!({ "sub": user, "iat": BEGINS_MS / 1000, "exp": BEGINS_MS / 1000 + life_s });
    claims.as_object_mut().unwrap().extend(rights.as_object().unwrap().clone());
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET).expect("a secret");
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("claims")
}

/// One that allows everything about rooms.
fn pass(user: &str, life_s: u64) -> String {
    token(user, life_s, &json!({ "subscribe": ["room:*"], "publish": ["room:*"] }))
}

/// What a client hears of these kinds.
fn heard(client: &Client, kinds: &[&str]) -> Vec<Value> {
    let is_one = |one: &Value| kinds.iter().any(|kind| one["type"] == *kind);
    client.hear().into_iter().filter(is_one).collect()
}

/// The code of the close frame at the end of all that a client got.
fn close_code(client: &Client) -> Option<u16> {
    let got = client.line.0.borrow();
    let at = got.got.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] >= 2)?;
    Some(u16::from_be_bytes([got.got[at + 2], got.got[at + 3]]))
}

/// A request without a WebSocket, and what was answered.
fn request(node: &mut Node, shard: usize, head: &str, body: &str) -> String {
    let client = node.call(shard, Line::sending(format!("{head}\r\nHost: node\r\n\r\n{body}")));
    node.settle();
    let got = client.line.0.borrow().got.clone();
    String::from_utf8(got).expect("text")
}

#[test]
fn a_room_that_asks_for_a_token_lets_in_who_has_the_right_one() {
    let mut node = node();
    for shard in 0..3 {
        let client = node.connect(shard, "");
        for (message, code) in [
            (json!({ "type": "subscribe", "channel": "room:1" }), "unauthorized"),
            (json!({ "type": "publish", "channel": "room:1", "data": 1 }), "unauthorized"),
            (json!({ "type": "presence", "channel": "room:1" }), "unauthorized"),
            (json!({ "type": "auth", "token": "a.b.c", "id": 3 }), "unauthorized"),
            (json!({ "type": "auth" }), "bad_request"),
            (json!({ "type": "auth", "token": 7 }), "bad_request"),
        ] {
            node.say(&client, &message);
            assert_eq!(client.hear()[0]["code"], code, "{message}");
        }
        let rights = json!({ "subscribe": ["room:1"], "publish": ["room:2"] });
        node.say(&client, &json!({ "type": "auth", "token": token("ann", HOUR_S, &rights), "id": 4 }));
        let answer = &client.hear()[0];
        assert_eq!((&answer["type"], &answer["id"]), (&json!("authenticated"), &json!(4)));
        assert!(answer["expires_in_ms"].as_u64() >= Some((HOUR_S - 60) * 1000), "{answer}");
        for (message, outcome) in [
            (json!({ "type": "subscribe", "channel": "room:1" }), "subscribed"),
            (json!({ "type": "subscribe", "channel": "room:2" }), "forbidden"),
            (json!({ "type": "publish", "channel": "room:2", "data": 1 }), "published"),
            (json!({ "type": "publish", "channel": "room:1", "data": 1 }), "forbidden"),
            (json!({ "type": "presence", "channel": "room:2" }), "forbidden"),
            (json!({ "type": "subscribe", "channel": "hall" }), "subscribed"),
        ] {
            node.say(&client, &message);
            let answer = client.hear().remove(0);
            let got = if answer["type"] == "error" { &answer["code"] } else { &answer["type"] };
            assert_eq!(got, outcome, "{message}");
        }
    }
}

#[test]
fn a_token_in_the_request_signs_in_during_the_upgrade() {
    let mut node = node();
    let target = format!("/live?channel=room:1&token={}", pass("ann", HOUR_S));
    let client = node.call(0, Line::asking_for(&target));
    node.settle();
    assert_eq!(client.hear()[0]["type"], "subscribed");
    let bad = node.call(0, Line::asking_for("/live?channel=room:1&token=a.b.c"));
    node.settle();
    assert!(bad.line.0.borrow().got.starts_with(b"HTTP/1.1 101"), "a page hears of no status");
    assert_eq!(close_code(&bad), Some(4001));
    let without = node.connect(1, "room:1");
    assert_eq!(without.hear()[0]["code"], "unauthorized");
}

#[test]
fn a_token_that_ends_is_announced_and_then_the_connection_is_closed() {
    let mut node = node();
    let target = format!("/live?channel=room:1&token={}", pass("ann", 100));
    let client = node.call(2, Line::asking_for(&target));
    node.settle();
    client.hear();
    let ends_ms = (100 + TOKEN_LEEWAY_S) * 1000;
    let live_until = |node: &mut Node, until_ms: u64| {
        while node.now.mono_ms < until_ms {
            node.pass(1_000.min(until_ms - node.now.mono_ms));
            node.say(&client, &json!({ "type": "ping" }));
        }
    };
    live_until(&mut node, ends_ms - TOKEN_WARNING_MS - 1);
    assert_eq!(heard(&client, &["expiring"]), Vec::<Value>::new());
    live_until(&mut node, ends_ms - 20_000);
    let warnings = heard(&client, &["expiring"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0]["expires_in_ms"].as_u64() > Some(TOKEN_WARNING_MS - 2_000));
    node.say(&client, &json!({ "type": "auth", "token": pass("ann", 200) }));
    live_until(&mut node, ends_ms + 60_000);
    assert_eq!(close_code(&client), None, "it has shown another one");
    live_until(&mut node, ends_ms + 100_000 - 1_000);
    assert_eq!(heard(&client, &["expiring"]).len(), 1);
    node.pass(2_000);
    assert_eq!(close_code(&client), Some(4002));
}

#[test]
fn another_token_takes_away_what_it_does_not_allow() {
    let mut node = node();
    let target = format!("/live?channel=room:1&channel=room:2&channel=hall&token={}", pass("ann", HOUR_S));
    let client = node.call(0, Line::asking_for(&target));
    node.settle();
    client.hear();
    let narrower = token("ann", HOUR_S, &json!({ "subscribe": ["room:2"] }));
    node.say(&client, &json!({ "type": "auth", "token": narrower }));
    let left = heard(&client, &["unsubscribed"]);
    assert_eq!(left, [json!({ "type": "unsubscribed", "channel": "room:1" })]);
}

#[test]
fn presence_names_the_users_once_each_and_tells_who_came_and_went() {
    let mut node = node();
    let room = node.room(2);
    let arrive = |node: &mut Node, shard, user| {
        let target = format!("/live?channel={room}&token={}", pass(user, HOUR_S));
        let client = node.call(shard, Line::asking_for(&target));
        node.settle();
        client
    };
    let ann = arrive(&mut node, 0, "ann");
    let [bob, bob_again] = [1, 2].map(|shard| arrive(&mut node, shard, "bob"));
    node.pass(DEBOUNCE_MS);
    let event = json!({ "type": "presence", "channel": room, "count": 3, "joined": ["ann", "bob"] });
    assert_eq!(heard(&ann, &["presence"]), [event]);
    node.say(&ann, &json!({ "type": "presence", "channel": room, "id": 1 }));
    let answer = json!({ "type": "presence", "channel": room, "count": 3, "users": ["ann", "bob"], "id": 1 });
    assert_eq!(heard(&ann, &["presence"]), [answer]);
    node.vanish(&bob);
    node.pass(DEBOUNCE_MS);
    let event = json!({ "type": "presence", "channel": room, "count": 2 });
    assert_eq!(heard(&ann, &["presence"]), [event], "bob is still there");
    node.vanish(&bob_again);
    let _cat = arrive(&mut node, 1, "cat");
    node.pass(DEBOUNCE_MS);
    let event =
        json!({ "type": "presence", "channel": room, "count": 2, "joined": ["cat"], "left": ["bob"] });
    assert_eq!(heard(&ann, &["presence"]), [event], "the same number, and others");
    node.say(&ann, &json!({ "type": "auth", "token": pass("ada", HOUR_S) }));
    node.pass(DEBOUNCE_MS);
    let event =
        json!({ "type": "presence", "channel": room, "count": 2, "joined": ["ada"], "left": ["ann"] });
    assert_eq!(heard(&ann, &["presence"]), [event], "who shows another user's token is another user");
}

#[test]
fn whoever_has_just_come_is_among_the_users_that_it_asks_for() {
    let mut node = node();
    for owner in 0..3 {
        let room = node.room(owner);
        for shard in 0..3 {
            let target = format!("/live?token={}", pass(&format!("user-{shard}"), HOUR_S));
            let client = node.call(shard, Line::asking_for(&target));
            client.line.send(&json!({ "type": "subscribe", "channel": room }));
            node.shards[shard].ready(node.now, client.token, READY);
            node.settle();
            node.say(&client, &json!({ "type": "presence", "channel": room }));
            let answer = heard(&client, &["presence"]).remove(0);
            let users: Vec<String> = (0..=shard).map(|shard| format!("user-{shard}")).collect();
            assert_eq!(answer["users"], json!(users));
        }
    }
}

#[test]
fn fallbacks_show_their_token_with_each_request() {
    let mut node = node();
    let bearer = format!("Authorization: Bearer {}", pass("ann", HOUR_S));
    for (head, body, status) in [
        ("GET /poll?channel=room:1 HTTP/1.1", "", 401),
        ("GET /events?channel=room:1 HTTP/1.1", "", 401),
        ("GET /poll?channel=hall HTTP/1.1", "", 200),
        ("GET /poll?channel=hall&token=a.b.c HTTP/1.1", "", 401),
        (&format!("GET /poll?channel=room:1 HTTP/1.1\r\n{bearer}"), "", 200),
        (&format!("GET /poll?channel=room:1&token=a.b.c HTTP/1.1\r\n{bearer}"), "", 200),
        (&format!("GET /poll?channel=room:1&token={} HTTP/1.1", pass("ann", HOUR_S)), "", 200),
        (&format!("GET /events?channel=room:1 HTTP/1.1\r\n{bearer}"), "", 200),
        ("GET /poll?channel=room:1&channel=other HTTP/1.1\r\nAuthorization: Basic YTpi", "", 401),
    ] {
        let answer = request(&mut node, 1, head, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert_eq!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), status == 401, "{answer}");
    }
    let publish = r#"{"type":"publish","channel":"room:1","data":1}"#;
    let post = |more: &str| {
        format!(
            "POST /poll HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}{more}",
            publish.len()
        )
    };
    assert!(request(&mut node, 0, &post(""), publish).contains("unauthorized"));
    assert!(
        request(&mut node, 0, &post(&format!("\r\n{bearer}")), publish).contains(r#""type":"published""#)
    );
    assert_eq!(
        node.shards.iter().map(|shard| shard.counters().signed_in).sum::<u64>(),
        1,
        "the stream alone"
    );
}

#[test]
fn a_token_is_not_lent_to_the_next_request_on_its_connection() {
    let mut node = node();
    let bearer = format!("Authorization: Bearer {}\r\n", pass("ann", HOUR_S));
    for owner in 0..3 {
        let room = node.room(owner);
        let poll = |bearer: &str| format!("GET /poll?channel={room} HTTP/1.1\r\nHost: node\r\n{bearer}\r\n");
        let requests = poll(&bearer) + &poll(&bearer) + &poll("");
        let client = node.call(0, Line::sending(&requests));
        node.settle();
        let got = String::from_utf8(client.line.0.borrow().got.clone()).unwrap();
        let statuses: Vec<&str> =
            got.match_indices("HTTP/1.1 ").map(|(at, _)| &got[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "200", "401"]);
    }
    assert_eq!(node.shards.iter().map(|shard| shard.counters().signed_in).sum::<u64>(), 0);
}
