//! What a client asks for is done. Must never parse: that is the dialect's; must never number: that is the owner's.

use super::Shard;
use super::http::Wanted;
use super::mail::{ConnKey, LateAnswer, Mail, Publisher};
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::rate::Pace;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::{ChannelId, Subscription};
use crate::dialect::cursor::Cursor;
use crate::dialect::native::{self, Answer, Code, Command, Refused, Request};
use crate::hub::ShardId;
use crate::hub::broker::Refusal;
use crate::hub::owned::Joined;

impl<S: Socket> Shard<S> {
    /// Does what one message asks for, or says why not. The connection is being served.
    pub(super) fn command(&mut self, now: Now, slot: u32, request: Request<'_>, pace: Pace) {
        let Request { command, id } = request;
        if pace != Pace::Within {
            let limits = &self.settings.limits;
            let message = format!(
                "at most {} messages a second, {} at once",
                self.messages_per_second(slot),
                limits.messages_burst
            );
            return self.error(&Refused::new(Code::RateLimited, message), id);
        }
        match command {
            Ok(Command::Subscribe { channel, since }) => self.subscribe(now, slot, &channel, since, id),
            Ok(Command::Unsubscribe { channel }) => self.unsubscribe(now, slot, &channel, id),
            Ok(Command::Publish { channel, data }) => self.publish(now, slot, &channel, data, id),
            Ok(Command::Presence { channel }) => self.presence(now, slot, &channel, id),
            Ok(Command::Visibility { hidden }) => self.set_hidden(slot, hidden),
            Ok(Command::Auth { token }) => self.authenticate(now, slot, &token.0, id),
            Ok(Command::Ping) => native::put_answer(&mut self.replies, &Answer::Pong, id),
            Err(refused) => self.error(&refused, id),
        }
    }

    pub(super) fn error(&mut self, refused: &Refused, id: Option<&str>) {
        self.counters.errors += 1;
        let answer = Answer::Error { code: refused.code, message: &refused.message };
        native::put_answer(&mut self.replies, &answer, id);
    }

