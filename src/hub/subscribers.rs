//! The dense list of a channel's subscribers in one shard, and the batch that is on its way through it.
//! Must never skip or serve anyone twice, whoever leaves or joins meanwhile.
//!
//! A pass walks the list once, `cursor` being the next to serve:
//!
//! ```text
//!    served already │ to be served │
//!   ┌───┬───┬───┬───┼───┬───┬───┬───┤
//!   │ a │ b │ c │ d │ e │ f │ g │ h │       b leaves: d takes its place, h takes d's, the cursor steps back
//!   └───┴───┴───┴───┴───┴───┴───┴───┘       f leaves: h takes its place
//!                     ▲ cursor              z joins: behind h, and `from` tells that the batch is its past
//! ```

use super::publication::Publication;
use crate::limits::BATCH_BYTES_MAX;
use crate::metrics::heap::{Extent, share_bytes};
use std::collections::VecDeque;
use std::sync::Arc;

/// One place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection's slot in the shard's table, and whether it is [`PAUSED`].
    slot: u32,
    /// The lower half of the last offset that is not for this subscriber: it joined at it.
    from: u32,
}

/// A subscriber that still gets its past: what is published meanwhile will be a part of that.
const PAUSED: u32 = 1 << 31;

impl Subscriber {
    fn slot(self) -> u32 {
        self.slot & !PAUSED
    }

    fn is_paused(self) -> bool {
        self.slot & PAUSED != 0
    }
}

/// A subscriber that was moved to close a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Whose subscription must learn its new place.
    pub slot: u32,
    /// The new place.
    pub position: u32,
}

/// Publications that go out in one write; or a notice, which goes to everyone who is not paused.
#[derive(Debug, Clone)]
pub struct Batch {
    /// All frames, one behind the other.
    pub bytes: Arc<[u8]>,
    /// The offset of the first frame.
    first: u64,
    /// Where each publication's frame ends in `bytes`. A notice has none.
    ends: Vec<u32>,
}

/// The list, and what is on its way to those on it.
#[derive(Debug, Default)]
pub struct Subscribers {
    list: Vec<Subscriber>,
    fanout: Option<Box<Fanout>>,
}

/// Work to do for a channel: only one that has publications on their way owns it.
#[derive(Debug, Default)]
struct Fanout {
    /// The batch of the pass under way.
    batch: Option<Batch>,
    /// The next place to serve.
    cursor: usize,
    /// What arrived since the pass began, in order.
    queue: VecDeque<Item>,
}

/// What fans out.
#[derive(Debug)]
enum Item {
    Publication(Publication),
    /// A frame without a number: nobody's past, and no part of any.
    Notice(Arc<[u8]>),
}

/// One delivery of a pass.
#[derive(Debug)]
pub struct Delivery {
    /// To whom.
    pub slot: u32,
    /// Where in the batch's bytes the part for this subscriber begins.
    pub start: usize,
}

// Notices cost publications nothing.
const _: () = assert!(size_of::<Item>() == size_of::<Publication>());

