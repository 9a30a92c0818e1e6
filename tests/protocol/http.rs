//! The public listener as HTTP/1.1: messages by `POST /poll`, which pages may ask, bodies, connections that go on, and requests
//! that must not be taken for two.

use serde_json::json;

use crate::fallback::{Poller, Stream, call, poll};
use crate::node::Node;
use crate::wire::{ACCEPT, Response, TEXT, Wire, frame, head, upgrade};

const HOST: &str = "Host: roost.test";
const JSON: &str = "Content-Type: application/json";

/// A node whose clients may publish to `chat:`, where those who follow are counted.
fn talkative(options: &[&str]) -> Node {
    Node::with_config("[channels.\"chat:\"]\nclients_may_publish = true\npresence = true\n", options)
}

/// What a request with these headers and this body is answered.
fn ask(node: &Node, line: &str, headers: &[&str], body: &[u8]) -> (Wire, Response) {
    let mut wire = node.wire();
    let headers = [&[HOST], headers].concat();
    let answer = wire.ask([head(line, &headers), body.to_vec()].concat());
    (wire, answer)
}

/// Demands a refusal, and that the connection ends behind it.
fn refused(node: &Node, line: &str, headers: &[&str], body: &[u8], status: u16, code: &str) {
    let (mut wire, answer) = ask(node, line, headers, body);
    assert_eq!((answer.status, answer.error_code()), (status, code.into()), "{line} {headers:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    wire.ended();
}

#[test]
fn a_message_by_post_is_answered_as_on_a_websocket_with_its_id() {
    for shards in ["1", "3"] {
        let node = talkative(&["--shards", shards]);
        // Channels of every owner.
        let names: Vec<String> = (0..8).map(|number| format!("chat:{number}")).collect();
        let mut client = node.client();
        names.iter().for_each(|name| _ = client.subscribe(name));
        let mut poller = node.poller();
        assert_eq!(
            poller.say(r#"{"type":"ping","id":{"n":[1]}}"#),
            json!({ "type": "pong", "id": { "n": [1] } })
        );
        for round in 1..=3 {
            for name in &names {
                let publish = json!({ "type": "publish", "channel": name, "data": round, "id": round });
                let published = json!({ "type": "published", "channel": name, "offset": round, "id": round });
                assert_eq!(poller.say(publish), published);
                let heard = client.hear();
                assert_eq!((&heard["channel"], &heard["data"]), (&json!(name), &json!(round)));
                let presence = poller.say(json!({ "type": "presence", "channel": name, "id": "p" }));
                assert_eq!(presence, json!({ "type": "presence", "channel": name, "count": 1, "id": "p" }));
            }
        }
        assert_eq!(node.metric_of("roost_clients", "transport=\"poll\""), 1);
        node.end();
    }
}

#[test]
fn each_mistake_in_a_message_is_answered_with_200_and_its_error_and_the_connection_goes_on() {
    let node = talkative(&["--shards", "2"]);
    let mut poller = node.poller();
    for (message, code) in [
        ("", "bad_json"),
        (r#"{"type":"ping""#, "bad_json"),
        ("[1]", "bad_request"),
        (r#"{"type":7,"id":3}"#, "bad_request"),
        (r#"{"type":"dance","id":3}"#, "unknown_type"),
        (r#"{"type":"subscribe","channel":"chat:a","id":3}"#, "bad_request"),
        (r#"{"type":"unsubscribe","channel":"chat:a","id":3}"#, "bad_request"),
        (r#"{"type":"visibility","state":"hidden","id":3}"#, "bad_request"),
        (r#"{"type":"publish","channel":"a b","data":1,"id":3}"#, "bad_channel"),
        (r#"{"type":"publish","channel":"chat:a","id":3}"#, "bad_request"),
        (r#"{"type":"publish","channel":"news","data":1,"id":3}"#, "forbidden"),
        (r#"{"type":"presence","channel":"news","id":3}"#, "forbidden"),
    ] {
        let mut answer = poller.say(message);
        assert!(!answer["message"].take().as_str().unwrap().is_empty(), "{message}");
        let mut error = json!({ "type": "error", "code": code, "message": null });
        if message.contains("\"id\"") {
            error["id"] = json!(3);
        }
        assert_eq!(answer, error, "{message}");
    }
    assert_eq!(poller.say(r#"{"type":"ping"}"#), json!({ "type": "pong" }));
    assert_eq!(node.metric("roost_subscriptions"), 0);
    node.end();
}

#[test]
fn only_json_is_taken_so_that_no_form_of_another_site_is() {
    let node = talkative(&[]);
    let publish = r#"{"type":"publish","channel":"chat:a","data":1}"#;
    let length = format!("Content-Length: {}", publish.len());
    for kind in [
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: text/plain; application/json",
        "Content-Type: application/jsonp",
        "Content-Type: application/json, text/plain",
        "Content-Type:",
        "X-Content-Type: application/json",
    ] {
        refused(&node, "POST /poll HTTP/1.1", &[kind, &length], publish.as_bytes(), 415, "bad_request");
    }
    let twice = [JSON, JSON, &length];
    refused(&node, "POST /poll HTTP/1.1", &twice, publish.as_bytes(), 400, "bad_request");
    for kind in ["Content-Type: application/json;charset=utf-8", "CONTENT-TYPE: Application/JSON ; x=y"] {
        let (_, answer) = ask(&node, "POST /poll HTTP/1.1", &[kind, &length], publish.as_bytes());
        assert_eq!((answer.status, answer.json()["type"].clone()), (200, json!("published")), "{kind}");
    }
    assert_eq!(node.metric("roost_messages_published_total"), 2);
    node.end();
}

/// A publication whose message has so many bytes.
fn message_of(bytes: usize) -> String {
    let empty = r#"{"type":"publish","channel":"chat:a","data":""}"#;
    empty.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - empty.len())))
}

/// The same in chunks of 1,000 bytes.
fn chunked(message: &str) -> Vec<u8> {
    let chunk = |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut body = message.as_bytes().chunks(1_000).map(chunk).collect::<Vec<_>>().concat();
    body.extend_from_slice(b"0\r\nX-Trailer: y\r\n\r\n");
    body
}

#[test]
fn a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_413() {
    let node = talkative(&["--max-message", "8KiB"]);
    let (fits, large) = (message_of(8192), message_of(8193));
    let mut poller = node.poller();
    assert_eq!(poller.say(&fits)["offset"], 1);
    let chunks = [JSON, "Transfer-Encoding: chunked"];
    let answer = poller
        .wire
        .ask([head("POST /poll HTTP/1.1", &[&[HOST][..], &chunks].concat()), chunked(&fits)].concat());
    assert_eq!((answer.status, answer.json()["offset"].clone()), (200, json!(2)));

    let length = format!("Content-Length: {}", large.len());
    refused(&node, "POST /poll HTTP/1.1", &[JSON, &length], large.as_bytes(), 413, "too_large");
    refused(&node, "POST /poll HTTP/1.1", &chunks, &chunked(&large), 413, "too_large");
    // An announced length is enough, also one that no machine could hold.
    for length in ["8193", "18446744073709551615"] {
        let length = format!("Content-Length: {length}");
        refused(&node, "POST /poll HTTP/1.1", &[JSON, &length], b"", 413, "too_large");
    }
    assert_eq!(node.metric("roost_messages_published_total"), 2);
    node.end();
}

#[test]
fn a_body_may_come_in_any_pieces_and_behind_the_100_that_it_waits_for() {
    let node = talkative(&["--shards", "2"]);
    let mut wire = node.wire();
    let message = r#"{"type":"ping","id":1}"#;
    let lines = ["Transfer-Encoding: chunked", &format!("Content-Length: {}", message.len())];
    for (line, body) in lines.iter().zip([chunked(message), message.into()]) {
        let request = [head("POST /poll HTTP/1.1", &[HOST, JSON, line]), body].concat();
        request.chunks(1).for_each(|byte| wire.send(byte));
        assert_eq!(wire.response().json(), json!({ "type": "pong", "id": 1 }));
    }
    let waits = ["Expect: 100-continue", JSON, lines[1], HOST];
    let answer = wire.ask(head("POST /poll HTTP/1.1", &waits));
    assert_eq!(answer.status, 100, "{answer:?}");
    assert!(wire.is_silent());
    assert_eq!(wire.ask(message).json(), json!({ "type": "pong", "id": 1 }));
    // What will be refused is refused before the body.
    let large = [JSON, "Expect: 100-continue", "Content-Length: 99999999"];
    refused(&node, "POST /poll HTTP/1.1", &large, b"", 413, "too_large");
    let text = ["Content-Type: text/plain", "Expect: 100-continue", "Content-Length: 9"];
    refused(&node, "POST /poll HTTP/1.1", &text, b"", 415, "bad_request");
    // A client of HTTP/1.0 does not know the 100.
    let (_, answer) = ask(&node, "POST /poll HTTP/1.0", &waits[..3], message.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    node.end();
}

#[test]
fn whatever_could_be_two_requests_to_another_reader_is_one_refusal() {
    let node = talkative(&[]);
    // What would be the second request.
    let hidden = call(r#"{"type":"publish","channel":"chat:a","data":"smuggled"}"#);
    let mut body = b"0\r\n\r\n".to_vec();
    body.extend_from_slice(&hidden);
    let length = format!("Content-Length: {}", body.len());
    for (headers, status, code) in [
        (vec![&*length, "Transfer-Encoding: chunked"], 400, "bad_request"),
        (vec!["Transfer-Encoding: chunked", "Content-Length: 5"], 400, "bad_request"),
        (vec![&length, "Content-Length: 5"], 400, "bad_request"),
        (vec!["Content-Length: 5, 5"], 400, "bad_request"),
        (vec!["Content-Length: +5"], 400, "bad_request"),
        (vec!["Content-Length: 0x5"], 400, "bad_request"),
        (vec!["Content-Length: -1"], 400, "bad_request"),
        (vec!["Content-Length : 5"], 400, "bad_request"),
        (vec!["Transfer-Encoding: chunked, identity"], 400, "bad_request"),
        (vec!["Transfer-Encoding: gzip, chunked"], 501, "not_implemented"),
        (vec!["Transfer-Encoding: xchunked"], 501, "not_implemented"),
        (vec!["Transfer-Encoding:"], 400, "bad_request"),
        (vec!["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 400, "bad_request"),
        (vec!["Transfer-Encoding: chunked\n"], 400, "bad_request"),
    ] {
        let headers = [vec![JSON], headers].concat();
        refused(&node, "POST /poll HTTP/1.1", &headers, &body, status, code);
    }
    // A body where none has a meaning must not be read as the next request.
    for line in ["GET /poll?channel=chat:a", "GET /events?channel=chat:a", "OPTIONS /poll", "GET /roost.js"] {
        let length = format!("Content-Length: {}", hidden.len());
        refused(&node, &format!("{line} HTTP/1.1"), &[&length], &hidden, 400, "bad_request");
    }
    refused(&node, "PUT /poll HTTP/1.1", &[JSON, &length], &body, 405, "method_not_allowed");
    assert_eq!(node.metric("roost_messages_published_total"), 0);
    node.end();
}

#[test]
fn a_method_that_a_path_does_not_have_is_405_and_says_which_it_has() {
    let node = Node::start(&[]);
    for (path, allowed, methods) in [
        ("/poll?channel=a", "GET, POST, OPTIONS", &["PUT", "DELETE", "PATCH", "TRACE", "get"][..]),
        ("/events?channel=a", "GET, OPTIONS", &["POST", "PUT", "DELETE"]),
        ("/roost.js", "GET, HEAD", &["POST", "OPTIONS"]),
    ] {
        for method in methods {
            let (mut wire, answer) = ask(&node, &format!("{method} {path} HTTP/1.1"), &[], b"");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
            assert_eq!(answer.error_code(), "method_not_allowed");
            wire.ended();
        }
    }
    for path in ["/nothing", "/poll/", "/echo", "/POLL"] {
        refused(&node, &format!("GET {path} HTTP/1.1"), &[], b"", 404, "not_found");
    }
    node.end();
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let node = Node::start(&[]);
    for (path, status) in
        [("/poll?channel=a", 405), ("/events?channel=a", 405), ("/live", 405), ("/nothing", 404)]
    {
        let mut wire = node.wire();
        wire.send(&head(&format!("HEAD {path} HTTP/1.1"), &[HOST]));
        let got = String::from_utf8(wire.until_end()).unwrap();
        let (fields, body) = got.split_once("\r\n\r\n").unwrap();
        assert!(fields.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        assert!(fields.contains("\r\nContent-Length: ") && body.is_empty(), "{got}");
        assert_eq!(fields.contains("\r\nAllow: "), status == 405, "{got}");
    }
    node.end();
}

#[test]
fn one_connection_polls_speaks_and_becomes_a_websocket_or_a_stream() {
    let node = talkative(&["--shards", "2"]);
    let count = |transport: &str| node.metric_of("roost_clients", &format!("transport=\"{transport}\""));
    for then_stream in [true, false] {
        let mut poller = node.poller();
        for round in 0..50 {
            let since = poller.cursor("chat:a");
            poller.say(json!({ "type": "publish", "channel": "chat:a", "data": round }));
            let (messages, _) = poller.poll(&format!("channel=chat:a&since={since}"));
            assert_eq!((messages.len(), &messages[0]["data"]), (1, &json!(round)));
            assert_eq!((count("poll"), node.metric("roost_connections")), (1, 1));
        }
        let Poller { mut wire } = poller;
        if then_stream {
            let mut stream = Stream::open(wire, "channel=chat:a", &[]);
            assert_eq!((count("poll"), count("sse"), count("websocket")), (0, 1, 0));
            node.publish("chat:a", &json!("now"));
            assert_eq!(stream.event().data["data"], "now");
            drop(stream);
        } else {
            let answer = wire.ask(upgrade("/live?channel=chat:a"));
            assert_eq!((answer.status, answer.header("sec-websocket-accept")), (101, Some(ACCEPT)));
            assert_eq!(wire.message()["type"], "subscribed");
            assert_eq!((count("poll"), count("sse"), count("websocket")), (0, 0, 1));
            wire.send(&frame(TEXT, r#"{"type":"ping"}"#));
            assert_eq!(wire.message(), json!({ "type": "pong" }));
            drop(wire);
        }
        node.await_metric("roost_connections", 0);
        assert_eq!(node.metric("roost_clients"), 0);
    }
    assert_eq!(node.metric("roost_panics_total"), 0);
    node.end();
}

#[test]
fn a_connection_ends_where_the_client_wants_it_to() {
    let node = Node::start(&["--shards", "2"]);
    for (line, headers, stays) in [
        ("GET /poll?channel=a HTTP/1.1", vec![HOST], true),
        ("GET /poll?channel=a HTTP/1.1", vec![HOST, "Connection: keep-alive"], true),
        ("GET /poll?channel=a HTTP/1.1", vec![HOST, "Connection: close"], false),
        ("GET /poll?channel=a HTTP/1.1", vec![HOST, "Connection: x, Close"], false),
        ("GET /poll?channel=a HTTP/1.0", vec![], false),
        ("GET /poll?channel=a HTTP/1.0", vec![HOST, "Connection: Keep-Alive"], true),
        ("OPTIONS /poll HTTP/1.1", vec![HOST, "Connection: close"], false),
    ] {
        let mut wire = node.wire();
        let answer = wire.ask(head(line, &headers));
        let told = if stays { "keep-alive" } else { "close" };
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        assert_eq!(answer.header("connection"), Some(told), "{line} {headers:?}");
        if stays {
            assert_eq!(wire.ask(poll("channel=a")).status, 200);
        } else {
            wire.ended();
        }
    }
    node.end();
}

/// The headers of an answer that concern pages on other origins.
fn cors(answer: &Response) -> [Option<&str>; 2] {
    ["access-control-allow-origin", "vary"].map(|name| answer.header(name))
}

#[test]
fn answers_refusals_and_streams_may_be_read_by_the_origins_on_the_list_and_no_others() {
    let node = Node::start(&["--origin", "https://app.example", "--origin", "http://localhost:3000"]);
    for origin in ["https://app.example", "http://localhost:3000"] {
        let (from, allowed) = (format!("Origin: {origin}"), [Some(origin), Some("Origin")]);
        let (_, answer) = ask(&node, "GET /poll?channel=a HTTP/1.1", &[&from], b"");
        assert_eq!((answer.status, cors(&answer)), (200, allowed));
        let (_, answer) = ask(&node, "GET /events?channel=a HTTP/1.1", &[&from], b"");
        assert_eq!((answer.status, cors(&answer)), (200, allowed));
        let ping = r#"{"type":"ping"}"#;
        let (_, answer) =
            ask(&node, "POST /poll HTTP/1.1", &[&from, JSON, "Content-Length: 15"], ping.as_bytes());
        assert_eq!((answer.status, cors(&answer)), (200, allowed));
        // The page must be able to read why it is refused.
        for (line, status) in
            [("GET /poll", 400), ("GET /events", 400), ("PUT /poll", 405), ("POST /poll", 415)]
        {
            let (_, answer) = ask(&node, &format!("{line} HTTP/1.1"), &[&from], b"");
            assert_eq!((answer.status, cors(&answer)), (status, allowed), "{line}");
        }
        for path in ["/poll", "/events?channel=a"] {
            let asks = [
                &from,
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: content-type,last-event-id,authorization",
            ];
            let (_, answer) = ask(&node, &format!("OPTIONS {path} HTTP/1.1"), &asks, b"");
            assert_eq!((answer.status, cors(&answer)), (204, allowed));
            let allows =
                |what: &str| answer.header(&format!("access-control-allow-{what}")).unwrap().to_lowercase();
            assert!(allows("methods").contains("get") && allows("methods").contains("post"));
            for name in ["content-type", "last-event-id", "authorization"] {
                assert!(allows("headers").split(", ").any(|allowed| allowed == name), "{name}");
            }
            assert!(answer.header("access-control-max-age").unwrap().parse::<u32>().unwrap() >= 60);
        }
    }
    for origin in
        ["https://evil.example", "null", "https://app.example.evil", "http://roost.test", "nonsense"]
    {
        for line in
            ["GET /poll?channel=a", "GET /events?channel=a", "OPTIONS /poll", "OPTIONS /events", "POST /poll"]
        {
            let (mut wire, answer) =
                ask(&node, &format!("{line} HTTP/1.1"), &[&format!("Origin: {origin}")], b"");
            assert_eq!((answer.status, answer.error_code()), (403, "forbidden".into()), "{line} {origin}");
            assert_eq!(cors(&answer)[0], None);
            wire.ended();
        }
    }
    node.end();
}

#[test]
fn a_page_that_was_let_in_does_not_lend_its_origin_to_the_next_on_the_connection() {
    let node = Node::start(&["--origin", "https://app.example"]);
    let mut wire = node.wire();
    let request = |origin: &[&str]| head("GET /poll?channel=a HTTP/1.1", &[&[HOST], origin].concat());
    assert_eq!(cors(&wire.ask(request(&["Origin: https://app.example"])))[0], Some("https://app.example"));
    let answer = wire.ask(request(&[]));
    assert_eq!((answer.status, cors(&answer)[0]), (200, None), "no page asked");
    let answer = wire.ask(request(&["Origin: https://evil.example"]));
    assert_eq!((answer.status, cors(&answer)[0]), (403, None));
    wire.ended();
    let mut wire = node.wire();
    assert_eq!(wire.ask(request(&["Origin: https://app.example"])).status, 200);
    let answer = wire.ask(head("GET /nothing HTTP/1.1", &[HOST]));
    assert_eq!((answer.status, cors(&answer)[0]), (404, None));
    node.end();
}

#[test]
fn by_default_the_own_origin_may_ask_and_with_a_star_everybody_may() {
    let node = Node::start(&[]);
    for (origin, status) in
        [("http://roost.test", 200), ("https://roost.test", 200), ("http://other.test", 403)]
    {
        let (_, answer) = ask(&node, "GET /poll?channel=a HTTP/1.1", &[&format!("Origin: {origin}")], b"");
        assert_eq!((answer.status, cors(&answer)[0]), (status, None), "{origin}");
    }
    node.end();
    let node = Node::start(&["--origin", "*"]);
    for origin in ["http://roost.test", "https://other.test", "null"] {
        for path in ["/poll", "/events"] {
            let (_, answer) =
                ask(&node, &format!("GET {path}?channel=a HTTP/1.1"), &[&format!("Origin: {origin}")], b"");
            assert_eq!((answer.status, cors(&answer)[0]), (200, Some("*")), "{origin}");
        }
    }
    node.end();
}

#[test]
fn who_speaks_too_much_is_told_so_and_then_refused_with_429() {
    let node = Node::start(&[]);
    let mut wire = node.wire();
    // All of them in one moment, however slow the machine is.
    wire.send(&call(r#"{"type":"ping"}"#).repeat(250));
    let (mut pongs, mut told) = (0, 0);
    let refused = loop {
        let answer = wire.response();
        if answer.status != 200 {
            break answer;
        }
        match answer.json()["type"].as_str() {
            Some("pong") => pongs += 1,
            _ => told += usize::from(answer.json()["code"] == "rate_limited"),
        }
    };
    assert!(pongs >= 100 && told >= 50, "{pongs} pongs, {told} times told");
    assert_eq!((refused.status, refused.error_code()), (429, "rate_limited".into()));
    assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
    wire.ended();
    node.end();
}
