//! The publisher's side: one keep-alive HTTP connection that posts publications and insists on an answer. Must never know
//! who receives them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{BenchError, excerpt};
use super::payload::Marker;
use super::target::parse_header;
use super::url::Url;
use crate::limits::{BENCH_ANSWER_BYTES_MAX, HEAD_HEADERS_MAX};

/// Where and how publications are posted.
#[derive(Debug, Clone)]
pub(super) struct PublishTarget {
    address: SocketAddr,
    authority: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    channel: String,
}

/// What `roost serve` takes.
pub(super) const ROOST_BODY: &str = r#"{"channel":"{channel}","data":{data}}"#;
/// What the bare floor is to write, byte for byte: the notification that roost makes of [`ROOST_BODY`].
pub(super) const FLOOR_BODY: &str = r#"{"type":"notification","channel":"{channel}","data":{data},"timestamp":{timestamp},"offset":{offset}}"#;

impl PublishTarget {
    /// `body` is a template with `{channel}`, `{data}` (a JSON string with the marker), `{timestamp}` (milliseconds since
    /// 1970) and `{offset}` (from 1).
    ///
    /// # Errors
    /// An address or a header that cannot be read, or a template without `{data}`.
    pub(super) fn new(url: &str, headers: &[String], body: &str, channel: &str) -> Result<Self, BenchError> {
        let url = Url::parse("http", url)?;
        if !body.contains("{data}") {
            let message = format!("the publish body {body:?} has no place for {{data}}");
            return Err(BenchError::Usage(message));
        }
        Ok(Self {
            address: url.resolve()?,
            authority: url.authority,
            path: url.path,
            headers: headers.iter().map(|line| parse_header(line)).collect::<Result<_, _>>()?,
            body: body.to_owned(),
            channel: channel.to_owned(),
        })
    }

    fn body(&self, marker: Marker, size: usize) -> String {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        // The data goes in last: what it holds is not looked at.
        self.body
            .replace("{channel}", &self.channel)
            .replace("{timestamp}", &timestamp.to_string())
            .replace("{offset}", &(u64::from(marker.number) + 1).to_string())
            .replace("{data}", &marker.to_json(size))
    }
}

/// An open connection to a [`PublishTarget`].
#[derive(Debug)]
pub(super) struct Publisher {
    target: PublishTarget,
    stream: TcpStream,
    answer: Vec<u8>,
    /// Number of the next publication.
    number: u32,
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// The connect failed.
    pub(super) fn connect(target: &PublishTarget) -> Result<Self, BenchError> {
        let what = format!("connecting to http://{}", target.authority);
        let connect = || {
            let stream = TcpStream::connect(target.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        };
        let stream = connect().map_err(BenchError::io(what))?;
        Ok(Self { target: target.clone(), stream, answer: Vec::new(), number: 0 })
    }

    /// Publishes `burst` messages of `size` data bytes in one request, as NDJSON when there are several, and waits for the
    /// answer. They carry the time at which they were to be sent.
    ///
    /// # Errors
    /// No answer within 30 s, another status than 2xx, or an answer that reports an error.
    pub(super) fn publish(&mut self, burst: u32, size: usize, intended_ns: u64) -> Result<(), BenchError> {
        let mut bodies = Vec::new();
        for _ in 0..burst {
            bodies.push(self.target.body(Marker { number: self.number, intended_ns }, size));
            self.number += 1;
        }
        let content_type = if burst > 1 { "application/x-ndjson" } else { "application/json" };
        let body = bodies.join("\n");
        let PublishTarget { authority, path, headers, .. } = &self.target;
        let mut request =
            format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content_type}\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.stream.write_all(request.as_bytes()).map_err(BenchError::io("sending a publication"))?;
        self.check_answer()
    }

    fn check_answer(&mut self) -> Result<(), BenchError> {
        self.answer.clear();
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(answer) = Answer::parse(&self.answer)? {
                let ok = (200..300).contains(&answer.status) && !answer.reports_error;
                return if ok { Ok(()) } else { Err(self.unexpected("a status of 2xx and no error")) };
            }
            if self.answer.len() > BENCH_ANSWER_BYTES_MAX {
                return Err(self.unexpected("a shorter answer"));
            }
            let read = self.stream.read(&mut buffer);
            match read.map_err(BenchError::io("waiting for the answer to a publication"))? {
                0 => return Err(self.unexpected("a whole answer before the end of the stream")),
                bytes => self.answer.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    fn unexpected(&self, expected: &str) -> BenchError {
        let came = excerpt(&self.answer, 300);
        BenchError::Publish(format!("message {}: expected {expected}, came {came}", self.number - 1))
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    reports_error: bool,
}

impl Answer {
    /// `None` until it is whole. Its length is told by `Content-Length` or, in chunks, by the empty last one.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, BenchError> {
        let mut headers = [httparse::EMPTY_HEADER; HEAD_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let wrong = || BenchError::Publish(format!("the answer is no HTTP: {}", excerpt(bytes, 300)));
        let body = match response.parse(bytes).map_err(|_| wrong())? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(head_bytes) => &bytes[head_bytes..],
        };
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| str::from_utf8(header.value).ok()).map(str::trim)
        };
        let whole = match header("content-length") {
            Some(length) => body.len() >= length.parse().map_err(|_| wrong())?,
            None if header("transfer-encoding").is_some() => body.ends_with(b"0\r\n\r\n"),
            None => true,
        };
        let reports_error = String::from_utf8_lossy(body).contains("\"error\"");
        Ok(whole.then(|| Self { status: response.code.unwrap_or(0), reports_error }))
    }
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let target = PublishTarget::new("127.0.0.1:1/p", &[], FLOOR_BODY, "c").unwrap();
        let body = target.body(Marker { number: 41, intended_ns: 5 }, 64);
        assert!(
            body.starts_with(r#"{"type":"notification","channel":"c","data":"@00000029000000000005...."#)
        );
        assert!(body.ends_with(r#","offset":42}"#));
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        assert!(PublishTarget::new("127.0.0.1:1", &[], "{}", "c").is_err());
    }

    #[test]
    fn an_answer_is_whole_when_its_length_says_so() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{ }\n";
        for end in 0..text.len() {
            assert_eq!(Answer::parse(&text.as_bytes()[..end]).unwrap(), None);
        }
        let answer = Answer::parse(text.as_bytes()).unwrap();
        assert_eq!(answer, Some(Answer { status: 200, reports_error: false }));
    }

    #[test]
    fn chunked_answers_and_those_that_report_an_error_are_understood() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert!(Answer::parse(chunked.as_bytes()).unwrap().is_some());
        assert_eq!(Answer::parse(&chunked.as_bytes()[..chunked.len() - 2]).unwrap(), None);
        let error = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"error\":\"full\"}";
        assert!(Answer::parse(error.as_bytes()).unwrap().unwrap().reports_error);
        assert!(Answer::parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
