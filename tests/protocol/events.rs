//! `GET /events`: the same channels and cursors as a stream of events.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fallback::{Stream, epoch};
use crate::node::Node;
use crate::wire::head;

#[test]
fn the_first_bytes_say_when_and_where_to_come_back_and_are_no_event() {
    let node = Node::start(&["--shards", "2"]);
    node.publish("b", &1.into());
    let mut retries = BTreeSet::new();
    for _ in 0..12 {
        let stream = node.stream("channel=a&channel=b&channel=c");
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
            ("connection", "close"),
        ] {
            assert_eq!(stream.head.header(name), Some(value), "{:?}", stream.head);
        }
        for name in ["content-length", "transfer-encoding", "access-control-allow-origin"] {
            assert_eq!(stream.head.header(name), None, "{:?}", stream.head);
        }
        assert!((1_000..=2_000).contains(&stream.retry_ms), "{}", stream.retry_ms);
        retries.insert(stream.retry_ms);
        let [a, b, c] = stream.places()[..] else { panic!("{}", stream.last_id) };
        assert!(a.ends_with("-0") && b.ends_with("-1") && c.ends_with("-0"), "{a} {b} {c}");
        assert_eq!(node.get("/channels/b").json()["cursor"], b);
    }
    assert!(retries.len() > 6, "without jitter they come back together: {retries:?}");
    node.end();
}

#[test]
fn every_id_has_the_places_of_all_channels_in_the_order_of_the_query() {
    for shards in ["1", "2", "3"] {
        let node = Node::start(&["--shards", shards]);
        let names: Vec<String> = [7, 2, 9, 1, 8, 3].map(|number| format!("c{number}")).into();
        let mut heads: Vec<String> = names.iter().map(|name| node.publish(name, &0.into())).collect();
        let query: Vec<String> = names.iter().map(|name| format!("channel={name}")).collect();
        let mut stream = node.stream(&query.join("&"));
        assert_eq!(stream.places(), heads, "{shards} shards");
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..60 {
            let channel = rng.usize(..names.len());
            heads[channel] = node.publish(&names[channel], &json!("x"));
            let offset = stream.hear(&names[channel]);
            assert!(heads[channel].ends_with(&format!("-{offset}")));
            assert_eq!(stream.places(), heads, "{shards} shards");
        }
        node.end();
    }
}

#[test]
fn an_event_says_what_a_websocket_hears_also_where_the_data_has_raw_line_ends() {
    let node = Node::start(&[]);
    let (mut single, mut several) = (node.stream("channel=a"), node.stream("channel=b&channel=a"));
    let mut client = node.subscriber(&["a"]);
    for data in
        ["1", "\"\\n\"", "{\n\"a\": [1,\r\n2],\r\r\"b\":\n\r\n\"\u{2028}\"\n}", "[\n\n\n]", "{ \"x\" : 1 }"]
    {
        assert_eq!(node.post(&format!("{{\"channel\":\"a\",\"data\":{data}}}")).status, 200);
        let heard = client.hear();
        for stream in [&mut single, &mut several] {
            let event = stream.event();
            assert_eq!((&*event.kind, event.data), ("notification", heard.clone()));
        }
        let offset = heard["offset"].as_u64().unwrap();
        assert!(single.last_id.ends_with(&format!("-{offset}")), "{}", single.last_id);
        assert!(several.places()[1] == single.last_id, "{}", several.last_id);
    }
    node.end();
}

