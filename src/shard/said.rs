//! What is said to one connection next: publications and gaps, in the dress of its transport. Must never be said to a poll, which
//! gathers (`shard/poll.rs`).

use crate::conn::subscriptions::ChannelId;
use crate::conn::{Conn, Phase};
use crate::dialect::cursor::{Cursor, Epoch};
use crate::dialect::native::{self, Answer};
use crate::hub::owned::Gap;
use crate::metrics::Counters;
use crate::proto::frame::payload_of;
use crate::transport::sse::{self, Kind};

/// The bytes to be written, and to whom.
pub(super) struct Said<'a, S> {
    pub(super) replies: &'a mut Vec<u8>,
    pub(super) counters: &'a mut Counters,
    pub(super) conn: &'a mut Conn<S>,
}

impl<S> Said<'_, S> {
    /// Puts a publication; `cursor` is where the client stands with it.
    pub(super) fn put_notification(&mut self, channel: ChannelId, frame: &[u8], cursor: Cursor) {
        self.put(channel, Kind::Notification, frame, cursor);
    }

    /// Puts that publications are lost to the client, and counts it.
    pub(super) fn put_gap(&mut self, channel: ChannelId, name: &str, epoch: Epoch, gap: Gap) {
        let Gap { from, to } = gap;
        self.counters.count_gap(from, to);
        let cursor = Cursor { epoch, offset: to };
        let mut frame = Vec::new();
        native::put_answer(&mut frame, &Answer::Gap { channel: name, from, to, cursor }, None);
        self.put(channel, Kind::Gap, &frame, cursor);
    }

    fn put(&mut self, channel: ChannelId, kind: Kind, frame: &[u8], cursor: Cursor) {
        if self.conn.phase == Phase::Stream {
            self.conn.subscriptions.stand(channel, cursor);
            sse::put_event(self.replies, kind, payload_of(frame), &self.conn.subscriptions, cursor);
        } else {
            self.replies.extend_from_slice(frame);
        }
    }
}
