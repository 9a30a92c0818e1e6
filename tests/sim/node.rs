//! The node: shards, and mail on its way between them and to and from the control thread.

use crate::faults::Faults;
use crate::socket::SimSocket;
use crate::trace::{Trace, count, say};
use fastrand::Rng;
use roost::clock::Now;
use roost::config::policy::Policies;
use roost::conn::subscriptions::{ChannelId, Subscription};
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::hub::owned::{Joined, ShardSet};
use roost::hub::publication::Publication;
use roost::limits::Limits;
use roost::reactor::queued::Queued;
use roost::shard::mail::{ConnKey, Mail, Parcel, Report};
use roost::shard::{Next, Settings, Shard};
use std::collections::VecDeque;

pub(crate) struct Node {
    pub(crate) shards: Vec<Shard<SimSocket>>,
    /// When each shard wants its next turn.
    next: Vec<Next>,
    /// Something was handed to the shard: it gets a turn.
    touched: Vec<bool>,
    /// What is queued to clients, as the reactors keep it.
    pub(crate) queued: Queued,
    /// Mail by sender and receiver, first in first out. The last sender is the control thread.
    lanes: Vec<VecDeque<Mail>>,
    pub(crate) reports: VecDeque<Report>,
    /// What was told to a shard that is none of the node's.
    witnessed: Vec<Publication>,
    names: Names,
}

impl Node {
    pub(crate) fn new(limits: &Limits, policies: &Policies, rng: &mut Rng) -> Self {
        let names = Names::new(rng.u64(..));
        let count = rng.u16(1..=5);
        let settings = |id, own_seed| Settings {
            limits: limits.clone(),
            policies: policies.clone(),
            echo: true,
            node: "sim".into(),
            own_seed,
            ..Settings::new(id, count, names)
        };
        let shards = (0..count).map(|id| Shard::new(settings(id, rng.u64(..)))).collect();
        let count = usize::from(count);
        Self {
            shards,
            next: vec![Next::Idle; count],
            touched: vec![false; count],
            queued: Queued::new(count, limits.queue_total_bytes),
            lanes: (0..(count + 1) * count).map(|_| VecDeque::new()).collect(),
            reports: VecDeque::new(),
            witnessed: Vec::new(),
            names,
        }
    }

    /// A shard that is none of the node's begins to follow a channel, before anything else happens.
    pub(crate) fn watch(&mut self, now: Now, channel: &str) {
        let conn = ConnKey { shard: self.witness(), slot: 0, generation: 0 };
        let subscription = Subscription::joining(ChannelId(0), 0);
        let mail = Mail::Join { conn, subscription, name: channel.into(), since: None, id: None };
        let owner = self.owner(channel);
        self.shards[owner].mail(now, mail);
        self.touch(owner);
    }

    /// It follows the channel no more.
    pub(crate) fn unwatch(&mut self, channel: &str) {
        self.send(self.owner(channel), Mail::Leave { shard: self.witness(), name: channel.into() });
    }

    fn witness(&self) -> ShardId {
        ShardId(self.len() as u16)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn owner(&self, channel: &str) -> usize {
        usize::from(self.names.owner(channel, self.len() as u16).0)
    }

    /// Something was handed to a shard.
    pub(crate) fn touch(&mut self, shard: usize) {
        self.touched[shard] = true;
    }

    /// The control thread sends something.
    pub(crate) fn send(&mut self, to: usize, mail: Mail) {
        self.lane(self.len(), to).push_back(mail);
    }

    /// Whether there is a reason for a shard's turn, apart from readiness: mail, or what it asked for itself.
    pub(crate) fn has_cause(&self, shard: usize, now: Now) -> bool {
        due_ms(self.next[shard]).is_some_and(|at_ms| at_ms <= now.mono_ms)
            || self.touched[shard]
            || self.has_mail(shard)
    }

    /// When the first shard wants a turn.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.next.iter().filter_map(|&next| due_ms(next)).min()
    }

    pub(crate) fn has_mail(&self, shard: usize) -> bool {
        (0..=self.len()).any(|from| !self.lanes[from * self.len() + shard].is_empty())
    }

    /// Some or all of the mail for a shard arrives: each sender's in order, the senders in any.
    pub(crate) fn open_mail(&mut self, shard: usize, now: Now, faults: Option<&Faults>, rng: &mut Rng) {
        let senders = self.len() + 1;
        let first = rng.usize(..senders);
        for from in (0..senders).map(|from| (from + first) % senders) {
            let waiting = self.lane(from, shard).len();
            let late = faults.is_some_and(|faults| faults.late_mail.hit(rng));
            let count = if late && waiting > 0 { rng.usize(..waiting) } else { waiting };
            for _ in 0..count {
                let Some(mail) = self.lane(from, shard).pop_front() else { break };
                say(|| format!("    shard {shard} opens {}", label(&mail)));
                self.shards[shard].mail(now, mail);
            }
        }
    }

