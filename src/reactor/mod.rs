//! Floor 4: the only poll of a shard. Stamps the time, tells the shard what is ready, carries its mail. Must never
//! decide anything: that is the shard's.

pub mod acceptor;
pub mod clock;
pub mod complaint;
pub mod gate;
pub mod listener;
pub mod mailbox;
pub mod post_office;
pub mod queued;
pub mod refused;
pub mod reserve;
pub mod sharing;
pub mod steering;
mod tcp;

#[cfg(test)]
mod fake;

use crate::clock::Now;
use crate::hub::ShardId;
use crate::limits::DRAIN_FAREWELL_MS;
use crate::metrics::heap::Heap;
use crate::shard::conn_table::Token;
use crate::shard::mail::{DrainOrder, Mail, Parcel, Question, Report};
use crate::shard::{Next, Readiness, Settings, Shard};
use crate::sys::{allocator, scheduler};
use acceptor::Acceptor;
use clock::Clock;
use gate::Place;
use listener::{Door, Listener};
use mailbox::Mailbox;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll};
use post_office::{PostOffice, Sender};
use reserve::Reserve;
use sharing::{Room, Share};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The poll's name for a shard's mailbox. Connections' generations leave the topmost bit free.
pub const MAILBOX: mio::Token = mio::Token(usize::MAX);
/// The poll's name for the listener.
const LISTENER: mio::Token = mio::Token(usize::MAX - 1);
/// A shard that once held this many gives its memory back when the last of them has left and it is quiet.
const GIVE_BACK_CONNS: usize = 1000;
/// Nothing is due for so long.
const QUIET: Duration = Duration::from_secs(1);
/// When so many parted in one turn, the thread rests: whoever leaves has time, and a thread that always has work waits for
/// all others before it is given the processor again, and with it the mail of those who stay.
const PARTED: usize = 16;
/// Events taken from the kernel at once: some half a millisecond of work, so that mail and passes need not wait long.
const EVENTS: usize = 64;

/// How clients come to a shard.
#[derive(Debug)]
pub struct Entrance {
    /// Where they wait, and the shard's part in a socket that is systemd's.
    pub doors: Vec<(std::net::TcpListener, Option<Share>)>,
    /// The spare descriptor of the table that the shard will be in.
    pub reserve: Arc<Reserve>,
    /// How many of those that it refuses may linger.
    pub refused_max: usize,
}

/// One shard, its poll and its listeners.
#[derive(Debug)]
pub struct Reactor {
    id: ShardId,
    poll: Poll,
    listener: Listener<TcpListener>,
    shard: Shard<TcpStream>,
    sender: Sender,
    clock: Clock,
    inbox: Vec<Mail>,
    /// At the gate of large fan-outs.
    place: Place,
    /// Connections that the node knows of here.
    counted: usize,
    /// The most there were since it last was empty.
    most: usize,
    /// Newcomers are steered elsewhere.
    full: bool,
    /// When whoever is still here is left behind, once a drain began.
    leave_at_ms: Option<u64>,
    /// The control thread knows that the drain is over here.
    stopped: bool,
}

impl Reactor {
    /// Puts a shard on its poll.
    ///
    /// # Errors
    /// When a listener cannot be registered.
    pub fn new(
        settings: Settings,
        poll: Poll,
        entrance: Entrance,
        office: Arc<PostOffice>,
        clock: Clock,
    ) -> io::Result<Self> {
        let mut doors = Vec::with_capacity(entrance.doors.len());
        for (tcp, share) in entrance.doors {
            let mut tcp = TcpListener::from_std(tcp);
            poll.registry().register(&mut tcp, LISTENER, Interest::READABLE)?;
            let acceptor = Acceptor::new(tcp, entrance.reserve.clone(), office.complaint.clone());
            doors.push(Door { acceptor, share });
        }
        let listener = Listener::new(doors, entrance.refused_max);
        let id = settings.id;
        let (shard, sender) = (Shard::new(settings), Sender::new(office));
        Ok(Self {
            id,
            poll,
            listener,
            shard,
            sender,
            clock,
            inbox: Vec::new(),
            place: Place::default(),
            counted: 0,
            most: 0,
            full: false,
            leave_at_ms: None,
            stopped: false,
        })
    }

