//! Streams of a client's frames: lawful ones, the same with a few bytes changed, and noise. Must never know who reads them.

use roost::proto::frame::{Opcode, put_masked_frame};

use crate::rng::Rng;

/// Payload bytes that the messages of a lawful stream seldom exceed.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2_000;

/// One stream of the kinds above.
pub(crate) fn any(rng: &mut Rng) -> Vec<u8> {
    match rng.below(16) {
        0 => {
            let len = rng.below(200);
            rng.bytes(len)
        }
        1 => flood(rng),
        2 => strange_length(rng),
        3..=7 => lawful(rng),
        _ => {
            let mut stream = lawful(rng);
            mutate(rng, &mut stream);
            stream
        }
    }
}

/// A few messages, some in fragments with control frames between them, perhaps ended by a close frame.
pub(crate) fn lawful(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..rng.below(5) {
        let (opcode, payload) = if rng.one_in(3) {
            let len = length(rng);
            (Opcode::Binary, rng.bytes(len))
        } else {
            (Opcode::Text, text(rng))
        };
        put_message(rng, &mut out, opcode, &payload);
        put_controls(rng, &mut out);
    }
    if rng.one_in(3) {
        put_close(rng, &mut out);
    }
    out
}

/// A message in more fragments than its few bytes earn, or just not.
fn flood(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for index in 0..120 + rng.below(20) {
        let start = out.len();
        let len = rng.below(2);
        let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
        put_frame(rng, &mut out, opcode, &b"a"[..len]);
        out[start] &= 0x7F;
    }
    put_frame(rng, &mut out, Opcode::Continuation, b"");
    out
}

/// A header whose length has one of the long forms, whether it needs it or not, and a few bytes after it.
fn strange_length(rng: &mut Rng) -> Vec<u8> {
    let mut out = lawful(rng);
    out.push(rng.pick(&[0x80, 0x81, 0x82, 0x01, 0x89, 0x8A]));
    let len = rng.pick(&[0, 1, 125, 126, 127, 65_535, 65_536, i64::MAX as u64, 1 << 63, u64::MAX]);
    if rng.one_in(2) {
        out.push(0xFE);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(0xFF);
        out.extend_from_slice(&len.to_be_bytes());
    }
    let rest = rng.below(300);
    out.extend(rng.bytes(rest));
    out
}

/// Changes, removes, adds or repeats a few bytes. Half of the changes hit the front, where a header is.
fn mutate(rng: &mut Rng, stream: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        if stream.is_empty() {
            return;
        }
        let at = if rng.one_in(2) { rng.below(stream.len()) } else { rng.below(stream.len().min(16)) };
        match rng.below(6) {
            // The FIN of the first frame decides what may follow.
            0 => stream[0] ^= 0x80,
            1 => stream[at] = rng.bits() as u8,
            2 | 3 => stream[at] ^= 1 << rng.below(8),
            4 => stream.truncate(at),
            _ => {
                let end = at + rng.below(20).min(stream.len() - at);
                let piece = stream[at..end].to_vec();
                stream.splice(at..at, piece);
            }
        }
    }
}

/// A message, in one frame or in several.
fn put_message(rng: &mut Rng, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let mut rest = payload;
    let mut opcode = opcode;
    while rng.one_in(2) {
        let (piece, after) = rest.split_at(rng.below(rest.len() + 1));
        let start = out.len();
        put_frame(rng, out, opcode, piece);
        out[start] &= 0x7F;
        put_controls(rng, out);
        (rest, opcode) = (after, Opcode::Continuation);
    }
    put_frame(rng, out, opcode, rest);
}

fn put_controls(rng: &mut Rng, out: &mut Vec<u8>) {
    while rng.one_in(4) {
        let opcode = rng.pick(&[Opcode::Ping, Opcode::Pong]);
        let len = rng.below(126);
        let payload = rng.bytes(len);
        put_frame(rng, out, opcode, &payload);
    }
}

fn put_close(rng: &mut Rng, out: &mut Vec<u8>) {
    let code = rng.pick(&[1000, 1001, 1004, 1005, 1011, 1014, 1016, 3000, 4999, 5000, 0, 65_535]);
    let mut payload = u16::to_be_bytes(code).to_vec();
    payload.extend_from_slice(text(rng).get(..40).unwrap_or(b"bye"));
    payload.truncate(rng.pick(&[0, 1, 2, 42]));
    put_frame(rng, out, Opcode::Close, &payload);
}

fn put_frame(rng: &mut Rng, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_masked_frame(out, opcode, payload, (rng.bits() as u32).to_be_bytes());
}

/// A length near one of the places where something changes.
fn length(rng: &mut Rng) -> usize {
    rng.pick(&[0, 1, 5, 31, 64, 124, 125, 126, 127, 128, 300, MESSAGE_BYTES_MAX])
}

/// Text of characters of one to four bytes; one time in eight something that is nearly UTF-8.
fn text(rng: &mut Rng) -> Vec<u8> {
    let len = length(rng);
    let mut text = Vec::new();
    while text.len() < len {
        text.extend_from_slice(
            rng.pick(&["a", "plain words ", "é", "€", "😀", "\u{10FFFF}", "\u{D7FF}"]).as_bytes(),
        );
    }
    if rng.one_in(8) {
        let at = rng.below(text.len() + 1);
        let wrong: &[u8] = rng.pick(&[&[0xED, 0xA0, 0x80], &[0xF4, 0x90], &[0xC0], &[0xE2, 0x82], &[0xFF]]);
        text.splice(at..at, wrong.iter().copied());
    }
    text
}
