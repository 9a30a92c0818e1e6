//! A batch of publications as a stream of events, for clients that follow the one channel: made once for all of them, when the
//! first one's turn comes. Must never be made for a channel that only WebSockets follow.

use super::batch::Batch;
use crate::metrics::heap::share_bytes;
use crate::proto::frame::payload_of;
use crate::transport::sse::{self, Kind};
use std::sync::Arc;

/// The events of a batch.
#[derive(Debug)]
pub struct Events {
    /// All of them, one behind the other.
    pub bytes: Arc<[u8]>,
    /// Where each begins.
    starts: Vec<u32>,
}

impl Events {
    /// The events of `batch`; a notice has one, without a place to come back to.
    #[must_use]
    pub fn new(batch: &Batch) -> Self {
        let mut bytes = Vec::with_capacity(batch.bytes.len() + batch.len() * LINES_BYTES);
        let mut starts = Vec::with_capacity(batch.len());
        for publication in batch.publications_from(0) {
            starts.push(bytes.len() as u32);
            let json = payload_of(&publication.frame);
            sse::put_single(&mut bytes, Kind::Notification, json, publication.cursor());
        }
        if batch.is_empty() {
            starts.push(0);
            sse::put_presence(&mut bytes, payload_of(&batch.bytes));
        }
        Self { bytes: bytes.into(), starts }
    }

    /// Where the events begin of the last `count` publications.
    #[must_use]
    pub fn start(&self, count: usize) -> usize {
        let at = self.starts.len() - count.clamp(1, self.starts.len());
        self.starts[at] as usize
    }

    /// Bytes on the heap; of shared ones, this holder's part.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + share_bytes(&self.bytes) + self.starts.capacity() * size_of::<u32>()
    }
}

/// The names of an event's fields and its place.
const LINES_BYTES: usize = 64;
