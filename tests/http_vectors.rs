//! Requests from the tests of other HTTP parsers (`conformance/README.md`): what they call an error must never be served.

use roost::limits::PUBLICATION_BYTES_MAX;
use roost::proto::body::{BodyReader, body_length};
use roost::proto::handshake;
use roost::proto::http::{Head, HeadScanner, Refusal};
use roost::proto::origin::OriginPolicy;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    src: String,
    name: String,
    hex: String,
    error: Option<String>,
    before: usize,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&self.hex[at..at + 2], 16).unwrap();
        (0..self.hex.len()).step_by(2).map(byte).collect()
    }

    fn label(&self) -> String {
        format!("{} / {}: {:?}", self.src, self.name, String::from_utf8_lossy(&self.bytes()))
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("conformance/vectors.json")).unwrap()
}

/// What became of a stream of requests: how many were read whole, and why it ended if it did not just stop.
struct Outcome {
    served: usize,
    refusal: Option<Refusal>,
}

/// Reads requests as a server does, up to the first refusal, the first request that ends the connection, or the last byte.
fn serve(mut bytes: &[u8]) -> Outcome {
    let mut served = 0;
    loop {
        match read_request(bytes) {
            Err(refusal) => return Outcome { served, refusal: Some(refusal) },
            Ok(None) => return Outcome { served, refusal: None },
            Ok(Some((used, keep_alive))) => {
                served += 1;
                bytes = if keep_alive { &bytes[used..] } else { &[] };
            }
        }
    }
}

/// The length of the first request and whether another may follow, or `None` if it is not complete.
fn read_request(bytes: &[u8]) -> Result<Option<(usize, bool)>, Refusal> {
    let Some(mut used) = HeadScanner::default().scan(bytes)? else { return Ok(None) };
    let head = Head::parse(&bytes[..used])?;
    let mut reader = BodyReader::new(body_length(&head)?, PUBLICATION_BYTES_MAX)?;
    let done = reader.feed(bytes, &mut used, &mut Vec::new())?;
    Ok(done.then(|| (used, head.keep_alive())))
}

/// The same request with the `Host` that most vectors leave out and without the fragment that some carry by the way, so that
/// none is refused for these alone.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let mut text = text.replacen("q=search#hey", "q=search", 1);
    let line_start = text.len() - text.trim_start_matches("\r\n").len();
    let line_end = text[line_start..].find("\r\n").map(|at| line_start + at);
    if let Some(at) = line_end.filter(|_| !text.to_ascii_lowercase().contains("\r\nhost:")) {
        text.insert_str(at, "\r\nHost: a.example");
    }
    text.chars().map(|byte| byte as u8).collect()
}

/// The ways in which a vector is sent: as it is, mended, and with the line ends that would complete it.
fn variants(vector: &Vector) -> Vec<Vec<u8>> {
    let bytes = vector.bytes();
    let mended = mended(&bytes);
    let ended = |ending: &str| [&mended, ending.as_bytes()].concat();
    vec![bytes, ended(""), ended("\r\n"), ended("\r\n\r\n"), ended("\r\n\r\n\r\n\r\n")]
}

#[test]
fn what_others_call_an_error_is_refused_or_waited_for() {
    let mut refused = 0;
    for vector in vectors().iter().filter(|vector| vector.error.is_some() && vector.before == 0) {
        if METHODS_ARE_THE_ROUTERS.contains(&vector.name.as_str()) {
            continue;
        }
        for bytes in variants(vector) {
            assert_eq!(serve(&bytes).served, 0, "{} {:?}", vector.label(), String::from_utf8_lossy(&bytes));
        }
        // A mended one, so that the missing `Host` is not what it is refused for.
        let is_refused = variants(vector)[1..].iter().any(|bytes| serve(bytes).refusal.is_some());
        assert!(is_refused, "never refused: {}", vector.label());
        refused += 1;
    }
    assert_eq!(refused, 60, "vectors that are refused");
}

/// Their fault is a method that those parsers do not list. A method is a token here; the router answers 405 to those that it
/// does not serve.
const METHODS_ARE_THE_ROUTERS: &[&str] = &["HTTP protocol and ANNOUNCE method", "Invalid method"];

#[test]
fn an_error_after_whole_requests_leaves_those_served_and_no_more() {
    for vector in vectors().iter().filter(|vector| vector.error.is_some() && vector.before > 0) {
        for bytes in variants(vector) {
            assert!(serve(&bytes).served <= vector.before, "{}", vector.label());
        }
    }
}

