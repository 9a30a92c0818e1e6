//! What a stream of events says: notifications and gaps, each with the place to come back to (PROTOCOL §3). Must never decide
//! what is said.

use crate::conn::subscriptions::Subscriptions;
use crate::dialect::cursor::Cursor;
use crate::proto::sse;
use std::io::Write;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A publication.
    Notification,
    /// Publications that are lost.
    Gap,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Gap => "gap",
        }
    }
}

/// Appends an event of a stream with a single channel: its place is the event's own.
pub fn put_single(out: &mut Vec<u8>, kind: Kind, json: &[u8], cursor: Cursor) {
    sse::put_event(out, kind.label(), json, |out| put_cursor(out, cursor));
}

/// Appends an event to a client that stands where `subscriptions` say with it; a single channel whose place is not kept stands
/// at `cursor`.
pub fn put_event(out: &mut Vec<u8>, kind: Kind, json: &[u8], subscriptions: &Subscriptions, cursor: Cursor) {
    sse::put_event(out, kind.label(), json, |out| put_places(out, subscriptions, cursor));
}

/// Appends an event that has no number: who was not there has missed nothing.
pub fn put_presence(out: &mut Vec<u8>, json: &[u8]) {
    sse::put_passing_event(out, "presence", json);
}

/// Appends the beginning of a stream.
pub fn put_opening(out: &mut Vec<u8>, retry_ms: u64, subscriptions: &Subscriptions) {
    sse::put_opening(out, retry_ms, |out| put_places(out, subscriptions, Cursor::default()));
}

/// The cursors in the order of the channels, joined with commas; `single` where none is kept.
fn put_places(out: &mut Vec<u8>, subscriptions: &Subscriptions, single: Cursor) {
    let mut places = subscriptions.places().map(|(_, cursor)| cursor);
    put_cursor(out, places.next().unwrap_or(single));
    for cursor in places {
        out.push(b',');
        put_cursor(out, cursor);
    }
}

fn put_cursor(out: &mut Vec<u8>, cursor: Cursor) {
    // Writing into memory cannot fail.
    let _ = write!(out, "{cursor}");
}

/// The cursors of a `Last-Event-ID`, as [`put_opening`] and [`put_event`] write them.
pub fn split_id(id: &str) -> impl Iterator<Item = &str> {
    id.split(',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::subscriptions::{ChannelId, Subscription};
    use crate::dialect::cursor::Epoch;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_event_carries_the_places_of_all_channels_in_their_order() {
        let at = |offset| Cursor { epoch: Epoch(61), offset };
        let mut subscriptions = Subscriptions::default();
        for (channel, offset) in [(4, 7), (2, 0)] {
            subscriptions.insert_at(Subscription::joining(ChannelId(channel), 1), at(offset));
        }
        let opening = text(|out| put_opening(out, 9, &subscriptions));
        assert_eq!(opening, "retry: 9\nid: z-7,z-0\n\n");
        subscriptions.stand(ChannelId(2), at(1));
        let event = text(|out| put_event(out, Kind::Gap, b"{}", &subscriptions, at(5)));
        assert_eq!(event, "event: gap\nid: z-7,z-1\ndata: {}\n\n");
        assert!(split_id("z-7,z-1").eq(["z-7", "z-1"]));
    }

    #[test]
    fn a_single_channel_without_a_place_stands_where_the_event_says() {
        let at = Cursor { epoch: Epoch(61), offset: 3 };
        let mut subscriptions = Subscriptions::default();
        subscriptions.insert(Subscription::joining(ChannelId(4), 1));
        let event = text(|out| put_event(out, Kind::Notification, b"{}", &subscriptions, at));
        assert_eq!(event, text(|out| put_single(out, Kind::Notification, b"{}", at)));
        assert_eq!(event, "event: notification\nid: z-3\ndata: {}\n\n");
        assert_eq!(text(|out| put_presence(out, b"{}")), "event: presence\ndata: {}\n\n");
    }
}
