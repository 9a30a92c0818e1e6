//! The dense list of a channel's subscribers in one shard, and the batch or notice that is on its way through it.
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
//!
//! A subscriber is in one of three states. What is published while it is not live it gets in another way, and then goes on
//! live behind the last publication that this list was given; where a batch is under way, that is a part of what it had.
//!
//! ```text
//!               it has a past to get, or is behind and the history has the rest
//!   ┌─────────▶ Live ─────────────────────────────────────────────────────────────▶ Replaying ─┐
//!   │            │ it is behind, and only the latest is for it                               │ the owner's answer
//!   │            ▼                                                                           │ reaches the head
//!   └──────── Lagging: it has got the latest of all that was published meanwhile             │
//!   └────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use super::batch::{Aside, Batch, Item};
use super::events::Events;
use super::latest::Latest;
use super::publication::Publication;
use crate::dialect::cursor::Cursor;
use crate::metrics::heap::Extent;
use std::collections::VecDeque;
use std::sync::Arc;

/// One place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection's slot in the shard's table, and in the two topmost bits its [`State`].
    slot: u32,
    /// The lower half of the last offset that is not for this subscriber: it joined at it, or has everything up to it.
    from: u32,
}

/// How a subscriber gets what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// At once, by passes.
    Live,
    /// From its owner, page by page: what is published meanwhile will be a part of that.
    Replaying,
    /// When it has read what waits for it, and then only the latest of each conflation key.
    Lagging,
}

const REPLAYING: u32 = 1 << 31;
const LAGGING: u32 = 1 << 30;

impl Subscriber {
    fn slot(self) -> u32 {
        self.slot & !(REPLAYING | LAGGING)
    }

    fn state(self) -> State {
        match self.slot & (REPLAYING | LAGGING) {
            0 => State::Live,
            LAGGING => State::Lagging,
            _ => State::Replaying,
        }
    }

    fn is_live(self) -> bool {
        self.slot & (REPLAYING | LAGGING) == 0
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

/// The list, and what is on its way to those on it.
#[derive(Debug, Default)]
pub struct Subscribers {
    list: Vec<Subscriber>,
    fanout: Option<Box<Fanout>>,
}

/// Work to do for a channel: only one that has publications on their way, or somebody who lags, owns it.
#[derive(Debug, Default)]
struct Fanout {
    /// The batch of the pass under way.
    batch: Option<Arc<Batch>>,
    /// The same as a stream of events, once one was met that wants it so.
    events: Option<Arc<Events>>,
    /// The next place to serve.
    cursor: usize,
    /// What arrived since the pass began, in order.
    queue: VecDeque<Item>,
    /// The shard knows that there is something to do.
    busy: bool,
    /// What those get who lag; nobody else needs it.
    latest: Option<Box<Latest>>,
    /// Breaks in the queue or under way.
    breaks: u32,
}

/// What becomes of a list whose numbering breaks.
#[derive(Debug, Default)]
pub struct Broken {
    /// Slots of those who lagged, and where each stands: they come back for the rest now. Everyone else does when a pass meets them.
    pub lagging: Vec<(u32, Cursor)>,
    /// The channel had nothing to do before.
    pub begins: bool,
}

/// One delivery of a pass.
#[derive(Debug)]
pub struct Delivery {
    /// To whom.
    pub slot: u32,
    /// Its place in the list.
    pub position: u32,
    /// Where in the batch's bytes the part for this subscriber begins.
    pub start: usize,
}

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
        assert!(slot < LAGGING, "a table of connections is not that long");
        self.list.push(Subscriber { slot, from: offset as u32 });
        (self.list.len() - 1) as u32
    }

    /// How the subscriber at `position` gets what is published.
    #[must_use]
    pub fn state(&self, position: u32) -> State {
        self.list[position as usize].state()
    }

    /// Nothing is for the live subscriber at `position` until its replay has reached the head.
    pub fn pause(&mut self, position: u32) {
        let subscriber = &mut self.list[position as usize];
        assert!(subscriber.is_live(), "only a live subscriber begins a replay");
        subscriber.slot |= REPLAYING;
    }

    /// The replaying subscriber at `position` has everything up to `offset`, which is all that this list was given so far.
    pub fn resume(&mut self, position: u32, offset: u64) {
        let subscriber = &mut self.list[position as usize];
        assert!(subscriber.state() == State::Replaying, "a replay ends that nobody is in");
        *subscriber = Subscriber { slot: subscriber.slot(), from: offset as u32 };
    }

