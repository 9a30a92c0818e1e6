//! Publishing over HTTP: one keep-alive connection that posts publications and insists on an answer. Must never know what
//! they say.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::error::{BenchError, excerpt};
use super::publisher::PublishTarget;
use crate::limits::{BENCH_ANSWER_BYTES_MAX, HEAD_HEADERS_MAX};

/// An open connection.
#[derive(Debug)]
pub(super) struct HttpPublisher {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl HttpPublisher {
    /// Connects.
    ///
    /// # Errors
    /// The connect failed.
    pub(super) fn connect(target: &PublishTarget) -> Result<Self, BenchError> {
        Ok(Self { stream: target.dial()?, answer: Vec::new() })
    }

    /// Publishes `bodies` in one request, as NDJSON when there are several, and waits for the answer.
    ///
    /// # Errors
    /// No answer in time, another status than 2xx, or an answer that reports an error.
    pub(super) fn publish(&mut self, target: &PublishTarget, bodies: &[String]) -> Result<(), BenchError> {
        let content_type = if bodies.len() > 1 { "application/x-ndjson" } else { "application/json" };
        let body = bodies.join("\n");
        let PublishTarget { authority, path, headers, .. } = target;
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
        BenchError::Publish(format!("expected {expected}, came {came}"))
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

#[cfg(test)]
mod tests {
    use super::*;

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
