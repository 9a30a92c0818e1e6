//! Where a request head ends, and what it says: strict HTTP/1.1 over `httparse`. Must never know what a path
//! means.
//!
//! The parser behind it forgives a bare LF; a proxy in front may not, and where two readers disagree about
//! lines, requests are smuggled. So every byte of a head passes [`HeadScanner`] first, and a peer that breaks
//! the grammar is refused and cut.

use std::fmt;

use httparse::{EMPTY_HEADER, Header};

pub use super::answer::{
    Answer, Refusal, put_answer, put_answer_head, put_continue, put_refusal, put_refusal_with,
    put_stream_head,
};
use super::authority::Authority;
use super::target::Target;
use crate::limits::{HEAD_BYTES_MAX, HEAD_HEADERS_MAX};
use crate::metrics::cause::Cause;

/// Finds the end of a head that may arrive byte by byte.
///
/// It remembers how far it searched, so that all the calls for one head together cost linear time (a parser
/// that starts again at every read costs minutes of CPU: tungstenite, CVE-2023-43669). A new head needs a new
/// scanner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadScanner {
    /// Bytes that need no second look.
    searched: u16,
    /// Bytes of empty lines before the request line; RFC 9112 §2.2 asks servers to skip them.
    leading: u16,
}

const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize);

impl HeadScanner {
    /// Searches `bytes`, everything received since the head began; what follows the head is not looked at.
    ///
    /// Returns the length of the head with its blank line, or `None` while that has not arrived.
    ///
    /// # Errors
    /// 431 when [`HEAD_BYTES_MAX`] bytes hold no end; 400 for a line that does not end with CRLF, and for
    /// control bytes, as soon as they are seen.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        let mut at = usize::from(self.searched).min(window.len());
        while let Some(skipped) = find_control(&window[at..]) {
            at += skipped;
            match (window[at], window.get(at + 1)) {
                (b'\t', _) => at += 1,
                // What follows the CR decides, once it is there.
                (b'\r', None) => return self.not_yet(at, bytes.len()),
                (b'\r', Some(b'\n')) => {
                    let line_is_empty = at == 0 || window[at - 1] == b'\n';
                    at += 2;
                    if line_is_empty && at - 2 > usize::from(self.leading) {
                        return Ok(Some(at));
                    } else if line_is_empty {
                        self.leading = at as u16; // Within HEAD_BYTES_MAX, asserted above.
                    }
                }
                (b'\r', Some(_)) => return Err(illegal("a CR without LF", at)),
                (b'\n', _) => return Err(illegal("a LF without CR", at)),
                (_, _) => return Err(illegal("a control byte", at)),
            }
        }
        self.not_yet(window.len(), bytes.len())
    }

    fn not_yet(&mut self, searched: usize, received: usize) -> Result<Option<usize>, Refusal> {
        if received >= HEAD_BYTES_MAX {
            let message = format!(
                "the request head is longer than {HEAD_BYTES_MAX} bytes: send fewer or shorter headers"
            );
            return Err(Refusal::new(431, "too_large", message).because(Cause::TooLarge));
        }
        self.searched = searched as u16; // Within HEAD_BYTES_MAX, asserted above.
        Ok(None)
    }
}

/// The first control byte. Looks at whole blocks first, which the compiler makes one comparison of.
fn find_control(bytes: &[u8]) -> Option<usize> {
    let is_text =
        |block: &&[u8; 16]| !block.iter().fold(false, |found, byte| found | byte.is_ascii_control());
    let text = bytes.as_chunks().0.iter().take_while(is_text).count() * 16;
    bytes[text..].iter().position(u8::is_ascii_control).map(|found| text + found)
}

fn illegal(what: &str, at: usize) -> Refusal {
    Refusal::bad_request(format!(
        "the request head holds {what} at byte {at}: end lines with CRLF, send text only"
    ))
}

/// A request head, borrowed from the receive buffer.
pub struct Head<'b> {
    /// Case-sensitive, a token.
    pub method: &'b str,
    /// Begins with a slash; not percent-decoded.
    pub path: &'b str,
    /// What follows the first question mark of the target; not percent-decoded.
    pub query: Option<&'b str>,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor: u8,
    /// The `Host` header; always there with HTTP/1.1.
    pub host: Option<Authority<'b>>,
    headers: [Header<'b>; HEAD_HEADERS_MAX],
    headers_len: usize,
}