#[test]
fn a_stream_goes_on_from_since_and_the_last_event_id_wins_over_it() {
    for shards in ["1", "3"] {
        let node = Node::start(&["--shards", shards]);
        let a = node.publish_all("a", (1..=9).map(Value::from));
        let b = node.publish_all("b", (1..=9).map(Value::from));
        let at = |head: &str, offset: u64| format!("{}-{offset}", epoch(head));
        let mut stream = node.stream(&format!("channel=a&since={}", at(&a, 5)));
        assert_eq!(stream.places(), [at(&a, 5)], "a drop before the first event loses nothing");
        (6..=9).for_each(|offset| assert_eq!(stream.hear("a"), offset));
        let id = format!("Last-Event-ID: {}", at(&a, 7));
        let mut stream = node.stream_with(&format!("channel=a&since={}", at(&a, 2)), &[&id]);
        assert_eq!(stream.places(), [at(&a, 7)]);
        (8..=9).for_each(|offset| assert_eq!(stream.hear("a"), offset));
        assert_eq!(node.publish("a", &10.into()), at(&a, 10));
        assert_eq!(stream.hear("a"), 10);

        // An empty `since` is none: that channel begins at its head. Each channel keeps its own order.
        let id = format!("Last-Event-ID: {},{}", at(&b, 8), at(&a, 6));
        for (query, headers, from) in [
            (format!("channel=b&channel=a&since={}&since=", at(&b, 4)), vec![], [4, 10]),
            (format!("channel=b&channel=a&since={}&since=", at(&b, 4)), vec![&*id], [8, 6]),
        ] {
            let mut stream = node.stream_with(&query, &headers);
            assert_eq!(stream.places(), [at(&b, from[0]), at(&a, from[1])]);
            let mut places = from;
            while places != [9, 10] {
                let event = stream.event();
                let channel = usize::from(event.data["channel"] == "a");
                places[channel] += 1;
                assert_eq!(event.data["offset"], places[channel], "{event:?}");
                assert_eq!(stream.places(), [at(&b, places[0]), at(&a, places[1])]);
            }
        }
        node.end();
    }
}

#[test]
fn what_a_cursor_cannot_bring_back_is_a_gap_event_and_never_silence() {
    for shards in ["1", "3"] {
        let node = Node::start(&["--history", "3", "--shards", shards]);
        let head = node.publish_all("a", (1..=10).map(Value::from));
        let fresh = node.stream("channel=new").last_id;
        let at = |offset: u64| format!("{}-{offset}", epoch(&head));
        let gap = |from: u64, to: u64| json!({ "type": "gap", "channel": "a", "from": from, "to": to, "cursor": at(to) });
        for (since, announced, rest) in [
            (at(2), gap(3, 7), &[8, 9, 10][..]),
            ("elsewhere-2".into(), gap(1, 10), &[]),
            ("elsewhere-0".into(), gap(1, 10), &[]),
            (at(11), gap(1, 10), &[]),
            (format!("{}-18446744073709551615", epoch(&head)), gap(1, 10), &[]),
        ] {
            let mut stream = node.stream(&format!("channel=a&since={since}"));
            assert_eq!(stream.last_id, since, "who is cut now has missed no more than it had before");
            let event = stream.event();
            assert_eq!((&*event.kind, &event.data), ("gap", &announced));
            assert_eq!(event.data["cursor"], *stream.last_id);
            for offset in rest {
                assert_eq!((stream.hear("a"), &stream.last_id), (*offset, &at(*offset)));
            }

            // Beside a channel that lost everything too.
            let mut stream = node.stream(&format!("channel=new&since=elsewhere-7&channel=a&since={since}"));
            assert_eq!(stream.places(), ["elsewhere-7", &*since]);
            let (mut of_new, mut of_a) = (Vec::new(), Vec::new());
            while of_new.is_empty() || of_a.len() <= rest.len() {
                let event = stream.event();
                if event.data["channel"] == "new" { of_new.push(event) } else { of_a.push(event) }
            }
            let nothing = json!({ "type": "gap", "channel": "new", "from": 1, "to": 0, "cursor": fresh });
            assert_eq!((&*of_new[0].kind, &of_new[0].data), ("gap", &nothing));
            assert_eq!((&*of_a[0].kind, &of_a[0].data), ("gap", &announced));
            let offsets: Vec<u64> =
                of_a[1..].iter().map(|event| event.data["offset"].as_u64().unwrap()).collect();
            assert_eq!(offsets, rest);
            assert_eq!(stream.places(), [&*fresh, &*head]);
        }
        node.end();
    }
}

#[test]
fn a_past_much_larger_than_a_queue_arrives_whole_on_a_stream_of_one_and_of_several_channels() {
    let queues = ["--queue-soft", "8KiB", "--queue-hard", "16KiB", "--max-message", "16KiB"];
    let node =
        Node::start(&[&queues[..], &["--send-buffer", "8KiB", "--shards", "2", "--history", "400"]].concat());
    let pad = "x".repeat(2_000);
    let publish = |channel: &str| node.publish_all(channel, (1..=300).map(|number| json!([number, pad])));
    let begin = |channel: &str| format!("channel={channel}&since={}-0", epoch(&publish(channel)));
    for names in [&["a"][..], &["b", "c", "d"]] {
        let query: Vec<String> = names.iter().map(|name| begin(name)).collect();
        let mut stream = Stream::open(node.narrow_wire(), &query.join("&"), &[]);
        let mut next = vec![1; names.len()];
        for _ in 0..300 * names.len() {
            let event = stream.event();
            let channel = names.iter().position(|name| event.data["channel"] == *name).unwrap();
            assert_eq!(event.data["offset"], next[channel], "{event:?}");
            assert!(stream.places()[channel].ends_with(&format!("-{}", next[channel])), "{}", stream.last_id);
            next[channel] += 1;
        }
        for data in ["live", "again"] {
            node.publish(names[0], &data.into());
            assert_eq!(stream.event().data["data"], data);
        }
    }
    node.end();
}

