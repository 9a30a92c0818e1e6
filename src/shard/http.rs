//! A plain HTTP request: routed, answered, and the connection kept for the next one. Must never answer a page that may not ask.

use super::Shard;
use crate::assets;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::dialect::cursor::Cursor;
use crate::dialect::native;
use crate::disconnect::Disconnect;
use crate::limits::{KEEP_ALIVE_MS, PIPELINED_BYTES_MAX};
use crate::metrics::cause::Cause;
use crate::proto::body::{BodyLength, body_length};
use crate::proto::handshake;
use crate::proto::http::{Answer, Head, Refusal, put_answer, put_answer_head};
use crate::proto::query::parse_live_query;

/// A channel asked for in a query, checked, and where the client left off.
pub(super) type Wanted = (String, Option<Cursor>);

/// Headers, name and value.
pub(super) type Headers = Vec<(&'static str, String)>;

impl<S: Socket> Shard<S> {
    /// Does what a request head asks for, or says why not.
    pub(super) fn answer_head(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let conn = &mut self.conns[slot];
        (conn.keep_alive, conn.reader) = (head.keep_alive(), Default::default());
        let fallback = matches!(head.path, EVENTS | POLL);
        if fallback {
            self.admit_page(slot, head)?;
        }
        if self.is_closing() {
            return Err(Refusal::unavailable().because(Cause::Draining));
        }
        if fallback && head.method != "OPTIONS" {
            self.sign_in_by_head(now, slot, head)?;
        }
        match (head.path, head.method) {
            (LIVE, _) => self.upgrade_live(now, slot, head),
            ("/echo", _) if self.settings.echo => self.upgrade_echo(now, slot, head),
            (EVENTS | POLL, "OPTIONS") => self.answer_preflight(now, slot, head),
            (EVENTS, "GET") => self.open_stream(now, slot, head),
            (EVENTS, _) => Err(method_not_allowed("GET, OPTIONS")),
            (POLL, "GET") => self.begin_poll(now, slot, head),
            (POLL, "POST") => self.begin_call(now, slot, head),
            (POLL, _) => Err(method_not_allowed("GET, POST, OPTIONS")),
            (path, _) => self.answer_asset(now, slot, head, path),
        }
    }

    /// Lets a page ask that may, and notes who may read the answer.
    fn admit_page(&mut self, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let host = head.header("host").unwrap_or_default();
        let reader = self.settings.origins.reader(head.only("Origin")?, host);
        self.conns[slot].reader = reader.ok_or_else(handshake::forbidden_origin)?;
        Ok(())
    }

    /// What lets a page on another origin read an answer (the Fetch standard, CORS protocol).
    pub(super) fn cors_headers(&self, slot: u32) -> Headers {
        let Some(allowed) = self.settings.origins.allowed(self.conns[slot].reader) else { return Vec::new() };
        vec![
            ("Access-Control-Allow-Origin", allowed),
            ("Access-Control-Expose-Headers", "Retry-After".to_owned()),
            ("Vary", "Origin".to_owned()),
        ]
    }

    /// A browser asks whether a page may ask.
    fn answer_preflight(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        no_body(head)?;
        let mut headers = self.cors_headers(slot);
        headers.push(("Access-Control-Allow-Methods", "GET, POST".to_owned()));
        headers.push((
            "Access-Control-Allow-Headers",
            "Authorization, Cache-Control, Content-Type, Last-Event-ID".to_owned(),
        ));
        headers.push(("Access-Control-Max-Age", "7200".to_owned()));
        self.put_http(slot, 204, "", &[], &headers);
        self.answered(now, slot);
        Ok(())
    }

    fn answer_asset(&mut self, now: Now, slot: u32, head: &Head<'_>, path: &str) -> Result<(), Refusal> {
        let asset = assets::find(path).filter(|asset| asset.path != assets::DEMO || self.settings.demo);
        let asset = asset.ok_or_else(|| Refusal::new(404, "not_found", NOT_FOUND).because(Cause::Path))?;
        if !matches!(head.method, "GET" | "HEAD") {
            return Err(method_not_allowed("GET, HEAD"));
        }
        no_body(head)?;
        let keep_alive = self.decide_keeping(slot);
        let is_known = head.members("If-None-Match").any(|tag| asset.is_tagged(tag));
        let (status, body) = if is_known { (304, &[][..]) } else { (200, asset.body) };
        let tag = asset.tag();
        let headers = [&asset.headers()[..], &[("ETag", tag.as_str())]].concat();
        let answer = Answer { status, content_type: asset.content_type, body, keep_alive, headers: &headers };
        match head.method {
            "HEAD" => put_answer_head(&mut self.replies, &answer),
            _ => put_answer(&mut self.replies, &answer),
        }
        self.answered(now, slot);
        Ok(())
    }

    /// The channels of a query, all of them good or none.
    pub(super) fn wanted(&self, slot: u32, head: &Head<'_>) -> Result<Vec<Wanted>, Refusal> {
        let query = parse_live_query(head.query)?;
        let most = self.channels_max(slot);
        if query.channels.len() > most {
            let message = format!("at most {most} channels a connection");
            return Err(Refusal::new(400, "too_many_channels", message).because(Cause::Channels));
        }
        let mut wanted: Vec<Wanted> = Vec::with_capacity(query.channels.len());
        for (channel, since) in query.channels {
            let refused = |refused| Refusal::from(refused).because(Cause::Channels);
            native::check_channel(&channel).map_err(refused)?;
            let since = native::since(since.map(Into::into)).map_err(refused)?;
            if wanted.iter().any(|(other, _)| *other == channel) {
                let message = format!("channel {channel} is named twice");
                return Err(Refusal::bad_request(message).because(Cause::Channels));
            }
            wanted.push((channel, since));
        }
        Ok(wanted)
    }

    /// As [`Shard::wanted`], for a request that is about nothing else: it may follow all of them, or it is refused.
    pub(super) fn wanted_some(&self, now: Now, slot: u32, head: &Head<'_>) -> Result<Vec<Wanted>, Refusal> {
        no_body(head)?;
        let wanted = self.wanted(slot, head)?;
        for (channel, _) in &wanted {
            self.check_subscribe(now, slot, channel)?;
        }
        if wanted.is_empty() {
            return Err(Refusal::bad_request(
                "no `channel`: name those to follow, as in `?channel=a&channel=b`",
            )
            .because(Cause::Channels));
        }
        Ok(wanted)
    }

    /// Puts an answer to a client of the fallbacks.
    pub(super) fn put_http(
        &mut self,
        slot: u32,
        status: u16,
        content_type: &str,
        body: &[u8],
        headers: &[(&'static str, String)],
    ) {
        let keep_alive = self.decide_keeping(slot);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        put_answer(&mut self.replies, &Answer { status, content_type, body, keep_alive, headers: &headers });
    }

    /// Decides whether a connection is kept behind the answer that comes next.
    fn decide_keeping(&mut self, slot: u32) -> bool {
        let closing = self.is_closing();
        let conn = &mut self.conns[slot];
        let waiting = conn.queued_bytes() + self.replies.len();
        conn.keep_alive &= !closing && waiting <= PIPELINED_BYTES_MAX;
        conn.keep_alive
    }

    /// A request was answered: the connection is kept for the next one, or ends.
    pub(super) fn answered(&mut self, now: Now, slot: u32) {
        if !self.conns[slot].keep_alive {
            return self.linger(now, slot, Disconnect::Answered);
        }
        self.leave_all(now, slot);
        self.grants.remove(slot);
        self.enter(slot, Phase::Kept);
        let conn = &mut self.conns[slot];
        conn.since = now.tick();
        if conn.active.as_ref().is_some_and(|active| !active.head.is_empty()) {
            // The next request came while this one was being answered.
            self.list_again(slot);
        }
        self.hand.expect(now.mono_ms + KEEP_ALIVE_MS);
    }
}

/// Refuses a request with a body where none has a meaning: its bytes must not be taken for the next request.
pub(super) fn no_body(head: &Head<'_>) -> Result<(), Refusal> {
    match body_length(head)? {
        BodyLength::Length(0) => Ok(()),
        BodyLength::Length(_) | BodyLength::Chunked => {
            Err(Refusal::bad_request("this request has no body: leave it out").because(Cause::Body))
        }
    }
}

fn method_not_allowed(allowed: &'static str) -> Refusal {
    Refusal::new(405, "method_not_allowed", format!("use one of {allowed}"))
        .with_header("Allow", allowed)
        .because(Cause::Method)
}

const LIVE: &str = "/live";
const EVENTS: &str = "/events";
const POLL: &str = "/poll";
const NOT_FOUND: &str =
    "there are /live for WebSocket, /events for a stream of events, /poll for polling, and /roost.js";
