//! A byte stream between a shard and a client, with the readiness of an edge-triggered poll: an event only where
//! something changed after the shard was told that there was nothing.

use crate::faults::Faults;
use fastrand::Rng;
use roost::conn::socket::Socket;
use roost::shard::Readiness;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

/// Both directions.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) to_server: VecDeque<u8>,
    pub(crate) to_client: VecDeque<u8>,
    pub(crate) client_fin: bool,
    pub(crate) server_fin: bool,
    pub(crate) reset: bool,
    /// The shard dropped its end.
    pub(crate) server_gone: bool,
    /// What the poll would report.
    pub(crate) event: Readiness,
    /// A write found no room: an event is due once there is some.
    wants_room: bool,
    faults: Faults,
    rng: Rng,
}

pub(crate) type SharedWire = Rc<RefCell<Wire>>;

impl Wire {
    pub(crate) fn new(faults: Faults, rng: Rng) -> SharedWire {
        Rc::new(RefCell::new(Self {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            client_fin: false,
            server_fin: false,
            reset: false,
            server_gone: false,
            event: Readiness { writable: true, ..Readiness::default() },
            wants_room: false,
            faults,
            rng,
        }))
    }

    pub(crate) fn calm(&mut self) {
        self.faults = Faults::none();
        self.note_room();
    }

    /// Bytes from the client arrive.
    pub(crate) fn send(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.to_server.extend(bytes);
        self.event.readable = true;
    }

    pub(crate) fn send_fin(&mut self) {
        self.client_fin = true;
        (self.event.readable, self.event.read_closed) = (true, true);
    }

    pub(crate) fn send_reset(&mut self) {
        self.reset = true;
        self.event = Readiness { readable: true, writable: true, read_closed: true };
    }

    /// The client has read: there may be room again.
    pub(crate) fn note_room(&mut self) {
        if self.wants_room && self.to_client.len() < self.faults.window {
            self.wants_room = false;
            self.event.writable = true;
        }
    }

    fn chance(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.rng.f64() < rate
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.to_server.is_empty() {
            return if self.client_fin { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        if self.chance(self.faults.would_block) {
            self.event.readable = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = if self.chance(self.faults.single_byte) { 1 } else { into.len() };
        let count = most.min(self.to_server.len()).min(into.len());
        into.iter_mut().zip(self.to_server.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        // A short read said that there was no more: the rest has only just arrived.
        self.event.readable |= count < into.len() && !self.to_server.is_empty();
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.reset || self.server_fin {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = self.faults.window.saturating_sub(self.to_client.len());
        if room == 0 || self.chance(self.faults.would_block) {
            self.wants_room = true;
            self.note_room();
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = if self.chance(self.faults.single_byte) { 1 } else { room };
        let count = most.min(bytes.len());
        self.to_client.extend(&bytes[..count]);
        if count < bytes.len() {
            self.wants_room = true;
            self.note_room();
        }
        Ok(count)
    }
}

/// A shard's end.
#[derive(Debug)]
pub(crate) struct SimSocket(pub(crate) SharedWire);

impl Socket for SimSocket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        self.0.borrow_mut().write(&joined)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        if wire.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        wire.server_fin = true;
        Ok(())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.0.borrow_mut().server_gone = true;
    }
}

/// A client's end, for tungstenite.
#[derive(Debug)]
pub(crate) struct ClientEnd {
    pub(crate) wire: SharedWire,
    /// What the client wants to send; the world passes it on, piece by piece.
    pub(crate) outbox: Rc<RefCell<VecDeque<u8>>>,
}

impl io::Read for ClientEnd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        if wire.to_client.is_empty() {
            let over = wire.server_fin || wire.server_gone || wire.reset;
            return if over { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = into.len().min(wire.to_client.len());
        into.iter_mut().zip(wire.to_client.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        wire.note_room();
        Ok(count)
    }
}

impl io::Write for ClientEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
