//! WebSocket and HTTP as bytes on a TCP connection, for what no well-behaved client sends. Must never know roost's messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use crate::node::PATIENCE;

/// The key of RFC 6455 §1.3, and the answer to it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The header lines of a good upgrade, in this order.
pub(crate) const GOOD: [&str; 5] = [
    "Host: roost.test",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// A request head.
pub(crate) fn head(line: &str, headers: &[&str]) -> Vec<u8> {
    format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
}

/// A good upgrade.
pub(crate) fn upgrade(path: &str) -> Vec<u8> {
    head(&format!("GET {path} HTTP/1.1"), &GOOD)
}

/// A client's frame with the first byte as given, and a payload that is masked.
pub(crate) fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ ..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A whole message, or a control frame.
pub(crate) fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    raw_frame(0x80 | opcode, payload.as_ref())
}

/// A fragment that another one follows.
pub(crate) fn fragment(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    raw_frame(opcode, payload.as_ref())
}

/// A close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The value of a header; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Demands a reason in one line of JSON; returns its code.
    pub(crate) fn error_code(&self) -> String {
        assert_eq!(self.body.trim_end().lines().count(), 1, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// One TCP connection; whatever it receives is read in order.
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The node has a handle on it too: closing ours alone would end nothing.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        TcpStream::connect(address).unwrap().into()
    }

    /// Upgraded: from now on frames.
    pub(crate) fn open(mut self, path: &str) -> Self {
        self.send(&upgrade(path));
        self.switched();
        self
    }

    /// Reads the answer to an upgrade and demands that it is a good one.
    pub(crate) fn switched(&mut self) -> Response {
        let response = self.response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT), "{response:?}");
        response
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Ends our side of the stream; we still listen.
    pub(crate) fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let outcome = self.stream.peek(&mut [0; 1]);
        self.stream.set_nonblocking(false).unwrap();
        self.received.is_empty() && outcome.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Waits until something has arrived.
    pub(crate) fn await_bytes(&self) {
        assert_ne!(self.stream.peek(&mut [0; 1]).unwrap(), 0, "the peer closed");
    }

    /// Whether the peer's kernel has answered something of ours with a reset.
    pub(crate) fn was_reset(&self) -> bool {
        self.stream.take_error().unwrap().is_some()
    }

    /// The next response, with the body that its `Content-Length` announces.
    pub(crate) fn response(&mut self) -> Response {
        let length = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.more(), "the peer closed after {}", self.text()),
            }
        };
        let head = String::from_utf8(self.take(length)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap();
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let mut response = Response { status, headers: lines.map(pair).collect(), body: String::new() };
        let body_bytes = response.header("content-length").map_or(0, |text| text.parse().unwrap());
        response.body = String::from_utf8(self.take(body_bytes)).unwrap();
        response
    }

    /// The next lines up to an empty one: a block of an event stream.
    pub(crate) fn block(&mut self) -> String {
        let length = loop {
            match self.received.windows(2).position(|window| window == b"\n\n") {
                Some(at) => break at + 2,
                None => assert!(self.more(), "the peer closed after {}", self.text()),
            }
        };
        String::from_utf8(self.take(length)).unwrap().trim_end().to_owned()
    }

    /// Whatever comes until the peer ends the stream, in whatever way.
    pub(crate) fn until_end(&mut self) -> Vec<u8> {
        // What fails is a stream that was reset.
        let _ = self.stream.read_to_end(&mut self.received);
        std::mem::take(&mut self.received)
    }

    /// Sends a request; returns what it is answered.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request.as_ref());
        self.response()
    }

    /// The next frame; demands what RFC 6455 demands of a server's frame.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.take(2);
        assert_eq!(start[0] & 0xf0, 0x80, "a whole message without reserved bits");
        let length = match start[1] {
            length @ ..126 => usize::from(length),
            126 => usize::from(u16::from_be_bytes(self.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).try_into().unwrap()) as usize,
            masked => panic!("a server does not mask: {masked:#x}"),
        };
        (start[0] & 0x0f, self.take(length))
    }

    /// The next frame, which is text, as JSON.
    pub(crate) fn message(&mut self) -> Value {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }

    /// Code and reason of the next frame, which closes.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, CLOSE, "{}", String::from_utf8_lossy(&payload));
        let (code, reason) = payload.split_at(2);
        (u16::from_be_bytes(code.try_into().unwrap()), String::from_utf8(reason.to_vec()).unwrap())
    }

    /// Demands that the peer ends the stream without another byte.
    pub(crate) fn ended(&mut self) {
        assert!(!self.more() && self.received.is_empty(), "expected the end, got {}", self.text());
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.more(), "the peer closed after {}", self.text());
        }
        self.received.drain(..count).collect()
    }

    /// False at the end of the stream.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer).unwrap();
        self.received.extend_from_slice(&buffer[..count]);
        count > 0
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).chars().take(200).collect()
    }
}
