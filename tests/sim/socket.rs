//! A byte stream between a shard and a client, with the readiness of an edge-triggered poll: an event only when bytes
//! arrive, an end arrives, or room appears that a write had missed. Never one more, unless the world asks for it.
//!
//! ```text
//!    client ── flight ──▶ (network) ── up ──▶ shard          an end travels behind the bytes
//!    client ◀── down ─────────────────────── shard          at most `window` bytes wait in it
//! ```
//! A read that returns less than it could, or nothing, says that the rest had not arrived yet: an event for it is due.

use crate::faults::SocketFaults;
use fastrand::Rng;
use roost::conn::socket::Socket;
use roost::shard::Readiness;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

/// Both directions.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Sent by the client, not arrived.
    flight: VecDeque<u8>,
    /// Arrived, not read by the shard.
    up: VecDeque<u8>,
    /// Written by the shard, not read by the client.
    pub(crate) down: VecDeque<u8>,
    pub(crate) window: usize,
    /// The client ended its side; the end arrives behind the last byte of `flight`.
    fin_sent: bool,
    fin_arrived: bool,
    /// The client's machine is gone.
    reset: bool,
    /// The client closed both sides: what still comes is answered with a reset.
    client_closed: bool,
    /// The shard ended its side.
    server_fin: bool,
    /// The shard dropped its socket.
    pub(crate) server_gone: bool,
    /// Bytes to the client were lost when the shard dropped a socket that had unread bytes.
    pub(crate) lost: bool,
    /// The poll has something to report.
    edge: bool,
    /// A read came back with less than there was: an event is due.
    missed_bytes: bool,
    /// A write found no room: an event is due once there is some.
    missed_room: bool,
    /// A write ever took less than everything.
    pub(crate) ever_blocked: bool,
    /// When the shard last read a byte, or the connection began.
    heard_ms: u64,
    /// The longest that the shard had heard nothing when it read or wrote.
    pub(crate) silence_ms: u64,
    /// When the shard first wrote, or tried to, since it last read a byte.
    spoke_ms: Option<u64>,
    /// How long the shard had neither heard nor said anything when it ended its side.
    pub(crate) quiet_ms: u64,
    clock: Rc<Cell<u64>>,
    faults: SocketFaults,
    rng: Rng,
}

pub(crate) type SharedPipe = Rc<RefCell<Pipe>>;

impl Pipe {
    pub(crate) fn new(faults: SocketFaults, window: usize, clock: Rc<Cell<u64>>, rng: Rng) -> SharedPipe {
        Rc::new(RefCell::new(Self {
            flight: VecDeque::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            window,
            fin_sent: false,
            fin_arrived: false,
            reset: false,
            client_closed: false,
            server_fin: false,
            server_gone: false,
            lost: false,
            // Whoever registers a socket is told how it stands.
            edge: true,
            missed_bytes: false,
            missed_room: false,
            ever_blocked: false,
            heard_ms: clock.get(),
            silence_ms: 0,
            spoke_ms: None,
            quiet_ms: 0,
            clock,
            faults,
            rng,
        }))
    }

    /// No more faults, and a window that is not the narrowest.
    pub(crate) fn calm(&mut self) {
        self.faults = SocketFaults::default();
        self.window = self.window.max(CALM_WINDOW);
    }

