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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    wanted: bool,
    /// Redis has been told, or is being told.
    heard: bool,
    /// Its owner waits for its place.
    unanswered: bool,
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

    /// An owner wants to hear of a channel.
    pub(super) fn follow(&mut self, name: Arc<str>) {
        let state = self.channels.entry(name.clone()).or_insert(State {
            wanted: true,
            heard: false,
            unanswered: true,
        });
        (state.wanted, state.unanswered) = (true, true);
        // Also one that is heard of is heard of anew: its owner wants to know where it stands.
        state.heard = false;
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

    /// The next step, of as many names as go into one.
    pub(super) fn next_change(&mut self) -> Option<Change> {
        let mut names = Vec::new();
        let mut hears = None;
        while names.len() < BROKER_BATCH_MAX
            && let Some(name) = self.changes.front()
        {
            let Some(state) = self.channels.get_mut(name).filter(|state| state.wanted != state.heard) else {
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
