//! What an owner does for channels that a broker numbers: it keeps their last publications like those of its own, so that most who
//! come back are answered at once, and asks the broker for the rest. Must never give a place that the broker has not given, nor let a
//! hole in the numbering pass for none.
//!
//! ```text
//!                  followed            it stands
//!   nobody asked ───────────▶ unknown ───────────▶ known ──┬── the next one: appended, and fanned out
//!                                                          ├── one too far: held, and what lies between is fetched
//!                                                          ├── what lies between is lost: the numbering breaks
//!                                                          └── another epoch: fetched, and then it breaks
//! ```
//!
//! Where a numbering breaks, every subscriber is told to come back with the place that it has, and is answered like any client that
//! comes back: with a gap, and what is kept.

use super::ShardId;
use super::broker::{Ask, Entry};
use super::kept::{Kept, is_decided, place};
use super::owned::{Joined, Owned, ShardSet};
use super::publication::Publication;
use crate::clock::Now;
use crate::config::policy::Policies;
use crate::dialect::cursor::{Cursor, Epoch};
use crate::limits::MIRROR_HELD_MAX;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The channels of one owner. `W` is who waits for an answer.
#[derive(Debug)]
pub struct Mirror<W> {
    channels: BTreeMap<Arc<str>, Mirrored<W>>,
    /// The broker is gone.
    away: bool,
    effects: Vec<Effect<W>>,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Effect<W> {
    /// Ask the broker.
    Ask(Ask),
    /// Fan it out to these shards.
    Publish(Publication, ShardSet),
    /// Tell these shards that what comes next does not follow what came: their subscribers have everything up to `last` and come back
    /// for the rest.
    Break {
        /// The channel.
        name: Arc<str>,
        /// Where everybody stands who got all that came.
        last: Cursor,
        /// Whom to tell.
        to: ShardSet,
    },
    /// Whoever waited to join, or for more of its past, has it.
    Answer(W, Joined),
    /// It is the turn of an answer that had to wait for others.
    Turn(W),
    /// The broker is gone, and without it there is no answer.
    Refuse(W),
}

/// One channel.
#[derive(Debug)]
struct Mirrored<W> {
    /// It is known where it stands.
    known: bool,
    /// The broker is being asked for what is kept.
    fetching: bool,
    /// Something came meanwhile that its answer may not know of.
    doubted: bool,
    /// What lies between the head and this offset does not come by itself.
    heal_to: u64,
    /// What came before its turn.
    held: VecDeque<(Epoch, Entry)>,
    waiting: VecDeque<Waiting<W>>,
}

#[derive(Debug)]
struct Waiting<W> {
    who: W,
    wants: Wants,
    /// The broker is being asked, or was, since it came: what it says then is final.
    asked: bool,
}

#[derive(Debug, Clone, Copy)]
enum Wants {
    /// A place to follow the channel from.
    Place { shard: ShardId, since: Option<Cursor>, patient: bool },
    /// Not to overtake whoever came before.
    Turn,
}

impl<W> Default for Mirrored<W> {
    fn default() -> Self {
        Self {
            known: false,
            fetching: false,
            doubted: false,
            heal_to: 0,
            held: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<W> Default for Mirror<W> {
    fn default() -> Self {
        Self { channels: BTreeMap::new(), away: false, effects: Vec::new() }
    }
}

/// What a decision rests on beside the mirror itself.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Where the channels are kept.
    pub owned: &'a mut Owned,
    /// How they are kept.
    pub policies: &'a Policies,
    /// When.
    pub now: Now,
}

impl<W> Mirror<W> {
    /// What is to be done since it was asked last.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect<W>> {
        self.effects.drain(..)
    }

    /// Whether publications are refused for now.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// A connection of `shard` wants to follow a channel, or more of its past.
    /// Who is patient waits for the broker to come back; nobody else does.
    pub fn join(
        &mut self,
        ground: Ground<'_>,
        name: &Arc<str>,
        shard: ShardId,
        since: Option<Cursor>,
        patient: bool,
        who: W,
    ) {
        if ground.owned.mirror(name, ground.now) {
            self.effects.push(Effect::Ask(Ask::Follow(name.clone())));
        }
        self.wait(ground, name, Wants::Place { shard, since, patient }, who);
    }

    /// Something is to be answered behind whatever was asked for of the channel before.
    pub fn queue(&mut self, ground: Ground<'_>, name: &Arc<str>, who: W) {
        if self.channels.contains_key(name) {
            self.wait(ground, name, Wants::Turn, who);
        } else {
            self.effects.push(Effect::Turn(who));
        }
    }

    /// The channel is kept no longer.
    pub fn forget(&mut self, name: Arc<str>) {
        if let Some(channel) = self.channels.remove(&name) {
            self.effects.extend(channel.waiting.into_iter().map(Waiting::refuse));
        }
        self.effects.push(Effect::Ask(Ask::Unfollow(name)));
    }

    /// The broker is gone, or back.
    pub fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    /// The broker says where a followed channel stands: what lies between the head and there comes no other way.
    pub fn stands(&mut self, mut ground: Ground<'_>, name: &Arc<str>, cursor: Cursor) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        if !channel.known {
            channel.known = true;
            ground.owned.stand(name, cursor);
        } else {
            channel.turn_over(&mut ground, name, cursor, &mut self.effects);
            channel.heal_to = channel.heal_to.max(cursor.offset);
        }
        self.settle(ground, name, None);
    }

