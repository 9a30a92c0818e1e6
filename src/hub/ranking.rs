//! The channels with the most subscribers, found in one walk over all of them. Must never keep a name alive: who counts what
//! names weigh would find one holder too many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A walk's catch so far.
#[derive(Debug)]
pub struct Ranking {
    most: usize,
    /// Subscribers and place in the table; the smallest on top.
    best: BinaryHeap<Reverse<(usize, usize)>>,
    /// What the largest of those that found no room has.
    left_out: usize,
}

/// What a walk has found in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Top {
    /// Channels and their subscribers there, the largest first.
    pub channels: Vec<(Box<str>, usize)>,
    /// A channel that is not among them has no more subscribers there than this: 0 where all are listed.
    pub left_out: usize,
}

impl Ranking {
    /// Room for `most` channels.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, best: BinaryHeap::new(), left_out: 0 }
    }

    /// Looks at the channel in a place of the table. One that nobody follows has no rank.
    pub fn offer(&mut self, slot: usize, subscribers: usize) {
        let is_full = self.best.len() >= self.most;
        let least = self.best.peek().map_or(0, |Reverse((least, _))| *least);
        if subscribers == 0 || is_full && subscribers <= least {
            self.left_out = self.left_out.max(subscribers);
            return;
        }
        if is_full {
            self.best.pop();
            self.left_out = self.left_out.max(least);
        }
        self.best.push(Reverse((subscribers, slot)));
    }

    /// The catch. `at` says who is in a place now, and with how many subscribers: that may have changed since the walk came by.
    #[must_use]
    pub fn finish<'a>(self, at: impl Fn(usize) -> Option<(&'a str, usize)>) -> Top {
        let found = self.best.into_iter().filter_map(|Reverse((_, slot))| at(slot));
        let mut channels: Vec<_> = found.map(|(name, subscribers)| (name.into(), subscribers)).collect();
        channels.sort_unstable_by(|(name, subscribers), (other, others)| {
            others.cmp(subscribers).then_with(|| Ord::cmp(name, other))
        });
        Top { channels, left_out: self.left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_largest_are_kept_and_the_rest_are_no_larger_than_it_says(
            sizes in prop::collection::vec(0usize..20, 0..60),
            most in 1usize..10,
        ) {
            let mut ranking = Ranking::new(most);
            sizes.iter().enumerate().for_each(|(slot, &size)| ranking.offer(slot, size));
            let names: Vec<String> = (0..sizes.len()).map(|slot| slot.to_string()).collect();
            let top = ranking.finish(|slot| Some((&names[slot], sizes[slot])));
            let mut sorted: Vec<usize> = sizes.iter().copied().filter(|&size| size > 0).collect();
            sorted.sort_unstable_by_key(|&size| Reverse(size));
            let kept: Vec<usize> = top.channels.iter().map(|&(_, size)| size).collect();
            prop_assert_eq!(&kept, &sorted[..most.min(sorted.len())]);
            prop_assert_eq!(top.left_out, sorted.get(most).copied().unwrap_or(0));
            for (channel, size) in &top.channels {
                prop_assert_eq!(sizes[channel.parse::<usize>().unwrap()], *size);
            }
        }
    }

    #[test]
    fn a_channel_that_is_gone_when_the_walk_ends_is_not_named() {
        let mut ranking = Ranking::new(3);
        (1..=3).for_each(|size| ranking.offer(size, size));
        let top = ranking.finish(|slot| (slot != 2).then_some(if slot == 3 { ("c", 1) } else { ("a", 7) }));
        assert_eq!(top.channels, [("a".into(), 7), ("c".into(), 1)]);
    }
}
