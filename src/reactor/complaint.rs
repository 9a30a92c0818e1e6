//! What the node says about newcomers that it cannot take: one line a second, however many they are and whichever
//! thread turns them away. Must never keep anyone waiting.

use crate::clock::Now;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

/// The node's complaint. All threads that accept share it.
#[derive(Debug, Default)]
pub struct Complaint {
    /// When the last line was written, in milliseconds since the node started.
    said_ms: AtomicU64,
    /// Newcomers refused since then.
    refused: AtomicU64,
}

impl Complaint {
    /// A newcomer was refused because of `error`.
    pub fn refused(&self, now: Now, error: &impl Display) {
        if let Some(refused) = self.turn(now, 1) {
            tracing::warn!(%error, refused, "no room for newcomers: they get 503");
        }
    }

    /// Newcomers cannot even be refused because of `error`.
    pub fn waiting(&self, now: Now, error: &impl Display) {
        if let Some(refused) = self.turn(now, 0) {
            tracing::warn!(%error, refused, "newcomers cannot be accepted: they wait");
        }
    }

    /// How many were refused since the last line, for whoever is to write the next one.
    fn turn(&self, now: Now, refused: u64) -> Option<u64> {
        self.refused.fetch_add(refused, Ordering::Relaxed);
        let said_ms = self.said_ms.load(Ordering::Relaxed);
        let due = now.mono_ms >= said_ms + PAUSE_MS;
        let (set, relaxed) = (now.mono_ms, Ordering::Relaxed);
        // Of several threads that find it due, one gets the turn.
        let turn = due && self.said_ms.compare_exchange(said_ms, set, relaxed, relaxed).is_ok();
        turn.then(|| self.refused.swap(0, Ordering::Relaxed))
    }
}

/// From one line to the next.
const PAUSE_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn many_threads_get_one_turn_a_second_and_none_of_the_refused_is_forgotten() {
        const START_MS: u64 = 3_600_000;
        let complaint = Complaint::default();
        let turns = |thread: u64| -> Vec<u64> {
            let moments = (0..10_000).map(|ms| Now { mono_ms: START_MS + ms, wall_ms: thread });
            moments.filter_map(|now| complaint.turn(now, 1)).collect()
        };
        let counts: Vec<u64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || turns(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(counts.len() <= 10, "{} lines in ten seconds", counts.len());
        let later = Now { mono_ms: START_MS + 20_000, wall_ms: 0 };
        let rest = complaint.turn(later, 0).unwrap();
        assert_eq!(counts.iter().sum::<u64>() + rest, 40_000);
    }
}
