//! A byte arrives: from the socket through the decoder to a command. Must never keep a byte that was understood:
//! only an unfinished tail goes into the connection's box.

use super::Shard;
use super::conn_table::Token;
use crate::clock::Now;
use crate::conn::rate::Pace;
use crate::conn::socket::Socket;
use crate::conn::{Conn, Phase};
use crate::dialect::native;
use crate::disconnect::Disconnect;
use crate::limits::{HEAD_BYTES_MAX, LINGER_BYTES_MAX, READ_BUDGET_BYTES, RECEIVE_BUFFER_BYTES};
use crate::proto::decoder::{Decoder, Event, Role, Rules};
use crate::proto::frame::{Opcode, put_frame};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why reading one connection stopped.
enum Stop {
    /// The socket has nothing more, or the connection listens no more.
    Drained,
    /// There may be more, but others wait.
    Budget,
    /// The peer ended its side.
    Ended,
    /// The stream is broken.
    Failed,
}

impl<S: Socket> Shard<S> {
    /// Reads a connection until it is drained or its budget is used up, and answers it in one write.
    pub(super) fn read(&mut self, now: Now, slot: u32) {
        // Outside while in use, so that a command may borrow the rest of the shard.
        let mut receive = std::mem::take(&mut self.receive);
        self.serve(now, slot, |shard| match shard.read_loop(now, slot, &mut receive) {
            Stop::Drained => {}
            Stop::Budget => shard.list_again(slot),
            Stop::Ended => {
                // Whoever ends its side first may still listen: it gets the answers to what it said before.
                shard.send_replies(now, slot);
                shard.uncork(now, slot);
                shard.peer_ended(now, slot);
            }
            Stop::Failed => shard.stream_ended(slot),
        });
        self.receive = receive;
    }

