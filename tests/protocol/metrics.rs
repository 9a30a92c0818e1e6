//! What `/metrics` says of clients that were kept out or have left: which check, over which transport.

use crate::node::Node;
use crate::wire::{GOOD, TEXT, close, frame, head, upgrade};

/// The good upgrade of `/live` with the line that begins like `line` in its place.
fn instead(line: &str) -> Vec<u8> {
    let name = line.split(':').next().unwrap();
    let replaced: Vec<&str> =
        GOOD.iter().map(|good| if good.starts_with(name) { line } else { good }).collect();
    head("GET /live HTTP/1.1", &replaced)
}

/// The good upgrade of `/live` with one line more.
fn beside(line: &str) -> Vec<u8> {
    head("GET /live HTTP/1.1", &[&GOOD[..], &[line]].concat())
}

#[test]
fn each_refusal_counts_under_the_check_that_was_not_passed() {
    let node = Node::start(&["--shards", "1", "--handshake-timeout", "1s"]);
    let many = (0..200).map(|number| format!("channel={number}&")).collect::<String>();
    let requests: [(&str, Vec<u8>); 12] = [
        ("malformed", b"nonsense\r\n\r\n".to_vec()),
        ("too_large", beside(&format!("X-Long: {}", "x".repeat(9000)))),
        ("http_version", head("GET /live HTTP/1.0", &GOOD)),
        ("method", head("POST /live HTTP/1.1", &GOOD)),
        ("path", head("GET /nowhere HTTP/1.1", &["Host: x"])),
        ("upgrade", head("GET /live HTTP/1.1", &["Host: x"])),
        ("version", instead("Sec-WebSocket-Version: 8")),
        ("key", instead("Sec-WebSocket-Key: short")),
        ("body", beside("Content-Length: 3")),
        ("origin", beside("Origin: https://evil.test")),
        ("channels", head(&format!("GET /live?{many} HTTP/1.1"), &GOOD)),
        ("token", head("GET /events?channel=a HTTP/1.1", &["Host: x", "Authorization: Bearer x"])),
    ];
    for (cause, request) in &requests {
        let mut wire = node.wire();
        wire.send(request);
        assert!(wire.response().status >= 400, "{cause}");
        node.await_metric_of("roost_handshake_failures_total", &format!("cause=\"{cause}\""), 1);
    }
    // Only half a request, and then too late, or gone.
    let mut late = node.wire();
    late.send(b"GET /live");
    assert_eq!(late.response().status, 408);
    let mut gone = node.wire();
    gone.send(b"GET /live");
    gone.end();
    node.await_metric_of("roost_handshake_failures_total", "cause=\"left\"", 1);
    // Who says nothing at all has failed at nothing.
    let mut silent = node.wire();
    silent.end();
    silent.ended();
    node.await_metric("roost_connections", 0);
    let refused = requests.len() as u64 + 1;
    assert_eq!(node.metric("roost_handshake_failures_total"), refused + 1);
    let not_yet = "reason=\"refused\",code=\"0\",transport=\"none\"";
    assert_eq!(node.metric_of("roost_disconnects_total", not_yet), refused - 1);
    assert_eq!(node.metric_of("roost_disconnects_total", "reason=\"peer_gone\",code=\"0\""), 2);
    node.end();
}

