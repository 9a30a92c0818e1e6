//! A client's end of a connection: what it sends, what it takes, and what it got.

use roost::conn::socket::{Socket, Traffic};
use roost::proto::frame::{Opcode, put_masked_frame};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

/// A peer that takes as many bytes as it has room for.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) sends: VecDeque<u8>,
    pub(crate) got: Vec<u8>,
    pub(crate) room: usize,
    /// It ended its side.
    pub(crate) ended: bool,
    /// It is gone without a goodbye.
    pub(crate) broken: bool,
    /// Calls in which it took something.
    pub(crate) writes: usize,
    /// The node ended its side.
    pub(crate) finished: bool,
    /// Where it is, if that is known.
    pub(crate) address: Option<SocketAddr>,
    /// What is counted of it.
    pub(crate) traffic: Traffic,
}

/// The test holds one end, the shard the other.
#[derive(Debug, Clone)]
pub(crate) struct Line(pub(crate) Rc<RefCell<Peer>>);

impl Line {
    /// A client with all the room that there is, which asks for `target` and an upgrade.
    pub(crate) fn asking_for(target: &str) -> Self {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        Self::sending(request)
    }

    /// A client with all the room that there is, which sends this.
    pub(crate) fn sending(bytes: impl AsRef<[u8]>) -> Self {
        let (sends, got) = (VecDeque::from(bytes.as_ref().to_vec()), Vec::new());
        let peer = Peer {
            sends,
            got,
            room: usize::MAX,
            ended: false,
            broken: false,
            writes: 0,
            finished: false,
            address: None,
            traffic: Traffic::default(),
        };
        Self(Rc::new(RefCell::new(peer)))
    }

    /// It sends one more message.
    pub(crate) fn send(&self, message: &Value) {
        let mut frame = Vec::new();
        put_masked_frame(&mut frame, Opcode::Text, message.to_string().as_bytes(), [1, 2, 3, 4]);
        self.0.borrow_mut().sends.extend(frame);
    }
}

impl Socket for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Peer { sends, ended, broken, .. } = &mut *self.0.borrow_mut();
        if *broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let count = into.len().min(sends.len());
        into.iter_mut().zip(sends.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        if count == 0 && !*ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let peer = &mut *self.0.borrow_mut();
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        let count = bytes.len().min(peer.room);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        peer.room -= count;
        peer.writes += 1;
        peer.got.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().finished = true;
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.0.borrow().address
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.0.borrow().traffic)
    }
}

/// What lies behind the 101.
pub(crate) fn behind_head(got: &[u8]) -> Option<&[u8]> {
    got.windows(4).position(|window| window == b"\r\n\r\n").map(|at| &got[at + 4..])
}

/// The text messages among whole frames, and what is left of one that is not whole.
pub(crate) fn messages(mut frames: &[u8]) -> (Vec<Value>, &[u8]) {
    let mut messages = Vec::new();
    while let [opcode, length, ..] = *frames {
        let (begin, length) = match length {
            127 => (10, u64::from_be_bytes(frames[2..10].try_into().unwrap()) as usize),
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            length => (2, usize::from(length)),
        };
        let Some(payload) = frames.get(begin..begin + length) else { break };
        if opcode == 0x81 {
            messages.push(serde_json::from_slice(payload).expect("JSON"));
        }
        frames = &frames[begin + length..];
    }
    (messages, frames)
}
