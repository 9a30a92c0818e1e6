//! What a connection owns only while something is under way: a partial head, a partial message, a queue.
//! Must never outlive its use: [`Active::is_idle`] says when the box goes back.

use super::out_queue::OutQueue;
use super::replays::Replays;
use crate::clock::Tick;
use crate::lag::Standing;
use crate::proto::decoder::Decoder;
use crate::proto::http::HeadScanner;

/// The box of an active connection.
#[derive(Debug, Default)]
pub struct Active {
    /// The request head so far, at most [`crate::limits::HEAD_BYTES_MAX`] and one read.
    pub head: Vec<u8>,
    /// How far `head` was searched for its end.
    pub scanner: HeadScanner,
    /// The frame or message in progress.
    pub decoder: Decoder,
    /// What could not be written yet. [`super::Conn::change_queue`] is the door to it.
    pub(super) out: OutQueue,
    /// Where the shard finds what it weighs.
    pub(super) standing: Standing,
    /// Since when the queue is over its soft bound.
    pub over_soft_since: Option<Tick>,
    /// What it missed and still has to get.
    pub replays: Option<Box<Replays>>,
    /// Bytes thrown away while lingering, at most [`crate::limits::LINGER_BYTES_MAX`].
    pub discarded: usize,
}

impl Active {
    /// What could not be written yet.
    #[must_use]
    pub fn out(&self) -> &OutQueue {
        &self.out
    }

    /// Nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.head.is_empty()
            && self.decoder.is_idle()
            && self.out.is_empty()
            && self.replays.is_none()
            && self.discarded == 0
    }

    /// Bytes on the heap: the box and what was begun in it, without the queue, which tells of itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let replays = self.replays.as_ref().map_or(0, |replays| replays.heap_bytes());
        size_of::<Self>() + self.head.capacity() + self.decoder.heap_bytes() + replays
    }
}
