//! How threads hand things to each other: one locked queue a receiver, one wake a batch. Must never be locked while
//! anything is worked on: a sender appends, a receiver takes all.

use mio::Waker;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The queue of one receiver.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Mutex<Vec<T>>,
    bytes: AtomicUsize,
    waker: Waker,
}

impl<T> Mailbox<T> {
    /// An empty queue whose receiver is woken through `waker`.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self { queue: Mutex::new(Vec::new()), bytes: AtomicUsize::new(0), waker }
    }

    /// Appends everything in `batch`, which weighs `bytes`, and wakes the receiver if it may be asleep.
    pub fn send(&self, batch: &mut Vec<T>, bytes: usize) {
        if batch.is_empty() {
            return;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut queue = self.lock();
        let asleep = queue.is_empty();
        queue.append(batch);
        drop(queue);
        // Whoever found mail waiting knows that a wake is on its way: the receiver takes all at once.
        if asleep {
            self.wake();
        }
    }

    /// Wakes the receiver, mail or none.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }

    /// Takes everything into `into`, which is empty.
    pub fn take(&self, into: &mut Vec<T>) {
        std::mem::swap(&mut *self.lock(), into);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Gives back what a busy time made large.
    pub fn give_back(&self) {
        self.lock().shrink_to_fit();
    }

    /// Bytes that wait, or a little more.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes on the heap of the queue itself, without what its mail points to.
    pub fn heap_bytes(&self) -> usize {
        self.lock().capacity() * size_of::<T>()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        // Appending and swapping leave nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    #[test]
    fn a_batch_is_one_wake_and_arrives_in_order() {
        let mut poll = Poll::new().unwrap();
        let mailbox = Mailbox::new(Waker::new(poll.registry(), Token(7)).unwrap());
        mailbox.send(&mut vec![1, 2], 20);
        mailbox.send(&mut vec![3], 10);
        assert_eq!(mailbox.bytes(), 30);
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, None).unwrap();
        assert_eq!(events.iter().count(), 1);
        let mut taken = Vec::new();
        mailbox.take(&mut taken);
        assert_eq!((taken, mailbox.bytes()), (vec![1, 2, 3], 0));
        mailbox.send(&mut Vec::new(), 0);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "nothing sent wakes nobody");
        mailbox.wake();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(events.iter().count(), 1);
    }
}
