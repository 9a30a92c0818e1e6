//! Which channels this node hears of, and how Redis is told of that. Must never hold a channel's place: its owner does.

use crate::limits::{BROKER_BATCH_MAX, BROKER_LOOK_TICKS};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The channels that the owners of this node follow.
#[derive(Debug, Default)]
pub(super) struct Followed {
    channels: BTreeMap<Arc<str>, State>,
    /// Names whose state may not be what is wanted, in the order in which that came about.
    changes: VecDeque<Arc<str>>,
    /// Behind which channel the next look begins.
    looked: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    wanted: bool,
    /// Redis has been told, or is being told.
    heard: bool,
    /// Its owner waits for its place.
    unanswered: bool,
}

impl State {
    /// Whether Redis has to be told something: one that is heard of already is subscribed to once more, so that its place is looked at
    /// behind that.
    fn is_due(self) -> bool {
        if self.wanted { !self.heard || self.unanswered } else { self.heard }
    }
}

/// One step.
#[derive(Debug)]
pub(super) enum Change {
    /// These are to be heard of.
    Hear(Vec<Arc<str>>),
    /// These are not.
    Mute(Vec<Arc<str>>),
}

impl Change {
    /// Whom it is about.
    pub(super) fn names(&self) -> &[Arc<str>] {
        let (Self::Hear(names) | Self::Mute(names)) = self;
        names
    }
}

impl Followed {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// An owner wants to hear of a channel, or to be told anew where it stands.
    pub(super) fn follow(&mut self, name: Arc<str>) {
        let state = self.channels.entry(name.clone()).or_default();
        (state.wanted, state.unanswered) = (true, true);
        self.changes.push_back(name);
    }

    /// It does not any more.
    pub(super) fn unfollow(&mut self, name: &Arc<str>) {
        if let Some(state) = self.channels.get_mut(name) {
            state.wanted = false;
            self.changes.push_back(name.clone());
        }
    }

    /// A new connection: nothing is heard of yet, and everyone wants to know where its channel stands.
    pub(super) fn begin(&mut self) {
        self.channels.retain(|_, state| state.wanted);
        self.changes.clear();
        for (name, state) in &mut self.channels {
            *state = State { wanted: true, heard: false, unanswered: true };
            self.changes.push_back(name.clone());
        }
    }