    /// Asks the owner to join; a second time is an error.
    pub(super) fn subscribe(
        &mut self,
        now: Now,
        slot: u32,
        name: &str,
        since: Option<Cursor>,
        id: Option<&str>,
    ) {
        if self.subscription(slot, name).is_some() {
            let refused = Refused::new(Code::AlreadySubscribed, "this connection follows it already");
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        if let Err(refused) = self.check_subscribe(now, slot, name) {
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        if self.has_all_channels(slot) {
            let message = format!("at most {} channels a connection", self.channels_max(slot));
            let refused = Refused::new(Code::TooManyChannels, message);
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        let subscription = self.begin_join(name);
        self.conns[slot].subscriptions.insert(subscription);
        self.ask_to_join(now, slot, subscription, since, id);
    }

    /// Follows the channels of a request without a WebSocket, each from its place on. The connection is being served.
    pub(super) fn follow_all(&mut self, now: Now, slot: u32, wanted: Vec<Wanted>) {
        let mut joins = Vec::with_capacity(wanted.len());
        for (name, since) in wanted {
            let subscription = self.begin_join(&name);
            self.conns[slot].subscriptions.insert_at(subscription, since.unwrap_or_default());
            joins.push((subscription, since));
        }
        for (subscription, since) in joins {
            self.ask_to_join(now, slot, subscription, since, None);
        }
        self.begin_if_joined(now, slot);
    }

    /// What waits for the answers of all owners begins with the last one.
    pub(super) fn begin_if_joined(&mut self, now: Now, slot: u32) {
        let conn = &self.conns[slot];
        match conn.phase {
            Phase::Stream if conn.asked == 0 => self.stream_begun(slot),
            Phase::Poll if conn.asked == 0 => self.poll_begun(now, slot),
            _ => {}
        }
    }

    fn begin_join(&mut self, name: &str) -> Subscription {
        let channel = self.hub.channels.join_begins(name, &self.settings.policies);
        self.joins = self.joins.wrapping_add(1);
        Subscription::joining(channel, self.joins)
    }

    fn ask_to_join(
        &mut self,
        now: Now,
        slot: u32,
        subscription: Subscription,
        since: Option<Cursor>,
        id: Option<&str>,
    ) {
        let name = self.hub.channels.channel(subscription.channel).name.clone();
        let owner = self.hub.owner(&name);
        if self.is_at_hand(owner) {
            let joined = self.hub.owned.join(&name, owner, since, now);
            self.hub.channels.join_ends(subscription.channel);
            self.join(now, slot, subscription, joined, id);
        } else {
            let conn = self.key(slot);
            self.ask(slot, owner, Mail::Join { conn, subscription, name, since, id: id.map(Into::into) });
        }
    }

    /// The owner has answered: from here on the connection gets what is published, unless it has changed its mind.
    pub(super) fn join(
        &mut self,
        now: Now,
        slot: u32,
        subscription: Subscription,
        joined: Joined,
        id: Option<&str>,
    ) {
        let (channel, Joined { cursor, recovery }) = (subscription.channel, joined);
        if self.conns[slot].subscriptions.find(channel) == Some(subscription) {
            let position = self.hub.channels.subscribe(channel, slot, cursor.offset);
            self.conns[slot].subscriptions.reposition(channel, position);
            self.note_move(slot, channel, 1);
        }
        match self.conns[slot].phase {
            Phase::Stream => return self.stream_joined(slot, channel, cursor, recovery.as_deref()),
            Phase::Poll => return self.poll_joined(now, slot, channel, cursor, recovery.as_deref()),
            _ => {}
        }
        let name = &self.hub.channels.channel(channel).name;
        let recovered = recovery.as_ref().map(|recovery| recovery.gap.is_none());
        native::put_answer(&mut self.replies, &Answer::Subscribed { channel: name, cursor, recovered }, id);
        if let Some(recovery) = recovery {
            self.recover(slot, channel, cursor, &recovery);
        }
        self.wait_for_break(slot, channel, cursor);
    }

    /// Stops following a channel, at once; the answer comes in its turn.
    pub(super) fn unsubscribe(&mut self, now: Now, slot: u32, name: &str, id: Option<&str>) {
        let Some(subscription) = self.subscription(slot, name) else {
            let refused = Refused::new(Code::NotSubscribed, "this connection does not follow it");
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        };
        self.conns[slot].subscriptions.remove(subscription.channel);
        self.end_replay(slot, subscription.channel);
        self.leave(now, slot, subscription);
        self.answer_in_turn(slot, name, LateAnswer::Unsubscribed, id);
    }

    /// Answers now, or behind what an owner on another shard still has to answer: answers keep the order of the
    /// requests on a channel.
    pub(super) fn answer_in_turn(&mut self, slot: u32, name: &str, answer: LateAnswer, id: Option<&str>) {
        let owner = self.hub.owner(name);
        if self.conns[slot].asked == 0 || self.is_at_hand(owner) {
            return self.answer_late(name, &answer, id);
        }
        let (conn, name, id) = (self.key(slot), name.into(), id.map(Into::into));
        self.ask(slot, owner, Mail::Later { conn, name, answer, id, returning: false });
    }

    /// It is the answer's turn.
    pub(super) fn answer_late(&mut self, name: &str, answer: &LateAnswer, id: Option<&str>) {
        match answer {
            LateAnswer::Unsubscribed => {
                native::put_answer(&mut self.replies, &Answer::Unsubscribed { channel: name }, id);
            }
            LateAnswer::Refused(refused) => self.error(refused, id),
            LateAnswer::Presence { beside, users } => self.put_presence(name, *beside, users.as_deref(), id),
        }
    }

    fn has_all_channels(&self, slot: u32) -> bool {
        self.conns[slot].subscriptions.as_slice().len() >= self.channels_max(slot)
    }

    /// Sends a request of a connection to the owner, who will answer it.
    pub(super) fn ask(&mut self, slot: u32, owner: ShardId, mail: Mail) {
        self.conns[slot].asked += 1;
        self.post(owner, mail);
    }

    /// Hands a client's publication to the owner, where the policy lets clients publish.
    fn publish(&mut self, now: Now, slot: u32, name: &str, data: &str, id: Option<&str>) {
        let owner = self.hub.owner(name);
        if let Err(refused) = self.check_publish(now, slot, name) {
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        if self.is_at_hand(owner) {
            let cursor = self.number(now, name, data, None).ok_or(Refusal::Overloaded);
            return self.published(name, cursor.map(|cursor| cursor.offset), id);
        }
        if self.congested.contains(owner) {
            self.counters.overloaded += 1;
            return self.answer_in_turn(slot, name, LateAnswer::Refused(overloaded()), id);
        }
        let publisher = Publisher::Conn(self.key(slot), id.map(Into::into));
        let mail = Mail::Publish { name: name.into(), data: data.into(), key: None, publisher };
        self.ask(slot, owner, mail);
    }

    /// Answers a client's publish.
    pub(super) fn published(&mut self, name: &str, offset: Result<u64, Refusal>, id: Option<&str>) {
        match offset {
            Ok(offset) => {
                native::put_answer(&mut self.replies, &Answer::Published { channel: name, offset }, id);
            }
            Err(Refusal::Overloaded) => {
                self.counters.overloaded += 1;
                self.error(&overloaded(), id);
            }
            Err(Refusal::Unavailable) => {
                let message = "the broker is away: nobody got it, try again later";
                self.error(&Refused::new(Code::Unavailable, message), id);
            }
            Err(Refusal::Unknown) => {
                let message = "the broker was lost before it answered: whether this went out is not known";
                self.error(&Refused::new(Code::OutcomeUnknown, message), id);
            }
        }
    }

    /// Takes a subscriber out of its channel's list; the connection has forgotten it already. A join under way is
    /// undone when its answer finds nobody.
    pub(super) fn leave(&mut self, now: Now, slot: u32, subscription: Subscription) {
        let Subscription { channel, position } = subscription;
        if subscription.is_joining() {
            return;
        }
        for moved in self.hub.channels.unsubscribe(channel, position).into_iter().flatten() {
            self.conns[moved.slot].subscriptions.reposition(channel, moved.position);
        }
        self.note_move(slot, channel, -1);
        self.forget_if_unused(now, channel);
    }

    /// Tells the owner when nobody here follows a channel any more.
    pub(super) fn forget_if_unused(&mut self, now: Now, channel: ChannelId) {
        let Some(name) = self.hub.channels.forget_if_unused(channel) else { return };
        let owner = self.hub.owner(&name);
        if self.is_at_hand(owner) {
            self.left(now, &name, owner);
        } else {
            self.post(owner, Mail::Leave { shard: self.settings.id, name });
        }
    }

    fn subscription(&self, slot: u32, name: &str) -> Option<Subscription> {
        let subscriptions = &self.conns[slot].subscriptions;
        if subscriptions.as_slice().is_empty() {
            return None;
        }
        subscriptions.find(self.hub.channels.find(name)?)
    }

    pub(super) fn key(&self, slot: u32) -> ConnKey {
        ConnKey { shard: self.settings.id, slot, generation: self.conns[slot].generation }
    }
}

fn overloaded() -> Refused {
    Refused::new(Code::Overloaded, "nobody got it, try again later")
}
