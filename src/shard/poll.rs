//! A poll (`GET /poll`): it follows its channels until there is something for it, is answered, and follows them no more. Must never
//! take a publication without putting it into the answer: the place that the client is told is the end of what it got.
//!
//! ```text
//!   the request ── owners are asked ──▶ nothing new: held, a live subscriber ── a pass meets it ──▶ answered
//!                                 └───▶ something missed, or no place to go on from ───────────────▶ answered
//!                                                                         its time is over ───────▶ answered, empty
//! ```

use super::Shard;
use crate::clock::{Now, Tick};
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::ChannelId;
use crate::dialect::cursor::Cursor;
use crate::dialect::native::{self, Answer};
use crate::hub::batch::Batch;
use crate::hub::owned::Recovery;
use crate::limits::{POLL_WAIT_S, POLL_WAIT_S_MAX};
use crate::proto::frame::payload_of;
use crate::proto::http::{Head, Refusal};
use crate::proto::query::parameter;
use crate::transport::poll::{body, gather};

impl<S: Socket> Shard<S> {
    /// Answers `GET /poll`, at once or later.
    pub(super) fn begin_poll(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let wait_ms = wait_s(head)? * 1000;
        let wanted = self.wanted_some(now, slot, head)?;
        self.counters.polls += 1;
        self.enter(slot, Phase::Poll);
        self.conns[slot].since =
            if wait_ms == 0 { now.tick() } else { Tick::not_before(now.mono_ms + wait_ms) };
        self.hand.expect(self.conns[slot].since.start_ms());
        self.follow_all(now, slot, wanted);
        Ok(())
    }

    /// An owner has answered, and the subscription is live: it stays so only if the poll has to wait for something there.
    pub(super) fn poll_joined(
        &mut self,
        now: Now,
        slot: u32,
        channel: ChannelId,
        head: Cursor,
        recovery: Option<&Recovery>,
    ) {
        let stands = match recovery {
            Some(recovery) => self.gather_missed(slot, channel, head, recovery),
            None => {
                // Its client needs a place to go on from.
                self.conns[slot].since = now.tick();
                head
            }
        };
        self.conns[slot].subscriptions.stand(channel, stands);
        let waits = recovery.is_some_and(|recovery| recovery.gap.is_none() && recovery.missed.is_empty());
        if !waits && let Some(subscription) = self.conns[slot].subscriptions.find(channel) {
            self.hub.channels.channel_mut(channel).subscribers.pause(subscription.position);
        }
    }

    /// Gathers what was missed, as far as there is room; returns where the client stands with that.
    fn gather_missed(&mut self, slot: u32, channel: ChannelId, head: Cursor, recovery: &Recovery) -> Cursor {
        let Cursor { epoch, .. } = head;
        let mut offset = recovery.end - recovery.missed.len() as u64;
        let gathered = &mut self.conns[slot].activate().gathered;
        match recovery.gap {
            None => self.counters.recovered += 1,
            Some(gap) => {
                self.counters.count_gap(gap.from, gap.to);
                let (name, cursor) =
                    (&self.hub.channels.channel(channel).name, Cursor { epoch, offset: gap.to });
                let answer = Answer::Gap { channel: name, from: gap.from, to: gap.to, cursor };
                gathered.extend_from_slice(&native::answer_json(&answer, None));
                gathered.push(b',');
            }
        }
        for frame in &recovery.missed {
            if !gather(gathered, payload_of(frame)) {
                break;
            }
            self.counters.replayed += 1;
            offset += 1;
        }
        Cursor { epoch, offset }
    }

    /// All owners have answered.
    pub(super) fn poll_begun(&mut self, now: Now, slot: u32) {
        let conn = &self.conns[slot];
        let found = conn.active.as_ref().is_some_and(|active| !active.gathered.is_empty());
        if found || conn.since.start_ms() <= now.mono_ms || self.is_closing() {
            self.answer_poll(now, slot);
        }
    }

    /// A pass has met it, and it is paused. `start` is where the batch begins for it.
    pub(super) fn poll_delivered(
        &mut self,
        now: Now,
        slot: u32,
        channel: ChannelId,
        batch: &Batch,
        start: usize,
    ) {
        let mut stands = batch.before(start);
        let gathered = &mut self.conns[slot].activate().gathered;
        for publication in batch.publications_from(start) {
            if !gather(gathered, payload_of(&publication.frame)) {
                break;
            }
            self.counters.delivered += 1;
            stands = publication.cursor();
        }
        let conn = &mut self.conns[slot];
        // Behind a break it keeps the place that it has: its next question is answered with the gap.
        if batch.breaks.is_none() {
            conn.subscriptions.stand(channel, stands);
        }
        // Else there may be more when the other owners have answered.
        if conn.asked == 0 {
            self.serve(now, slot, |shard| shard.answer_poll(now, slot));
        }
    }

    /// Answers with what was gathered, be it nothing. The connection is being served.
    pub(super) fn answer_poll(&mut self, now: Now, slot: u32) {
        let conn = &mut self.conns[slot];
        let gathered =
            conn.active.as_mut().map(|active| std::mem::take(&mut active.gathered)).unwrap_or_default();
        let channels = &self.hub.channels;
        let places = conn.subscriptions.places().map(|(subscription, cursor)| {
            let name: &str = &channels.channel(subscription.channel).name;
            (name, cursor)
        });
        let json = body(&gathered, places);
        let headers = self.cors_headers(slot);
        self.put_http(slot, 200, "application/json", &json, &headers);
        self.answered(now, slot);
    }

    /// Its time is over. Returns when to look again.
    pub(super) fn poll_is_due(&mut self, now: Now, slot: u32) -> u64 {
        if self.conns[slot].asked > 0 {
            // It is answered when the owners have.
            return u64::MAX;
        }
        self.serve(now, slot, |shard| shard.answer_poll(now, slot));
        now.mono_ms
    }
}

fn wait_s(head: &Head<'_>) -> Result<u64, Refusal> {
    let Some(wait) = parameter(head.query, "wait") else { return Ok(POLL_WAIT_S) };
    let digits = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = wait.parse().ok().filter(|&seconds| digits && seconds <= POLL_WAIT_S_MAX);
    seconds.ok_or_else(|| {
        Refusal::bad_request(format!("`wait` is a number of seconds from 0 to {POLL_WAIT_S_MAX}"))
    })
}
