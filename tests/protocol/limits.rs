//! Limits of number, pace and time: what is over them is refused in the designed way, and room that is free is given away.

use std::time::{Duration, Instant};

use roost::limits::{REFUSED_LINGER_MS, REFUSED_MAX};
use serde_json::json;

use crate::client::Client;
use crate::node::Node;
use crate::wire::{CLOSE, PING, PONG, TEXT, Wire, frame, upgrade};

#[test]
fn one_connection_too_many_gets_503_and_when_to_try_again_and_a_free_place_is_given_away() {
    let node = Node::start(&["--max-connections", "2", "--shards", "1"]);
    let first = node.client();
    let mut second = node.client();
    let mut late = node.wire();
    late.send(&upgrade("/live"));
    let response = late.response();
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.header("retry-after").unwrap().parse::<u32>().unwrap() > 0, "{response:?}");
    response.error_code();
    late.ended();
    assert_eq!(node.metric("roost_accepts_refused_total"), 1);
    first.close();
    node.await_metric("roost_connections", 1);
    node.client().lives();
    second.lives();
    node.end();
}

#[test]
fn clients_too_many_read_their_whole_503_whenever_they_send_their_request() {
    const CLIENTS: usize = 200;
    let node = Node::start(&["--max-connections", "1", "--shards", "1"]);
    let only = node.client();
    let demand_refusal = |mut wire: Wire| {
        let response = wire.response();
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
        assert_eq!(response.error_code(), "unavailable");
        wire.ended();
    };
    let connect = |count| -> Vec<Wire> { (0..count).map(|_| node.wire()).collect() };
    // As many as may linger: also a request that comes after the answer finds the connection open.
    for chunk in 0..CLIENTS / 50 {
        let began = Instant::now();
        let mut wires = connect(50);
        if chunk % 2 == 0 {
            wires.iter().for_each(Wire::await_bytes);
        }
        wires.iter_mut().for_each(|wire| wire.send(&upgrade("/live")));
        let reset = wires.iter().filter(|wire| wire.was_reset()).count();
        let in_time = began.elapsed() < Duration::from_millis(REFUSED_LINGER_MS);
        assert!(reset == 0 || !in_time, "{reset} resets");
        wires.into_iter().for_each(demand_refusal);
    }
    // More than may linger: a late request is answered with a reset, and yet they all can read what came before it.
    let mut wires = connect(CLIENTS);
    wires.iter().for_each(Wire::await_bytes);
    wires.iter_mut().for_each(|wire| wire.send(&upgrade("/live")));
    let reset = wires.iter().filter(|wire| wire.was_reset()).count();
    assert!(reset >= CLIENTS - REFUSED_MAX, "{reset} resets: more than {REFUSED_MAX} lingered");
    wires.into_iter().for_each(demand_refusal);
    assert_eq!(node.metric("roost_accepts_refused_total"), 2 * CLIENTS as u64);
    drop(only);
    node.end();
}

#[test]
fn the_limit_is_the_nodes_however_the_kernel_spreads_clients_over_shards() {
    let node = Node::start(&["--max-connections", "5", "--shards", "3"]);
    let mut clients: Vec<Client> = (0..5).map(|_| node.client()).collect();
    let mut late = node.wire();
    late.send(&upgrade("/live"));
    assert_eq!(late.response().status, 503);
    clients.iter_mut().for_each(Client::lives);
    node.end();
}

#[test]
fn a_request_that_is_not_complete_in_time_gets_408() {
    let node = Node::start(&["--handshake-timeout", "300ms"]);
    let began = Instant::now();
    let (mut silent, mut halfway) = (node.wire(), node.wire());
    let request = upgrade("/live");
    halfway.send(&request[..request.len() - 2]);
    for wire in [&mut silent, &mut halfway] {
        let response = wire.response();
        assert_eq!(response.status, 408, "{response:?}");
        assert_eq!(response.error_code(), "timeout");
        wire.ended();
    }
    // A connection is as old as the turn that it came in, which may have waited for the processor since it began.
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?} is too early", began.elapsed());
    assert_eq!(node.metric_of("roost_disconnects_total", "handshake_timeout"), 2);
    node.end();
}

