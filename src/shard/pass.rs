//! A publication fans out: walks over subscriber lists with direct writes of shared bytes. Must never delay anyone
//! else by more than its budget, and never change a list while walking it.

use super::Shard;
use super::conn_table::ConnTable;
use super::write::write;
use crate::clock::Now;
use crate::config::policy::Slow;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::conn::subscriptions::{ChannelId, Subscriptions};
use crate::dialect::cursor::Cursor;
use crate::hub::batch::Batch;
use crate::hub::channels::Channel;
use crate::hub::subscribers::Delivery;
use crate::limits::{PASS_BUDGET_WRITES, PASS_FRESH_WRITES};
use crate::metrics::Counters;
use crate::proto::frame::payload_of;
use crate::transport::sse::{self, Kind};
use std::collections::VecDeque;
use std::sync::Arc;

/// What became of one delivery.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Written,
    /// The connection ended in this turn, and is not freed yet.
    Ended,
    Queued,
    Failed,
    /// It was a notice, and is not made at all.
    Missed,
    /// It was not made: the subscriber gets the latest later on.
    Lags,
    /// It was not made: the subscriber gets the rest later on. It has everything up to here.
    Behind(Cursor),
    /// It is a poll, which is answered with it. The batch begins here for it.
    Polled(usize),
}

/// What becomes of those that read too slowly.
#[derive(Debug, Clone, Copy)]
struct Slowness {
    policy: Slow,
    /// See [`crate::limits::Limits::queue_soft_bytes`].
    soft_bytes: usize,
}

/// A channel that has publications on their way.
#[derive(Debug, Clone, Copy)]
struct Pass {
    channel: ChannelId,
    /// When it was lined up, in milliseconds since the node started.
    since_ms: u64,
}

/// Channels that have publications on their way, each on one of the lists.
#[derive(Debug)]
pub(super) struct Passes {
    /// Their first few writes are still to be made. A small channel needs no more.
    fresh: VecDeque<Pass>,
    /// Large channels, in the middle of their list.
    large: VecDeque<Pass>,
    /// When those were lined up that ended in this turn. What they took is known when the turn is over.
    ended_since_ms: Vec<u64>,
    /// Whether it is this shard's turn to go on with those.
    permitted: bool,
}

impl Default for Passes {
    fn default() -> Self {
        Self { fresh: VecDeque::new(), large: VecDeque::new(), ended_since_ms: Vec::new(), permitted: true }
    }
}

impl Passes {
    /// Lines up a channel that had nothing to do before.
    pub(super) fn begin(&mut self, now: Now, channel: ChannelId) {
        self.fresh.push_back(Pass { channel, since_ms: now.mono_ms });
    }

    /// A turn begins: none has ended in it.
    pub(super) fn begin_turn(&mut self) {
        self.ended_since_ms.clear();
    }

    /// What those took that ended in the turn that began at `now` and took `us`, in microseconds.
    pub(super) fn took_us(&self, now: Now, us: u64) -> impl Iterator<Item = u64> {
        self.ended_since_ms.iter().map(move |since_ms| (now.mono_ms - since_ms) * 1000 + us)
    }

    /// See [`Shard::permit_large_passes`].
    pub(super) fn permit(&mut self, permitted: bool) {
        self.permitted = permitted;
    }

    /// Whether there are large channels to go on with.
    pub(super) fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Whether the next turn has something to do.
    pub(super) fn is_ready(&self) -> bool {
        !self.fresh.is_empty() || (self.permitted && self.has_large())
    }

    /// Gives back what a busy time made large.
    pub(super) fn shrink(&mut self) {
        self.fresh.shrink_to_fit();
        self.large.shrink_to_fit();
        self.ended_since_ms = Vec::new();
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let lists = (self.fresh.capacity() + self.large.capacity()) * size_of::<Pass>();
        lists + self.ended_since_ms.capacity() * size_of::<u64>()
    }
}

