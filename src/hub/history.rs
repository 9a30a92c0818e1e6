//! What is remembered of channels that were published to: how far each has come, and its last publications, for those who
//! come back. Must never know a channel's name, nor who follows it.
//!
//! A log keeps the publications up to its head, so what it lacks is always the beginning:
//!
//! ```text
//!    1   2   3   4   5   6   7   8        offsets
//!  ┌───┬───┬───┬───┬───┬───┬───┬───┐
//!  │ lost or aged  │     kept      │      a client that has 2 gets the gap 3..=4, then 5 to 8
//!  └───┴───┴───┴───┴───┴───┴───┴───┘
//!                                ▲ head
//! ```
//!
//! Publications leave by number, by age and by bytes as others of their channel come. When all logs together are too
//! large, the channel that was published to longest ago loses its oldest first. A channel that falls silent is looked at
//! once its last publication is too old. Nothing here costs more than a constant for each publication.

use super::calendar::Calendar;
use super::recency::Recency;
use crate::clock::{Now, Tick};
use crate::config::policy::Policy;
use crate::limits::{CHANNEL_KEEP_MS, HISTORY_OVERHEAD_BYTES};
use crate::metrics::heap::{Extent, share_bytes};
use crate::table::Table;
use std::collections::VecDeque;
use std::sync::Arc;

/// Names a log. The channel that it belongs to holds it for as long as it is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId(u32);

/// How much may be kept. Every publication weighs its frame and [`HISTORY_OVERHEAD_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all logs.
    pub bytes: usize,
    /// Bytes of one log.
    pub log_bytes: usize,
    /// Bytes of frames that are given out at once; one frame may be larger.
    pub page_bytes: usize,
}

/// The logs of one shard.
#[derive(Debug)]
pub struct History {
    bounds: Bounds,
    logs: Table<Log>,
    /// What all logs weigh.
    bytes: usize,
    /// Publications in all logs.
    publications: usize,
    /// Logs that keep something, by their last publication.
    recency: Recency,
    /// Logs that keep something, by the moment to look whether they still should.
    aging: Calendar,
}

/// A channel's numbering, and its last publications.
#[derive(Debug, Default)]
struct Log {
    /// The offset of the last publication.
    head: u64,
    /// The publications up to the head, in order.
    kept: VecDeque<Kept>,
    /// What they weigh.
    bytes: usize,
    /// How long each is kept, in milliseconds.
    ttl_ms: u64,
    /// When the channel was last published to, or lost its last follower.
    touched_ms: u64,
    /// Somebody may try an earlier publication again until then.
    held_until: Tick,
    /// It stands in the calendar.
    aging: bool,
    /// Its channel stands in the calendar of those that may be forgotten.
    expiring: bool,
}

#[derive(Debug)]
struct Kept {
    frame: Arc<[u8]>,
    /// When it was published, in milliseconds since the node started.
    at_ms: u64,
}

/// Publications that follow each other, as frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The offset of the first.
    pub first: u64,
    /// The frames, in order.
    pub frames: Vec<Arc<[u8]>>,
}

impl Bounds {
    fn weight(frame: &[u8]) -> usize {
        frame.len() + HISTORY_OVERHEAD_BYTES
    }
}

impl Log {
    /// The offset of the oldest publication kept; one past the head when none is.
    fn oldest(&self) -> u64 {
        self.head + 1 - self.kept.len() as u64
    }

    /// How many of the oldest are too old.
    fn aged(&self, now: Now) -> usize {
        let ttl_ms = self.ttl_ms;
        self.kept.partition_point(|kept| now.mono_ms.saturating_sub(kept.at_ms) >= ttl_ms)
    }

    /// When the newest one is too old.
    fn silent_at_ms(&self) -> Option<u64> {
        self.kept.back().map(|newest| newest.at_ms.saturating_add(self.ttl_ms))
    }
}