    /// Which shard it drives.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The descriptors that no other table may keep open: its poll's and its listeners'.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        let listeners = self.listener.sources().map(|tcp| tcp.as_fd().as_raw_fd());
        std::iter::once(self.poll.as_raw_fd()).chain(listeners).collect()
    }

    /// Runs until the process ends. A shard that has nobody left after a drain still owns channels of those who are
    /// with other shards, and still answers the control thread.
    ///
    /// # Errors
    /// When the poll fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<Infallible> {
        self.listener.open_reserve();
        let mut events = Events::with_capacity(EVENTS);
        let mut timeout = Some(Duration::ZERO);
        let mut due_ms = None;
        loop {
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let begun = Instant::now();
            let now = self.clock.at(begun);
            if let Some(late_ms) = due_ms.and_then(|due_ms| now.mono_ms.checked_sub(due_ms)) {
                self.shard.count_lag(late_ms);
            }
            for event in &events {
                self.happened(now, event);
            }
            if events.iter().count() == EVENTS {
                self.look_behind(now);
            }
            let before = self.shard.len();
            let next = self.turn(now);
            // The one reading of the clock that measuring costs a turn.
            self.shard.count_turn(now, begun.elapsed().as_micros() as u64);
            if self.shard.len() + PARTED <= before {
                scheduler::rest();
            } else if next == Next::Now {
                scheduler::give_way();
            }
            if !self.stopped && self.is_over(now) {
                self.stopped = true;
                self.sender.sort(Parcel::Control(Report::Stopped { shard: self.id }));
                self.sender.send();
            }
            due_ms = self.due_ms(now, next);
            timeout = due_ms.map(|due_ms| Clock::until(now, due_ms));
            // A turn that follows at once is never late.
            due_ms = due_ms.filter(|&due_ms| due_ms > now.mono_ms);
            if self.crowd_left() {
                if events.is_empty() && timeout.is_none_or(|time| time >= QUIET) {
                    self.give_back();
                } else {
                    timeout = Some(timeout.map_or(QUIET, |time| time.min(QUIET)));
                }
            }
        }
    }

    fn happened(&mut self, now: Now, event: &Event) {
        match event.token() {
            MAILBOX => self.open_mail(now),
            LISTENER => self.listener.ready(),
            token => {
                let readiness = Readiness {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    read_closed: event.is_read_closed() || event.is_error(),
                };
                self.shard.ready(now, Token::from_usize(token.0), readiness);
            }
        }
    }

    /// The kernel hands events out in the order they came. When thousands leave at once, what it has to say of mail and of
    /// newcomers waits behind all of them; so neither waits to be told.
    fn look_behind(&mut self, now: Now) {
        if self.mailbox().bytes() > 0 {
            self.open_mail(now);
        }
        self.listener.ready();
    }

    fn mailbox(&self) -> &Mailbox<Mail> {
        &self.sender.office().shards[usize::from(self.id.0)]
    }

    fn open_mail(&mut self, now: Now) {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.mailbox().take(&mut inbox);
        let inbox_bytes = inbox.capacity() * size_of::<Mail>();
        for mut mail in inbox.drain(..) {
            if let Mail::Drain(DrainOrder { over_ms, leaves: true, .. }) = mail {
                self.leave_at_ms = Some(now.mono_ms + over_ms + DRAIN_FAREWELL_MS);
            } else if let Mail::Ask { question: Question::Density(around), .. } = &mut mail {
                **around = self.heap(inbox_bytes);
            }
            self.shard.mail(now, mail);
        }
        self.inbox = inbox;
    }

    /// What it owns beside the shard.
    fn heap(&self, inbox_bytes: usize) -> Heap {
        let mailboxes = inbox_bytes + self.mailbox().heap_bytes() + self.sender.heap_bytes();
        let fixed = EVENTS * size_of::<Event>();
        Heap { mailboxes: mailboxes as u64, fixed: fixed as u64, ..Heap::default() }
    }

    fn turn(&mut self, now: Now) -> Next {
        self.shard.set_congested(self.sender.office().congested());
        self.shard.set_broker_congested(self.sender.office().broker_congested());
        self.shard.set_queued_elsewhere(self.sender.office().queued.elsewhere(self.id));
        self.accept(now);
        self.shard.permit_large_passes(self.place.is_inside());
        let next = self.shard.turn(now);
        let next = self.step_at_gate(now, next);
        self.recount();
        for parcel in self.shard.parcels() {
            self.sender.sort(parcel);
        }
        self.sender.send();
        if self.note_queued() { Next::Now } else { next }
    }

    /// Tells the node what is queued here. True when this shard has to make room.
    fn note_queued(&mut self) -> bool {
        let office = self.sender.office();
        office.note_queued(self.id, self.shard.queued_bytes());
        self.shard.set_queued_elsewhere(office.queued.elsewhere(self.id));
        self.shard.is_over_total()
    }

    /// Goes in or out where that is due. Who has just been let in has something to do.
    fn step_at_gate(&mut self, now: Now, next: Next) -> Next {
        let office = self.sender.office();
        let was_inside = self.place.is_inside();
        let wants = self.shard.has_large_passes();
        if let Some(shard) = self.place.step(&office.gate, self.id, wants, now.mono_ms) {
            office.shards[usize::from(shard.0)].wake();
        }
        if self.place.is_inside() && !was_inside { Next::Now } else { next }
    }

    fn accept(&mut self, now: Now) {
        let leaves = self.leave_at_ms.is_some();
        if leaves && self.listener.is_passed() {
            // Whoever waits at a socket of systemd's is served by the next process.
            self.close();
        }
        let (registry, steering) = (self.poll.registry(), &self.sender.office().steering);
        // Once and for all: edges tell of room as well as of bytes.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.counted += self.listener.turn(now, &mut self.shard, steering, |stream, token| {
            registry.register(stream, mio::Token(token.to_usize()), interest)
        });
        // A draining node turns away whoever waits already, then stops listening.
        if leaves && !self.listener.is_waited_for(now) {
            self.close();
        }
    }

    /// Listens no more.
    fn close(&mut self) {
        for mut tcp in self.listener.close() {
            // The poll goes by the socket and not by this descriptor, and systemd or another shard may keep the socket open.
            if let Err(error) = self.poll.registry().deregister(&mut tcp) {
                tracing::debug!(shard = self.id.0, %error, "a listener was not on the poll");
            }
        }
    }

    /// Tells the node how many there are, and turns newcomers elsewhere before the table is full: those on their
    /// way still find room. They come back with some distance, so that one leaving client does not turn them to and fro.
    fn recount(&mut self) {
        let (count, most) = (self.shard.len(), self.shard.conns_max());
        let steering = &self.sender.office().steering;
        self.most = self.most.max(count);
        if count != self.counted {
            steering.recount(self.counted, count);
            self.counted = count;
        }
        self.listener.recount(Room { conns: count, conns_max: most });
        let full = if self.full { count > most - most / 8 } else { count >= most - most / 32 };
        if full != self.full
            && let Some(tcp) = self.listener.own()
        {
            self.full = full;
            steering.set_full(self.id, full, tcp);
        }
    }

    /// Nobody is left of a crowd, and what it needed is still here.
    fn crowd_left(&self) -> bool {
        self.most >= GIVE_BACK_CONNS && self.shard.is_empty()
    }

    /// It has been quiet since: nothing more of the crowd's is in the mail. What it needed goes back to the host.
    fn give_back(&mut self) {
        self.most = 0;
        self.inbox = Vec::new();
        self.sender.give_back();
        self.mailbox().give_back();
        self.shard.give_back();
        allocator::give_back();
    }

    fn is_over(&self, now: Now) -> bool {
        let is_empty = self.shard.is_drained() && self.listener.is_over();
        self.leave_at_ms.is_some_and(|leave_at_ms| is_empty || now.mono_ms >= leave_at_ms)
    }

    /// When the next turn begins at the latest, in milliseconds since the node started.
    fn due_ms(&self, now: Now, next: Next) -> Option<u64> {
        let shard_ms = match next {
            Next::Now => Some(now.mono_ms),
            Next::At(at_ms) => Some(at_ms),
            Next::Idle => None,
        };
        let listener_ms = self.listener.due_ms(now);
        let leave_ms = self.leave_at_ms.filter(|_| !self.stopped);
        shard_ms.into_iter().chain(listener_ms).chain(leave_ms).min()
    }
}

/// What an idle connection costs in a release build: mio keeps a check beside the descriptor in debug builds only.
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<crate::conn::Conn<TcpStream>>() <= 64);