/// A piece of a walk over a list.
#[derive(Debug, Clone, Copy)]
struct Walk {
    writes: usize,
    /// The list is at its end.
    finished: bool,
}

impl<S: Socket> Shard<S> {
    /// Walks on, channel by channel in turn, until nothing is left or the budget is used up. Those that begin come first:
    /// whoever follows a small channel does not wait for a large one, nor for this shard's turn.
    pub(super) fn run_passes(&mut self, now: Now) {
        let quantum = self.settings.limits.pass_quantum_writes;
        let mut writes = 0;
        while writes < PASS_FRESH_WRITES
            && let Some(pass) = self.passes.fresh.pop_front()
        {
            writes += self.go_on_with(now, pass, quantum);
        }
        while writes < PASS_BUDGET_WRITES
            && self.passes.permitted
            && let Some(pass) = self.passes.large.pop_front()
        {
            writes += self.go_on_with(now, pass, quantum.min(PASS_BUDGET_WRITES - writes));
        }
    }

    /// Walks on in one channel and lines it up again; returns what that costs.
    fn go_on_with(&mut self, now: Now, pass: Pass, quantum: usize) -> usize {
        let Some(walk) = self.walk_list(now, pass.channel, quantum) else { return 0 };
        if walk.finished {
            self.passes.ended_since_ms.push(pass.since_ms);
            // What arrived meanwhile begins a pass of its own.
            self.passes.begin(now, pass.channel);
        } else {
            self.passes.large.push_back(pass);
        }
        // An empty channel still costs a look.
        walk.writes.max(1)
    }

    /// None where nothing is left to do, or nobody is there any more.
    fn walk_list(&mut self, now: Now, id: ChannelId, quantum: usize) -> Option<Walk> {
        let channel = self.hub.channels.get_mut(id)?;
        let batch = channel.subscribers.begin()?;
        let slowness = Slowness { policy: channel.slow, soft_bytes: self.settings.limits.queue_soft_bytes };
        let mut unsettled = Vec::new();
        let mut walk = Walk { writes: 0, finished: false };
        while walk.writes < quantum {
            let Some(delivery) = channel.subscribers.advance(&batch) else {
                if batch.breaks.is_none() {
                    self.counters.count_pass(batch.len());
                }
                walk.finished = true;
                break;
            };
            walk.writes += 1;
            let outcome = match self.conns[delivery.slot].phase {
                phase if batch.breaks.is_some() && phase.is_open() && phase != Phase::Poll => {
                    Outcome::Behind(batch.before(delivery.start))
                }
                Phase::Stream => {
                    let (conns, counters) = (&mut self.conns, &mut self.counters);
                    deliver_events(conns, counters, channel, id, &batch, &delivery, slowness)
                }
                Phase::Poll if batch.breaks.is_some() => Outcome::Polled(0),
                Phase::Poll => put_off(&batch, || Outcome::Polled(delivery.start)),
                _ => {
                    let (bytes, start) = (&batch.bytes, delivery.start);
                    deliver(&mut self.conns, &mut self.counters, &batch, &delivery, bytes, start, slowness)
                }
            };
            let outcome = match outcome {
                // What is kept for those who lag would be of two numberings.
                Outcome::Lags if channel.subscribers.is_breaking() => {
                    Outcome::Behind(batch.before(delivery.start))
                }
                outcome => outcome,
            };
            match outcome {
                Outcome::Written | Outcome::Ended | Outcome::Missed => continue,
                Outcome::Queued | Outcome::Failed => {}
                Outcome::Lags => channel.subscribers.lag(&batch, &delivery),
                Outcome::Behind(_) | Outcome::Polled(_) => channel.subscribers.pause(delivery.position),
            }
            unsettled.push((delivery.slot, outcome));
        }
        unsettled.into_iter().for_each(|(slot, outcome)| self.settle(now, id, slot, &batch, &outcome));
        Some(walk)
    }

