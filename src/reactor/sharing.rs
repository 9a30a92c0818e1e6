//! Who of several shards accepts next from a socket that systemd has passed. Must never lose a wake: whoever stands back
//! while somebody waits looks again by itself.
//!
//! Of roost's own sockets each shard has one, and the kernel spreads clients over them. systemd's belong to root, and nobody
//! else can add one to their group (`SO_REUSEPORT` asks for the same user). So shards share what came. Each has a descriptor
//! of its own and registers it, not exclusively: where one alone is woken and stands back, nobody else would ever hear of the
//! client. A client that comes while all sleep therefore wakes them all, one accepts it, and the others find nobody: some
//! five microseconds of processor time each, measured with 16 and 64 shards of a debug build on two cores. In a crowd they are awake
//! anyway.
//!
//! ```text
//!                     ┌─ full, or far over an even share ─┐
//!   the edge ──▶ may I?                                   ├─ nobody waits any more ──▶ asleep until the next edge
//!                     │                                   └─ somebody waits ──▶ a look a few ms later
//!                     └─ else, or the others have not          │
//!                        accepted for too long ──▶ accept ◀────┘
//! ```

use super::acceptor::Accept;
use crate::clock::Now;
use crate::limits::{SHARING_FULL_PATIENCE_MS, SHARING_LOOK_MS, SHARING_SLACK, SHARING_SLACK_PART};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A listening socket that can be asked whether somebody waits.
pub trait Queue: Accept {
    /// Whether [`Accept::accept`] would find somebody, without doing it.
    fn has_someone(&self) -> bool;
}

/// What the shards that share a socket know of each other.
#[derive(Debug)]
pub struct Sharing {
    members: usize,
    /// Connections of all of them, wherever they came in.
    conns: AtomicUsize,
    /// Members without room.
    full: AtomicUsize,
    /// Clients taken from the queue since the start, also those that were refused.
    taken: AtomicU64,
}

impl Sharing {
    /// Among `members` shards with nobody in them.
    #[must_use]
    pub fn new(members: usize) -> Arc<Self> {
        let (conns, full, taken) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { members, conns, full, taken })
    }
}

/// A shard's connections, and how many it may have.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// So many it has.
    pub conns: usize,
    /// So many at most.
    pub conns_max: usize,
}

impl Room {
    fn is_full(self) -> bool {
        self.conns >= self.conns_max
    }
}

/// What a shard does about the next client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// It accepts.
    Accepts,
    /// Somebody waits, and others are to accept; it looks again at this moment, in milliseconds since the node started.
    StandsBack(u64),
    /// Others would be to accept, but nobody waits: the next edge tells.
    Rests,
}

/// One shard's part in a shared socket.
#[derive(Debug)]
pub struct Share {
    sharing: Arc<Sharing>,
    /// Connections that the others know of here.
    counted: usize,
    /// The others know that it has no room.
    full: bool,
    /// None while it accepts.
    back: Option<Back>,
}

/// Since when a shard stands back, and how many had been taken by others then.
#[derive(Debug, Clone, Copy)]
struct Back {
    since_ms: u64,
    taken: u64,
}

impl Share {
    /// For one of the members.
    #[must_use]
    pub fn of(sharing: &Arc<Sharing>) -> Self {
        Self { sharing: sharing.clone(), counted: 0, full: false, back: None }
    }

    /// Whether the next client is this shard's to accept.
    pub fn stance(&mut self, now: Now, room: Room, queue: &impl Queue) -> Stance {
        let Some(patience_ms) = self.patience_ms(room) else {
            self.back = None;
            return Stance::Accepts;
        };
        if !queue.has_someone() {
            self.back = None;
            return Stance::Rests;
        }
        let taken = self.sharing.taken.load(Ordering::Relaxed);
        let back = self.back.filter(|back| back.taken == taken);
        let back = back.unwrap_or(Back { since_ms: now.mono_ms, taken });
        self.back = Some(back);
        if now.mono_ms - back.since_ms >= patience_ms {
            // Those who are to accept do not get round to it.
            return Stance::Accepts;
        }
        Stance::StandsBack(now.mono_ms + SHARING_LOOK_MS)
    }

    /// It has taken a client from the queue. That is no progress of the others: while they make none, it goes on.
    pub fn took(&mut self) {
        let before = self.sharing.taken.fetch_add(1, Ordering::Relaxed);
        self.back.iter_mut().filter(|back| back.taken == before).for_each(|back| back.taken += 1);
    }

