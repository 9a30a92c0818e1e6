//! The way from shards to the broker's thread: one locked queue and a wake. Must never wait.

use crate::hub::broker::Ask;
use crate::limits::BROKER_BYTES_MAX;
use crate::reactor::post_office::Broker;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One end of the way; all ends are alike.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    asks: Mutex<Vec<Ask>>,
    bytes: AtomicUsize,
    /// There is something to take.
    filled: Notify,
}

impl Line {
    /// Takes everything that waits. Its bytes count until they are [settled](Self::settle).
    pub(super) fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.0.asks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// So many bytes are answered.
    pub(super) fn settle(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Waits until something may be there.
    pub(super) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Bytes of publications that wait for the thread or for the broker's answer.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl Broker for Line {
    fn send(&self, asks: &mut Vec<Ask>) {
        let bytes: usize = asks.iter().map(Ask::bytes).sum();
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.0.asks.lock().unwrap_or_else(PoisonError::into_inner).append(asks);
        self.0.filled.notify_one();
    }

    fn is_congested(&self) -> bool {
        self.bytes() > BROKER_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::broker::Draft;
    use crate::hub::publisher::Publisher;

    fn publication(bytes: usize) -> Ask {
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        let (key, id) = (None, None);
        let data = "x".repeat(bytes).into();
        Ask::Publish(Box::new(Draft {
            name: "c".into(),
            data,
            key,
            id,
            wall_ms: 0,
            keep: 0,
            keep_ms: 0,
            publisher,
        }))
    }

    #[test]
    fn what_was_taken_and_not_answered_still_counts() {
        let line = Line::default();
        line.send(&mut vec![publication(BROKER_BYTES_MAX / 2), Ask::Follow("c".into())]);
        assert!(!line.is_congested());
        line.send(&mut vec![publication(BROKER_BYTES_MAX / 2)]);
        assert!(line.is_congested());
        let taken = line.take();
        assert!(line.is_congested(), "the broker has not answered");
        line.settle(taken.iter().map(Ask::bytes).sum());
        assert_eq!(line.bytes(), 0);
    }
}
