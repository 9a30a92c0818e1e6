//! A request head arrives: an upgrade, or an answer with a reason. Must never write a byte before the 101.

use super::Shard;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::dialect::cursor::Cursor;
use crate::dialect::native::{self, Answer, SUBPROTOCOL};
use crate::hub::ShardId;
use crate::proto::handshake::{self, Upgrade};
use crate::proto::http::{Head, HeadScanner, Refusal};
use crate::proto::query::parse_live_query;

/// A channel asked for in the query, checked.
type Wanted = (String, Option<Cursor>);

impl<S: Socket> Shard<S> {
    /// Looks for the end of the head; parses it once it is there.
    pub(super) fn feed_head(&mut self, now: Now, slot: u32, bytes: &mut [u8]) {
        let conn = &mut self.conns[slot];
        match &mut conn.active {
            Some(active) if !active.head.is_empty() => {
                let mut head = std::mem::take(&mut active.head);
                let mut scanner = std::mem::take(&mut active.scanner);
                head.extend_from_slice(bytes);
                if !self.head_in(now, slot, &mut head, &mut scanner) {
                    let active = self.conns[slot].activate();
                    (active.head, active.scanner) = (head, scanner);
                }
            }
            Some(_) | None => {
                let mut scanner = HeadScanner::default();
                if !self.head_in(now, slot, bytes, &mut scanner) {
                    let active = self.conns[slot].activate();
                    (active.head, active.scanner) = (bytes.to_vec(), scanner);
                }
            }
        }
    }

    /// False when the head goes on behind `bytes`.
    fn head_in(&mut self, now: Now, slot: u32, bytes: &mut [u8], scanner: &mut HeadScanner) -> bool {
        let length = match scanner.scan(bytes) {
            Ok(None) => return false,
            Ok(Some(length)) => length,
            Err(refusal) => {
                self.refuse(now, slot, &refusal);
                return true;
            }
        };
        let (head, rest) = bytes.split_at_mut(length);
        match Head::parse(head).and_then(|head| self.answer_head(now, slot, &head)) {
            Ok(()) if !rest.is_empty() => self.feed_frames(now, slot, rest),
            Ok(()) => {}
            Err(refusal) => self.refuse(now, slot, &refusal),
        }
        true
    }

    fn answer_head(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        if self.drain.is_some() {
            return Err(Refusal::unavailable());
        }
        match head.path {
            "/live" => self.upgrade_live(now, slot, head),
            "/echo" if self.settings.echo => {
                let upgrade = handshake::check(head, &self.settings.origins)?;
                self.switch(now, slot, Phase::Echo, &upgrade, None);
                Ok(())
            }
            _ => Err(Refusal::new(404, "not_found", "there is /live here, for WebSocket")),
        }
    }

    fn upgrade_live(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let upgrade = handshake::check(head, &self.settings.origins)?;
        let wanted = self.wanted(head)?;
        let protocol = upgrade.has_protocol(SUBPROTOCOL).then_some(SUBPROTOCOL);
        self.switch(now, slot, Phase::Live, &upgrade, protocol);
        if protocol.is_some() {
            self.welcome(slot);
        }
        for (channel, since) in wanted {
            self.subscribe(now, slot, &channel, since, None);
        }
        let conn = &mut self.conns[slot];
        conn.corked = conn.asked > 0;
        Ok(())
    }

    /// The channels of the query, all of them good or none.
    fn wanted(&self, head: &Head<'_>) -> Result<Vec<Wanted>, Refusal> {
        let query = parse_live_query(head.query)?;
        let most = self.settings.limits.channels_per_conn_max;
        if query.channels.len() > most {
            let message = format!("at most {most} channels a connection");
            return Err(Refusal::new(400, "too_many_channels", message));
        }
        let mut wanted: Vec<Wanted> = Vec::with_capacity(query.channels.len());
        for (channel, since) in query.channels {
            native::check_channel(&channel)?;
            let since = native::since(since.map(Into::into))?;
            if wanted.iter().any(|(other, _)| *other == channel) {
                return Err(Refusal::new(400, "bad_request", format!("channel {channel} is named twice")));
            }
            wanted.push((channel, since));
        }
        Ok(wanted)
    }

    fn switch(&mut self, now: Now, slot: u32, phase: Phase, upgrade: &Upgrade<'_>, protocol: Option<&str>) {
        handshake::put_switching(&mut self.replies, upgrade, protocol);
        self.counters.upgraded += 1;
        let conn = &mut self.conns[slot];
        conn.phase = phase;
        conn.since = now.tick();
        self.hand.expect_ping(slot, now);
    }

    fn welcome(&mut self, slot: u32) {
        let session = session(self.settings.id, slot, self.conns[slot].generation);
        let ping_ms = self.settings.limits.ping_interval_ms;
        let answer = Answer::Welcome { session: &session, ping_ms, node: &self.settings.node };
        native::put_answer(&mut self.replies, &answer, None);
    }
}

/// A connection's id, as the API knows it.
pub(super) fn session(shard: ShardId, slot: u32, generation: u32) -> String {
    format!("{:x}.{slot:x}.{generation:x}", shard.0)
}
