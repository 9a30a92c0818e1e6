//! Drains: of all before the end of the node, of some, and such as are stopped.

use crate::faults::pick;
use crate::trace::say;
use crate::world::World;
use roost::shard::mail::{DrainOrder, Mail};

/// The goodbyes of a drain are spread over less.
const DRAIN_OVER_MS_MAX: u64 = 10_000;

impl World {
    pub(crate) fn drain(&mut self) {
        say(|| "the node drains".to_owned());
        let over_ms = self.rng.u64(..DRAIN_OVER_MS_MAX);
        self.closing = true;
        for shard in 0..self.node.len() {
            self.node.send(shard, Mail::Drain(DrainOrder::to_leave(over_ms)));
        }
    }

    /// Some are sent away, or all until that is stopped. Behind the end of the node nobody asks for it any more.
    pub(crate) fn thin_out(&mut self) {
        if self.closing {
            return;
        }
        let percent = pick(&mut self.rng, &[1, 20, 50, 99, 100]);
        let (over_ms, oldest) = (self.rng.u64(..5_000), self.rng.bool());
        say(|| format!("{percent} in a hundred go over {over_ms} ms, the oldest first: {oldest}"));
        self.thinned = true;
        for shard in 0..self.node.len() {
            self.node.send(shard, Mail::Drain(DrainOrder { over_ms, percent, oldest, leaves: false }));
            if percent == 100 || self.rng.bool() {
                self.node.send(shard, Mail::Resume);
            }
        }
    }

    /// Everyone who was to go is told. Of others, whoever is still here is needed.
    pub(crate) fn end_drains(&mut self) {
        if self.closing {
            self.settle();
            self.wait(DRAIN_OVER_MS_MAX);
        } else {
            (0..self.node.len()).for_each(|shard| self.node.send(shard, Mail::Resume));
        }
    }
}