    // The client's side.

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if !self.fin_sent && !self.reset {
            self.flight.extend(bytes);
        }
    }

    pub(crate) fn end(&mut self) {
        self.fin_sent = true;
    }

    /// Ends both sides and listens no more.
    pub(crate) fn close(&mut self) {
        self.fin_sent = true;
        self.client_closed = true;
        self.down.clear();
    }

    /// Whether everything that the shard wanted to say was taken at once, and nothing lost.
    pub(crate) fn took_all(&self) -> bool {
        !self.ever_blocked && !self.lost && !self.reset && !self.client_closed
    }

    pub(crate) fn reset(&mut self) {
        self.reset = true;
        self.edge = true;
        self.flight.clear();
        self.down.clear();
    }

    /// When the shard last read a byte.
    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// How long the shard took from the last byte that it read to the first that it wrote then.
    pub(crate) fn held_ms(&self) -> u64 {
        self.spoke_ms.map_or(0, |spoke_ms| spoke_ms - self.heard_ms)
    }

    /// Everything that the client has sent was read by the shard, which is silent since.
    pub(crate) fn is_heard_and_unanswered(&self) -> bool {
        let heard = self.flight.is_empty() && self.up.is_empty() && !self.fin_sent && !self.reset;
        heard && self.spoke_ms.is_none() && self.down.is_empty() && !self.server_fin && !self.server_gone
    }

    /// Reads up to `most` bytes.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.down.len());
        self.down.drain(..count).collect()
    }

    /// Nothing more will come from the shard.
    pub(crate) fn is_over(&self) -> bool {
        self.down.is_empty() && (self.server_fin || self.server_gone || self.reset)
    }

    // The network.

    /// Up to `most` bytes from the client arrive, and its end behind the last.
    pub(crate) fn arrive(&mut self, most: usize) -> bool {
        let count = most.min(self.flight.len());
        self.up.extend(self.flight.drain(..count));
        let ends = self.flight.is_empty() && self.fin_sent && !self.fin_arrived;
        self.fin_arrived |= ends;
        let any = count > 0 || ends;
        self.edge |= any;
        any
    }

    /// What a call missed is there now.
    pub(crate) fn catch_up(&mut self) -> bool {
        let room = self.missed_room && self.down.len() < self.window;
        let any = self.missed_bytes || room;
        self.edge |= any;
        self.missed_bytes = false;
        self.missed_room &= !room;
        any
    }

    // The poll.

    pub(crate) fn has_event(&self) -> bool {
        self.edge && !self.server_gone
    }

    /// Takes the event: as epoll does, it tells how the socket stands now, not what changed.
    pub(crate) fn take_event(&mut self) -> Readiness {
        self.edge = false;
        Readiness {
            readable: !self.up.is_empty() || self.fin_arrived || self.reset,
            writable: self.down.len() < self.window || self.reset,
            read_closed: self.fin_arrived || self.reset,
        }
    }

    // The shard's side.

    fn note_end(&mut self) {
        if !self.server_fin && !self.server_gone {
            self.quiet_ms = self.clock.get() - self.spoke_ms.unwrap_or(self.heard_ms);
        }
    }

    fn note_time(&mut self) {
        self.silence_ms = self.silence_ms.max(self.clock.get() - self.heard_ms);
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.faults.interrupted.hit(&mut self.rng) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.up.is_empty() {
            return if self.fin_arrived { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        if self.faults.would_block.hit(&mut self.rng) {
            self.missed_bytes = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut count = into.len().min(self.up.len());
        if self.faults.short.hit(&mut self.rng) {
            count = self.rng.usize(1..=count);
        }
        into.iter_mut().zip(self.up.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        self.missed_bytes |= count < into.len() && !self.up.is_empty();
        self.note_time();
        (self.heard_ms, self.spoke_ms) = (self.clock.get(), None);
        Ok(count)
    }

    fn write(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(!self.server_fin, "a write behind the shard's own end");
        if self.faults.interrupted.hit(&mut self.rng) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let wanted: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        assert!(wanted > 0, "a write of nothing");
        self.note_time();
        self.spoke_ms.get_or_insert(self.clock.get());
        if self.client_closed {
            // The kernel takes it, and the peer's kernel answers with a reset.
            self.reset();
            return Ok(wanted);
        }
        let mut count = wanted.min(self.window.saturating_sub(self.down.len()));
        if count == 0 || self.faults.would_block.hit(&mut self.rng) {
            count = 0;
        } else if self.faults.short.hit(&mut self.rng) {
            count = self.rng.usize(1..=count);
        }
        self.down.extend(chunks.iter().flat_map(|chunk| chunk.iter()).take(count));
        if count < wanted {
            (self.missed_room, self.ever_blocked) = (true, true);
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

/// A shard's end.
#[derive(Debug)]
pub(crate) struct SimSocket(pub(crate) SharedPipe);

impl Socket for SimSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.borrow_mut().write(chunks)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut pipe = self.0.borrow_mut();
        if pipe.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        pipe.note_end();
        pipe.server_fin = true;
        Ok(())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        pipe.note_end();
        pipe.server_gone = true;
        // Closing with unread bytes makes the kernel send a reset, which overtakes what the client has not read.
        if !pipe.up.is_empty() && !pipe.down.is_empty() {
            pipe.lost = true;
            pipe.down.clear();
        }
    }
}

/// Byte by byte a calm world takes very long, and shows nothing that an unkind one does not.
const CALM_WINDOW: usize = 60;
