//! What must come although nothing is published: a poll is answered when its time is over, and a stream gets a comment now and
//! then.

use crate::client::{Client, Way};
use crate::world::World;
use roost::clock::TICK_MS;

/// A table with so many places is seen by the clock hand in one step.
const STEP_SLOTS: u64 = 64;
/// A moment is kept as a tick, and rounded up to one.
const SLACK_MS: u64 = 2 * TICK_MS;

impl World {
    /// Held after the turn of a shard while no mail is under way: nobody waits for an owner's answer then.
    pub(crate) fn check_polls(&self, shard: usize) {
        let goes_on = self.node.has_cause(shard, self.now) || self.node.shards[shard].is_over_total();
        if goes_on || (0..self.node.len()).any(|other| self.node.has_mail(other)) {
            return;
        }
        for client in self.clients.iter().filter(|client| client.shard == shard) {
            let queued = self.node.shards[shard].queued_to(client.token);
            let due_ms = poll_due_ms(client).filter(|_| queued == 0);
            self.check_due(client, due_ms);
        }
    }

    /// Held when nothing is under way.
    pub(crate) fn check_heartbeats(&self) {
        for client in self.clients.iter().filter(|client| client.can_speak() && !client.stalled) {
            if let Way::Stream(stream) = &client.way {
                self.check_due(client, stream.due_ms());
            }
        }
    }

    fn check_due(&self, client: &Client, due_ms: Option<u64>) {
        let slots_max = self.accepted[client.shard];
        let round_ms = if slots_max > STEP_SLOTS { self.round_ms() } else { 0 };
        let late = due_ms.is_some_and(|due_ms| self.now.mono_ms > due_ms + SLACK_MS + round_ms);
        let who = client.serial;
        assert!(!late, "client {who} waits at {}, and something was due at {due_ms:?}", self.now.mono_ms);
    }
}

/// When a poll must be answered that the node knows of and has not answered.
fn poll_due_ms(client: &Client) -> Option<u64> {
    let Way::Poll(poll) = &client.way else { return None };
    let pipe = client.pipe.borrow();
    let held = client.is_open() && client.inbox.len() == 0 && pipe.is_heard_and_unanswered();
    Some(pipe.heard_ms() + poll.wait_ms().filter(|_| held)?)
}
