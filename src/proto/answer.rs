//! HTTP answers, and refusals with a status and a one-line JSON reason. Must never know which request is
//! answered, nor why.

use crate::metrics::cause::Cause;
use std::borrow::Cow;

/// Why a request is refused, and what the peer is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// The `error.code` of the JSON body, as the protocol reference lists it.
    pub code: &'static str,
    /// One sentence for people: what is wrong, and what to do.
    pub message: Cow<'static, str>,
    /// A header that the status calls for, such as `Allow` with 405.
    pub header: Option<(&'static str, Cow<'static, str>)>,
    /// The line of a body with many, counted from 1.
    pub line: Option<usize>,
    /// The body is only announced: a `HEAD` request gets none (RFC 9110 §9.3.2).
    pub head_only: bool,
    /// Which check the request did not pass: counted, and told to nobody.
    pub cause: Cause,
}

impl Refusal {
    /// A refusal without a header of its own.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let (message, cause) = (message.into(), Cause::Malformed);
        Self { status, code, message, header: None, line: None, head_only: false, cause }
    }

    /// The same refusal, counted under another cause than [`Cause::Malformed`].
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// 400 `bad_request`.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "bad_request", message)
    }

    /// 503 `unavailable`: this node has no room or is about to go; another connection may find one that has.
    pub fn unavailable() -> Self {
        Self::new(503, "unavailable", "no room here, connect again")
            .with_header("Retry-After", "1")
            .because(Cause::Full)
    }

    /// The same refusal with a header that its status calls for.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// `{"error":{"code":"…","message":"…"}}`, on one line; `"line"` beside it where one is to blame.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::json!({"error": {"code": self.code, "message": self.message}});
        if let Some(line) = self.line {
            json["line"] = line.into();
        }
        json.to_string()
    }
}

/// A whole HTTP/1.1 answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// `Content-Type` of the body.
    pub content_type: &'a str,
    /// The body, announced by `Content-Length` (except with 204 and 304, which have none).
    pub body: &'a [u8],
    /// Whether the peer may send another request on this connection.
    pub keep_alive: bool,
    /// Further headers, name and value.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Appends the answer to `out`.
pub fn put_answer(out: &mut Vec<u8>, answer: &Answer<'_>) {
    put_answer_head(out, answer);
    if has_body(answer.status) {
        out.extend_from_slice(answer.body);
    }
}

/// Appends the head of the answer alone: what a `HEAD` request gets (RFC 9110 §9.3.2).
pub fn put_answer_head(out: &mut Vec<u8>, answer: &Answer<'_>) {
    put_status(out, answer.status);
    if has_body(answer.status) {
        put_field(out, "Content-Type", answer.content_type);
        put_field(out, "Content-Length", &answer.body.len().to_string());
    }
    if !answer.headers.iter().any(|(name, _)| *name == "Cache-Control") {
        put_field(out, "Cache-Control", "no-store");
    }
    for (name, value) in answer.headers {
        put_field(out, name, value);
    }
    // HTTP/1.0 clients keep a connection only when told so; to the others it is no news.
    put_field(out, "Connection", if answer.keep_alive { "keep-alive" } else { "close" });
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 §15.3.5 and §15.4.5.
fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

/// Appends the head of an answer whose body is what comes until the connection ends (RFC 9112 §6.3, case 8). So every HTTP
/// version is served alike, and no piece of it has a frame that a proxy could wait to see the end of.
pub fn put_stream_head(out: &mut Vec<u8>, content_type: &str, headers: &[(&str, &str)]) {
    put_status(out, 200);
    put_field(out, "Content-Type", content_type);
    put_field(out, "Cache-Control", "no-store");
    for (name, value) in headers {
        put_field(out, name, value);
    }
    put_field(out, "Connection", "close");
    out.extend_from_slice(b"\r\n");
}

/// Appends the refusal to `out`. It always announces the end of the connection: after a head that was not
/// understood, nobody can say where the next one begins.
pub fn put_refusal(out: &mut Vec<u8>, refusal: &Refusal) {
    put_refusal_with(out, refusal, &[]);
}

/// As [`put_refusal`], with further headers.
pub fn put_refusal_with(out: &mut Vec<u8>, refusal: &Refusal, headers: &[(&str, &str)]) {
    let body = refusal.to_json();
    put_status(out, refusal.status);
    put_field(out, "Content-Type", "application/json");
    put_field(out, "Content-Length", &body.len().to_string());
    put_field(out, "Cache-Control", "no-store");
    if let Some((name, value)) = &refusal.header {
        put_field(out, name, value);
    }
    for (name, value) in headers {
        put_field(out, name, value);
    }
    if refusal.status == 426 {
        // RFC 9110 §15.5.22 and §7.8: 426 names the protocol, and whoever sends `Upgrade` lists it in
        // `Connection`.
        put_field(out, "Upgrade", "websocket");
        put_field(out, "Connection", "close, Upgrade");
    } else {
        put_field(out, "Connection", "close");
    }
    out.extend_from_slice(b"\r\n");
    if !refusal.head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Appends `100 Continue`: the peer waits for it before it sends a body (RFC 9110 §10.1.1).
pub fn put_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends one header line. Control bytes become spaces, so that no value can begin a line of its own.
pub(super) fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    put_line_text(out, name);
    out.extend_from_slice(b": ");
    put_line_text(out, value);
    out.extend_from_slice(b"\r\n");
}

fn put_line_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
}

