//! Signals as bytes on a socket, so that one poll hears them too. Must never do anything within a handler: the
//! handler only writes a byte (signal-safety(7)).

use mio::net::UnixStream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, Read};

/// Becomes readable when the process was told something.
#[derive(Debug)]
pub struct Signals(UnixStream);

impl Signals {
    /// Catches what asks the process to end, SIGTERM and SIGINT, from now on.
    ///
    /// # Errors
    /// When there is no descriptor for the socket pair.
    pub fn catch_ends() -> io::Result<Self> {
        Self::catch(&[SIGTERM, SIGINT])
    }

    /// Catches what asks it to read its configuration anew, SIGHUP, from now on.
    ///
    /// # Errors
    /// When there is no descriptor for the socket pair.
    pub fn catch_reloads() -> io::Result<Self> {
        Self::catch(&[SIGHUP])
    }

    fn catch(signals: &[i32]) -> io::Result<Self> {
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        for signal in signals {
            pipe::register(*signal, writer.try_clone()?)?;
        }
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