    /// Does what follows from a delivery, which may change the list that is being walked.
    fn settle(&mut self, now: Now, channel: ChannelId, slot: u32, batch: &Batch, outcome: &Outcome) {
        match outcome {
            Outcome::Written | Outcome::Ended | Outcome::Missed => {}
            Outcome::Queued => {
                // What waits for the answers of other owners alone must not grow until it counts as a slow reader's.
                self.uncork(now, slot);
                self.note_queue(now, slot);
            }
            Outcome::Failed => self.stream_ended(slot),
            Outcome::Lags => self.begin_to_lag(slot),
            Outcome::Behind(since) => {
                self.fall_behind(slot, channel, *since);
                // Behind a break it may have taken all; nothing else would list it then.
                self.list_replay(slot);
            }
            Outcome::Polled(start) => self.poll_delivered(now, slot, channel, batch, *start),
        }
    }
}

/// Delivers a batch as `bytes` from `start` on: frames, or events.
fn deliver<S: Socket>(
    conns: &mut ConnTable<S>,
    counters: &mut Counters,
    batch: &Batch,
    delivery: &Delivery,
    bytes: &Arc<[u8]>,
    start: usize,
    slowness: Slowness,
) -> Outcome {
    let conn = &mut conns[delivery.slot];
    if !conn.phase.is_open() {
        // Its queue is gone, and with it perhaps the rest of a frame: nothing may follow.
        return Outcome::Ended;
    }
    if conn.hidden {
        return put_off(batch, || Outcome::Lags);
    }
    let part = &bytes[start..];
    let queued = conn.queued_bytes();
    match slowness.policy {
        Slow::Latest if queued > 0 => return put_off(batch, || Outcome::Lags),
        Slow::Drop if queued > 0 && queued + part.len() > slowness.soft_bytes => {
            return put_off(batch, || Outcome::Behind(batch.before(delivery.start)));
        }
        Slow::Disconnect | Slow::Drop | Slow::Latest => {}
    }
    counters.delivered += batch.count_from(delivery.start) as u64;
    let mut written = 0;
    if queued == 0 {
        match write(&mut conn.socket, part) {
            Ok(count) => written = count,
            Err(_) => return Outcome::Failed,
        }
        counters.bytes_sent += written as u64;
        if written == part.len() {
            return Outcome::Written;
        }
        counters.short_writes += 1;
    }
    let (bytes, start) = (bytes.clone(), start + written);
    conns.change_queue(delivery.slot, |out, _| match slowness.policy {
        Slow::Disconnect => out.push_shared(bytes, start),
        Slow::Drop | Slow::Latest => out.push_excused(bytes, start),
    });
    Outcome::Queued
}

/// Delivers a batch to a stream of events. Streams that follow the one channel share the bytes; where there are several, each
/// event tells where its client stands in all of them.
fn deliver_events<S: Socket>(
    conns: &mut ConnTable<S>,
    counters: &mut Counters,
    channel: &mut Channel,
    id: ChannelId,
    batch: &Batch,
    delivery: &Delivery,
    slowness: Slowness,
) -> Outcome {
    let subscriptions = &mut conns[delivery.slot].subscriptions;
    if batch.is_empty() || !matches!(subscriptions, Subscriptions::ManyAt(_)) {
        let events = channel.subscribers.events(batch);
        let start = events.start(batch.count_from(delivery.start));
        return deliver(conns, counters, batch, delivery, &events.bytes, start, slowness);
    }
    let mut events = Vec::new();
    for publication in batch.publications_from(delivery.start) {
        let (json, cursor) = (payload_of(&publication.frame), publication.cursor());
        subscriptions.stand(id, cursor);
        sse::put_event(&mut events, Kind::Notification, json, subscriptions, cursor);
    }
    let outcome = deliver(conns, counters, batch, delivery, &events.into(), 0, slowness);
    if !matches!(outcome, Outcome::Written | Outcome::Queued) {
        conns[delivery.slot].subscriptions.stand(id, batch.before(delivery.start));
    }
    outcome
}

