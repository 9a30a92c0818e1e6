//! The one thing a shard asks of the outside: a non-blocking byte stream. The reactor gives it TCP, the simulation
//! gives it faults. Must never know which.

use std::io;
use std::net::SocketAddr;

/// A non-blocking stream. Every call may fail with [`io::ErrorKind::WouldBlock`]: wait for readiness.
pub trait Socket {
    /// Reads what is there into `into`; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; anything else ends the connection.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of `bytes` as fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; anything else ends the connection.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes as much of `chunks`, in order, as fits.
    ///
    /// # Errors
    /// As [`Socket::write`].
    fn write_vectored(&mut self, chunks: &[io::IoSlice<'_>]) -> io::Result<usize>;

    /// Ends our side of the stream after what was written; the peer may go on sending.
    ///
    /// # Errors
    /// When the peer is gone already.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Where the peer is. None where it is gone already, or the stream has no address.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    /// What went through the stream so far. None where nobody counts.
    fn traffic(&self) -> Option<Traffic> {
        None
    }
}

/// What went through a stream, as whoever carries it counted: a connection itself has no room for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the peer is known to have got.
    pub sent_bytes: u64,
    /// Bytes that came from it.
    pub received_bytes: u64,
    /// How long a byte and the word that it has come are on their way together, in microseconds.
    pub rtt_us: u32,
}
