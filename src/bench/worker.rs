//! One thread of clients: its own descriptor table, its own poll, and the loop that dials, reads and answers. Must never
//! know which profile runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use super::client::{Client, End, MASK, Phase, Stage, Welcome};
use super::conduct::{Conduct, Desk, Note};
use super::dial::{dial, widen};
use super::error::{BenchError, Complaint};
use super::sources::Sources;
use super::target::Target;
use crate::limits::{BENCH_BUFFER_BYTES, BENCH_COMPLAINTS_MAX, BENCH_DIAL_BUDGET};
use crate::proto::decoder::Decoder;
use crate::proto::frame::{Opcode, put_masked_frame};

/// What all threads of a crowd and the one that leads them share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Where time begins.
    pub(super) clock: Instant,
    /// An [`Act`].
    act: AtomicU8,
    /// Whether latencies are recorded now; not while the crowd gathers.
    pub(super) recording: AtomicBool,
    /// Clients that joined.
    pub(super) joined: AtomicU64,
    /// Clients that did not, or that lost their connection without a reason.
    pub(super) failed: AtomicU64,
    /// Messages counted by the profile.
    pub(super) delivered: AtomicU64,
    /// Clients that have nothing left to do.
    pub(super) finished: AtomicU64,
}

/// What the crowd is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Act {
    /// Connect, upgrade, subscribe.
    Gather,
    /// Do what the profile is about.
    Play,
    /// Hang up and end.
    Leave,
}

