//! What a call is answered with, before it is put on the wire. Must never know the connection it goes to.

use crate::proto::http::{Answer, Refusal, put_answer, put_answer_head};
use serde::Serialize;
use std::borrow::Cow;

/// The content type of every JSON answer.
const JSON: &str = "application/json";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body's type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Further headers.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Reply {
    /// A JSON answer, one line.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        // Plain structs and strings cannot fail.
        let mut body = serde_json::to_vec(value).unwrap_or_default();
        body.push(b'\n');
        Self { status, content_type: JSON, body, headers: Vec::new() }
    }

    /// A refusal; the connection goes on.
    #[must_use]
    pub fn refusal(refusal: &Refusal) -> Self {
        let body = (refusal.to_json() + "\n").into_bytes();
        Self {
            status: refusal.status,
            content_type: JSON,
            body,
            headers: refusal.header.iter().cloned().collect(),
        }
    }

    /// One line of plain text.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{text}\n").into(),
            headers: Vec::new(),
        }
    }

    /// Puts it on the wire; a `HEAD` request gets the head alone.
    pub fn put(&self, out: &mut Vec<u8>, keep_alive: bool, head_only: bool) {
        let Self { status, content_type, body, headers } = self;
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = Answer { status: *status, content_type, body, keep_alive, headers: &headers };
        if head_only { put_answer_head(out, &answer) } else { put_answer(out, &answer) }
    }
}
