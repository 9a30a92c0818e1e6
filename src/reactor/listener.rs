//! Accepts within a budget, and refuses in a designed way when there is no room. Must never spin or stop listening
//! because a descriptor is missing.

use crate::clock::Now;
use crate::limits::ACCEPT_BUDGET;
use crate::proto::answer::put_refusal;
use crate::proto::http::Refusal;
use crate::shard::Shard;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

/// One shard's listener.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    /// Given up for a moment to accept and refuse a client when there is no other descriptor.
    reserve: Option<File>,
    /// Clients may be waiting that the poll will not mention again: it is edge-triggered.
    more: bool,
    /// Not before this moment, in milliseconds since the node started: out of descriptors.
    paused_until_ms: u64,
    /// When the last line about missing descriptors was logged.
    logged_ms: u64,
}

impl Listener {
    /// Listens for a shard.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub fn new(tcp: std::net::TcpListener, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut tcp = TcpListener::from_std(tcp);
        registry.register(&mut tcp, token, Interest::READABLE)?;
        Ok(Self { tcp, reserve: None, more: true, paused_until_ms: 0, logged_ms: 0 })
    }

    /// Takes the reserved descriptor, in the table of the thread that accepts.
    pub fn open_reserve(&mut self) {
        self.reserve = File::open("/dev/null").ok();
    }

    /// The poll says that someone is waiting.
    pub fn ready(&mut self) {
        self.more = true;
    }

    /// When it wants to accept again, in milliseconds since the node started.
    #[must_use]
    pub fn due_ms(&self, now: Now) -> Option<u64> {
        self.more.then(|| self.paused_until_ms.max(now.mono_ms))
    }

    /// Accepts until nobody waits or the budget is used up. The node has `room` for so many more.
    pub fn accept(&mut self, now: Now, shard: &mut Shard<TcpStream>, registry: &Registry, mut room: usize) {
        if !self.more || now.mono_ms < self.paused_until_ms {
            return;
        }
        for _ in 0..ACCEPT_BUDGET {
            match self.tcp.accept() {
                Ok((stream, _)) if room > 0 => {
                    room -= 1;
                    take(now, stream, shard, registry);
                }
                Ok((stream, _)) => {
                    shard.accept_failed();
                    turn_away(stream);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.more = false;
                        return;
                    }
                    // The client went away while it waited (accept(2)).
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return self.no_room(now, shard, &error),
                },
            }
        }
    }

    /// Accepts whoever waits with the reserved descriptor, to say so, then pauses.
    fn no_room(&mut self, now: Now, shard: &mut Shard<TcpStream>, error: &io::Error) {
        shard.accept_failed();
        if now.mono_ms >= self.logged_ms + LOG_PAUSE_MS {
            self.logged_ms = now.mono_ms;
            tracing::warn!(%error, "cannot accept: newcomers get 503");
        }
        let missing =
            Errno::from_io_error(error).is_some_and(|errno| errno == Errno::MFILE || errno == Errno::NFILE);
        if missing && self.reserve.take().is_some() {
            if let Ok((stream, _)) = self.tcp.accept() {
                turn_away(stream);
            }
            self.open_reserve();
        }
        self.paused_until_ms = now.mono_ms + ACCEPT_PAUSE_MS;
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn take(now: Now, stream: TcpStream, shard: &mut Shard<TcpStream>, registry: &Registry) {
    let token = match shard.insert(now, stream) {
        Ok(token) => token,
        Err(stream) => return turn_away(stream),
    };
    let Some(socket) = shard.socket_mut(token) else { return };
    // Once and for all: edges tell of room as well as of bytes.
    let interest = Interest::READABLE | Interest::WRITABLE;
    if let Err(error) = registry.register(socket, Token(token.to_usize()), interest) {
        tracing::warn!(%error, "a connection could not be registered");
        shard.abandon(token);
    }
}

/// Says that there is no room, as well as it can be said without keeping the client.
fn turn_away(mut stream: TcpStream) {
    let mut answer = Vec::new();
    put_refusal(&mut answer, &Refusal::unavailable());
    // Whatever fails here, the client is gone already.
    let _ = stream.write_all(&answer);
    let _ = stream.shutdown(Shutdown::Write);
    // A request left unread would turn the close into a reset, which may overtake the answer.
    let _ = stream.read(&mut [0; 8192]);
}

/// One line a second about missing descriptors is enough.
const LOG_PAUSE_MS: u64 = 1000;
/// How long nobody is accepted once there is no descriptor.
const ACCEPT_PAUSE_MS: u64 = 50;