    /// Tells the others how many it has, where that has changed.
    pub fn recount(&mut self, room: Room) {
        if room.conns != self.counted {
            // Wrapping: one addition serves both directions.
            self.sharing.conns.fetch_add(room.conns.wrapping_sub(self.counted), Ordering::Relaxed);
            self.counted = room.conns;
        }
        if room.is_full() != self.full {
            self.full = room.is_full();
            let change = if self.full { 1 } else { usize::MAX };
            self.sharing.full.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// How long others have to accept in its place; none where it is its own turn.
    fn patience_ms(&self, room: Room) -> Option<u64> {
        if room.is_full() {
            let others = self.sharing.full.load(Ordering::Relaxed) + usize::from(!self.full);
            // Where everybody is full, whoever comes first says so to the client.
            return (others < self.sharing.members).then_some(SHARING_FULL_PATIENCE_MS);
        }
        // What came in during this turn counts here, and the others hear of it at its end. The sum may lag behind what this
        // one has, but never by more than itself.
        let others = self.sharing.conns.load(Ordering::Relaxed).wrapping_sub(self.counted);
        let even = others.wrapping_add(room.conns) / self.sharing.members;
        let slack = SHARING_SLACK + even / SHARING_SLACK_PART;
        (room.conns > even + slack).then_some(SHARING_LOOK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::acceptor::Acceptor;
    use crate::reactor::fake::{Client, FakeStream, START, Script, later, shard_for};
    use crate::reactor::listener::{Door, Listener};
    use crate::reactor::steering::Steering;
    use crate::shard::Shard;
    use std::rc::Rc;

    /// One of the shards, which sleeps until an edge or its own clock wakes it.
    struct Member {
        listener: Listener<Rc<Script>>,
        shard: Shard<FakeStream>,
        edge: bool,
    }

    /// Shards at one socket.
    struct House {
        queue: Rc<Script>,
        steering: Steering,
        members: Vec<Member>,
        clients: Vec<Rc<Client>>,
    }

    impl House {
        fn new(members: usize, conns_per_shard_max: usize, conns_max: usize) -> Self {
            let queue = Rc::new(Script::default());
            let sharing = Sharing::new(members);
            let member = || {
                let acceptor = Acceptor::new(queue.clone(), Arc::default(), Arc::default());
                let door = Door { acceptor, share: Some(Share::of(&sharing)) };
                let shard = shard_for(conns_per_shard_max);
                Member { listener: Listener::new(vec![door], 4), shard, edge: false }
            };
            let members = (0..members).map(|_| member()).collect();
            Self { members, steering: Steering::new(1, conns_max), queue, clients: Vec::new() }
        }

        fn knock(&mut self, clients: usize) {
            self.clients.extend((0..clients).map(|_| self.queue.knocks()));
            self.members.iter_mut().for_each(|member| member.edge |= clients > 0);
        }

        /// Gives a member its turn, if something wakes it. As the kernel does, an edge is told only where somebody still waits.
        fn turn(&mut self, place: usize, now: Now) {
            let waits = self.queue.has_someone();
            let member = &mut self.members[place];
            let woken = std::mem::take(&mut member.edge) && waits;
            if woken {
                member.listener.ready();
            }
            if woken || member.listener.due_ms(now).is_some_and(|due_ms| due_ms <= now.mono_ms) {
                member.listener.turn(now, &mut member.shard, &self.steering, |_, _| Ok(()));
                let room = Room { conns: member.shard.len(), conns_max: member.shard.conns_max() };
                member.listener.recount(room);
            }
        }

        /// The turns of some members, every millisecond until a moment.
        fn turns(&mut self, places: &[usize], from_ms: u64, until_ms: u64) {
            for ms in from_ms..until_ms {
                places.iter().for_each(|&place| self.turn(place, later(START, ms)));
            }
        }

        fn conns(&self) -> Vec<usize> {
            self.members.iter().map(|member| member.shard.len()).collect()
        }

        fn refused(&self) -> usize {
            self.clients.iter().filter(|client| client.ended.get()).count()
        }

        fn due_ms(&self, place: usize) -> Option<u64> {
            self.members[place].listener.due_ms(START).map(|due_ms| due_ms - START.mono_ms)
        }
    }

    #[test]
    fn a_crowd_is_spread_evenly_though_one_is_always_the_first() {
        let mut house = House::new(4, 1000, 4000);
        for ms in 0..100 {
            house.knock(4);
            house.turns(&[0, 1, 2, 3], ms, ms + 1);
        }
        house.turns(&[0, 1, 2, 3], 100, 200);
        let conns = house.conns();
        assert_eq!(conns.iter().sum::<usize>(), 400);
        let slack = SHARING_SLACK + 100 / SHARING_SLACK_PART;
        assert!(conns.iter().all(|&conns| conns <= 100 + slack + 1), "{conns:?}");
        assert!(conns.iter().all(|&conns| conns >= 100 - 3 * (slack + 1)), "{conns:?}");
        assert!((0..4).all(|place| house.due_ms(place).is_none()), "all sleep");
    }

    #[test]
    fn who_has_clearly_more_leaves_clients_to_others_and_takes_them_when_those_do_not() {
        let mut house = House::new(2, 1000, 2000);
        house.knock(100);
        house.turns(&[0], 0, 1);
        let taken = house.conns()[0];
        assert!((SHARING_SLACK..=2 * SHARING_SLACK + 4).contains(&taken), "{taken}");
        assert_eq!(house.due_ms(0), Some(SHARING_LOOK_MS), "it keeps its readiness");
        house.turns(&[0], 1, SHARING_LOOK_MS);
        assert_eq!(house.conns()[0], taken, "before that it does not even look");
        house.turns(&[0], SHARING_LOOK_MS, SHARING_LOOK_MS + 10);
        assert_eq!(house.conns(), [100, 0], "nobody waits for a shard that does not come");
        assert_eq!(house.due_ms(0), None);
    }

    #[test]
    fn who_stands_back_goes_on_doing_so_while_others_accept_and_sleeps_once_nobody_waits() {
        let mut house = House::new(2, 1000, 2000);
        house.knock(20);
        house.turns(&[0], 0, SHARING_LOOK_MS + 1);
        assert_eq!(house.conns(), [20, 0]);
        for ms in 10..30 {
            house.knock(1);
            house.turns(&[0, 1], ms, ms + 1);
        }
        house.turns(&[0, 1], 30, 40);
        let conns = house.conns();
        assert!(conns[1] >= 10, "{conns:?}");
        assert_eq!((conns[0] + conns[1], house.due_ms(0), house.due_ms(1)), (40, None, None));
    }

    #[test]
    fn a_full_shard_refuses_nobody_while_another_has_room() {
        let mut house = House::new(2, 10, 100);
        house.knock(10);
        house.turns(&[0], 0, SHARING_LOOK_MS + 1);
        assert_eq!(house.conns(), [10, 0]);
        house.knock(10);
        house.turns(&[0], 10, SHARING_FULL_PATIENCE_MS);
        assert_eq!((house.conns(), house.refused()), (vec![10, 0], 0));
        house.turns(&[0, 1], SHARING_FULL_PATIENCE_MS, SHARING_FULL_PATIENCE_MS + 10);
        assert_eq!((house.conns(), house.refused()), (vec![10, 10], 0));
        // Everybody is full: whoever is first says so, at once.
        house.knock(3);
        house.turns(&[0], SHARING_FULL_PATIENCE_MS + 10, SHARING_FULL_PATIENCE_MS + 11);
        assert_eq!((house.conns(), house.refused()), (vec![10, 10], 3));
    }

    #[test]
    fn a_full_shard_refuses_in_the_end_where_the_other_never_comes() {
        let mut house = House::new(2, 10, 100);
        house.knock(15);
        house.turns(&[0], 0, SHARING_FULL_PATIENCE_MS / 2);
        assert_eq!((house.conns(), house.refused()), (vec![10, 0], 0));
        house.turns(&[0], SHARING_FULL_PATIENCE_MS / 2, SHARING_FULL_PATIENCE_MS + 2 * SHARING_LOOK_MS);
        assert_eq!((house.conns(), house.refused()), (vec![10, 0], 5));
    }

    #[test]
    fn a_full_node_refuses_though_its_shards_have_room() {
        let mut house = House::new(4, 1000, 20);
        house.knock(50);
        house.turns(&[0, 1, 2, 3], 0, 100);
        assert_eq!((house.conns().iter().sum::<usize>(), house.refused()), (20, 30));
    }

    #[test]
    fn places_that_are_given_back_are_known_to_the_others() {
        let sharing = Sharing::new(2);
        let (mut one, mut other) = (Share::of(&sharing), Share::of(&sharing));
        let room = |conns| Room { conns, conns_max: 50 };
        one.recount(room(50));
        other.recount(room(50));
        assert_eq!(one.patience_ms(room(50)), None, "both are full");
        other.recount(room(40));
        assert_eq!(one.patience_ms(room(50)), Some(SHARING_FULL_PATIENCE_MS));
        one.recount(room(5));
        assert_eq!(one.patience_ms(room(5)), None);
        assert_eq!(other.patience_ms(room(40)), Some(SHARING_LOOK_MS), "35 more than the other");
        other.recount(room(0));
        assert_eq!(other.patience_ms(room(0)), None);
        assert_eq!((sharing.conns.load(Ordering::Relaxed), sharing.full.load(Ordering::Relaxed)), (5, 0));
    }

    #[test]
    fn whoever_sleeps_or_stands_still_every_client_comes_in_or_is_told_why_not() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let count = rng.usize(1..6);
            let mut house = House::new(count, rng.usize(1..60), rng.usize(1..200));
            // The first is never frozen for ever.
            let frozen: Vec<bool> = (0..count).map(|place| place > 0 && rng.u8(..4) == 0).collect();
            let mut ms = 0;
            for _ in 0..150 {
                let knocking = if rng.u8(..10) == 0 { rng.usize(..100) } else { rng.usize(..3) };
                house.knock(knocking);
                for _ in 0..rng.usize(..2 * count) {
                    let place = rng.usize(..count);
                    if !frozen[place] {
                        house.turn(place, later(START, ms));
                    }
                }
                ms += rng.u64(..4);
            }
            let awake: Vec<usize> = (0..count).filter(|&place| !frozen[place]).collect();
            house.turns(&awake, ms, ms + 2 * SHARING_FULL_PATIENCE_MS);
            let inside: usize = house.conns().iter().sum();
            assert_eq!(inside + house.refused(), house.clients.len(), "seed {seed}: somebody waits for ever");
            assert!(house.members.iter().all(|member| member.shard.len() <= member.shard.conns_max()));
        }
    }
}
