//! What a client may send on one connection: requests one behind another, good ones and bad ones, the same with a few bytes
//! changed, and noise. Must never know who reads them.

use crate::connection::{CHANNELS, heads};
use crate::head::mutate;
use crate::rng::Rng;

/// One connection's bytes.
pub(crate) fn session(rng: &mut Rng) -> Vec<u8> {
    // Behind one bad request nothing is answered: in many sessions there are few.
    let strange_in = rng.pick(&[3, 30, 300, 3_000]);
    let mut bytes = Vec::new();
    for _ in 0..=rng.below(10) {
        bytes.extend(Maker { rng, strange_in }.request());
    }
    for _ in 0..rng.pick(&[0, 0, 0, 1, 3]) {
        mutate(&mut bytes, rng);
    }
    bytes
}

/// Makes requests; something in them is strange once in so many times.
struct Maker<'a> {
    rng: &'a mut Rng,
    strange_in: usize,
}

impl Maker<'_> {
    fn strange(&mut self) -> bool {
        self.rng.one_in(self.strange_in)
    }

    /// Something good, or something strange.
    fn one_of<T: Copy>(&mut self, good: &[T], strange: &[T]) -> T {
        let items = if self.strange() { strange } else { good };
        self.rng.pick(items)
    }

    fn request(&mut self) -> Vec<u8> {
        let method =
            self.one_of(&["GET", "GET", "GET", "POST", "POST", "OPTIONS"], &["HEAD", "PUT", "get", ""]);
        let path = match (method, self.rng.below(40)) {
            ("GET", 0) => "/live",
            ("GET", 1) => "/events",
            ("GET", 2) => "/roost.js",
            ("GET", 3) => "/",
            _ => self.one_of(&["/poll"], &["/nothing", "/events", "/live", "/roost.js", "poll"]),
        };
        let query = if method == "GET" { self.query() } else { String::new() };
        let version = self.one_of(&["HTTP/1.1"], &["HTTP/1.0", "HTTP/2.0", "HTTP", ""]);
        let mut head = format!("{method} {path}?{query} {version}\r\nHost: node\r\n");
        head += self.rng.pick(&["", "", "Connection: keep-alive\r\n", "X: y\r\n", "Origin: http://node\r\n"]);
        head += self.one_of(
            &["", "", "If-None-Match: *\r\n"],
            &["Connection: close\r\n", "Origin: null\r\n", "Host: b\r\n"],
        );
        if self.rng.one_in(20) {
            head += &format!("Last-Event-ID: {}\r\n", self.place(0));
        }
        if path == "/live" {
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        }
        if self.strange() && self.rng.one_in(8) {
            head += &"Y: z\r\n".repeat(70);
        }
        if method == "POST" { self.with_body(head) } else { (head + "\r\n").into_bytes() }
    }

    /// Adds a message, in one of the ways in which bodies come.
    fn with_body(&mut self, mut head: String) -> Vec<u8> {
        let json = "Content-Type: application/json\r\n";
        head += self
            .one_of(&[json], &["Content-Type: text/plain\r\n", "", "Content-Type: a\r\nContent-Type: b\r\n"]);
        head += self.rng.pick(&["", "", "", "Expect: 100-continue\r\n"]);
        let mut body = self.message().into_bytes();
        if self.rng.one_in(50) {
            body = vec![b' '; 64 * 1024];
        }
        if self.strange() {
            body.resize(64 * 1024 + 1, b' ');
        }
        let (length, half) = (format!("Content-Length: {}\r\n", body.len()), body.len() / 2);
        if self.strange() {
            head += self.rng.pick(&["Transfer-Encoding: gzip\r\n", "Transfer-Encoding: chunked\r\n", ""]);
            head += &[length, format!("Content-Length: {half}\r\n"), String::new()][self.rng.below(3)];
        } else if self.rng.one_in(2) {
            head += &length;
        } else {
            head += "Transfer-Encoding: chunked\r\n";
            let size = 1 + self.rng.below(body.len() + 1);
            let chunk = |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            body = body.chunks(size).flat_map(chunk).collect();
            body.extend_from_slice(b"0\r\n\r\n");
        }
        [(head + "\r\n").into_bytes(), body].concat()
    }

    fn message(&mut self) -> String {
        let channel = self.rng.pick(&CHANNELS);
        match self.rng.below(8) {
            0 => r#"{"type":"ping","id":[1]}"#.to_owned(),
            1..4 => format!(r#"{{"type":"publish","channel":"{channel}","data":{{"x":[1,2]}},"id":1}}"#),
            4 => format!(r#"{{"type":"presence","channel":"{channel}"}}"#),
            5 => format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
            6 => r#"{"type":"publish","channel":"room:1","data""#.to_owned(),
            _ => self.rng.pick(&["", "[]", "null", "\u{e9}", r#"{"type":"dance"}"#]).to_owned(),
        }
    }

    /// Channels, places and the time to wait.
    fn query(&mut self) -> String {
        let mut pairs = Vec::new();
        let (first, count) = (self.rng.below(CHANNELS.len()), 1 + self.rng.below(CHANNELS.len()));
        let resumes = self.rng.below(3);
        for at in (first..first + count).map(|at| at % CHANNELS.len()) {
            pairs.push(format!("channel={}", self.one_of(&[CHANNELS[at]], &["b%20d", "", "a", "%ff"])));
            if resumes > 0 {
                pairs.push(format!("since={}", self.place(at)));
            }
        }
        if self.rng.one_in(2) {
            pairs.push(format!("wait={}", self.one_of(&["0", "0", "1", "25", "55"], &["56", "x", "", "-1"])));
        }
        if self.strange() {
            pairs.pop();
        }
        pairs.join("&")
    }

    /// Where a channel stands, or stood, or never was.
    fn place(&mut self, channel: usize) -> String {
        let head = &heads()[channel];
        let (epoch, offset) = head.split_once('-').unwrap();
        if self.strange() {
            return self.rng.pick(&["x", "-", "E-x", "%00", "E-99999999999999999999", "E-1,E-2"]).to_owned();
        }
        match self.rng.below(12) {
            0 => String::new(),
            1 => format!("{epoch}-0"),
            2 => "elsewhere-2".to_owned(),
            3 => format!("{epoch}-{}", u64::MAX),
            4 | 5 => format!("{epoch}-{}", offset.parse::<u64>().unwrap() / 2),
            _ => head.clone(),
        }
    }
}
