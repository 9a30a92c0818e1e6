//! One client connection: what it is doing, and the steps from a connect to messages. Small, because there are a million:
//! it owns no buffer but the rest of a head, a frame or a write that came apart. Must never know a profile.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::error::excerpt;
use crate::limits::BENCH_MESSAGE_BYTES_MAX;
use crate::proto::decoder::{Decoder, Event, Fault, Role, Rules};
use crate::proto::frame::{Opcode, put_masked_frame};
use crate::proto::handshake::{SwitchingError, check_switching};
use crate::proto::http::HeadScanner;

/// The key that every client sends, the sample of RFC 6455 §1.3: a server without a protocol may answer from a can.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The connect is under way.
    Connecting,
    /// The request is sent; the answer has not come whole.
    Upgrading,
    /// Upgraded; the message that confirms the subscription has not come.
    Awaiting,
    /// Takes part.
    Joined,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    pub(super) note: Note,
    rest: Option<Box<Rest>>,
}

// A million of them must not be what fills the host. (mio adds a check of its own to streams in debug builds.)
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Option<Client>>() <= 32);

/// What a read or a write left over.
#[derive(Debug, Default)]
struct Rest {
    head: Vec<u8>,
    decoder: Decoder,
    unsent: Vec<u8>,
}

/// What a client says once it is upgraded, and what it waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Welcome<'a> {
    /// Text to send first.
    pub(super) subscribe: Option<&'a str>,
    /// Text that a message must contain before the client counts as joined.
    pub(super) confirmation: Option<&'a str>,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The kernel reported something.
    Io(io::Error),
    /// The server closed without a close frame.
    Closed,
    /// The server said goodbye.
    Goodbye(String),
    /// The server does not speak HTTP/1.1.
    Head(String),
    /// The upgrade was refused or is not what RFC 6455 asks for.
    Upgrade(SwitchingError, String),
    /// A frame was wrong.
    Frame(Fault),
}

impl Client {
    /// A connection whose connect has begun at `now_ns`.
    pub(super) fn new(stream: TcpStream, now_ns: u64) -> Self {
        let note = Note { mark: now_ns, count: 0 };
        Self { stream, phase: Phase::Connecting, note, rest: None }
    }