impl Subscribers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a connection that joined at `offset`; returns its place.
    pub fn join(&mut self, slot: u32, offset: u64) -> u32 {
        if self.list.capacity() == 0 {
            // Most channels of a large node have one subscriber, and Vec would begin with four.
            self.list.reserve_exact(1);
        }
        assert!(slot < PAUSED, "a table of connections is not that long");
        self.list.push(Subscriber { slot, from: offset as u32 });
        (self.list.len() - 1) as u32
    }

    /// Nothing is for the subscriber at `position` until it resumes.
    pub fn pause(&mut self, position: u32) {
        self.list[position as usize].slot |= PAUSED;
    }

    /// The subscriber at `position` has everything up to `offset`, which is all that this list was given so far.
    pub fn resume(&mut self, position: u32, offset: u64) {
        let subscriber = &mut self.list[position as usize];
        *subscriber = Subscriber { slot: subscriber.slot(), from: offset as u32 };
    }

    /// Takes out the subscriber at `position` and closes the hole around the cursor of a pass.
    pub fn leave(&mut self, position: u32) -> [Option<Moved>; 2] {
        let mut hole = position as usize;
        let mut moved = [None, None];
        if let Some(fanout) = &mut self.fanout
            && hole < fanout.cursor
        {
            fanout.cursor -= 1;
            let last_served = fanout.cursor;
            moved[0] = self.fill(hole, last_served);
            hole = last_served;
        }
        let last = self.list.len() - 1;
        moved[1] = self.fill(hole, last);
        self.list.pop();
        if self.list.is_empty() {
            // What waits is for nobody. It must not stay either: a batch has no holes in its numbering, and what
            // is published while nobody is there would make one. Nor may the channel count as busy: the shard
            // may have forgotten that it was.
            self.fanout = None;
        }
        if self.list.capacity() > 4 * self.list.len().max(16) {
            self.list.shrink_to(2 * self.list.len());
        }
        moved
    }

    fn fill(&mut self, hole: usize, from: usize) -> Option<Moved> {
        if hole == from {
            return None;
        }
        self.list[hole] = self.list[from];
        Some(Moved { slot: self.list[hole].slot(), position: hole as u32 })
    }

    /// Appends a publication for the next pass. True when the channel had nothing to do before. Where nobody is there,
    /// it is for nobody: whoever joins later joins behind it.
    pub fn publish(&mut self, publication: Publication) -> bool {
        self.enqueue(Item::Publication(publication))
    }

    /// Appends a frame that is not numbered, in its place among the publications. True when the channel had nothing to do
    /// before. It is for whoever is there when its turn comes, but for those who are paused.
    pub fn notify(&mut self, frame: Arc<[u8]>) -> bool {
        self.enqueue(Item::Notice(frame))
    }

    fn enqueue(&mut self, item: Item) -> bool {
        if self.list.is_empty() {
            return false;
        }
        let idle = self.fanout.is_none();
        self.fanout.get_or_insert_default().queue.push_back(item);
        idle
    }

    /// The batch of the pass under way; begins one with what has arrived. None when there is nothing to do.
    pub fn begin(&mut self) -> Option<Batch> {
        let fanout = self.fanout.as_mut()?;
        if fanout.batch.is_none() {
            fanout.batch = Batch::take(&mut fanout.queue);
            fanout.cursor = 0;
        }
        if fanout.batch.is_none() {
            self.fanout = None;
        }
        self.fanout.as_ref().and_then(|fanout| fanout.batch.clone())
    }

    /// The next subscriber to serve, and from where in `batch`. None when the pass is at its end.
    #[inline] // A call for each delivery is a quarter of what this costs.
    pub fn advance(&mut self, batch: &Batch) -> Option<Delivery> {
        let fanout = self.fanout.as_mut()?;
        while let Some(subscriber) = self.list.get(fanout.cursor) {
            fanout.cursor += 1;
            if !subscriber.is_paused()
                && let Some(start) = batch.start(subscriber.from)
            {
                return Some(Delivery { slot: subscriber.slot, start });
            }
        }
        fanout.batch = None;
        None
    }

    /// Slots of everyone on the list.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.list.iter().map(|subscriber| subscriber.slot())
    }

    /// The list's memory.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.list.len(), self.list.capacity(), size_of::<Subscriber>())
    }

    /// Publications and notices on their way to those on the list.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.fanout.as_ref().map_or(0, |fanout| fanout.queue.len())
    }

    /// Bytes on the heap of what is on its way; of shared ones, this channel's part. Looks at every publication.
    #[must_use]
    pub fn fanout_bytes(&self) -> usize {
        let Some(fanout) = &self.fanout else { return 0 };
        let waiting = fanout.queue.iter().map(Item::heap_bytes).sum::<usize>();
        let queue = fanout.queue.capacity() * size_of::<Item>() + waiting;
        size_of::<Fanout>() + fanout.batch.as_ref().map_or(0, Batch::heap_bytes) + queue
    }
}

impl Item {
    fn publication(&self) -> Option<&Publication> {
        match self {
            Self::Publication(publication) => Some(publication),
            Self::Notice(_) => None,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Publication(publication) => publication.heap_bytes(),
            Self::Notice(frame) => share_bytes(frame),
        }
    }
}

impl Batch {
    fn take(queue: &mut VecDeque<Item>) -> Option<Self> {
        let first = match queue.pop_front()? {
            Item::Publication(publication) => publication,
            Item::Notice(bytes) => return Some(Self { bytes, first: 0, ends: Vec::new() }),
        };
        let mut ends = vec![first.frame.len() as u32];
        let mut bytes = first.frame.len();
        for next in queue.iter().map_while(Item::publication) {
            if bytes + next.frame.len() > BATCH_BYTES_MAX {
                break;
            }
            bytes += next.frame.len();
            ends.push(bytes as u32);
        }
        if ends.len() == 1 {
            return Some(Self { bytes: first.frame, first: first.offset, ends });
        }
        let mut joined = Vec::with_capacity(bytes);
        joined.extend_from_slice(&first.frame);
        for next in queue.iter().take(ends.len() - 1).filter_map(Item::publication) {
            joined.extend_from_slice(&next.frame);
        }
        queue.drain(..ends.len() - 1);
        Some(Self { bytes: joined.into(), first: first.offset, ends })
    }

