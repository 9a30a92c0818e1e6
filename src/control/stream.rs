//! The API's sockets: TCP or Unix, one face. Must never know HTTP.

use crate::conn::socket::Socket;
use crate::reactor::acceptor::Accept;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where the API listens.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP address.
    Tcp(TcpListener),
    /// On a Unix socket; at this path it is ours, and taken away again.
    Unix(UnixListener, Option<PathBuf>),
}

/// One connection to the API.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Listener {
    /// Listens on a Unix socket. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when somebody does, or when the path is not a socket.
    pub fn unix(path: &Path) -> io::Result<Self> {
        if let Ok(found) = fs::symlink_metadata(path) {
            let in_use = std::os::unix::net::UnixStream::connect(path).is_ok();
            if in_use || !found.file_type().is_socket() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?;
        }
        Ok(Self::Unix(UnixListener::bind(path)?, Some(path.to_owned())))
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener, _) => listener,
        }
    }

    /// Watches for clients.
    ///
    /// # Errors
    /// When the poll refuses.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }
}

impl Accept for Listener {
    type Stream = Stream;

    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener, _) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, Some(path)) = self {
            // It is ours; a file that somebody took away already is gone as well.
            let _ = fs::remove_file(path);
        }
    }
}

impl Stream {
    /// Watches for bytes and for room, once and for all.
    ///
    /// # Errors
    /// When the poll refuses.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let source: &mut dyn Source = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        };
        source.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// The kernel takes no more than a little at a time from now on, so that a client that does not read is known for it before
    /// megabytes wait for it. Over a Unix socket it never takes much more.
    pub fn keep_little(&self) {
        if let Self::Tcp(stream) = self {
            // A kernel that refuses holds a few events more.
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES);
        }
    }
}

impl Socket for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Read::read(stream, into),
            Self::Unix(stream) => Read::read(stream, into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Write::write(stream, bytes),
            Self::Unix(stream) => Write::write(stream, bytes),
        }
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Write::write_vectored(stream, chunks),
            Self::Unix(stream) => Write::write_vectored(stream, chunks),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// Unsent bytes that the kernel takes of a stream of events: a few of them.
const NOTSENT_LOWAT_BYTES: u32 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_left_behind_is_replaced_but_nothing_else_is() {
        let path = std::env::temp_dir().join(format!("roost-api-{}.sock", std::process::id()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let listener = Listener::unix(&path).unwrap();
        assert_eq!(Listener::unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        fs::write(&path, "precious").unwrap();
        assert_eq!(Listener::unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        fs::remove_file(&path).unwrap();
    }
}
