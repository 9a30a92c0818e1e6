//! A broker in memory, which does what `src/cluster/*.lua` do, and on request loses, forgets and stands still. Each node has a link to it,
//! on which questions, answers and what is published wait until they are carried.

use roost::dialect::cursor::{Cursor, Epoch};
use roost::hub::broker::{Ask, Draft, Entry, Refusal, Told};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Publications that are given out at once.
const PAGE: usize = 3;

#[derive(Debug, Default)]
struct Channel {
    head: Cursor,
    kept: VecDeque<Entry>,
    /// By which server it was numbered last.
    run: u64,
}

/// What waits on the way of one node.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    /// Questions that are not sent yet, and those that are.
    waiting: VecDeque<Question>,
    sent: VecDeque<Question>,
    answers: VecDeque<Told>,
    heard: VecDeque<Told>,
    /// What the thread of the node knows that its owners follow.
    followed: BTreeSet<Arc<str>>,
    /// What the broker has been told of that.
    subscribed: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
enum Question {
    Ask(Ask),
    Look(Arc<str>),
}

#[derive(Debug)]
pub(crate) struct Redis {
    channels: BTreeMap<Arc<str>, Channel>,
    ids: BTreeMap<(Arc<str>, Box<str>), Cursor>,
    pub(crate) links: Vec<Link>,
    run: u64,
    epochs: u64,
    /// Everything that was ever numbered.
    pub(crate) numbered: BTreeMap<(Arc<str>, u64, u64), Box<str>>,
    /// Something was lost, so there may be gaps.
    pub(crate) lost: bool,
}

impl Redis {
    pub(crate) fn new(nodes: usize) -> Self {
        let links = (0..nodes).map(|_| Link { up: true, ..Link::default() }).collect();
        Self {
            channels: BTreeMap::new(),
            ids: BTreeMap::new(),
            links,
            run: 1,
            epochs: 0,
            numbered: BTreeMap::new(),
            lost: false,
        }
    }

    /// Where a channel stands.
    pub(crate) fn head(&self, name: &str) -> Option<Cursor> {
        self.channels.get(name).filter(|channel| channel.run == self.run).map(|channel| channel.head)
    }

    /// A node asks.
    pub(crate) fn ask(&mut self, node: usize, ask: Ask) -> Option<Told> {
        let link = &mut self.links[node];
        match &ask {
            Ask::Follow(name) => _ = link.followed.insert(name.clone()),
            Ask::Unfollow(name) => _ = link.followed.remove(name),
            Ask::Fetch { .. } | Ask::Publish(_) => {}
            Ask::Others { .. } | Ask::Answer { .. } => unreachable!("a shard asks {ask:?}"),
        }
        if link.up {
            link.waiting.push_back(Question::Ask(ask));
            None
        } else {
            lost(Question::Ask(ask), false)
        }
    }

    /// The next question is sent.
    pub(crate) fn send(&mut self, node: usize) {
        let link = &mut self.links[node];
        link.sent.extend(link.waiting.pop_front());
    }

    /// The broker does what it was asked first.
    pub(crate) fn execute(&mut self, node: usize) {
        let Some(question) = self.links[node].sent.pop_front() else { return };
        match question {
            Question::Ask(Ask::Follow(name)) => {
                let link = &mut self.links[node];
                link.subscribed.insert(name.clone());
                link.waiting.push_back(Question::Look(name));
            }
            Question::Ask(Ask::Unfollow(name)) => _ = self.links[node].subscribed.remove(&name),
            Question::Look(name) => {
                let cursor = self.settled(&name).head;
                self.links[node].answers.push_back(Told::Stands { name, cursor });
            }
            Question::Ask(Ask::Fetch { name, after }) => {
                let channel = self.settled(&name);
                let behind = channel.kept.iter().filter(|entry| entry.offset > after);
                let (cursor, entries) = (channel.head, behind.take(PAGE).cloned().collect());
                self.links[node].answers.push_back(Told::Kept { name, after, cursor, entries });
            }
            Question::Ask(Ask::Publish(draft)) => self.publish(node, *draft),
            Question::Ask(ask @ (Ask::Others { .. } | Ask::Answer { .. })) => unreachable!("{ask:?}"),
        }
    }

    /// What a node hears next.
    pub(crate) fn answer(&mut self, node: usize) -> Option<Told> {
        self.links[node].answers.pop_front()
    }

    /// What a node is told next of what is published.
    pub(crate) fn hear(&mut self, node: usize) -> Option<Told> {
        self.links[node].heard.pop_front()
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_quiet = |link: &Link| {
            let (questions, told) =
                (link.waiting.len() + link.sent.len(), link.answers.len() + link.heard.len());
            questions + told == 0
        };
        self.links.iter().all(is_quiet)
    }

