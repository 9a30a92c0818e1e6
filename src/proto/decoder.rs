//! Bytes from a peer to messages, resumable at any byte (RFC 6455 §5). Must never know whose bytes they are.
//!
//! Nearly every read holds whole, unfragmented frames: those are unmasked where they lie and lent to the caller, with
//! no copy and no heap. What a read ends within goes into the [`Decoder`], byte for byte, until its rest arrives:
//!
//! ```text
//!           +--> Header --(announced and admitted, not yet whole)--> Payload --+
//!           |      |                                                          |
//!           +------+--(whole in the input: lent to the caller)                 |
//!           +------------------(payload complete)-----------------------------+
//!   a fault in either: Dead, for good
//! ```
//!
//! A message in fragments spans several rounds. Its payload so far lies in one buffer, and control frames between its
//! fragments pass through without touching it.

use std::ops::Range;

use super::close::is_valid_code;
pub use super::fault::Fault;
use super::frame::Opcode;
pub use super::header::Role;
use super::header::{Header, HeaderReader};
use super::mask::unmask;
use super::utf8::{InvalidUtf8, Utf8Checker};
use crate::limits::{FRAGMENT_BYTES_MEAN, FRAGMENTS_BASE};

/// What the decoder holds a peer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Which side of the connection reads.
    pub role: Role,
    /// Payload bytes that a message may have, all its fragments together.
    pub message_bytes_max: usize,
}

/// What the bytes say. Payloads are unmasked and lie in the input, or in the decoder where they came in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// All of the input was taken, and more is needed for the next event.
    Incomplete,
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping of at most 125 bytes, to be answered with a pong of the same.
    Ping(&'a [u8]),
    /// A pong of at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer's goodbye. What it sends afterwards means nothing (§5.5.1); the decoder would still read it.
    Close {
        /// The code, one of those that may be sent; `None` where the frame was empty.
        code: Option<u16>,
        /// The reason, at most 123 bytes and often empty.
        reason: &'a str,
    },
}

/// All that is known of a frame or message in progress. The default is the boundary between two messages.
///
/// Owns no heap while idle, once it has said [`Event::Incomplete`]. Otherwise at most [`Rules::message_bytes_max`] for a
/// message, and of that at most twice what has arrived; and 125 bytes for a control frame.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Where in a frame the next byte belongs.
    phase: Phase,
    /// The message that has begun and not ended: `Text` or `Binary`.
    open: Option<Kind>,
    /// Frames of the open message so far.
    fragments: usize,
    /// The check of the open message, if it is text; as new without one.
    utf8: Utf8Checker,
    /// Payload of the open message so far; without one, the message that was lent last.
    message: Vec<u8>,
    /// Payload of a control frame in pieces: the one in progress, or the one that was lent last.
    control: Vec<u8>,
}

// A connection with half a frame waiting costs this much more than an idle one.
const _: () = assert!(size_of::<Decoder>() <= 96);

/// Where in a frame the next byte belongs.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// To a header, or to nothing yet.
    Header(HeaderReader),
    /// To a payload.
    Payload(Payload),
    /// Nowhere: the peer broke the rules.
    Dead(Fault),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Header(HeaderReader::default())
    }
}

/// A payload in progress.
#[derive(Debug, Clone, Copy)]
struct Payload {
    /// What the frame's message is.
    kind: Kind,
    /// Whether the frame ends its message.
    fin: bool,
    /// The key, turned so that its first byte is for the next byte of the payload.
    key: Option<[u8; 4]>,
    /// Bytes that have not arrived.
    missing: usize,
}

/// What a frame or a message is, a continuation being what its message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn is_control(self) -> bool {
        match self {
            Self::Text | Self::Binary => false,
            Self::Close | Self::Ping | Self::Pong => true,
        }
    }
}

/// How far a call got, and where the payload of its event lies.
enum Step {
    /// The input is used up.
    Incomplete,
    /// At this place in the input.
    Input(Kind, Range<usize>),
    /// In [`Decoder::message`].
    Message(Kind),
    /// In [`Decoder::control`].
    Control(Kind),
}

