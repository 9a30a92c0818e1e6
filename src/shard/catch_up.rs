//! Who lags gets the latest of what it lags behind: as soon as it has read what waits, and a hidden client in one delivery a
//! second. Must never queue behind anything: a page goes to a connection whose queue is empty, and the next one when it has
//! taken that.
//!
//! ```text
//!                  its queue is empty              it gets the latest of all its channels
//!   lags, visible ───────────────────▶ ready ────────────────────────────────────────────▶ level
//!   lags, hidden ────────────────────▶ hidden ────────────────────────────┬──────────────▶ level
//!        ▲          ... and it rests no more                              ▼
//!        └──────────────────────────────────────────────────────────── resting, a second
//! ```

use super::Shard;
use super::conn_table::Token;
use super::said::Said;
use crate::clock::{Now, Tick};
use crate::conn::CatchUp;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::Subscription;
use crate::dialect::cursor::Cursor;
use crate::hub::latest::Piece;
use crate::limits::{CATCH_UP_BUDGET, HIDDEN_REST_MS};
use std::collections::VecDeque;

/// Who gets the latest next, and who does not for now. What a connection does here it does once: [`CatchUp`] and its `resting` say
/// so; a place that it left early finds nothing to do.
#[derive(Debug, Default)]
pub(super) struct CatchUps {
    /// Connections that lag and take more.
    ready: VecDeque<Token>,
    /// Hidden ones, perhaps very many at once: they give way to those that somebody looks at.
    hidden: VecDeque<Token>,
    /// Hidden ones that had a delivery, with the moment from which they may have the next. All rest equally long, so this is
    /// their order as well.
    resting: VecDeque<(Tick, Token)>,
}

impl CatchUps {
    /// Whether nobody gets anything next.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.hidden.is_empty()
    }

    /// Gives back what a crowd that has left made large.
    pub(super) fn shrink(&mut self) {
        self.ready.shrink_to_fit();
        self.hidden.shrink_to_fit();
        self.resting.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let listed = (self.ready.capacity() + self.hidden.capacity()) * size_of::<Token>();
        listed + self.resting.capacity() * size_of::<(Tick, Token)>()
    }
}

impl<S: Socket> Shard<S> {
    /// The client says whether anybody looks at it. When somebody does, it gets everything at once.
    pub(super) fn set_hidden(&mut self, slot: u32, hidden: bool) {
        let conn = &mut self.conns[slot];
        conn.hidden = hidden;
        if conn.catch_up == CatchUp::Listed {
            // Its place among the hidden ones may be far behind.
            conn.catch_up = CatchUp::Waiting;
        }
        self.list_catch_up(slot);
    }

    /// One more subscription of a connection lags.
    pub(super) fn begin_to_lag(&mut self, slot: u32) {
        self.counters.paused += 1;
        let conn = &mut self.conns[slot];
        if conn.catch_up == CatchUp::Level {
            conn.catch_up = CatchUp::Waiting;
        }
        self.list_catch_up(slot);
    }

    /// Puts a connection that lags and takes more on its list.
    pub(super) fn list_catch_up(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        let rests = conn.hidden && conn.resting;
        if conn.catch_up != CatchUp::Waiting || rests || conn.queued_bytes() > 0 {
            return;
        }
        conn.catch_up = CatchUp::Listed;
        let CatchUps { ready, hidden, .. } = &mut self.catch_ups;
        let list = if conn.hidden { hidden } else { ready };
        list.push_back(Token { slot, generation: conn.generation });
    }

    /// Gives those on the lists the latest, within the budget. Returns when the next rest is over.
    pub(super) fn run_catch_ups(&mut self, now: Now) -> Option<u64> {
        self.end_rests(now);
        for _ in 0..CATCH_UP_BUDGET {
            let CatchUps { ready, hidden, .. } = &mut self.catch_ups;
            let Some(token) = ready.pop_front().or_else(|| hidden.pop_front()) else { break };
            self.catch_up(now, token);
        }
        self.catch_ups.resting.front().map(|(tick, _)| tick.start_ms())
    }

    fn end_rests(&mut self, now: Now) {
        for _ in 0..CATCH_UP_BUDGET {
            let due = |(tick, _): &mut (Tick, Token)| tick.start_ms() <= now.mono_ms;
            let Some((_, token)) = self.catch_ups.resting.pop_front_if(due) else { break };
            if let Some(conn) = self.conns.find_mut(token) {
                conn.resting = false;
                self.list_catch_up(token.slot);
            }
        }
    }

    fn catch_up(&mut self, now: Now, token: Token) {
        let Some(conn) = self.conns.find_mut(token) else { return };
        if !conn.phase.is_open() || conn.catch_up != CatchUp::Listed {
            return;
        }
        conn.catch_up = CatchUp::Waiting;
        let rests = conn.hidden && conn.resting;
        if !rests && conn.queued_bytes() == 0 {
            self.serve_page(now, token.slot, |shard| shard.put_latest(now, token));
            self.list_catch_up(token.slot);
        }
    }

    /// Puts the latest of all its channels into what is said to a connection next, a page of it.
    fn put_latest(&mut self, now: Now, token: Token) {
        let slot = token.slot;
        for at in 0..self.conns[slot].subscriptions.as_slice().len() {
            let subscription = self.conns[slot].subscriptions.as_slice()[at];
            if !subscription.is_joining() && !self.put_latest_of(slot, subscription) {
                // The next page begins with the next channel: one that never rests must not keep the others from theirs.
                return self.conns[slot].subscriptions.rotate(at + 1);
            }
        }
        let conn = &mut self.conns[slot];
        conn.catch_up = CatchUp::Level;
        if conn.hidden && !self.replies.is_empty() {
            conn.resting = true;
            self.catch_ups.resting.push_back((Tick::not_before(now.mono_ms + HIDDEN_REST_MS), token));
        }
    }

    /// False when there is more of a channel than the page has room for.
    fn put_latest_of(&mut self, slot: u32, subscription: Subscription) -> bool {
        let room = self.settings.limits.replay_page_bytes();
        let Subscription { channel, position } = subscription;
        let known = self.hub.channels.channel(channel);
        let Some((latest, mut has)) = known.subscribers.lagging(position) else { return true };
        let epoch = latest.epoch();
        let (replies, counters) = (&mut self.replies, &mut self.counters);
        let mut said = Said { replies, counters, conn: &mut self.conns[slot] };
        for (offset, piece) in latest.after(has) {
            match piece {
                Piece::Gap(gap) => said.put_gap(channel, &known.name, epoch, gap),
                Piece::Frame(frame)
                    if said.replies.is_empty() || said.replies.len() + frame.len() <= room =>
                {
                    said.counters.delivered += 1;
                    said.put_notification(channel, frame, Cursor { epoch, offset });
                }
                Piece::Frame(_) => break,
            }
            has = offset;
        }
        self.hub.channels.channel_mut(channel).subscribers.catch_up(position, has)
    }
}
