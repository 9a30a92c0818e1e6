//! A publication: encoded once, then shared by every shard and every queue. Must never be changed once made.

use crate::dialect::cursor::{Cursor, Epoch};
use crate::metrics::heap::share_bytes;
use crate::proto::frame::{HEADER_BYTES_MAX, Opcode, put_header};
use std::io::Write;
use std::sync::Arc;

/// One message of a channel.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The channel's name.
    pub channel: Arc<str>,
    /// Its number in the channel, from 1.
    pub offset: u64,
    /// The numbering that the offset belongs to.
    pub epoch: Epoch,
    /// What it is the latest of, for those who get no more than that; those without a key are of one kind.
    pub key: Option<Arc<str>>,
    /// The whole WebSocket frame.
    pub frame: Arc<[u8]>,
}

impl Publication {
    /// Encodes `data`, the publisher's JSON, byte for byte. The members are those of PROTOCOL §2, no others: the conflation
    /// key stays within the node.
    #[must_use]
    pub fn new(channel: Arc<str>, cursor: Cursor, data: &str, key: Option<Arc<str>>, wall_ms: u64) -> Self {
        let Cursor { epoch, offset } = cursor;
        let tail_bytes_max = r#","timestamp":,"offset":}"#.len() + 2 * U64_DIGITS_MAX;
        let json_bytes_max = HEAD.len() + channel.len() + DATA.len() + data.len() + tail_bytes_max;
        let mut json = Vec::with_capacity(json_bytes_max);
        // A channel name has no character that JSON would escape.
        for part in [HEAD, &channel, DATA, data] {
            json.extend_from_slice(part.as_bytes());
        }
        // Writing into memory cannot fail.
        let _ = write!(json, r#","timestamp":{wall_ms},"offset":{offset}}}"#);
        let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + json.len());
        put_header(&mut frame, Opcode::Text, json.len());
        frame.extend_from_slice(&json);
        Self { channel, offset, epoch, key, frame: frame.into() }
    }

    /// Where a client stands that has everything up to here.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, offset: self.offset }
    }

    /// Bytes that it weighs in a mailbox.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frame.len() + self.key.as_ref().map_or(0, |key| key.len())
    }

    /// This holder's part of the frame, the name and the key, in bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        share_bytes(&self.frame) + share_bytes(&self.channel) + self.key.as_ref().map_or(0, share_bytes)
    }
}

const HEAD: &str = r#"{"type":"notification","channel":""#;
const DATA: &str = r#"","data":"#;
const U64_DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_has_five_members_and_the_data_byte_for_byte() {
        let data = r#"{ "n":12345678901234567890,"s":"\u00e9" }"#;
        let cursor = Cursor { epoch: Epoch(1), offset: 7 };
        let publication = Publication::new("a:b".into(), cursor, data, Some("key".into()), 1_700_000_000_123);
        let json = r#"{"type":"notification","channel":"a:b","data":{ "n":12345678901234567890,"s":"\u00e9" },"timestamp":1700000000123,"offset":7}"#;
        assert_eq!(publication.frame[..2], [0x81, json.len() as u8]);
        assert_eq!(&publication.frame[2..], json.as_bytes());
    }
}
