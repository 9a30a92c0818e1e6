//! Answers over HTTP, with httparse's reader of heads: it is not the node's own.

use serde::Deserialize;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// Bytes on the wire.
    pub(crate) length: usize,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: String,
    /// Bytes on the wire.
    pub(crate) length: usize,
}

/// An answer that is not whole: it will not be before so many bytes of it are there.
#[derive(Debug)]
pub(crate) struct Partial(pub(crate) usize);

impl Head {
    /// The head that bytes begin with, once it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes).expect("the answer is HTTP");
        let httparse::Status::Complete(length) = parsed else { return None };
        assert_eq!(response.version, Some(1), "HTTP/1.1");
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("a header is text");
        let pairs = response.headers.iter();
        let headers = pairs.map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect();
        let head = Self { status: response.code.expect("a status"), headers, length };
        for (name, _) in &head.headers {
            let same = head.headers.iter().filter(|(other, _)| other == name);
            assert_eq!(same.count(), 1, "`{name}` comes twice");
        }
        Some(head)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether another answer may follow on this connection.
    pub(crate) fn keeps(&self) -> bool {
        match self.header("connection") {
            Some("keep-alive") => true,
            Some("close" | "close, Upgrade") => false,
            other => panic!("`Connection` is {other:?}"),
        }
    }
}

impl Answer {
    /// The answer that bytes begin with, once it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Partial> {
        let head = Head::read(bytes).ok_or(Partial(bytes.len() + 1))?;
        let begin = head.length;
        let length = match (head.status, head.header("content-length")) {
            (100 | 204, None) => 0,
            (_, Some(length)) => length.parse().expect("a length"),
            (status, None) => panic!("nobody knows where this {status} ends"),
        };
        let body = bytes.get(begin..begin + length).ok_or(Partial(begin + length))?.to_vec();
        let body = String::from_utf8(body).expect("a body is text");
        Ok(Self { head, body, length: begin + length })
    }

    /// Holds a refusal to its form: JSON that says what was wrong.
    pub(crate) fn check_refusal(&self) {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Refusal {
            error: Error,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Error {
            code: String,
            message: String,
        }
        let Refusal { error: Error { code, message } } =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body));
        assert!(!code.is_empty() && !message.is_empty(), "an error says what was wrong");
        assert_eq!(self.head.header("content-type"), Some("application/json"));
        assert!(!self.head.keeps(), "nobody knows where the next request begins");
    }
}
