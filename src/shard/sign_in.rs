//! Who a client is and what it may do, by the token that it shows: in its request, or in a message later on. Must never say anything of
//! a token but why it is refused.
//!
//! What is signed in without a WebSocket is signed in for one request. A WebSocket is told half a minute before its token ends; it
//! shows another one, or is closed with 4002.

use super::Shard;
use crate::clock::Now;
use crate::config::policy::Policy;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::dialect::native::{self, Answer, Code, Refused};
use crate::disconnect::Disconnect;
use crate::limits::{TOKEN_LEEWAY_S, TOKEN_WARNING_MS};
use crate::metrics::cause::Cause;
use crate::proto::http::{Head, Refusal};
use crate::proto::query::parameter;
use crate::tokens::rights::{Denial, may_publish, may_subscribe};
use crate::tokens::{self, Grant, Token};

impl<S: Socket> Shard<S> {
    /// What the token of a request allows; None where there is no token.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn grant_of(&mut self, now: Now, head: &Head<'_>) -> Result<Option<Grant>, tokens::Refusal> {
        let authorization = head.header("Authorization").and_then(Token::from_authorization);
        if let Some(token) = authorization {
            return self.verify(now, token).map(Some);
        }
        let parameter = parameter(head.query, "token").filter(|token| !token.is_empty());
        parameter.map(|token| self.verify(now, Token::new(token.as_bytes()))).transpose()
    }

    fn verify(&mut self, now: Now, token: Token<'_>) -> Result<Grant, tokens::Refusal> {
        let verified = tokens::verify(&self.settings.keys, &self.settings.demands, token, now);
        verified.inspect_err(|refusal| self.counters.token_refusals[refusal.index()] += 1)
    }

    /// Signs in for a request without a WebSocket.
    pub(super) fn sign_in_by_head(&mut self, now: Now, slot: u32, head: &Head<'_>) -> Result<(), Refusal> {
        match self.grant_of(now, head) {
            Ok(None) => Ok(()),
            Ok(Some(grant)) => {
                self.grants.insert(slot, grant);
                Ok(())
            }
            Err(refusal) => Err(unauthorized(refusal.to_string())),
        }
    }

    /// A client shows a token over its WebSocket. The connection is being served.
    pub(super) fn authenticate(&mut self, now: Now, slot: u32, token: &str, id: Option<&str>) {
        match self.verify(now, Token::new(token.as_bytes())) {
            Ok(grant) => {
                let expires_in_ms = ends_ms(&grant, now) - now.mono_ms;
                self.sign_in(now, slot, grant);
                native::put_answer(&mut self.replies, &Answer::Authenticated { expires_in_ms }, id);
                self.leave_forbidden(now, slot);
            }
            Err(refusal) => self.error(&Refused::new(Code::Unauthorized, refusal.to_string()), id),
        }
    }

    /// Notes what a connection may do from now on, and whose it is.
    pub(super) fn sign_in(&mut self, now: Now, slot: u32, grant: Grant) {
        self.hand.expect(ends_ms(&grant, now).saturating_sub(TOKEN_WARNING_MS));
        self.note_moves(slot, -1);
        self.grants.insert(slot, grant);
        self.note_moves(slot, 1);
    }

    /// It comes or goes as the user that it is now.
    fn note_moves(&mut self, slot: u32, by: i32) {
        for at in 0..self.conns[slot].subscriptions.as_slice().len() {
            let subscription = self.conns[slot].subscriptions.as_slice()[at];
            if !subscription.is_joining() {
                self.note_move(slot, subscription.channel, by);
            }
        }
    }

    /// What the new token does not allow ends.
    fn leave_forbidden(&mut self, now: Now, slot: u32) {
        let name = |channel| self.hub.channels.channel(channel).name.clone();
        let followed = self.conns[slot].subscriptions.as_slice().iter().map(|one| name(one.channel));
        let forbidden: Vec<_> =
            followed.filter(|name| self.check_subscribe(now, slot, name).is_err()).collect();
        for name in forbidden {
            self.unsubscribe(now, slot, &name, None);
        }
    }

    /// Whether a client may follow a channel, and know who else does.
    ///
    /// # Errors
    /// `unauthorized` without a token, `forbidden` with one that does not allow it.
    pub(super) fn check_subscribe(&self, now: Now, slot: u32, channel: &str) -> Result<(), Refused> {
        self.check(now, slot, channel, may_subscribe)
    }

    /// Whether a client may publish to a channel.
    ///
    /// # Errors
    /// As [`Shard::check_subscribe`], and `forbidden` where clients may not publish at all.
    pub(super) fn check_publish(&self, now: Now, slot: u32, channel: &str) -> Result<(), Refused> {
        self.check(now, slot, channel, may_publish)
    }

    fn check(
        &self,
        now: Now,
        slot: u32,
        channel: &str,
        may: impl FnOnce(&Policy, Option<&Grant>, &str) -> Result<(), Denial>,
    ) -> Result<(), Refused> {
        let grant = self.grants.get(slot).filter(|grant| !grant.is_expired(now));
        may(self.settings.policies.for_channel(channel), grant, channel).map_err(|denial| match denial {
            Denial::Unauthorized => {
                Refused::new(Code::Unauthorized, format!("channel {channel} asks for a token"))
            }
            Denial::Forbidden if grant.is_some() => {
                Refused::new(Code::Forbidden, format!("the token does not allow this in channel {channel}"))
            }
            Denial::Forbidden => {
                Refused::new(Code::Forbidden, format!("clients may not do this in channel {channel}"))
            }
        })
    }

    /// Channels that a connection may follow.
    pub(super) fn channels_max(&self, slot: u32) -> usize {
        let most = self.settings.limits.channels_per_conn_max;
        self.grants.get(slot).map_or(most, |grant| grant.channels_max(most))
    }

    /// Messages that a connection may send in a second.
    pub(super) fn messages_per_second(&self, slot: u32) -> u32 {
        let most = self.settings.limits.messages_per_second;
        self.grants.get(slot).map_or(most, |grant| grant.messages_per_second(most))
    }

    /// Warns a client whose token ends soon, and ends one whose token has. Returns when to look again.
    pub(super) fn visit_grant(&mut self, now: Now, slot: u32) -> u64 {
        let phase = self.conns[slot].phase;
        let lasting = matches!(phase, Phase::Live | Phase::Stream);
        let Some(signed) = self.grants.get_mut(slot).filter(|_| lasting) else { return u64::MAX };
        let ends_ms = ends_ms(&signed.grant, now);
        let warns_ms = ends_ms.saturating_sub(TOKEN_WARNING_MS);
        if ends_ms <= now.mono_ms {
            self.serve(now, slot, |shard| shard.end(now, slot, Disconnect::TokenExpired));
            return now.mono_ms + self.settings.limits.close_timeout_ms;
        }
        if signed.warned || warns_ms > now.mono_ms {
            return if signed.warned { ends_ms } else { warns_ms };
        }
        signed.warned = true;
        if phase == Phase::Live {
            let expires_in_ms = ends_ms - now.mono_ms;
            let answer = Answer::Expiring { expires_in_ms };
            self.serve(now, slot, |shard| native::put_answer(&mut shard.replies, &answer, None));
        }
        ends_ms
    }
}

/// 401 for a request that shows a token which is worth nothing here, or none where one is asked for.
fn unauthorized(message: String) -> Refusal {
    let refusal = Refusal::new(401, "unauthorized", message).with_header("WWW-Authenticate", "Bearer");
    refusal.because(Cause::Token)
}

/// When a grant ends, on the clock that does not leap; not before now.
fn ends_ms(grant: &Grant, now: Now) -> u64 {
    let ends_wall_ms = (grant.expires_s() + TOKEN_LEEWAY_S).saturating_mul(1000);
    now.mono_ms + ends_wall_ms.saturating_sub(now.wall_ms)
}