    /// Somebody has published.
    pub fn incoming(&mut self, ground: Ground<'_>, name: &Arc<str>, epoch: Epoch, entry: Entry) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let head = ground.owned.cursor(name).unwrap_or_default();
        if channel.known && epoch == head.epoch && entry.offset <= head.offset {
            return;
        }
        if !channel.known || epoch != head.epoch {
            // Whichever of the two epochs is the later one: an answer that is under way may not know.
            channel.doubted = true;
        }
        if channel.held.len() < MIRROR_HELD_MAX {
            channel.held.push_back((epoch, entry));
        } else {
            channel.doubted = true;
            channel.heal_to = channel.heal_to.max(entry.offset);
        }
        self.settle(ground, name, None);
    }

    /// The broker says what it keeps behind an offset.
    pub fn kept(
        &mut self,
        mut ground: Ground<'_>,
        name: &Arc<str>,
        after: u64,
        head: Cursor,
        entries: Vec<Entry>,
    ) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.fetching = false;
        channel.known = true;
        channel.turn_over(&mut ground, name, head, &mut self.effects);
        channel.fill(&mut ground, name, after, head, &entries, &mut self.effects);
        self.settle(ground, name, Some(Kept::new(name, after, head, &entries)));
    }

    /// The broker could not answer. Who cannot be answered without it is refused.
    pub fn failed(&mut self, ground: Ground<'_>, name: &Arc<str>) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.fetching = false;
        self.settle_or_refuse(ground, name);
    }

    /// Bytes on the heap, of what is held alone: little of it is there for long.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let of = |channel: &Mirrored<W>| {
            let held: usize = channel.held.iter().map(|(_, entry)| entry.data.len()).sum();
            held + channel.held.capacity() * size_of::<(Epoch, Entry)>()
                + channel.waiting.capacity() * size_of::<Waiting<W>>()
        };
        let channels = self.channels.len() * (size_of::<Mirrored<W>>() + size_of::<Arc<str>>());
        channels + self.channels.values().map(of).sum::<usize>()
    }

    fn wait(&mut self, ground: Ground<'_>, name: &Arc<str>, wants: Wants, who: W) {
        let channel = self.channels.entry(name.clone()).or_default();
        channel.waiting.push_back(Waiting { who, wants, asked: false });
        if self.away { self.settle_or_refuse(ground, name) } else { self.settle(ground, name, None) }
    }

    fn settle_or_refuse(&mut self, ground: Ground<'_>, name: &Arc<str>) {
        let away = std::mem::replace(&mut self.away, true);
        self.settle(ground, name, None);
        self.away = away;
        let Some(channel) = self.channels.get_mut(name) else { return };
        for one in std::mem::take(&mut channel.waiting) {
            if one.is_patient() {
                // The question that it waited for has no answer: it is asked again when the broker is back.
                channel.waiting.push_back(Waiting { asked: false, ..one });
            } else {
                self.effects.push(one.refuse());
            }
        }
    }

    /// Does all that is possible now, and asks the broker for what is not.
    fn settle(&mut self, mut ground: Ground<'_>, name: &Arc<str>, kept: Option<Kept>) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        if !channel.known {
            return;
        }
        channel.drain_held(&mut ground, name, &mut self.effects);
        channel.answer(&mut ground, name, kept.as_ref(), &mut self.effects);
        let head = ground.owned.cursor(name).unwrap_or_default();
        if !self.away
            && !channel.fetching
            && let Some(after) = channel.next_fetch(head)
        {
            channel.fetching = true;
            channel.doubted = false;
            self.effects.push(Effect::Ask(Ask::Fetch { name: name.clone(), after }));
        }
    }
}

