//! A shard's listener: clients come in within a budget, or are told that there is no room. Must never let one more in than
//! the node may hold.

use super::acceptor::{Acceptor, Arrival};
use super::refused::Refused;
use super::sharing::{Queue, Room, Share, Stance};
use super::steering::Steering;
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::limits::{ACCEPT_BUDGET, REFUSE_BUDGET};
use crate::shard::Shard;
use crate::shard::conn_table::Token;
use std::io;

/// One shard's way in, and those whom it refused.
#[derive(Debug)]
pub struct Listener<A: Queue> {
    /// None once it is closed. More than one where systemd has passed several sockets.
    doors: Vec<Door<A>>,
    refused: Refused<A::Stream>,
}

/// A listening socket.
#[derive(Debug)]
pub struct Door<A> {
    /// Accepts from it.
    pub acceptor: Acceptor<A>,
    /// Its part in the socket, where that is systemd's.
    pub share: Option<Share>,
}

impl<A: Queue> Listener<A> {
    /// Behind these doors; `refused_max` of those who do not come in may linger.
    #[must_use]
    pub fn new(doors: Vec<Door<A>>, refused_max: usize) -> Self {
        Self { doors, refused: Refused::new(refused_max) }
    }

    /// The listening sockets, unless they are closed.
    pub fn sources(&self) -> impl Iterator<Item = &A> {
        self.doors.iter().map(|door| door.acceptor.source())
    }

    /// Its own listening socket, unless that is closed or what it has is systemd's.
    #[must_use]
    pub fn own(&self) -> Option<&A> {
        self.doors.iter().find(|door| door.share.is_none()).map(|door| door.acceptor.source())
    }

    /// Whether it listens on sockets that are systemd's, and that outlive the process.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.doors.iter().any(|door| door.share.is_some())
    }

    /// Takes the spare descriptor, in the table of the thread that accepts.
    pub fn open_reserve(&self) {
        self.doors.iter().for_each(|door| door.acceptor.open_reserve());
    }

    /// The poll says that someone is waiting.
    pub fn ready(&mut self) {
        self.doors.iter_mut().for_each(|door| door.acceptor.ready());
    }

    /// Whether someone may be waiting to be accepted.
    #[must_use]
    pub fn is_waited_for(&self, now: Now) -> bool {
        self.doors.iter().any(|door| door.acceptor.due_ms(now).is_some())
    }

    /// Listens no more, and hands out what it listened on. Whoever was refused keeps the time to read why.
    pub fn close(&mut self) -> impl Iterator<Item = A> {
        self.doors.drain(..).map(|door| door.acceptor.into_source())
    }

    /// Whether it is closed and nobody lingers.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.doors.is_empty() && self.refused.is_empty()
    }

    /// When it wants its turn, in milliseconds since the node started.
    #[must_use]
    pub fn due_ms(&self, now: Now) -> Option<u64> {
        let accept_ms = self.doors.iter().filter_map(|door| door.acceptor.due_ms(now));
        accept_ms.chain(self.refused.due_ms()).min()
    }

    /// Tells those who share its sockets how many it has.
    pub fn recount(&mut self, room: Room) {
        self.doors.iter_mut().filter_map(|door| door.share.as_mut()).for_each(|share| share.recount(room));
    }

    /// Lets clients in until nobody waits or a budget is used up. `register` puts one on the poll. Returns how many came
    /// in; `steering` has counted them already.
    pub fn turn(
        &mut self,
        now: Now,
        shard: &mut Shard<A::Stream>,
        steering: &Steering,
        mut register: impl FnMut(&mut A::Stream, Token) -> io::Result<()>,
    ) -> usize {
        self.refused.look(now);
        let (mut entered, mut refused) = (0, 0);
        // A crowd at one door leaves the others theirs.
        let doors = self.doors.len().max(1);
        for door in &mut self.doors {
            let refused_before = refused;
            for _ in 0..ACCEPT_BUDGET.div_ceil(doors) {
                match door.next(now, Room { conns: shard.len(), conns_max: shard.conns_max() }) {
                    Arrival::Newcomer(stream) => match let_in(now, stream, shard, steering, &mut register) {
                        Ok(()) => entered += 1,
                        Err((stream, why)) => {
                            let complaint = door.acceptor.complaint();
                            why.iter().for_each(|error| complaint.refused(now, error));
                            self.refused.refuse(now, stream);
                            refused += 1;
                        }
                    },
                    Arrival::Refused => refused += 1,
                    Arrival::Gone => {}
                    Arrival::Nobody => break,
                }
                if refused - refused_before >= REFUSE_BUDGET.div_ceil(doors) {
                    break;
                }
            }
        }
        shard.count_refused(refused);
        entered
    }
}

