//! Frames: what breaks them closes with the right code, and what may be odd is taken.

use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::node::Node;
use crate::wire::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, fragment, frame, raw_frame};

const PING_MESSAGE: &str = r#"{"type":"ping"}"#;
const FIN: u8 = 0x80;

/// Demands that a fresh connection which sends `bytes` is closed with `code`, and hears nothing more.
fn assert_closed(node: &Node, bytes: &[u8], code: u16) {
    let mut wire = node.wire().open("/live");
    wire.send(bytes);
    assert_eq!(wire.closed().0, code, "{:?}", &bytes[..bytes.len().min(40)]);
    wire.ended();
}

/// A frame without a mask.
fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[FIN | opcode, payload.len() as u8], payload].concat()
}

#[test]
fn each_fault_of_a_client_has_its_close_code_and_bystanders_do_not_notice() {
    let node = Node::start(&[]);
    let mut bystander = node.subscriber(&["a"]);
    let two_fragments = [fragment(TEXT, "a"), frame(TEXT, "b")].concat();
    let long_form = [&[FIN | TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0][..], b"{}"].concat();
    let top_bit = [&[FIN | TEXT, 0x80 | 127, 0x80][..], &[0; 11]].concat();
    for (bytes, code) in [
        (unmasked(TEXT, b"{}"), 1002),
        (raw_frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        (raw_frame(FIN | 0x20 | TEXT, b"{}"), 1002),
        (raw_frame(FIN | 0x10 | TEXT, b"{}"), 1002),
        ([fragment(TEXT, "{"), raw_frame(FIN | 0x40 | CONTINUATION, b"}")].concat(), 1002),
        (raw_frame(FIN | 3, b""), 1002),
        (raw_frame(FIN | 11, b""), 1002),
        (frame(PING, [0; 126]), 1002),
        (fragment(PING, ""), 1002),
        (frame(CONTINUATION, "x"), 1002),
        (two_fragments, 1002),
        (long_form, 1002),
        (top_bit, 1002),
        (frame(CLOSE, [3]), 1002),
        (frame(BINARY, "{}"), 1003),
        (frame(TEXT, [0xff]), 1007),
        (frame(TEXT, [0xed, 0xa0, 0x80]), 1007),
        (frame(CLOSE, [3, 0xe8, 0xff]), 1007),
    ] {
        assert_closed(&node, &bytes, code);
    }
    node.publish("a", &1.into());
    assert_eq!(bystander.hear()["data"], 1);
    node.end();
}

#[test]
fn a_close_is_answered_with_its_code_and_one_that_may_not_be_sent_with_1002() {
    let node = Node::start(&[]);
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999] {
        assert_closed(&node, &close(code, "reason"), code);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        assert_closed(&node, &close(code, ""), 1002);
    }
    // Without a code none is answered.
    let mut wire = node.wire().open("/live");
    wire.send(&frame(CLOSE, ""));
    assert_eq!(wire.frame(), (CLOSE, Vec::new()));
    wire.ended();
    node.end();
}

