//! Mutated requests through the head parser, the upgrade, the body reader and the query: nothing panics, the bounds hold,
//! and what is written back is one well-formed answer. The body is a plain function, so that a fuzzer can drive it too.

use crate::rng::Rng;
use roost::limits::HEAD_BYTES_MAX;
use roost::proto::answer::{Refusal, put_refusal};
use roost::proto::body::{BodyReader, body_length};
use roost::proto::handshake::{check, check_switching, put_switching};
use roost::proto::http::{Head, HeadScanner};
use roost::proto::origin::OriginPolicy;
use roost::proto::query::{decode_path, parameter, parse_live_query};

/// Body bytes that the fuzzed reader accepts.
const BODY_BYTES_MAX: usize = 64;

/// Takes one stream of bytes as a server would; panics where a promise of the parsers is broken.
pub(crate) fn head(bytes: &[u8]) {
    let at_once = HeadScanner::default().scan(bytes);
    assert_eq!(scan_byte_by_byte(bytes), at_once, "the end of a head depends on how it arrived");
    let _ = check_switching(bytes, "dGhlIHNhbXBsZSBub25jZQ==");
    let _ = Head::parse(bytes);
    match at_once {
        Ok(None) => assert!(bytes.len() < HEAD_BYTES_MAX, "a head grows beyond its bound"),
        Ok(Some(len)) => {
            assert!(len <= HEAD_BYTES_MAX && bytes[..len].ends_with(b"\r\n\r\n"));
            match Head::parse(&bytes[..len]) {
                Ok(head) => fuzz_request(&head, &bytes[len..]),
                Err(refusal) => assert_answers(&refusal),
            }
        }
        Err(refusal) => assert_answers(&refusal),
    }
}

fn scan_byte_by_byte(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut scanner = HeadScanner::default();
    (0..=bytes.len())
        .map(|len| scanner.scan(&bytes[..len]))
        .find(|found| *found != Ok(None))
        .unwrap_or(Ok(None))
}

/// What the parts of a server do with a head that was parsed.
fn fuzz_request(head: &Head<'_>, rest: &[u8]) {
    assert!(head.path.starts_with('/') && head.path.is_ascii());
    let _ =
        (head.keep_alive(), head.expects_continue(), decode_path(head.path), parameter(head.query, "prefix"));
    if let Err(refusal) = parse_live_query(head.query) {
        assert_answers(&refusal);
    }
    match check(head, &OriginPolicy::SameOrigin) {
        Ok(upgrade) => {
            let chosen = Some("roost.v1").filter(|protocol| upgrade.has_protocol(protocol));
            let mut out = Vec::new();
            put_switching(&mut out, &upgrade, chosen);
            let key = head.header("sec-websocket-key").and_then(|key| str::from_utf8(key).ok()).unwrap();
            assert_eq!(
                check_switching(&out, key),
                Ok(chosen),
                "the server's answer is no good to its client"
            );
            assert_eq!(head.header("content-length").or(head.header("transfer-encoding")), None);
        }
        Err(refusal) => assert_answers(&refusal),
    }
    let whole = read_body(head, rest, rest.len().max(1));
    assert_eq!(read_body(head, rest, 1), whole, "a body depends on how it arrived");
    if let Err(refusal) = whole {
        assert_answers(&refusal);
    }
}

/// The body and what of `rest` it used, or `None` while it is not complete; fed in pieces of `step` bytes.
fn read_body(head: &Head<'_>, rest: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    let mut reader = BodyReader::new(body_length(head)?, BODY_BYTES_MAX)?;
    let (mut used, mut out) = (0, Vec::new());
    for end in (0..=rest.len()).step_by(step) {
        let done = reader.feed(&rest[..end], &mut used, &mut out)?;
        assert!(used <= end && out.len() <= BODY_BYTES_MAX);
        if done {
            return Ok(Some((out, used)));
        }
    }
    Ok(None)
}

/// A refusal is one answer: a head of clean lines, and one line of JSON as long as announced.
fn assert_answers(refusal: &Refusal) {
    assert!((400..600).contains(&refusal.status));
    let mut out = Vec::new();
    put_refusal(&mut out, refusal);
    let text = String::from_utf8(out).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.split("\r\n").all(|line| !line.contains(char::is_control)), "{head:?}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head:?}");
    assert!(head.contains("\r\nConnection: close"), "{head:?}");
    assert!(!body.contains(['\r', '\n']), "{body:?}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["error"]["code"], refusal.code);
}

#[test]
fn mutated_requests_break_no_promise() {
    let mut random = Rng::new(0);
    let (mut heads, mut upgrades) = (0, 0);
    for round in 0..ROUNDS {
        let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..random.below(5) {
            mutate(&mut bytes, &mut random);
        }
        let parsed = HeadScanner::default().scan(&bytes).ok().flatten().map(|len| Head::parse(&bytes[..len]));
        let parsed = parsed.and_then(Result::ok);
        heads += usize::from(parsed.is_some());
        upgrades +=
            usize::from(parsed.is_some_and(|parsed| check(&parsed, &OriginPolicy::SameOrigin).is_ok()));
        head(&bytes);
    }
    // Mutations that left nothing standing would test the first line of the parser only.
    assert!(
        heads > ROUNDS / 5 && upgrades > ROUNDS / 50,
        "{heads} heads and {upgrades} upgrades of {ROUNDS}"
    );
}

#[test]
fn streams_at_the_bounds_break_no_promise() {
    for len in [HEAD_BYTES_MAX - 1, HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1] {
        head(&vec![b'a'; len]);
        head(&b"\r\n".repeat(len / 2));
        head(&[b"GET / HTTP/1.1\r\n", "X: y\r\n".repeat(len / 6).as_bytes()].concat());
        head(
            &[b"GET /?", "channel=a&".repeat(len / 10 - 4).as_bytes(), b" HTTP/1.1\r\nHost: a\r\n\r\n"]
                .concat(),
        );
    }
}

/// Changes one thing: a byte, a stretch taken out or doubled, a meaningful piece put in, the end cut off.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(24)).min(bytes.len());
    match random.below(6) {
        0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.drain(at..end)),
        3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
        4 => bytes.truncate(at.max(bytes.len().saturating_sub(8))),
        _ => drop(bytes.splice(at..at, random.pick(PIECES).bytes())),
    }
}

const ROUNDS: usize = 20_000;

const SEEDS: &[&str] = &[
    "GET /live?channel=a&since=E-1&token=x HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: https://a.example\r\n\
     Sec-WebSocket-Protocol: x, roost.v1\r\n\r\n\u{81}\u{85}",
    "GET http://[::1]:8080/live HTTP/1.1\r\nhost:[::1]:8080\r\nUPGRADE:WebSocket\r\nconnection:upgrade\r\n\
     sec-websocket-key:AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version:13\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: localhost:8081\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\nhello worldGET / HTTP/1.1\r\n\r\n",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\nGET",
    "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
];

const PIECES: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    "\0",
    "\u{7f}",
    "\u{fc}",
    ",",
    ";",
    "#",
    "?",
    "&",
    "=",
    "%",
    "%ff",
    "\"",
    "\\",
    "0\r\n",
    "ffffffffffffffff",
    "HTTP/1.0",
    "HTTP/2.0",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Origin: null\r\n",
    "\r\n folded",
    "http://a/",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "since=",
    "channel=",
    "token=",
];