#[test]
fn a_token_counts_under_the_reason_against_it_wherever_it_was_shown() {
    let node = Node::start(&["--shards", "1"]);
    let mut by_query = node.wire().open("/live?token=x");
    assert_eq!(by_query.closed().0, 4001);
    let mut by_message = node.wire().open("/live");
    by_message.send(&frame(TEXT, r#"{"type":"auth","token":"x"}"#));
    assert_eq!(by_message.message()["code"], "unauthorized");
    node.await_metric_of("roost_token_refusals_total", "cause=\"shape\"", 2);
    assert_eq!(node.metric("roost_token_refusals_total"), 2);
    // Only the first of them had come with its request.
    assert_eq!(node.metric_of("roost_handshake_failures_total", "cause=\"token\""), 1);
    let signed_out = "reason=\"unauthorized\",code=\"4001\",transport=\"websocket\"";
    assert_eq!(node.metric_of("roost_disconnects_total", signed_out), 1);
    node.end();
}

#[test]
fn each_end_counts_under_the_transport_that_it_was_of() {
    let node = Node::start(&["--shards", "1"]);
    let mut websocket = node.wire();
    websocket.send(&[upgrade("/live"), close(1000, "")].concat());
    websocket.switched();
    assert_eq!(websocket.closed().0, 1000);
    let mut stream = node.wire();
    stream.send(&head("GET /events?channel=a HTTP/1.1", &["Host: x"]));
    stream.block();
    stream.end();
    let mut poll = node.wire();
    poll.send(&head("GET /poll?channel=a&wait=0 HTTP/1.1", &["Host: x", "Connection: close"]));
    assert_eq!(poll.response().status, 200);
    for (reason, transport) in [("peer_closed", "websocket"), ("peer_gone", "sse"), ("answered", "poll")] {
        let labels = format!("reason=\"{reason}\"");
        node.await_metric_of("roost_disconnects_total", &labels, 1);
        let over = |transport: &str| {
            let code = if reason == "peer_closed" { 1000 } else { 0 };
            node.metric_of(
                "roost_disconnects_total",
                &format!("{labels},code=\"{code}\",transport=\"{transport}\""),
            )
        };
        assert_eq!(over(transport), 1, "{reason} over {transport}");
    }
    node.end();
}

#[test]
fn what_turns_and_passes_took_is_measured_and_what_the_kernel_knows_is_told() {
    let node = Node::start(&["--shards", "2"]);
    let mut clients = [node.subscriber(&["a"]), node.subscriber(&["a"]), node.subscriber(&["a"])];
    for number in 1..=5 {
        node.publish("a", &number.into());
        clients.iter_mut().for_each(|client| assert_eq!(client.hear()["data"], number));
    }
    let passes = node.metric("roost_passes_total");
    assert!(passes >= 5, "{passes}");
    // What is asked for in one turn is answered before that turn is measured.
    node.await_metric("roost_pass_seconds_count", node.metric("roost_passes_total"));
    let text = node.get("/metrics").body;
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is missing in\n{text}")).parse().unwrap()
    };
    assert!(value("roost_pass_seconds_bucket{le=\"1.0\"}") >= 5.0);
    assert!(value("roost_pass_seconds_sum") > 0.0);
    assert!(value("roost_turn_seconds_count") > 10.0);
    assert!(value("roost_loop_lag_seconds_count") >= 0.0);
    let busy_s = [0, 1].map(|shard| value(&format!("roost_shard_busy_seconds_total{{shard=\"{shard}\"}}")));
    assert!((busy_s[0] + busy_s[1] - value("roost_turn_seconds_sum")).abs() < 1e-9, "{busy_s:?}");
    assert!(value("roost_shard_answer_seconds{shard=\"1\"}") < 1.0);
    assert!(value("roost_mailbox_bytes{shard=\"0\"}") < 1e6);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_resident_memory_bytes") < value("roost_memory_max_bytes"));
    let age_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
        - value("process_start_time_seconds");
    assert!((-1.0..60.0).contains(&age_s), "{age_s}");
    // Three clients, two shards with a poll, a mailbox and a listener each, the API.
    let open = value("process_open_fds");
    assert!(open > 12.0 && open < value("process_max_fds"), "{open}");
    assert!(value("roost_kernel_listen_overflows_total") >= 0.0);
    assert!(value("roost_kernel_tcp_sockets") >= 3.0);
    node.end();
}

#[test]
fn open_descriptors_grow_with_the_connections() {
    let node = Node::start(&["--shards", "2"]);
    let before = node.metric("process_open_fds");
    let clients: Vec<_> = (0..100).map(|_| node.client()).collect();
    let (open, most) = (node.metric("process_open_fds"), node.metric("process_max_fds"));
    // The connections to the API come and go.
    assert!((95..=105).contains(&(open - before)), "{before} {open} of {} clients", clients.len());
    assert!(open < most, "{open} {most}");
    node.end();
}
