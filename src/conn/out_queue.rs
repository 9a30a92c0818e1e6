//! What could not be written to a peer yet: references to shared bytes and a few owned ones, in order.
//! Must never copy a publication, and never drop or reorder part of a frame.

use super::socket::Socket;
use crate::limits::{QUEUE_CHUNK_BYTES, WRITE_CHUNKS_MAX};
use crate::metrics::heap::share_bytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// Bytes to write, in order. The bound is the caller's: [`crate::limits::Limits::queue_hard_bytes`].
#[derive(Debug, Default)]
pub struct OutQueue {
    chunks: VecDeque<Chunk>,
    /// Sum of what is left of all chunks.
    bytes: usize,
    /// What of that the reader may let wait for as long as it likes.
    excused: usize,
    /// Chunks written in full so far: the number of the first one in `chunks`.
    written: usize,
    /// The number of the chunk that is the latest pong.
    pong: Option<usize>,
}

/// A piece of the stream. `start` is how much of it was written.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    start: usize,
}

#[derive(Debug)]
enum Bytes {
    Shared(Arc<[u8]>),
    /// Shared, and excused.
    Excused(Arc<[u8]>),
    Owned(Vec<u8>),
}

impl Chunk {
    fn rest(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Shared(bytes) | Bytes::Excused(bytes) => &bytes[self.start..],
            Bytes::Owned(bytes) => &bytes[self.start..],
        }
    }

    /// Bytes left that the reader may let wait.
    fn excused(&self) -> usize {
        match &self.bytes {
            Bytes::Excused(bytes) => bytes.len() - self.start,
            Bytes::Shared(_) | Bytes::Owned(_) => 0,
        }
    }

    /// Whether it begins with an HTTP answer: a letter. Our frames begin with FIN, the bit that no letter has.
    fn is_http(&self) -> bool {
        self.rest().first().is_some_and(u8::is_ascii)
    }
}

