//! How many connections follow a channel, where its policy asks for it: shards tell its owner, the owner tells everyone who
//! follows. Must never send more than one piece of mail a turn for a channel, however many came and went in it.
//!
//! 1. A connection joins or leaves: its channel is noted (`recount`).
//! 2. At the end of the turn the shard tells the owner how many it has now (`tell_counts`).
//! 3. The owner waits a while, so that who loads a page anew was never away, and a crowd is one change (`hub/presence.rs`).
//! 4. If the count is another one then, it goes to the interested shards, and there down the road of publications
//!    (`announce`). It has no number, and whoever is getting its past, or lags, or is hidden gets none: the next one says
//!    all there is to say.

use super::Shard;
use super::mail::{LateAnswer, Mail};
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::ChannelId;
use crate::dialect::native::{self, Answer, Code, Refused};
use crate::hub::ShardId;
use crate::hub::presence::Announcement;
use crate::limits::PRESENCE_BUDGET;
use std::sync::Arc;

impl<S: Socket> Shard<S> {
    /// Answers how many follow a channel. Only its owner knows that of other shards, and only this one what has just
    /// happened here: whoever was told that it is subscribed is counted.
    pub(super) fn presence(&mut self, slot: u32, name: &str, id: Option<&str>) {
        if !self.has_presence(name) {
            let refused = Refused::new(Code::Forbidden, "nobody counts who follows this channel");
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        let owner = self.hub.owner(name);
        if owner == self.settings.id {
            let beside = self.hub.presence.beside(name, owner);
            return self.answer_late(name, &LateAnswer::Presence { beside }, id);
        }
        let (conn, name, id) = (self.key(slot), name.into(), id.map(Into::into));
        let answer = LateAnswer::Presence { beside: 0 };
        self.ask(slot, owner, Mail::Later { conn, name, answer, id, returning: false });
    }

    /// The owner has answered: `beside` follow the channel on other shards.
    pub(super) fn put_presence(&mut self, name: &str, beside: u64, id: Option<&str>) {
        let followed = self.hub.channels.find(name);
        let here = followed.map_or(0, |channel| self.hub.channels.channel(channel).subscribers.len());
        let answer = Answer::Presence { channel: name, count: beside + here as u64 };
        native::put_answer(&mut self.replies, &answer, id);
    }

    /// Notes that a connection joined or left a channel.
    pub(super) fn recount(&mut self, channel: ChannelId) {
        if self.has_presence(&self.hub.channels.channel(channel).name) {
            self.recounts.insert(channel);
        }
    }

    /// Tells the owners of the channels that were joined or left in this turn how many follow them here.
    pub(super) fn tell_counts(&mut self, now: Now) {
        if self.recounts.is_empty() {
            return;
        }
        let own = self.settings.id;
        for channel in std::mem::take(&mut self.recounts) {
            // Of one that nobody follows any more the owner was told already, and another may have taken its place.
            let Some(channel) = self.hub.channels.get_mut(channel) else { continue };
            let (name, count) = (channel.name.clone(), channel.subscribers.len() as u32);
            if !self.has_presence(&name) {
                continue;
            }
            let owner = self.hub.owner(&name);
            if owner == own {
                self.hub.presence.tell(&name, own, count, now);
            } else {
                self.post(owner, Mail::Present { shard: own, name, count });
            }
        }
    }

    /// Nobody of `shard` follows a channel of this owner any more.
    pub(super) fn left(&mut self, now: Now, name: &Arc<str>, shard: ShardId) {
        self.hub.owned.leave(name, shard, now);
        self.hub.presence.tell(name, shard, 0, now);
    }

    /// Announces the counts that changed a while ago, within the budget. Returns when there are more, in milliseconds since
    /// the node started.
    pub(super) fn announce(&mut self, now: Now) -> Option<u64> {
        if self.hub.presence.next_ms().is_none_or(|next_ms| next_ms > now.mono_ms) {
            return self.hub.presence.next_ms();
        }
        for _ in 0..PRESENCE_BUDGET {
            let Some(due) = self.hub.presence.take_due(now) else { break };
            let Some(Announcement { name, count }) = self.hub.presence.announce(due) else { continue };
            self.counters.presence_events += 1;
            let mut frame = Vec::new();
            native::put_answer(&mut frame, &Answer::Presence { channel: &name, count }, None);
            let frame: Arc<[u8]> = frame.into();
            for shard in self.hub.owned.interested(&name).iter() {
                if shard == self.settings.id {
                    self.notify(&name, frame.clone());
                } else {
                    self.post(shard, Mail::Notice { name: name.clone(), frame: frame.clone() });
                }
            }
        }
        self.hub.presence.next_ms()
    }

    /// Lines a frame without a number up for this shard's subscribers, behind what is published already.
    pub(super) fn notify(&mut self, name: &str, frame: Arc<[u8]>) {
        let Some(id) = self.hub.channels.find(name) else { return };
        if self.hub.channels.channel_mut(id).subscribers.notify(frame) {
            self.passes.begin(id);
        }
    }

    fn has_presence(&self, name: &str) -> bool {
        self.settings.policies.for_channel(name).presence
    }
}
