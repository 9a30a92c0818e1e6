//! A client comes back: what it missed is replayed behind the answer to its subscribe, a page at a time, each when it has
//! taken the one before. Must never let a replay fill a queue: who reads slowly gets its past slowly, and is not cut for it.
//! So does a slow reader of a channel whose policy is `drop`: what was not queued to it has become a part of its past.
//!
//! While it gets its past, a subscriber is paused: what is published meanwhile is a part of that past and comes from the
//! owner as well. An owner's answer that reaches the head travels the same road as publications, so what comes after it is
//! exactly what is missing.

use super::Shard;
use super::conn_table::Token;
use super::mail::{ConnKey, Mail};
use super::said::Said;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::replays::{Replay, Replays, Step};
use crate::conn::socket::Socket;
use crate::conn::subscriptions::ChannelId;
use crate::dialect::cursor::{Cursor, Epoch};
use crate::hub::owned::{Gap, Joined, Recovery};
use crate::limits::REPLAY_BUDGET_PAGES;

impl<S: Socket> Shard<S> {
    /// Says behind `subscribed` what became of the client's cursor. The connection is being served.
    pub(super) fn recover(&mut self, slot: u32, channel: ChannelId, head: Cursor, recovery: &Recovery) {
        match recovery.gap {
            Some(gap) => self.put_gap(slot, channel, head.epoch, gap),
            None => self.counters.recovered += 1,
        }
        let Some(subscription) = self.conns[slot].subscriptions.find(channel).filter(|one| !one.is_joining())
        else {
            // It has unsubscribed meanwhile.
            return;
        };
        let mut has = recovery.end - recovery.missed.len() as u64;
        // One publication may be larger than a page. It comes alone, so that it is not held against a slow reader.
        let bytes = recovery.missed.iter().map(|frame| frame.len()).sum::<usize>();
        if self.has_room(slot) && bytes <= self.settings.limits.replay_page_bytes() {
            self.put_page(slot, channel, head.epoch, recovery);
            has = recovery.end;
        }
        if has < head.offset {
            self.hub.channels.channel_mut(channel).subscribers.pause(subscription.position);
            let since = Cursor { epoch: head.epoch, offset: has };
            let replays = self.conns[slot].activate().replays.get_or_insert_default();
            replays.push(Replay { channel, since });
            self.list_replay(slot);
        }
    }

    /// A live subscriber is so far behind that nothing more is queued to it: it has everything up to `since`, and gets the
    /// rest when it has read that.
    pub(super) fn fall_behind(&mut self, slot: u32, channel: ChannelId, since: Cursor) {
        self.counters.paused += 1;
        let replays = self.conns[slot].activate().replays.get_or_insert_default();
        replays.push(Replay { channel, since });
    }

    /// Puts a connection that takes more on the list of those whose next page is fetched.
    pub(super) fn list_replay(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if conn.phase == Phase::Stream && conn.asked > 0 {
            // It has not begun: an event must not come before its opening.
            return;
        }
        let Some(active) = &mut conn.active else { return };
        let has_taken_all = active.out().is_empty();
        if let Some(replays) = &mut active.replays
            && replays.step == Step::Resting
            && has_taken_all
        {
            replays.step = Step::Listed;
            self.replays.push_back(Token { slot, generation: conn.generation });
        }
    }

    /// Fetches the next pages, within the budget.
    pub(super) fn run_replays(&mut self, now: Now) {
        for _ in 0..self.replays.len().min(REPLAY_BUDGET_PAGES) {
            let Some(token) = self.replays.pop_front() else { break };
            if self.replays_of(token).is_some_and(|replays| replays.step == Step::Listed) {
                self.fetch_page(now, token);
            }
        }
    }

    fn fetch_page(&mut self, now: Now, token: Token) {
        let (queued, serial) = (self.conns[token.slot].queued_bytes() > 0, self.joins.wrapping_add(1));
        let Some(replays) = self.replays_of(token) else { return };
        let Some(Replay { channel, since }) = replays.first() else { return };
        if queued {
            replays.step = Step::Resting;
            return;
        }
        replays.step = Step::Asked(serial);
        self.joins = serial;
        let name = self.hub.channels.channel(channel).name.clone();
        let (owner, conn) = (self.hub.owner(&name), self.key(token.slot));
        if self.is_at_hand(owner) {
            let joined = self.hub.owned.join(&name, owner, Some(since), now);
            self.replayed(now, conn, serial, joined);
        } else {
            self.post(owner, Mail::Replay { conn, serial, name, since });
        }
    }

