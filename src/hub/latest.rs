//! The latest publications of a channel, one of each conflation key, for those of its subscribers that lag. Must never know
//! who they are: only how many.
//!
//! It sees every publication from the first one that somebody lagged behind, and forgets those that a later one of the same
//! key has overtaken. Whoever comes to read again gets what is left, and a gap for every hole:
//!
//! ```text
//!    offset   11   12   13   14   15   16
//!    key       a    b    a    c    b    a          kept: 14 c, 15 b, 16 a
//!
//!    a subscriber that has 11 gets: gap 12..=13, publication 14, 15, 16
//!    a subscriber that has 14 gets: publication 15, 16
//! ```

use super::owned::Gap;
use super::publication::Publication;
use crate::dialect::cursor::Epoch;
use crate::limits::{LATEST_BYTES_MAX, LATEST_KEYS_MAX};
use crate::metrics::heap::share_bytes;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

/// What is kept of one channel while somebody lags.
#[derive(Debug)]
pub struct Latest {
    /// In order of offset, no two of the same key.
    kept: VecDeque<Kept>,
    /// Bytes of the frames kept, at most [`LATEST_BYTES_MAX`].
    bytes: usize,
    /// The last publication that was seen.
    head: u64,
    epoch: Epoch,
    /// How many subscribers it is kept for.
    lagging: usize,
}

#[derive(Debug)]
struct Kept {
    offset: u64,
    /// Of the key: a look at it tells nearly all other keys apart.
    hash: u32,
    key: Option<Arc<str>>,
    frame: Arc<[u8]>,
}

/// What a subscriber that lags gets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These are overtaken.
    Gap(Gap),
    /// A publication, as a frame.
    Frame(&'a [u8]),
}

impl Latest {
    /// Nothing yet, for nobody yet; what is put next follows `head`.
    #[must_use]
    pub fn new(epoch: Epoch, head: u64) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, head, epoch, lagging: 0 }
    }

    /// The offset of the last publication that was seen.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The numbering of what is kept.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// One more subscriber lags.
    pub fn enter(&mut self) {
        self.lagging += 1;
    }

    /// One lags no more, or is gone. True when it was the last.
    pub fn leave(&mut self) -> bool {
        assert!(self.lagging > 0, "nobody lags who could stop to");
        self.lagging -= 1;
        self.lagging == 0
    }

    /// Sees the next publication, in order: it overtakes the one of its key.
    pub fn put(&mut self, publication: &Publication) {
        let hash = hash(publication.key.as_deref());
        let same = |kept: &Kept| kept.hash == hash && kept.key == publication.key;
        if let Some(at) = self.kept.iter().position(same) {
            self.drop_at(at);
        }
        self.head = publication.offset;
        self.epoch = publication.epoch;
        self.bytes += publication.frame.len();
        self.kept.push_back(Kept {
            offset: publication.offset,
            hash,
            key: publication.key.clone(),
            frame: publication.frame.clone(),
        });
        while self.kept.len() > LATEST_KEYS_MAX || self.bytes > LATEST_BYTES_MAX {
            self.drop_at(0);
        }
    }

    /// What a subscriber gets that has everything up to `since`, in order, each with the offset that it has then. At the end
    /// that is the head: no offset is left out without a gap.
    pub fn after(&self, since: u64) -> impl Iterator<Item = (u64, Piece<'_>)> {
        let first = self.kept.partition_point(|kept| kept.offset <= since);
        let mut has = since;
        let hole = |has: u64, to: u64| (has < to).then_some((to, Piece::Gap(Gap { from: has + 1, to })));
        let pieces = self.kept.range(first..).flat_map(move |kept| {
            let gap = hole(has, kept.offset - 1);
            has = kept.offset;
            gap.into_iter().chain([(kept.offset, Piece::Frame(&kept.frame))])
        });
        // Only where even the last publication was too large to be kept.
        let last = self.kept.back().map_or(since, |kept| kept.offset.max(since));
        pieces.chain(hole(last, self.head))
    }

    /// The whole offset whose lower half is `low`: nobody is two thousand million publications behind.
    #[must_use]
    pub fn whole(&self, low: u32) -> u64 {
        self.head - u64::from((self.head as u32).wrapping_sub(low))
    }

    /// Bytes on the heap, its own box included; of shared ones, this channel's part. Looks at every publication.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let shares = |kept: &Kept| share_bytes(&kept.frame) + kept.key.as_ref().map_or(0, share_bytes);
        let kept = self.kept.iter().map(shares).sum::<usize>();
        size_of::<Self>() + self.kept.capacity() * size_of::<Kept>() + kept
    }

    /// Publications kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn drop_at(&mut self, at: usize) {
        if let Some(kept) = self.kept.remove(at) {
            self.bytes -= kept.frame.len();
        }
    }
}