impl Shared {
    /// Before the first client has dialled.
    pub(super) fn new(clock: Instant) -> Self {
        Self {
            clock,
            act: AtomicU8::new(Act::Gather as u8),
            recording: AtomicBool::new(false),
            joined: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// Nanoseconds since time began.
    pub(super) fn now_ns(&self) -> u64 {
        // 2^64 nanoseconds are 584 years.
        self.clock.elapsed().as_nanos() as u64
    }

    /// Changes the act; whoever does it rings the bell.
    pub(super) fn set_act(&self, act: Act) {
        self.act.store(act as u8, Ordering::Release);
    }

    fn act(&self) -> Act {
        match self.act.load(Ordering::Acquire) {
            0 => Act::Gather,
            1 => Act::Play,
            _ => Act::Leave,
        }
    }
}

/// What a thread is told before it starts.
#[derive(Debug)]
pub(super) struct Brief {
    pub(super) target: Arc<Target>,
    pub(super) sources: Arc<Sources>,
    pub(super) shared: Arc<Shared>,
    /// Becomes readable when the act changes. Made before descriptor tables part, so that it exists in all of them.
    pub(super) bell: std::os::unix::net::UnixStream,
    /// Number of the first client.
    pub(super) first: u32,
    /// How many clients there are.
    pub(super) count: u32,
    /// Connects that may be in flight; `None` for all at once.
    pub(super) in_flight_max: Option<usize>,
    /// End connections with a reset, which leaves no `TIME_WAIT` behind.
    pub(super) reset: bool,
}

/// What a thread brings home.
#[derive(Debug)]
pub(super) struct Outcome<C> {
    pub(super) conduct: C,
    /// At most `BENCH_COMPLAINTS_MAX`.
    pub(super) complaints: Vec<Complaint>,
    pub(super) complaints_total: u64,
}

/// The thread's loop and all it owns.
pub(super) struct Worker<C> {
    brief: Brief,
    poll: Poll,
    clients: Vec<Option<Client>>,
    /// The next client to dial.
    next: u32,
    /// Clients that have dialled and not joined.
    pending: usize,
    conduct: C,
    act: Act,
    decoder: Decoder,
    buffer: Vec<u8>,
    out: Vec<u8>,
    request: Vec<u8>,
    outcome_complaints: Vec<Complaint>,
    complaints_total: u64,
    counts: Counts,
}

/// Counted in this turn, added to [`Shared`] at its end.
#[derive(Debug, Default)]
struct Counts {
    joined: u64,
    failed: u64,
    delivered: u64,
    finished: u64,
}

const BELL: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 1024;
/// How long those who did not read look at what became of their connection, and how often.
const LOOK_FOR: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl<C: Conduct> Worker<C> {
    /// Makes the thread's poll; call it in the thread, after its table is its own.
    ///
    /// # Errors
    /// The kernel has no room for a poll.
    pub(super) fn new(brief: Brief, conduct: C) -> Result<Self, BenchError> {
        let poll = Poll::new().map_err(BenchError::io("making a poll"))?;
        let clients = (0..brief.count).map(|_| None).collect();
        Ok(Self {
            poll,
            clients,
            next: 0,
            pending: 0,
            conduct,
            act: Act::Gather,
            decoder: Decoder::default(),
            buffer: vec![0; BENCH_BUFFER_BYTES],
            out: Vec::new(),
            request: Vec::new(),
            outcome_complaints: Vec::new(),
            complaints_total: 0,
            counts: Counts::default(),
            brief,
        })
    }

    /// Runs until the crowd leaves.
    ///
    /// # Errors
    /// The poll failed. What becomes of single clients is no error but a complaint.
    pub(super) fn run(mut self) -> Result<Outcome<C>, BenchError> {
        let bell = self.brief.bell.try_clone().map_err(BenchError::io("taking the bell"))?;
        let mut bell = UnixStream::from_std(bell);
        let registered = self.poll.registry().register(&mut bell, BELL, Interest::READABLE);
        registered.map_err(BenchError::io("watching the bell"))?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        while self.act < Act::Leave {
            self.dial_some();
            match self.poll.poll(&mut events, self.timeout()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(BenchError::io("waiting for events")(error)),
            }
            for event in &events {
                if event.token() != BELL {
                    self.ready(event.token().0 as u32, event);
                }
            }
            self.change_act();
            self.call_due();
            self.add_up();
        }
        self.look_after_slow(&mut events)?;
        self.leave();
        Ok(Outcome {
            conduct: self.conduct,
            complaints: self.outcome_complaints,
            complaints_total: self.complaints_total,
        })
    }

    /// Those who did not read look at what became of their connection. What the server had written before it closed comes
    /// first, as their small buffers make room for it.
    fn look_after_slow(&mut self, events: &mut Events) -> Result<(), BenchError> {
        let slow = |worker: &Self, index: u32| !worker.conduct.reads(worker.brief.first + index);
        let mut looking: Vec<u32> = (0..self.brief.count).filter(|index| slow(self, *index)).collect();
        looking
            .iter()
            .filter_map(|index| self.clients[*index as usize].as_ref())
            .for_each(|client| widen(&client.stream));
        // A pong that nobody asked for (RFC 6455 §5.5.3): with it goes word of the room to a kernel that asks for it ever more
        // rarely, and where the connection is long gone, a reset comes back.
        let mut says = Vec::new();
        put_masked_frame(&mut says, Opcode::Pong, &[], MASK);
        let began = Instant::now();
        while !looking.is_empty() && began.elapsed() < LOOK_FOR {
            looking.retain(|index| {
                let Some(mut client) = self.clients[*index as usize].take() else { return false };
                let looked = self.read_all(*index, &mut client, true);
                match looked.and_then(|()| if says.is_empty() { Ok(()) } else { client.send(&says) }) {
                    Ok(()) => self.clients[*index as usize] = Some(client),
                    Err(end) => self.ended(*index, &client, &end),
                }
                self.clients[*index as usize].is_some()
            });
            says.clear();
            match self.poll.poll(events, Some(LOOK_EVERY)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BenchError::io("waiting for events")(error)),
            }
        }
        Ok(())
    }

    fn leave(&mut self) {
        for index in 0..self.brief.count {
            let Some(client) = self.clients[index as usize].take() else { continue };
            self.look_back(index, &client);
            match self.brief.reset {
                true => drop(client),
                false => client.leave(),
            }
        }
    }

    /// What a client has to say at the end.
    fn look_back(&mut self, index: u32, client: &Client) {
        if client.phase != Phase::Joined {
            self.complain(index, client.source(), awaited(client.phase).to_owned(), "nothing in time".into());
        } else if let Err(mismatch) = self.conduct.leaving(self.brief.first + index, &client.note) {
            self.complain(index, client.source(), mismatch.expected, mismatch.came);
        }
    }

    fn may_dial(&self) -> bool {
        let in_flight_max = self.brief.in_flight_max.unwrap_or(usize::MAX);
        self.next < self.brief.count && self.pending < in_flight_max
    }

    /// How long there is nothing to do. The poll counts in whole milliseconds; what is left of one is spun away, for a
    /// client that came late to its turn would make the server look slow.
    fn timeout(&self) -> Option<Duration> {
        if self.may_dial() {
            return Some(Duration::ZERO);
        }
        let due_ns = self.conduct.due_ns()?;
        let wait = Duration::from_nanos(due_ns.saturating_sub(self.brief.shared.now_ns()));
        Some(Duration::from_millis(wait.as_millis() as u64))
    }

    fn dial_some(&mut self) {
        let mut budget = BENCH_DIAL_BUDGET;
        while budget > 0 && self.may_dial() {
            budget -= 1;
            let index = self.next;
            self.next += 1;
            let reads = self.conduct.reads(self.brief.first + index);
            match dial(&self.brief, self.poll.registry(), Token(index as usize), reads) {
                Ok(stream) => {
                    let now_ns = self.brief.shared.now_ns();
                    self.clients[index as usize] = Some(Client::new(stream, now_ns));
                    self.pending += 1;
                }
                Err(error) => {
                    self.counts.failed += 1;
                    self.complain(index, None, "a connection".into(), error.to_string());
                }
            }
        }
    }

    fn ready(&mut self, index: u32, event: &mio::event::Event) {
        // An event may be older than what became of its client.
        let Some(mut client) = self.clients[index as usize].take() else { return };
        let joined_before = client.phase == Phase::Joined;
        let closing = event.is_read_closed() || event.is_error();
        let result =
            self.step(index, &mut client, event.is_writable(), event.is_readable() || closing, closing);
        let joined_now = client.phase == Phase::Joined;
        if joined_now && !joined_before {
            self.pending -= 1;
            self.counts.joined += 1;
        }
        match result {
            Ok(()) => self.clients[index as usize] = Some(client),
            Err(end) => self.ended(index, &client, &end),
        }
    }

    fn step(
        &mut self,
        index: u32,
        client: &mut Client,
        writable: bool,
        readable: bool,
        closing: bool,
    ) -> Result<(), End> {
        if client.phase == Phase::Connecting {
            self.request.clear();
            self.brief.target.put_request(self.brief.first + index, &mut self.request);
            client.connected(&self.request)?;
        } else if writable {
            client.flush()?;
        }
        if readable {
            self.read_all(index, client, closing)?;
        }
        Ok(())
    }

    /// Reads until nothing is left: the poll reports edges. A read that did not fill its buffer took all there was, and
    /// what comes later is an edge of its own; only the end of the stream may hide behind it.
    fn read_all(&mut self, index: u32, client: &mut Client, closing: bool) -> Result<(), End> {
        if self.act == Act::Play && !self.conduct.reads(self.brief.first + index) {
            return Ok(());
        }
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            let result = self.read_once(index, client, &mut buffer);
            let buffer_bytes = buffer.len();
            self.buffer = buffer;
            match result? {
                None => return Ok(()),
                Some(bytes) if bytes < buffer_bytes && !closing => return Ok(()),
                Some(_) => {}
            }
        }
    }

