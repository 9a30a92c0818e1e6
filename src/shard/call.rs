//! A client that has no WebSocket says something (`POST /poll`): one message, answered like over a WebSocket. Must never take a body
//! that a page on another origin could send without asking: `application/json` is none of those (the Fetch standard).

use super::Shard;
use super::read::guarded;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::active::Body;
use crate::conn::rate::Pace;
use crate::conn::socket::Socket;
use crate::dialect::native::{self, Code, Command, Refused, Request};
use crate::metrics::cause::Cause;
use crate::proto::body::{BodyReader, body_length};
use crate::proto::frame::payload_of;
use crate::proto::http::{Head, Refusal, put_continue};

impl<S: Socket> Shard<S> {
    /// Answers `POST /poll` when its body is there.
    pub(super) fn begin_call(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        if !is_json(head.only("Content-Type")?) {
            return Err(Refusal::new(415, "bad_request", "send `Content-Type: application/json`"));
        }
        let reader = BodyReader::new(body_length(head)?, self.settings.limits.message_bytes_max)?;
        if head.expects_continue() {
            put_continue(&mut self.replies);
        }
        self.enter(slot, Phase::Body);
        let conn = &mut self.conns[slot];
        conn.since = now.tick();
        conn.activate().body = Some(Box::new(Body { reader, bytes: Vec::new() }));
        self.hand.expect(now.mono_ms + self.settings.limits.handshake_timeout_ms);
        // An empty body is there already.
        self.feed_body(now, slot, &[]);
        Ok(())
    }

    /// Takes what belongs to the body; returns how much that is.
    pub(super) fn feed_body(&mut self, now: Now, slot: u32, bytes: &[u8]) -> usize {
        let mut used = 0;
        let Some(body) = self.conns[slot].active.as_mut().and_then(|active| active.body.as_mut()) else {
            return bytes.len();
        };
        match body.reader.feed(bytes, &mut used, &mut body.bytes) {
            Ok(false) => {}
            Ok(true) => {
                let message = std::mem::take(&mut body.bytes);
                self.conns[slot].activate().body = None;
                self.call(now, slot, &message);
            }
            Err(refusal) => {
                self.refuse(now, slot, &refusal);
                used = bytes.len();
            }
        }
        used
    }

    fn call(&mut self, now: Now, slot: u32, message: &[u8]) {
        self.counters.messages_received += 1;
        let Ok(text) = str::from_utf8(message) else {
            return self.refuse(now, slot, &Refusal::bad_request("the body is not UTF-8"));
        };
        let (per_second, burst) = (self.messages_per_second(slot), self.settings.limits.messages_burst);
        let pace = self.conns[slot].rate.count(now, per_second, burst);
        if pace == Pace::Flood {
            let refusal = Refusal::new(429, "rate_limited", "too many messages on this connection");
            let refusal = refusal.with_header("Retry-After", "1").because(Cause::RateLimited);
            return self.refuse(now, slot, &refusal);
        }
        let Some(Request { command, id }) = guarded(|| native::parse(text)) else {
            self.counters.panics += 1;
            let refusal = Refusal::new(500, "internal", "a fault of ours").because(Cause::Internal);
            return self.refuse(now, slot, &refusal);
        };
        self.enter(slot, Phase::Call);
        let before = self.replies.len();
        self.command(now, slot, Request { command: command.and_then(alone), id }, pace);
        self.answer_call(now, slot, before);
    }

    /// Makes what was just said to a client without a WebSocket its answer. `before` is where in `replies` that begins; if it is
    /// nothing yet, an owner was asked.
    pub(super) fn answer_call(&mut self, now: Now, slot: u32, before: usize) {
        if self.conns[slot].phase != Phase::Call || self.replies.len() == before {
            return;
        }
        let frame = self.replies.split_off(before);
        let headers = self.cors_headers(slot);
        self.put_http(slot, 200, "application/json", payload_of(&frame), &headers);
        self.answered(now, slot);
    }
}

/// Refuses what has no meaning without a connection that lasts.
fn alone(command: Command<'_>) -> Result<Command<'_>, Refused> {
    match command {
        Command::Publish { .. } | Command::Presence { .. } | Command::Ping => Ok(command),
        Command::Auth { .. } => Err(Refused::new(
            Code::BadRequest,
            "a request without a WebSocket shows its token itself: send `Authorization: Bearer`",
        )),
        Command::Subscribe { .. } | Command::Unsubscribe { .. } | Command::Visibility { .. } => {
            Err(Refused::new(
                Code::BadRequest,
                "this needs a connection that lasts: follow channels with `GET /poll` or `GET /events`",
            ))
        }
    }
}

/// Whether a body is announced as JSON, whatever its parameters.
fn is_json(content_type: Option<&[u8]>) -> bool {
    let media_type =
        content_type.and_then(|value| value.split(|&byte| byte == b';').next()).unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