impl<A: Queue> Door<A> {
    /// The next client, if there is one and it is not left to others.
    fn next(&mut self, now: Now, room: Room) -> Arrival<A::Stream> {
        let Some(share) = &mut self.share else { return self.acceptor.next(now) };
        if self.acceptor.due_ms(now).is_none_or(|due_ms| due_ms > now.mono_ms) {
            return Arrival::Nobody;
        }
        match share.stance(now, room, self.acceptor.source()) {
            Stance::Accepts => {}
            Stance::StandsBack(until_ms) => {
                self.acceptor.put_off(until_ms);
                return Arrival::Nobody;
            }
            Stance::Rests => {
                self.acceptor.rest();
                return Arrival::Nobody;
            }
        }
        let arrival = self.acceptor.next(now);
        if !matches!(arrival, Arrival::Nobody) {
            share.took();
        }
        arrival
    }
}

/// Gives a client a place, or back: with an error where it was the poll that had none.
fn let_in<S: Socket>(
    now: Now,
    stream: S,
    shard: &mut Shard<S>,
    steering: &Steering,
    register: impl FnOnce(&mut S, Token) -> io::Result<()>,
) -> Result<(), (S, Option<io::Error>)> {
    if !steering.enter() {
        return Err((stream, None));
    }
    let outcome = shard.insert_with(now, stream, register);
    if outcome.is_err() {
        steering.leave();
    }
    outcome.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::complaint::Complaint;
    use crate::reactor::fake::{Client, FakeStream, START, Script, later, shard};
    use crate::shard::Readiness;
    use rustix::io::Errno;
    use std::rc::Rc;
    use std::sync::{Arc, Mutex};

    const UPGRADE: &[u8] =
        b"GET /live?channel=a HTTP/1.1\r\nHost: roost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    /// A masked text frame with `{"type":"ping"}`; the mask is zero.
    const PING: &[u8] = b"\x81\x8f\0\0\0\0{\"type\":\"ping\"}";
    const READABLE: Readiness = Readiness { readable: true, writable: true, read_closed: false };

    /// A shard, its listener, and the poll, which may have no room.
    struct Front {
        listener: Listener<Rc<Script>>,
        shard: Shard<FakeStream>,
        steering: Steering,
        script: Rc<Script>,
        poll: Result<(), Errno>,
        tokens: Vec<Token>,
    }

    impl Front {
        fn new(conns_max: usize) -> Self {
            let script = Rc::new(Script::default());
            let acceptor = Acceptor::new(script.clone(), Arc::default(), Arc::<Complaint>::default());
            Self {
                listener: Listener::new(vec![Door { acceptor, share: None }], 4),
                shard: shard(),
                steering: Steering::new(1, conns_max),
                script,
                poll: Ok(()),
                tokens: Vec::new(),
            }
        }

        fn turn(&mut self, now: Now) -> usize {
            let (poll, tokens) = (self.poll, &mut self.tokens);
            self.listener.turn(now, &mut self.shard, &self.steering, |_, token| {
                poll.inspect(|()| tokens.push(token)).map_err(io::Error::from)
            })
        }

        /// A client begins to wait, and the poll says so.
        fn knocks(&mut self) -> Rc<Client> {
            self.listener.ready();
            self.script.knocks()
        }

        /// A client that has come in and was upgraded.
        fn connected(&mut self) -> (Token, Rc<Client>) {
            let client = self.knocks();
            assert_eq!(self.turn(START), 1);
            let token = *self.tokens.last().unwrap();
            client.sends.borrow_mut().extend(UPGRADE);
            self.shard.ready(START, token, READABLE);
            assert!(client.heard().starts_with("HTTP/1.1 101 "));
            (token, client)
        }

        /// It is served as ever, and nobody else has written to it.
        fn lives(&mut self, now: Now, (token, client): &(Token, Rc<Client>)) {
            client.sends.borrow_mut().extend(PING);
            self.shard.ready(now, *token, READABLE);
            assert_eq!(client.heard(), "\u{fffd}\u{f}{\"type\":\"pong\"}");
            assert!(!client.closed.get());
        }
    }

    /// What `work` logs.
    fn logged(work: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn in_a_shortage_newcomers_are_told_so_those_connected_notice_nothing_and_the_log_gets_a_line_a_second() {
        const SECONDS: u64 = 10;
        let mut front = Front::new(100);
        let all = [front.connected(), front.connected()];
        let mut knocked = Vec::new();
        let log = logged(|| {
            for ms in (0..SECONDS * 1000).step_by(40) {
                let now = later(START, ms);
                for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
                    front.script.fails(errno);
                    knocked.push(front.knocks());
                }
                assert_eq!(front.turn(now), 0);
                all.iter().for_each(|one| front.lives(now, one));
            }
        });
        assert!(knocked.iter().all(|client| client.is_refused() && client.closed.get()));
        let lines = log.lines().count() as u64;
        assert!((SECONDS - 1..=SECONDS).contains(&lines), "{lines} lines\n{log}");
        assert!(log.lines().all(|line| line.contains("they get 503")), "{log}");
        assert_eq!(front.shard.counters().accepts_refused, knocked.len() as u64);
        assert_eq!(front.shard.len(), 2);
        let _newcomer = front.connected();
    }

    #[test]
    fn a_newcomer_that_the_poll_has_no_room_for_gets_503_is_counted_and_leaves_its_place() {
        let mut front = Front::new(2);
        let one = front.connected();
        let log = logged(|| {
            for errno in [Errno::NOSPC, Errno::NOMEM] {
                front.poll = Err(errno);
                let (first, second) = (front.knocks(), front.knocks());
                assert_eq!(front.turn(START), 0);
                assert!(first.is_refused() && second.is_refused(), "{errno}");
                front.lives(START, &one);
            }
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        let counters = front.shard.counters();
        assert_eq!((counters.accepted, counters.accepts_refused, counters.connections), (1, 4, 1));
        front.poll = Ok(());
        let _newcomer = front.connected();
        let late = front.knocks();
        assert_eq!(front.turn(START), 0);
        assert!(late.is_refused(), "two places, and both are taken");
    }

    #[test]
    fn a_crowd_beyond_the_room_is_refused_in_pieces_between_which_those_connected_are_served() {
        let mut front = Front::new(1);
        let one = front.connected();
        let crowd: Vec<_> = (0..3 * REFUSE_BUDGET).map(|_| front.knocks()).collect();
        for piece in crowd.chunks(REFUSE_BUDGET) {
            assert!(
                front.listener.is_waited_for(START) && front.listener.due_ms(START) == Some(START.mono_ms)
            );
            assert_eq!(front.turn(START), 0);
            assert!(piece.iter().all(|client| client.is_refused()));
            front.lives(START, &one);
        }
        assert_eq!(front.shard.counters().accepts_refused, crowd.len() as u64);
    }

    #[test]
    fn a_closed_listener_lets_those_linger_whom_it_refused() {
        let mut front = Front::new(0);
        let refused = front.knocks();
        front.turn(START);
        assert_eq!(front.listener.close().count(), 1);
        assert!(front.listener.own().is_none() && !front.listener.is_over() && !refused.closed.get());
        refused.hung_up.set(true);
        front.turn(later(START, front.listener.due_ms(START).unwrap() - START.mono_ms));
        assert!(refused.closed.get() && front.listener.is_over() && front.listener.due_ms(START).is_none());
    }

    #[test]
    fn whatever_the_kernel_answers_every_client_comes_in_or_is_told_why_not() {
        const ERRORS: [Errno; 7] = [
            Errno::INTR,
            Errno::CONNABORTED,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::PERM,
            Errno::BADF,
        ];
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let conns_max = rng.usize(..40);
            let mut front = Front::new(conns_max);
            let (mut clients, mut entered) = (Vec::new(), 0);
            let mut now = START;
            for _ in 0..200 {
                for _ in 0..rng.usize(..4) {
                    if rng.bool() {
                        clients.push(front.knocks());
                    } else {
                        front.script.fails(rng.choice(ERRORS).unwrap());
                    }
                }
                front.poll = if rng.u8(..5) == 0 { Err(Errno::NOSPC) } else { Ok(()) };
                entered += front.turn(now);
                now = later(now, rng.u64(..30));
            }
            front.poll = Ok(());
            // The shortage is over, and no edge says so.
            while front.listener.is_waited_for(now) {
                entered += front.turn(now);
                now = later(now, 50);
            }
            let inside = clients.iter().filter(|client| !client.ended.get()).count();
            assert_eq!((inside, entered), (front.shard.len(), front.shard.len()), "seed {seed}");
            assert!(inside <= conns_max, "seed {seed}: {inside} in {conns_max} places");
            let refused = clients.iter().filter(|client| client.is_refused()).count();
            assert_eq!(inside + refused, clients.len(), "seed {seed}: somebody was told nothing");
            assert_eq!(front.shard.counters().accepts_refused, refused as u64, "seed {seed}");
        }
    }
}