impl<'b> Head<'b> {
    /// Parses `bytes`, which are exactly one head as [`HeadScanner::scan`] delimits it.
    ///
    /// # Errors
    /// 400 where the grammar of RFC 9112 is broken (whitespace before a colon, folded lines, a missing,
    /// second or malformed `Host`, a target that no proxy may send us); 431 for more than
    /// [`HEAD_HEADERS_MAX`] headers; 505 for other versions than 1.0 and 1.1.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, Refusal> {
        // The scanner is the one judge of lines; asking it again costs less than trusting every caller to
        // have asked.
        if HeadScanner::default().scan(bytes)? != Some(bytes.len()) {
            return Err(Refusal::bad_request("the request head does not end with its first empty line"));
        }
        let mut headers = [EMPTY_HEADER; HEAD_HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let malformed =
            || Refusal::bad_request("the request head is not HTTP: send `METHOD /path HTTP/1.1` and headers");
        request.parse(bytes).map_err(|error| refusal_of(error, bytes))?;
        let (method, target) = request.method.zip(request.path).ok_or_else(malformed)?;
        let (minor, headers_len) = (request.version.ok_or_else(malformed)?, request.headers.len());

        let mut head = Self { method, path: "/", query: None, minor, host: None, headers, headers_len };
        head.host = head.parse_host()?;
        Target { path: head.path, query: head.query } = Target::parse(target, head.host.as_ref())?;
        Ok(head)
    }

    /// The value of the first header of that name, in any case, without the whitespace around it.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// The values of all headers of that name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        values(self.headers(), name)
    }

    /// The value of a header that may come once.
    ///
    /// # Errors
    /// 400 when it comes again, with the same value or another.
    pub fn only(&self, name: &str) -> Result<Option<&'b [u8]>, Refusal> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Refusal::bad_request(format!("`{name}` came more than once: send it once"))),
        }
    }

    /// The non-empty members of a comma-separated list, over all headers of that name (RFC 9110 §5.6.1).
    pub fn members(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        members(self.headers(), name)
    }

    /// Whether the list under `name` holds `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.members(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether the peer expects the connection to stay open after the answer (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        !self.has_token("connection", "close")
            && (self.minor == 1 || self.has_token("connection", "keep-alive"))
    }

    /// Whether the peer waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.minor == 1 && self.has_token("expect", "100-continue")
    }

    fn headers(&self) -> &[Header<'b>] {
        &self.headers[..self.headers_len]
    }

    /// RFC 9112 §3.2: exactly one valid `Host` with HTTP/1.1, at most one before.
    fn parse_host(&self) -> Result<Option<Authority<'b>>, Refusal> {
        match self.only("host")? {
            None if self.minor == 0 => Ok(None),
            None => Err(Refusal::bad_request("`Host` is missing: name the host that you are calling")),
            Some(value) => match Authority::parse(value) {
                Some(host) => Ok(Some(host)),
                None => Err(Refusal::bad_request("`Host` is not a host and an optional port")),
            },
        }
    }
}

/// Method, path and version only: a query may hold a token, and headers do hold secrets; neither belongs into
/// a log.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, minor, headers_len, .. } = self;
        write!(f, "{method} {path} HTTP/1.{minor} ({headers_len} headers)")
    }
}

/// The values of all headers called `name`.
pub(super) fn values<'b>(headers: &[Header<'b>], name: &str) -> impl Iterator<Item = &'b [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The non-empty members of the list in all headers called `name`.
pub(super) fn members<'b>(headers: &[Header<'b>], name: &str) -> impl Iterator<Item = &'b [u8]> {
    values(headers, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// A token of RFC 9110 §5.6.2: what methods, header names and subprotocols are made of.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// A byte that a token may hold.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn refusal_of(error: httparse::Error, bytes: &[u8]) -> Refusal {
    use httparse::Error;
    let message = match error {
        Error::TooManyHeaders => {
            let message = format!("more than {HEAD_HEADERS_MAX} headers: send fewer");
            return Refusal::new(431, "too_large", message).because(Cause::TooLarge);
        }
        Error::Version if names_http_version(bytes) => {
            let message = "this port speaks HTTP/1.1: send `HTTP/1.1`";
            return Refusal::new(505, "version_not_supported", message).because(Cause::HttpVersion);
        }
        Error::Version | Error::Token => {
            "the request line is malformed: send `METHOD /path HTTP/1.1`, single spaces"
        }
        Error::HeaderName => {
            "a header name is malformed: names are tokens, no space stands before the colon, lines are not folded"
        }
        Error::HeaderValue => "a header value holds a control byte",
        Error::NewLine | Error::Status => "a line does not end with CRLF",
    };
    Refusal::bad_request(message)
}