    /// A shard takes some mailboxes for full, or none.
    pub(crate) fn set_congested(&mut self, shard: usize, congested: bool, rng: &mut Rng) {
        let mut full = ShardSet::default();
        for other in 0..self.len() as u16 {
            if congested && rng.bool() {
                full.insert(ShardId(other));
            }
        }
        self.shards[shard].set_congested(full);
    }

    /// It is a shard's turn to go on with large passes, or it is not; then it will be later.
    pub(crate) fn permit_large_passes(&mut self, shard: usize, permitted: bool) {
        self.shards[shard].permit_large_passes(permitted);
    }

    /// A shard's turn, and what it sends. Returns what it told the witness.
    pub(crate) fn turn(&mut self, shard: usize, now: Now, trace: &mut Trace) -> Vec<Publication> {
        self.touched[shard] = false;
        self.shards[shard].set_queued_elsewhere(self.queued.elsewhere(id(shard)));
        self.next[shard] = self.shards[shard].turn(now);
        let parcels: Vec<Parcel> = self.shards[shard].parcels().collect();
        say(|| format!("  shard {shard} turned: {:?}, {} parcels", self.next[shard], parcels.len()));
        for parcel in parcels {
            hash(&parcel, trace);
            if let Parcel::Shard(_, Mail::Replayed { .. }) = &parcel {
                count("a later page");
            }
            match parcel {
                Parcel::Shard(to, mail) if to == self.witness() => match mail {
                    Mail::Publication(publication) => self.witnessed.push(publication),
                    Mail::Notice { .. } => {}
                    mail => assert!(matches!(mail, Mail::Joined { .. }), "the witness gets {mail:?}"),
                },
                Parcel::Shard(to, mail) => self.lane(shard, usize::from(to.0)).push_back(mail),
                Parcel::Control(report) => self.reports.push_back(report),
                Parcel::Broker(ask) => unreachable!("a node without a broker asks {ask:?}"),
            }
        }
        // Its turn to go on with large passes comes some time.
        self.touched[shard] |= self.shards[shard].has_large_passes();
        self.note_queued(shard);
        std::mem::take(&mut self.witnessed)
    }

    /// As a reactor does behind a turn.
    fn note_queued(&mut self, shard: usize) {
        if self.queued.note(id(shard), self.shards[shard].queued_bytes()) {
            count("the node went over its budget");
            self.queued.over_share().for_each(|other| self.touched[other] = true);
        }
        self.shards[shard].set_queued_elsewhere(self.queued.elsewhere(id(shard)));
        if self.shards[shard].is_over_total() {
            self.next[shard] = Next::Now;
        }
    }

    fn lane(&mut self, from: usize, to: usize) -> &mut VecDeque<Mail> {
        let count = self.len();
        &mut self.lanes[from * count + to]
    }
}

fn id(shard: usize) -> ShardId {
    ShardId(shard as u16)
}

fn due_ms(next: Next) -> Option<u64> {
    match next {
        Next::Now => Some(0),
        Next::At(at_ms) => Some(at_ms),
        Next::Idle => None,
    }
}

/// What a piece of mail is, in a line.
fn label(mail: &Mail) -> String {
    match mail {
        Mail::Publication(publication) => format!("{} of {}", publication.offset, publication.channel),
        Mail::Publish { name, publisher, .. } => format!("publish to {name} by {publisher:?}"),
        Mail::Joined { conn, joined, .. } => format!("the join of {conn:?}: {}", outcome(joined)),
        Mail::Replayed { conn, joined, .. } => format!("a page for {conn:?}: {}", outcome(joined)),
        Mail::Notice { name, .. } => format!("a notice of {name}"),
        Mail::Join { .. }
        | Mail::Present { .. }
        | Mail::Replay { .. }
        | Mail::Leave { .. }
        | Mail::Break { .. }
        | Mail::NotJoined { .. }
        | Mail::Told(_)
        | Mail::Later { .. }
        | Mail::Published { .. }
        | Mail::Ask { .. }
        | Mail::Disconnect { .. }
        | Mail::Reload(_)
        | Mail::Drain(_)
        | Mail::Resume => format!("{mail:?}"),
    }
}

/// Without the publications.
fn outcome(joined: &Joined) -> String {
    let Joined { cursor, recovery } = joined;
    match recovery {
        Some(recovery) => {
            format!("{cursor}, {:?}, {} missed, up to {}", recovery.gap, recovery.missed.len(), recovery.end)
        }
        None => format!("{cursor}"),
    }
}

fn hash(parcel: &Parcel, trace: &mut Trace) {
    match parcel {
        Parcel::Shard(to, Mail::Publication(publication)) => {
            trace.number(u64::from(to.0));
            trace.bytes(&publication.frame);
        }
        Parcel::Shard(to, mail @ (Mail::Joined { joined, .. } | Mail::Replayed { joined, .. })) => {
            trace.number(u64::from(to.0));
            trace.bytes(label(mail).as_bytes());
            let recovery = joined.recovery.iter();
            recovery.flat_map(|recovery| &recovery.missed).for_each(|frame| trace.bytes(frame));
        }
        Parcel::Shard(..) | Parcel::Control(_) | Parcel::Broker(_) => {
            trace.bytes(format!("{parcel:?}").as_bytes())
        }
    }
}
