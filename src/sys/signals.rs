//! Signals as bytes on a socket, so that one poll hears them too. Must never do anything within a handler: the
//! handler only writes a byte (signal-safety(7)).

use mio::net::UnixStream;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, Read};

/// Becomes readable when the process is asked to end.
#[derive(Debug)]
pub struct Signals(UnixStream);

impl Signals {
    /// Catches SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// When there is no descriptor for the socket pair.
    pub fn catch() -> io::Result<Self> {
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        pipe::register(SIGTERM, writer.try_clone()?)?;
        pipe::register(SIGINT, writer)?;
        Ok(Self(UnixStream::from_std(reader)))
    }

    /// The socket to register with a poll.
    pub fn source(&mut self) -> &mut UnixStream {
        &mut self.0
    }

    /// How many signals came since the last call.
    pub fn count(&mut self) -> usize {
        let mut bytes = [0; 16];
        let mut count = 0;
        while let Ok(read @ 1..) = self.0.read(&mut bytes) {
            count += read;
        }
        count
    }
}