/// Whether the first line is a request line of three parts, the last of them `HTTP/` and a version number.
fn names_http_version(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start().split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ');
    let version = parts.nth(2).and_then(|part| part.strip_prefix(b"HTTP/")).unwrap_or_default();
    let is_number = match version {
        [major] => major.is_ascii_digit(),
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    is_number && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "GET /live?channel=a HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n";

    /// Scans as if the bytes had arrived up to each of `cuts` in turn, and then whole.
    fn scan_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<usize>, u16> {
        let mut scanner = HeadScanner::default();
        for &cut in cuts.iter().chain([&bytes.len()]) {
            match scanner.scan(&bytes[..cut]) {
                Ok(None) => {}
                other => return other.map_err(|refusal| refusal.status),
            }
        }
        Ok(None)
    }

    /// What the scanner should find, said without regard for speed.
    fn scan_naively(bytes: &[u8]) -> Result<Option<usize>, u16> {
        let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        let leading = window.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
        let end =
            window[leading..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| leading + at + 4);
        let head = &window[..end.unwrap_or(window.len())];
        for (at, &byte) in head.iter().enumerate() {
            let legal = match byte {
                b'\r' => head.get(at + 1).is_none_or(|&next| next == b'\n'),
                b'\n' => at > 0 && head[at - 1] == b'\r',
                b'\t' => true,
                byte => !byte.is_ascii_control(),
            };
            if !legal {
                return Err(400);
            }
        }
        if end.is_none() && bytes.len() >= HEAD_BYTES_MAX { Err(431) } else { Ok(end) }
    }

    fn parsed(text: &str) -> Result<Head<'_>, u16> {
        Head::parse(text.as_bytes()).map_err(|refusal| refusal.status)
    }

    fn status(text: &str) -> u16 {
        parsed(text).map_or_else(|status| status, |_| 200)
    }

    /// A good head with these header lines.
    fn head_with(lines: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    /// A head of exactly so many bytes.
    fn head_of(bytes: usize) -> String {
        let empty = head_with("X: \r\n");
        head_with(&format!("X: {}\r\n", "x".repeat(bytes - empty.len())))
    }

    #[test]
    fn the_end_of_a_head_is_found_and_what_follows_is_left_alone() {
        let glued = [HEAD.as_bytes(), b"\x81\x05\n\0\r"].concat();
        assert_eq!(HeadScanner::default().scan(&glued), Ok(Some(HEAD.len())));
        for len in 0..HEAD.len() {
            assert_eq!(HeadScanner::default().scan(&HEAD.as_bytes()[..len]), Ok(None), "{len}");
        }
    }

    #[test]
    fn empty_lines_before_the_request_line_are_skipped() {
        let led = format!("\r\n\r\n{HEAD}");
        let every_byte: Vec<usize> = (0..led.len()).collect();
        assert_eq!(scan_in_pieces(led.as_bytes(), &every_byte), Ok(Some(led.len())));
        assert_eq!(parsed(&led).unwrap().path, "/live");
        assert_eq!(HeadScanner::default().scan(b"\r\n\r\n"), Ok(None));
        assert_eq!(status("\r\n\r\n"), 400);
    }

    #[test]
    fn a_byte_that_no_head_may_hold_is_refused_as_soon_as_it_is_seen() {
        for byte in 0..=255u8 {
            let legal = byte == b'\t' || byte == b'\r' || !byte.is_ascii_control();
            let bytes = [b"GET / HTTP/1.1\r\nHost: a", &[byte][..]].concat();
            assert_eq!(HeadScanner::default().scan(&bytes).is_ok(), legal, "byte {byte}");
        }
        for text in ["\n", "G\n", "GET / HTTP/1.1\n", "a\r\n\n", "a\rb", "a\r\r\n", "\r\r", "a\r\n\rb"] {
            assert_eq!(HeadScanner::default().scan(text.as_bytes()).unwrap_err().status, 400, "{text:?}");
        }
    }

    #[test]
    fn a_head_of_the_limit_is_accepted_and_one_byte_more_refused() {
        for (bytes, expected) in [(HEAD_BYTES_MAX - 1, 200), (HEAD_BYTES_MAX, 200), (HEAD_BYTES_MAX + 1, 431)]
        {
            let text = head_of(bytes);
            assert_eq!(text.len(), bytes);
            assert_eq!(status(&text), expected, "{bytes}");
            // Whatever arrives behind it does not count.
            let glued = format!("{text}{}", "y".repeat(HEAD_BYTES_MAX));
            let scanned = HeadScanner::default().scan(glued.as_bytes()).map_err(|refusal| refusal.status);
            assert_eq!(scanned, if expected == 200 { Ok(Some(bytes)) } else { Err(431) });
        }
    }

    #[test]
    fn a_head_arriving_byte_by_byte_costs_linear_work() {
        let text = head_of(HEAD_BYTES_MAX);
        let mut scanner = HeadScanner::default();
        let mut work = 0;
        for len in 1..=text.len() {
            work += len - usize::from(scanner.searched);
            let found = scanner.scan(&text.as_bytes()[..len]);
            assert_eq!(found, Ok((len == text.len()).then_some(len)));
        }
        assert!(work <= 2 * text.len(), "{work} bytes searched for {}", text.len());
    }

    proptest! {
        #[test]
        fn scanning_in_pieces_equals_scanning_at_once(
            parts in prop::collection::vec(
                prop::sample::select(&["\r\n", "\r", "\n", "GET / HTTP/1.1", "X: y", "\r\n\r\n", "\t", "\0", "\u{fc}", "aaaa"][..]), 0..12),
            padding in prop::sample::select(&[0, 0, 0, HEAD_BYTES_MAX - 9, HEAD_BYTES_MAX][..]),
            seeds in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let text = format!("{}{}", "a".repeat(padding), parts.concat());
            let mut cuts: Vec<usize> = seeds.iter().map(|seed| seed.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let at_once = scan_in_pieces(text.as_bytes(), &[]);
            let every_byte: Vec<usize> = (0..text.len()).collect();
            prop_assert_eq!(scan_in_pieces(text.as_bytes(), &cuts), at_once);
            prop_assert_eq!(scan_in_pieces(text.as_bytes(), &every_byte), at_once);
            prop_assert_eq!(scan_naively(text.as_bytes()), at_once);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Head::parse(&bytes);
            let _ = Head::parse(&[HEAD.as_bytes(), &bytes].concat());
        }
    }

    #[test]
    fn the_request_line_is_taken_apart() {
        let head = parsed(HEAD).unwrap();
        assert_eq!((head.method, head.path, head.query, head.minor), ("GET", "/live", Some("channel=a"), 1));
        assert_eq!(head.host.unwrap().host, "a.example");
        assert_eq!(format!("{head:?}"), "GET /live HTTP/1.1 (2 headers)");
        let old = parsed("PUT / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!((old.method, old.minor, old.host, old.query), ("PUT", 0, None, None));
    }

    #[test]
    fn only_exactly_one_head_is_parsed() {
        assert_eq!(status(&HEAD[..HEAD.len() - 1]), 400);
        assert_eq!(status(&format!("{HEAD}x")), 400);
        assert_eq!(status(""), 400);
    }

    #[test]
    fn the_request_line_has_three_parts_and_single_spaces() {
        for line in [
            "GET",
            "GET /",
            " / HTTP/1.1",
            "GET  HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET / x HTTP/1.1",
            "G@T / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/1.",
            "GET / HTTP/",
            "GET / HTTP",
            "GET / RTSP/1.0",
            "GET / ICE/1.0",
            "GET / IHTTP/1.0",
            "GET * HTTP/1.1",
            "PRI * HTTP/1.1",
            "CONNECT a:443 HTTP/1.1",
            "GET /#f HTTP/1.1",
            "GET /\u{fc} HTTP/1.1",
            "GET http://b/ HTTP/1.1",
            "GET a HTTP/1.1",
        ] {
            let status = status(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert_eq!(status, 400, "{line:?}");
        }
        assert_eq!(parsed("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().query, Some("q"));
    }

    #[test]
    fn other_versions_of_http_are_told_to_use_1_1() {
        for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/5.6"] {
            assert_eq!(status(&format!("GET / {version}\r\nHost: a\r\n\r\n")), 505, "{version}");
        }
        assert_eq!(status("PRI * HTTP/2.0\r\n\r\n"), 505);
    }

    #[test]
    fn host_comes_once_and_is_a_host() {
        let with_host = |lines: &str| status(&format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(with_host("Host: a\r\n"), 200);
        assert_eq!(with_host("hOST:[::1]:80\r\n"), 200);
        for lines in [
            "",
            "Host:\r\n",
            "Host: \t\r\n",
            "Host: a b\r\n",
            "Host: u@a\r\n",
            "Host: a/b\r\n",
            "Host: a, b\r\n",
        ] {
            assert_eq!(with_host(lines), 400, "{lines:?}");
        }
        assert_eq!(with_host("Host: a\r\nhost: a\r\n"), 400);
        assert_eq!(with_host("Host: a\r\nX: y\r\nHost: b\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    }

    #[test]
    fn header_lines_that_others_might_read_differently_are_refused() {
        for lines in [
            "X : y\r\n",
            "X\t: y\r\n",
            "X: y\r\n folded\r\n",
            "X: y\r\n\tfolded\r\n",
            " X: y\r\n",
            ": y\r\n",
            "X\r\n",
            "X y\r\n",
            "X@: y\r\n",
            "X\u{fc}: y\r\n",
            "(X): y\r\n",
            "X: a\0b\r\n",
            "X: a\u{b}b\r\n",
            "X: a\rb\r\n",
            "X: a\nY: b\r\n",
            "X\n: a\r\n",
            "X: a\u{7f}\r\n",
            "X\r\n: a\r\n",
        ] {
            assert_eq!(status(&head_with(lines)), 400, "{lines:?}");
        }
        for lines in ["X:\r\n", "X: a\tb\r\n", "X: \u{fc}\r\n", "!#$%&'*+-.^_`|~9: y\r\n", "X: a:b\r\n"] {
            assert_eq!(status(&head_with(lines)), 200, "{lines:?}");
        }
    }

    #[test]
    fn as_many_headers_as_the_limit_are_accepted_and_one_more_refused() {
        // `Host` is one of them.
        assert_eq!(status(&head_with(&"X: y\r\n".repeat(HEAD_HEADERS_MAX - 1))), 200);
        assert_eq!(status(&head_with(&"X: y\r\n".repeat(HEAD_HEADERS_MAX))), 431);
    }

    #[test]
    fn headers_are_found_in_any_case_and_in_order() {
        let text = head_with("a-b: \t1 \t\r\nC: 3\r\nA-B:2\r\n");
        let head = parsed(&text).unwrap();
        assert_eq!(head.header("A-b"), Some(&b"1"[..]));
        assert_eq!(head.all("a-B").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.header("a"), None);
        assert_eq!(head.only("c"), Ok(Some(&b"3"[..])));
        assert_eq!(head.only("d"), Ok(None));
        assert_eq!(head.only("a-b").unwrap_err().status, 400);
    }

    #[test]
    fn tokens_are_found_in_lists_over_repeated_headers() {
        let text = head_with("L: a, b-c ,,\r\nl: D\te\r\nL:\r\nl: \u{fc},f\r\n");
        let head = parsed(&text).unwrap();
        for token in ["a", "A", "B-C", "f"] {
            assert!(head.has_token("l", token), "{token}");
        }
        for token in ["b", "c", "d", "e", "", ","] {
            assert!(!head.has_token("l", token), "{token}");
        }
    }

    #[test]
    fn connections_stay_open_by_version_and_by_what_the_peer_asks() {
        let keeps = |minor: u8, line: &str| {
            parsed(&format!("GET / HTTP/1.{minor}\r\nHost: a\r\n{line}\r\n")).unwrap().keep_alive()
        };
        assert!(keeps(1, ""));
        assert!(keeps(1, "Connection: keep-alive\r\n"));
        assert!(!keeps(1, "Connection: Close\r\n"));
        assert!(!keeps(1, "Connection: x, close\r\n"));
        assert!(!keeps(0, ""));
        assert!(keeps(0, "Connection: Keep-Alive\r\n"));
        assert!(!keeps(0, "Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn only_http_1_1_waits_for_continue() {
        let expects = |minor: u8, value: &str| {
            parsed(&format!("GET / HTTP/1.{minor}\r\nHost: a\r\nExpect: {value}\r\n\r\n"))
                .unwrap()
                .expects_continue()
        };
        assert!(expects(1, "100-Continue"));
        assert!(!expects(1, "100"));
        assert!(!expects(0, "100-continue"));
    }
}