#[test]
fn a_silent_client_is_pinged_and_gone_with_4004_when_it_does_not_answer() {
    let node = Node::start(&["--ping-interval", "200ms", "--idle-timeout", "600ms"]);
    let began = Instant::now();
    let mut wire = node.wire().open("/live");
    let (opcode, payload) = wire.frame();
    assert_eq!((opcode, payload.len() <= 125), (PING, true));
    let (opcode, payload) = wire.frame();
    assert_eq!(opcode, CLOSE, "one ping for one silence");
    assert_eq!(payload[..2], 4004u16.to_be_bytes());
    wire.ended();
    // The first ping comes early by up to the interval, and the silence counts from there.
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?} is too early", began.elapsed());
    node.end();
}

#[test]
fn a_silent_client_that_answers_its_pings_stays() {
    let node = Node::start(&["--ping-interval", "200ms", "--idle-timeout", "2s"]);
    let mut wire = node.wire().open("/live");
    // Eleven pings take longer than the idle timeout.
    for _ in 0..11 {
        let (opcode, payload) = wire.frame();
        assert_eq!(opcode, PING);
        wire.send(&frame(PONG, payload));
    }
    wire.send(&frame(TEXT, r#"{"type":"ping"}"#));
    let answer = loop {
        match wire.frame() {
            (PING, _) => {}
            (opcode, payload) => break (opcode, payload),
        }
    };
    assert_eq!(answer, (TEXT, br#"{"type":"pong"}"#.to_vec()));
    node.end();
}

#[test]
fn a_client_over_its_rate_is_told_so_and_closed_with_1008_when_it_goes_on() {
    let node = Node::start(&[]);
    let mut client = node.client();
    // Far more than the burst of 100, and more than a slow machine lets through at 50 a second.
    for _ in 0..2000 {
        client.say(r#"{"type":"ping"}"#);
    }
    for _ in 0..100 {
        assert_eq!(client.hear()["type"], "pong");
    }
    let refused = loop {
        match client.hear() {
            answer if answer["type"] == "pong" => {}
            answer => break answer,
        }
    };
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("rate_limited")));
    assert_eq!(client.closed().0, 1008);
    node.end();
}

#[test]
fn a_connection_follows_128_channels_and_not_one_more() {
    let node = Node::start(&[]);
    let names: Vec<String> = (0..128).map(|number| format!("channel=c{number}")).collect();
    let mut client = node.client_at(&format!("/live?{}", names.join("&")), None);
    for _ in 0..128 {
        assert_eq!(client.hear()["type"], "subscribed");
    }
    client.refused(r#"{"type":"subscribe","channel":"more"}"#, "too_many_channels");
    assert_eq!(client.ask(r#"{"type":"unsubscribe","channel":"c5"}"#)["type"], "unsubscribed");
    client.subscribe("more");
    assert_eq!(node.metric("roost_subscriptions"), 128);
    node.end();
}

#[test]
fn a_client_that_does_not_read_is_closed_with_4003_and_the_others_hear_everything() {
    let node = Node::start(&["--queue-soft", "64KiB", "--queue-hard", "128KiB", "--send-buffer", "16KiB"]);
    let mut stalled = node.narrow_wire().open("/live?channel=a");
    assert_eq!(stalled.message()["type"], "subscribed");
    let mut reader = node.subscriber(&["a"]);
    let data = json!("x".repeat(32 * 1024));
    let mut published = 0;
    while node.metric_of("roost_disconnects_total", "slow_consumer") == 0 {
        assert!(published < 200, "nothing was cut");
        node.publish("a", &data);
        published += 1;
        assert_eq!(reader.hear()["offset"], published);
    }
    let mut heard = 0;
    let code = loop {
        match stalled.frame() {
            (TEXT, _) => heard += 1,
            (opcode, payload) => break (opcode, payload[..2].to_vec()),
        }
    };
    assert_eq!(code, (CLOSE, 4003u16.to_be_bytes().to_vec()));
    assert!(heard < published, "it heard all {heard}");
    reader.lives();
    node.end();
}
