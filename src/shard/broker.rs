//! A broker numbers the channels: what their owner is asked goes through its mirror (`hub/mirror.rs`), and what comes of that is sent.
//! Must never answer by a shorter road than the mailbox, not even within one shard: what the broker's answer let wait would be
//! overtaken.

use super::Shard;
use super::mail::{ConnKey, LateAnswer, Mail, Parcel, Publisher, RequestId};
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::{ChannelId, Subscription};
use crate::dialect::cursor::Cursor;
use crate::dialect::native::{Code, Refused};
use crate::disconnect::Disconnect;
use crate::hub::ShardId;
use crate::hub::broker::{Ask, Draft, Refusal, Told};
use crate::hub::mirror::{Effect, Ground, Mirror};
use crate::proto::http;
use std::sync::Arc;

/// Who waits for an owner that waits for the broker.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A connection that joins.
    Join(ConnKey, Subscription, RequestId),
    /// One that gets its past, with the serial number of its question.
    Replay(ConnKey, u32),
    /// An answer that must not overtake.
    Late(ConnKey, LateAnswer, RequestId),
}

impl<S: Socket> Shard<S> {
    /// Whether this shard is the owner and answers at once.
    pub(super) fn is_at_hand(&self, owner: ShardId) -> bool {
        owner == self.settings.id && !self.settings.brokered
    }