fn put_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The phrase is for people who read the wire; RFC 9112 §4 lets it be empty.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_announces_its_length_and_whether_the_connection_stays() {
        let answer = Answer {
            status: 200,
            content_type: "text/plain",
            body: b"hello",
            keep_alive: true,
            headers: &[("Vary", "Origin")],
        };
        assert_eq!(
            text(|out| put_answer(out, &answer)),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\
             Vary: Origin\r\nConnection: keep-alive\r\n\r\nhello"
        );
        let last = text(|out| put_answer(out, &Answer { keep_alive: false, ..answer }));
        assert!(last.contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn the_answer_to_head_announces_the_body_and_leaves_it_out() {
        let answer = Answer {
            status: 200,
            content_type: "text/plain",
            body: b"hello",
            keep_alive: true,
            headers: &[],
        };
        let (whole, head) = (text(|out| put_answer(out, &answer)), text(|out| put_answer_head(out, &answer)));
        assert_eq!(whole, head.clone() + "hello");
        assert!(head.contains("Content-Length: 5\r\n"));
    }

    #[test]
    fn what_has_no_body_has_no_length_either() {
        for status in [204, 304] {
            let answer =
                Answer { status, content_type: "text/plain", body: b"x", keep_alive: true, headers: &[] };
            let written = text(|out| put_answer(out, &answer));
            assert!(!written.contains("Content-"), "{written}");
            assert!(written.ends_with("\r\n\r\n"));
        }
    }

    #[test]
    fn a_stream_goes_on_until_the_connection_ends_and_may_have_further_headers() {
        assert_eq!(
            text(|out| put_stream_head(out, "text/event-stream", &[("X-Accel-Buffering", "no")])),
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
             X-Accel-Buffering: no\r\nConnection: close\r\n\r\n"
        );
        let headers = [("Cache-Control", "no-cache")];
        let answer = Answer {
            status: 200,
            content_type: "text/plain",
            body: b"",
            keep_alive: true,
            headers: &headers,
        };
        let written = text(|out| put_answer(out, &answer));
        assert_eq!(written.matches("Cache-Control").count(), 1, "{written}");
        let refusal = Refusal::bad_request("m");
        let written = text(|out| put_refusal_with(out, &refusal, &[("Vary", "Origin")]));
        assert!(written.contains("\r\nVary: Origin\r\nConnection: close\r\n"), "{written}");
    }

    #[test]
    fn a_refusal_says_why_in_one_line_of_json_and_closes() {
        let refusal = Refusal::new(405, "method_not_allowed", "use GET").with_header("Allow", "GET");
        assert_eq!(
            text(|out| put_refusal(out, &refusal)),
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nContent-Length: 59\r\n\
             Cache-Control: no-store\r\nAllow: GET\r\nConnection: close\r\n\r\n\
             {\"error\":{\"code\":\"method_not_allowed\",\"message\":\"use GET\"}}"
        );
    }

    #[test]
    fn a_refused_head_request_gets_no_body() {
        let refusal = Refusal::new(405, "method_not_allowed", "use GET").with_header("Allow", "GET");
        let whole = text(|out| put_refusal(out, &refusal));
        let head = text(|out| put_refusal(out, &Refusal { head_only: true, ..refusal.clone() }));
        assert_eq!(whole, head + &refusal.to_json());
    }

    #[test]
    fn upgrade_required_names_the_protocol() {
        let written = text(|out| put_refusal(out, &Refusal::new(426, "upgrade_required", "m")));
        assert!(written.contains("\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n"), "{written}");
    }

    #[test]
    fn no_value_can_begin_a_line_or_end_the_head() {
        let evil = "a\r\nSet-Cookie: b\r\n\r\n<html>\0\n\u{7f}";
        let refusal = Refusal::new(400, "bad_request", evil.to_owned()).with_header("X", evil.to_owned());
        let answer =
            Answer { status: 200, content_type: evil, body: b"", keep_alive: true, headers: &[(evil, evil)] };
        for written in [text(|out| put_refusal(out, &refusal)), text(|out| put_answer(out, &answer))] {
            let (head, body) = written.split_once("\r\n\r\n").unwrap();
            assert!(head.split("\r\n").all(|line| !line.contains(char::is_control)), "{head:?}");
            assert!(!head.split("\r\n").any(|line| line.starts_with("Set-Cookie")), "{head:?}");
            assert!(body.bytes().all(|byte| byte >= b' '), "{body:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&refusal.to_json()).unwrap();
        assert_eq!(json["error"]["message"], evil);
    }

    #[test]
    fn continue_is_a_head_without_headers() {
        assert_eq!(text(put_continue), "HTTP/1.1 100 Continue\r\n\r\n");
    }
}