impl OutQueue {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it weighs against the node's budget: its bytes, shared ones as if they were its own, and a little for each
    /// piece.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes + self.chunks.len() * QUEUE_CHUNK_BYTES
    }

    /// Bytes that wait and are held against the reader.
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        self.bytes - self.excused
    }

    /// Pieces that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Bytes on the heap; of shared ones, this queue's part. Looks at every piece.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let of_chunk = |chunk: &Chunk| match &chunk.bytes {
            Bytes::Shared(bytes) | Bytes::Excused(bytes) => share_bytes(bytes),
            Bytes::Owned(bytes) => bytes.capacity(),
        };
        self.chunks.capacity() * size_of::<Chunk>() + self.chunks.iter().map(of_chunk).sum::<usize>()
    }

    /// Appends shared bytes from `start` on, without copying them.
    pub fn push_shared(&mut self, bytes: Arc<[u8]>, start: usize) {
        self.bytes += bytes.len() - start;
        self.chunks.push_back(Chunk { bytes: Bytes::Shared(bytes), start });
    }

    /// As [`OutQueue::push_shared`], for what the reader may let wait as long as it likes: whoever puts it here sees to it that
    /// it never becomes much.
    pub fn push_excused(&mut self, bytes: Arc<[u8]>, start: usize) {
        self.bytes += bytes.len() - start;
        self.excused += bytes.len() - start;
        self.chunks.push_back(Chunk { bytes: Bytes::Excused(bytes), start });
    }

    /// Begins a queue with what is left of bytes of our own whose first `start` were written. They are kept whole,
    /// because the rest of a frame that was begun must go out whatever happens.
    pub fn push_begun(&mut self, bytes: Vec<u8>, start: usize) {
        debug_assert!(self.is_empty(), "only the first chunk can be begun");
        self.bytes += bytes.len() - start;
        self.chunks.push_back(Chunk { bytes: Bytes::Owned(bytes), start });
    }

    /// Appends bytes of our own, whole frames; small ones join the last owned chunk.
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        match self.chunks.back_mut() {
            Some(Chunk { bytes: Bytes::Owned(last), .. }) if last.len() < JOIN_BYTES_MAX => {
                last.extend_from_slice(&bytes);
            }
            Some(_) | None => self.chunks.push_back(Chunk { bytes: Bytes::Owned(bytes), start: 0 }),
        }
    }

    /// Queues a whole pong frame. It takes the place of one that still waits: only the latest ping has to be
    /// answered (RFC 6455 §5.5.3), so a peer that pings and does not read costs one pong.
    pub fn set_pong(&mut self, frame: &[u8]) {
        let waiting = self.pong.and_then(|number| self.chunks.get_mut(number.checked_sub(self.written)?));
        self.bytes += frame.len();
        match waiting {
            Some(chunk) if chunk.start == 0 => {
                self.bytes -= chunk.rest().len();
                chunk.bytes = Bytes::Shared(frame.into());
            }
            Some(_) | None => {
                self.pong = Some(self.written + self.chunks.len());
                self.chunks.push_back(Chunk { bytes: Bytes::Shared(frame.into()), start: 0 });
            }
        }
    }

    /// Throws away everything that no byte was written of, so that a close frame can follow at once. An answer to the
    /// upgrade stays whatever was written of it: no frame may come before it.
    pub fn truncate_to_frame_begun(&mut self) {
        self.pong = None;
        let kept = self.chunks.front().is_some_and(|chunk| chunk.start > 0 || chunk.is_http());
        self.chunks.truncate(usize::from(kept));
        self.chunks.shrink_to(SLOTS_MIN);
        self.bytes = self.chunks.front().map_or(0, |chunk| chunk.rest().len());
        self.excused = self.chunks.front().map_or(0, Chunk::excused);
    }

    /// Writes until everything is out or the socket is full.
    ///
    /// # Errors
    /// The socket's, except `WouldBlock`: that is an answer, and leaves the rest queued.
    pub fn flush(&mut self, socket: &mut impl Socket) -> io::Result<u64> {
        let mut written_total = 0;
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS_MAX];
            let count = self.chunks.len().min(WRITE_CHUNKS_MAX);
            for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slice = IoSlice::new(chunk.rest());
            }
            // One piece the plain way: it is a cheaper call.
            let written = match &slices[..count] {
                [only] => socket.write(only),
                several => socket.write_vectored(several),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    written_total += written as u64;
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written_total)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.chunks.front_mut() {
            let (rest, excused) = (front.rest().len(), front.excused());
            if written < rest {
                front.start += written;
                self.excused -= excused.min(written);
                break;
            }
            written -= rest;
            self.excused -= excused;
            self.chunks.pop_front();
            self.written += 1;
        }
        self.give_back();
    }

    /// Keeps no room for very many pieces when there are few.
    fn give_back(&mut self) {
        let (len, capacity) = (self.chunks.len(), self.chunks.capacity());
        if capacity > SLOTS_MIN && len < capacity / 4 {
            self.chunks.shrink_to(len * 2);
        }
    }
}