impl<W> Waiting<W> {
    fn is_patient(&self) -> bool {
        matches!(self.wants, Wants::Place { patient: true, .. })
    }

    fn refuse(self) -> Effect<W> {
        match self.wants {
            Wants::Place { .. } => Effect::Refuse(self.who),
            Wants::Turn => Effect::Turn(self.who),
        }
    }
}

impl<W> Mirrored<W> {
    /// The broker numbers the channel anew: what it had before is lost, or may be.
    fn turn_over(
        &mut self,
        ground: &mut Ground<'_>,
        name: &Arc<str>,
        cursor: Cursor,
        effects: &mut Vec<Effect<W>>,
    ) {
        let last = ground.owned.cursor(name).unwrap_or_default();
        if last.epoch != cursor.epoch {
            self.heal_to = 0;
            break_at(ground, name, last, cursor, effects);
        }
    }

    /// Appends what follows the head; where that is lost, goes on behind it.
    fn fill(
        &mut self,
        ground: &mut Ground<'_>,
        name: &Arc<str>,
        after: u64,
        head: Cursor,
        entries: &[Entry],
        effects: &mut Vec<Effect<W>>,
    ) {
        let mut last = ground.owned.cursor(name).unwrap_or_default();
        if after > last.offset {
            // It was asked for in a numbering that is no more: what it leaves out may be kept.
            return;
        }
        let lost_to = self.heal_to.min(head.offset);
        for entry in entries {
            if entry.offset <= last.offset {
                continue;
            }
            let lost_to = lost_to.min(entry.offset - 1);
            if last.offset < lost_to && last.offset + 1 < entry.offset {
                break_at(ground, name, last, Cursor { offset: lost_to, ..last }, effects);
                last.offset = lost_to;
            }
            if last.offset + 1 < entry.offset {
                // What lies between comes by itself.
                return;
            }
            append(ground, name, entry, effects);
            last.offset = entry.offset;
        }
        if last.offset < lost_to && entries.is_empty() {
            break_at(ground, name, last, Cursor { offset: lost_to, ..last }, effects);
        }
    }

    /// Appends what has its turn by now, and forgets what has a place in no numbering any more.
    fn drain_held(&mut self, ground: &mut Ground<'_>, name: &Arc<str>, effects: &mut Vec<Effect<W>>) {
        let settled = !self.doubted && !self.fetching;
        let mut later = VecDeque::new();
        while let Some((epoch, entry)) = self.held.pop_front() {
            let head = ground.owned.cursor(name).unwrap_or_default();
            if epoch != head.epoch {
                if !settled {
                    later.push_back((epoch, entry));
                }
            } else if entry.offset == head.offset + 1 {
                append(ground, name, &entry, effects);
            } else if entry.offset > head.offset {
                self.heal_to = self.heal_to.max(entry.offset - 1);
                later.push_back((epoch, entry));
            }
        }
        self.held = later;
    }

    /// Answers everyone whose answer is known, in the order in which they came where that matters.
    fn answer(
        &mut self,
        ground: &mut Ground<'_>,
        name: &Arc<str>,
        kept: Option<&Kept>,
        effects: &mut Vec<Effect<W>>,
    ) {
        let mut later: VecDeque<Waiting<W>> = VecDeque::new();
        while let Some(one) = self.waiting.pop_front() {
            let effect = match one.wants {
                Wants::Turn if later.iter().all(Waiting::is_patient) => Effect::Turn(one.who),
                Wants::Place { shard, since, .. } if is_decided(ground, name, since, one.asked, kept) => {
                    Effect::Answer(one.who, place(ground, name, shard, since, kept))
                }
                Wants::Turn | Wants::Place { .. } => {
                    // What the broker has said did not cover it.
                    let asked = one.asked && kept.is_none();
                    later.push_back(Waiting { asked, ..one });
                    continue;
                }
            };
            effects.push(effect);
        }
        self.waiting = later;
    }