impl Decoder {
    /// Takes bytes off the front of `input`, adds their number to `used`, and yields one event.
    ///
    /// Call it again with what is left of the input until it says [`Event::Incomplete`]. `input` is unmasked in place:
    /// bytes that were taken are no longer what the peer sent.
    ///
    /// # Errors
    /// The first thing that the peer did wrong, at the first byte that shows it. `used` is then unchanged. The decoder
    /// is dead: it owns its memory until it is dropped, takes no more bytes and answers every call with the same fault.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        used: &mut usize,
        rules: &Rules,
    ) -> Result<Event<'a>, Fault> {
        let mut at = 0;
        let event = match self.advance(input, &mut at, rules) {
            Ok(Step::Incomplete) => Ok(Event::Incomplete),
            Ok(Step::Input(kind, range)) => event(kind, &input[range]),
            Ok(Step::Message(kind)) => event(kind, &self.message),
            Ok(Step::Control(kind)) => event(kind, &self.control),
            Err(fault) => Err(fault),
        };
        match event {
            Ok(_) => *used += at,
            Err(fault) => self.phase = Phase::Dead(fault),
        }
        event
    }

    /// Whether nothing has begun: a fresh decoder would understand what comes next just as well.
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        match &self.phase {
            Phase::Header(reader) => reader.is_empty() && self.open.is_none(),
            Phase::Payload(_) | Phase::Dead(_) => false,
        }
    }

    /// Bytes of heap owned.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Goes through the input, moving `at`, until something is complete. Each round takes a header or ends the call.
    #[inline]
    fn advance(&mut self, input: &mut [u8], at: &mut usize, rules: &Rules) -> Result<Step, Fault> {
        loop {
            match &mut self.phase {
                Phase::Header(reader) => {
                    let Some(header) = reader.take(input, at, rules.role)? else {
                        self.release_if_closed();
                        return Ok(Step::Incomplete);
                    };
                    let kind = self.admit(&header, rules)?;
                    let whole = *at..*at + header.payload_len.min(input.len() - *at);
                    let alone = kind.is_control() || (header.fin && self.open.is_none());
                    if alone && whole.len() == header.payload_len {
                        if let Some(key) = header.key {
                            unmask(&mut input[whole.clone()], key, 0);
                        }
                        *at = whole.end;
                        return Ok(Step::Input(kind, whole));
                    }
                    self.begin(kind, &header);
                }
                Phase::Payload(payload) => {
                    let payload = *payload;
                    if let Some(step) = self.take_payload(payload, input, at, rules)? {
                        return Ok(step);
                    }
                }
                Phase::Dead(fault) => return Err(*fault),
            }
        }
    }

    /// Whether a frame with this header may come now and is small enough; if so, what it is.
    #[inline]
    fn admit(&self, header: &Header, rules: &Rules) -> Result<Kind, Fault> {
        let (kind, so_far, fragments) = match (header.opcode, self.open) {
            (Opcode::Close, _) => return Ok(Kind::Close),
            (Opcode::Ping, _) => return Ok(Kind::Ping),
            (Opcode::Pong, _) => return Ok(Kind::Pong),
            (Opcode::Text, None) => (Kind::Text, 0, 1),
            (Opcode::Binary, None) => (Kind::Binary, 0, 1),
            (Opcode::Continuation, Some(kind)) => (kind, self.message.len(), self.fragments + 1),
            (Opcode::Continuation, None) => return Err(Fault::ContinuationWithoutStart),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Fault::DataInsideMessage),
        };
        if header.payload_len > rules.message_bytes_max.saturating_sub(so_far) {
            return Err(Fault::TooBig);
        }
        if fragments > FRAGMENTS_BASE + (so_far + header.payload_len) / FRAGMENT_BYTES_MEAN {
            return Err(Fault::TooManyFragments);
        }
        Ok(kind)
    }

    /// Begins the payload of a frame that is not whole in the input, or not a message by itself.
    fn begin(&mut self, kind: Kind, header: &Header) {
        self.release_if_closed();
        if kind.is_control() {
            self.control.clear();
            self.control.reserve_exact(header.payload_len);
        } else if self.open.is_none() {
            self.open = Some(kind);
            self.fragments = 1;
        } else {
            self.fragments += 1;
        }
        let Header { fin, key, payload_len, .. } = *header;
        self.phase = Phase::Payload(Payload { kind, fin, key, missing: payload_len });
    }

    /// Takes what there is of a payload; `None` where a fragment ended and its message did not.
    fn take_payload(
        &mut self,
        mut payload: Payload,
        input: &mut [u8],
        at: &mut usize,
        rules: &Rules,
    ) -> Result<Option<Step>, Fault> {
        let end = *at + payload.missing.min(input.len() - *at);
        let piece = &mut input[*at..end];
        if let Some(key) = &mut payload.key {
            unmask(piece, *key, 0);
            key.rotate_left(piece.len() % 4);
        }
        self.store(&payload, piece, rules)?;
        payload.missing -= piece.len();
        *at = end;

        if payload.missing > 0 {
            self.phase = Phase::Payload(payload);
            return Ok(Some(Step::Incomplete));
        }
        self.phase = Phase::default();
        if payload.kind.is_control() {
            return Ok(Some(Step::Control(payload.kind)));
        }
        if !payload.fin {
            return Ok(None);
        }
        self.open = None;
        self.utf8.finish()?;
        Ok(Some(Step::Message(payload.kind)))
    }

    /// Stores a piece of payload, unmasked, at the end of what it belongs to.
    fn store(&mut self, payload: &Payload, piece: &[u8], rules: &Rules) -> Result<(), Fault> {
        if payload.kind.is_control() {
            self.control.extend_from_slice(piece);
            return Ok(());
        }
        if payload.kind == Kind::Text {
            self.utf8.push(piece)?;
        }
        let len = self.message.len() + piece.len();
        if len > self.message.capacity() {
            // Twice what arrived, so that a message in many pieces is copied few times; but no more than this one
            // may come to, and never what a peer merely announced.
            let len_max =
                if payload.fin { self.message.len() + payload.missing } else { rules.message_bytes_max };
            let room = len.saturating_mul(2).min(len_max).max(len);
            self.message.reserve_exact(room - self.message.len());
        }
        self.message.extend_from_slice(piece);
        Ok(())
    }

    /// Frees what was lent last, unless a message is open. A connection that waits must not hold a stranger's buffer.
    fn release_if_closed(&mut self) {
        if self.open.is_none() {
            self.message = Vec::new();
            self.control = Vec::new();
        }
    }
}

