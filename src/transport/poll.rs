//! The answer to a poll: `{"messages":[…],"cursors":{"channel":"EPOCH-OFFSET"}}` (PROTOCOL §3). Must never decide what is in it.

use crate::dialect::cursor::Cursor;
use crate::limits::POLL_BATCH_BYTES_MAX;
use std::io::Write;

/// Appends a message, JSON as a WebSocket would carry it, to those gathered. False when it has no room there any more: then it
/// waits for the next poll.
#[must_use]
pub fn gather(gathered: &mut Vec<u8>, json: &[u8]) -> bool {
    if !gathered.is_empty() && gathered.len() + json.len() + 1 > POLL_BATCH_BYTES_MAX {
        return false;
    }
    gathered.extend_from_slice(json);
    gathered.push(b',');
    true
}

/// The body: what was gathered, and where the client stands with it in each channel.
#[must_use]
pub fn body<'a>(gathered: &[u8], places: impl Iterator<Item = (&'a str, Cursor)>) -> Vec<u8> {
    let mut body = Vec::with_capacity(gathered.len() + FRAME_BYTES);
    body.extend_from_slice(br#"{"messages":["#);
    body.extend_from_slice(gathered.strip_suffix(b",").unwrap_or(gathered));
    body.extend_from_slice(br#"],"cursors":{"#);
    for (number, (channel, cursor)) in places.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        // A channel name has no character that JSON would escape. Writing into memory cannot fail.
        let _ = write!(body, r#"{comma}"{channel}":"{cursor}""#);
    }
    body.extend_from_slice(b"}}");
    body
}

/// Room for what stands around the messages of one channel.
const FRAME_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::cursor::Epoch;

    #[test]
    fn the_body_has_the_messages_and_the_places() {
        let at = |offset| Cursor { epoch: Epoch(61), offset };
        assert_eq!(body(b"", [("a", at(0))].into_iter()), br#"{"messages":[],"cursors":{"a":"z-0"}}"#);
        let mut gathered = Vec::new();
        assert!(gather(&mut gathered, b"{}") && gather(&mut gathered, b"[]"));
        let places = [("a", at(1)), ("b:c", at(2))].into_iter();
        assert_eq!(body(&gathered, places), br#"{"messages":[{},[]],"cursors":{"a":"z-1","b:c":"z-2"}}"#);
    }

    #[test]
    fn a_batch_has_a_bound_that_only_a_single_message_may_pass() {
        let mut gathered = Vec::new();
        assert!(gather(&mut gathered, &vec![b'1'; POLL_BATCH_BYTES_MAX + 1]));
        assert!(!gather(&mut gathered, b"1"));
        let mut gathered = vec![b'1'; POLL_BATCH_BYTES_MAX - 2];
        assert!(gather(&mut gathered, b"1") && !gather(&mut gathered, b""));
        assert_eq!(gathered.len(), POLL_BATCH_BYTES_MAX);
    }
}
