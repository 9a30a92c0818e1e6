//! An operator who wants connections to be gone.

use crate::client::Client;
use crate::faults::pick;
use crate::trace::say;
use crate::world::World;
use roost::api::disconnect::{Kick, Who};
use roost::disconnect::Disconnect;
use roost::hub::ShardId;
use roost::shard::conn_table::Token;
use roost::shard::mail::{ConnKey, Mail};

/// Time over which the ends are spread, in milliseconds.
pub(crate) const KICK_OVER_MS: u64 = 3_000;

impl World {
    /// An operator wants somebody to be gone, or everybody in a channel. Whoever is here may be meant, and nobody who comes when
    /// all shards have counted.
    pub(crate) fn kick(&mut self) {
        let Some(at) = self.pick().filter(|_| self.kicked().is_none()) else { return };
        let Client { shard, token: Token { slot, generation }, .. } = self.clients[at];
        let channel = self.channel();
        let who = match self.rng.u8(..3) {
            0 => Who::Channel(self.truth.names[channel].as_str().into()),
            _ => Who::Connection(ConnKey { shard: ShardId(shard as u16), slot, generation }),
        };
        let code = pick(&mut self.rng, &[Disconnect::Kicked, Disconnect::TryLater]).code();
        let over_ms = if self.rng.bool() { 0 } else { self.rng.u64(..KICK_OVER_MS) };
        let kick = Kick { who, code, over_ms };
        say(|| format!("the operator wants {kick:?}"));
        // Who is meant twice may go with either code; one that is remembered is enough for one call.
        let meant = |client: &&mut Client| match &kick.who {
            Who::Connection(_) => (client.shard, client.token) == (shard, Token { slot, generation }),
            Who::Channel(_) | Who::User(_) | Who::Ip(_) => true,
        };
        if self.clients.iter_mut().filter(meant).any(|client| client.manners.kicked.is_some()) {
            return;
        }
        self.clients.iter_mut().filter(meant).for_each(|client| client.manners.kicked = Some(code));
        let ticket = self.next_ticket();
        for shard in 0..self.node.len() {
            self.node.send(shard, Mail::Disconnect { ticket, kick: Box::new(kick.clone()) });
        }
        self.questions.insert(ticket, self.node.len());
        self.kick = Some((ticket, code));
    }

    /// The code of the call that some shards have still to count for.
    pub(crate) fn kicked(&self) -> Option<u16> {
        self.kick
            .filter(|(ticket, _)| self.questions.get(ticket).is_some_and(|left| *left > 0))
            .map(|(_, code)| code)
    }
}
