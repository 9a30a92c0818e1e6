//! One connection to the API: requests in, answers out, one at a time and in order. Must never know what a call does.

use super::stream::Stream;
use crate::api::{Reply, Route};
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::limits::{API_IDLE_TIMEOUT_MS, API_INPUT_BYTES_MAX, API_REQUEST_TIMEOUT_MS};
use crate::proto::body::{BodyReader, body_length};
use crate::proto::http::{Head, HeadScanner, Refusal, put_continue, put_refusal};
use std::io::{self, ErrorKind};

/// A request that arrived in full.
#[derive(Debug)]
pub(super) struct Request {
    /// The call.
    pub(super) route: Route,
    /// Its body.
    pub(super) body: Vec<u8>,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does.
    Open,
    /// It is over.
    Over,
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy)]
struct Manner {
    keep_alive: bool,
    head_only: bool,
}

#[derive(Debug)]
enum State {
    /// Between requests, or within a head.
    Head(HeadScanner),
    /// Within a body.
    Body { route: Route, manner: Manner, reader: BodyReader, body: Vec<u8> },
    /// A call is being answered; further requests wait.
    Calling(Manner),
    /// Events are sent until the client leaves; what it still says is thrown away.
    Streaming,
    /// The last answer is written or on its way; what still comes is thrown away.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(super) struct ApiConn {
    stream: Stream,
    input: Vec<u8>,
    output: Vec<u8>,
    state: State,
    /// The moment by which the present state must be over, in milliseconds since the node started.
    pub(super) due_ms: u64,
    /// There may be more to read: an edge-triggered poll will not say so again.
    readable: bool,
    ended: bool,
}