impl History {
    /// No logs; takes no memory.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            logs: Table::default(),
            bytes: 0,
            publications: 0,
            recency: Recency::default(),
            aging: Calendar::default(),
        }
    }

    /// Bytes of everything kept, as it is weighed against [`Bounds::bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Publications kept.
    #[must_use]
    pub fn publications(&self) -> usize {
        self.publications
    }

    /// The memory of the logs, without what is kept in them.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.logs.extent()
    }

    /// Bytes on the heap of the order and the calendar of the logs.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.recency.heap_bytes() + self.aging.heap_bytes()
    }

    /// Bytes on the heap of what a log keeps, and how many publications that is. Looks at each.
    #[must_use]
    pub fn kept_bytes(&self, id: LogId) -> (usize, usize) {
        let kept = &self.logs[id.0].kept;
        let frames = kept.iter().map(|kept| share_bytes(&kept.frame)).sum::<usize>();
        (kept.capacity() * size_of::<Kept>() + frames, kept.len())
    }

    /// A log for a channel that nobody has published to yet.
    pub fn begin(&mut self) -> LogId {
        LogId(self.logs.insert(Log::default()))
    }

    /// Begins anew behind `head`, with nothing kept.
    pub fn restart(&mut self, id: LogId, head: u64) {
        self.drop_oldest(id, usize::MAX);
        self.logs[id.0].head = head;
    }

    /// The offset of the oldest publication that is given out; one past the head when none is.
    #[must_use]
    pub fn first(&self, id: LogId, now: Now) -> u64 {
        let log = &self.logs[id.0];
        log.oldest() + log.aged(now) as u64
    }

    /// Forgets a log.
    pub fn end(&mut self, id: LogId) {
        self.drop_oldest(id, usize::MAX);
        let log = self.logs.remove(id.0);
        assert!(!log.aging, "a log ends before its publications are too old");
    }

    /// The offset of the last publication.
    #[must_use]
    pub fn head(&self, id: LogId) -> u64 {
        self.logs[id.0].head
    }

    /// How many publications a client that has none could get.
    #[must_use]
    pub fn count(&self, id: LogId, now: Now) -> usize {
        let log = &self.logs[id.0];
        log.kept.len() - log.aged(now)
    }

    /// Adds the next publication, and keeps it as `policy` says.
    pub fn append(&mut self, id: LogId, frame: Arc<[u8]>, policy: &Policy, now: Now) {
        let log = &mut self.logs[id.0];
        log.head += 1;
        log.ttl_ms = policy.history_ttl_ms;
        log.touched_ms = now.mono_ms;
        let weight = Bounds::weight(&frame);
        let most = self.bounds.log_bytes.min(self.bounds.bytes);
        if policy.history == 0 || policy.history_ttl_ms == 0 || weight > most {
            // What is kept ends at the head, so with this one the earlier ones are lost as well.
            return self.drop_oldest(id, usize::MAX);
        }
        let room = policy.history - 1;
        let surplus = log.aged(now).max(log.kept.len().saturating_sub(room));
        self.drop_oldest(id, surplus);
        while self.logs[id.0].bytes + weight > most {
            self.drop_oldest(id, 1);
        }
        self.push(id, Kept { frame, at_ms: now.mono_ms }, weight);
        while self.bytes > self.bounds.bytes
            && let Some(oldest) = self.recency.oldest()
        {
            self.drop_oldest(LogId(oldest), 1);
        }
    }

    /// The publications after `offset` that are kept, as many as are given out at once.
    #[must_use]
    pub fn page_after(&self, id: LogId, offset: u64, now: Now) -> Page {
        let log = &self.logs[id.0];
        let first = (offset + 1).max(self.first(id, now));
        let skipped = (first - log.oldest()) as usize;
        let mut bytes = 0;
        let fits = |kept: &&Kept| {
            let begins = bytes == 0;
            bytes += kept.frame.len();
            begins || bytes <= self.bounds.page_bytes
        };
        let frames = log.kept.iter().skip(skipped).take_while(fits).map(|kept| kept.frame.clone());
        Page { first, frames: frames.collect() }
    }

    /// Notes that the last follower of the channel left.
    pub fn touch(&mut self, id: LogId, now: Now) {
        self.logs[id.0].touched_ms = now.mono_ms;
    }

    /// Notes that the log must not be forgotten before `until`.
    pub fn hold(&mut self, id: LogId, until: Tick) {
        self.logs[id.0].held_until = until;
    }

    /// When a log that nobody touches any more may be forgotten, in milliseconds since the node started.
    #[must_use]
    pub fn keep_until_ms(&self, id: LogId) -> u64 {
        let log = &self.logs[id.0];
        log.touched_ms.saturating_add(log.ttl_ms.max(CHANNEL_KEEP_MS)).max(log.held_until.start_ms())
    }

    /// Notes whether the owner has the channel among those that may be forgotten; returns whether it had.
    pub fn set_expiring(&mut self, id: LogId, expiring: bool) -> bool {
        std::mem::replace(&mut self.logs[id.0].expiring, expiring)
    }

    /// Looks at one log whose publications may all be too old, and drops up to `most` of them. Returns how many it
    /// dropped; None when no log is due.
    pub fn age_one(&mut self, now: Now, most: usize) -> Option<usize> {
        let id = LogId(self.aging.take_due(now)?);
        let log = &self.logs[id.0];
        let due_ms = log.silent_at_ms().unwrap_or_default();
        let aged = if Calendar::is_due(due_ms, now) { log.kept.len().min(most) } else { 0 };
        self.drop_oldest(id, aged);
        let log = &mut self.logs[id.0];
        log.aging = !log.kept.is_empty();
        if log.aging {
            self.aging.enter(id.0, due_ms);
        }
        Some(aged)
    }

    /// When [`History::age_one`] has something to do, in milliseconds since the node started.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.aging.next_ms()
    }

    fn push(&mut self, id: LogId, kept: Kept, weight: usize) {
        let log = &mut self.logs[id.0];
        if log.kept.len() == log.kept.capacity() {
            // Most channels of a large node are published to rarely, and VecDeque would begin with four.
            log.kept.reserve_exact(log.kept.len().max(1));
        }
        let due_ms = kept.at_ms.saturating_add(log.ttl_ms);
        log.kept.push_back(kept);
        log.bytes += weight;
        self.bytes += weight;
        self.publications += 1;
        self.recency.touch(id.0);
        if !std::mem::replace(&mut log.aging, true) {
            self.aging.enter(id.0, due_ms);
        }
    }

    /// Drops the oldest `count` publications of a log, or all of them.
    fn drop_oldest(&mut self, id: LogId, count: usize) {
        let log = &mut self.logs[id.0];
        let count = count.min(log.kept.len());
        if count == 0 {
            return;
        }
        let dropped = log.kept.drain(..count).map(|kept| Bounds::weight(&kept.frame)).sum::<usize>();
        log.bytes -= dropped;
        self.bytes -= dropped;
        self.publications -= count;
        if log.kept.is_empty() {
            self.recency.remove(id.0);
        }
        // Never more than one empty slot for each that is taken: the weight of a publication counts on it.
        if log.kept.capacity() > 2 * log.kept.len() {
            log.kept.shrink_to(log.kept.len() + log.kept.len() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::{Auth, Slow};

    const POLICY: Policy = Policy {
        clients_may_publish: false,
        history: 3,
        history_ttl_ms: 1_000,
        presence: false,
        slow: Slow::Disconnect,
        auth: Auth::Public,
    };
    const BOUNDS: Bounds = Bounds { bytes: 10_000, log_bytes: 1_000, page_bytes: 100 };

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    /// The first offset given out after `offset`, and how many follow.
    fn after(history: &History, log: LogId, offset: u64, now: Now) -> (u64, usize) {
        let page = history.page_after(log, offset, now);
        (page.first, page.frames.len())
    }

    #[test]
    fn a_publication_is_given_out_until_its_time_is_over_and_not_a_millisecond_longer() {
        let mut history = History::new(BOUNDS);
        let log = history.begin();
        history.append(log, Arc::from([1; 10]), &POLICY, at(500));
        history.append(log, Arc::from([2; 10]), &POLICY, at(501));
        assert_eq!(after(&history, log, 0, at(1_499)), (1, 2));
        assert_eq!(after(&history, log, 0, at(1_500)), (2, 1));
        assert_eq!(after(&history, log, 0, at(1_501)), (3, 0));
        assert_eq!((history.count(log, at(1_500)), history.count(log, at(1_501))), (1, 0));
    }

    #[test]
    fn a_page_has_as_much_as_it_may_and_one_publication_at_least() {
        let mut history = History::new(BOUNDS);
        let log = history.begin();
        for bytes in [50, 50, 300] {
            history.append(log, Arc::from(vec![0; bytes]), &POLICY, at(0));
        }
        assert_eq!(after(&history, log, 0, at(0)), (1, 2));
        assert_eq!(after(&history, log, 1, at(0)), (2, 1));
        assert_eq!(after(&history, log, 2, at(0)), (3, 1));
        assert_eq!(after(&history, log, 3, at(0)), (4, 0));
    }

    #[test]
    fn a_publication_that_is_too_large_to_be_kept_leaves_nothing_before_it_either() {
        let mut history = History::new(BOUNDS);
        let log = history.begin();
        history.append(log, Arc::from([0; 10]), &POLICY, at(0));
        history.append(log, Arc::from(vec![0; 1_000 - HISTORY_OVERHEAD_BYTES + 1]), &POLICY, at(0));
        assert_eq!((history.head(log), history.bytes()), (2, 0));
        assert_eq!(after(&history, log, 0, at(0)), (3, 0));
        history.append(log, Arc::from(vec![0; 1_000 - HISTORY_OVERHEAD_BYTES]), &POLICY, at(0));
        assert_eq!((after(&history, log, 0, at(0)), history.bytes()), ((3, 1), 1_000));
    }

    #[test]
    fn what_was_published_to_longest_ago_goes_first_and_reading_does_not_touch() {
        let mut history = History::new(Bounds { bytes: 500, ..BOUNDS });
        let [old, new] = [history.begin(), history.begin()];
        for log in [old, old, new] {
            history.append(log, Arc::from([0; 20]), &POLICY, at(0));
        }
        for left in [2, 2, 2, 1, 0] {
            assert_eq!(after(&history, old, 0, at(0)).1, left);
            history.append(new, Arc::from([0; 20]), &Policy { history: 100, ..POLICY }, at(0));
        }
        assert_eq!((history.count(new, at(0)), history.bytes()), (5, 500));
    }
}