/// Owned bytes are joined up to this size: many small answers make one chunk, a large one is not copied again.
const JOIN_BYTES_MAX: usize = 4096;
/// Room for so many pieces is kept for as long as any wait.
const SLOTS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes a call, then is full for one call.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        full: bool,
    }

    impl Socket for Narrow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.full, true) {
                self.full = false;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(self.room);
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
            let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
            self.write(&joined)
        }

        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drained(queue: &mut OutQueue, room: usize) -> Vec<u8> {
        let mut socket = Narrow { taken: Vec::new(), room, full: false };
        while !queue.is_empty() {
            queue.flush(&mut socket).unwrap();
        }
        socket.taken
    }

    #[test]
    fn everything_comes_out_in_order_whatever_the_socket_takes() {
        for room in 1..40 {
            let mut queue = OutQueue::default();
            let mut expected = Vec::new();
            for round in 0..100u8 {
                let bytes = vec![round; usize::from(round % 7) + 1];
                expected.extend_from_slice(&bytes);
                match round % 3 {
                    0 => queue.push_shared(bytes.into(), 0),
                    1 => queue.push_excused(bytes.into(), 0),
                    _ => queue.push_owned(bytes),
                }
            }
            assert_eq!(queue.bytes(), expected.len());
            assert_eq!(drained(&mut queue, room), expected, "room {room}");
            assert_eq!((queue.bytes(), queue.counted_bytes()), (0, 0));
        }
    }

    #[test]
    fn what_is_excused_is_not_held_against_the_reader_however_much_of_it_was_written() {
        let mut queue = OutQueue::default();
        queue.push_excused(Arc::from(&b"excused"[..]), 2);
        queue.push_owned(b"owned".to_vec());
        queue.push_excused(Arc::from(&b"more"[..]), 0);
        assert_eq!((queue.bytes(), queue.counted_bytes()), (14, 5));
        let mut socket = Narrow { taken: Vec::new(), room: 3, full: false };
        let expected = [(11, 5), (8, 4), (5, 1), (2, 0), (0, 0)];
        for left in expected {
            queue.flush(&mut socket).unwrap();
            assert_eq!((queue.bytes(), queue.counted_bytes()), left);
        }
        assert_eq!(socket.taken, b"cusedownedmore");
        queue.push_excused(Arc::from(&b"begun"[..]), 1);
        queue.push_owned(b"owned".to_vec());
        queue.truncate_to_frame_begun();
        assert_eq!((queue.bytes(), queue.counted_bytes()), (4, 0));
    }

    #[test]
    fn queues_that_share_bytes_count_them_once() {
        let shared: Arc<[u8]> = vec![0; 1000].into();
        let mut queues = [OutQueue::default(), OutQueue::default()];
        for queue in &mut queues {
            queue.push_shared(shared.clone(), 10);
        }
        drop(shared);
        queues[0].push_owned(Vec::with_capacity(50));
        let chunks = queues.iter().map(|queue| queue.chunks.capacity() * size_of::<Chunk>()).sum::<usize>();
        let bytes = queues.iter().map(OutQueue::heap_bytes).sum::<usize>();
        assert_eq!(bytes, chunks + 50 + 1000 + 16);
    }

    #[test]
    fn a_long_queue_that_was_written_or_cut_keeps_no_room_for_what_it_was() {
        for cut in [false, true] {
            let mut queue = OutQueue::default();
            (0..1000).for_each(|_| queue.push_shared(Arc::from(&b"piece"[..]), 0));
            assert_eq!(queue.weight(), 1000 * (5 + QUEUE_CHUNK_BYTES));
            let mut socket = Narrow { taken: Vec::new(), room: 1, full: false };
            queue.flush(&mut socket).unwrap();
            if cut {
                queue.truncate_to_frame_begun();
            } else {
                while queue.len() > 1 {
                    queue.flush(&mut socket).unwrap();
                }
            }
            assert_eq!(queue.len(), 1);
            assert!(queue.chunks.capacity() <= 2 * SLOTS_MIN, "{}", queue.chunks.capacity());
            assert!(queue.weight() < 5 + QUEUE_CHUNK_BYTES + 1);
        }
    }

    #[test]
    fn only_the_latest_pong_waits() {
        let mut queue = OutQueue::default();
        queue.push_owned(b"data".to_vec());
        queue.set_pong(b"old");
        queue.push_owned(b"more".to_vec());
        queue.set_pong(b"newer");
        assert_eq!(queue.bytes(), 13);
        assert_eq!(drained(&mut queue, 100), b"datanewermore");
        queue.set_pong(b"again");
        assert_eq!(drained(&mut queue, 100), b"again");
    }

    #[test]
    fn a_frame_begun_survives_when_the_rest_is_thrown_away() {
        let mut queue = OutQueue::default();
        queue.push_shared(Arc::from(&b"begun"[..]), 0);
        queue.push_shared(Arc::from(&b"waiting"[..]), 0);
        let mut socket = Narrow { taken: Vec::new(), room: 2, full: false };
        queue.flush(&mut socket).unwrap();
        queue.truncate_to_frame_begun();
        assert_eq!(drained(&mut queue, 100), b"gun");
        queue.push_begun(b"begun".to_vec(), 3);
        queue.push_owned(b"joined".to_vec());
        queue.push_shared(Arc::from(&b"waiting"[..]), 0);
        queue.truncate_to_frame_begun();
        assert_eq!(drained(&mut queue, 100), b"unjoined");
    }

    #[test]
    fn an_upgrade_that_nothing_was_written_of_still_comes_before_the_close_frame() {
        let mut queue = OutQueue::default();
        queue.push_begun(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), 0);
        queue.push_shared(Arc::from(&b"\x81\x07waiting"[..]), 0);
        queue.truncate_to_frame_begun();
        queue.push_owned(b"\x88\x00".to_vec());
        assert_eq!(drained(&mut queue, 100), b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x88\x00");
        queue.push_begun(b"\x81\x05reply".to_vec(), 0);
        queue.truncate_to_frame_begun();
        assert!(queue.is_empty(), "a frame not begun is thrown away");
    }
}