impl ApiConn {
    /// A connection that was just accepted.
    #[must_use]
    pub(super) fn new(stream: Stream, now: Now) -> Self {
        Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            state: State::Head(HeadScanner::default()),
            due_ms: now.mono_ms + API_IDLE_TIMEOUT_MS,
            readable: true,
            ended: false,
        }
    }

    /// The poll says that there may be bytes.
    pub(super) fn set_readable(&mut self) {
        self.readable = true;
    }

    /// Reads, parses and writes as far as it goes; returns the next request once it is complete. None is read while
    /// answers wait to be taken: a client that asks and does not listen costs one answer, not one for each request.
    ///
    /// # Errors
    /// When the stream is broken.
    pub(super) fn advance(&mut self, now: Now) -> io::Result<(Option<Request>, Fate)> {
        self.drain()?;
        if !self.output.is_empty() {
            return Ok((None, Fate::Open));
        }
        if matches!(self.state, State::Streaming) {
            // No more than one look: whoever keeps talking is not listened to.
            self.fill()?;
            self.input.clear();
            return Ok((None, if self.ended { Fate::Over } else { Fate::Open }));
        }
        let request = loop {
            let read = self.fill()?;
            match self.parse(now) {
                Ok(Some(request)) => break Some(request),
                Ok(None) if read => {}
                Ok(None) => break None,
                Err(refusal) => {
                    put_refusal(&mut self.output, &refusal);
                    self.close(now);
                }
            }
        };
        self.drain()?;
        let calling = matches!(self.state, State::Calling(_));
        let over = self.ended && self.output.is_empty() && !calling;
        Ok((request, if over { Fate::Over } else { Fate::Open }))
    }

    /// Answers the call under way.
    pub(super) fn answer(&mut self, now: Now, reply: &Reply) {
        let State::Calling(manner) = self.state else { return };
        reply.put(&mut self.output, manner.keep_alive, manner.head_only);
        if manner.keep_alive {
            self.state = State::Head(HeadScanner::default());
            self.due_ms = now.mono_ms + API_IDLE_TIMEOUT_MS;
        } else {
            self.close(now);
        }
    }

    /// Answers the call under way with a stream that begins with `head`. False when there is none: the request was a `HEAD`,
    /// which gets the head alone, without the first event in it.
    pub(super) fn begin_stream(&mut self, now: Now, head: &[u8]) -> bool {
        let State::Calling(manner) = self.state else { return false };
        if manner.head_only {
            let length = head.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
            self.output.extend_from_slice(&head[..length]);
            self.close(now);
            return false;
        }
        self.output.extend_from_slice(head);
        self.stream.keep_little();
        self.state = State::Streaming;
        self.due_ms = now.mono_ms + API_REQUEST_TIMEOUT_MS;
        true
    }

    /// Sends an event. A client that has not taken the last one goes without this one, and is given up when its time is over.
    ///
    /// # Errors
    /// When the stream is broken.
    pub(super) fn push(&mut self, now: Now, event: &[u8]) -> io::Result<()> {
        self.drain()?;
        if matches!(self.state, State::Streaming) && self.output.is_empty() {
            self.output.extend_from_slice(event);
            self.due_ms = now.mono_ms + API_REQUEST_TIMEOUT_MS;
            self.drain()?;
        }
        Ok(())
    }

    /// What a connection gets whose time is over; true when it is to be dropped at once.
    pub(super) fn expire(&mut self, now: Now) -> bool {
        match &self.state {
            State::Head(_) if self.input.is_empty() => true,
            State::Head(_) | State::Body { .. } => {
                let message = "the request did not arrive in time";
                put_refusal(&mut self.output, &Refusal::new(408, "timeout", message));
                self.close(now);
                false
            }
            State::Calling(_) | State::Streaming | State::Closing => true,
        }
    }

    /// Reads once, unless enough waits already. True when something came.
    fn fill(&mut self) -> io::Result<bool> {
        if !self.readable || self.input.len() >= API_INPUT_BYTES_MAX {
            return Ok(false);
        }
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => {
                (self.readable, self.ended) = (false, true);
                Ok(false)
            }
            Ok(count) => {
                self.input.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => _ = self.output.drain(..count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if matches!(self.state, State::Closing) && !self.ended {
            // Behind the last answer goes our FIN; the client's is waited for, so that no reset overtakes the answer.
            self.stream.shutdown_write()?;
        }
        Ok(())
    }

    fn close(&mut self, now: Now) {
        self.state = State::Closing;
        self.input.clear();
        self.due_ms = now.mono_ms + LINGER_MS;
    }

    fn parse(&mut self, now: Now) -> Result<Option<Request>, Refusal> {
        if let State::Head(scanner) = &mut self.state {
            if self.input.is_empty() {
                return Ok(None);
            }
            let Some(length) = scanner.scan(&self.input)? else {
                self.due_ms = self.due_ms.min(now.mono_ms + API_REQUEST_TIMEOUT_MS);
                return Ok(None);
            };
            self.begin(now, length)?;
        }
        match &mut self.state {
            State::Head(_) | State::Calling(_) | State::Streaming => Ok(None),
            State::Closing => {
                self.input.clear();
                Ok(None)
            }
            State::Body { reader, body, .. } => {
                let mut used = 0;
                let done = reader.feed(&self.input, &mut used, body)?;
                self.input.drain(..used);
                Ok(if done { self.call(now) } else { None })
            }
        }
    }

    /// From a head to its body.
    fn begin(&mut self, now: Now, length: usize) -> Result<(), Refusal> {
        let head = Head::parse(&self.input[..length])?;
        let manner = Manner { keep_alive: head.keep_alive(), head_only: head.method == "HEAD" };
        let route = Route::find(&head)?;
        let reader = BodyReader::new(body_length(&head)?, route.body_bytes_max())?;
        if head.expects_continue() {
            put_continue(&mut self.output);
        }
        self.input.drain(..length);
        self.due_ms = now.mono_ms + API_REQUEST_TIMEOUT_MS;
        self.state = State::Body { route, manner, reader, body: Vec::new() };
        Ok(())
    }

    /// From a whole body to the call.
    fn call(&mut self, now: Now) -> Option<Request> {
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Body { route, manner, body, .. } => {
                self.state = State::Calling(manner);
                // The call has a time limit of its own, which ends before this one.
                self.due_ms = now.mono_ms + 2 * API_REQUEST_TIMEOUT_MS;
                Some(Request { route, body })
            }
            State::Head(_) | State::Calling(_) | State::Streaming | State::Closing => None,
        }
    }
}

