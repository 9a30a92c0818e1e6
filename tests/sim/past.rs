//! What the node must still have of what was published, for whoever comes back: the rules of the history, kept the slow
//! way. A witness on a shard of its own follows every channel, so each owner tells it of every publication, in the order in
//! which it numbers them.

use crate::truth::Channel;
use roost::clock::TICK_MS;
use roost::config::policy::Policy;
use roost::hub::publication::Publication;
use std::collections::HashMap;
use std::sync::Arc;

/// What a publication weighs beside its frame.
const OVERHEAD: usize = 80;

/// The rules of one world.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// By channel.
    pub(crate) policies: Vec<Policy>,
    /// The shard that numbers each channel.
    pub(crate) owners: Vec<usize>,
    /// What all publications of one owner may weigh.
    pub(crate) owner_bytes: usize,
    /// What all publications of one channel may weigh.
    pub(crate) channel_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Past {
    rules: Rules,
    /// In the order in which they were numbered.
    kept: Vec<Kept>,
    /// By offset less one: when each was lost; never is the end of time.
    lost_ms: Vec<Vec<u64>>,
    /// By offset less one: what each is the latest of.
    keys: Vec<Vec<Option<Arc<str>>>>,
    /// Which publication of all was each channel's last.
    last: HashMap<Channel, u64>,
    published: u64,
}

#[derive(Debug)]
struct Kept {
    channel: Channel,
    offset: u64,
    weight: usize,
    at_ms: u64,
}

impl Past {
    pub(crate) fn new(rules: Rules) -> Self {
        let lost_ms = vec![Vec::new(); rules.owners.len()];
        let keys = vec![Vec::new(); rules.owners.len()];
        Self { rules, kept: Vec::new(), lost_ms, keys, last: HashMap::new(), published: 0 }
    }

    /// The witness hears of a publication.
    pub(crate) fn publish(&mut self, channel: Channel, publication: &Publication, now_ms: u64) {
        let Publication { offset, key, frame, .. } = publication;
        let (offset, frame_bytes) = (*offset, frame.len());
        assert_eq!(offset, self.head(channel) + 1, "the witness misses a publication");
        self.keys[channel].push(key.clone());
        let policy = self.rules.policies[channel];
        let weight = frame_bytes + OVERHEAD;
        self.lost_ms[channel].push(now_ms + policy.history_ttl_ms);
        self.published += 1;
        self.last.insert(channel, self.published);
        self.kept.push(Kept { channel, offset, weight, at_ms: now_ms });
        let owner = self.rules.owners[channel];
        let (owner_bytes, channel_bytes) = (self.rules.owner_bytes, self.rules.channel_bytes);
        while self.kept.iter().any(|kept| kept.channel == channel && self.is_aged(kept, now_ms))
            || self.sum(|other| other == channel).1 > policy.history
            || self.sum(|other| other == channel).0 > channel_bytes.min(owner_bytes)
        {
            self.lose_oldest(channel, now_ms);
        }
        while self.of_owner(owner).0 > owner_bytes {
            let (rules, last) = (&self.rules, &self.last);
            let touched = self.kept.iter().filter(|kept| rules.owners[kept.channel] == owner);
            let oldest = touched.min_by_key(|kept| last[&kept.channel]).expect("something weighs too much");
            self.lose_oldest(oldest.channel, now_ms);
        }
    }

    /// An owner had a turn: the publications of channels that are silent for too long go.
    pub(crate) fn turn(&mut self, owner: usize, now_ms: u64) {
        let tick_ms = now_ms / TICK_MS * TICK_MS;
        for channel in (0..self.rules.owners.len()).filter(|&channel| self.rules.owners[channel] == owner) {
            let newest = self.kept.iter().rfind(|kept| kept.channel == channel);
            let ttl_ms = self.rules.policies[channel].history_ttl_ms;
            if newest.is_some_and(|newest| newest.at_ms + ttl_ms <= tick_ms) {
                self.kept.retain(|kept| kept.channel != channel);
            }
        }
    }

    /// The offset of the last publication.
    pub(crate) fn head(&self, channel: Channel) -> u64 {
        self.lost_ms[channel].len() as u64
    }

    /// When a publication was lost, or will be by its age.
    pub(crate) fn lost_ms(&self, channel: Channel, offset: u64) -> u64 {
        self.lost_ms[channel][offset as usize - 1]
    }

    /// Whether a later publication of the same conflation key takes the place of this one, for those who lag.
    pub(crate) fn is_overtaken(&self, channel: Channel, offset: u64) -> bool {
        let (this, later) =
            self.keys[channel][offset as usize - 1..].split_first().expect("it was published");
        later.contains(this)
    }

    /// How many publications of a channel a client could get.
    pub(crate) fn count(&self, channel: Channel, now_ms: u64) -> usize {
        let of = self.kept.iter().filter(|kept| kept.channel == channel);
        of.filter(|kept| !self.is_aged(kept, now_ms)).count()
    }

    /// What an owner keeps: what it weighs, and how many publications.
    pub(crate) fn of_owner(&self, owner: usize) -> (usize, usize) {
        self.sum(|channel| self.rules.owners[channel] == owner)
    }

    fn sum(&self, of: impl Fn(Channel) -> bool) -> (usize, usize) {
        let kept = self.kept.iter().filter(|kept| of(kept.channel));
        kept.fold((0, 0), |(bytes, count), kept| (bytes + kept.weight, count + 1))
    }

    fn is_aged(&self, kept: &Kept, now_ms: u64) -> bool {
        now_ms - kept.at_ms >= self.rules.policies[kept.channel].history_ttl_ms
    }

    fn lose_oldest(&mut self, channel: Channel, now_ms: u64) {
        let oldest = self.kept.iter().position(|kept| kept.channel == channel).expect("one to lose");
        let kept = self.kept.remove(oldest);
        let lost_ms = &mut self.lost_ms[channel][kept.offset as usize - 1];
        *lost_ms = now_ms.min(*lost_ms);
    }
}