    /// The live subscriber of a delivery does not get it: it lags, and will get the latest of everything from there on.
    pub fn lag(&mut self, batch: &Batch, delivery: &Delivery) {
        let Some(fanout) = &mut self.fanout else { unreachable!("a delivery of no pass") };
        let subscriber = &mut self.list[delivery.position as usize];
        assert!(subscriber.is_live(), "a delivery to somebody who is not live");
        *subscriber =
            Subscriber { slot: subscriber.slot | LAGGING, from: batch.before(delivery.start).offset as u32 };
        fanout.latest.get_or_insert_with(|| batch.latest(&fanout.queue)).enter();
    }

    /// What the subscriber at `position` lags behind, and the offset up to which it has everything. None when it does not.
    #[must_use]
    pub fn lagging(&self, position: u32) -> Option<(&Latest, u64)> {
        let subscriber = self.list[position as usize];
        let latest = self.fanout.as_ref()?.latest.as_deref()?;
        (subscriber.state() == State::Lagging).then(|| (latest, latest.whole(subscriber.from)))
    }

    /// The lagging subscriber at `position` has got everything that was for it up to `offset`. True when that is the head, so
    /// that it lags no more.
    pub fn catch_up(&mut self, position: u32, offset: u64) -> bool {
        let Some((latest, _)) = self.lagging(position) else {
            unreachable!("who does not lag has caught up")
        };
        let level = offset == latest.head();
        let subscriber = &mut self.list[position as usize];
        subscriber.from = offset as u32;
        if level {
            subscriber.slot &= !LAGGING;
            self.one_lags_less();
        }
        level
    }

    /// When the last one has caught up or is gone, what was kept for it goes.
    fn one_lags_less(&mut self) {
        let Some(fanout) = &mut self.fanout else { return };
        if fanout.latest.as_mut().is_some_and(|latest| latest.leave()) {
            fanout.latest = None;
            if !fanout.busy {
                self.fanout = None;
            }
        }
    }

    /// Takes out the subscriber at `position` and closes the hole around the cursor of a pass.
    pub fn leave(&mut self, position: u32) -> [Option<Moved>; 2] {
        if self.state(position) == State::Lagging {
            self.one_lags_less();
        }
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
    /// before. It is for whoever is live when its turn comes.
    pub fn notify(&mut self, frame: Arc<[u8]>) -> bool {
        self.enqueue(Item::Aside(Aside::Notice(frame)))
    }

    /// What is published next does not follow what came, which ends at `last`. Those who lag will get the rest from their owner, like
    /// everyone else once a pass has met them.
    pub fn break_off(&mut self, last: Cursor) -> Broken {
        if self.list.is_empty() {
            return Broken::default();
        }
        let mut lagging = Vec::new();
        for position in 0..self.list.len() as u32 {
            let Some((latest, offset)) = self.lagging(position) else { continue };
            let since = Cursor { epoch: latest.epoch(), offset };
            let subscriber = &mut self.list[position as usize];
            *subscriber = Subscriber { slot: subscriber.slot() | REPLAYING, ..*subscriber };
            lagging.push((subscriber.slot(), since));
        }
        let fanout = self.fanout.get_or_insert_default();
        fanout.latest = None;
        fanout.breaks += 1;
        Broken { lagging, begins: self.enqueue(Item::Aside(Aside::Break(Box::new(last)))) }
    }

    /// Whether somebody may still have to be told of a break: nobody lags then, and whoever joins has no part in it.
    #[must_use]
    pub fn is_breaking(&self) -> bool {
        self.fanout.as_ref().is_some_and(|fanout| fanout.breaks > 0)
    }

    /// Whether the subscriber at `position` is live.
    #[must_use]
    pub fn is_live(&self, position: u32) -> bool {
        self.list[position as usize].is_live()
    }

    fn enqueue(&mut self, item: Item) -> bool {
        if self.list.is_empty() {
            return false;
        }
        let fanout = self.fanout.get_or_insert_default();
        if let (Some(latest), Item::Publication(publication)) = (&mut fanout.latest, &item) {
            latest.put(publication);
        }
        fanout.queue.push_back(item);
        !std::mem::replace(&mut fanout.busy, true)
    }

    /// The batch of the pass under way; begins one with what has arrived. None when there is nothing to do.
    pub fn begin(&mut self) -> Option<Arc<Batch>> {
        let fanout = self.fanout.as_mut()?;
        if fanout.batch.is_none() {
            fanout.batch = Batch::take(&mut fanout.queue).map(Arc::new);
            fanout.events = None;
            fanout.cursor = 0;
        }
        let batch = fanout.batch.clone();
        if batch.is_none() {
            match fanout.latest.take() {
                // What a long queue needed goes back although the channel still has somebody who lags.
                latest @ Some(_) => **fanout = Fanout { latest, ..Fanout::default() },
                None => self.fanout = None,
            }
        }
        batch
    }

    /// The next subscriber to serve, and from where in `batch`. None when the pass is at its end.
    #[inline] // A call for each delivery is a quarter of what this costs.
    pub fn advance(&mut self, batch: &Batch) -> Option<Delivery> {
        let fanout = self.fanout.as_mut()?;
        while let Some(subscriber) = self.list.get(fanout.cursor) {
            fanout.cursor += 1;
            if subscriber.is_live()
                && let Some(start) = batch.start(subscriber.from)
            {
                let position = (fanout.cursor - 1) as u32;
                return Some(Delivery { slot: subscriber.slot, position, start });
            }
        }
        fanout.breaks -= u32::from(batch.breaks.is_some());
        (fanout.batch, fanout.events) = (None, None);
        None
    }

    /// The batch of the pass under way as a stream of events.
    pub fn events(&mut self, batch: &Batch) -> Arc<Events> {
        let Some(fanout) = &mut self.fanout else { unreachable!("the events of no pass") };
        fanout.events.get_or_insert_with(|| Arc::new(Events::new(batch))).clone()
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

    /// Publications and notices on their way to those on the list, or kept for those who lag.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let Some(fanout) = &self.fanout else { return 0 };
        fanout.queue.len() + fanout.latest.as_ref().map_or(0, |latest| latest.len())
    }

    /// Bytes on the heap of what is on its way; of shared ones, this channel's part. Looks at every publication.
    #[must_use]
    pub fn fanout_bytes(&self) -> usize {
        let Some(fanout) = &self.fanout else { return 0 };
        let waiting = fanout.queue.iter().map(Item::heap_bytes).sum::<usize>();
        let queue = fanout.queue.capacity() * size_of::<Item>() + waiting;
        let latest = fanout.latest.as_ref().map_or(0, |latest| latest.heap_bytes());
        let events = fanout.events.as_deref().map_or(0, Events::heap_bytes);
        size_of::<Fanout>() + fanout.batch.as_deref().map_or(0, Batch::heap_bytes) + events + queue + latest
    }
}

#[cfg(test)]
mod tests {
    use super::super::latest::Piece;
    use super::*;
    use crate::dialect::cursor::{Cursor, Epoch};
    use crate::limits::BATCH_BYTES_MAX;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn publication(offset: u64) -> Publication {
        keyed(offset, None)
    }