#[test]
fn faulty_headers_put_on_a_good_upgrade_do_not_open_it() {
    // Faults of the request line or of the body, which stay behind when the header lines are taken out.
    const ELSEWHERE: &[&str] = &[
        "method",
        "version",
        "url",
        "HTTP/",
        "RTSP",
        "SOURCE",
        "CRLF after",
        "Pause",
        "protocol",
        "chunk",
        "Chunk",
        "body",
        "Expected LF",
        "Paused",
        "Expected space",
    ];
    let mut grafted = 0;
    for vector in vectors().iter().filter(|vector| vector.before == 0) {
        let Some(error) = &vector.error else { continue };
        let Some(lines) = header_lines(&vector.bytes()) else { continue };
        if ELSEWHERE.iter().any(|word| error.contains(word)) {
            continue;
        }
        let good = b"GET /live HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
        assert!(opens(&[&good[..], b"\r\n"].concat()));
        assert!(!opens(&[&good[..], &lines, b"\r\n\r\n"].concat()), "{}", vector.label());
        grafted += 1;
    }
    assert_eq!(grafted, 36, "vectors that were grafted");
}

/// The header lines without those that a good upgrade has already; `None` where nothing is left.
fn header_lines(bytes: &[u8]) -> Option<Vec<u8>> {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let (_, headers) = text.split_once("\r\n")?;
    let headers = headers.split_once("\r\n\r\n").map_or(headers, |(headers, _)| headers);
    let ours = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("sec-")
            || ["host:", "upgrade:", "connection:"].iter().any(|name| line.starts_with(name))
    };
    let lines = headers.split("\r\n").filter(|line| !ours(line)).collect::<Vec<_>>().join("\r\n");
    let bytes = lines.chars().map(|byte| byte as u8).collect();
    (!lines.trim().is_empty()).then_some(bytes)
}

fn opens(bytes: &[u8]) -> bool {
    let Ok(Some(len)) = HeadScanner::default().scan(bytes) else { return false };
    Head::parse(&bytes[..len]).is_ok_and(|head| handshake::check(&head, &OriginPolicy::SameOrigin).is_ok())
}

#[test]
fn what_others_accept_is_accepted_but_for_a_list_of_reasons() {
    let mut stricter = Vec::new();
    for vector in vectors().iter().filter(|vector| vector.error.is_none()) {
        // Picohttpparser reads heads alone and counts no messages.
        let is_cut = vector.name.starts_with("incomplete")
            || vector.name == "partial"
            || vector.name == "slowloris (incomplete)";
        let bytes = mended(&vector.bytes());
        let outcomes: Vec<_> = ["", "\r\n", "\r\n\r\n"]
            .map(|ending| serve(&[&bytes, ending.as_bytes()].concat()))
            .into_iter()
            .collect();
        let wanted = usize::from(vector.before > 0 || vector.src.starts_with("pico") && !is_cut);
        if outcomes.iter().all(|outcome| outcome.served < wanted) {
            let reason = outcomes.iter().find_map(|outcome| outcome.refusal.as_ref());
            stricter.push((vector.name.clone(), reason.map(|refusal| refusal.status)));
        }
    }
    let stricter: Vec<_> =
        stricter.iter().map(|(name, status)| (name.as_str(), status.unwrap_or(0))).collect();
    let listed: Vec<_> = STRICTER.iter().map(|(name, status, _)| (*name, *status)).collect();
    assert_eq!(stricter, listed);
}

/// Good requests that are refused on purpose: name, status, and why.
const STRICTER: &[(&str, u16, &str)] = &[
    ("M-SEARCH request", 400, "no path: `*` means the server as a whole, which has nothing to say"),
    ("SOURCE request with ICE", 400, "not HTTP"),
    ("OPTIONS request with RTSP", 400, "not HTTP"),
    ("ANNOUNCE request with RTSP", 400, "not HTTP"),
    ("No HTTP version", 400, "HTTP/0.9 has no headers, so no `Host`"),
    ("POST with `chunked` as last transfer-encoding", 501, "no coding but `chunked` is understood"),
    (
        "POST with `chunked` as last transfer-encoding (multiple headers)",
        501,
        "no coding but `chunked` is understood",
    ),
    ("Host terminated by a query string", 400, "the target names another host than `Host`"),
    ("`host:port` terminated by a query string", 400, "the target names another host than `Host`"),
    ("`host:port` terminated by a space", 400, "the target names another host than `Host`"),
    (
        "Fragment in URI",
        400,
        "RFC 9112 §3.2 has no fragment in a target, and proxies differ about what it means",
    ),
    ("`host:port` and basic auth", 400, "user information in a target is deprecated (RFC 9110 §4.2.4)"),
    ("parse multiline", 400, "folded lines are read differently by different servers (RFC 9112 §5.2)"),
    ("accept MSB chars", 400, "a target is ASCII (RFC 3986 §2)"),
    ("accept multiple spaces between tokens", 400, "single spaces (RFC 9112 §3)"),
];