    /// Hands a question to the mirror and sends what comes of it.
    fn mirror(
        &mut self,
        now: Now,
        name: &Arc<str>,
        act: impl FnOnce(&mut Mirror<Waiter>, Ground<'_>, &Arc<str>),
    ) {
        let ground = Ground { owned: &mut self.hub.owned, policies: &self.settings.policies, now };
        act(&mut self.mirror, ground, name);
        self.send_effects(name);
    }

    pub(super) fn mirror_join(&mut self, now: Now, name: &Arc<str>, since: Option<Cursor>, who: Waiter) {
        let (Waiter::Join(conn, ..) | Waiter::Replay(conn, _) | Waiter::Late(conn, ..)) = &who;
        let shard = conn.shard;
        // Whoever is in the middle of its past has no other place to go.
        let patient = matches!(who, Waiter::Replay(..));
        self.mirror(now, name, |mirror, ground, name| mirror.join(ground, name, shard, since, patient, who));
    }

    pub(super) fn mirror_late(&mut self, now: Now, name: &Arc<str>, who: Waiter) {
        self.mirror(now, name, |mirror, ground, name| mirror.queue(ground, name, who));
    }

    /// Sends a publication to the broker, or says why not.
    pub(super) fn mirror_publish(
        &mut self,
        now: Now,
        name: Box<str>,
        data: Box<str>,
        key: Option<Arc<str>>,
        mut publisher: Publisher,
    ) {
        if self.mirror.is_away() {
            return self.tell_publisher(name.into(), Err(Refusal::Unavailable), publisher);
        }
        if self.broker_congested {
            return self.tell_publisher(name.into(), Err(Refusal::Overloaded), publisher);
        }
        let policy = self.settings.policies.for_channel(&name);
        let keep = if policy.history_ttl_ms == 0 { 0 } else { policy.history };
        let draft = Draft {
            keep,
            keep_ms: policy.history_ttl_ms,
            name: name.into(),
            data,
            key,
            id: publisher.take_id(),
            wall_ms: now.wall_ms,
            publisher,
        };
        self.parcels.push(Parcel::Broker(Ask::Publish(Box::new(draft))));
    }

    /// The broker tells something.
    pub(super) fn told(&mut self, now: Now, told: Told) {
        match told {
            Told::Stands { name, cursor } => {
                self.mirror(now, &name, |mirror, ground, name| mirror.stands(ground, name, cursor));
            }
            Told::Kept { name, after, cursor, entries } => {
                self.mirror(now, &name, |mirror, ground, name| {
                    mirror.kept(ground, name, after, cursor, entries)
                });
            }
            Told::Incoming { name, epoch, entry } => {
                self.mirror(now, &name, |mirror, ground, name| mirror.incoming(ground, name, epoch, entry));
            }
            Told::Failed(name) => self.mirror(now, &name, Mirror::failed),
            Told::Published { name, publisher, outcome, repeated } => {
                match outcome {
                    Ok(_) if repeated => self.counters.repeated += 1,
                    Ok(_) => self.counters.published += 1,
                    Err(_) => {}
                }
                self.tell_publisher(name, outcome, publisher);
            }
            Told::Asked { .. } | Told::Heard { .. } => unreachable!("that is for the control thread"),
            Told::Away => self.mirror.set_away(true),
            Told::Back => self.mirror.set_away(false),
        }
    }

    /// Stops following what nobody follows here any more.
    pub(super) fn unfollow_forgotten(&mut self) {
        let forgotten: Vec<_> = self.hub.owned.forgotten().collect();
        for name in forgotten {
            self.mirror.forget(name.clone());
            self.send_effects(&name);
        }
    }

    fn send_effects(&mut self, name: &Arc<str>) {
        let effects: Vec<_> = self.mirror.effects().collect();
        for effect in effects {
            match effect {
                Effect::Ask(ask) => self.parcels.push(Parcel::Broker(ask)),
                Effect::Publish(publication, to) => {
                    to.iter().for_each(|shard| self.post(shard, Mail::Publication(publication.clone())));
                }
                Effect::Break { name, last, to } => {
                    to.iter().for_each(|shard| self.post(shard, Mail::Break { name: name.clone(), last }));
                }
                Effect::Answer(Waiter::Join(conn, subscription, id), joined) => {
                    self.post(conn.shard, Mail::Joined { conn, subscription, joined, id });
                }
                Effect::Answer(Waiter::Replay(conn, serial), joined) => {
                    self.post(conn.shard, Mail::Replayed { conn, serial, joined });
                }
                Effect::Turn(Waiter::Late(conn, mut answer, id)) => {
                    if let LateAnswer::Presence { beside, users } = &mut answer {
                        (*beside, *users) = self.known_presence(name, conn.shard);
                    }
                    let name = name.clone();
                    self.post(conn.shard, Mail::Later { conn, name, answer, id, returning: true });
                }
                Effect::Refuse(Waiter::Join(conn, subscription, id)) => {
                    self.post(conn.shard, Mail::NotJoined { conn, subscription, id });
                }
                // Its channel is given up: it is gone itself, or its shard would still be interested.
                Effect::Refuse(Waiter::Replay(..)) => {}
                Effect::Answer(Waiter::Late(..), _) | Effect::Turn(_) | Effect::Refuse(_) => {
                    unreachable!("an answer of another kind than was asked for")
                }
            }
        }
    }

    /// The owner cannot answer a join: the broker is away.
    pub(super) fn not_joined(
        &mut self,
        now: Now,
        conn: ConnKey,
        subscription: Subscription,
        id: Option<&str>,
    ) {
        self.serve_if_open(now, conn, |shard| shard.refuse_join(now, conn.slot, subscription, id));
        self.hub.channels.join_ends(subscription.channel);
        self.forget_if_unused(now, subscription.channel);
    }

    fn refuse_join(&mut self, now: Now, slot: u32, subscription: Subscription, id: Option<&str>) {
        const WHY: &str = "the broker is away, try again later";
        match self.conns[slot].phase {
            Phase::Poll => {
                let refusal = http::Refusal::new(503, "unavailable", WHY).with_header("Retry-After", "1");
                self.refuse(now, slot, &refusal);
            }
            // Its client comes back by itself.
            Phase::Stream => self.linger(now, slot, Disconnect::TryLater),
            _ => {
                if self.conns[slot].subscriptions.find(subscription.channel) == Some(subscription) {
                    self.conns[slot].subscriptions.remove(subscription.channel);
                }
                self.error(&Refused::new(Code::Unavailable, WHY), id);
            }
        }
    }

    /// What is published to a channel next does not follow what came: everyone comes back for it with the place that it has.
    pub(super) fn break_off(&mut self, now: Now, name: &str, last: Cursor) {
        let Some(id) = self.hub.channels.find(name) else { return };
        let broken = self.hub.channels.channel_mut(id).subscribers.break_off(last);
        for (slot, since) in broken.lagging {
            self.fall_behind(slot, id, since);
            self.list_replay(slot);
        }
        if broken.begins {
            self.passes.begin(now, id);
        }
    }

    /// A live subscriber stands behind a break that others are still to be told of: it waits until they are.
    pub(super) fn wait_for_break(&mut self, slot: u32, channel: ChannelId, has: Cursor) {
        let subscribers = &mut self.hub.channels.channel_mut(channel).subscribers;
        let Some(subscription) = self.conns[slot].subscriptions.find(channel).filter(|one| !one.is_joining())
        else {
            return;
        };
        if subscribers.is_breaking() && subscribers.is_live(subscription.position) {
            subscribers.pause(subscription.position);
            self.fall_behind(slot, channel, has);
            self.list_replay(slot);
        }
    }
}
