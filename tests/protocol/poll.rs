//! `GET /poll`: answered at once, or held until there is something; the cursors say where to go on.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fallback::{Poller, call, epoch, poll};
use crate::node::Node;
use crate::wire::head;

/// The offsets of notifications; demands that there is nothing else.
fn offsets(messages: &[Value]) -> Vec<u64> {
    let offset = |message: &Value| {
        assert_eq!(message["type"], "notification", "{message}");
        message["offset"].as_u64().unwrap()
    };
    messages.iter().map(offset).collect()
}

/// A poll of these channels, each from its place.
fn query(places: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        places.iter().map(|(channel, since)| format!("channel={channel}&since={since}")).collect();
    pairs.join("&")
}

/// Waits until so many polls have been begun.
fn await_polls(node: &Node, count: u64) {
    node.await_metric("roost_polls_total", count);
}

#[test]
fn without_a_place_the_answer_is_the_place_and_with_the_head_there_is_nothing_newer() {
    for shards in ["1", "3"] {
        let node = Node::start(&["--shards", shards]);
        let mut poller = node.poller();
        let fresh = poller.cursor("a");
        assert!(fresh.ends_with("-0"), "{fresh}");
        let head = node.publish("a", &1.into());
        assert_eq!(poller.cursor("a"), head);
        let (messages, cursors) = poller.poll(&format!("channel=a&since={head}&wait=0"));
        assert_eq!((messages, cursors), (vec![], json!({ "a": head })));
        // An empty `since` is none.
        assert_eq!(poller.poll("channel=a&since=&wait=55"), (vec![], json!({ "a": head })));
        // A channel without publications is forgotten with its last subscriber, and yet its place is good.
        let nobody = poller.cursor("nobody");
        let (messages, cursors) = poller.poll(&format!("channel=nobody&since={nobody}&wait=0"));
        assert_eq!((messages, cursors), (vec![], json!({ "nobody": nobody })));
        node.end();
    }
}

#[test]
fn what_is_newer_comes_at_once_and_as_a_websocket_hears_it() {
    let node = Node::start(&["--shards", "2"]);
    let (mut client, mut poller) = (node.subscriber(&["a"]), node.poller());
    let fresh = poller.cursor("a");
    let began = Instant::now();
    for data in ["1", "{ \"n\": 1.00 }", "[\r\n1,\n2]", "\"\\u00e9\""] {
        assert_eq!(node.post(&format!("{{\"channel\":\"a\",\"data\":{data}}}")).status, 200);
    }
    let heard: Vec<Value> = (0..4).map(|_| client.hear()).collect();
    let (messages, cursors) = poller.poll(&format!("channel=a&since={fresh}&wait=55"));
    assert_eq!((messages, cursors), (heard, json!({ "a": format!("{}-4", epoch(&fresh)) })));
    assert!(began.elapsed() < Duration::from_secs(50), "it was held");
    node.end();
}