    fn keyed(offset: u64, key: Option<u8>) -> Publication {
        keyed_in(1, offset, key)
    }

    fn keyed_in(epoch: u64, offset: u64, key: Option<u8>) -> Publication {
        let cursor = Cursor { epoch: Epoch(epoch), offset };
        Publication::new("c".into(), cursor, &offset.to_string(), key.map(|key| key.to_string().into()), 0)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join,
        JoinPaused,
        Resume(prop::sample::Index),
        Leave(prop::sample::Index),
        Publish(Option<u8>),
        Notify,
        Serve,
        /// The next delivery is not made: its subscriber lags from there on.
        Lag,
        /// One that lags gets so many pieces of what it lags behind.
        CatchUp(prop::sample::Index, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => Just(Step::Join),
            1 => Just(Step::JoinPaused),
            1 => any::<prop::sample::Index>().prop_map(Step::Resume),
            1 => any::<prop::sample::Index>().prop_map(Step::Leave),
            2 => prop::option::of(0u8..3).prop_map(Step::Publish),
            1 => Just(Step::Notify),
            4 => Just(Step::Serve),
            2 => Just(Step::Lag),
            2 => (any::<prop::sample::Index>(), 1usize..5).prop_map(|(who, most)| Step::CatchUp(who, most)),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// The list beside a naive twin: everything that was published, and how far everyone has come.
    #[derive(Default)]
    struct World {
        subscribers: Subscribers,
        position: BTreeMap<u32, u32>,
        /// Up to where each has everything, or was told of the gap.
        has: BTreeMap<u32, u64>,
        paused: BTreeSet<u32>,
        lagging: BTreeSet<u32>,
        published: Vec<Publication>,
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
                Step::Resume(who) => {
                    if let Some(slot) = chosen(who, &self.paused) {
                        self.paused.remove(&slot);
                        self.subscribers.resume(self.position[&slot], self.head());
                        self.has.insert(slot, self.head());
                    }
                }
                Step::Leave(who) => {
                    if let Some(slot) = chosen(who, &self.position.keys().copied().collect()) {
                        self.leave(slot);
                    }
                }
                Step::Publish(key) => {
                    let publication = keyed(self.head() + 1, *key);
                    self.published.push(publication.clone());
                    self.subscribers.publish(publication);
                }
                Step::Notify => self.notify(),
                Step::Serve => self.serve(false),
                Step::Lag => self.serve(true),
                Step::CatchUp(who, most) => {
                    if let Some(slot) = chosen(who, &self.lagging) {
                        self.catch_up(slot, *most);
                    }
                }
            }
            for (slot, position) in &self.position {
                let state = self.subscribers.state(*position);
                assert_eq!(self.subscribers.list[*position as usize].slot(), *slot);
                assert_eq!(state == State::Replaying, self.paused.contains(slot));
                assert_eq!(state == State::Lagging, self.lagging.contains(slot));
            }
            let kept = self.subscribers.fanout.as_ref().is_some_and(|fanout| fanout.latest.is_some());
            assert_eq!(kept, !self.lagging.is_empty(), "the latest is kept for those who lag alone");
        }

        fn head(&self) -> u64 {
            self.published.len() as u64
        }

        /// A notice is for those who are live when its pass is, so this one has its pass at once.
        fn notify(&mut self) {
            while self.subscribers.begin().is_some() {
                self.serve(false);
            }
            let frame: Arc<[u8]> = Arc::from(*b"notice");
            self.subscribers.notify(frame.clone());
            let mut told = BTreeSet::new();
            while let Some(batch) = self.subscribers.begin() {
                assert!(batch.is_empty(), "the notice is all that waits");
                while let Some(delivery) = self.subscribers.advance(&batch) {
                    assert_eq!(self.position[&delivery.slot], delivery.position);
                    assert_eq!(batch.bytes[delivery.start..], frame[..]);
                    assert!(told.insert(delivery.slot), "told twice");
                }
            }
            let live = |slot: &&u32| !self.paused.contains(slot) && !self.lagging.contains(slot);
            assert_eq!(told, self.position.keys().filter(live).copied().collect());
        }

        fn join(&mut self) -> u32 {
            let slot = self.slots;
            self.slots += 1;
            self.position.insert(slot, self.subscribers.join(slot, self.head()));
            self.has.insert(slot, self.head());
            slot
        }

        fn leave(&mut self, slot: u32) {
            let position = self.position.remove(&slot).unwrap();
            self.paused.remove(&slot);
            self.lagging.remove(&slot);
            for moved in self.subscribers.leave(position).into_iter().flatten() {
                *self.position.get_mut(&moved.slot).unwrap() = moved.position;
            }
        }

        fn serve(&mut self, lags: bool) {
            let Some(batch) = self.subscribers.begin() else { return };
            let Some(delivery) = self.subscribers.advance(&batch) else { return };
            assert_eq!(self.position[&delivery.slot], delivery.position);
            let has = self.has.get_mut(&delivery.slot).unwrap();
            assert_eq!(batch.before(delivery.start).offset, *has, "lost, doubled or out of order");
            if lags {
                self.lagging.insert(delivery.slot);
                return self.subscribers.lag(&batch, &delivery);
            }
            let next = *has as usize;
            let end = next + batch.count_from(delivery.start);
            let frames: Vec<u8> =
                self.published[next..end].iter().flat_map(|one| one.frame.iter().copied()).collect();
            assert_eq!(&batch.bytes[delivery.start..], frames);
            *has = end as u64;
        }

        /// What the one in `slot` must get: what no later publication of the same key has overtaken, and gaps.
        fn pieces(&self, slot: u32) -> Vec<(u64, Option<Arc<[u8]>>)> {
            let mut has = self.has[&slot];
            let mut pieces = Vec::new();
            for (at, publication) in self.published.iter().enumerate().skip(has as usize) {
                if self.published[at + 1..].iter().any(|later| later.key == publication.key) {
                    continue;
                }
                if publication.offset > has + 1 {
                    pieces.push((publication.offset - 1, None));
                }
                pieces.push((publication.offset, Some(publication.frame.clone())));
                has = publication.offset;
            }
            pieces
        }

        fn catch_up(&mut self, slot: u32, most: usize) {
            let (latest, since) = self.subscribers.lagging(self.position[&slot]).unwrap();
            assert_eq!((latest.epoch(), since), (Epoch(1), self.has[&slot]));
            let pieces: Vec<_> = latest
                .after(since)
                .map(|(upto, piece)| match piece {
                    Piece::Gap(_) => (upto, None),
                    Piece::Frame(frame) => (upto, Some(Arc::from(frame))),
                })
                .collect();
            assert_eq!(pieces, self.pieces(slot));
            let upto = pieces.iter().take(most).next_back().map_or(since, |(upto, _)| *upto);
            self.has.insert(slot, upto);
            let level = self.subscribers.catch_up(self.position[&slot], upto);
            assert_eq!(level, upto == self.head());
            if level {
                self.lagging.remove(&slot);
            }
        }
    }

