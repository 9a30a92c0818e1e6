//! The kernel's TCP socket, as a shard sees it. Thin: mio and std do the work.

use crate::conn::socket::{Socket, Traffic};
use crate::sys::tcp_info::tcp_info;
use mio::net::TcpStream;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

impl Socket for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(self, chunks)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// An IPv4 client of an IPv6 listener has the address that it knows itself by.
    fn peer(&self) -> Option<SocketAddr> {
        let address = self.peer_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    fn traffic(&self) -> Option<Traffic> {
        let info = tcp_info(self).ok()?;
        Some(Traffic {
            sent_bytes: info.acked_bytes,
            received_bytes: info.received_bytes,
            rtt_us: info.rtt_us,
        })
    }
}
