//! The canned bytes of the floor: one upgrade answer and unmasked server frames. Knows no socket.

/// What every upgrade is answered: the accept key belongs to the fixed key that `roost bench` always sends, the sample
/// key of RFC 6455 §1.3.
pub(crate) const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An empty, unmasked ping (RFC 6455 §5.5.2).
pub(crate) const PING: &[u8] = &[0x89, 0x00];

const FIN_TEXT: u8 = 0x81;
const MASK_KEY_BYTES: usize = 4;

/// Appends `payload` as one unmasked text frame (RFC 6455 §5.2).
pub(crate) fn put_text(out: &mut Vec<u8>, payload: &[u8]) {
    put_header(out, payload.len());
    out.extend_from_slice(payload);
}

/// Bytes of a client's masked frame with a payload of `size` bytes.
pub(crate) fn masked_frame_bytes(size: usize) -> usize {
    let mut header = Vec::new();
    put_header(&mut header, size);
    header.len() + MASK_KEY_BYTES + size
}

fn put_header(out: &mut Vec<u8>, size: usize) {
    out.push(FIN_TEXT);
    match size {
        0..=125 => out.push(size as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
}