    /// Where the part for a subscriber that joined at `from` begins; None when all of it is its past.
    fn start(&self, from: u32) -> Option<usize> {
        // The lower halves are enough: nobody is two thousand million publications behind the batch.
        let past = from.wrapping_sub(self.first as u32).wrapping_add(1) as i32;
        match usize::try_from(past) {
            Err(_) | Ok(0) => Some(0),
            Ok(past) if past < self.ends.len() => Some(self.ends[past - 1] as usize),
            Ok(_) => self.start_beyond(),
        }
    }

    /// For whom all of a batch is its past, or so it seems: a notice has no number, and is nobody's past.
    #[cold]
    fn start_beyond(&self) -> Option<usize> {
        self.ends.is_empty().then_some(0)
    }

    fn heap_bytes(&self) -> usize {
        share_bytes(&self.bytes) + self.ends.capacity() * size_of::<u32>()
    }

    /// How many publications lie behind `start`, which is where one of them begins.
    #[must_use]
    pub fn count_from(&self, start: usize) -> usize {
        if start == 0 {
            return self.ends.len();
        }
        self.ends.iter().rev().take_while(|&&end| end as usize > start).count()
    }

    /// How many publications it has; a notice is none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it is a notice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn publication(offset: u64) -> Publication {
        Publication::new("c".into(), offset, &offset.to_string(), 0)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join,
        JoinPaused,
        Resume(prop::sample::Index),
        Leave(prop::sample::Index),
        Publish,
        Notify,
        Serve,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => Just(Step::Join),
            1 => Just(Step::JoinPaused),
            1 => any::<prop::sample::Index>().prop_map(Step::Resume),
            1 => any::<prop::sample::Index>().prop_map(Step::Leave),
            1 => Just(Step::Publish),
            1 => Just(Step::Notify),
            3 => Just(Step::Serve),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// The list beside a naive twin: who must get what, and what they got.
    #[derive(Default)]
    struct World {
        subscribers: Subscribers,
        position: BTreeMap<u32, u32>,
        expected: BTreeMap<u32, Vec<u8>>,
        received: BTreeMap<u32, Vec<u8>>,
        paused: BTreeSet<u32>,
        offset: u64,
        slots: u32,
    }

    impl World {
        fn step(&mut self, step: &Step) {
            match step {
                Step::Join => _ = self.join(),
                Step::JoinPaused => {
                    let slot = self.join();
                    self.subscribers.pause(self.position[&slot]);
                    self.paused.insert(slot);
                }
                Step::Resume(index) => {
                    if let Some(&slot) = self.paused.iter().nth(index.index(self.paused.len().max(1))) {
                        self.paused.remove(&slot);
                        self.subscribers.resume(self.position[&slot], self.offset);
                    }
                }
                Step::Leave(index) => self.leave(index),
                Step::Publish => {
                    self.offset += 1;
                    let publication = publication(self.offset);
                    for slot in self.position.keys().filter(|slot| !self.paused.contains(slot)) {
                        self.expected.get_mut(slot).unwrap().extend_from_slice(&publication.frame);
                    }
                    self.subscribers.publish(publication);
                }
                Step::Notify => self.notify(),
                Step::Serve => self.serve(),
            }
        }

        /// A notice is for those who are there when its pass is, so this one has its pass at once.
        fn notify(&mut self) {
            while self.subscribers.begin().is_some() {
                self.serve();
            }
            let frame: Arc<[u8]> = format!("<notice {}>", self.offset).into_bytes().into();
            for slot in self.position.keys().filter(|slot| !self.paused.contains(slot)) {
                self.expected.get_mut(slot).unwrap().extend_from_slice(&frame);
            }
            self.subscribers.notify(frame);
            while self.subscribers.begin().is_some() {
                self.serve();
            }
        }

        fn join(&mut self) -> u32 {
            let slot = self.slots;
            self.slots += 1;
            self.position.insert(slot, self.subscribers.join(slot, self.offset));
            self.expected.insert(slot, Vec::new());
            self.received.insert(slot, Vec::new());
            slot
        }

