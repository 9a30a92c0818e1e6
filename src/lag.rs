//! Leaf: who lags how far, so that the largest lag is found without a search. Must never know what a lag is made of, nor
//! what is done about it.
//!
//! A lag stands in a list with all others of the same class, a power of two. A change moves it to another list or leaves it
//! where it is, and finding the largest is a look at the highest class that has any: all in the same short time however many
//! lags there are. What that costs is order within a class: a lag found to be the largest is more than half of the largest.
//!
//! ```text
//!    taken   …0100010…            a bit for each class that has any
//!                │   └─ class of 2³ to 2⁴-1 bytes ──▶ oldest ⇄ … ⇄ newest
//!                └───── class of 2⁷ to 2⁸-1 bytes ──▶ oldest ⇄ newest
//! ```

use crate::metrics::heap::Extent;
use crate::table::Table;

/// All lags of a shard.
#[derive(Debug)]
pub struct Lags {
    lags: Table<Lag>,
    classes: [Ends; CLASSES],
    /// A bit for each class that has any, the smallest class lowest.
    taken: u64,
    /// Sum of all.
    bytes: usize,
}

/// Where somebody who lags is found again: a place among [`Lags`], or none. Whoever forgets it leaves a lag that nobody
/// has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Standing(Option<u32>);

#[derive(Debug)]
struct Lag {
    /// Whose it is.
    who: u32,
    bytes: usize,
    older: u32,
    newer: u32,
}

/// A class: its members from the one that entered it first to the last.
#[derive(Debug, Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

impl Default for Lags {
    fn default() -> Self {
        Self { lags: Table::default(), classes: [EMPTY; CLASSES], taken: 0, bytes: 0 }
    }
}

impl Lags {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lags.len()
    }

    /// Whether nobody lags.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lags.is_empty()
    }

    /// Bytes of all together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whose lag is the largest, to a factor of two: of those in the highest class, whoever entered it first.
    #[must_use]
    pub fn largest(&self) -> Option<u32> {
        let class = self.highest()?;
        Some(self.lags[self.classes[class].oldest].who)
    }

    /// Everyone who lags and how far: class by class from the highest, in each of them whoever entered it first.
    pub fn largest_first(&self) -> impl Iterator<Item = (u32, usize)> {
        let behind = |place: u32| self.lags.get(place);
        let of_class = move |class: usize| {
            let oldest = behind(self.classes[class].oldest);
            std::iter::successors(oldest, move |lag| behind(lag.newer)).map(|lag| (lag.who, lag.bytes))
        };
        (0..CLASSES).rev().flat_map(of_class)
    }

    /// What the largest lag is at most: the upper end of its class. 0 where nobody lags.
    #[must_use]
    pub fn largest_bytes_max(&self) -> usize {
        self.highest().map_or(0, |class| usize::MAX >> (CLASSES - 1 - class))
    }

    /// Notes how far `who` lags now: 0 is not at all. `standing` is its own, and is nobody's place when it does not lag.
    pub fn note(&mut self, standing: &mut Standing, who: u32, bytes: usize) {
        let before = standing.0.map_or(0, |place| self.lags[place].bytes);
        if before == bytes {
            return;
        }
        self.bytes = self.bytes - before + bytes;
        match standing.0 {
            None => standing.0 = Some(self.enter(who, bytes)),
            Some(place) if bytes == 0 => {
                self.unlink(place);
                self.lags.remove(place);
                standing.0 = None;
            }
            Some(place) if class(before) == class(bytes) => self.lags[place].bytes = bytes,
            Some(place) => {
                self.unlink(place);
                self.lags[place].bytes = bytes;
                self.link(place);
            }
        }
    }

    /// The table's memory.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.lags.extent()
    }

    fn highest(&self) -> Option<usize> {
        self.taken.checked_ilog2().map(|class| class as usize)
    }

    fn enter(&mut self, who: u32, bytes: usize) -> u32 {
        let place = self.lags.insert(Lag { who, bytes, older: NOBODY, newer: NOBODY });
        self.link(place);
        place
    }

    /// Puts a lag that is in no class behind the others of its own.
    fn link(&mut self, place: u32) {
        let class = class(self.lags[place].bytes);
        let newest = std::mem::replace(&mut self.classes[class].newest, place);
        (self.lags[place].older, self.lags[place].newer) = (newest, NOBODY);
        match self.lags.get_mut(newest) {
            Some(before) => before.newer = place,
            None => self.classes[class].oldest = place,
        }
        self.taken |= 1 << class;
    }

    /// Takes a lag out of its class.
    fn unlink(&mut self, place: u32) {
        let Lag { bytes, older, newer, .. } = self.lags[place];
        let class = class(bytes);
        match self.lags.get_mut(older) {
            Some(before) => before.newer = newer,
            None => self.classes[class].oldest = newer,
        }
        match self.lags.get_mut(newer) {
            Some(behind) => behind.older = older,
            None => self.classes[class].newest = older,
        }
        if self.classes[class].oldest == NOBODY {
            self.taken &= !(1 << class);
        }
    }
}

