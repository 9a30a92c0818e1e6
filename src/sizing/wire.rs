//! Bytes on the wire, at the level of IP: what a network bills. IPv4, TCP with timestamps as Linux has them, no TLS. Must never
//! know how many connections there are.

use super::measured::{POLL_ANSWER, POLL_REQUEST};

/// Bytes that go either way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bytes {
    /// From the node.
    pub down: f64,
    /// To the node.
    pub up: f64,
}

impl Bytes {
    /// Both.
    #[must_use]
    pub fn sum(self) -> f64 {
        self.down + self.up
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { down: self.down * factor, up: self.up * factor }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { down: self.down + other.down, up: self.up + other.up }
    }
}

/// The message that a client gets for so many data bytes (PROTOCOL §2), of a channel whose name has [`CHANNEL_BYTES`].
#[must_use]
pub fn message(data_bytes: u64) -> u64 {
    ENVELOPE_BYTES + CHANNEL_BYTES + data_bytes
}

/// Its frame: RFC 6455 §5.2, from a server, so without a mask.
#[must_use]
pub fn frame(data_bytes: u64) -> u64 {
    let message = message(data_bytes);
    let header = match message {
        ..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    header + message
}

/// A delivery: the frame in packets, and an acknowledgement for every two of them (RFC 9293 §3.8.6.3).
#[must_use]
pub fn delivery(data_bytes: u64) -> Bytes {
    let frame = frame(data_bytes);
    let packets = frame.div_ceil(SEGMENT_BYTES);
    let acknowledgements = packets.div_ceil(2);
    Bytes { down: (frame + packets * HEADERS_BYTES) as f64, up: (acknowledgements * HEADERS_BYTES) as f64 }
}

/// A ping of no bytes, its pong with a mask, which acknowledges it, and the acknowledgement of that.
#[must_use]
pub fn ping() -> Bytes {
    let headers = HEADERS_BYTES as f64;
    Bytes { down: 2.0 + headers + headers, up: 6.0 + headers }
}

/// A poll: request, answer with so much news, and the acknowledgement of that; for a connection of its own also what it takes to
/// open and to close it.
#[must_use]
pub fn poll(news_bytes: f64, kept: bool) -> Bytes {
    let headers = HEADERS_BYTES as f64;
    let answer = POLL_ANSWER.value + news_bytes;
    let packets = (answer / SEGMENT_BYTES as f64).ceil();
    let turn = Bytes { down: answer + packets * headers, up: POLL_REQUEST.value + 2.0 * headers };
    if kept {
        return turn;
    }
    let greeting = GREETING_BYTES as f64;
    // SYN and its acknowledgement, FIN and acknowledgement either way.
    turn.plus(Bytes { down: greeting + 2.0 * headers, up: greeting + headers + 2.0 * headers })
}

/// Bytes of a channel's name.
pub const CHANNEL_BYTES: u64 = 16;
/// Bytes of a message but for name and data, with an offset of six digits.
pub const ENVELOPE_BYTES: u64 = 86;
/// Headers of IPv4 and TCP, with timestamps (RFC 791, RFC 9293, RFC 7323).
const HEADERS_BYTES: u64 = 20 + 32;
/// The same with the options of a SYN as Linux sends them.
const GREETING_BYTES: u64 = 20 + 40;
/// Bytes that one packet carries of an MTU of 1,500.
const SEGMENT_BYTES: u64 = 1500 - HEADERS_BYTES;