/// What becomes of a delivery that is not made now. A notice is for now or not at all: nobody keeps it for later.
fn put_off(batch: &Batch, later: impl FnOnce() -> Outcome) -> Outcome {
    if batch.is_empty() { Outcome::Missed } else { later() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::cursor::Epoch;
    use crate::hub::publication::Publication;
    use crate::hub::subscribers::Subscribers;
    use std::io;

    /// Takes everything.
    #[derive(Default)]
    struct Wide(Vec<u8>);

    impl Socket for Wide {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn write_vectored(&mut self, chunks: &[io::IoSlice<'_>]) -> io::Result<usize> {
            chunks.iter().map(|chunk| self.write(chunk)).sum()
        }

        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn deliver_frames(
        conns: &mut ConnTable<Wide>,
        counters: &mut Counters,
        batch: &Batch,
        delivery: &Delivery,
        slowness: Slowness,
    ) -> Outcome {
        deliver(conns, counters, batch, delivery, &batch.bytes, delivery.start, slowness)
    }

    #[test]
    fn a_connection_that_ended_in_this_turn_gets_no_publication_any_more() {
        let mut conns = ConnTable::new();
        let slots = [Phase::Live, Phase::Dead].map(|phase| {
            let slot = conns.insert(Wide::default(), Now::default()).slot;
            conns[slot].phase = phase;
            slot
        });
        let mut subscribers = Subscribers::default();
        for slot in slots {
            subscribers.join(slot, 0);
        }
        let cursor = Cursor { epoch: Epoch(1), offset: 1 };
        subscribers.publish(Publication::new("a".into(), cursor, "1", None, 0));
        let slowness = Slowness { policy: Slow::Disconnect, soft_bytes: 1 };
        let batch = subscribers.begin().unwrap();
        for (slot, outcome) in slots.into_iter().zip([Outcome::Written, Outcome::Ended]) {
            let delivery = subscribers.advance(&batch).unwrap();
            assert_eq!(delivery.slot, slot);
            let mut counters = Counters::default();
            assert_eq!(deliver_frames(&mut conns, &mut counters, &batch, &delivery, slowness), outcome);
        }
        assert_eq!(slots.map(|slot| conns[slot].socket.0.is_empty()), [false, true]);
    }

    #[test]
    fn a_notice_that_cannot_be_had_now_is_missed_and_puts_nobody_behind() {
        let mut conns = ConnTable::new();
        let [hidden, slow, free] = [(true, 0), (false, 9), (false, 0)].map(|(hidden, queued)| {
            let slot = conns.insert(Wide::default(), Now::default()).slot;
            conns[slot].phase = Phase::Live;
            conns[slot].hidden = hidden;
            conns.change_queue(slot, |out, _| {
                if queued > 0 {
                    out.push_shared(vec![0; queued].into(), 0)
                }
            });
            slot
        });
        for (policy, of_slow) in [
            (Slow::Disconnect, Outcome::Queued),
            (Slow::Drop, Outcome::Missed),
            (Slow::Latest, Outcome::Missed),
        ] {
            let mut subscribers = Subscribers::default();
            for slot in [hidden, slow, free] {
                subscribers.join(slot, 0);
            }
            subscribers.notify(Arc::from(*b"two"));
            let batch = subscribers.begin().unwrap();
            let slowness = Slowness { policy, soft_bytes: 10 };
            for expected in [Outcome::Missed, of_slow, Outcome::Written] {
                let delivery = subscribers.advance(&batch).unwrap();
                let outcome =
                    deliver_frames(&mut conns, &mut Counters::default(), &batch, &delivery, slowness);
                assert_eq!(outcome, expected, "{policy}");
            }
        }
        assert_eq!(conns[free].socket.0, b"twotwotwo");
    }
}