/// Keys come from publishers through the API, and hashes that agree cost no more than a look at the key: this one need not be
/// secret.
fn hash(key: Option<&str>) -> u32 {
    foldhash::fast::FixedState::with_seed(0).hash_one(key) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::cursor::Cursor;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn publication(offset: u64, key: Option<&str>, bytes: usize) -> Publication {
        let cursor = Cursor { epoch: Epoch(1), offset };
        let data = format!("\"{}\"", "x".repeat(bytes));
        Publication::new("c".into(), cursor, &data, key.map(Into::into), 0)
    }

    fn told(latest: &Latest, since: u64) -> Vec<(u64, u64, bool)> {
        let mut has = since;
        let told = latest.after(since).map(|(upto, piece)| {
            let from = std::mem::replace(&mut has, upto) + 1;
            match piece {
                Piece::Gap(gap) => {
                    assert_eq!((gap.from, gap.to), (from, upto), "a gap is the whole hole");
                    (from, upto, true)
                }
                Piece::Frame(frame) => {
                    let text = String::from_utf8_lossy(frame);
                    assert!(text.ends_with(&format!("\"offset\":{upto}}}")), "{text}");
                    (from, upto, false)
                }
            }
        });
        told.collect()
    }

    proptest! {
        #[test]
        fn whoever_lags_gets_the_last_of_each_key_in_order_and_a_gap_for_every_hole(
            begins in 1u64..1 << 40,
            keys in prop::collection::vec(prop::option::of(0u8..6), 1..60),
            since in any::<prop::sample::Index>(),
        ) {
            let mut latest = Latest::new(Epoch(1), begins - 1);
            let mut last = BTreeMap::new();
            for (key, offset) in keys.iter().zip(begins..) {
                latest.put(&publication(offset, key.map(|key| key.to_string()).as_deref(), 0));
                last.insert(key, offset);
            }
            let head = begins + keys.len() as u64 - 1;
            let since = begins - 1 + since.index(keys.len() + 1) as u64;
            prop_assert_eq!((latest.head(), latest.len()), (head, last.len()));
            prop_assert_eq!(latest.whole(since as u32), since);
            let mut kept: Vec<u64> = last.into_values().filter(|&offset| offset > since).collect();
            kept.sort_unstable();
            let (mut expected, mut has) = (Vec::new(), since);
            for offset in kept {
                if offset > has + 1 {
                    expected.push((has + 1, offset - 1, true));
                }
                expected.push((offset, offset, false));
                has = offset;
            }
            prop_assert_eq!(has, head, "the last publication is always the last of its key");
            prop_assert_eq!(told(&latest, since), expected);
        }
    }

    #[test]
    fn too_many_keys_or_bytes_lose_the_oldest_and_the_gap_covers_them() {
        let mut latest = Latest::new(Epoch(1), 0);
        let many = LATEST_KEYS_MAX as u64 + 5;
        (1..=many).for_each(|offset| latest.put(&publication(offset, Some(&offset.to_string()), 0)));
        assert_eq!(latest.len(), LATEST_KEYS_MAX);
        assert_eq!(told(&latest, 2)[0], (3, 5, true));
        let large = LATEST_BYTES_MAX / 4;
        for offset in many + 1..=many + 9 {
            latest.put(&publication(offset, Some(&offset.to_string()), large));
            assert!(latest.bytes <= LATEST_BYTES_MAX);
        }
        assert_eq!(latest.len(), 3);
        assert_eq!(told(&latest, many + 9), []);
        latest.put(&publication(many + 10, None, LATEST_BYTES_MAX));
        assert!(latest.is_empty(), "one that is larger than all that is kept is not kept either");
        assert_eq!(latest.bytes, 0);
        assert_eq!(told(&latest, many + 8), [(many + 9, many + 10, true)]);
    }

    #[test]
    fn the_last_one_to_catch_up_is_told_apart() {
        let mut latest = Latest::new(Epoch(1), 0);
        latest.enter();
        latest.enter();
        assert!(!latest.leave());
        assert!(latest.leave());
    }
}
