//! How many connections follow a channel, where its policy asks for it: shards tell its owner, the owner tells everyone who
//! follows. Must never send more than one piece of mail a turn for a channel, however many came and went in it.
//!
//! 1. A connection joins or leaves: its channel is noted, and its user (`note_move`).
//! 2. At the end of the turn the shard tells the owner how many it has now, and of which users more or fewer (`tell_counts`).
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
use crate::hub::users::{Change, Movement};
use crate::limits::{PRESENCE_BUDGET, PRESENCE_MOVED_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many connections of each user joined a channel in this turn, less those that left it.
pub(super) type Moves = BTreeMap<Arc<str>, i32>;

impl<S: Socket> Shard<S> {
    /// Answers how many follow a channel. Only its owner knows that of other shards, and only this one what has just
    /// happened here: whoever was told that it is subscribed is counted.
    pub(super) fn presence(&mut self, now: Now, slot: u32, name: &str, id: Option<&str>) {
        if let Err(refused) = self.check_subscribe(now, slot, name) {
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        if !self.has_presence(name) {
            let refused = Refused::new(Code::Forbidden, "nobody counts who follows this channel");
            return self.answer_in_turn(slot, name, LateAnswer::Refused(refused), id);
        }
        // What has just happened here its owner hears of before it is asked.
        if let Some((name, moved)) = self.moves.remove_entry(name) {
            self.tell_moves(now, name, moved);
        }
        let owner = self.hub.owner(name);
        if self.is_at_hand(owner) {
            let (beside, users) = self.known_presence(name, owner);
            return self.answer_late(name, &LateAnswer::Presence { beside, users }, id);
        }
        let (conn, name, id) = (self.key(slot), name.into(), id.map(Into::into));
        let answer = LateAnswer::Presence { beside: 0, users: None };
        self.ask(slot, owner, Mail::Later { conn, name, answer, id, returning: false });
    }

    /// What this owner knows of a channel: how many follow it on other shards than `shard`, and which users on any.
    pub(super) fn known_presence(&self, name: &str, shard: ShardId) -> (u64, Option<Vec<Arc<str>>>) {
        (self.hub.presence.beside(name, shard), self.hub.presence.users(name))
    }

    /// The owner has answered: `beside` follow the channel on other shards.
    pub(super) fn put_presence(
        &mut self,
        name: &str,
        beside: u64,
        users: Option<&[Arc<str>]>,
        id: Option<&str>,
    ) {
        let followed = self.hub.channels.find(name);
        let here = followed.map_or(0, |channel| self.hub.channels.channel(channel).subscribers.len());
        let count = beside + here as u64;
        let answer = Answer::Presence { channel: name, count, users, joined: &[], left: &[] };
        native::put_answer(&mut self.replies, &answer, id);
    }

    /// Notes that a connection joined a channel (`by` 1) or left it (-1).
    pub(super) fn note_move(&mut self, slot: u32, channel: ChannelId, by: i32) {
        let name = &self.hub.channels.channel(channel).name;
        if !self.has_presence(name) {
            return;
        }
        let moves = self.moves.entry(name.clone()).or_default();
        if let Some(grant) = self.grants.get(slot) {
            *moves.entry(grant.user().into()).or_default() += by;
        }
    }

    /// Tells the owners of the channels that were joined or left in this turn how many follow them here, and who.
    pub(super) fn tell_counts(&mut self, now: Now) {
        // Taken, not emptied: a tree keeps its last node.
        for (name, moved) in std::mem::take(&mut self.moves) {
            self.tell_moves(now, name, moved);
        }
    }

    fn tell_moves(&mut self, now: Now, name: Arc<str>, moved: Moves) {
        let users: Vec<Change> = moved.into_iter().filter(|(_, by)| *by != 0).collect();
        let followed = self.hub.channels.find(&name);
        if followed.is_none() && users.is_empty() {
            // Of one that nobody follows any more the owner was told already.
            return;
        }
        let count = followed.map_or(0, |channel| self.hub.channels.channel(channel).subscribers.len() as u32);
        let (owner, shard) = (self.hub.owner(&name), self.settings.id);
        if owner == shard {
            self.hub.presence.tell(&name, shard, count, &users, now);
        } else {
            self.post(owner, Mail::Present { shard, name, count, users });
        }
    }

    /// Nobody of `shard` follows a channel of this owner any more.
    pub(super) fn left(&mut self, now: Now, name: &Arc<str>, shard: ShardId) {
        self.hub.owned.leave(name, shard, now);
        self.hub.presence.tell(name, shard, 0, &[], now);
    }

    /// Announces the counts that changed a while ago, within the budget. Returns when there are more, in milliseconds since
    /// the node started.
    pub(super) fn announce(&mut self, now: Now) -> Option<u64> {
        if self.hub.presence.next_ms().is_none_or(|next_ms| next_ms > now.mono_ms) {
            return self.hub.presence.next_ms();
        }
        for _ in 0..PRESENCE_BUDGET {
            let Some(due) = self.hub.presence.take_due(now) else { break };
            let Some(announcement) = self.hub.presence.announce(due) else { continue };
            self.counters.presence_events += 1;
            let (name, frame) = (&announcement.name, announcement_frame(&announcement));
            for shard in self.hub.owned.interested(name).iter() {
                if self.is_at_hand(shard) {
                    self.notify(now, name, frame.clone());
                } else {
                    self.post(shard, Mail::Notice { name: name.clone(), frame: frame.clone() });
                }
            }
        }
        self.hub.presence.next_ms()
    }

    /// Lines a frame without a number up for this shard's subscribers, behind what is published already.
    pub(super) fn notify(&mut self, now: Now, name: &str, frame: Arc<[u8]>) {
        let Some(id) = self.hub.channels.find(name) else { return };
        if self.hub.channels.channel_mut(id).subscribers.notify(frame) {
            self.passes.begin(now, id);
        }
    }

    fn has_presence(&self, name: &str) -> bool {
        self.settings.policies.for_channel(name).presence
    }
}

/// Of a crowd nobody wants the names.
fn announcement_frame(Announcement { name, count, movement }: &Announcement) -> Arc<[u8]> {
    let Movement { joined, left } = movement;
    let (joined, left): (&[_], &[_]) =
        if joined.len() + left.len() <= PRESENCE_MOVED_MAX { (joined, left) } else { (&[], &[]) };
    let answer = Answer::Presence { channel: name, count: *count, users: None, joined, left };
    let mut frame = Vec::new();
    native::put_answer(&mut frame, &answer, None);
    frame.into()
}
