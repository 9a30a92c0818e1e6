//! Words to the user: results to standard output, the rest to standard error. Must never know what they are about.

use std::io::{self, ErrorKind, Write};

use super::Failure;

/// Whether anybody still reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// It was written.
    Listens,
    /// The other end of the pipe is closed, as `head` does when it has enough: no failure, but time to stop.
    Gone,
}

/// Writes a result to standard output at once.
pub(super) fn print(text: &str) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::Refused(format!("standard output: {error}"))),
    }
}

/// Writes `text` to standard error, each line after its `kind`.
pub(super) fn complain(kind: &str, text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        // Where standard error is closed nobody can be told that it is.
        drop(writeln!(err, "{kind}: {line}"));
    }
}
