//! One HTTP/1.1 call to a node's API over TCP or a Unix socket, answered with a length or ended by the close.
//! Must never know what is called.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Deserialize;

use crate::config::ApiAddr;
use crate::limits::{ANSWER_BYTES_MAX, CLIENT_TIMEOUT_MS, HEAD_BYTES_MAX, HEAD_HEADERS_MAX};

/// What a node answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// The body, of at most [`ANSWER_BYTES_MAX`] bytes.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum HttpError {
    /// No connection came about.
    Connect(io::Error),
    /// The connection broke or went silent before the answer was complete.
    Broken(io::Error),
    /// What came is not an answer in HTTP/1.1.
    Malformed,
    /// The answer uses a transfer coding, which a node never does.
    Coded,
    /// The head is larger than [`HEAD_BYTES_MAX`] or the body than [`ANSWER_BYTES_MAX`].
    TooLarge,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}; does a node run there?"),
            Self::Broken(error) => write!(f, "no complete answer: {error}"),
            Self::Malformed => f.write_str("the answer is not HTTP/1.1; is this the API listener?"),
            Self::Coded => f.write_str("the answer uses a transfer coding; is this the API listener?"),
            Self::TooLarge => f.write_str("the answer is too large"),
        }
    }
}

impl Answer {
    /// Why the node refused, in its own words if it gave any.
    pub(super) fn reason(&self) -> String {
        match serde_json::from_slice::<Refusal>(&self.body) {
            Ok(refusal) => format!("{}: {}", refusal.error.code, refusal.error.message),
            Err(_) => format!("the node answered {} without a reason", self.status),
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    message: String,
}

/// Gets `path` from the API at `api`.
pub(super) fn get(api: &ApiAddr, path: &str) -> Result<Answer, HttpError> {
    call(api, &format!("GET {path}"), "", &[])
}

/// As [`get`], to delete.
pub(super) fn delete(api: &ApiAddr, path: &str) -> Result<Answer, HttpError> {
    call(api, &format!("DELETE {path}"), "", &[])
}

/// Posts `body` to `path` of the API at `api`.
pub(super) fn post(api: &ApiAddr, path: &str, content_type: &str, body: &[u8]) -> Result<Answer, HttpError> {
    let headers = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    call(api, &format!("POST {path}"), &headers, body)
}

fn call(api: &ApiAddr, target: &str, headers: &str, body: &[u8]) -> Result<Answer, HttpError> {
    let timeout = Duration::from_millis(CLIENT_TIMEOUT_MS);
    let head =
        |host: &str| format!("{target} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    match api {
        ApiAddr::Tcp(addr) => {
            let stream = TcpStream::connect_timeout(addr, timeout).map_err(HttpError::Connect)?;
            stream.set_read_timeout(Some(timeout)).map_err(HttpError::Connect)?;
            stream.set_write_timeout(Some(timeout)).map_err(HttpError::Connect)?;
            exchange(stream, &head(&addr.to_string()), body)
        }
        ApiAddr::Unix(socket) => {
            let stream = UnixStream::connect(socket).map_err(HttpError::Connect)?;
            stream.set_read_timeout(Some(timeout)).map_err(HttpError::Connect)?;
            stream.set_write_timeout(Some(timeout)).map_err(HttpError::Connect)?;
            exchange(stream, &head("localhost"), body)
        }
    }
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &[u8]) -> Result<Answer, HttpError> {
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    // A node that refuses a call answers before it has read all of it: the answer counts, not the broken write.
    match (read_answer(&mut stream), sent) {
        (Err(HttpError::Broken(_)), Err(error)) => Err(HttpError::Broken(error)),
        (answer, _) => answer,
    }
}

fn read_answer(stream: &mut impl Read) -> Result<Answer, HttpError> {
    let mut received = Vec::new();
    let head = loop {
        if let Some(head) = parse_head(&received)? {
            break head;
        }
        if received.len() >= HEAD_BYTES_MAX {
            return Err(HttpError::TooLarge);
        }
        if read_more(stream, &mut received)? == 0 {
            return Err(HttpError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    };
    let mut body = received.split_off(head.bytes);
    let length = head.content_length.unwrap_or(ANSWER_BYTES_MAX + 1);
    if head.content_length.is_some_and(|length| length > ANSWER_BYTES_MAX) {
        return Err(HttpError::TooLarge);
    }
    while body.len() < length {
        if read_more(stream, &mut body)? == 0 {
            break;
        }
    }
    match head.content_length {
        Some(length) if body.len() < length => Err(HttpError::Broken(io::ErrorKind::UnexpectedEof.into())),
        Some(length) => {
            body.truncate(length);
            Ok(Answer { status: head.status, body })
        }
        None if body.len() > ANSWER_BYTES_MAX => Err(HttpError::TooLarge),
        None => Ok(Answer { status: head.status, body }),
    }
}

/// What matters of an answer's head.
struct Head {
    bytes: usize,
    status: u16,
    content_length: Option<usize>,
}

/// Nothing while the head is incomplete.
fn parse_head(received: &[u8]) -> Result<Option<Head>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; HEAD_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(bytes) = response.parse(received).map_err(|_| HttpError::Malformed)?
    else {
        return Ok(None);
    };
    let named = |name: &str| response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if named("transfer-encoding").is_some() {
        return Err(HttpError::Coded);
    }
    let length = named("content-length").map(|header| {
        let digits = std::str::from_utf8(header.value).ok()?;
        digits.trim().parse::<usize>().ok()
    });
    match (response.code, length) {
        (Some(status), None) => Ok(Some(Head { bytes, status, content_length: None })),
        (Some(status), Some(Some(length))) => Ok(Some(Head { bytes, status, content_length: Some(length) })),
        (None, _) | (_, Some(None)) => Err(HttpError::Malformed),
    }
}

fn read_more(stream: &mut impl Read, into: &mut Vec<u8>) -> Result<usize, HttpError> {
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(count) => {
                into.extend_from_slice(&chunk[..count]);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(HttpError::Broken(io::ErrorKind::TimedOut.into()));
            }
            Err(error) => return Err(HttpError::Broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out `bytes` in pieces of `step` and then ends.
    struct Pieces<'a> {
        bytes: &'a [u8],
        step: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(self.bytes.len()).min(into.len());
            into[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    fn read(bytes: &[u8], step: usize) -> Result<Answer, HttpError> {
        read_answer(&mut Pieces { bytes, step })
    }

    #[test]
    fn an_answer_is_the_same_in_whatever_pieces_it_comes() {
        let bytes = b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 5\r\nX: y\r\n\r\nhello, and more";
        for step in 1..bytes.len() {
            assert_eq!(read(bytes, step).unwrap(), Answer { status: 404, body: b"hello".to_vec() });
        }
    }

    #[test]
    fn an_answer_without_a_length_ends_with_the_connection() {
        let answer = read(b"HTTP/1.1 200 OK\r\n\r\nhello", 3).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"hello".to_vec() });
    }

    #[test]
    fn what_is_no_complete_answer_says_which_way() {
        let huge = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(2 * HEAD_BYTES_MAX));
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![0; ANSWER_BYTES_MAX + 1]].concat();
        for (bytes, words) in [
            (b"".as_slice(), "no complete answer"),
            (b"HTTP/1.1 200 OK\r\n", "no complete answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "no complete answer"),
            (b"SSH-2.0-x\r\n", "not HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", "too large"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
            (huge.as_bytes(), "too large"),
            (&endless, "too large"),
        ] {
            let error = read(bytes, 1024).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
            drop(read(&tail, step));
            drop(read(&[b"HTTP/1.1 200 OK\r\n", tail.as_slice()].concat(), step));
        }
    }
}
