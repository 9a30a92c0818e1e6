//! Requests over HTTP, in one of the many ways to write each.

use crate::truth::{Channel, Truth};
use fastrand::Rng;
use roost::dialect::cursor::Cursor;
use std::iter;

/// A channel, and where the client left off.
pub(crate) type Wanted = (Channel, Option<Cursor>);

/// A request that is not for a WebSocket.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<String>,
    /// The connection ends behind the answer.
    pub(crate) closes: bool,
    /// Another one may follow at once: it is whole, and waits for no word that its body may come.
    pub(crate) plain: bool,
}

/// Bytes of a request: what goes out at once, and what waits to be told that it may.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) withheld: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn get(target: String) -> Self {
        Self { method: "GET", target, headers: Vec::new(), body: None, closes: false, plain: false }
    }

    /// A message of a client.
    pub(crate) fn post(message: String) -> Self {
        let types = [("Content-Type", "application/json".to_owned())];
        let request = Self::get("/poll".to_owned());
        Self { method: "POST", headers: types.into(), body: Some(message), ..request }
    }

    pub(crate) fn write(&self, rng: &mut Rng) -> Written {
        let Self { method, target, headers, body, closes, plain } = self;
        let old = rng.u8(..6) == 0;
        let mut head = format!("{method} {target} HTTP/1.{}\r\nHost: node:8080\r\n", u8::from(!old));
        match (old, *closes) {
            (false, true) => head += "Connection: close\r\n",
            (true, false) => head += "connection: Keep-Alive\r\n",
            (false, false) | (true, true) => {}
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let chunked = !old && rng.u8(..4) == 0;
        let body = match body {
            None => None,
            Some(body) if chunked => {
                head += "Transfer-Encoding: chunked\r\n";
                Some(chunks(body.as_bytes(), rng))
            }
            Some(body) => {
                head += &format!("Content-Length: {}\r\n", body.len());
                Some(body.clone().into_bytes())
            }
        };
        let expects = !old && !plain && body.is_some() && rng.u8(..6) == 0;
        if expects {
            head += "Expect: 100-continue\r\n";
        }
        let mut bytes = (head + "\r\n").into_bytes();
        if expects && rng.bool() {
            return Written { bytes, withheld: body };
        }
        bytes.extend(body.unwrap_or_default());
        Written { bytes, withheld: None }
    }
}

/// A target with a query that names channels, each with its cursor or an empty one where any is given.
pub(crate) fn target(path: &str, wanted: &[Wanted], with_since: bool, truth: &Truth) -> String {
    let mut target = path.to_owned();
    for ((channel, since), mark) in wanted.iter().zip(iter::once("?").chain(iter::repeat("&"))) {
        target += &format!("{mark}channel={}", truth.names[*channel]);
        if with_since {
            target += &format!("&since={}", since.map(|since| since.to_string()).unwrap_or_default());
        }
    }
    target
}

fn chunks(mut body: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut written = Vec::new();
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(rng.usize(1..=body.len()));
        written.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        written.extend_from_slice(chunk);
        written.extend_from_slice(b"\r\n");
        body = rest;
    }
    written.extend_from_slice(b"0\r\n\r\n");
    written
}
