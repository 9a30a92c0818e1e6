//! Ids in the order in which they were last touched. Must never know what touches them.

/// A list through ids: touching, removing and finding the oldest take the same short time however many there are.
#[derive(Debug, Default)]
pub struct Recency {
    /// The neighbours of each id that was ever touched.
    links: Vec<Links>,
    ends: Option<Ends>,
}

/// The ids beside one that is in the list. An id out of it has none and is not an end.
#[derive(Debug, Clone, Copy)]
struct Links {
    older: u32,
    newer: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

/// No neighbour: the table would have to be larger than memory for an id to be this.
const NOBODY: u32 = u32::MAX;

impl Recency {
    /// The id that was touched longest ago.
    #[must_use]
    pub fn oldest(&self) -> Option<u32> {
        self.ends.map(|ends| ends.oldest)
    }

    /// Makes an id the one that was touched last; it may be in the list or not.
    pub fn touch(&mut self, id: u32) {
        if self.ends.is_some_and(|ends| ends.newest == id) {
            return;
        }
        self.remove(id);
        if self.links.len() <= id as usize {
            self.links.resize(id as usize + 1, Links { older: NOBODY, newer: NOBODY });
        }
        let Some(ends) = &mut self.ends else {
            self.ends = Some(Ends { oldest: id, newest: id });
            return;
        };
        let before = std::mem::replace(&mut ends.newest, id);
        self.links[before as usize].newer = id;
        self.links[id as usize].older = before;
    }

    /// Takes an id out, if it is there.
    pub fn remove(&mut self, id: u32) {
        let (Some(ends), Some(&Links { older, newer })) = (&mut self.ends, self.links.get(id as usize))
        else {
            return;
        };
        match (older, newer) {
            (NOBODY, NOBODY) if ends.oldest == id => {
                // Nobody is left, so what the most that there ever were needed goes back.
                *self = Self::default();
                return;
            }
            (NOBODY, NOBODY) => return,
            (NOBODY, newer) => ends.oldest = newer,
            (older, NOBODY) => ends.newest = older,
            (_, _) => {}
        }
        if let Some(links) = self.links.get_mut(older as usize) {
            links.newer = newer;
        }
        if let Some(links) = self.links.get_mut(newer as usize) {
            links.older = older;
        }
        self.links[id as usize] = Links { older: NOBODY, newer: NOBODY };
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.links.capacity() * size_of::<Links>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_list_agrees_with_one_that_is_searched(
            steps in prop::collection::vec((any::<bool>(), 0u32..12), 0..300),
        ) {
            let mut list = Recency::default();
            let mut naive: Vec<u32> = Vec::new();
            for (touch, id) in steps {
                naive.retain(|other| *other != id);
                if touch {
                    naive.push(id);
                    list.touch(id);
                } else {
                    list.remove(id);
                }
                prop_assert_eq!(list.oldest(), naive.first().copied());
            }
            for id in naive {
                prop_assert_eq!(list.oldest(), Some(id));
                list.remove(id);
            }
            prop_assert_eq!((list.oldest(), list.heap_bytes()), (None, 0));
        }
    }
}