    /// Behind which offset to ask for what is kept; None when nothing is to be asked.
    fn next_fetch(&mut self, head: Cursor) -> Option<u64> {
        let heals = head.offset < self.heal_to || self.doubted;
        let mut after = if heals { Some(head.offset) } else { None };
        for one in &mut self.waiting {
            let Wants::Place { since: Some(since), .. } = one.wants else { continue };
            let behind = since.epoch == head.epoch && since.offset < head.offset;
            if !one.asked && behind && !heals {
                after = Some(after.map_or(since.offset, |after: u64| after.min(since.offset)));
            } else if !one.asked && !behind {
                after = after.or(Some(head.offset));
            }
        }
        let after = after?;
        for one in &mut self.waiting {
            if let Wants::Place { since: Some(since), .. } = one.wants {
                one.asked |= since.epoch != head.epoch || since.offset >= after;
            }
        }
        Some(after)
    }
}

fn append<W>(ground: &mut Ground<'_>, name: &Arc<str>, entry: &Entry, effects: &mut Vec<Effect<W>>) {
    let policy = ground.policies.for_channel(name);
    if let Some((publication, to)) = ground.owned.append(name, entry, policy, ground.now)
        && !to.is_empty()
    {
        effects.push(Effect::Publish(publication, to));
    }
}

