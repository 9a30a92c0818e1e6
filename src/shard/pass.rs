//! A publication fans out: walks over subscriber lists with direct writes of shared bytes. Must never delay anyone
//! else by more than its budget, and never change a list while walking it.

use super::Shard;
use super::conn_table::ConnTable;
use super::write::write;
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::hub::subscribers::{Batch, Delivery};
use crate::limits::{PASS_BUDGET_WRITES, PASS_QUANTUM_WRITES};
use crate::metrics::Counters;

/// What became of one delivery.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Written,
    /// The connection ended in this turn, and is not freed yet.
    Ended,
    Queued,
    Failed,
}

impl<S: Socket> Shard<S> {
    /// Walks on, channel by channel in turn, until nothing is left or the budget is used up.
    pub(super) fn run_passes(&mut self, now: Now) {
        let mut writes_left = PASS_BUDGET_WRITES;
        while writes_left > 0 {
            let Some(id) = self.passes.pop_front() else { break };
            let Some(channel) = self.hub.channels.get_mut(id) else { continue };
            let Some(batch) = channel.subscribers.begin() else { continue };
            let quantum = writes_left.min(PASS_QUANTUM_WRITES);
            let mut queued = Vec::new();
            let mut failed = Vec::new();
            let mut writes = 0;
            while writes < quantum {
                let Some(delivery) = channel.subscribers.advance(&batch) else {
                    self.counters.count_pass(batch.len());
                    break;
                };
                writes += 1;
                match deliver(&mut self.conns, &mut self.counters, &batch, &delivery) {
                    Outcome::Written | Outcome::Ended => {}
                    Outcome::Queued => queued.push(delivery.slot),
                    Outcome::Failed => failed.push(delivery.slot),
                }
            }
            // An empty channel still costs a look.
            writes_left -= writes.max(1);
            self.passes.push_back(id);
            for slot in queued {
                // What waits for the answers of other owners alone must not grow until it counts as a slow reader's.
                self.uncork(now, slot);
                self.note_queue(now, slot);
            }
            failed.into_iter().for_each(|slot| self.stream_ended(slot));
        }
    }
}

fn deliver<S: Socket>(
    conns: &mut ConnTable<S>,
    counters: &mut Counters,
    batch: &Batch,
    delivery: &Delivery,
) -> Outcome {
    let conn = &mut conns[delivery.slot];
    if !conn.phase.is_open() {
        // Its queue is gone, and with it perhaps the rest of a frame: nothing may follow.
        return Outcome::Ended;
    }
    counters.delivered += batch.count_from(delivery.start) as u64;
    let bytes = &batch.bytes[delivery.start..];
    let mut written = 0;
    if conn.queued_bytes() == 0 {
        match write(&mut conn.socket, bytes) {
            Ok(count) => written = count,
            Err(_) => return Outcome::Failed,
        }
        counters.bytes_sent += written as u64;
        if written == bytes.len() {
            return Outcome::Written;
        }
        counters.short_writes += 1;
    }
    let start = delivery.start + written;
    conns.change_queue(delivery.slot, |out, _| out.push_shared(batch.bytes.clone(), start));
    Outcome::Queued
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Phase;
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
        subscribers.publish(Publication::new("a".into(), 1, "1", 0));
        let batch = subscribers.begin().unwrap();
        for (slot, outcome) in slots.into_iter().zip([Outcome::Written, Outcome::Ended]) {
            let delivery = subscribers.advance(&batch).unwrap();
            assert_eq!(delivery.slot, slot);
            assert_eq!(deliver(&mut conns, &mut Counters::default(), &batch, &delivery), outcome);
        }
        assert_eq!(slots.map(|slot| conns[slot].socket.0.is_empty()), [false, true]);
    }
}
