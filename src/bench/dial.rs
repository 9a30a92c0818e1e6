//! How a client's connect begins: its source, its socket options, and its place in the thread's poll. Must never know what
//! is said afterwards.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::worker::Brief;
use crate::limits::{BENCH_BUFFER_BYTES, BENCH_PORT_TRIES};

/// Begins a connect from the next source that is free, or from wherever the kernel likes where none are planned. A client
/// that never `reads` gets a small receive buffer.
///
/// # Errors
/// No source is left, or what the kernel refused.
pub(super) fn dial(
    brief: &Brief,
    registry: &mio::Registry,
    token: Token,
    reads: bool,
) -> io::Result<TcpStream> {
    let address = brief.target.address;
    let planned = brief.target.bind_sources;
    let socket = if planned { dial_planned(brief)? } else { dial_from(brief, None)? };
    if !reads {
        // Nobody reads: what the server believes to be on its way should not lie about here by the megabyte.
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    let mut stream = TcpStream::from_std(socket.into());
    registry
        .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
        .map(|()| stream)
        .map_err(|error| io::Error::new(error.kind(), format!("watching a connection to {address}: {error}")))
}

/// A client that did not read begins to: what the server still holds for it comes in at once, and not by the handful that a
/// small window lets through.
pub(super) fn widen(stream: &TcpStream) {
    // Where the kernel refuses, it only takes longer.
    let _ = SockRef::from(stream).set_recv_buffer_size(BENCH_BUFFER_BYTES);
}

fn dial_planned(brief: &Brief) -> io::Result<Socket> {
    let mut last = io::Error::other("no source address and port is left: name more with --source or --ports");
    for _ in 0..BENCH_PORT_TRIES {
        let Some(source) = brief.sources.next() else { return Err(last) };
        match dial_from(brief, Some(source)) {
            Ok(stream) => return Ok(stream),
            // Someone else has this one.
            Err(error) if is_taken(&error) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

fn dial_from(brief: &Brief, source: Option<SocketAddrV4>) -> io::Result<Socket> {
    let address = brief.target.address;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if brief.reset {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    if let Some(source) = source {
        // A port whose last connection waits in TIME_WAIT may be taken again, towards a server that no longer knows it.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::V4(source).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Receive buffer of a client that does not read.
const SLOW_BUFFER_BYTES: usize = 16 * 1024;

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