#[test]
fn a_drain_tells_a_stream_when_to_come_back_and_ends_it() {
    let mut node = Node::start(&["--drain-over", "5s", "--shards", "2"]);
    let mut streams = [node.stream("channel=a"), node.stream("channel=a&channel=b")];
    node.publish("a", &1.into());
    streams.iter_mut().for_each(|stream| assert_eq!(stream.hear("a"), 1));
    node.signal(Signal::TERM);
    for stream in &mut streams {
        let block = stream.block();
        let [retry] = &block[..] else { panic!("{block:?}") };
        let retry_ms: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
        assert!(retry_ms <= 5_000, "{retry_ms}");
        stream.wire.ended();
    }
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_stream_that_its_client_leaves_is_forgotten_with_its_channels() {
    let node = Node::start(&["--shards", "2"]);
    let streams = [node.stream("channel=a"), node.stream("channel=a&channel=b&channel=c")];
    assert_eq!(node.metric_of("roost_clients", "transport=\"sse\""), 2);
    assert_eq!(node.metric("roost_subscriptions"), 4);
    assert_eq!(node.metric("roost_streams_total"), 2);
    drop(streams);
    node.await_metric("roost_connections", 0);
    assert_eq!(node.metric("roost_clients"), 0);
    assert_eq!(node.metric("roost_subscriptions"), 0);
    assert_eq!(node.metric("roost_panics_total"), 0);
    node.end();
}

#[test]
fn an_http_1_0_client_gets_a_stream_too() {
    let node = Node::start(&[]);
    let mut wire = node.wire();
    let answer = wire.ask(head("GET /events?channel=a HTTP/1.0", &["X: y"]));
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(wire.block().starts_with("retry: "));
    node.publish("a", &1.into());
    assert!(wire.block().starts_with("event: notification\n"));
    node.end();
}

#[test]
fn a_stream_that_cannot_be_is_refused_with_its_status_and_code() {
    let node = Node::start(&[]);
    let many: Vec<String> = (0..129).map(|number| format!("channel=c{number}")).collect();
    for (query, headers, code) in [
        ("", vec![], "bad_request"),
        ("channel=a%20b", vec![], "bad_channel"),
        ("channel=", vec![], "bad_channel"),
        ("channel=a&channel=b&channel=a", vec![], "bad_request"),
        (&many.join("&"), vec![], "too_many_channels"),
        ("channel=a&since=nonsense", vec![], "bad_request"),
        ("channel=a&since=E-1&since=E-2", vec![], "bad_request"),
        ("channel=a&channel=b&since=E-1", vec![], "bad_request"),
        ("channel=a", vec!["Last-Event-ID: nonsense"], "bad_request"),
        ("channel=a", vec!["Last-Event-ID: E-1,E-2"], "bad_request"),
        ("channel=a&channel=b", vec!["Last-Event-ID: E-1"], "bad_request"),
        ("channel=a&channel=b", vec!["Last-Event-ID: E-1,"], "bad_request"),
        ("channel=a", vec!["Last-Event-ID: E-1", "Last-Event-ID: E-1"], "bad_request"),
        ("channel=a", vec!["Content-Length: 1"], "bad_request"),
    ] {
        let mut wire = node.wire();
        let headers = [vec!["Host: roost.test"], headers].concat();
        let answer = wire.ask(head(&format!("GET /events?{query} HTTP/1.1"), &headers));
        assert_eq!((answer.status, answer.error_code()), (400, code.into()), "{query:.80} {headers:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        wire.ended();
    }
    // An empty one is none: a browser that has not heard any id sends none either.
    assert!(node.stream_with("channel=a", &["Last-Event-ID:"]).last_id.ends_with("-0"));
    let most = node.stream(&many[..128].join("&"));
    assert_eq!(most.places().len(), 128);
    node.end();
}