impl From<InvalidUtf8> for Fault {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

/// What a whole payload says.
///
/// Text that came in pieces was checked as it came. It is checked again here, at memory speed, because that is what
/// turns bytes into a `str` without `unsafe`.
#[inline]
fn event(kind: Kind, payload: &[u8]) -> Result<Event<'_>, Fault> {
    Ok(match kind {
        Kind::Text => Event::Text(text(payload)?),
        Kind::Binary => Event::Binary(payload),
        Kind::Ping => Event::Ping(payload),
        Kind::Pong => Event::Pong(payload),
        Kind::Close => return close_event(payload),
    })
}

/// What a close frame says (§5.5.1): nothing, or a code and a reason.
fn close_event(payload: &[u8]) -> Result<Event<'_>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let empty = Event::Close { code: None, reason: "" };
        return if payload.is_empty() { Ok(empty) } else { Err(Fault::CloseTooShort) };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_code(code) {
        return Err(Fault::CloseCode(code));
    }
    Ok(Event::Close { code: Some(code), reason: text(reason)? })
}

#[inline]
fn text(payload: &[u8]) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(payload).map_err(|_| Fault::InvalidUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::{put_close, put_frame, put_masked_frame};

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    const RULES: Rules = Rules { role: Role::Server, message_bytes_max: 1000 };

    /// One frame from a client, FIN or not.
    fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_masked_frame(&mut out, opcode, payload, KEY);
        if !fin {
            out[0] &= 0x7F;
        }
        out
    }

    /// A close frame from a client with these bytes as its payload.
    fn close(payload: &[u8]) -> Vec<u8> {
        frame(true, Opcode::Close, payload)
    }

    /// Feeds one piece and returns what was said, and the fault if there was one.
    fn feed(decoder: &mut Decoder, piece: &[u8], rules: &Rules) -> (Vec<String>, Option<Fault>) {
        let mut piece = piece.to_vec();
        let mut said = Vec::new();
        let mut at = 0;
        loop {
            let mut used = 0;
            match decoder.next(&mut piece[at..], &mut used, rules) {
                Ok(Event::Incomplete) => {
                    assert_eq!(at + used, piece.len(), "incomplete before the input was used up");
                    return (said, None);
                }
                Ok(event) => said.push(format!("{event:?}")),
                Err(fault) => {
                    assert_eq!(used, 0);
                    return (said, Some(fault));
                }
            }
            at += used;
        }
    }

    /// Feeds a stream byte by byte.
    fn feed_bytes(decoder: &mut Decoder, stream: &[u8], rules: &Rules) -> (Vec<String>, Option<Fault>) {
        let mut said = Vec::new();
        for byte in stream {
            let (more, fault) = feed(decoder, &[*byte], rules);
            said.extend(more);
            if fault.is_some() {
                return (said, fault);
            }
        }
        (said, None)
    }

    /// Asserts what a stream says, whole and byte by byte.
    fn assert_says(stream: &[u8], said: &[&str], fault: Option<Fault>) {
        let whole = feed(&mut Decoder::default(), stream, &RULES);
        assert_eq!(whole.0, said);
        assert_eq!(whole.1, fault);
        assert_eq!(feed_bytes(&mut Decoder::default(), stream, &RULES), whole);
    }

    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        // RFC 6455 §5.7: masked and unmasked hello, hello in fragments, ping and its answer.
        assert_says(
            &[0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58],
            &[r#"Text("Hello")"#],
            None,
        );
        let client = Rules { role: Role::Client, ..RULES };
        let stream = [
            &[0x81, 0x05][..],
            b"Hello",
            &[0x01, 0x03],
            b"Hel",
            &[0x80, 0x02],
            b"lo",
            &[0x89, 0x02],
            b"Hi",
            &[0x8A, 0x00],
        ];
        let said = feed(&mut Decoder::default(), &stream.concat(), &client);
        let expected = [r#"Text("Hello")"#, r#"Text("Hello")"#, "Ping([72, 105])", "Pong([])"];
        assert_eq!(said, (expected.map(String::from).to_vec(), None));
    }

    #[test]
    fn whole_messages_are_lent_from_the_input_and_cost_no_heap() {
        let mut input = [frame(true, Opcode::Text, b"one"), frame(true, Opcode::Ping, b"two")].concat();
        let place = input.as_ptr_range();
        let mut decoder = Decoder::default();
        let mut used = 0;
        let Ok(Event::Text(text)) = decoder.next(&mut input, &mut used, &RULES) else { panic!("no text") };
        assert_eq!(text, "one");
        assert!(place.contains(&text.as_ptr()));
        assert!(decoder.is_idle());
        assert_eq!(used, 9, "the ping was not touched");
        assert_eq!(decoder.next(&mut input[used..], &mut used, &RULES), Ok(Event::Ping(b"two")));
        assert_eq!(decoder.heap_bytes(), 0);
    }

    #[test]
    fn control_frames_pass_between_fragments_without_touching_the_message() {
        let stream = [
            frame(false, Opcode::Text, "grü".as_bytes()),
            frame(true, Opcode::Ping, b"a"),
            frame(false, Opcode::Continuation, b""),
            frame(true, Opcode::Pong, b""),
            frame(true, Opcode::Continuation, b"n"),
            frame(true, Opcode::Binary, b"b"),
        ];
        assert_says(&stream.concat(), &["Ping([97])", "Pong([])", "Text(\"grün\")", "Binary([98])"], None);
    }

    #[test]
    fn empty_messages_are_messages() {
        let stream = [
            frame(true, Opcode::Text, b""),
            frame(false, Opcode::Binary, b""),
            frame(true, Opcode::Continuation, b""),
            close(b""),
        ];
        let said = [r#"Text("")"#, "Binary([])", r#"Close { code: None, reason: "" }"#];
        assert_says(&stream.concat(), &said, None);
    }

    #[test]
    fn each_fault_is_told_apart() {
        let text = |fin| frame(fin, Opcode::Text, b"a");
        let continuation = frame(true, Opcode::Continuation, b"a");
        let with_first = |first: u8| [&[first], &text(true)[1..]].concat();
        let cases = [
            (with_first(0xC1), Fault::ReservedBits),
            ([text(false), [&[0xA0], &continuation[1..]].concat()].concat(), Fault::ReservedBits),
            (with_first(0x83), Fault::ReservedOpcode),
            (with_first(0x8B), Fault::ReservedOpcode),
            (vec![0x81, 0x01, b'a'], Fault::Unmasked),
            (vec![0x81, 0xFE, 0, 125], Fault::LengthNotMinimal),
            (vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Fault::LengthNotMinimal),
            (vec![0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1], Fault::LengthTopBit),
            (vec![0x89, 0xFE], Fault::ControlTooLong),
            (with_first(0x09), Fault::ControlFragmented),
            (continuation.clone(), Fault::ContinuationWithoutStart),
            ([text(true), continuation].concat(), Fault::ContinuationWithoutStart),
            ([text(false), text(true)].concat(), Fault::DataInsideMessage),
            (frame(true, Opcode::Text, &[b'a'; 1001]), Fault::TooBig),
            (frame(true, Opcode::Text, b"a\xFF"), Fault::InvalidUtf8),
            (frame(true, Opcode::Text, b"\xE2\x82"), Fault::InvalidUtf8),
            (close(&[3]), Fault::CloseTooShort),
            (close(&[0x03, 0xED]), Fault::CloseCode(1005)),
            (close(b"\x03\xE8\xFF"), Fault::InvalidUtf8),
        ];
        for (stream, fault) in cases {
            let whole = feed(&mut Decoder::default(), &stream, &RULES);
            assert_eq!(whole.1, Some(fault), "{stream:02X?}");
            assert_eq!(feed_bytes(&mut Decoder::default(), &stream, &RULES), whole, "{stream:02X?}");
        }
        let client = Rules { role: Role::Client, ..RULES };
        assert_eq!(feed(&mut Decoder::default(), &text(true), &client).1, Some(Fault::Masked));
    }

    #[test]
    fn a_dead_decoder_repeats_its_fault() {
        let mut decoder = Decoder::default();
        for _ in 0..3 {
            assert_eq!(
                feed(&mut decoder, &frame(true, Opcode::Text, b"\xFF"), &RULES).1,
                Some(Fault::InvalidUtf8)
            );
            assert!(!decoder.is_idle());
        }
        assert_eq!(feed(&mut decoder, &[], &RULES).1, Some(Fault::InvalidUtf8));
    }

    #[test]
    fn invalid_text_fails_before_its_frame_is_complete() {
        // Valid text, then a surrogate's beginning; the frame announces much more.
        let stream = frame(true, Opcode::Text, &[&[b'a'; 20][..], &[0xED, 0xA0], &[b'a'; 500]].concat());
        let payload_at = 8;
        let mut decoder = Decoder::default();
        assert_eq!(feed(&mut decoder, &stream[..payload_at + 21], &RULES), (vec![], None));
        let next = &stream[payload_at + 21..payload_at + 22];
        assert_eq!(feed(&mut decoder, next, &RULES).1, Some(Fault::InvalidUtf8));
        // A fragment that ends within a character is in order, one that continues it wrongly is not.
        let stream = [frame(false, Opcode::Text, &[0xF4]), frame(false, Opcode::Continuation, &[0x90])];
        let mut decoder = Decoder::default();
        assert_eq!(feed(&mut decoder, &stream[0], &RULES).1, None);
        assert_eq!(feed(&mut decoder, &stream[1], &RULES).1, Some(Fault::InvalidUtf8));
    }

    #[test]
    fn a_message_of_the_limit_passes_and_one_byte_more_is_refused_by_its_announcement() {
        let whole = frame(true, Opcode::Binary, &[7; 1000]);
        assert_eq!(feed(&mut Decoder::default(), &whole, &RULES).0.len(), 1);
        assert_eq!(feed_bytes(&mut Decoder::default(), &whole, &RULES).0.len(), 1);

        let mut decoder = Decoder::default();
        let first = frame(false, Opcode::Binary, &[7; 600]);
        assert_eq!(feed(&mut decoder, &first, &RULES), (vec![], None));
        let second = frame(true, Opcode::Continuation, &[7; 401]);
        let heap_bytes = decoder.heap_bytes();
        assert_eq!(feed(&mut decoder, &second[..8], &RULES).1, Some(Fault::TooBig), "the header is enough");
        assert_eq!(decoder.heap_bytes(), heap_bytes);

        let mut decoder = Decoder::default();
        feed(&mut decoder, &first, &RULES);
        assert_eq!(feed(&mut decoder, &frame(true, Opcode::Continuation, &[7; 400]), &RULES).0.len(), 1);
    }

    #[test]
    fn an_announcement_alone_reserves_nothing() {
        let rules = Rules { message_bytes_max: usize::MAX, ..RULES };
        let mut decoder = Decoder::default();
        let announced = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
        assert_eq!(feed(&mut decoder, &announced, &rules), (vec![], None));
        assert_eq!(decoder.heap_bytes(), 0);
        feed(&mut decoder, &[0; 100], &rules);
        assert!(decoder.heap_bytes() <= 200, "{}", decoder.heap_bytes());
    }

    #[test]
    fn a_message_may_have_as_many_fragments_as_its_size_earns() {
        let empty = frame(false, Opcode::Continuation, b"");
        let mut stream = frame(false, Opcode::Text, b"");
        for _ in 1..FRAGMENTS_BASE {
            stream.extend_from_slice(&empty);
        }
        let mut decoder = Decoder::default();
        assert_eq!(feed(&mut decoder, &stream, &RULES), (vec![], None));
        assert_eq!(feed(&mut decoder, &empty, &RULES).1, Some(Fault::TooManyFragments));

        // Autobahn 9.3.1: 4 MiB in fragments of 64 bytes.
        let rules = Rules { message_bytes_max: 4 << 20, ..RULES };
        let mut decoder = Decoder::default();
        let count = (4 << 20) / 64;
        for index in 0..count {
            let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
            let (said, fault) = feed(&mut decoder, &frame(index == count - 1, opcode, &[7; 64]), &rules);
            assert_eq!(fault, None, "fragment {index}");
            assert_eq!(said.len(), usize::from(index == count - 1));
        }
    }

    #[test]
    fn idleness_means_that_a_fresh_decoder_would_do() {
        let text = frame(true, Opcode::Text, b"a");
        for cut in 0..=text.len() {
            let mut decoder = Decoder::default();
            feed(&mut decoder, &text[..cut], &RULES);
            assert_eq!(decoder.is_idle(), cut == 0 || cut == text.len(), "cut at {cut}");
        }
        let mut decoder = Decoder::default();
        feed(&mut decoder, &frame(false, Opcode::Text, b"a"), &RULES);
        assert!(!decoder.is_idle(), "a message is open");
        feed(&mut decoder, &frame(true, Opcode::Continuation, b"a"), &RULES);
        assert!(decoder.is_idle());
        assert_eq!(decoder.heap_bytes(), 0, "the message that was lent is freed when the input ends");
    }

    #[test]
    fn what_waits_for_its_rest_does_not_hold_the_buffer_of_the_message_before() {
        let big = [frame(false, Opcode::Binary, &[7; 900]), frame(true, Opcode::Continuation, b"")].concat();
        let begun = [
            &frame(true, Opcode::Binary, b"abc")[..1],
            &frame(true, Opcode::Binary, b"abc")[..8],
            &frame(true, Opcode::Ping, b"abc")[..8],
        ];
        for next in begun {
            let mut decoder = Decoder::default();
            assert_eq!(feed(&mut decoder, &[&big, next].concat(), &RULES).0.len(), 1);
            assert!(!decoder.is_idle());
            assert!(decoder.heap_bytes() <= 4, "{} bytes", decoder.heap_bytes());
        }
    }

    #[test]
    fn the_close_frames_that_roost_writes_are_read_back() {
        let rules = Rules { role: Role::Client, ..RULES };
        for (code, reason) in [(1000, "bye"), (4999, ""), (1014, "é")] {
            let mut stream = Vec::new();
            put_frame(&mut stream, Opcode::Text, b"last");
            put_close(&mut stream, code, reason);
            let (said, fault) = feed(&mut Decoder::default(), &stream, &rules);
            let close = Event::Close { code: Some(code), reason };
            assert_eq!(said, [r#"Text("last")"#.to_string(), format!("{close:?}")]);
            assert_eq!(fault, None);
        }
    }
}