    /// Whether the connect has been decided; if it succeeded, the request is sent.
    ///
    /// # Errors
    /// The connect failed.
    pub(super) fn connected(&mut self, request: &[u8]) -> Result<(), End> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.phase = Phase::Upgrading;
        self.send(request)
    }

    /// One read into `buffer`; `None` when there is nothing to read now.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, End> {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Err(End::Closed),
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Writes `bytes` behind what is still unsent, and keeps what does not go out now.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        if let Some(rest) = self.rest.as_mut().filter(|rest| !rest.unsent.is_empty()) {
            rest.unsent.extend_from_slice(bytes);
            return self.flush();
        }
        let sent = write_some(&mut self.stream, bytes)?;
        if sent < bytes.len() {
            self.rest.get_or_insert_default().unsent.extend_from_slice(&bytes[sent..]);
        }
        Ok(())
    }

    /// Writes what is still unsent, as far as it goes.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let sent = write_some(&mut self.stream, &rest.unsent)?;
        rest.unsent.drain(..sent);
        self.forget_empty_rest();
        Ok(())
    }

    /// Takes in what was read: the answer to the upgrade, then messages for `conduct`. `decoder` is shared by clients
    /// at the boundary between two messages; a client within one has its own. `mismatches` gets what a profile missed.
    ///
    /// # Errors
    /// The connection must end.
    pub(super) fn feed<C: Conduct>(
        &mut self,
        mut input: &mut [u8],
        welcome: Welcome<'_>,
        stage: &mut Stage<'_, '_, C>,
    ) -> Result<(), End> {
        let mut head;
        if self.phase == Phase::Upgrading {
            head = self.rest.as_mut().map(|rest| std::mem::take(&mut rest.head)).unwrap_or_default();
            let known = head.len();
            head.extend_from_slice(input);
            let Some(head_bytes) = check_head(&head)? else {
                self.rest.get_or_insert_default().head = head;
                return Ok(());
            };
            self.forget_empty_rest();
            // What was known before held no whole head, so the head ends within this input.
            input = &mut input[head_bytes - known..];
            self.upgraded(welcome, stage);
        }
        self.take_frames(input, welcome, stage)
    }

    fn upgraded<C: Conduct>(&mut self, welcome: Welcome<'_>, stage: &mut Stage<'_, '_, C>) {
        if let Some(text) = welcome.subscribe {
            put_masked_frame(stage.desk.out, Opcode::Text, text.as_bytes(), MASK);
        }
        self.phase = Phase::Awaiting;
        if welcome.confirmation.is_none() {
            self.join(stage);
        }
    }

    fn join<C: Conduct>(&mut self, stage: &mut Stage<'_, '_, C>) {
        self.phase = Phase::Joined;
        stage.conduct.joined(&mut self.note, &mut stage.desk);
        if stage.open {
            stage.conduct.open(stage.number, &mut self.note, &mut stage.desk);
        }
    }

    fn take_frames<C: Conduct>(
        &mut self,
        mut input: &mut [u8],
        welcome: Welcome<'_>,
        stage: &mut Stage<'_, '_, C>,
    ) -> Result<(), End> {
        let mut own = self.rest.as_mut().map(|rest| std::mem::take(&mut rest.decoder));
        loop {
            let decoder = own.as_mut().unwrap_or(&mut *stage.decoder);
            let mut used = 0;
            match decoder.next(input, &mut used, &RULES)? {
                Event::Incomplete => break,
                Event::Text(text) if self.phase == Phase::Joined => {
                    let message = stage.conduct.message(stage.number, &mut self.note, text, &mut stage.desk);
                    stage.mismatch = message.err().or(stage.mismatch.take());
                }
                Event::Text(text) => {
                    if welcome.confirmation.is_none_or(|wanted| text.contains(wanted)) {
                        self.join(stage);
                    }
                }
                Event::Binary(_) | Event::Pong(_) => {}
                Event::Ping(payload) => {
                    put_masked_frame(stage.desk.out, Opcode::Pong, payload, MASK);
                    stage.conduct.pinged(&mut stage.desk);
                }
                Event::Close { code, reason } => {
                    let code = code.map_or("no code".to_owned(), |code| format!("code {code}"));
                    return Err(End::Goodbye(format!("{code}, reason {reason:?}")));
                }
            }
            input = &mut input[used..];
        }
        let decoder = own.unwrap_or_else(|| std::mem::take(stage.decoder));
        if !decoder.is_idle() {
            self.rest.get_or_insert_default().decoder = decoder;
        }
        self.forget_empty_rest();
        Ok(())
    }

    fn forget_empty_rest(&mut self) {
        self.rest = self
            .rest
            .take()
            .filter(|rest| !rest.head.is_empty() || !rest.decoder.is_idle() || !rest.unsent.is_empty());
    }

    /// Ends the connection as a closed tab does: the kernel says so, and no frame.
    pub(super) fn leave(self) {
        // The peer may have gone first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The address that the server calls its peer.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }
}

/// What surrounds a client while it takes in bytes.
#[derive(Debug)]
pub(super) struct Stage<'a, 'd, C> {
    pub(super) number: u32,
    pub(super) conduct: &'a mut C,
    pub(super) desk: Desk<'d>,
    pub(super) decoder: &'a mut Decoder,
    /// The run has begun.
    pub(super) open: bool,
    /// The last thing that was not as the profile expected it.
    pub(super) mismatch: Option<Mismatch>,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Frame(fault)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "an error: {error}"),
            Self::Closed => f.write_str("the end of the stream, without a close frame"),
            Self::Goodbye(close) => write!(f, "a close frame with {close}"),
            Self::Head(head) => write!(f, "no HTTP/1.1: {head}"),
            Self::Upgrade(error, head) => write!(f, "another answer: {error}: {head}"),
            Self::Frame(fault) => write!(f, "a wrong frame: {fault:?}"),
        }
    }
}

/// The length of the answer's head, once it is whole and a good one.
fn check_head(head: &[u8]) -> Result<Option<usize>, End> {
    match HeadScanner::default().scan(head) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => match check_switching(&head[..bytes], KEY) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) => Err(End::Upgrade(error, excerpt(head, EXCERPT_CHARS))),
        },
        Err(_) => Err(End::Head(excerpt(head, EXCERPT_CHARS))),
    }
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

const RULES: Rules = Rules { role: Role::Client, message_bytes_max: BENCH_MESSAGE_BYTES_MAX };
/// Masks guard proxies against scripts in browsers (RFC 6455 §10.3). There is neither here, and one key costs nothing.
pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const EXCERPT_CHARS: usize = 160;
