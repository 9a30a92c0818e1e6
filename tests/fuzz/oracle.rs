//! The decoder against tungstenite in the server's role: the same messages, then the same kind of end.
//!
//! tungstenite judges a frame when all of it is there, ours at the first byte that shows the fault. So where ours ends
//! with a fault, tungstenite may still be waiting. All its other differences are listed at [`agree_on_the_end`].

use std::io::{self, Read, Write};

use roost::disconnect::Disconnect;
use roost::proto::decoder::{Event, Fault, Role, Rules};
use tungstenite::protocol::{self, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

use crate::decoder::{Outcome, decode};
use crate::rng::Rng;
use crate::streams;

/// The limit of both: lawful streams stay just within it or go just over.
const MESSAGE_BYTES_MAX: usize = streams::MESSAGE_BYTES_MAX;

/// How a stream ended, as tungstenite tells it.
#[derive(Debug)]
enum End {
    /// It would read on.
    Waiting,
    /// A close frame that it lets pass, which ends what it reads.
    Closed,
    /// A close frame with a code that may not be sent: it answers 1002 itself.
    BadCloseCode,
    /// It refused what it read.
    Refused(Error),
}

/// Holds for any bytes.
pub(crate) fn oracle(bytes: &[u8]) {
    let rules = Rules { role: Role::Server, message_bytes_max: MESSAGE_BYTES_MAX };
    let (ours, fault) = until_close(decode(bytes, std::iter::empty(), &rules));
    let (theirs, end) = read_with_tungstenite(bytes);
    if fault.is_none() {
        assert_eq!(ours, theirs, "{bytes:02X?}");
    } else {
        // Leniencies of tungstenite (see below) let it say more than ours after the fault, never less before it.
        assert!(theirs.starts_with(&ours), "{ours:?} {theirs:?} {bytes:02X?}");
    }
    if let Err(why) = agree_on_the_end(fault, &end, theirs.len() > ours.len()) {
        panic!("{why}: {fault:?} and {end:?} {bytes:02X?}");
    }
}

/// Whether both ends are of one kind, or differ in a way that is known. `more` is whether tungstenite read on.
fn agree_on_the_end(fault: Option<Fault>, end: &End, more: bool) -> Result<(), &'static str> {
    let Some(fault) = fault else {
        return match end {
            End::Waiting | End::Closed => Ok(()),
            End::BadCloseCode | End::Refused(_) => Err("only tungstenite refused"),
        };
    };
    // tungstenite has no bound on the number of fragments, and takes any form of a length, also of a control frame:
    // it may read on and end in any way.
    if matches!(fault, Fault::LengthNotMinimal | Fault::TooManyFragments)
        || (fault == Fault::ControlTooLong && more)
    {
        return Ok(());
    }
    if more {
        return Err("tungstenite read on after a fault that it knows");
    }
    match (fault.disconnect(), end) {
        // tungstenite wants the whole frame before it judges anything but its opcode and length.
        (_, End::Waiting) => Ok(()),
        (Disconnect::Protocol, End::Refused(Error::Protocol(_))) => Ok(()),
        (Disconnect::Protocol, End::BadCloseCode) if matches!(fault, Fault::CloseCode(_)) => Ok(()),
        (Disconnect::BadUtf8, End::Refused(Error::Utf8(_))) => Ok(()),
        (Disconnect::TooBig, End::Refused(Error::Capacity(_))) => Ok(()),
        // tungstenite weighs the length before it looks at reserved bits, mask, order of frames and the top bit.
        (Disconnect::Protocol, End::Refused(Error::Capacity(_))) => Ok(()),
        // tungstenite reads the reason of a close frame before its code.
        (Disconnect::Protocol, End::Refused(Error::Utf8(_))) if matches!(fault, Fault::CloseCode(_)) => {
            Ok(())
        }
        (_, End::Closed | End::BadCloseCode | End::Refused(_)) => Err("different kinds of end"),
    }
}

/// Ours, up to the first close frame: tungstenite reads no further.
fn until_close((mut said, fault): Outcome) -> Outcome {
    let Some(at) = said.iter().position(|event| event.starts_with("Close")) else { return (said, fault) };
    // 1014 (bad gateway) stands in the IANA registry; tungstenite takes it for a code that may not be sent.
    if said[at].starts_with("Close { code: Some(1014)") {
        said.truncate(at);
        return (said, Some(Fault::CloseCode(1014)));
    }
    said.truncate(at + 1);
    (said, None)
}

/// What tungstenite makes of `bytes`, told as our events.
fn read_with_tungstenite(bytes: &[u8]) -> (Vec<String>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let mut socket =
        WebSocket::from_partially_read(Silence, bytes.to_vec(), protocol::Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (said, End::Waiting);
            }
            Err(error) => return (said, End::Refused(error)),
        };
        let event = match &message {
            Message::Text(text) => Event::Text(text),
            Message::Binary(bytes) => Event::Binary(bytes),
            Message::Ping(bytes) => Event::Ping(bytes),
            Message::Pong(bytes) => Event::Pong(bytes),
            Message::Close(None) => Event::Close { code: None, reason: "" },
            // What it puts in the place of a code that may not be sent.
            Message::Close(Some(close)) if close.reason == "Protocol violation" => {
                return (said, End::BadCloseCode);
            }
            Message::Close(Some(close)) => {
                Event::Close { code: Some(close.code.into()), reason: &close.reason }
            }
            Message::Frame(_) => panic!("a raw frame is only ever written"),
        };
        said.push(format!("{event:?}"));
        if message.is_close() {
            return (said, End::Closed);
        }
    }
}

/// A peer that says no more and takes everything.
struct Silence;

impl Read for Silence {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Silence {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_decoder_and_tungstenite_read_the_same_from_any_bytes() {
    for seed in 0..20_000 {
        let stream = streams::any(&mut Rng::new(seed));
        let outcome = std::panic::catch_unwind(|| oracle(&stream));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
