//! Bytes go out: straight to the socket when nothing waits, else behind what does. Must never let a queue grow past
//! its bounds.

use super::Shard;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::out_queue::OutQueue;
use crate::conn::socket::Socket;
use crate::disconnect::{Bound, Disconnect};
use crate::metrics::cause::Cause;
use std::io;

impl<S: Socket> Shard<S> {
    /// Does something for one connection; whatever that puts into `replies` goes to it afterwards, in one write.
    pub(super) fn serve(&mut self, now: Now, slot: u32, work: impl FnOnce(&mut Self)) {
        debug_assert!(self.replies.is_empty(), "one connection is served at a time");
        work(self);
        self.send_replies(now, slot);
        self.rest(slot);
    }

    /// As [`Shard::serve`], for a page that the client gets because it took everything before: whatever it does not take at
    /// once is not held against it.
    pub(super) fn serve_page(&mut self, now: Now, slot: u32, work: impl FnOnce(&mut Self)) {
        debug_assert!(self.replies.is_empty(), "one connection is served at a time");
        work(self);
        if self.conns[slot].corked || self.replies.is_empty() {
            self.send_replies(now, slot);
        } else {
            let page = std::mem::take(&mut self.replies);
            let rest = |out: &mut OutQueue, page: &[u8], written| out.push_excused(page.into(), written);
            self.write_replies(now, slot, &page, rest);
            self.keep_replies(page);
        }
        self.rest(slot);
    }

    /// Writes what waits, as far as it goes.
    pub(super) fn flush(&mut self, now: Now, slot: u32) {
        let Some(active) = &self.conns[slot].active else { return };
        if active.out().is_empty() {
            return;
        }
        match self.conns.change_queue(slot, |out, socket| out.flush(socket)) {
            Ok(written) => {
                self.counters.bytes_sent += written;
                self.note_last_answer(now, slot, written);
                self.note_queue(now, slot);
                self.list_replay(slot);
                self.list_catch_up(slot);
            }
            Err(_) => return self.stream_ended(slot),
        }
        self.rest(slot);
    }

    /// A client takes its last answer slowly, and yet takes it. Where it has ended its side already, no edge of the poll will tell
    /// that again.
    fn note_last_answer(&mut self, now: Now, slot: u32, written: u64) {
        let conn = &mut self.conns[slot];
        if written > 0 && conn.phase == Phase::Lingering {
            conn.since = now.tick();
            if conn.read_closed && conn.queued_bytes() == 0 {
                self.list_again(slot);
            }
        }
    }

    pub(super) fn send_replies(&mut self, now: Now, slot: u32) {
        if !self.replies.is_empty() {
            let replies = std::mem::take(&mut self.replies);
            self.put_replies(now, slot, &replies);
            self.keep_replies(replies);
        }
        if !self.conns[slot].is_held() {
            self.uncork(now, slot);
        }
    }

    fn keep_replies(&mut self, mut replies: Vec<u8>) {
        if replies.capacity() <= REPLIES_KEPT_BYTES {
            replies.clear();
            self.replies = replies;
        }
    }

    /// Says what waits for owners now.
    pub(super) fn uncork(&mut self, now: Now, slot: u32) {
        if std::mem::take(&mut self.conns[slot].corked) {
            self.flush(now, slot);
        }
    }

    /// Writes at once what nothing waits before.
    fn put_replies(&mut self, now: Now, slot: u32, replies: &[u8]) {
        let conn = &self.conns[slot];
        if conn.phase == Phase::Dead {
            return;
        }
        if conn.corked {
            self.conns.change_queue(slot, |out, _| out.push_owned(replies.to_vec()));
            if self.conns[slot].queued_bytes() > self.settings.limits.replay_page_bytes() {
                // Enough for a write; and what waits for owners alone must not count as a slow reader's.
                self.uncork(now, slot);
            }
        } else if conn.queued_bytes() > 0 {
            self.conns.change_queue(slot, |out, _| out.push_owned(replies.to_vec()));
            self.note_queue(now, slot);
        } else {
            let rest =
                |out: &mut OutQueue, replies: &[u8], written| out.push_begun(replies.to_vec(), written);
            self.write_replies(now, slot, replies, rest);
        }
    }

    /// `queue_rest` gets what the socket does not take.
    fn write_replies(
        &mut self,
        now: Now,
        slot: u32,
        replies: &[u8],
        queue_rest: impl FnOnce(&mut OutQueue, &[u8], usize),
    ) {
        let conn = &mut self.conns[slot];
        match write(&mut conn.socket, replies) {
            Ok(written) => {
                self.counters.bytes_sent += written as u64;
                if written < replies.len() {
                    self.counters.short_writes += 1;
                    self.conns.change_queue(slot, |out, _| queue_rest(out, replies, written));
                    self.note_queue(now, slot);
                }
            }
            Err(_) => self.stream_ended(slot),
        }
    }

    /// Holds a queue to its bounds: at once to the hard one, by the clock hand to the soft one.
    pub(super) fn note_queue(&mut self, now: Now, slot: u32) {
        let limits = &self.settings.limits;
        let conn = &mut self.conns[slot];
        let Some(active) = &mut conn.active else { return };
        let bytes = active.out().counted_bytes();
        if bytes <= limits.queue_soft_bytes {
            active.over_soft_since = None;
        } else if active.over_soft_since.is_none() {
            active.over_soft_since = Some(now.tick());
            self.hand.expect(now.mono_ms + limits.queue_soft_for_ms);
        }
        if bytes > limits.queue_hard_bytes && conn.phase.is_open() {
            self.cut_slow(now, slot, Bound::Hard);
        }
    }

    /// Nothing more is written for now: the box goes back, and behind the last byte of all goes our FIN.
    fn rest(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        conn.settle();
        let spoken = conn.phase == Phase::Lingering && conn.queued_bytes() == 0;
        if spoken && conn.socket.shutdown_write().is_err() {
            self.die(slot);
        }
    }

    /// The stream is over, by their FIN or by an error.
    pub(super) fn stream_ended(&mut self, slot: u32) {
        match self.conns[slot].phase {
            Phase::Kept => self.die_of(slot, Disconnect::Answered),
            Phase::Head | Phase::Body => {
                // Who came and said nothing has failed at nothing: so do the health checks of balancers.
                let began = self.conns[slot].active.as_ref();
                if began.is_some_and(|active| !active.head.is_empty() || active.body.is_some()) {
                    self.count_failure(Cause::Left);
                }
                self.die_of(slot, Disconnect::PeerGone);
            }
            Phase::Live | Phase::Echo | Phase::Stream | Phase::Poll | Phase::Call => {
                self.die_of(slot, Disconnect::PeerGone)
            }
            Phase::Lingering => self.die(slot),
            Phase::Dead => {}
        }
    }
}

/// Writes once; a full socket takes nothing.
pub(super) fn write(socket: &mut impl Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// A reply buffer that one large answer made larger than this goes back to the allocator.
const REPLIES_KEPT_BYTES: usize = 256 * 1024;
