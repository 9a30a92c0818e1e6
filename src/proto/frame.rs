//! Frames as they are written: opcodes and headers on the wire. Must never know what a message says, nor how it is sent.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| length < 126|  length of 16 bits (if 126)   |
//! |I|S|S|S|       |A|  126 or 127 |  or of 64 bits (if 127)       |
//! |N|V|V|V|       |S|             |                               |
//! | |1|2|3|       |K|             |  key of 4 bytes (if MASK)     |
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! ```
//! (RFC 6455 §5.2; numbers are big-endian.)

use super::mask::unmask;
use crate::limits::CONTROL_BYTES_MAX;

/// Bytes of the longest header: two, a 64-bit length, and a key.
pub const HEADER_BYTES_MAX: usize = 14;

/// The bit of the first byte that ends a message.
pub(super) const FIN: u8 = 0x80;
/// The bits of the first byte that only an extension may set.
pub(super) const RESERVED: u8 = 0x70;
/// The bit of the second byte that announces a key.
pub(super) const MASK: u8 = 0x80;
/// In place of a length: it follows in 16 bits.
pub(super) const LENGTH_16: u8 = 126;
/// In place of a length: it follows in 64 bits.
pub(super) const LENGTH_64: u8 = 127;

/// What a frame is (RFC 6455 §5.2), with its value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message or its first fragment.
    Text = 0x1,
    /// A binary message or its first fragment.
    Binary = 0x2,
    /// The goodbye.
    Close = 0x8,
    /// A question whether the peer lives.
    Ping = 0x9,
    /// Its answer, or a sign of life nobody asked for.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of this value on the wire; `None` for those that the RFC keeps for later.
    #[must_use]
    pub const fn from_wire(value: u8) -> Option<Self> {
        match value {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether this is a control frame: short, never in fragments, allowed between the fragments of a message (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Appends the header of a whole message from a server: FIN, no mask, the shortest form of the length.
///
/// The payload of `payload_len` bytes is for the caller to send. A control frame's is at most 125 bytes.
#[inline]
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    let (header, len) = header(opcode, payload_len, 0);
    out.extend_from_slice(&header[..len]);
}

/// Appends a whole message from a server. A control frame's payload is at most 125 bytes.
#[inline]
pub fn put_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    put_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a whole message from a client, masked with `key`. A control frame's payload is at most 125 bytes.
///
/// The key is to be unpredictable where untrusted scripts choose the payload (§10.3).
pub fn put_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    let (header, len) = header(opcode, payload.len(), MASK);
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], key, 0);
}

/// Appends a server's close frame. `code` 0 stands for no code and leaves the payload empty.
///
/// `reason` is cut before the first character that does not fit into the 123 bytes beside the code (§5.5.1).
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    if code == 0 {
        return put_header(out, Opcode::Close, 0);
    }
    let code = code.to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - code.len())];
    put_header(out, Opcode::Close, code.len() + reason.len());
    out.extend_from_slice(&code);
    out.extend_from_slice(reason.as_bytes());
}

/// The payload of one whole frame from a server, as [`put_frame`] made it.
#[must_use]
pub fn payload_of(frame: &[u8]) -> &[u8] {
    let header_len = match frame.get(1).map(|second| second & !MASK) {
        Some(LENGTH_16) => 4,
        Some(LENGTH_64) => 10,
        Some(_) | None => 2,
    };
    frame.get(header_len..).unwrap_or_default()
}

/// A header without its key, and how many bytes of the array it takes.
#[inline]
fn header(opcode: Opcode, payload_len: usize, mask: u8) -> ([u8; 10], usize) {
    debug_assert!(
        !opcode.is_control() || payload_len <= CONTROL_BYTES_MAX,
        "{opcode:?} of {payload_len} bytes"
    );
    let mut header = [0; 10];
    header[0] = FIN | opcode as u8;
    if payload_len < usize::from(LENGTH_16) {
        header[1] = mask | payload_len as u8;
        (header, 2)
    } else if let Ok(short) = u16::try_from(payload_len) {
        header[1] = mask | LENGTH_16;
        header[2..4].copy_from_slice(&short.to_be_bytes());
        (header, 4)
    } else {
        header[1] = mask | LENGTH_64;
        header[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
        (header, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tungstenite::protocol::frame::{Frame, FrameHeader, coding};

    fn close(code: u16, reason: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_close(&mut out, code, reason);
        out
    }

    #[test]
    fn every_length_around_the_three_forms_is_read_back_by_tungstenite_in_its_shortest_form() {
        for len in (0..300).chain(65_500..65_600).chain([1 << 20, 1 << 40]) {
            let mut out = Vec::new();
            put_header(&mut out, Opcode::Binary, len);
            let form = match len {
                0..=125 => 2,
                126..=65_535 => 4,
                _ => 10,
            };
            assert_eq!(out.len(), form, "{len}");
            let (header, read) = FrameHeader::parse(&mut Cursor::new(&out)).unwrap().unwrap();
            assert_eq!(read, len as u64);
            assert!(header.is_final);
            assert_eq!(header.mask, None);
            assert_eq!(header.opcode, coding::OpCode::Data(coding::Data::Binary));
        }
    }

    #[test]
    fn a_whole_frame_of_either_side_is_byte_for_byte_what_tungstenite_writes() {
        for len in [0, 1, 5, 125, 126, 1000, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut theirs = Frame::message(payload.clone(), coding::OpCode::Data(coding::Data::Text), true);
            let mut expected = Vec::new();
            theirs.clone().format(&mut expected).unwrap();
            let mut ours = Vec::new();
            put_frame(&mut ours, Opcode::Text, &payload);
            assert_eq!(ours, expected, "{len}");

            theirs.header_mut().mask = Some([1, 2, 3, 0xF4]);
            let mut expected = Vec::new();
            theirs.format(&mut expected).unwrap();
            let mut ours = Vec::new();
            put_masked_frame(&mut ours, Opcode::Text, &payload, [1, 2, 3, 0xF4]);
            assert_eq!(ours, expected, "{len}");
        }
    }

    #[test]
    fn a_frame_is_appended_to_what_is_already_there() {
        let mut out = b"before".to_vec();
        put_frame(&mut out, Opcode::Pong, b"!");
        put_masked_frame(&mut out, Opcode::Ping, b"?", [0; 4]);
        assert_eq!(out, b"before\x8A\x01!\x89\x81\0\0\0\0?");
    }

    #[test]
    fn the_opcodes_of_the_rfc_are_known_and_all_others_are_not() {
        for value in 0..=0xFF {
            let known = matches!(value, 0..=2 | 8..=10);
            assert_eq!(Opcode::from_wire(value).map(|opcode| opcode as u8), known.then_some(value));
        }
        assert!(Opcode::Close.is_control() && Opcode::Ping.is_control() && Opcode::Pong.is_control());
        assert!(
            !Opcode::Continuation.is_control() && !Opcode::Text.is_control() && !Opcode::Binary.is_control()
        );
    }

    #[test]
    fn a_close_frame_carries_code_and_reason_or_nothing_at_all() {
        assert_eq!(close(1000, "bye"), b"\x88\x05\x03\xE8bye");
        assert_eq!(close(0, "unheard"), b"\x88\x00");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters_so_that_the_frame_stays_legal() {
        assert_eq!(close(1000, &"a".repeat(123)).len(), 2 + 125);
        assert_eq!(close(1000, &"a".repeat(124)).len(), 2 + 125);
        // 61 characters of two bytes are 122 bytes; the next would end at 124.
        let out = close(1000, &"é".repeat(80));
        assert_eq!(out[1], 2 + 122);
        assert_eq!(std::str::from_utf8(&out[4..]), Ok("é".repeat(61).as_str()));
    }
}