    fn read_loop(&mut self, now: Now, slot: u32, receive: &mut [u8]) -> Stop {
        self.feed_kept(now, slot);
        let mut budget = READ_BUDGET_BYTES;
        loop {
            let conn = &mut self.conns[slot];
            if conn.phase == Phase::Dead {
                return Stop::Drained;
            }
            match conn.socket.read(receive) {
                Ok(0) => return Stop::Ended,
                Ok(count) => {
                    // A short read drained the socket: what comes later is a new edge. Only an end of the stream
                    // that was already announced is not (epoll(7), question 9).
                    let drained = count < receive.len() && !conn.read_closed;
                    self.counters.bytes_received += count as u64;
                    self.feed(now, slot, &mut receive[..count]);
                    if drained {
                        return Stop::Drained;
                    }
                    budget = budget.saturating_sub(count);
                    if budget == 0 {
                        return Stop::Budget;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Stop::Drained,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Stop::Failed,
            }
        }
    }

    /// The peer says no more, and may still listen. It gets what owners are being asked for, and an answer that the socket has
    /// not taken yet; but nothing is held for it, which may as well be gone.
    fn peer_ended(&mut self, now: Now, slot: u32) {
        let conn = &mut self.conns[slot];
        (conn.read_closed, conn.keep_alive) = (true, false);
        match conn.phase {
            Phase::Poll if conn.asked > 0 => conn.since = now.tick(),
            Phase::Call if conn.asked > 0 => {}
            Phase::Lingering if conn.queued_bytes() > 0 => {}
            Phase::Kept if conn.queued_bytes() > 0 => self.linger(now, slot, Disconnect::Answered),
            _ => self.stream_ended(slot),
        }
    }

    pub(super) fn list_again(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if !std::mem::replace(&mut conn.listed, true) {
            self.again.push_back(Token { slot, generation: conn.generation });
        }
    }

    /// Hands bytes to whatever the connection is in the middle of, which may change on the way.
    fn feed(&mut self, now: Now, slot: u32, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let used = match self.conns[slot].phase {
                Phase::Head | Phase::Kept => self.feed_head(now, slot, bytes),
                Phase::Body => self.feed_body(now, slot, bytes),
                Phase::Live | Phase::Echo => return self.feed_frames(now, slot, bytes),
                Phase::Poll | Phase::Call => return self.keep_for_later(slot, bytes),
                Phase::Stream => return self.interrupted(slot),
                Phase::Lingering => return self.discard(slot, bytes.len()),
                Phase::Dead => return,
            };
            bytes = &mut bytes[used..];
        }
    }

    /// What came while the last request was being answered is the next one.
    fn feed_kept(&mut self, now: Now, slot: u32) {
        let conn = &mut self.conns[slot];
        if conn.phase == Phase::Kept
            && let Some(active) = &mut conn.active
        {
            let mut bytes = std::mem::take(&mut active.head);
            self.feed(now, slot, &mut bytes);
        }
    }

    /// Keeps a request that comes before the last one is answered, as far as a head may be long.
    fn keep_for_later(&mut self, slot: u32, bytes: &[u8]) {
        let head = &mut self.conns[slot].activate().head;
        head.extend_from_slice(bytes);
        if head.len() > HEAD_BYTES_MAX + RECEIVE_BUFFER_BYTES {
            self.die_of(slot, Disconnect::Protocol);
        }
    }

    /// Nothing can follow a request whose answer does not end.
    fn interrupted(&mut self, slot: u32) {
        self.die_of(slot, Disconnect::Protocol);
    }

    /// Decodes and obeys. Runs until the bytes are used up or the connection listens no more.
    pub(super) fn feed_frames(&mut self, now: Now, slot: u32, bytes: &mut [u8]) {
        let conn = &mut self.conns[slot];
        conn.since = now.tick();
        conn.pinged = false;
        let mut decoder = take_decoder(conn);
        let rules = Rules { role: Role::Server, message_bytes_max: self.settings.limits.message_bytes_max };
        let mut at = 0;
        while self.conns[slot].phase.is_websocket() {
            let mut used = 0;
            let decoded = guarded(|| decoder.next(&mut bytes[at..], &mut used, &rules));
            at += used;
            match decoded {
                Some(Ok(Event::Incomplete)) => break,
                Some(Ok(event)) => self.obey(now, slot, event),
                Some(Err(fault)) => self.end(now, slot, fault.disconnect()),
                None => self.panicked(now, slot),
            }
        }
        let conn = &mut self.conns[slot];
        if conn.phase.is_websocket() && !decoder.is_idle() {
            conn.activate().decoder = decoder;
        }
    }

    fn obey(&mut self, now: Now, slot: u32, event: Event<'_>) {
        if self.conns[slot].phase == Phase::Echo {
            return self.echo(now, slot, event);
        }
        let (per_second, burst) = (self.messages_per_second(slot), self.settings.limits.messages_burst);
        let pace = self.conns[slot].rate.count(now, per_second, burst);
        if pace == Pace::Flood {
            return self.end(now, slot, Disconnect::RateLimited);
        }
        match event {
            Event::Incomplete | Event::Pong(_) => {}
            Event::Text(text) => {
                self.counters.messages_received += 1;
                match guarded(|| native::parse(text)) {
                    Some(request) => self.command(now, slot, request, pace),
                    None => self.panicked(now, slot),
                }
            }
            Event::Binary(_) => self.end(now, slot, Disconnect::Binary),
            Event::Ping(payload) if pace == Pace::Within => self.pong(slot, payload),
            Event::Ping(_) => {}
            Event::Close { code, .. } => self.peer_closed(now, slot, code),
        }
    }

    fn echo(&mut self, now: Now, slot: u32, event: Event<'_>) {
        match event {
            Event::Incomplete | Event::Pong(_) => {}
            Event::Text(text) => {
                self.counters.messages_received += 1;
                put_frame(&mut self.replies, Opcode::Text, text.as_bytes());
            }
            Event::Binary(bytes) => {
                self.counters.messages_received += 1;
                put_frame(&mut self.replies, Opcode::Binary, bytes);
            }
            Event::Ping(payload) => self.pong(slot, payload),
            Event::Close { code, .. } => self.peer_closed(now, slot, code),
        }
    }

    /// Answers a ping at once, or behind what waits: there only the latest one.
    fn pong(&mut self, slot: u32, payload: &[u8]) {
        match &self.conns[slot].active {
            Some(active) if !active.out().is_empty() => {
                let mut frame = Vec::new();
                put_frame(&mut frame, Opcode::Pong, payload);
                self.conns.change_queue(slot, |out, _| out.set_pong(&frame));
            }
            Some(_) | None => put_frame(&mut self.replies, Opcode::Pong, payload),
        }
    }

    fn discard(&mut self, slot: u32, count: usize) {
        let active = self.conns[slot].activate();
        active.discarded += count;
        if active.discarded > LINGER_BYTES_MAX {
            self.die(slot);
        }
    }

    fn panicked(&mut self, now: Now, slot: u32) {
        self.counters.panics += 1;
        self.end(now, slot, Disconnect::Internal);
    }
}

/// The decoder of an unfinished message, or a fresh one: the default owns nothing.
fn take_decoder<S>(conn: &mut Conn<S>) -> Decoder {
    let decoder = conn.active.as_mut().map(|active| std::mem::take(&mut active.decoder));
    decoder.unwrap_or_default()
}

/// Runs what only concerns one connection. None when it panicked: that connection ends, and nobody else notices.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_from_a_value() {
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| -> u8 { panic!("only this connection") }), None);
    }
}