#[test]
fn the_data_in_an_answer_is_the_publishers_byte_for_byte() {
    let node = Node::start(&[]);
    let mut poller = node.poller();
    let fresh = poller.cursor("a");
    let odd = [r#"{ "n": 1.00, "n": 12345678901234567890123, "e":1E+2 }"#, r#""\u00e9\/é""#, "null"];
    for data in odd {
        assert_eq!(node.post(&format!(r#"{{"channel":"a","data":{data}}}"#)).status, 200);
    }
    let answer = poller.wire.ask(poll(&format!("channel=a&since={fresh}")));
    for data in odd {
        assert!(answer.body.contains(&format!(r#""data":{data},"timestamp""#)), "{}", answer.body);
    }
    node.end();
}

#[test]
fn a_held_poll_is_answered_by_the_next_publication_and_the_next_goes_on_behind_it() {
    for shards in ["1", "2", "3"] {
        let node = Node::start(&["--shards", shards]);
        let mut pollers: Vec<Poller> = (0..6).map(|_| node.poller()).collect();
        let mut since = pollers[0].cursor("a");
        for round in 1..=8 {
            pollers.iter_mut().for_each(|poller| poller.begin(&format!("channel=a&since={since}")));
            await_polls(&node, 1 + round * 6);
            assert!(pollers.iter_mut().all(|poller| poller.wire.is_silent()));
            assert_eq!(node.metric_of("roost_clients", "transport=\"poll\""), 6);
            since = node.publish("a", &round.into());
            for poller in &mut pollers {
                let (messages, cursors) = poller.answer();
                assert_eq!((offsets(&messages), &messages[0]["data"]), (vec![round], &json!(round)));
                assert_eq!(cursors, json!({ "a": since }));
            }
        }
        assert_eq!(node.metric("roost_subscriptions"), 0, "an answered poll follows nothing");
        assert_eq!(node.metric_of("roost_clients", "transport=\"poll\""), 6);
        drop(pollers);
        node.await_metric("roost_connections", 0);
        assert_eq!(node.metric("roost_clients"), 0);
        node.end();
    }
}

#[test]
fn a_poll_whose_time_is_over_is_answered_with_the_same_place() {
    let node = Node::start(&["--shards", "2"]);
    let mut poller = node.poller();
    let (a, b) = (poller.cursor("a"), poller.cursor("b"));
    let began = Instant::now();
    let (messages, cursors) = poller.poll(&format!("{}&wait=1", query(&[("a", &a), ("b", &b)])));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((messages, cursors), (vec![], json!({ "a": a, "b": b })));
    // And the connection goes on.
    assert_eq!(poller.cursor("a"), a);
    node.end();
}

#[test]
fn wait_is_a_number_of_seconds_up_to_55() {
    let node = Node::start(&[]);
    let head = node.publish("a", &1.into());
    let since = format!("{}-0", epoch(&head));
    for wait in ["0", "1", "25", "55", "007", "%35%35"] {
        let (messages, _) = node.poller().poll(&format!("channel=a&since={since}&wait={wait}"));
        assert_eq!(offsets(&messages), [1], "{wait}");
    }
    for wait in ["56", "-1", "+1", "1.5", "", "x", "1e1", "0x1", "1s", "%20", "99999999999999999999"] {
        let answer = node.wire().ask(poll(&format!("channel=a&since={since}&wait={wait}")));
        assert_eq!((answer.status, answer.error_code()), (400, "bad_request".into()), "{wait}");
    }
    node.end();
}

#[test]
fn one_channel_without_a_place_is_enough_to_be_answered_at_once() {
    for shards in ["1", "2", "3"] {
        let node = Node::start(&["--shards", shards]);
        let mut poller = node.poller();
        let (a, b) = (node.publish_all("a", (1..=3).map(Value::from)), node.publish("b", &1.into()));
        let began = Instant::now();
        let (messages, cursors) =
            poller.poll(&format!("channel=a&channel=b&channel=c&since={a}&since=&since=&wait=55"));
        assert_eq!(messages, [] as [Value; 0]);
        assert_eq!((&cursors["a"], &cursors["b"]), (&json!(a), &json!(b)));
        assert!(cursors["c"].as_str().unwrap().ends_with("-0"), "{cursors}");
        let behind = format!("{}-1", epoch(&a));
        let (messages, cursors) = poller.poll(&format!("channel=b&channel=a&since=&since={behind}&wait=55"));
        assert_eq!((offsets(&messages), cursors), (vec![2, 3], json!({ "a": a, "b": b })));
        assert!(began.elapsed() < Duration::from_secs(50), "it was held");
        node.end();
    }
}

#[test]
fn a_poll_of_several_channels_is_answered_by_any_of_them() {
    for shards in ["1", "2", "3"] {
        let node = Node::start(&["--shards", shards]);
        let names = ["a", "b", "c", "d", "e"];
        let mut poller = node.poller();
        let mut places = names.map(|name| poller.cursor(name));
        for round in 0..20 {
            let named: Vec<_> = names.iter().zip(&places).map(|(name, place)| (*name, &**place)).collect();
            poller.begin(&query(&named));
            await_polls(&node, 5 + round + 1);
            let channel = round as usize % names.len();
            places[channel] = node.publish(names[channel], &round.into());
            let (messages, cursors) = poller.answer();
            assert_eq!((messages.len(), &messages[0]["data"]), (1, &json!(round)));
            names.iter().zip(&places).for_each(|(name, place)| assert_eq!(cursors[name], *place));
        }
        node.end();
    }
}

#[test]
fn what_a_cursor_cannot_bring_back_is_a_gap_in_its_place_and_never_silence() {
    for shards in ["1", "3"] {
        let node = Node::start(&["--history", "3", "--shards", shards]);
        let head = node.publish_all("a", (1..=10).map(Value::from));
        let mut poller = node.poller();
        let fresh = poller.cursor("new");
        let at = |offset: u64| format!("{}-{offset}", epoch(&head));
        let gap = |from: u64, to: u64| json!({ "type": "gap", "channel": "a", "from": from, "to": to, "cursor": at(to) });
        for (since, announced, rest) in [
            (at(2), gap(3, 7), vec![8, 9, 10]),
            ("elsewhere-2".into(), gap(1, 10), vec![]),
            (at(11), gap(1, 10), vec![]),
            (format!("{}-18446744073709551615", epoch(&head)), gap(1, 10), vec![]),
        ] {
            for wait in ["0", "55"] {
                let (messages, cursors) = poller.poll(&format!("channel=a&since={since}&wait={wait}"));
                assert_eq!((&messages[0], offsets(&messages[1..])), (&announced, rest.clone()));
                assert_eq!(cursors, json!({ "a": head }));
                let pair = query(&[("new", "elsewhere-1"), ("a", &since)]);
                let (messages, cursors) = poller.poll(&format!("{pair}&wait={wait}"));
                assert_eq!(cursors, json!({ "new": fresh, "a": head }));
                let (of_new, of_a): (Vec<Value>, Vec<Value>) =
                    messages.into_iter().partition(|message| message["channel"] == "new");
                let nothing = json!({ "type": "gap", "channel": "new", "from": 1, "to": 0, "cursor": fresh });
                assert_eq!(
                    (of_new, &of_a[0], offsets(&of_a[1..])),
                    (vec![nothing], &announced, rest.clone())
                );
            }
        }
        node.end();
    }
}

#[test]
fn a_long_past_comes_in_answers_of_256_kib_at_most_and_the_cursors_lead_through_it() {
    const BATCH_BYTES_MAX: usize = 256 * 1024;
    for shards in ["1", "2"] {
        let node = Node::start(&["--history", "1000", "--shards", shards]);
        let pad = "x".repeat(3_000);
        // Of each channel an answer takes one page: these are more than fit into it.
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let mut places = names.map(|name| {
            let head = node.publish_all(name, (1..=40).map(|number| json!([number, pad])));
            format!("{}-0", epoch(&head))
        });
        let mut poller = node.poller();
        let (mut next, mut full) = ([1; 12], 0);
        while next != [41; 12] {
            let named: Vec<_> = names.iter().zip(&places).map(|(name, place)| (*name, &**place)).collect();
            let answer = poller.wire.ask(poll(&query(&named)));
            let kept = answer.header("connection") == Some("keep-alive");
            assert!(answer.status == 200 && kept, "{} {kept}", answer.status);
            assert!(answer.body.len() < BATCH_BYTES_MAX + 1_024, "{} bytes", answer.body.len());
            full += usize::from(answer.body.len() > BATCH_BYTES_MAX - 4_000);
            let body = answer.json();
            let messages = body["messages"].as_array().unwrap();
            assert!(!messages.is_empty(), "{body}");
            for message in messages {
                let channel = names.iter().position(|name| message["channel"] == *name).unwrap();
                assert_eq!(
                    (&message["type"], &message["offset"]),
                    (&json!("notification"), &json!(next[channel]))
                );
                assert_eq!(message["data"][0], next[channel]);
                next[channel] += 1;
            }
            for ((name, place), next) in names.iter().zip(&mut places).zip(next) {
                assert_eq!(body["cursors"][name], format!("{}-{}", epoch(place), next - 1));
                *place = body["cursors"][name].as_str().unwrap().to_owned();
            }
        }
        assert!(full >= 3, "{full} answers were full");
        node.end();
    }
}

#[test]
fn who_ends_its_side_behind_its_request_still_gets_the_whole_answer() {
    let node = Node::start(&["--send-buffer", "8KiB"]);
    let pad = "x".repeat(3_000);
    let names = ["a", "b", "c", "d", "e", "f"];
    let pairs = names.map(|name| {
        let head = node.publish_all(name, (1..=20).map(|number| json!([number, pad])));
        format!("channel={name}&since={}-0", epoch(&head))
    });
    let mut poller = Poller::from(node.narrow_wire());
    poller.begin(&pairs.join("&"));
    poller.wire.end();
    poller.wire.await_bytes();
    // Long enough for the node to have seen the end.
    node.publish("a", &21.into());
    let (messages, _) = poller.answer();
    assert!(messages.len() > 50, "{}", messages.len());
    poller.wire.ended();
    node.await_metric("roost_connections", 0);
    node.end();
}

#[test]
fn a_message_larger_than_a_batch_comes_alone() {
    let options = ["--max-message", "1MiB", "--queue-hard", "4MiB", "--shards", "2"];
    let node = Node::with_config("[channels.a]\nclients_may_publish = true\n", &options);
    let mut poller = node.poller();
    let mut since = poller.cursor("a");
    for data in [json!(1), json!("x".repeat(300_000)), json!(3), json!(4)] {
        let answer = poller.say(json!({ "type": "publish", "channel": "a", "data": data }));
        assert_eq!(answer["type"], "published", "{answer}");
    }
    for batch in [&[1][..], &[2], &[3, 4]] {
        let (messages, cursors) = poller.poll(&format!("channel=a&since={since}&wait=0"));
        assert_eq!(offsets(&messages), batch);
        since = cursors["a"].as_str().unwrap().to_owned();
    }
    node.end();
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order_also_behind_one_that_is_held() {
    for shards in ["1", "2", "3"] {
        let node = Node::start(&["--shards", shards]);
        let mut poller = node.poller();
        let (a, b) = (poller.cursor("a"), poller.cursor("b"));
        let ping = call(r#"{"type":"ping","id":9}"#);
        let requests = [
            poll("channel=b"),
            ping.clone(),
            poll(&format!("channel=a&since={a}")),
            ping.clone(),
            poll("channel=a"),
            poll(&format!("channel=b&since={b}&wait=0")),
        ];
        let glued = requests.concat();
        // In one segment; in two, cut anywhere; and byte by byte.
        let cuts = (0..glued.len()).step_by(97).map(|cut| vec![&glued[..cut], &glued[cut..]]);
        let pieces = cuts.chain([glued.chunks(1).collect()]);
        for (round, pieces) in pieces.enumerate() {
            pieces.into_iter().filter(|piece| !piece.is_empty()).for_each(|piece| poller.wire.send(piece));
            if round == 0 {
                assert_eq!(poller.answer(), (vec![], json!({ "b": b })));
                assert_eq!(poller.wire.response().json(), json!({ "type": "pong", "id": 9 }));
                await_polls(&node, 4);
                assert!(poller.wire.is_silent());
                node.publish("a", &1.into());
            } else {
                poller.answer();
                poller.wire.response();
            }
            let head = format!("{}-1", epoch(&a));
            let (messages, cursors) = poller.answer();
            assert_eq!((offsets(&messages), cursors), (vec![1], json!({ "a": head })));
            assert_eq!(poller.wire.response().json(), json!({ "type": "pong", "id": 9 }));
            assert_eq!(poller.answer(), (vec![], json!({ "a": head })));
            assert_eq!(poller.answer(), (vec![], json!({ "b": b })));
        }
        assert_eq!(node.metric("roost_panics_total"), 0);
        node.end();
    }
}

#[test]
fn a_client_that_goes_while_its_poll_is_held_is_forgotten_with_its_channels() {
    let node = Node::start(&["--shards", "3"]);
    let mut pollers: Vec<Poller> = (0..20).map(|_| node.poller()).collect();
    for poller in &mut pollers {
        let [a, b] = ["a", "b"].map(|name| poller.cursor(name));
        poller.begin(&query(&[("a", &a), ("b", &b)]));
    }
    await_polls(&node, 60);
    node.await_metric("roost_subscriptions", 40);
    assert_eq!(node.metric_of("roost_clients", "transport=\"poll\""), 20);
    let mut stays = pollers.pop().unwrap();
    drop(pollers);
    node.await_metric("roost_connections", 1);
    assert_eq!(node.metric("roost_subscriptions"), 2);
    node.publish("a", &1.into());
    assert_eq!(offsets(&stays.answer().0), [1]);
    drop(stays);
    node.await_metric("roost_connections", 0);
    assert_eq!((node.metric("roost_clients"), node.metric("roost_subscriptions")), (0, 0));
    assert_eq!(node.metric("roost_panics_total"), 0);
    node.end();
}

#[test]
fn a_drain_answers_held_polls_and_says_that_the_connection_ends() {
    let mut node = Node::start(&["--drain-over", "8s", "--shards", "3"]);
    let mut pollers: Vec<Poller> = (0..6).map(|_| node.poller()).collect();
    let mut idle = node.poller();
    let (a, b) = (idle.cursor("a"), idle.cursor("b"));
    pollers.iter_mut().for_each(|poller| poller.begin(&query(&[("a", &a), ("b", &b)])));
    await_polls(&node, 8);
    node.await_metric("roost_subscriptions", 12);
    node.signal(Signal::TERM);
    for poller in &mut pollers {
        let answer = poller.wire.response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
        assert_eq!(answer.json(), json!({ "messages": [], "cursors": { "a": a, "b": b } }));
        poller.wire.ended();
    }
    idle.wire.ended();
    drop((pollers, idle));
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_poll_that_cannot_be_is_refused_with_its_status_and_code() {
    let node = Node::start(&[]);
    let many: Vec<String> = (0..129).map(|number| format!("channel=c{number}&since=")).collect();
    for (query, headers, code) in [
        ("", vec![], "bad_request"),
        ("wait=0", vec![], "bad_request"),
        ("channel=a%20b", vec![], "bad_channel"),
        ("channel=", vec![], "bad_channel"),
        ("channel=a&channel=a", vec![], "bad_request"),
        (&many.join("&"), vec![], "too_many_channels"),
        ("channel=a&since=nonsense", vec![], "bad_request"),
        ("channel=a&since=E-", vec![], "bad_request"),
        ("channel=a&since=E-01x", vec![], "bad_request"),
        ("channel=a&since=E-18446744073709551616", vec![], "bad_request"),
        ("channel=a&since=E-1&since=E-2", vec![], "bad_request"),
        ("channel=a&channel=b&since=E-1", vec![], "bad_request"),
        ("channel=a", vec!["Content-Length: 1"], "bad_request"),
        ("channel=a", vec!["Transfer-Encoding: chunked"], "bad_request"),
        ("channel=a", vec!["Content-Length: 0", "Transfer-Encoding: chunked"], "bad_request"),
    ] {
        let mut wire = node.wire();
        let headers = [vec!["Host: roost.test"], headers].concat();
        let answer = wire.ask(head(&format!("GET /poll?{query} HTTP/1.1"), &headers));
        assert_eq!((answer.status, answer.error_code()), (400, code.into()), "{query:.80} {headers:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        wire.ended();
    }
    let (messages, cursors) = node.poller().poll(&many[..128].join("&"));
    assert_eq!((messages.len(), cursors.as_object().unwrap().len()), (0, 128));
    assert_eq!(node.metric("roost_panics_total"), 0);
    node.end();
}
