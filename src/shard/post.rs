//! Mail arrives and is sent. The owner's side of joins and publications stands here. Must never answer a
//! connection that is gone: its token finds nothing.

use super::Shard;
use super::broker::Waiter;
use super::conn_table::Token;
use super::mail::{ConnKey, LateAnswer, Mail, Parcel, Publisher, Report};
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::Subscription;
use crate::dialect::cursor::Cursor;
use crate::hub::ShardId;
use crate::hub::broker::Refusal;
use crate::hub::owned::Joined;
use crate::hub::publication::Publication;
use std::sync::Arc;

impl<S: Socket> Shard<S> {
    /// Does what one piece of mail asks for.
    pub fn mail(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Join { conn, subscription, name, since, id } if self.settings.brokered => {
                self.mirror_join(now, &name, since, Waiter::Join(conn, subscription, id));
            }
            Mail::Join { conn, subscription, name, since, id } => {
                let joined = self.hub.owned.join(&name, conn.shard, since, now);
                self.post(conn.shard, Mail::Joined { conn, subscription, joined, id });
            }
            Mail::Joined { conn, subscription, joined, id } => {
                self.joined(now, conn, subscription, joined, id.as_deref());
            }
            Mail::NotJoined { conn, subscription, id } => {
                self.not_joined(now, conn, subscription, id.as_deref());
            }
            Mail::Replay { conn, serial, name, since } if self.settings.brokered => {
                self.mirror_join(now, &name, Some(since), Waiter::Replay(conn, serial));
            }
            Mail::Replay { conn, serial, name, since } => {
                let joined = self.hub.owned.join(&name, conn.shard, Some(since), now);
                self.post(conn.shard, Mail::Replayed { conn, serial, joined });
            }
            Mail::Replayed { conn, serial, joined } => self.replayed(now, conn, serial, joined),
            Mail::Leave { shard, name } => self.left(now, &name, shard),
            Mail::Later { conn, name, answer, id, returning: false } if self.settings.brokered => {
                self.mirror_late(now, &name, Waiter::Late(conn, answer, id));
            }
            Mail::Later { conn, name, mut answer, id, returning: false } => {
                if let LateAnswer::Presence { beside, users } = &mut answer {
                    (*beside, *users) = self.known_presence(&name, conn.shard);
                }
                self.post(conn.shard, Mail::Later { conn, name, answer, id, returning: true });
            }
            Mail::Later { conn, name, answer, id, returning: true } => {
                self.serve_if_open(now, conn, |shard| shard.answer_late(&name, &answer, id.as_deref()));
            }
            Mail::Publish { name, data, key, publisher } if self.settings.brokered => {
                self.mirror_publish(now, name, data, key, publisher);
            }
            Mail::Publish { name, data, key, mut publisher } => {
                let cursor = self.number_once(now, &name, &data, key, publisher.take_id());
                self.tell_publisher(name.into(), cursor.ok_or(Refusal::Overloaded), publisher);
            }
            Mail::Published { conn, name, offset, id } => {
                self.serve_if_open(now, conn, |shard| {
                    shard.published(&name, offset, id.as_deref());
                });
            }
            Mail::Publication(publication) => self.deliver(now, publication),
            Mail::Break { name, last } => self.break_off(now, &name, last),
            Mail::Told(told) => self.told(now, *told),
            Mail::Present { shard, name, count, users } => {
                self.hub.presence.tell(&name, shard, count, &users, now);
            }
            Mail::Notice { name, frame } => self.notify(now, &name, frame),
            Mail::Ask { ticket, question } => self.questioned(now, ticket, question),
            Mail::Disconnect { ticket, kick } => self.look_for(ticket, kick),
            Mail::Reload(rules) => self.settings.take_over((*rules).clone()),
            Mail::Drain(order) => self.begin_drain(now, order),
            Mail::Resume => self.end_drain(),
        }
    }

    /// As [`Shard::number`]; what its publisher has sent before is known by its id, and goes to nobody again.
    fn number_once(
        &mut self,
        now: Now,
        name: &str,
        data: &str,
        key: Option<Arc<str>>,
        id: Option<Box<str>>,
    ) -> Option<Cursor> {
        let Some(id) = id else { return self.number(now, name, data, key) };
        if let Some(cursor) = self.hub.owned.repeated(name, &id, now) {
            self.counters.repeated += 1;
            return Some(cursor);
        }
        let cursor = self.number(now, name, data, key)?;
        self.hub.owned.remember(name, id, cursor.offset, now);
        Some(cursor)
    }

    /// Numbers a publication of a channel that this shard owns and sends it on its way. None when there is no room.
    pub(super) fn number(
        &mut self,
        now: Now,
        name: &str,
        data: &str,
        key: Option<Arc<str>>,
    ) -> Option<Cursor> {
        let policy = self.settings.policies.for_channel(name);
        let (publication, cursor, interested) = self.hub.owned.publish(name, data, key, policy, now).ok()?;
        self.counters.published += 1;
        for shard in interested.iter() {
            if shard == self.settings.id {
                self.deliver(now, publication.clone());
            } else {
                self.post(shard, Mail::Publication(publication.clone()));
            }
        }
        Some(cursor)
    }

    /// Lines a publication up for this shard's subscribers.
    fn deliver(&mut self, now: Now, publication: Publication) {
        // Nobody is there any more when the last one left while it was on its way.
        let Some(id) = self.hub.channels.find(&publication.channel) else { return };
        let subscribers = &mut self.hub.channels.channel_mut(id).subscribers;
        if subscribers.publish(publication) {
            self.passes.begin(now, id);
        }
    }

    /// Puts mail among what is carried out at the end of the turn.
    pub(super) fn post(&mut self, to: ShardId, mail: Mail) {
        self.parcels.push(Parcel::Shard(to, mail));
    }

    fn joined(
        &mut self,
        now: Now,
        conn: ConnKey,
        subscription: Subscription,
        joined: Joined,
        id: Option<&str>,
    ) {
        self.serve_if_open(now, conn, |shard| {
            shard.join(now, conn.slot, subscription, joined, id);
            shard.begin_if_joined(now, conn.slot);
        });
        // Only now: an answer that does not fit may cut the connection, and the channel must outlive that.
        self.hub.channels.join_ends(subscription.channel);
        // When the connection is gone or follows no more, the owner counts this shard as interested for nobody.
        self.forget_if_unused(now, subscription.channel);
    }

    /// Does something that answers a request which its owner has been asked about.
    pub(super) fn serve_if_open(&mut self, now: Now, conn: ConnKey, work: impl FnOnce(&mut Self)) {
        let token = Token { slot: conn.slot, generation: conn.generation };
        if self.conns.find(token).is_some_and(|conn| conn.phase.is_open()) {
            self.conns[conn.slot].asked -= 1;
            self.serve(now, conn.slot, |shard| {
                work(shard);
                shard.answer_call(now, conn.slot, 0);
            });
        }
    }

    pub(super) fn tell_publisher(
        &mut self,
        name: Arc<str>,
        outcome: Result<Cursor, Refusal>,
        publisher: Publisher,
    ) {
        match publisher {
            Publisher::Conn(conn, id) => {
                let offset = outcome.map(|cursor| cursor.offset);
                self.post(conn.shard, Mail::Published { conn, name, offset, id });
            }
            Publisher::Call { ticket, index, .. } => {
                self.parcels.push(Parcel::Control(Report::Published { ticket, index, outcome }));
            }
        }
    }
}
