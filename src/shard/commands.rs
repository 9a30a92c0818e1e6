//! What a client asks for is done. Must never parse: that is the dialect's; must never number: that is the owner's.

use super::Shard;
use super::mail::{ConnKey, LaterCommand, Mail, Publisher};
use crate::clock::Now;
use crate::conn::rate::Pace;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::{ChannelId, Subscription};
use crate::dialect::cursor::Cursor;
use crate::dialect::native::{self, Answer, Code, Command, Refused, Request};
use crate::hub::owned::{Joined, Recovery};

impl<S: Socket> Shard<S> {
    /// Does what one message asks for, or says why not. The connection is being served.
    pub(super) fn command(&mut self, now: Now, slot: u32, request: Request<'_>, pace: Pace) {
        let Request { command, id } = request;
        if pace != Pace::Within {
            let limits = &self.settings.limits;
            let message = format!(
                "at most {} messages a second, {} at once",
                limits.messages_per_second, limits.messages_burst
            );
            return self.error(&Refused::new(Code::RateLimited, message), id);
        }
        match command {
            Ok(Command::Subscribe { channel, since }) => self.subscribe(now, slot, &channel, since, id),
            Ok(Command::Unsubscribe { channel }) => self.unsubscribe(now, slot, &channel, id),
            Ok(Command::Publish { channel, data }) => self.publish(now, slot, &channel, data, id),
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
        match self.subscription(slot, name) {
            Some(subscription) if subscription.position == Subscription::JOINING => {
                return self.later(slot, subscription.channel, LaterCommand::Subscribe { since }, id);
            }
            Some(_) => {
                return self
                    .error(&Refused::new(Code::AlreadySubscribed, "this connection follows it already"), id);
            }
            None => {}
        }
        let most = self.settings.limits.channels_per_conn_max;
        if self.conns[slot].subscriptions.as_slice().len() >= most {
            let message = format!("at most {most} channels a connection");
            return self.error(&Refused::new(Code::TooManyChannels, message), id);
        }
        let channel = self.hub.channels.join_begins(name);
        self.conns[slot].subscriptions.insert(Subscription { channel, position: Subscription::JOINING });
        let name = self.hub.channels.channel(channel).name.clone();
        let owner = self.hub.owner(&name);
        if owner == self.settings.id {
            let joined = self.hub.owned.join(&name, owner, since, now);
            self.hub.channels.join_ends(channel);
            self.join(slot, channel, joined, id);
        } else {
            let conn = self.key(slot);
            self.post(owner, Mail::Join { conn, channel, name, since, id: id.map(Into::into) });
        }
    }

    /// The owner has answered: from here on the connection gets what is published.
    pub(super) fn join(&mut self, slot: u32, channel: ChannelId, joined: Joined, id: Option<&str>) {
        let Joined { cursor, recovery } = joined;
        let position = self.hub.channels.subscribe(channel, slot, cursor.offset);
        self.conns[slot].subscriptions.reposition(channel, position);
        let name = &self.hub.channels.channel(channel).name;
        let recovered = recovery.map(|recovery| recovery == Recovery::Full);
        native::put_answer(&mut self.replies, &Answer::Subscribed { channel: name, cursor, recovered }, id);
        match recovery {
            Some(Recovery::Gap { from, to }) => {
                self.counters.gaps += 1;
                native::put_answer(&mut self.replies, &Answer::Gap { channel: name, from, to, cursor }, None);
            }
            Some(Recovery::Full) | None => {}
        }
    }

    /// Stops following a channel.
    pub(super) fn unsubscribe(&mut self, now: Now, slot: u32, name: &str, id: Option<&str>) {
        match self.subscription(slot, name) {
            Some(subscription) if subscription.position == Subscription::JOINING => {
                self.later(slot, subscription.channel, LaterCommand::Unsubscribe, id);
            }
            Some(subscription) => {
                self.conns[slot].subscriptions.remove(subscription.channel);
                self.leave(now, subscription);
                native::put_answer(&mut self.replies, &Answer::Unsubscribed { channel: name }, id);
            }
            None => self.error(&Refused::new(Code::NotSubscribed, "this connection does not follow it"), id),
        }
    }

    /// Hands a client's publication to the owner, where the policy lets clients publish.
    fn publish(&mut self, now: Now, slot: u32, name: &str, data: &str, id: Option<&str>) {
        if !self.settings.policies.for_channel(name).clients_may_publish {
            return self.error(&Refused::new(Code::Forbidden, "clients may not publish to this channel"), id);
        }
        let owner = self.hub.owner(name);
        if owner == self.settings.id {
            let offset = self.number(now, name, data).map(|cursor| cursor.offset);
            return self.published(name, offset, id);
        }
        if self.congested.contains(owner) {
            return self.published(name, None, id);
        }
        let publisher = Publisher::Conn(self.key(slot), id.map(Into::into));
        self.post(owner, Mail::Publish { name: name.into(), data: data.into(), publisher });
    }

    /// Answers a client's publish; no offset means that there was no room.
    pub(super) fn published(&mut self, name: &str, offset: Option<u64>, id: Option<&str>) {
        match offset {
            Some(offset) => {
                native::put_answer(&mut self.replies, &Answer::Published { channel: name, offset }, id);
            }
            None => {
                self.counters.overloaded += 1;
                self.error(&Refused::new(Code::Overloaded, "nobody got it, try again later"), id);
            }
        }
    }

    /// Takes a subscriber out of its channel's list; the connection has forgotten it already.
    pub(super) fn leave(&mut self, now: Now, subscription: Subscription) {
        let Subscription { channel, position } = subscription;
        for moved in self.hub.channels.unsubscribe(channel, position).into_iter().flatten() {
            self.conns[moved.slot].subscriptions.reposition(channel, moved.position);
        }
        self.forget_if_unused(now, channel);
    }

    /// Tells the owner when nobody here follows a channel any more.
    pub(super) fn forget_if_unused(&mut self, now: Now, channel: ChannelId) {
        let Some(name) = self.hub.channels.forget_if_unused(channel) else { return };
        let owner = self.hub.owner(&name);
        if owner == self.settings.id {
            self.hub.owned.leave(&name, owner, now);
        } else {
            self.post(owner, Mail::Leave { shard: self.settings.id, name });
        }
    }

    /// Sends a command on a channel whose join is under way along the same road, so that its answer comes after.
    fn later(&mut self, slot: u32, channel: ChannelId, command: LaterCommand, id: Option<&str>) {
        let name = self.hub.channels.channel(channel).name.clone();
        let owner = self.hub.owner(&name);
        let conn = self.key(slot);
        self.post(owner, Mail::Later { conn, name, command, id: id.map(Into::into), returning: false });
    }

    fn subscription(&self, slot: u32, name: &str) -> Option<Subscription> {
        let subscriptions = &self.conns[slot].subscriptions;
        if subscriptions.as_slice().is_empty() {
            return None;
        }
        subscriptions.find(self.hub.channels.find(name)?)
    }

    fn key(&self, slot: u32) -> ConnKey {
        ConnKey { shard: self.settings.id, slot, generation: self.conns[slot].generation }
    }
}
