//! A stream of events (`GET /events`): the same subscriptions, passes and replays as a WebSocket has, in another dress. Must never
//! write an event before the opening: a client that is cut before its first event comes back to the place that the opening names.
//!
//! A stream of one channel opens with the owner's answer, and what was missed follows at once. One of several channels opens when
//! all owners have answered; until then its subscriptions are paused, and go on from their places like those of any client
//! that has a past to get.

use super::Shard;
use super::http::Wanted;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::replays::Replay;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::{ChannelId, Subscriptions};
use crate::dialect::cursor::Cursor;
use crate::hub::owned::Recovery;
use crate::limits::STREAM_RETRY_MS;
use crate::proto::http::{Head, Refusal, put_stream_head};
use crate::proto::sse::{CONTENT_TYPE, HEARTBEAT};
use crate::transport::sse;

impl<S: Socket> Shard<S> {
    /// Answers `GET /events`.
    pub(super) fn open_stream(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let mut wanted = self.wanted_some(now, slot, head)?;
        resume(&mut wanted, head)?;
        let mut headers = self.cors_headers(slot);
        // nginx would gather events until its buffer is full.
        headers.push(("X-Accel-Buffering", "no".to_owned()));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        put_stream_head(&mut self.replies, CONTENT_TYPE, &headers);
        self.counters.streams += 1;
        self.enter(slot, Phase::Stream);
        let conn = &mut self.conns[slot];
        (conn.since, conn.corked) = (now.tick(), true);
        self.hand.expect_heartbeat(slot, now);
        self.follow_all(now, slot, wanted);
        Ok(())
    }

    /// An owner has answered, and the subscription is live.
    pub(super) fn stream_joined(
        &mut self,
        slot: u32,
        channel: ChannelId,
        head: Cursor,
        recovery: Option<&Recovery>,
    ) {
        let conn = &mut self.conns[slot];
        if recovery.is_none() {
            conn.subscriptions.stand(channel, head);
        }
        if let Subscriptions::OneAt(_) = conn.subscriptions {
            self.put_opening(slot);
            self.conns[slot].subscriptions.forget_single_place();
            if let Some(recovery) = recovery {
                self.recover(slot, channel, head, recovery);
            }
            return self.wait_for_break(slot, channel, head);
        }
        let place = conn.subscriptions.places().find(|(subscription, _)| subscription.channel == channel);
        let Some((subscription, since)) = place else { return };
        self.hub.channels.channel_mut(channel).subscribers.pause(subscription.position);
        conn.activate().replays.get_or_insert_default().push(Replay { channel, since });
    }

    /// All owners have answered.
    pub(super) fn stream_begun(&mut self, slot: u32) {
        if let Subscriptions::ManyAt(_) = self.conns[slot].subscriptions {
            self.put_opening(slot);
            // Where the head is written already, nothing else will.
            self.list_replay(slot);
        }
    }

    fn put_opening(&mut self, slot: u32) {
        let retry_ms = self.rng.u64(STREAM_RETRY_MS..=2 * STREAM_RETRY_MS);
        sse::put_opening(&mut self.replies, retry_ms, &self.conns[slot].subscriptions);
    }

    /// Sends a comment, so that nothing on the way takes the stream for dead.
    pub(super) fn send_heartbeat(&mut self, now: Now, slot: u32) {
        let conn = &mut self.conns[slot];
        conn.since = now.tick();
        // Nothing comes before the opening.
        if conn.queued_bytes() == 0 && conn.asked == 0 {
            self.counters.pings += 1;
            self.serve(now, slot, |shard| shard.replies.extend_from_slice(HEARTBEAT));
        }
    }
}

/// Lets the places of a `Last-Event-ID` take precedence: a browser sends it when it comes back, and the URL with its `since` is the
/// one of the first time.
fn resume(wanted: &mut [Wanted], head: &Head<'_>) -> Result<(), Refusal> {
    let id = head.only("Last-Event-ID")?.filter(|id| !id.is_empty());
    let Some(id) = id else { return Ok(()) };
    let malformed = || {
        let message = "`Last-Event-ID` is not one cursor for each `channel`: send the last `id` as it came, with the same \
                       channels in the same order";
        Refusal::bad_request(message)
    };
    let id = str::from_utf8(id).map_err(|_| malformed())?;
    if sse::split_id(id).count() != wanted.len() {
        return Err(malformed());
    }
    for ((_, since), cursor) in wanted.iter_mut().zip(sse::split_id(id)) {
        *since = Some(cursor.parse().map_err(|_| malformed())?);
    }
    Ok(())
}