/// What comes next follows `before` instead of `last`.
fn break_at<W>(
    ground: &mut Ground<'_>,
    name: &Arc<str>,
    last: Cursor,
    before: Cursor,
    effects: &mut Vec<Effect<W>>,
) {
    ground.owned.stand(name, before);
    let to = ground.owned.interested(name);
    if !to.is_empty() {
        effects.push(Effect::Break { name: name.clone(), last, to });
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Bounds;
    use super::super::ids;
    use super::super::names::Names;
    use super::*;
    use crate::config::policy::PolicyRule;
    use proptest::prelude::*;

    const SHARD: ShardId = ShardId(0);
    /// Publications that the broker gives out at once.
    const PAGE: usize = 3;

    #[derive(Debug, Clone)]
    enum Step {
        Publish,
        /// The broker forgets so many of the oldest.
        Trim(u64),
        /// The broker loses everything, and numbers anew.
        Lose,
        /// The broker does what it was asked first.
        Execute,
        /// The first answer arrives.
        Answer,
        /// The first publication arrives.
        Incoming,
        Cut,
        Restore,
        /// A client comes with no place.
        Join,
        /// A client comes with a place that some other node has given, so many publications ago.
        ComeBack(u64),
        Age,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Publish),
            1 => (1u64..6).prop_map(Step::Trim),
            1 => Just(Step::Lose),
            6 => Just(Step::Execute),
            6 => Just(Step::Answer),
            6 => Just(Step::Incoming),
            1 => Just(Step::Cut),
            2 => Just(Step::Restore),
            2 => Just(Step::Join),
            3 => (0u64..8).prop_map(Step::ComeBack),
            1 => Just(Step::Age),
        ];
        prop::collection::vec(step, 0..150)
    }

    #[derive(Debug)]
    enum Reply {
        Stands(Cursor),
        Kept(u64, Cursor, Vec<Entry>),
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Client {
        Live(Cursor),
        Waiting(Option<Cursor>),
        Refused(Option<Cursor>),
    }

    struct World {
        name: Arc<str>,
        policies: Policies,
        history: bool,
        now: Now,
        owned: Owned,
        mirror: Mirror<usize>,
        clients: Vec<Client>,
        // The broker.
        head: Cursor,
        first: u64,
        subscribed: bool,
        followed: bool,
        linked: bool,
        asked: VecDeque<Ask>,
        replies: VecDeque<Reply>,
        pushed: VecDeque<(Epoch, Entry)>,
    }

    impl World {
        fn new(history: bool) -> Self {
            let bounds = Bounds { bytes: 1 << 20, log_bytes: 300, page_bytes: 150 };
            let rule = PolicyRule { history: (!history).then_some(0), ..PolicyRule::default() };
            let rules = BTreeMap::from([(String::new(), rule)]);
            Self {
                name: "c".into(),
                policies: Policies::new(&rules).unwrap(),
                history,
                now: Now { mono_ms: 0, wall_ms: 0 },
                owned: Owned::new(Names::new(1), 7, bounds, ids::Bounds { count: 0, bytes: 0 }),
                mirror: Mirror::default(),
                clients: Vec::new(),
                head: Cursor { epoch: Epoch(100), offset: 0 },
                first: 1,
                subscribed: false,
                followed: false,
                linked: true,
                asked: VecDeque::new(),
                replies: VecDeque::new(),
                pushed: VecDeque::new(),
            }
        }

        fn entry(offset: u64) -> Entry {
            Entry { offset, wall_ms: 1, key: None, data: offset.to_string().into() }
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Publish => {
                    self.head.offset += 1;
                    if !self.history {
                        self.first = self.head.offset + 1;
                    }
                    if self.subscribed {
                        self.pushed.push_back((self.head.epoch, Self::entry(self.head.offset)));
                    }
                }
                Step::Trim(count) => self.first = (self.first + count).min(self.head.offset + 1),
                Step::Lose => {
                    self.head = Cursor { epoch: Epoch(self.head.epoch.0 + 1), offset: 0 };
                    self.first = 1;
                }
                Step::Execute => self.execute(),
                Step::Answer => self.reply(),
                Step::Incoming => {
                    if let Some((epoch, entry)) = self.pushed.pop_front() {
                        self.with(|mirror, ground, name| mirror.incoming(ground, name, epoch, entry));
                    }
                }
                Step::Cut => self.cut(),
                Step::Restore => self.restore(),
                Step::Join => self.join(None),
                Step::ComeBack(ago) => {
                    let offset = self.head.offset.saturating_sub(ago);
                    self.join(Some(Cursor { offset, ..self.head }));
                }
                Step::Age => self.now.mono_ms += 60_000,
            }
            self.obey();
        }

        fn with(&mut self, act: impl FnOnce(&mut Mirror<usize>, Ground<'_>, &Arc<str>)) {
            let ground = Ground { owned: &mut self.owned, policies: &self.policies, now: self.now };
            act(&mut self.mirror, ground, &self.name);
        }

        fn execute(&mut self) {
            match self.asked.pop_front() {
                Some(Ask::Follow(_)) => {
                    (self.subscribed, self.followed) = (true, true);
                    self.replies.push_back(Reply::Stands(self.head));
                }
                Some(Ask::Fetch { after, .. }) => {
                    let kept = self.first.max(after + 1)..=self.head.offset;
                    let entries = kept.take(PAGE).map(Self::entry).collect();
                    self.replies.push_back(Reply::Kept(after, self.head, entries));
                }
                Some(ask) => unreachable!("{ask:?}"),
                None => {}
            }
        }

        fn reply(&mut self) {
            match self.replies.pop_front() {
                Some(Reply::Stands(cursor)) => {
                    self.with(|mirror, ground, name| mirror.stands(ground, name, cursor))
                }
                Some(Reply::Kept(after, head, entries)) => {
                    self.with(|mirror, ground, name| mirror.kept(ground, name, after, head, entries));
                }
                None => {}
            }
        }

        fn cut(&mut self) {
            if !std::mem::replace(&mut self.linked, false) {
                return;
            }
            self.followed |= self.asked.iter().any(|ask| matches!(ask, Ask::Follow(_)));
            let unanswered = self.asked.len() + self.replies.len();
            self.asked.clear();
            self.replies.clear();
            self.pushed.clear();
            self.subscribed = false;
            self.mirror.set_away(true);
            for _ in 0..unanswered {
                self.with(|mirror, ground, name| mirror.failed(ground, name));
            }
        }

        fn restore(&mut self) {
            if !std::mem::replace(&mut self.linked, true) {
                self.mirror.set_away(false);
                self.subscribed = self.followed;
                if self.followed {
                    self.replies.push_back(Reply::Stands(self.head));
                }
                for at in 0..self.clients.len() {
                    if let Client::Refused(since) = self.clients[at] {
                        self.ask_for(at, since);
                    }
                }
            }
        }

        fn join(&mut self, since: Option<Cursor>) {
            self.clients.push(Client::Refused(since));
            self.ask_for(self.clients.len() - 1, since);
        }

        fn ask_for(&mut self, client: usize, since: Option<Cursor>) {
            self.clients[client] = Client::Waiting(since);
            // Whoever is in the middle of its past is, and half of the others are taken to be.
            let patient = client % 2 == 1;
            self.with(|mirror, ground, name| mirror.join(ground, name, SHARD, since, patient, client));
        }

        /// Does what the mirror wants done, and holds everyone's place against it.
        fn obey(&mut self) {
            loop {
                let effects: Vec<_> = self.mirror.effects().collect();
                if effects.is_empty() {
                    return;
                }
                for effect in effects {
                    match effect {
                        Effect::Ask(ask) if self.linked => self.asked.push_back(ask),
                        Effect::Ask(ask) => {
                            // As the link does while it is away.
                            self.followed |= matches!(ask, Ask::Follow(_));
                            self.with(|mirror, ground, name| mirror.failed(ground, name));
                        }
                        Effect::Publish(publication, _) => self.deliver(&publication),
                        Effect::Break { last, .. } => self.break_off(last),
                        Effect::Answer(client, joined) => self.answer(client, &joined),
                        Effect::Refuse(client) => {
                            let Client::Waiting(since) = self.clients[client] else { unreachable!() };
                            assert!(
                                !self.linked || self.mirror.is_away(),
                                "refused although the broker is there"
                            );
                            self.clients[client] = Client::Refused(since);
                        }
                        Effect::Turn(_) => unreachable!("nobody waits for a turn"),
                    }
                }
            }
        }

        fn deliver(&mut self, publication: &Publication) {
            for client in &mut self.clients {
                if let Client::Live(has) = client {
                    assert_eq!(
                        publication.cursor(),
                        Cursor { offset: has.offset + 1, ..*has },
                        "a hole, or a twin"
                    );
                    *has = publication.cursor();
                }
            }
        }

        fn break_off(&mut self, last: Cursor) {
            for client in 0..self.clients.len() {
                if let Client::Live(has) = self.clients[client] {
                    assert_eq!(has, last);
                    self.ask_for(client, Some(has));
                }
            }
        }

        fn answer(&mut self, client: usize, joined: &Joined) {
            let Client::Waiting(since) = self.clients[client] else { unreachable!("answered twice") };
            let head = joined.cursor;
            let Some(since) = since else {
                self.clients[client] = Client::Live(head);
                return;
            };
            let recovery = joined.recovery.as_ref().unwrap();
            let mut has = since;
            if let Some(gap) = recovery.gap {
                if since.epoch == head.epoch {
                    assert_eq!(gap.from, since.offset + 1);
                    assert!(gap.to < self.first || !self.covered(gap.to), "what is kept was called lost");
                } else {
                    assert!(since.epoch.0 < head.epoch.0 && gap.from == 1);
                }
                has = Cursor { epoch: head.epoch, offset: gap.to };
            }
            assert_eq!(has.epoch, head.epoch, "a new numbering without a gap");
            assert_eq!(recovery.end, has.offset + recovery.missed.len() as u64);
            for (frame, offset) in recovery.missed.iter().zip(has.offset + 1..) {
                let text = String::from_utf8_lossy(frame);
                assert!(text.contains(&format!("\"offset\":{offset}}}")), "{text} at {offset}");
            }
            has.offset = recovery.end;
            assert!(has.offset <= head.offset);
            if has == head {
                self.clients[client] = Client::Live(head);
            } else {
                self.ask_for(client, Some(has));
            }
        }

        /// Whether the broker keeps it: what this node has forgotten is fetched.
        fn covered(&self, offset: u64) -> bool {
            self.head.epoch == self.owned.cursor("c").unwrap().epoch && offset >= self.first
        }

        fn quiet(&mut self) {
            self.step(&Step::Restore);
            for _ in 0..2_000 {
                for step in [Step::Execute, Step::Answer, Step::Incoming] {
                    self.step(&step);
                }
                if self.asked.is_empty() && self.replies.is_empty() && self.pushed.is_empty() {
                    break;
                }
            }
            // A broker that has nothing tells nobody that it lost what it had.
            for client in self.clients.iter().filter(|_| self.head.offset > 0) {
                assert_eq!(*client, Client::Live(self.head), "somebody is not where the broker is");
            }
        }
    }

    fn run(history: bool, steps: &[Step]) {
        let mut world = World::new(history);
        steps.iter().for_each(|step| world.step(step));
        world.quiet();
        // Publications, so that what was lost unnoticed would be a hole now.
        if !world.clients.is_empty() {
            world.step(&Step::Publish);
            world.quiet();
        }
    }

    #[test]
    fn who_is_in_the_middle_of_its_past_gets_the_rest_when_a_broker_that_failed_is_back() {
        use Step::{Age, Answer, ComeBack, Cut, Execute, Incoming, Join, Publish};
        // What this node kept is too old by then, so the second client needs the broker, which is cut off with its question.
        let steps = [Join, Execute, Answer, Publish, Incoming, Age, Age, Age, ComeBack(1), Cut];
        run(true, &steps);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn everyone_has_each_publication_once_or_is_told_of_the_gap(history in any::<bool>(), steps in steps()) {
            run(history, &steps);
        }
    }
}
