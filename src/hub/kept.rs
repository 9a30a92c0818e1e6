//! What a broker has said that it keeps of a channel, and who can be answered with that. Must never take what was not said for lost.

use super::ShardId;
use super::broker::Entry;
use super::mirror::Ground;
use super::owned::{Gap, Joined, Recovery};
use super::publication::Publication;
use crate::dialect::cursor::Cursor;
use std::sync::Arc;

/// What the broker has said that it keeps.
#[derive(Debug)]
pub(super) struct Kept {
    after: u64,
    head: Cursor,
    /// Made once for all who wait for them.
    publications: Vec<Publication>,
}

/// Whether the answer to whoever has everything up to `since` is known.
pub(super) fn is_decided(
    ground: &Ground<'_>,
    name: &str,
    since: Option<Cursor>,
    asked: bool,
    kept: Option<&Kept>,
) -> bool {
    let Some(since) = since else { return true };
    let head = ground.owned.cursor(name).unwrap_or_default();
    let answered = kept.filter(|_| asked);
    if since.epoch != head.epoch {
        return answered.is_some();
    }
    if since.offset > head.offset {
        // What the broker knows of comes by itself.
        return answered.is_some_and(|kept| kept.head.offset < since.offset);
    }
    since.offset == head.offset
        || ground.policies.for_channel(name).history == 0
        || ground.owned.covers(name, since.offset, ground.now)
        || answered.is_some_and(|kept| match kept.publications.last() {
            Some(last) => kept.after <= since.offset && since.offset < last.offset,
            // Up to its head nothing is kept; what came since is here, or is asked for again.
            None => kept.after <= since.offset && ground.owned.covers(name, kept.head.offset, ground.now),
        })
}

/// The answer to it.
pub(super) fn place(
    ground: &mut Ground<'_>,
    name: &Arc<str>,
    shard: ShardId,
    since: Option<Cursor>,
    kept: Option<&Kept>,
) -> Joined {
    let mut joined = ground.owned.join(name, shard, since, ground.now);
    if let (Some(since), Some(kept)) = (since, kept)
        && since.epoch == joined.cursor.epoch
        && since.offset < joined.cursor.offset
        && !ground.owned.covers(name, since.offset, ground.now)
        && let Some(recovery) = kept.recovery(since.offset, joined.cursor)
    {
        joined.recovery = Some(Box::new(recovery));
    }
    joined
}

impl Kept {
    /// What it said when it was asked for what lies behind `after`.
    pub(super) fn new(name: &Arc<str>, after: u64, head: Cursor, entries: &[Entry]) -> Self {
        let publish = |entry: &Entry| {
            let cursor = Cursor { epoch: head.epoch, offset: entry.offset };
            Publication::new(name.clone(), cursor, &entry.data, entry.key.clone(), entry.wall_ms)
        };
        Self { after, head, publications: entries.iter().map(publish).collect() }
    }

    /// What is kept behind `offset` and not behind `head`, if anything is.
    fn recovery(&self, offset: u64, head: Cursor) -> Option<Recovery> {
        let behind = |one: &&Publication| offset < one.offset && one.offset <= head.offset;
        let missed: Vec<&Publication> = self.publications.iter().filter(behind).collect();
        let (first, last) = (missed.first()?.offset, missed.last()?.offset);
        Some(Recovery {
            gap: (offset + 1 < first).then_some(Gap { from: offset + 1, to: first - 1 }),
            missed: missed.iter().map(|one| one.frame.clone()).collect(),
            end: last,
        })
    }
}
