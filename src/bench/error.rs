//! What can go wrong in a run, in words that name the connection, what was expected and what came. Knows no profile.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a run could not be measured. A server that behaves badly while it is measured is a [`Complaint`] instead.
#[derive(Debug)]
pub enum BenchError {
    /// An option, an address or a budget that makes no sense; says which and why.
    Usage(String),
    /// The kernel refused something.
    Io {
        /// What was attempted.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The publish call was not answered as it should be.
    Publish(String),
    /// Too few clients got as far as the measurement.
    Gathering {
        /// Clients that were to join.
        expected: u64,
        /// Clients that joined.
        joined: u64,
        /// The first things that went wrong.
        complaints: Vec<Complaint>,
    },
}

impl BenchError {
    /// Wraps what the kernel said with what was attempted.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::Publish(message) => write!(f, "publish: {message}"),
            Self::Gathering { expected, joined, complaints } => {
                write!(f, "{joined} of {expected} clients joined")?;
                complaints.iter().try_for_each(|complaint| write!(f, "\n  {complaint}"))
            }
        }
    }
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Usage(_) | Self::Publish(_) | Self::Gathering { .. } => None,
        }
    }
}

/// What one connection expected and what came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Number of the connection in its run, from 0.
    pub connection: u32,
    /// Its own address, if it had one: what the server calls its peer.
    pub source: Option<SocketAddr>,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub came: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.connection)?;
        if let Some(source) = self.source {
            write!(f, " ({source})")?;
        }
        write!(f, ": expected {}, came {}", self.expected, self.came)
    }
}

/// At most `chars_max` characters of what came, quoted, so that a complaint stays on one line.
pub(super) fn excerpt(bytes: &[u8], chars_max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let short: String = text.chars().take(chars_max).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_the_connection_the_expectation_and_what_came() {
        let complaint = Complaint {
            connection: 17,
            source: Some(([127, 1, 0, 1], 10_017).into()),
            expected: "message 4".into(),
            came: "message 6".into(),
        };
        assert_eq!(
            complaint.to_string(),
            "connection 17 (127.1.0.1:10017): expected message 4, came message 6"
        );
    }

    #[test]
    fn an_excerpt_is_one_quoted_line_of_bounded_length() {
        assert_eq!(excerpt(b"HTTP/1.1 404\r\nX", 12), "\"HTTP/1.1 404\"…");
        assert_eq!(excerpt(b"a\r\n\xff", 10), "\"a\\r\\n\u{fffd}\"");
    }
}
