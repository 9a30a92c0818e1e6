//! What the control thread may see of a shard. Must never change anything that a client could tell.

use super::Shard;
use super::conn_table::Token;
use super::mail::{Answer, ConnKey, Parcel, Question, Report};
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::dialect::cursor::Cursor;
use crate::hub::channels::ChannelPart;
use crate::limits::{CHANNELS_LISTED_MAX, LAGS_LOOKED_MAX, SLOWEST_LISTED_MAX};
use crate::metrics::Counters;
use crate::metrics::look::{Laggard, Look};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

impl<S: Socket> Shard<S> {
    /// Answers at once what takes one look, and sets out for what takes a walk.
    pub(super) fn questioned(&mut self, now: Now, ticket: u64, question: Question) {
        let answer = match question {
            Question::Counters => Answer::Counters(Box::new(self.view_counters())),
            Question::Look => Answer::Look(Box::new(self.view_look(now))),
            Question::Channel(name) => self.view_channel(now, &name),
            Question::Channels { prefix } => self.view_channels(now, &prefix),
            Question::Density(around) => return self.begin_survey(ticket, *around),
            Question::Connections(listing) => return self.begin_walk(ticket, listing),
            Question::Connection(ConnKey { slot, generation, .. }) => {
                Answer::Connection(self.portray(now, Token { slot, generation }))
            }
        };
        self.parcels.push(Parcel::Control(Report::Answer { ticket, shard: self.settings.id, answer }));
    }

    pub(super) fn view_counters(&self) -> Counters {
        Counters {
            connections: self.conns.len() as u64,
            queued_bytes: self.queued_bytes() as u64,
            queues: self.conns.lags().len() as u64,
            queue_largest_bytes: self.conns.lags().largest_bytes_max() as u64,
            drain_left: self.drain_left() as u64,
            signed_in: self.grants.len() as u64,
            subscriptions: self.hub.channels.subscriptions() as u64,
            channels: self.hub.channels.len() as u64,
            channels_owned: self.hub.owned.len() as u64,
            history_bytes: self.hub.owned.history_bytes() as u64,
            history_publications: self.hub.owned.history_publications() as u64,
            presence_channels: self.hub.presence.len() as u64,
            ids: self.hub.owned.ids().len() as u64,
            ids_evicted: self.hub.owned.ids().evicted(),
            ..self.counters.clone()
        }
    }

    /// Looks at the largest queues, as many as one turn has time for.
    fn view_look(&self, now: Now) -> Look {
        let lags = self.conns.lags();
        let looked: Vec<(u32, usize)> = lags.largest_first().take(LAGS_LOOKED_MAX).collect();
        // Whoever was not looked at is not twice as far behind as the last one that was.
        let least = looked.last().map_or(0, |&(_, bytes)| bytes);
        let truncated = looked.len() < lags.len() && 2 * least > self.settings.limits.queue_soft_bytes;
        let mut slowest: Vec<_> = looked.into_iter().map(|(slot, bytes)| (bytes, slot)).collect();
        let since = |slot: u32| self.conns[slot].active.as_ref().and_then(|active| active.over_soft_since);
        let over_soft = slowest.iter().filter(|&&(_, slot)| since(slot).is_some()).count() as u64;
        slowest.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        slowest.truncate(SLOWEST_LISTED_MAX);
        let laggard = |(bytes, slot): (usize, u32)| Laggard {
            session: self.key(slot).to_string().into(),
            queued_bytes: bytes as u64,
            over_soft_ms: since(slot).map(|since| since.elapsed_ms(now)),
        };
        let slowest = slowest.into_iter().map(laggard).collect();
        Look { counters: self.view_counters(), over_soft, truncated, slowest }
    }

    fn view_channel(&self, now: Now, name: &Arc<str>) -> Answer {
        let followed = self.hub.channels.find(name);
        let subscribers = followed.map_or(0, |id| self.hub.channels.channel(id).subscribers.len());
        let cursor = self.hub.owned.cursor(name);
        let known = followed.is_some() || cursor.is_some();
        let history = self.hub.owned.history(name, now);
        let users = self.hub.presence.users(name);
        let part = known.then(|| ChannelPart { name: name.clone(), subscribers, cursor, history, users });
        Answer::Channels { channels: part.into_iter().collect(), truncated: false }
    }

    fn view_channels(&self, now: Now, prefix: &str) -> Answer {
        let mut parts = BTreeMap::new();
        let mut truncated = false;
        let mut note = |name: &Arc<str>, subscribers, owned: Option<(Cursor, usize)>| {
            if !name.starts_with(prefix) {
                return;
            }
            if parts.len() >= CHANNELS_LISTED_MAX && !parts.contains_key(name) {
                truncated = true;
                return;
            }
            let empty =
                || ChannelPart { name: name.clone(), subscribers: 0, cursor: None, history: 0, users: None };
            let part = parts.entry(name.clone()).or_insert_with(empty);
            part.subscribers += subscribers;
            if let Some((cursor, history)) = owned {
                (part.cursor, part.history) = (Some(cursor), history);
            }
        };
        for channel in self.hub.channels.iter() {
            note(&channel.name, channel.subscribers.len(), None);
        }
        for (name, cursor, history) in self.hub.owned.iter(now) {
            note(name, 0, Some((cursor, history)));
        }
        Answer::Channels { channels: parts.into_values().collect(), truncated }
    }
}
