//! What a connection owns only while something is under way: a partial head, a partial message, a queue.
//! Must never outlive its use: [`Active::is_idle`] says when the box goes back.

use super::out_queue::OutQueue;
use super::replays::Replays;
use crate::clock::Tick;
use crate::lag::Standing;
use crate::proto::body::BodyReader;
use crate::proto::decoder::Decoder;
use crate::proto::http::HeadScanner;

/// A request body on its way.
#[derive(Debug)]
pub struct Body {
    /// Where it is.
    pub reader: BodyReader,
    /// What has come of it, at most [`crate::limits::Limits::message_bytes_max`].
    pub bytes: Vec<u8>,
}

/// The box of an active connection.
#[derive(Debug, Default)]
pub struct Active {
    /// The request head so far, at most [`crate::limits::HEAD_BYTES_MAX`] and one read; while one request is being answered, what
    /// came of the next.
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
    /// The body of a client's message, so far.
    pub body: Option<Box<Body>>,
    /// Messages for a poll that still has to hear from owners: JSON, each with a comma behind it.
    pub gathered: Vec<u8>,
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
            && self.body.is_none()
            && self.gathered.is_empty()
            && self.discarded == 0
    }

    /// Bytes on the heap: the box and what was begun in it, without the queue, which tells of itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let replays = self.replays.as_ref().map_or(0, |replays| replays.heap_bytes());
        let body = self.body.as_ref().map_or(0, |body| size_of::<Body>() + body.bytes.capacity());
        let begun = self.head.capacity() + self.decoder.heap_bytes() + self.gathered.capacity();
        size_of::<Self>() + begun + replays + body
    }
}