    /// Whether Redis is still to be told of something.
    pub(super) fn is_changing(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The next step, of as many names as go into one.
    pub(super) fn next_change(&mut self) -> Option<Change> {
        let mut names = Vec::new();
        let mut hears = None;
        while names.len() < BROKER_BATCH_MAX
            && let Some(name) = self.changes.front()
        {
            let Some(state) = self.channels.get_mut(name).filter(|state| state.is_due()) else {
                self.drop_if_unwanted();
                continue;
            };
            if *hears.get_or_insert(state.wanted) != state.wanted {
                break;
            }
            state.heard = state.wanted;
            if !state.wanted {
                self.channels.remove(name);
            }
            names.extend(self.changes.pop_front());
        }
        match hears {
            Some(true) => Some(Change::Hear(names)),
            Some(false) => Some(Change::Mute(names)),
            None => None,
        }
    }

    /// The first of the changes has come about by itself: what was not heard of yet is not wanted any more.
    fn drop_if_unwanted(&mut self) {
        if let Some(name) = self.changes.pop_front()
            && self.channels.get(&name).is_some_and(|state| !state.wanted && !state.heard)
        {
            self.channels.remove(&name);
        }
    }

    /// The name as everyone shares it, of a channel that is heard of.
    pub(super) fn name_of(&self, name: &str) -> Option<Arc<str>> {
        self.channels.get_key_value(name).filter(|(_, state)| state.wanted).map(|(name, _)| name.clone())
    }

    /// Its owner is told where it stands. False when nobody wants to know any more.
    pub(super) fn looked_at(&mut self, name: &str) -> bool {
        let Some(state) = self.channels.get_mut(name) else { return false };
        state.unanswered = false;
        state.wanted
    }

    /// Those whose owners wait for their place, which will not come before the broker does.
    pub(super) fn unanswered(&mut self) -> impl Iterator<Item = Arc<str>> {
        let waits = |state: &mut State| std::mem::take(&mut state.unanswered);
        self.channels.iter_mut().filter_map(move |(name, state)| waits(state).then(|| name.clone()))
    }

    /// Those whose turn it is to be looked at, so that Redis keeps their numbering and what was lost unnoticed is found: each comes once
    /// in [`BROKER_LOOK_TICKS`].
    pub(super) fn due(&mut self) -> Vec<Arc<str>> {
        let count = self.channels.len().div_ceil(BROKER_LOOK_TICKS);
        let behind = match &self.looked {
            Some(name) => (std::ops::Bound::Excluded(name.clone()), std::ops::Bound::Unbounded),
            None => (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded),
        };
        let due: Vec<_> =
            self.channels.range::<Arc<str>, _>(behind).take(count).map(|(name, _)| name.clone()).collect();
        self.looked = due.last().filter(|_| due.len() == count).cloned();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(number: u8) -> Arc<str> {
        number.to_string().into()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Follow(u8),
        Unfollow(u8),
        Change,
        Begin,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u8..6).prop_map(Step::Follow),
            3 => (0u8..6).prop_map(Step::Unfollow),
            3 => Just(Step::Change),
            1 => Just(Step::Begin),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// Does the next change to what Redis has been told. False when there is none.
    fn change(followed: &mut Followed, heard: &mut BTreeSet<Arc<str>>) -> bool {
        let change = followed.next_change();
        match &change {
            Some(Change::Hear(names)) => heard.extend(names.iter().cloned()),
            Some(Change::Mute(names)) => names.iter().for_each(|name| _ = heard.remove(name)),
            None => {}
        }
        change.is_some()
    }

    proptest! {
        #[test]
        fn in_the_end_redis_has_been_told_of_what_is_wanted_and_of_nothing_else(steps in steps()) {
            let (mut followed, mut heard, mut wanted) = (Followed::default(), BTreeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Follow(number) => {
                        followed.follow(name(number));
                        wanted.insert(name(number));
                    }
                    Step::Unfollow(number) => {
                        followed.unfollow(&name(number));
                        wanted.remove(&name(number));
                    }
                    Step::Change => _ = change(&mut followed, &mut heard),
                    Step::Begin => {
                        followed.begin();
                        heard.clear();
                    }
                }
            }
            while change(&mut followed, &mut heard) {}
            prop_assert_eq!(&heard, &wanted);
            prop_assert_eq!(followed.len(), wanted.len(), "what is not wanted is forgotten");
            for number in 0..6 {
                prop_assert_eq!(followed.name_of(&name(number)).is_some(), wanted.contains(&name(number)));
            }
        }
    }

    #[test]
    fn a_step_takes_as_many_as_go_into_one_and_every_channel_is_looked_at_in_its_turn() {
        let mut followed = Followed::default();
        let count = BROKER_BATCH_MAX + 1;
        (0..count).for_each(|number| followed.follow(number.to_string().into()));
        let sizes = std::iter::from_fn(|| followed.next_change()).map(|change| change.names().len());
        assert_eq!(sizes.collect::<Vec<_>>(), [BROKER_BATCH_MAX, 1]);
        let mut looked: Vec<_> = (0..BROKER_LOOK_TICKS).flat_map(|_| followed.due()).collect();
        looked.sort();
        looked.dedup();
        assert_eq!(looked.len(), count);
    }

    #[test]
    fn whose_place_was_not_told_is_told_of_when_the_broker_is_lost() {
        let mut followed = Followed::default();
        (0..3).for_each(|number| followed.follow(name(number)));
        while followed.next_change().is_some() {}
        assert!(followed.looked_at("1"));
        followed.unfollow(&name(2));
        assert!(!followed.looked_at("2"), "nobody wants to know any more");
        assert_eq!(followed.unanswered().collect::<Vec<_>>(), [name(0)]);
        assert_eq!(followed.unanswered().count(), 0, "once");
    }
}