    /// A node loses its way to the broker. What was sent may be done already, or still be done.
    pub(crate) fn cut(&mut self, node: usize, still_done: bool) -> Vec<Told> {
        let link = &mut self.links[node];
        if !std::mem::replace(&mut link.up, false) {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut link.waiting);
        let answers = std::mem::take(&mut link.answers);
        link.heard.clear();
        link.subscribed.clear();
        let mut told = vec![Told::Away];
        // Answers that did not arrive any more.
        told.extend(answers.into_iter().map(|answer| match answer {
            Told::Published { name, publisher, .. } => {
                Told::Published { name, publisher, outcome: Err(Refusal::Unknown), repeated: false }
            }
            answer => Told::Failed(answer.name().expect("an answer is about a channel").clone()),
        }));
        for question in std::mem::take(&mut self.links[node].sent) {
            if still_done && let Question::Ask(Ask::Publish(draft)) = &question {
                self.number(draft);
            }
            told.extend(lost(question, true));
        }
        told.extend(waiting.into_iter().filter_map(|question| lost(question, false)));
        told
    }

    /// It finds it again.
    pub(crate) fn restore(&mut self, node: usize) -> Option<Told> {
        let link = &mut self.links[node];
        if std::mem::replace(&mut link.up, true) {
            return None;
        }
        link.waiting.extend(link.followed.iter().map(|name| Question::Ask(Ask::Follow(name.clone()))));
        Some(Told::Back)
    }

    /// The broker is started anew, with the last publications or without, and cannot say that it lost none.
    pub(crate) fn restart(&mut self, forgets: bool) {
        self.run += 1;
        self.lost = true;
        if forgets {
            self.channels.clear();
            self.ids.clear();
        } else {
            for channel in self.channels.values_mut() {
                if let Some(last) = channel.kept.pop_back() {
                    channel.head.offset = last.offset - 1;
                }
            }
        }
    }

    /// The oldest publications of a channel are not kept any more.
    pub(crate) fn trim(&mut self, name: &str, count: usize) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.kept.drain(..count.min(channel.kept.len()));
            self.lost = true;
        }
    }

    /// A channel as scripts find it.
    fn settled(&mut self, name: &Arc<str>) -> &mut Channel {
        let channel = self.channels.entry(name.clone()).or_default();
        if channel.run != self.run {
            self.epochs += 1;
            let head = Cursor { epoch: Epoch(self.epochs), offset: 0 };
            *channel = Channel { head, kept: VecDeque::new(), run: self.run };
        }
        channel
    }

    fn publish(&mut self, node: usize, draft: Draft) {
        let (cursor, repeated) = self.number(&draft);
        let Draft { name, publisher, .. } = draft;
        let told = Told::Published { name, publisher, outcome: Ok(cursor), repeated };
        self.links[node].answers.push_back(told);
    }

    fn number(&mut self, draft: &Draft) -> (Cursor, bool) {
        let name = &draft.name;
        let head = self.settled(name).head;
        let known = draft.id.as_ref().map(|id| (name.clone(), id.clone()));
        if let Some(cursor) = known.as_ref().and_then(|known| self.ids.get(known)) {
            return (*cursor, true);
        }
        let cursor = Cursor { offset: head.offset + 1, ..head };
        let entry = Entry {
            offset: cursor.offset,
            wall_ms: draft.wall_ms,
            key: draft.key.clone(),
            data: draft.data.clone(),
        };
        let channel = self.settled(name);
        channel.head = cursor;
        channel.kept.push_back(entry.clone());
        let surplus = channel.kept.len().saturating_sub(draft.keep);
        channel.kept.drain(..surplus);
        let place = (name.clone(), cursor.epoch.0, cursor.offset);
        let before = self.numbered.insert(place, draft.data.clone());
        assert!(before.is_none(), "two publications of one number");
        if let Some(known) = known {
            self.ids.insert(known, cursor);
        }
        for link in self.links.iter_mut().filter(|link| link.subscribed.contains(name)) {
            let entry = entry.clone();
            link.heard.push_back(Told::Incoming { name: name.clone(), epoch: cursor.epoch, entry });
        }
        (cursor, false)
    }
}

fn lost(question: Question, sent: bool) -> Option<Told> {
    match question {
        Question::Ask(Ask::Publish(draft)) => {
            let why = if sent { Refusal::Unknown } else { Refusal::Unavailable };
            let Draft { name, publisher, .. } = *draft;
            Some(Told::Published { name, publisher, outcome: Err(why), repeated: false })
        }
        Question::Ask(Ask::Unfollow(_) | Ask::Others { .. } | Ask::Answer { .. }) => None,
        Question::Ask(Ask::Follow(name) | Ask::Fetch { name, .. }) | Question::Look(name) => {
            Some(Told::Failed(name))
        }
    }
}
