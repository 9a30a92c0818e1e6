//! A listener and clients without a kernel, for the tests of this folder. Must never be part of a build.

use super::acceptor::Accept;
use super::sharing::Queue;
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::hub::names::Names;
use crate::shard::{Settings, Shard};
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

/// A while after the start of the node.
pub(super) const START: Now = Now { mono_ms: 3_600_000, wall_ms: 0 };

/// The moment so many milliseconds later.
pub(super) fn later(now: Now, ms: u64) -> Now {
    Now { mono_ms: now.mono_ms + ms, ..now }
}

/// A client as it sees itself.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) sends: RefCell<VecDeque<u8>>,
    pub(super) hung_up: Cell<bool>,
    pub(super) got: RefCell<Vec<u8>>,
    /// The node ended its side.
    pub(super) ended: Cell<bool>,
    /// The node closed.
    pub(super) closed: Cell<bool>,
}

impl Client {
    /// What it got since it was asked last.
    pub(super) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.got.take()).into_owned()
    }

    /// Whether it was told in full that there is no room.
    pub(super) fn is_refused(&self) -> bool {
        let got = self.heard();
        let whole =
            got.starts_with("HTTP/1.1 503 ") && got.contains("\r\nRetry-After: 1\r\n") && got.ends_with("}}");
        whole && self.ended.get()
    }
}

/// The node's end of a client. Closes like a socket.
#[derive(Debug)]
pub(super) struct FakeStream(pub(super) Rc<Client>);

impl PartialEq for FakeStream {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.0.closed.set(true);
    }
}

impl Socket for FakeStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut sends = self.0.sends.borrow_mut();
        let count = into.len().min(sends.len());
        into.iter_mut().zip(sends.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        if count == 0 && !self.0.hung_up.get() { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.got.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        chunks.iter().map(|chunk| self.write(chunk)).sum()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.ended.set(true);
        Ok(())
    }
}

/// A listener whose every answer was written down before.
#[derive(Debug, Default)]
pub(super) struct Script {
    answers: RefCell<VecDeque<Result<Rc<Client>, Errno>>>,
    /// How often it was asked.
    pub(super) asked: Cell<usize>,
}

impl Script {
    /// The next call fails.
    pub(super) fn fails(&self, errno: Errno) {
        self.answers.borrow_mut().push_back(Err(errno));
    }

    /// The next call accepts this client.
    pub(super) fn knocks(&self) -> Rc<Client> {
        let client = Rc::new(Client::default());
        self.answers.borrow_mut().push_back(Ok(client.clone()));
        client
    }
}

impl Accept for Rc<Script> {
    type Stream = FakeStream;

    fn accept(&self) -> io::Result<FakeStream> {
        self.asked.set(self.asked.get() + 1);
        let answer = self.answers.borrow_mut().pop_front().unwrap_or(Err(Errno::AGAIN));
        answer.map(FakeStream).map_err(io::Error::from)
    }
}

impl Queue for Rc<Script> {
    fn has_someone(&self) -> bool {
        self.answers.borrow().front().is_some_and(Result::is_ok)
    }
}

/// A shard with nobody in it.
pub(super) fn shard() -> Shard<FakeStream> {
    Shard::new(Settings::new(0, 1, Names::new(1)))
}

/// Likewise, with room for so many.
pub(super) fn shard_for(conns_max: usize) -> Shard<FakeStream> {
    let mut settings = Settings::new(0, 1, Names::new(1));
    settings.limits.conns_per_shard_max = conns_max;
    Shard::new(settings)
}