    fn chosen(who: &prop::sample::Index, among: &BTreeSet<u32>) -> Option<u32> {
        among.iter().nth(who.index(among.len().max(1))).copied()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]
        #[test]
        fn those_who_are_live_get_each_publication_once_in_order_and_those_who_lag_the_latest(steps in steps()) {
            let mut world = World::default();
            for step in &steps {
                world.step(step);
            }
            while world.subscribers.begin().is_some() {
                world.step(&Step::Serve);
            }
            for slot in world.lagging.clone() {
                world.catch_up(slot, usize::MAX);
            }
            for (slot, has) in world.has.iter().filter(|(slot, _)| world.position.contains_key(slot)) {
                prop_assert!(*has == world.head() || world.paused.contains(slot), "{slot} has {has}");
            }
            prop_assert!(world.subscribers.fanout.is_none(), "an idle channel owns nothing");
        }
    }

    /// Where each stands while numberings break, and who has come back for the rest.
    #[derive(Default)]
    struct Broken {
        subscribers: Subscribers,
        position: BTreeMap<u32, u32>,
        live: BTreeMap<u32, Cursor>,
        back: BTreeMap<u32, Cursor>,
        lagging: BTreeSet<u32>,
        head: Cursor,
    }

    impl Broken {
        fn step(&mut self, step: u8, who: &prop::sample::Index) {
            match step {
                0 => {
                    let slot = self.position.len() as u32;
                    self.position.insert(slot, self.subscribers.join(slot, self.head.offset));
                    if self.subscribers.is_breaking() {
                        self.subscribers.pause(self.position[&slot]);
                        self.back.insert(slot, self.head);
                    } else {
                        self.live.insert(slot, self.head);
                    }
                }
                1 | 2 => {
                    self.head.offset += 1;
                    let data = self.head.offset.to_string();
                    self.subscribers.publish(Publication::new("c".into(), self.head, &data, None, 0));
                }
                3 => {
                    let broken = self.subscribers.break_off(self.head);
                    for (slot, since) in broken.lagging {
                        assert!(self.lagging.remove(&slot), "told of one that did not lag");
                        assert_eq!(self.live.remove(&slot), Some(since));
                        self.back.insert(slot, since);
                    }
                    assert!(self.lagging.is_empty(), "two numberings are never kept in one table");
                    self.head = Cursor { epoch: Epoch(self.head.epoch.0 + 1), offset: 3 };
                }
                4 if !self.subscribers.is_breaking() => {
                    if let Some(slot) = chosen(who, &self.back.keys().copied().collect()) {
                        self.back.remove(&slot);
                        self.subscribers.resume(self.position[&slot], self.head.offset);
                        self.live.insert(slot, self.head);
                    }
                }
                5 => self.serve(true),
                _ => self.serve(false),
            }
        }

