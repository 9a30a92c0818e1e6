//! What an operator is told of a connection. Must never say what it got or said, nor what its token is.

use super::Shard;
use super::conn_table::Token;
use super::walk::queued_bytes;
use crate::api::connections::{Connection, Detail, Facts, Followed, Following, seconds};
use crate::clock::Now;
use crate::conn::Conn;
use crate::conn::socket::{Socket, Traffic};
use crate::conn::subscriptions::Subscription;
use crate::dialect::cursor::Cursor;
use crate::hub::conn_key::ConnKey;
use crate::hub::subscribers::State;
use crate::limits::CHANNELS_TOLD;
use std::sync::Arc;

impl<S: Socket> Shard<S> {
    /// What a list says of a connection; None when it is gone, or about to be.
    pub(super) fn tell_of(&self, now: Now, token: Token) -> Option<Connection> {
        let conn = self.conns.find(token).filter(|conn| !conn.phase.is_over())?;
        let subscriptions = conn.subscriptions.as_slice().iter().take(CHANNELS_TOLD);
        let channels = subscriptions.map(|subscription| self.name_of(*subscription)).collect();
        Some(Connection { facts: self.facts(now, token.slot, conn.socket.traffic()), channels })
    }

    /// All about a connection; None when it is gone, or about to be.
    pub(super) fn portray(&self, now: Now, token: Token) -> Option<Box<Detail>> {
        let conn = self.conns.find(token).filter(|conn| !conn.phase.is_over())?;
        let traffic = conn.socket.traffic();
        let over_soft_since = conn.active.as_ref().and_then(|active| active.over_soft_since);
        let grant = self.grants.get(token.slot);
        let subscriptions = conn.subscriptions.as_slice().iter();
        Some(Box::new(Detail {
            facts: self.facts(now, token.slot, traffic),
            silent_s: conn.phase.is_websocket().then(|| seconds(conn.since.elapsed_ms(now))),
            rtt_ms: traffic.map(|traffic| f64::from(traffic.rtt_us) / 1000.0),
            token_expires_in_s: grant.map(|grant| grant.expires_s().saturating_sub(now.wall_ms / 1000)),
            hidden: conn.hidden,
            over_soft_ms: over_soft_since.map(|since| since.elapsed_ms(now)),
            channels: subscriptions.map(|subscription| self.followed(conn, *subscription)).collect(),
        }))
    }

    fn facts(&self, now: Now, slot: u32, traffic: Option<Traffic>) -> Facts {
        let conn = &self.conns[slot];
        let ConnKey { shard, .. } = self.key(slot);
        Facts {
            connection: self.key(slot).to_string(),
            shard: shard.0,
            transport: conn.phase.transport(),
            peer: conn.socket.peer(),
            age_s: seconds(self.conns.opened(slot).elapsed_ms(now)),
            user: self.grants.get(slot).map(|grant| grant.user().into()),
            subscriptions: conn.subscriptions.as_slice().len(),
            queued_bytes: queued_bytes(conn),
            sent_bytes: traffic.map(|traffic| traffic.sent_bytes),
            received_bytes: traffic.map(|traffic| traffic.received_bytes),
        }
    }

    fn followed(&self, conn: &Conn<S>, subscription: Subscription) -> Followed {
        let subscribers = &self.hub.channels.channel(subscription.channel).subscribers;
        let (state, cursor) = if subscription.is_joining() {
            (Following::Joining, None)
        } else {
            match subscribers.state(subscription.position) {
                State::Live => (Following::Live, None),
                State::Replaying => (Following::Replaying, replays_from(conn, subscription)),
                State::Lagging => {
                    let behind = subscribers.lagging(subscription.position);
                    let stands = behind.map(|(latest, offset)| Cursor { epoch: latest.epoch(), offset });
                    (Following::Lagging, stands)
                }
            }
        };
        // A stream of several channels and a poll know their places at all times.
        let placed = conn.subscriptions.places().find(|(one, _)| one.channel == subscription.channel);
        Followed { channel: self.name_of(subscription), state, cursor: cursor.or(placed.map(|(_, at)| at)) }
    }

    fn name_of(&self, subscription: Subscription) -> Arc<str> {
        self.hub.channels.channel(subscription.channel).name.clone()
    }
}

fn replays_from<S>(conn: &Conn<S>, subscription: Subscription) -> Option<Cursor> {
    let replays = conn.active.as_ref()?.replays.as_ref()?;
    replays.since(subscription.channel)
}
