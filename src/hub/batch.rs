//! What goes out in one write of a pass: publications that arrived together, or a notice. Must never have a hole in its
//! numbering.

use super::latest::Latest;
use super::publication::Publication;
use crate::dialect::cursor::Cursor;
use crate::limits::BATCH_BYTES_MAX;
use crate::metrics::heap::share_bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Publications that go out in one write; or a notice, which goes to everyone who is live and can take it at once.
#[derive(Debug)]
pub struct Batch {
    /// All frames, one behind the other.
    pub bytes: Arc<[u8]>,
    /// In order, without a hole. A notice has none.
    parts: Vec<Part>,
    /// It is a break: nothing is written, and everyone who has all that came stands here.
    pub breaks: Option<Cursor>,
}

#[derive(Debug)]
struct Part {
    publication: Publication,
    /// Where its frame ends in the batch's bytes.
    end: u32,
}

/// What fans out.
#[derive(Debug)]
pub(super) enum Item {
    Publication(Publication),
    Aside(Aside),
}

/// What has its place among publications, and no number.
#[derive(Debug)]
pub(super) enum Aside {
    /// A frame: nobody's past, and no part of any.
    Notice(Arc<[u8]>),
    /// What comes next does not follow what came, which ends here.
    Break(Box<Cursor>),
}

// They cost publications nothing.
const _: () = assert!(size_of::<Item>() == size_of::<Publication>());

impl Batch {
    pub(super) fn take(queue: &mut VecDeque<Item>) -> Option<Self> {
        if let Some(Item::Aside(aside)) = queue.pop_front_if(|next| matches!(next, Item::Aside(_))) {
            let (bytes, breaks) = match aside {
                Aside::Notice(frame) => (frame, None),
                Aside::Break(last) => (Arc::default(), Some(*last)),
            };
            return Some(Self { bytes, parts: Vec::new(), breaks });
        }
        let mut bytes = 0;
        let fits = |next: &&Publication| {
            let begins = bytes == 0;
            bytes += next.frame.len();
            begins || bytes <= BATCH_BYTES_MAX
        };
        let count = queue.iter().map_while(Item::publication).take_while(fits).count();
        if count == 0 {
            return None;
        }
        let mut parts = Vec::with_capacity(count);
        let mut end = 0;
        for publication in queue.drain(..count).filter_map(Item::into_publication) {
            end += publication.frame.len();
            parts.push(Part { publication, end: end as u32 });
        }
        let bytes = match &parts[..] {
            [only] => only.publication.frame.clone(),
            parts => {
                let mut joined = Vec::with_capacity(end);
                parts.iter().for_each(|part| joined.extend_from_slice(&part.publication.frame));
                joined.into()
            }
        };
        Some(Self { bytes, parts, breaks: None })
    }

    /// Where the part for a subscriber that joined at `from` begins; None when all of it is its past.
    pub(super) fn start(&self, from: u32) -> Option<usize> {
        // A notice has no number: it is nobody's past.
        let Some(Part { publication: first, .. }) = self.parts.first() else { return Some(0) };
        // The lower halves are enough: nobody is two thousand million publications behind the batch.
        let past = from.wrapping_sub(first.offset as u32).wrapping_add(1) as i32;
        match usize::try_from(past) {
            Err(_) | Ok(0) => Some(0),
            Ok(past) if past < self.parts.len() => Some(self.parts[past - 1].end as usize),
            Ok(_) => None,
        }
    }

    /// The first publication of a batch that has any.
    fn first(&self) -> &Publication {
        &self.parts[0].publication
    }

    /// What is kept for those who lag from this batch on: `queue` is what waits behind it.
    pub(super) fn latest(&self, queue: &VecDeque<Item>) -> Box<Latest> {
        let Cursor { epoch, offset } = self.before(0);
        let mut latest = Box::new(Latest::new(epoch, offset));
        let batch = self.parts.iter().map(|part| &part.publication);
        let waiting = queue.iter().filter_map(Item::publication);
        batch.chain(waiting).for_each(|publication| latest.put(publication));
        latest
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let counters = 2 * size_of::<usize>();
        let parts = self.parts.iter().map(|part| part.publication.heap_bytes()).sum::<usize>();
        let table = self.parts.capacity() * size_of::<Part>();
        counters + size_of::<Self>() + share_bytes(&self.bytes) + table + parts
    }

    /// Where a subscriber stands that has everything but what lies behind `start`, which is where a publication begins.
    #[must_use]
    pub fn before(&self, start: usize) -> Cursor {
        if let Some(last) = self.breaks {
            return last;
        }
        let Publication { epoch, offset, .. } = *self.first();
        let past = self.parts.len() - self.count_from(start);
        Cursor { epoch, offset: offset + past as u64 - 1 }
    }

    /// How many publications lie behind `start`, which is where one of them begins.
    #[must_use]
    pub fn count_from(&self, start: usize) -> usize {
        if start == 0 {
            return self.parts.len();
        }
        self.parts.iter().rev().take_while(|part| part.end as usize > start).count()
    }

    /// How many publications it has; a notice is none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether it is a notice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The publications behind `start`, which is where one of them begins, in order.
    pub fn publications_from(&self, start: usize) -> impl Iterator<Item = &Publication> {
        let past = self.parts.len() - self.count_from(start);
        self.parts[past..].iter().map(|part| &part.publication)
    }
}

impl Item {
    pub(super) fn publication(&self) -> Option<&Publication> {
        match self {
            Self::Publication(publication) => Some(publication),
            Self::Aside(_) => None,
        }
    }

    pub(super) fn into_publication(self) -> Option<Publication> {
        match self {
            Self::Publication(publication) => Some(publication),
            Self::Aside(_) => None,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Publication(publication) => publication.heap_bytes(),
            Self::Aside(Aside::Notice(frame)) => share_bytes(frame),
            Self::Aside(Aside::Break(last)) => size_of_val(&**last),
        }
    }
}
