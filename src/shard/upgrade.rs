//! A request becomes a WebSocket. Must never write a byte before the 101.

use super::Shard;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::dialect::native::{self, Answer, SUBPROTOCOL};
use crate::disconnect::Disconnect;
use crate::metrics::cause::Cause;
use crate::proto::handshake::{self, Upgrade};
use crate::proto::http::{Head, Refusal};

impl<S: Socket> Shard<S> {
    pub(super) fn upgrade_live(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let upgrade = handshake::check(head, &self.settings.origins)?;
        let wanted = self.wanted(slot, head)?;
        let signed = self.grant_of(now, head);
        let protocol = upgrade.has_protocol(SUBPROTOCOL).then_some(SUBPROTOCOL);
        self.switch(now, slot, Phase::Live, &upgrade, protocol);
        if protocol.is_some() {
            self.welcome(slot);
        }
        match signed {
            Ok(grant) => grant.into_iter().for_each(|grant| self.sign_in(now, slot, grant)),
            Err(refusal) => {
                self.count_failure(Cause::Token);
                // A page hears of a close code, and of no status.
                let reason = format!("{}: {refusal}", Disconnect::Unauthorized.reason());
                self.end_with(now, slot, Disconnect::Unauthorized, &reason);
                return Ok(());
            }
        }
        for (channel, since) in wanted {
            self.subscribe(now, slot, &channel, since, None);
        }
        let conn = &mut self.conns[slot];
        conn.corked = conn.asked > 0;
        Ok(())
    }

    pub(super) fn upgrade_echo(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let upgrade = handshake::check(head, &self.settings.origins)?;
        self.switch(now, slot, Phase::Echo, &upgrade, None);
        Ok(())
    }

    fn switch(&mut self, now: Now, slot: u32, phase: Phase, upgrade: &Upgrade<'_>, protocol: Option<&str>) {
        handshake::put_switching(&mut self.replies, upgrade, protocol);
        self.counters.upgraded += 1;
        self.enter(slot, phase);
        self.conns[slot].since = now.tick();
        self.hand.expect_ping(slot, now);
    }

    fn welcome(&mut self, slot: u32) {
        let session = self.key(slot).to_string();
        let ping_ms = self.settings.limits.ping_interval_ms;
        let answer = Answer::Welcome { session: &session, ping_ms, node: &self.settings.node };
        native::put_answer(&mut self.replies, &answer, None);
    }
}
