//! Bytes from the node to frames, with tungstenite's reader of headers, which is not the node's own; and to answers over HTTP.

use crate::answer::{Answer, Partial};
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// One whole frame.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close { code: Option<u16>, reason: String },
}

/// What has come and was not understood yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    /// With fewer bytes no answer is whole.
    due: usize,
}

impl Inbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// What is there, uninterpreted.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes what is there, uninterpreted.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        self.start = self.bytes.len();
        rest
    }

    /// The next answer over HTTP, once it is whole.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        if self.len() < self.due {
            return None;
        }
        match Answer::read(self.rest()) {
            Ok(answer) => {
                self.skip(answer.length);
                self.due = 0;
                Some(answer)
            }
            Err(Partial(due)) => {
                self.due = due;
                None
            }
        }
    }

    /// What was read of it is understood.
    pub(crate) fn skip(&mut self, length: usize) {
        self.start += length;
    }

    /// The next frame and its length on the wire. A server's frames are whole, unmasked messages without extensions.
    pub(crate) fn frame(&mut self) -> Option<(Frame, usize)> {
        let mut cursor = Cursor::new(self.rest());
        let (header, length) = FrameHeader::parse(&mut cursor).expect("every byte decodes")?;
        assert!(header.is_final, "a fragment");
        assert!(!(header.rsv1 || header.rsv2 || header.rsv3), "a reserved bit");
        assert!(header.mask.is_none(), "a masked frame from a server");
        let begin = cursor.position() as usize;
        let end = begin + usize::try_from(length).expect("a sensible length");
        let payload = self.rest().get(begin..end)?.to_vec();
        self.start += end;
        let frame = match header.opcode {
            OpCode::Data(Data::Text) => Frame::Text(String::from_utf8(payload).expect("UTF-8")),
            OpCode::Data(Data::Binary) => Frame::Binary(payload),
            OpCode::Control(Control::Ping) => Frame::Ping(payload),
            OpCode::Control(Control::Pong) => Frame::Pong(payload),
            OpCode::Control(Control::Close) => close(&payload),
            OpCode::Data(Data::Continue | Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                panic!("{:?} from a server", header.opcode)
            }
        };
        Some((frame, end))
    }
}

fn close(payload: &[u8]) -> Frame {
    match payload {
        [] => Frame::Close { code: None, reason: String::new() },
        [one] => panic!("a close frame of one byte, {one}"),
        [high, low, reason @ ..] => Frame::Close {
            code: Some(u16::from_be_bytes([*high, *low])),
            reason: String::from_utf8(reason.to_vec()).expect("a reason is UTF-8"),
        },
    }
}