    /// The owner has answered. A connection that is gone, or has given the channel up, does not want it any more.
    pub(super) fn replayed(&mut self, now: Now, conn: ConnKey, serial: u32, joined: Joined) {
        let token = Token { slot: conn.slot, generation: conn.generation };
        let Some(replays) = self.replays_of(token) else { return };
        if replays.step != Step::Asked(serial) {
            return;
        }
        replays.step = Step::Resting;
        if let (Some(first), Some(recovery)) = (replays.first(), joined.recovery) {
            self.serve_page(now, conn.slot, |shard| {
                shard.go_on(conn.slot, first.channel, joined.cursor, &recovery);
            });
            self.list_replay(conn.slot);
        }
    }

    /// Puts a page, and lets the channel go on live when that was the last.
    fn go_on(&mut self, slot: u32, channel: ChannelId, head: Cursor, recovery: &Recovery) {
        if !self.has_room(slot) {
            // It is fetched again: what would be kept here costs memory, and what is there then is no older.
            return;
        }
        if let Some(gap) = recovery.gap {
            self.put_gap(slot, channel, head.epoch, gap);
        }
        self.put_page(slot, channel, head.epoch, recovery);
        let breaking = self.hub.channels.channel(channel).subscribers.is_breaking();
        if recovery.end < head.offset || breaking {
            if let Some(replays) = self.conns[slot].active.as_mut().and_then(|active| active.replays.as_mut())
            {
                replays.advance(Cursor { epoch: head.epoch, offset: recovery.end });
            }
            return;
        }
        if let Some(subscription) = self.conns[slot].subscriptions.find(channel) {
            let subscribers = &mut self.hub.channels.channel_mut(channel).subscribers;
            subscribers.resume(subscription.position, head.offset);
        }
        self.end_replay(slot, channel);
    }

    /// The channel is followed no more, or has no past to get any more.
    pub(super) fn end_replay(&mut self, slot: u32, channel: ChannelId) {
        let Some(active) = &mut self.conns[slot].active else { return };
        if let Some(replays) = &mut active.replays {
            replays.remove(channel);
            if replays.is_empty() {
                active.replays = None;
            }
        }
        self.list_replay(slot);
    }

    /// Whether the next page would not have to wait for the client to take something else first.
    fn has_room(&self, slot: u32) -> bool {
        let conn = &self.conns[slot];
        // What is corked waits for owners, not for the client.
        let taken = conn.queued_bytes() == 0 || conn.corked;
        taken && conn.queued_bytes() + self.replies.len() <= self.settings.limits.replay_page_bytes()
    }

    /// Puts a page into what is said next.
    fn put_page(&mut self, slot: u32, channel: ChannelId, epoch: Epoch, recovery: &Recovery) {
        self.counters.replayed += recovery.missed.len() as u64;
        let before = recovery.end - recovery.missed.len() as u64;
        let mut said = self.said_to(slot);
        for (frame, offset) in recovery.missed.iter().zip(before + 1..) {
            said.put_notification(channel, frame, Cursor { epoch, offset });
        }
    }

    fn put_gap(&mut self, slot: u32, channel: ChannelId, epoch: Epoch, gap: Gap) {
        let name = self.hub.channels.channel(channel).name.clone();
        self.said_to(slot).put_gap(channel, &name, epoch, gap);
    }

    fn said_to(&mut self, slot: u32) -> Said<'_, S> {
        Said { replies: &mut self.replies, counters: &mut self.counters, conn: &mut self.conns[slot] }
    }

    /// What an open connection still has to get.
    fn replays_of(&mut self, token: Token) -> Option<&mut Replays> {
        let conn = self.conns.find_mut(token).filter(|conn| conn.phase.is_open())?;
        conn.active.as_mut()?.replays.as_deref_mut()
    }
}