        fn serve(&mut self, lags: bool) {
            let Some(batch) = self.subscribers.begin() else { return };
            let Some(delivery) = self.subscribers.advance(&batch) else { return };
            let has = self.live.get_mut(&delivery.slot).expect("a delivery to one that is away");
            assert_eq!(
                batch.before(delivery.start),
                *has,
                "lost, doubled, out of order, or of another numbering"
            );
            if batch.breaks.is_some() {
                let has = self.live.remove(&delivery.slot).unwrap();
                self.back.insert(delivery.slot, has);
                self.subscribers.pause(delivery.position);
            } else if lags && !self.subscribers.is_breaking() {
                self.subscribers.lag(&batch, &delivery);
                self.lagging.insert(delivery.slot);
            } else {
                has.offset += batch.count_from(delivery.start) as u64;
            }
        }
    }

    proptest! {
        #[test]
        fn where_a_numbering_breaks_everyone_gets_what_came_before_and_is_told_once_in_its_place(
            steps in prop::collection::vec((0u8..9, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut world = Broken::default();
            for (step, who) in &steps {
                world.step(*step, who);
            }
            while world.subscribers.begin().is_some() {
                world.serve(false);
            }
            prop_assert!(!world.subscribers.is_breaking());
            for (slot, has) in world.live.iter().filter(|(slot, _)| !world.lagging.contains(slot)) {
                prop_assert_eq!(*has, world.head, "{} is live elsewhere", slot);
            }
            prop_assert_eq!(world.subscribers.fanout.is_some(), !world.lagging.is_empty());
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
