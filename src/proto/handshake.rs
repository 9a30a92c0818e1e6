//! The WebSocket upgrade (RFC 6455 §4), both sides of it. Must never know which path serves what, nor who the
//! user is.
//!
//! A request that asks for an upgrade and does not get it is refused and cut, never answered as plain HTTP: a
//! proxy in front may already take the connection for a tunnel.

use std::fmt;

use httparse::{EMPTY_HEADER, Response};
use tungstenite::handshake::derive_accept_key;

use super::answer::{Refusal, put_field};
use super::http::{Head, is_token, members, values};
use super::origin::OriginPolicy;
use crate::limits::HEAD_HEADERS_MAX;
use crate::metrics::cause::Cause;

/// An upgrade that may be granted.
#[derive(Debug)]
pub struct Upgrade<'h> {
    /// The request: its path and query say what is wanted.
    pub head: &'h Head<'h>,
    /// The `Sec-WebSocket-Accept` that proves the request was read; 28 characters.
    pub accept_key: String,
}

impl<'h> Upgrade<'h> {
    /// Subprotocols in the order of the client's preference, as raw as they came.
    pub fn protocols(&self) -> impl Iterator<Item = &'h [u8]> {
        self.head.members("sec-websocket-protocol")
    }

    /// Whether the client speaks the subprotocol; names are case-sensitive.
    pub fn has_protocol(&self, protocol: &str) -> bool {
        self.protocols().any(|offered| offered == protocol.as_bytes())
    }
}

/// Checks everything that RFC 6455 §4.2.1 asks of an upgrade, and the page's origin.
///
/// # Errors
/// 405 for another method than `GET`, 505 for HTTP/1.0, 426 where no WebSocket or another version of it is
/// asked for, 400 for a wrong key and for a body, 403 for a page that may not connect.
pub fn check<'h>(head: &'h Head<'h>, origins: &OriginPolicy) -> Result<Upgrade<'h>, Refusal> {
    if head.method != "GET" {
        let refusal = Refusal::new(405, "method_not_allowed", "a WebSocket is opened with `GET`");
        return Err(refusal.with_header("Allow", "GET").because(Cause::Method));
    }
    if head.minor == 0 {
        return Err(Refusal::new(
            505,
            "version_not_supported",
            "a WebSocket is opened with HTTP/1.1: send `HTTP/1.1`",
        )
        .because(Cause::HttpVersion));
    }
    check_upgrade(head)?;
    let key = check_key(head)?;
    for name in ["Content-Length", "Transfer-Encoding"] {
        if head.header(name).is_some() {
            // Its bytes would be read as frames here, and as a body by a proxy.
            return Err(Refusal::bad_request(format!(
                "`{name}` on an upgrade: leave it out, a WebSocket request has no body"
            ))
            .because(Cause::Body));
        }
    }
    check_origin(head, origins)?;
    Ok(Upgrade { head, accept_key: derive_accept_key(key) })
}

fn check_upgrade(head: &Head<'_>) -> Result<(), Refusal> {
    let refusal = |message| {
        Refusal::new(426, "upgrade_required", message)
            .with_header("Sec-WebSocket-Version", "13")
            .because(Cause::Upgrade)
    };
    if !head.has_token("upgrade", "websocket") {
        return Err(refusal("this path serves WebSockets: send `Upgrade: websocket`"));
    }
    if !head.has_token("connection", "upgrade") {
        return Err(refusal(
            "`Connection` does not list `Upgrade`: send `Connection: Upgrade`, and let proxies pass it on",
        ));
    }
    match head.only("Sec-WebSocket-Version")? {
        Some(b"13") => Ok(()),
        Some(_) => {
            Err(refusal("`Sec-WebSocket-Version` is another than 13: send 13").because(Cause::Version))
        }
        None => Err(refusal("`Sec-WebSocket-Version` is missing: send 13").because(Cause::Version)),
    }
}

fn check_key<'b>(head: &Head<'b>) -> Result<&'b [u8], Refusal> {
    let wrong = |message| Err(Refusal::bad_request(message).because(Cause::Key));
    match head.only("Sec-WebSocket-Key")? {
        Some(key) if is_key(key) => Ok(key),
        Some(_) => wrong("`Sec-WebSocket-Key` is malformed: send the base64 of 16 random bytes"),
        None => wrong("`Sec-WebSocket-Key` is missing: send the base64 of 16 random bytes"),
    }
}