#[test]
fn after_an_invalid_frame_or_a_close_nothing_that_follows_is_processed() {
    let node = Node::start(&[]);
    let mut subscriber = node.subscriber(&["a"]);
    let subscribe = frame(TEXT, r#"{"type":"subscribe","channel":"a"}"#);
    assert_closed(&node, &[raw_frame(FIN | 3, b""), subscribe.clone()].concat(), 1002);
    assert_closed(&node, &[close(1000, ""), subscribe, frame(PING, "")].concat(), 1000);
    assert_eq!(node.metric("roost_subscriptions"), 1);
    subscriber.lives();
    node.end();
}

#[test]
fn bad_utf8_is_refused_before_its_message_is_complete() {
    let node = Node::start(&[]);
    // A frame that announces 100 bytes and sends three.
    let mut wire = node.wire().open("/live");
    wire.send(&[FIN | TEXT, 0x80 | 100, 0, 0, 0, 0, b'a', 0xc3, 0x28]);
    assert_eq!(wire.closed().0, 1007);
    // A fragment, with more to come.
    assert_closed(&node, &fragment(TEXT, [b'a', 0xff]), 1007);
    // A character may be cut between two fragments.
    let mut wire = node.wire().open("/live");
    let [start, end] = ["{\"type\":\"ping\",\"id\":\"\u{e9}".as_bytes(), b"\"}"];
    let (first, second) = start.split_at(start.len() - 1);
    wire.send(&[fragment(TEXT, first), fragment(CONTINUATION, second), frame(CONTINUATION, end)].concat());
    assert_eq!(wire.message()["id"], "é");
    node.end();
}

#[test]
fn a_ping_between_two_fragments_is_answered_before_the_message() {
    let node = Node::start(&[]);
    let mut client = node.client();
    let start = Frame::message(r#"{"type":"#, OpCode::Data(Data::Text), false);
    client.send(Message::Frame(start));
    client.send(Message::Ping("between".into()));
    assert_eq!(client.read(), Message::Pong("between".into()));
    let rest = Frame::message(r#""ping"}"#, OpCode::Data(Data::Continue), true);
    client.send(Message::Frame(rest));
    assert_eq!(client.hear()["type"], "pong");
    client.close();
    node.end();
}

/// A ping message of `bytes` bytes in as many fragments.
fn shredded(bytes: usize) -> Vec<u8> {
    let text = format!("{PING_MESSAGE:bytes$}");
    let pieces = text.as_bytes().chunks(1).enumerate();
    let frames = pieces.map(|(at, piece)| {
        let opcode = if at == 0 { TEXT } else { CONTINUATION };
        if at + 1 == bytes { frame(opcode, piece) } else { fragment(opcode, piece) }
    });
    frames.collect::<Vec<_>>().concat()
}

#[test]
fn a_message_may_have_128_fragments_and_one_more_for_each_32_bytes() {
    let node = Node::start(&[]);
    let mut wire = node.wire().open("/live");
    // 132 bytes earn 128 + 4.
    for bytes in [128, 132] {
        wire.send(&shredded(bytes));
        assert_eq!(wire.message()["type"], "pong", "{bytes}");
    }
    assert_closed(&node, &shredded(133), 1009);
    let empty = [fragment(TEXT, ""), fragment(CONTINUATION, "").repeat(128)].concat();
    assert_closed(&node, &empty, 1009);
    node.end();
}

#[test]
fn a_message_of_exactly_the_limit_is_accepted_and_one_that_announces_more_is_refused_unseen() {
    let node = Node::start(&["--max-message", "1KiB"]);
    let mut wire = node.wire().open("/live");
    wire.send(&frame(TEXT, format!("{PING_MESSAGE:1024}")));
    assert_eq!(wire.message()["type"], "pong");
    // Only the header and its mask: no byte of the payload is waited for.
    wire.send(&[FIN | TEXT, 0x80 | 126, 4, 1, 0, 0, 0, 0]);
    assert_eq!(wire.closed().0, 1009);
    let huge = [&[FIN | TEXT, 0x80 | 127][..], &(1u64 << 62).to_be_bytes(), &[0; 4]].concat();
    assert_closed(&node, &huge, 1009);
    assert_closed(&node, &[fragment(TEXT, [b' '; 1000]), fragment(CONTINUATION, [b' '; 25])].concat(), 1009);
    node.end();
}

#[test]
fn a_client_that_pings_and_does_not_read_costs_one_pong() {
    const PINGS: usize = 100_000;
    let node = Node::start(&["--echo", "--shards", "1", "--send-buffer", "4KiB"]);
    let mut wire = node.narrow_wire().open("/echo");
    let payload = [b'p'; 125];
    for _ in 0..PINGS / 1000 {
        wire.send(&frame(PING, payload).repeat(1000));
    }
    wire.send(&frame(PING, "the last one"));
    let mut pongs = 0;
    loop {
        let (opcode, answer) = wire.frame();
        assert_eq!(opcode, PONG);
        if answer == b"the last one" {
            break;
        }
        assert_eq!(answer, payload);
        pongs += 1;
    }
    // The kernel's buffers and one read's worth of pongs, out of 12 MB.
    assert!(pongs < PINGS / 50, "{pongs} pongs waited for a client that does not read");
    wire.send(&frame(TEXT, "still here"));
    assert_eq!(wire.frame(), (TEXT, b"still here".to_vec()));
    node.end();
}