        fn leave(&mut self, index: &prop::sample::Index) {
            if self.position.is_empty() {
                return;
            }
            let slot = *self.position.keys().nth(index.index(self.position.len())).unwrap();
            let position = self.position.remove(&slot).unwrap();
            self.paused.remove(&slot);
            for moved in self.subscribers.leave(position).into_iter().flatten() {
                *self.position.get_mut(&moved.slot).unwrap() = moved.position;
            }
            // Whoever left got a beginning of what was meant for it, and nothing else.
            let (expected, received) =
                (self.expected.remove(&slot).unwrap(), self.received.remove(&slot).unwrap());
            assert!(expected.starts_with(&received));
        }

        fn serve(&mut self) {
            let Some(batch) = self.subscribers.begin() else { return };
            if let Some(delivery) = self.subscribers.advance(&batch) {
                self.received
                    .get_mut(&delivery.slot)
                    .unwrap()
                    .extend_from_slice(&batch.bytes[delivery.start..]);
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_those_subscribed_and_not_paused_before_get_each_publication_once_in_order(steps in steps()) {
            let mut world = World::default();
            for step in &steps {
                world.step(step);
            }
            while world.subscribers.begin().is_some() {
                world.serve();
            }
            prop_assert_eq!(&world.received, &world.expected);
            for (slot, position) in &world.position {
                prop_assert_eq!(world.subscribers.list[*position as usize].slot(), *slot);
            }
        }
    }

    #[test]
    fn a_notice_goes_out_in_its_place_to_everyone_who_is_not_paused_whatever_they_joined_at() {
        let mut subscribers = Subscribers::default();
        let joined = [0, 1, 2, u64::from(u32::MAX / 2), u64::MAX];
        for (slot, offset) in (0..).zip(joined) {
            subscribers.join(slot, offset);
        }
        let paused = subscribers.join(9, 0);
        subscribers.pause(paused);
        let notice: Arc<[u8]> = Arc::from(*b"three");
        subscribers.publish(publication(1));
        subscribers.publish(publication(2));
        assert!(!subscribers.notify(notice.clone()));
        subscribers.publish(publication(3));
        let mut heard = Vec::new();
        while let Some(batch) = subscribers.begin() {
            let mut slots = Vec::new();
            while let Some(delivery) = subscribers.advance(&batch) {
                assert!(
                    batch.bytes != notice || (delivery.start, batch.count_from(delivery.start)) == (0, 0)
                );
                slots.push(delivery.slot);
            }
            heard.push((batch.len(), slots));
        }
        let [(2, _), (0, told), (1, _)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(told[..], [0, 1, 2, 3, 4]);
    }

    #[test]
    fn publications_that_wait_go_out_together_up_to_the_bound() {
        let mut subscribers = Subscribers::default();
        subscribers.join(0, 0);
        let count = 3 * BATCH_BYTES_MAX / publication(1).frame.len();
        for offset in 1..=count as u64 {
            subscribers.publish(publication(offset));
        }
        let mut sizes = Vec::new();
        while let Some(batch) = subscribers.begin() {
            assert!(batch.bytes.len() <= BATCH_BYTES_MAX);
            sizes.push(batch.len());
            while subscribers.advance(&batch).is_some() {}
        }
        assert_eq!(sizes.iter().sum::<usize>(), count);
        assert!(sizes.len() <= 5, "{sizes:?}");
        assert_eq!(subscribers.extent().touched, size_of::<Subscriber>() as u64);
        assert_eq!((subscribers.waiting(), subscribers.fanout_bytes()), (0, 0));
    }

    #[test]
    fn a_publication_that_nobody_was_there_for_leaves_no_hole_in_a_batch() {
        let mut subscribers = Subscribers::default();
        subscribers.join(0, 0);
        subscribers.publish(publication(1));
        subscribers.leave(0);
        assert!(!subscribers.publish(publication(2)));
        subscribers.join(1, 2);
        subscribers.publish(publication(3));
        let batch = subscribers.begin().unwrap();
        let delivery = subscribers.advance(&batch).unwrap();
        assert_eq!(&batch.bytes[delivery.start..], &*publication(3).frame);
    }

    #[test]
    fn a_subscriber_that_joined_at_a_wrapped_offset_gets_only_what_is_new() {
        let mut subscribers = Subscribers::default();
        let head = u64::from(u32::MAX);
        subscribers.join(0, head - 1);
        subscribers.publish(publication(head));
        subscribers.publish(publication(head + 1));
        subscribers.join(1, head);
        subscribers.join(2, head + 1);
        let batch = subscribers.begin().unwrap();
        let starts: Vec<_> =
            std::iter::from_fn(|| subscribers.advance(&batch)).map(|d| (d.slot, d.start)).collect();
        assert_eq!(starts, [(0, 0), (1, publication(head).frame.len())]);
    }
}