/// Base64 of 16 bytes. The four bits of the last digit that no byte needs may be anything, as most decoders
/// allow.
fn is_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| {
        digits.len() == 22
            && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'))
    })
}

fn check_origin(head: &Head<'_>, origins: &OriginPolicy) -> Result<(), Refusal> {
    let origin = head.only("Origin")?;
    let host = head.header("host").unwrap_or_default();
    if origins.allows(origin, host) {
        return Ok(());
    }
    Err(forbidden_origin())
}

/// 403 for a page that may not connect.
pub fn forbidden_origin() -> Refusal {
    Refusal::new(
        403,
        "forbidden",
        "pages from this `Origin` may not connect: list it with the option `--origin`",
    )
    .because(Cause::Origin)
}

/// Appends the 101 that opens the WebSocket; `protocol` is the subprotocol chosen, one that the client
/// offered.
pub fn put_switching(out: &mut Vec<u8>, upgrade: &Upgrade<'_>, protocol: Option<&str>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    put_field(out, "Sec-WebSocket-Accept", &upgrade.accept_key);
    if let Some(protocol) = protocol {
        put_field(out, "Sec-WebSocket-Protocol", protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// The `Sec-WebSocket-Key` of a client: base64 of sixteen bytes that should be random.
pub fn encode_key(random: [u8; 16]) -> String {
    let digit = |bits: u128| char::from(BASE64[(bits & 63) as usize]);
    let bits = u128::from_be_bytes(random);
    // 128 bits are 21 digits of six and one of two, which stands in the upper bits of its digit.
    let whole = (0..21).map(|place| digit(bits >> (122 - 6 * place)));
    whole.chain([digit(bits << 4)]).chain("==".chars()).collect()
}

/// What a client sends to open a WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Host and port, as in the URL.
    pub host: &'a str,
    /// Path and query; bytes that no target may hold are percent-encoded on the way out.
    pub target: &'a str,
    /// From [`encode_key`].
    pub key: &'a str,
    /// Further headers, name and value.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Appends the client's request to `out`.
pub fn put_request(out: &mut Vec<u8>, request: &Request<'_>) {
    out.extend_from_slice(b"GET ");
    for byte in request.target.bytes() {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    put_field(out, "Host", request.host);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    put_field(out, "Sec-WebSocket-Key", request.key);
    for (name, value) in request.headers {
        put_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Why a client does not take an answer for an open WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchingError {
    /// The bytes are no HTTP/1.1 response head.
    Malformed,
    /// The server answered with another status than 101.
    Refused(u16),
    /// `Upgrade` or `Connection` do not name the WebSocket.
    NotWebSocket,
    /// `Sec-WebSocket-Accept` is missing, repeated, or belongs to another key.
    WrongAccept,
    /// The server chose an extension or more than one subprotocol; nobody offered that.
    NotOffered,
}

impl fmt::Display for SwitchingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Malformed => "the answer is not HTTP/1.1",
            Self::Refused(status) => return write!(f, "the server refused the upgrade with status {status}"),
            Self::NotWebSocket => "the answer does not switch to a WebSocket",
            Self::WrongAccept => "the answer's `Sec-WebSocket-Accept` does not fit the key sent",
            Self::NotOffered => "the answer chooses an extension or subprotocols that were not offered",
        };
        f.write_str(text)
    }
}

impl std::error::Error for SwitchingError {}

/// Checks the head of the server's answer (RFC 6455 §4.1); `bytes` are exactly the head, as
/// [`HeadScanner`](super::http::HeadScanner) delimits it. Returns the subprotocol that the server chose; the
/// caller knows which ones it offered.
///
/// # Errors
/// One variant for each thing that can be wrong.
pub fn check_switching<'b>(bytes: &'b [u8], key: &str) -> Result<Option<&'b str>, SwitchingError> {
    let mut headers = [EMPTY_HEADER; HEAD_HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(status) if status.is_complete() => {}
        Ok(_) | Err(_) => return Err(SwitchingError::Malformed),
    }
    match response.code {
        Some(101) => {}
        Some(status) => return Err(SwitchingError::Refused(status)),
        None => return Err(SwitchingError::Malformed),
    }
    let has =
        |name, token: &[u8]| members(response.headers, name).any(|member| member.eq_ignore_ascii_case(token));
    if response.version != Some(1) || !has("upgrade", b"websocket") || !has("connection", b"upgrade") {
        return Err(SwitchingError::NotWebSocket);
    }
    let accept_key = derive_accept_key(key.as_bytes());
    if !values(response.headers, "sec-websocket-accept").eq([accept_key.as_bytes()]) {
        return Err(SwitchingError::WrongAccept);
    }
    let mut protocols = values(response.headers, "sec-websocket-protocol");
    let protocol = protocols.next();
    let extended = values(response.headers, "sec-websocket-extensions").next().is_some();
    if extended || protocols.next().is_some() || !protocol.is_none_or(is_token) {
        return Err(SwitchingError::NotOffered);
    }
    Ok(protocol.and_then(|token| str::from_utf8(token).ok()))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::super::http::HeadScanner;
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: [&str; 5] = [
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];

    fn request(line: &str, headers: &[&str]) -> Vec<u8> {
        format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
    }

    /// The accept key, or status and message of the refusal.
    fn checked(bytes: &[u8]) -> Result<String, (u16, String)> {
        let told = |refusal: Refusal| (refusal.status, refusal.message.into_owned());
        let head = Head::parse(bytes).map_err(told)?;
        check(&head, &OriginPolicy::SameOrigin).map(|upgrade| upgrade.accept_key).map_err(told)
    }

    /// The good request with the header at `place` replaced by others.
    fn with(place: usize, headers: &[&str]) -> Result<String, (u16, String)> {
        let mut lines = GOOD.to_vec();
        lines.splice(place..=place, headers.iter().copied());
        checked(&request("GET /live HTTP/1.1", &lines))
    }

    /// The good request with further headers.
    fn plus(headers: &[&str]) -> Result<String, (u16, String)> {
        checked(&request("GET /live HTTP/1.1", &[&GOOD, headers].concat()))
    }

    fn assert_refused(result: Result<String, (u16, String)>, status: u16, word: &str) {
        let (found, message) = result.unwrap_err();
        assert_eq!(found, status, "{message}");
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_with_its_accept_key() {
        assert_eq!(
            checked(&request("GET /chat HTTP/1.1", &GOOD)).as_deref(),
            Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }

    #[test]
    fn headers_come_in_any_order_and_case_and_in_lists() {
        let mut lines = GOOD;
        for turn in 0..GOOD.len() {
            lines.rotate_left(1);
            for change in [str::to_ascii_lowercase as fn(&str) -> String, str::to_ascii_uppercase] {
                // The key's value is the one that keeps its case.
                let changed = lines.map(|line| {
                    let (name, value) = line.split_once(": ").unwrap();
                    format!("{}:{}", change(name), if value == KEY { KEY.to_owned() } else { change(value) })
                });
                let bytes = request("GET / HTTP/1.1", &changed.each_ref().map(String::as_str));
                assert!(checked(&bytes).is_ok(), "turn {turn}: {changed:?}");
            }
        }
        for lists in [
            &["Connection: keep-alive, Upgrade"][..],
            &["Connection: keep-alive,\t,uPgRaDe  ,"],
            &["Connection: keep-alive", "Connection: Upgrade"],
        ] {
            assert!(with(2, lists).is_ok(), "{lists:?}");
        }
        assert!(with(1, &["Upgrade: h2c, WebSocket"]).is_ok());
        assert!(with(1, &["Upgrade: h2c", "Upgrade: websocket"]).is_ok());
    }

    #[test]
    fn only_get_over_http_1_1_opens_a_websocket() {
        for method in ["POST", "HEAD", "OPTIONS", "get", "GETX"] {
            let bytes = request(&format!("{method} /live HTTP/1.1"), &GOOD);
            let head = Head::parse(&bytes).unwrap();
            let refusal = check(&head, &OriginPolicy::Any).unwrap_err();
            assert_eq!((refusal.status, refusal.header), (405, Some(("Allow", "GET".into()))), "{method}");
        }
        assert_refused(checked(&request("GET /live HTTP/1.0", &GOOD)), 505, "HTTP/1.1");
        assert_refused(checked(&request("GET /live HTTP/2.0", &GOOD)), 505, "HTTP/1.1");
    }

    #[test]
    fn what_asks_for_no_websocket_of_version_13_is_told_to() {
        assert_refused(with(1, &[]), 426, "`Upgrade: websocket`");
        assert_refused(with(1, &["Upgrade: h2c"]), 426, "`Upgrade: websocket`");
        assert_refused(with(1, &["Upgrade: websocket2"]), 426, "`Upgrade: websocket`");
        assert_refused(with(2, &[]), 426, "`Connection");
        assert_refused(with(2, &["Connection: keep-alive"]), 426, "`Connection");
        assert_refused(with(2, &["Connection: Upgrade-Insecure"]), 426, "`Connection");
        assert_refused(with(4, &[]), 426, "missing");
        for version in ["8", "12", "14", "013", "13, 8", "x", ""] {
            assert_refused(with(4, &[&format!("Sec-WebSocket-Version: {version}")]), 426, "send 13");
        }
        assert_refused(plus(&["Sec-WebSocket-Version: 13"]), 400, "Sec-WebSocket-Version");
        let bytes = request("GET / HTTP/1.1", &GOOD[..4]);
        let refusal = check(&Head::parse(&bytes).unwrap(), &OriginPolicy::Any).unwrap_err();
        assert_eq!(refusal.header, Some(("Sec-WebSocket-Version", "13".into())));
    }

    #[test]
    fn the_key_is_the_base64_of_sixteen_bytes_and_comes_once() {
        assert_refused(with(3, &[]), 400, "missing");
        assert_refused(plus(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]), 400, "once");
        assert_refused(plus(&["sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="]), 400, "once");
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "hGhlIHNhbXBsZSBub25jZ===",
            "dGhlIHNhbXBsZSBub25j==",
            "dGhlIHNhbXBsZSBub25jZQAA==",
            "dGhlIHNhbXBsZSBub2 jZQ==",
            "dGhlIHNhbXBsZSBub2-jZQ==",
            "dGhlIHNhbXBsZSBub2_jZQ==",
            "=GhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==, x",
        ] {
            assert_refused(with(3, &[&format!("Sec-WebSocket-Key: {key}")]), 400, "malformed");
        }
        for key in ["AAAAAAAAAAAAAAAAAAAAAA==", "++++++++++++++//////zz==", " \tdGhlIHNhbXBsZSBub25jZQ== "] {
            assert!(with(3, &[&format!("Sec-WebSocket-Key:{key}")]).is_ok(), "{key}");
        }
    }

    #[test]
    fn a_body_on_an_upgrade_is_refused_even_an_empty_one() {
        for header in [
            "Content-Length: 0",
            "Content-Length: 5",
            "content-length:",
            "Transfer-Encoding: chunked",
            "transfer-encoding: x",
        ] {
            assert_refused(plus(&[header]), 400, "no body");
        }
    }

    #[test]
    fn a_page_from_elsewhere_is_refused() {
        assert!(plus(&["Origin: https://server.example.com"]).is_ok());
        assert_refused(plus(&["Origin: https://evil.example.com"]), 403, "`--origin`");
        assert_refused(plus(&["Origin: null"]), 403, "`Origin`");
        assert_refused(plus(&["Origin:"]), 403, "`Origin`");
        assert_refused(
            plus(&["Origin: https://server.example.com", "Origin: https://server.example.com"]),
            400,
            "once",
        );
    }

    #[test]
    fn subprotocols_are_bytes_and_may_repeat() {
        let lines =
            [&GOOD[..], &["Sec-WebSocket-Protocol: gr\u{fc}n, roost.v1,,a", "sec-websocket-protocol: a"]]
                .concat();
        let bytes = request("GET / HTTP/1.1", &lines);
        let head = Head::parse(&bytes).unwrap();
        let upgrade = check(&head, &OriginPolicy::SameOrigin).unwrap();
        let offered: Vec<_> = upgrade.protocols().collect();
        assert_eq!(offered, ["gr\u{fc}n".as_bytes(), b"roost.v1", b"a", b"a"]);
        assert!(upgrade.has_protocol("roost.v1") && upgrade.has_protocol("a"));
        assert!(!upgrade.has_protocol("ROOST.v1") && !upgrade.has_protocol("roost"));
        let bytes: Vec<u8> = bytes.iter().map(|&byte| if byte == 0xc3 { 0xff } else { byte }).collect();
        let head = Head::parse(&bytes).unwrap();
        assert!(check(&head, &OriginPolicy::SameOrigin).unwrap().has_protocol("roost.v1"));
    }

    #[test]
    fn the_switching_answer_is_the_one_of_the_rfc() {
        let bytes = request("GET /chat HTTP/1.1", &GOOD);
        let head = Head::parse(&bytes).unwrap();
        let upgrade = check(&head, &OriginPolicy::SameOrigin).unwrap();
        let mut out = Vec::new();
        put_switching(&mut out, &upgrade, Some("roost.v1"));
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: roost.v1\r\n\r\n";
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn a_client_and_the_server_agree() {
        for (target, offered, chosen) in
            [("/live", None, None), ("/live?channel=a", Some("roost.v1"), Some("roost.v1"))]
        {
            let headers: Vec<_> =
                offered.map(|protocol| ("Sec-WebSocket-Protocol", protocol)).into_iter().collect();
            let mut sent = Vec::new();
            put_request(&mut sent, &Request { host: "[::1]:8080", target, key: KEY, headers: &headers });
            assert_eq!(HeadScanner::default().scan(&sent), Ok(Some(sent.len())));
            let head = Head::parse(&sent).unwrap();
            let upgrade = check(&head, &OriginPolicy::SameOrigin).unwrap();
            let mut answer = Vec::new();
            put_switching(&mut answer, &upgrade, chosen.filter(|protocol| upgrade.has_protocol(protocol)));
            assert_eq!(HeadScanner::default().scan(&answer), Ok(Some(answer.len())));
            assert_eq!(check_switching(&answer, KEY), Ok(chosen));
        }
    }

    #[test]
    fn a_request_cannot_be_split_by_what_is_put_into_it() {
        let evil = "x\r\nHost: evil\r\n\r\n \u{fc}";
        let mut sent = Vec::new();
        put_request(
            &mut sent,
            &Request { host: "a", target: &format!("/{evil}"), key: KEY, headers: &[("X", evil)] },
        );
        assert_eq!(HeadScanner::default().scan(&sent), Ok(Some(sent.len())));
        let head = Head::parse(&sent).unwrap();
        assert_eq!(head.path, "/x%0D%0AHost:%20evil%0D%0A%0D%0A%20%C3%BC");
        assert_eq!(head.all("host").count(), 1);
    }

    #[test]
    fn keys_are_base64() {
        assert_eq!(encode_key(*b"the sample nonce"), KEY);
        assert_eq!(encode_key([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(encode_key([255; 16]), "/////////////////////w==");
        assert!(is_key(encode_key(std::array::from_fn(|at| at as u8)).as_bytes()));
    }

    #[test]
    fn a_client_refuses_every_wrong_answer() {
        let good = "HTTP/1.1 101 X\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let changed = |from: &str, to: &str| {
            assert!(good.contains(from));
            check_switching(good.replacen(from, to, 1).as_bytes(), KEY)
                .map(|chosen| chosen.map(str::to_owned))
        };
        assert_eq!(check_switching(good.as_bytes(), KEY), Ok(None));
        assert_eq!(changed("\r\n\r\n", "\r\n"), Err(SwitchingError::Malformed));
        assert_eq!(changed("HTTP/1.1 101", "SSH-2.0 101"), Err(SwitchingError::Malformed));
        assert_eq!(changed("HTTP/1.1 101", "HTTP/1.0 101"), Err(SwitchingError::NotWebSocket));
        assert_eq!(changed("101 X", "503 Busy"), Err(SwitchingError::Refused(503)));
        assert_eq!(changed("101 X", "200 OK"), Err(SwitchingError::Refused(200)));
        assert_eq!(changed("Upgrade: WebSocket\r\n", ""), Err(SwitchingError::NotWebSocket));
        assert_eq!(changed("Connection: upgrade\r\n", ""), Err(SwitchingError::NotWebSocket));
        assert_eq!(changed("s3p", "S3p"), Err(SwitchingError::WrongAccept));
        assert_eq!(changed("Sec-WebSocket-Accept", "X"), Err(SwitchingError::WrongAccept));
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(changed(accept, &accept.repeat(2)), Err(SwitchingError::WrongAccept));
        assert_eq!(
            changed("Upgrade:", "Sec-WebSocket-Extensions: x\r\nUpgrade:"),
            Err(SwitchingError::NotOffered)
        );
        assert_eq!(
            changed("Upgrade:", "Sec-WebSocket-Protocol: a, b\r\nUpgrade:"),
            Err(SwitchingError::NotOffered)
        );
        let protocol = "Sec-WebSocket-Protocol: a\r\n";
        assert_eq!(
            changed("Upgrade:", &format!("{protocol}{protocol}Upgrade:")),
            Err(SwitchingError::NotOffered)
        );
        assert_eq!(changed("Upgrade:", &format!("{protocol}Upgrade:")), Ok(Some("a".to_owned())));
    }
}