    fn read_once(
        &mut self,
        index: u32,
        client: &mut Client,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, End> {
        let Some(bytes) = client.read(buffer)? else { return Ok(None) };
        let number = self.brief.first + index;
        let target = Arc::clone(&self.brief.target);
        let subscribe = target.subscribe_text(number);
        let welcome =
            Welcome { subscribe: subscribe.as_deref(), confirmation: target.confirmation.as_deref() };
        let mut stage = Stage {
            number,
            conduct: &mut self.conduct,
            desk: desk(&self.brief.shared, &mut self.out, &mut self.counts),
            decoder: &mut self.decoder,
            open: self.act >= Act::Play,
            mismatch: None,
        };
        let fed = client.feed(&mut buffer[..bytes], welcome, &mut stage);
        let mismatch = stage.mismatch;
        if let Some(mismatch) = mismatch {
            self.complain(index, client.source(), mismatch.expected, mismatch.came);
        }
        if fed.is_err() {
            // A fault is for good in a decoder, and the others share this one.
            self.decoder = Decoder::default();
        }
        self.send_out(client)?;
        fed.map(|()| Some(bytes))
    }

    fn send_out(&mut self, client: &mut Client) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = client.send(&self.out);
        self.out.clear();
        sent
    }

    fn change_act(&mut self) {
        let act = self.brief.shared.act();
        if act == self.act {
            return;
        }
        self.act = act;
        match act {
            Act::Gather | Act::Leave => {}
            Act::Play => (0..self.brief.count).for_each(|index| self.give_turn(index, C::open)),
        }
    }

