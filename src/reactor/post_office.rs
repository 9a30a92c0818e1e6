//! Where every thread finds every mailbox. Must never look into what it carries.

use super::complaint::Complaint;
use super::gate::Gate;
use super::mailbox::Mailbox;
use super::queued::Queued;
use super::steering::Steering;
use crate::hub::ShardId;
use crate::hub::broker::Ask;
use crate::hub::owned::ShardSet;
use crate::limits::MAILBOX_BYTES_MAX;
use crate::shard::mail::{Mail, Parcel, Report};
use std::sync::Arc;

/// All mailboxes of a node.
#[derive(Debug)]
pub struct PostOffice {
    /// One a shard, in order.
    pub shards: Vec<Mailbox<Mail>>,
    /// The control thread's.
    pub control: Mailbox<Report>,
    /// What waits for clients.
    pub queued: Queued,
    /// Who goes on with a large fan-out.
    pub gate: Gate,
    /// Who has room.
    pub steering: Steering,
    /// What is said about those who found none.
    pub complaint: Arc<Complaint>,
    /// The way to the broker of several nodes, where there is one.
    pub broker: Option<Box<dyn Broker>>,
}

/// The way to a broker.
pub trait Broker: std::fmt::Debug + Send + Sync {
    /// Hands questions over without waiting; takes them out.
    fn send(&self, asks: &mut Vec<Ask>);

    /// Whether so much waits there that publications are to be refused.
    fn is_congested(&self) -> bool;
}

/// One sender's outgoing mail: sorted by receiver, then handed over in one batch each.
#[derive(Debug)]
pub struct Sender {
    office: Arc<PostOffice>,
    outgoing: Vec<(Vec<Mail>, usize)>,
    reports: Vec<Report>,
    asks: Vec<Ask>,
}

impl PostOffice {
    /// Shards whose mailbox is over its bound: publications to them are refused.
    #[must_use]
    pub fn congested(&self) -> ShardSet {
        let mut congested = ShardSet::default();
        for (index, mailbox) in self.shards.iter().enumerate() {
            if mailbox.bytes() > MAILBOX_BYTES_MAX {
                congested.insert(ShardId(index as u16));
            }
        }
        congested
    }

    /// Whether so much waits for the broker that publications are to be refused.
    #[must_use]
    pub fn broker_congested(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.is_congested())
    }

    /// Notes what a shard has queued. Whoever has to make room because of that may be asleep, and is woken.
    pub fn note_queued(&self, shard: ShardId, bytes: usize) {
        if self.queued.note(shard, bytes) {
            self.queued.over_share().for_each(|shard| self.shards[shard].wake());
        }
    }
}

impl Sender {
    /// A sender with nothing to send.
    #[must_use]
    pub fn new(office: Arc<PostOffice>) -> Self {
        let outgoing = office.shards.iter().map(|_| (Vec::new(), 0)).collect();
        Self { office, outgoing, reports: Vec::new(), asks: Vec::new() }
    }

    /// The mailboxes.
    #[must_use]
    pub fn office(&self) -> &PostOffice {
        &self.office
    }

    /// Bytes on the heap of the piles themselves, without what their mail points to.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let piles: usize = self.outgoing.iter().map(|(pile, _)| pile.capacity()).sum();
        let table = self.outgoing.capacity() * size_of::<(Vec<Mail>, usize)>();
        table + piles * size_of::<Mail>() + self.reports.capacity() * size_of::<Report>()
    }

    /// Puts a parcel on the right pile.
    pub fn sort(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Shard(to, mail) => {
                let (pile, bytes) = &mut self.outgoing[usize::from(to.0)];
                *bytes += mail.bytes();
                pile.push(mail);
            }
            Parcel::Control(report) => self.reports.push(report),
            Parcel::Broker(ask) => self.asks.push(ask),
        }
    }

    /// Hands every pile over.
    pub fn send(&mut self) {
        for ((pile, bytes), mailbox) in self.outgoing.iter_mut().zip(&self.office.shards) {
            mailbox.send(pile, std::mem::take(bytes));
        }
        self.office.control.send(&mut self.reports, 0);
        if let Some(broker) = self.office.broker.as_ref().filter(|_| !self.asks.is_empty()) {
            broker.send(&mut self.asks);
        }
    }

    /// Gives back what a busy time made large: a pile for every receiver, in each of as many senders.
    pub fn give_back(&mut self) {
        self.outgoing.iter_mut().for_each(|(pile, _)| pile.shrink_to_fit());
        self.reports.shrink_to_fit();
        self.asks.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token, Waker};
    use std::time::Duration;

    #[test]
    fn who_takes_the_node_over_its_budget_wakes_those_who_have_more_than_their_share() {
        let mut polls: Vec<Poll> = (0..4).map(|_| Poll::new().unwrap()).collect();
        let waker = |poll: &Poll| Waker::new(poll.registry(), Token(7)).unwrap();
        let office = PostOffice {
            shards: polls[..3].iter().map(|poll| Mailbox::new(waker(poll))).collect(),
            control: Mailbox::new(waker(&polls[3])),
            queued: Queued::new(3, 300),
            gate: Gate::new(3, 1),
            steering: Steering::new(3, 10),
            complaint: Arc::default(),
            broker: None,
        };
        let mut events = Events::with_capacity(8);
        let mut woken = || {
            let mut wakes = |poll: &mut Poll| {
                poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
                !events.is_empty()
            };
            polls.iter_mut().map(&mut wakes).collect::<Vec<bool>>()
        };
        office.note_queued(ShardId(0), 200);
        office.note_queued(ShardId(1), 100);
        assert_eq!(woken(), [false; 4], "all that may be queued is");
        office.note_queued(ShardId(2), 1);
        assert_eq!(woken(), [true, false, false, false]);
        office.note_queued(ShardId(1), 150);
        assert_eq!(woken(), [false; 4], "who has too much and is awake knows it");
    }
}
