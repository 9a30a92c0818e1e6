//! Clients of whom only matters how long they took to join. Must never know why they came.

use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::latency::Latencies;

/// One thread's share of them.
#[derive(Debug)]
pub(super) struct Joiners {
    latencies: Latencies,
}

impl Joiners {
    /// None has joined yet.
    pub(super) fn new() -> Self {
        Self { latencies: Latencies::new() }
    }
}

impl Conduct for Joiners {
    fn joined(&mut self, note: &mut Note, desk: &mut Desk<'_>) {
        self.latencies.record(desk.now_ns.saturating_sub(note.mark));
        *note = Note::default();
    }

    fn message(
        &mut self,
        _client: u32,
        _note: &mut Note,
        _text: &str,
        _desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch> {
        Ok(())
    }
}

/// From the beginning of a connect to the confirmed subscription, over all threads.
pub(super) fn latencies(conducts: &[Joiners]) -> Latencies {
    Latencies::over(conducts.iter().map(|joiners| &joiners.latencies))
}
