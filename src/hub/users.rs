//! Which users follow a channel, as its owner adds it up from what shards tell, and who came or went since that was last
//! announced. Must never know a connection: a user with ten of them is there once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many connections of a user more, or fewer.
pub type Change = (Arc<str>, i32);

/// The users of one channel.
#[derive(Debug, Default)]
pub struct Users {
    /// The connections of each.
    present: BTreeMap<Arc<str>, u32>,
    /// Those who are there and were not when it was last announced, and those who were and are not.
    changed: BTreeSet<Arc<str>>,
}

/// Who came and who went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Movement {
    /// Users that have a connection now.
    pub joined: Vec<Arc<str>>,
    /// Users that have none any more.
    pub left: Vec<Arc<str>>,
}

impl Users {
    /// Adds up what a shard tells.
    pub fn change(&mut self, (user, by): &Change) {
        let before = self.present.get(user).copied().unwrap_or(0);
        let now = before.saturating_add_signed(*by);
        if now == 0 {
            self.present.remove(user);
        } else {
            self.present.insert(user.clone(), now);
        }
        if (before == 0) != (now == 0) && !self.changed.remove(user) {
            self.changed.insert(user.clone());
        }
    }

    /// Whether anybody came or went since the last [`Users::take_movement`] and is not as before again.
    #[must_use]
    pub fn have_moved(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Who came and who went since the last time this was asked.
    pub fn take_movement(&mut self) -> Movement {
        let changed = std::mem::take(&mut self.changed);
        let (joined, left) = changed.into_iter().partition(|user| self.present.contains_key(user));
        Movement { joined, left }
    }

    /// Who is there, in the order of the names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.present.keys()
    }

    /// Whether nobody is there, and nobody has gone since the last announcement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty() && self.changed.is_empty()
    }

    /// Bytes on the heap, its own box included and names as if they were its own: about what the trees take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let named = |users: usize, bytes: usize| users * (size_of::<Arc<str>>() + TREE_BYTES) + bytes;
        let present = self.present.keys().map(|user| user.len() + 2 * size_of::<usize>()).sum();
        size_of::<Self>() + named(self.present.len(), present) + named(self.changed.len(), 0)
    }
}

/// What a tree takes for an entry beside its key: the value, and room in nodes that are two thirds full.
const TREE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(users: &Users) -> Vec<&str> {
        users.names().map(|user| &**user).collect()
    }

    #[test]
    fn a_user_with_several_connections_is_there_once() {
        let mut users = Users::default();
        users.change(&("ann".into(), 2));
        users.change(&("bob".into(), 1));
        assert_eq!(names(&users), ["ann", "bob"]);
        assert_eq!(users.take_movement().joined.len(), 2);
        users.change(&("ann".into(), -1));
        assert!(!users.have_moved());
        users.change(&("ann".into(), -1));
        let movement = users.take_movement();
        assert_eq!((movement.joined, movement.left), (vec![], vec!["ann".into()]));
        assert_eq!(names(&users), ["bob"]);
    }

    #[test]
    fn who_left_and_is_back_has_not_moved() {
        let mut users = Users::default();
        users.change(&("ann".into(), 1));
        users.take_movement();
        users.change(&("ann".into(), -1));
        assert!(users.have_moved());
        users.change(&("ann".into(), 1));
        assert!(!users.have_moved());
        assert_eq!(users.take_movement(), Movement::default());
    }

    proptest! {
        /// The naive twin remembers who was there at each announcement.
        #[test]
        fn movements_add_up_to_who_is_there(
            steps in prop::collection::vec((0u8..4, -1i32..=2, any::<bool>()), 1..80),
        ) {
            let (mut users, mut counts) = (Users::default(), BTreeMap::<Arc<str>, u32>::new());
            let mut known = BTreeSet::<Arc<str>>::new();
            for (number, by, announce) in steps {
                let user: Arc<str> = number.to_string().into();
                let count = counts.entry(user.clone()).or_default();
                let by = if *count == 0 { by.max(0) } else { by };
                *count = count.saturating_add_signed(by);
                users.change(&(user, by));
                if announce {
                    let Movement { joined, left } = users.take_movement();
                    prop_assert!(joined.iter().all(|user| known.insert(user.clone())));
                    prop_assert!(left.iter().all(|user| known.remove(user)));
                    let there: BTreeSet<_> = counts.iter().filter(|(_, count)| **count > 0).map(|(user, _)| user.clone()).collect();
                    prop_assert_eq!(&known, &there);
                    prop_assert!(users.names().eq(there.iter()));
                }
            }
        }
    }
}