/// The power of two that a lag has reached; nobody lags by 0.
fn class(bytes: usize) -> usize {
    bytes.ilog2() as usize
}

/// A class for each bit of a size.
const CLASSES: usize = usize::BITS as usize;
/// No neighbour: the table would have to be larger than memory for a place to be this.
const NOBODY: u32 = u32::MAX;
const EMPTY: Ends = Ends { oldest: NOBODY, newest: NOBODY };

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every lag in a list, searched for whatever is asked.
    #[derive(Default)]
    struct Naive(Vec<(u32, usize)>);

    impl Naive {
        /// A lag that enters a class stands behind those in it.
        fn note(&mut self, who: u32, bytes: usize) {
            match self.0.iter_mut().find(|(other, _)| *other == who) {
                Some((_, before)) if bytes > 0 && class(*before) == class(bytes) => *before = bytes,
                Some(_) | None => {
                    self.0.retain(|(other, _)| *other != who);
                    self.0.extend((bytes > 0).then_some((who, bytes)));
                }
            }
        }

        fn largest(&self) -> Option<u32> {
            self.largest_first().first().map(|&(who, _)| who)
        }

        fn largest_first(&self) -> Vec<(u32, usize)> {
            let mut sorted = self.0.clone();
            sorted.sort_by_key(|&(_, bytes)| std::cmp::Reverse(class(bytes)));
            sorted
        }
    }

    fn sizes() -> impl Strategy<Value = usize> {
        (0u32..40, any::<u64>()).prop_map(|(bits, low)| (low & ((1 << bits) - 1)) as usize)
    }

    proptest! {
        #[test]
        fn the_lists_agree_with_one_that_is_searched(
            steps in prop::collection::vec((0u32..12, sizes()), 0..400),
        ) {
            let (mut lags, mut naive) = (Lags::default(), Naive::default());
            let mut standings: Vec<Standing> = (0..12).map(|_| Standing::default()).collect();
            for (who, bytes) in steps {
                lags.note(&mut standings[who as usize], who, bytes);
                naive.note(who, bytes);
                prop_assert_eq!(lags.bytes(), naive.0.iter().map(|&(_, bytes)| bytes).sum::<usize>());
                prop_assert_eq!((lags.len(), lags.is_empty()), (naive.0.len(), naive.0.is_empty()));
                prop_assert_eq!(lags.largest(), naive.largest());
                prop_assert_eq!(lags.largest_first().collect::<Vec<_>>(), naive.largest_first());
                let most = naive.0.iter().map(|&(_, bytes)| bytes).max().unwrap_or(0);
                prop_assert!(most <= lags.largest_bytes_max());
                prop_assert!(lags.largest_bytes_max() < (2 * most).max(1));
            }
            // Whoever is found largest is taken out, until nobody is left: no one was more than twice as far behind.
            let mut before = usize::MAX;
            while let Some(who) = lags.largest() {
                let of_who = |&&(other, _): &&(u32, usize)| other == who;
                let bytes = naive.0.iter().find(of_who).map(|&(_, bytes)| bytes).expect("it lags");
                prop_assert!(bytes < before.saturating_mul(2));
                before = bytes;
                lags.note(&mut standings[who as usize], who, 0);
                naive.note(who, 0);
            }
            prop_assert!(naive.0.is_empty() && lags.bytes() == 0);
            prop_assert_eq!(lags.extent(), Extent::default());
            prop_assert!(standings.iter().all(|standing| *standing == Standing::default()));
        }
    }

    #[test]
    fn a_queue_that_fills_and_empties_a_million_times_leaves_nothing_behind() {
        let mut lags = Lags::default();
        let (mut constant, mut standing) = (Standing::default(), Standing::default());
        lags.note(&mut constant, 7, 1);
        for round in 0..1_000_000 {
            [100, 5_000, 70, round + 1, 0].into_iter().for_each(|bytes| lags.note(&mut standing, 3, bytes));
        }
        assert_eq!((lags.len(), lags.bytes(), lags.largest()), (1, 1, Some(7)));
        let extent = lags.extent();
        assert!(extent.touched + extent.reserved <= 4 * 48, "{extent:?}");
    }

    #[test]
    fn the_largest_of_all_sizes_is_known_to_its_power_of_two() {
        let (mut lags, mut standing) = (Lags::default(), Standing::default());
        assert_eq!((lags.largest_bytes_max(), lags.largest()), (0, None));
        for (bytes, most) in
            [(1, 1), (2, 3), (3, 3), (4, 7), (1 << 20, (2 << 20) - 1), (usize::MAX, usize::MAX)]
        {
            lags.note(&mut standing, 0, bytes);
            assert_eq!(lags.largest_bytes_max(), most);
        }
    }
}