    /// Each has one turn at most until it has its answers, so this ends.
    fn call_due(&mut self) {
        while let Some(number) = self.conduct.take_due(self.brief.shared.now_ns()) {
            self.give_turn(number - self.brief.first, C::turn);
        }
    }

    fn give_turn(&mut self, index: u32, turn: impl FnOnce(&mut C, u32, &mut Note, &mut Desk<'_>)) {
        let Some(mut client) = self.clients[index as usize].take() else { return };
        let mut result = Ok(());
        if client.phase == Phase::Joined {
            let mut desk = desk(&self.brief.shared, &mut self.out, &mut self.counts);
            turn(&mut self.conduct, self.brief.first + index, &mut client.note, &mut desk);
            result = self.send_out(&mut client);
        }
        match result {
            Ok(()) => self.clients[index as usize] = Some(client),
            Err(end) => self.ended(index, &client, &end),
        }
    }

    fn ended(&mut self, index: u32, client: &Client, end: &End) {
        self.out.clear();
        if client.phase == Phase::Joined {
            let mut note: Note = client.note;
            let mut desk = desk(&self.brief.shared, &mut self.out, &mut self.counts);
            if self.conduct.lost(self.brief.first + index, &mut note, end, &mut desk) {
                return;
            }
        } else {
            self.pending -= 1;
        }
        self.counts.failed += 1;
        self.complain(index, client.source(), awaited(client.phase).to_owned(), end.to_string());
    }

    fn complain(&mut self, index: u32, source: Option<SocketAddr>, expected: String, came: String) {
        self.complaints_total += 1;
        if self.outcome_complaints.len() < BENCH_COMPLAINTS_MAX {
            let connection = self.brief.first + index;
            self.outcome_complaints.push(Complaint { connection, source, expected, came });
        }
    }

    fn add_up(&mut self) {
        let Counts { joined, failed, delivered, finished } = std::mem::take(&mut self.counts);
        let shared = &self.brief.shared;
        for (total, more) in [
            (&shared.joined, joined),
            (&shared.failed, failed),
            (&shared.delivered, delivered),
            (&shared.finished, finished),
        ] {
            if more > 0 {
                total.fetch_add(more, Ordering::Release);
            }
        }
    }
}

fn awaited(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "a connection",
        Phase::Upgrading => "HTTP/1.1 101 and the accept key",
        Phase::Awaiting => "a message that confirms the subscription",
        Phase::Joined => "an open connection",
    }
}

fn desk<'a>(shared: &Shared, out: &'a mut Vec<u8>, counts: &'a mut Counts) -> Desk<'a> {
    Desk {
        now_ns: shared.now_ns(),
        recording: shared.recording.load(Ordering::Relaxed),
        out,
        delivered: &mut counts.delivered,
        finished: &mut counts.finished,
    }
}
