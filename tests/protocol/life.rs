//! How a node begins and how it ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::node::{Node, refused};
use crate::wire::{Wire, close, upgrade};

fn says_goodbye(signal: Signal) {
    let mut node = Node::start(&["--drain-over", "8s", "--shards", "2"]);
    let mut clients = [node.subscriber(&["a"]), node.client(), node.subscriber(&["a", "b"])];
    let mut halfway = node.wire();
    halfway.send(&upgrade("/live")[..20]);
    node.await_metric("roost_connections", 4);
    node.signal(signal);
    for client in &mut clients {
        let (code, reason) = client.closed();
        assert_eq!(code, 1001, "{reason}");
        let after = reason.split_once("retry_after_ms=").unwrap_or_else(|| panic!("{reason}")).1;
        assert!(after.parse::<u64>().unwrap() <= 8000, "{reason}");
    }
    assert_eq!(halfway.response().status, 503);
    drop(halfway);
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.contains("descriptor limit"), "the start says how many connections fit: {log}");
}

#[test]
fn sigterm_closes_everyone_with_1001_and_a_time_to_come_back_and_ends_with_exit_code_0() {
    says_goodbye(Signal::TERM);
}

#[test]
fn sigint_does_the_same() {
    says_goodbye(Signal::INT);
}

#[test]
fn a_drain_ends_as_soon_as_the_last_client_is_gone() {
    let mut node = Node::start(&["--drain-over", "1h"]);
    let mut client = node.client();
    let began = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(client.closed().0, 1001);
    drop(client);
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_draining_node_is_not_ready_yet_alive_and_gives_nobody_a_101() {
    let mut node = Node::start(&["--drain-over", "1h"]);
    // It hears the goodbye and does not leave: the node waits for it a moment.
    let mut stuck = node.wire().open("/live");
    node.signal(Signal::TERM);
    assert_eq!(stuck.closed().0, 1001);
    assert_eq!(node.get("/readyz").error_code(), "unavailable");
    assert_eq!(node.get("/healthz").status, 200);
    if let Ok(stream) = std::net::TcpStream::connect(&node.public) {
        let mut late = Wire::from(stream);
        late.send(&upgrade("/live"));
        assert_eq!(late.response().status, 503);
    }
    stuck.send(&close(1001, ""));
    drop(stuck);
    assert_eq!(node.wait().0.code(), Some(0));
}

#[test]
fn a_shard_that_nobody_is_left_on_still_answers_while_another_one_drains() {
    let mut node = Node::start(&["--drain-over", "1h", "--shards", "4"]);
    let mut stuck = node.wire().open("/live");
    node.signal(Signal::TERM);
    assert_eq!(stuck.closed().0, 1001);
    // Three of the four shards are done already.
    assert_eq!(node.metric("roost_ready"), 0);
    assert_eq!(node.metric("roost_shard_up"), 4);
    assert_eq!(node.get("/channels").json()["channels"], serde_json::json!([]));
    for number in 0..8 {
        node.publish(&format!("c{number}"), &number.into());
    }
    drop(stuck);
    assert_eq!(node.wait().0.code(), Some(0));
}

#[test]
fn a_second_node_on_the_same_port_ends_with_exit_code_1_and_a_message_that_names_it() {
    let node = Node::start(&["--shards", "2"]);
    for (option, taken, other) in [("--listen", &node.public, "--api"), ("--api", &node.api, "--listen")] {
        let (code, words) = refused(&[option, taken, other, "127.0.0.1:0", "--shards", "2"]);
        assert_eq!(code, 1, "{words}");
        assert!(words.contains(&format!("error: {option} {taken}: ")), "{words}");
        assert_eq!(words.matches("error").count(), 1, "{words}");
    }
    node.client().lives();
    node.end();
}

#[test]
fn more_connections_than_the_host_carries_are_refused_at_the_start_with_the_limit_and_the_remedy() {
    let free = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];
    let (code, words) = refused(&[&free[..], &["--max-connections", "1000000000"]].concat());
    assert_eq!(code, 1, "{words}");
    // Which limit comes first is the host's affair; each of them can be raised.
    for part in ["--max-connections 1000000000: ", " carr", "raise"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn an_api_on_a_socket_path_serves_and_leaves_no_file_behind() {
    let path = std::env::temp_dir().join(format!("roost-protocol-{}.sock", std::process::id()));
    let mut node = Node::start(&["--api", &format!("unix:{}", path.display())]);
    assert_eq!(node.api, format!("unix:{}", path.display()));
    assert!(path.exists());
    node.client().lives();
    node.signal(Signal::TERM);
    let (status, log) = node.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!path.exists(), "the socket file is left behind");
}