/// How long a client may take to close after the last answer, in milliseconds.
const LINGER_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;
    use std::io::{Read, Write};

    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: roost\r\n\r\n";

    fn connected() -> (ApiConn, UnixStream) {
        let (server, client) = UnixStream::pair().unwrap();
        (ApiConn::new(Stream::Unix(server), Now::default()), client)
    }

    /// Answers every request that it hands over; returns how many those were.
    fn serve(conn: &mut ApiConn, reply: &Reply) -> usize {
        let mut count = 0;
        conn.set_readable();
        while let (Some(_), _) = conn.advance(Now::default()).unwrap() {
            conn.answer(Now::default(), reply);
            count += 1;
        }
        count
    }

    #[test]
    fn a_client_that_asks_and_does_not_listen_does_not_pile_up_answers() {
        let (mut conn, mut client) = connected();
        let reply = Reply::text(200, &"x".repeat(64 * 1024));
        let asked = 1000;
        client.write_all(&REQUEST.repeat(asked)).unwrap();
        let mut served = serve(&mut conn, &reply);
        assert!(served < asked / 10, "{served} served into the void");
        assert!(conn.output.len() <= 2 * reply.body.len(), "{} bytes wait", conn.output.len());
        // Once it listens it gets them all.
        let mut heard = 0;
        let mut buffer = vec![0; 1024 * 1024];
        while served < asked || !conn.output.is_empty() {
            heard += client.read(&mut buffer).unwrap();
            served += serve(&mut conn, &reply);
        }
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            heard += count;
        }
        assert_eq!(served, asked);
        assert!(heard > asked * reply.body.len(), "{heard} bytes heard");
    }

    /// A connection that streams, behind a client that has not read anything yet.
    fn streaming() -> (ApiConn, UnixStream) {
        let (mut conn, mut client) = connected();
        client.write_all(REQUEST).unwrap();
        conn.set_readable();
        assert!(matches!(conn.advance(Now::default()), Ok((Some(_), Fate::Open))));
        assert!(conn.begin_stream(Now::default(), b"head\r\n\r\n"));
        (conn, client)
    }

    #[test]
    fn events_that_a_watcher_does_not_take_are_skipped_until_it_is_given_up() {
        let (mut conn, mut client) = streaming();
        let event = [b'e'; 20_000];
        let moment = |mono_ms| Now { mono_ms, wall_ms: 0 };
        for second in 1..=1000 {
            conn.push(moment(second * 1000), &event).unwrap();
            assert!(conn.output.len() <= event.len(), "one event waits, or a part of it");
        }
        let stalled_ms = conn.due_ms - API_REQUEST_TIMEOUT_MS;
        assert!(stalled_ms < 60_000, "its time runs since the last event that it took: {stalled_ms}");
        // What it gets once it reads are whole events, and then it is on time again.
        let mut heard = vec![0; 64 * 1024 * 1024];
        let mut count = client.read(&mut heard).unwrap();
        conn.advance(Now::default()).unwrap();
        while let Ok(more @ 1..) = client.read(&mut heard[count..]) {
            count += more;
        }
        assert_eq!((count - 8) % event.len(), 0, "{count} bytes heard");
        conn.push(moment(2_000_000), &event).unwrap();
        assert_eq!(conn.due_ms, 2_000_000 + API_REQUEST_TIMEOUT_MS);
        assert!(conn.expire(moment(3_000_000)), "whoever takes nothing is dropped");
    }

    #[test]
    fn what_a_watcher_says_is_read_a_little_at_a_time_and_kept_nowhere() {
        let (mut conn, mut client) = streaming();
        for _ in 0..20 {
            while let Ok(1..) = client.write(&[b'x'; 8192]) {}
            conn.set_readable();
            assert!(matches!(conn.advance(Now::default()), Ok((None, Fate::Open))));
            assert!(conn.input.is_empty() && conn.output.is_empty());
        }
    }
}
