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
    /// Takes everything that waits.
    pub(super) fn take(&self) -> Vec<Ask> {
        let asks = std::mem::take(&mut *self.0.asks.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.bytes.store(0, Ordering::Relaxed);
        asks
    }

    /// Waits until something may be there.
    pub(super) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Bytes that wait.
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
