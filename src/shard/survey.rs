//! The walk over all that a shard owns, to say what its memory is spent on and which channels are the largest. Must never
//! look at more than its budget in one turn, and never change what it looks at.
//!
//! It goes through four tables: connections, followed, numbered and counted channels. A shard of 20,000 connections with a
//! channel each is 60,000 looks: 15 turns, 0.6 ms together with cold caches, and nobody waits for more than one of them.
//! What moves meanwhile is counted as it was when the walk came by.

use super::Shard;
use super::conn_table::Token;
use super::kick::Kicking;
use super::mail::{Answer, Parcel, Report};
use super::walk::Walk;
use crate::conn::Conn;
use crate::conn::socket::Socket;
use crate::hub::channels::Channel;
use crate::hub::ranking::Ranking;
use crate::limits::{CHANNELS_RANKED_MAX, SURVEY_BUDGET};
use crate::metrics::heap::{Extent, Heap, share_bytes};

/// A walk under way.
#[derive(Debug)]
pub(super) struct Survey {
    /// The questions that its end answers; whoever asks while it is under way shares it.
    tickets: Vec<u64>,
    table: Table,
    /// The next place in it.
    slot: usize,
    /// What was found so far.
    heap: Heap,
    /// The largest channels of those seen so far.
    ranking: Ranking,
}

/// Where a walk is.
#[derive(Debug, Clone, Copy)]
enum Table {
    Conns,
    Channels,
    Owned,
    Presence,
}

impl<S: Socket> Shard<S> {
    /// Sets out, or joins the walk under way. `around` is what the reactor owns beside the shard.
    pub(super) fn begin_survey(&mut self, ticket: u64, around: Heap) {
        let setting_out = || Survey {
            tickets: Vec::new(),
            table: Table::Conns,
            slot: 0,
            heap: around,
            ranking: Ranking::new(CHANNELS_RANKED_MAX),
        };
        self.survey.get_or_insert_with(|| Box::new(setting_out())).tickets.push(ticket);
    }

    /// Walks on. True while there is more to see.
    pub(super) fn survey_step(&mut self) -> bool {
        let Some(mut survey) = self.survey.take() else { return false };
        let mut left = SURVEY_BUDGET;
        while left > 0 {
            let (slots, next) = match survey.table {
                Table::Conns => (self.conns.slots(), Some(Table::Channels)),
                Table::Channels => (self.hub.channels.slots(), Some(Table::Owned)),
                Table::Owned => (self.hub.owned.slots(), Some(Table::Presence)),
                Table::Presence => (self.hub.presence.slots(), None),
            };
            if survey.slot < slots {
                left = left.saturating_sub(self.look(&mut survey));
                survey.slot += 1;
            } else if let Some(next) = next {
                (survey.table, survey.slot) = (next, 0);
            } else {
                self.answer_survey(*survey);
                return false;
            }
        }
        self.survey = Some(survey);
        true
    }

    /// Adds what is in the next place; returns how many things were looked at.
    fn look(&self, survey: &mut Survey) -> usize {
        let Survey { table, slot, heap, ranking, .. } = survey;
        let slot = *slot;
        match table {
            Table::Conns => {
                heap.boxes += self.grants.heap_bytes_in(slot as u32) as u64;
                self.conns.in_slot(slot as u32).map_or(1, |conn| look_at_conn(conn, heap))
            }
            Table::Channels => self.hub.channels.in_slot(slot).map_or(1, |channel| {
                ranking.offer(slot, channel.subscribers.len());
                look_at_channel(channel, heap)
            }),
            Table::Owned => {
                let Some((name, kept_bytes, publications)) = self.hub.owned.in_slot(slot) else { return 1 };
                heap.channels_owned += share_bytes(name) as u64;
                heap.history += kept_bytes as u64;
                1 + publications
            }
            Table::Presence => {
                if let Some((name, bytes)) = self.hub.presence.in_slot(slot) {
                    heap.channels_owned += (share_bytes(name) + bytes) as u64;
                }
                1
            }
        }
    }

    /// Adds what is found without a walk, and answers everyone who asked.
    fn answer_survey(&mut self, survey: Survey) {
        let mut heap = survey.heap;
        let (channels, owned) = (&self.hub.channels, &self.hub.owned);
        put(&mut heap.slab, &mut heap.reserved, self.conns.extent());
        put(&mut heap.queues, &mut heap.reserved, self.conns.lags().extent());
        put(&mut heap.fixed, &mut heap.reserved, self.conns.ages().extent());
        put(&mut heap.channels, &mut heap.reserved, channels.extent());
        for extent in owned.extents().into_iter().chain([self.hub.presence.extent()]) {
            put(&mut heap.channels_owned, &mut heap.reserved, extent);
        }
        heap.channels += channels.index_bytes() as u64;
        heap.channels_owned += (owned.index_bytes() + self.hub.presence.index_bytes()) as u64;
        heap.history += owned.history_index_bytes() as u64;
        heap.boxes += self.grants.table_bytes() as u64;
        heap.mailboxes += (self.parcels.capacity() * size_of::<Parcel>()) as u64;
        heap.fixed += (self.receive.len() + self.list_bytes()) as u64;
        let connections = self.conns.len() as u64;
        let followed = |slot| channels.in_slot(slot).map(|one| (&*one.name, one.subscribers.len()));
        let top = survey.ranking.finish(followed);
        for ticket in survey.tickets {
            let answer = Answer::Density { connections, heap: Box::new(heap), top: top.clone() };
            self.parcels.push(Parcel::Control(Report::Answer { ticket, shard: self.settings.id, answer }));
        }
    }

    /// What a turn keeps for the next one.
    fn list_bytes(&self) -> usize {
        let again = (self.again.capacity() + self.replays.capacity()) * size_of::<Token>();
        let passes = self.passes.heap_bytes();
        let dead = self.dead.capacity() * size_of::<u32>() + self.walks.capacity() * size_of::<Walk>();
        let kicks = self.kicks.iter().map(Kicking::heap_bytes).sum::<usize>();
        let kicks = kicks + self.kicks.capacity() * size_of::<Kicking>();
        again + self.catch_ups.heap_bytes() + passes + dead + kicks + self.replies.capacity()
    }
}

fn look_at_conn<S>(conn: &Conn<S>, heap: &mut Heap) -> usize {
    heap.subscriptions += conn.subscriptions.heap_bytes() as u64;
    let Some(active) = &conn.active else { return 1 };
    heap.boxes += active.heap_bytes() as u64;
    heap.queues += active.out().heap_bytes() as u64;
    1 + active.out().len()
}

fn look_at_channel(channel: &Channel, heap: &mut Heap) -> usize {
    heap.channels += share_bytes(&channel.name) as u64;
    put(&mut heap.subscriptions, &mut heap.reserved, channel.subscribers.extent());
    heap.queues += channel.subscribers.fanout_bytes() as u64;
    1 + channel.subscribers.waiting()
}

fn put(part: &mut u64, reserved: &mut u64, extent: Extent) {
    *part += extent.touched;
    *reserved += extent.reserved;
}
