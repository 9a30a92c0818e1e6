//! `POST`, `GET` and `DELETE /drain`: a body to an order, what is known of a drain to an answer. Must never say goodbye to
//! anybody.

use super::answers::Reply;
use crate::limits::TIMEOUT_MS_MAX;
use crate::proto::http::Refusal;
use serde::{Deserialize, Serialize};

/// What a call asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The goodbyes are spread over so many milliseconds; the node's own time where nothing is said.
    pub over_ms: Option<u64>,
    /// So many in a hundred of the clients go, and the node stays ready; all where nothing is said.
    pub percent: Option<u8>,
    /// Those who came first go.
    #[serde(default)]
    pub oldest: bool,
}

/// Where a drain is: the answer to each call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whether there is a drain.
    pub draining: bool,
    /// Whether the node takes connections.
    pub ready: bool,
    /// The goodbyes are spread over so many milliseconds; null where there is no drain.
    pub over_ms: Option<u64>,
    /// So many milliseconds from now the last one is said; null likewise.
    pub ends_in_ms: Option<u64>,
    /// Clients that are still to be told.
    pub left: u64,
    /// Connections, those included that were told and have not gone yet.
    pub connections: u64,
}

impl Wish {
    /// Reads a body; an empty one asks for everything as the node is set up.
    ///
    /// # Errors
    /// 400, naming the member and what it may be.
    pub fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let wish: Self = serde_json::from_slice(body).map_err(|error| {
            let example = r#"{"over_ms":30000,"percent":20,"oldest":true}"#;
            Refusal::bad_request(format!(
                "{error}; a drain is asked for like {example}, each member optional"
            ))
        })?;
        if wish.percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err(Refusal::bad_request("`percent` is from 1 to 100"));
        }
        if wish.over_ms.is_some_and(|over_ms| over_ms > TIMEOUT_MS_MAX) {
            return Err(Refusal::bad_request(format!("`over_ms` is at most {TIMEOUT_MS_MAX}, a day")));
        }
        if wish.oldest && wish.percent.is_none_or(|percent| percent == 100) {
            return Err(Refusal::bad_request("`oldest` needs a `percent` below 100: else everyone goes"));
        }
        Ok(wish)
    }
}

impl Progress {
    /// Whether nobody is left to be told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.draining || (self.left == 0 && self.ends_in_ms == Some(0))
    }

    /// As JSON.
    #[must_use]
    pub fn reply(&self) -> Reply {
        Reply::json(200, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        let refusal = Wish::from_json(body.as_bytes()).unwrap_err();
        assert_eq!(refusal.status, 400);
        refusal.message.into_owned()
    }

    #[test]
    fn a_body_may_be_empty_and_what_is_wrong_is_named() {
        assert_eq!(Wish::from_json(b" \n"), Ok(Wish::default()));
        assert_eq!(Wish::from_json(b"{}"), Ok(Wish::default()));
        let wish = Wish { over_ms: Some(500), percent: Some(20), oldest: true };
        assert_eq!(Wish::from_json(br#"{"over_ms":500,"percent":20,"oldest":true}"#), Ok(wish));
        for percent in [0, 101] {
            assert!(refused(&format!(r#"{{"percent":{percent}}}"#)).contains("from 1 to 100"));
        }
        assert!(refused(r#"{"percent":300}"#).contains("300"));
        assert!(refused(r#"{"over_ms":86400001}"#).contains("at most 86400000"));
        assert!(refused(r#"{"over":"30s"}"#).contains("unknown field `over`"));
        assert!(refused("[]").contains("optional"));
        for body in [r#"{"oldest":true}"#, r#"{"oldest":true,"percent":100}"#] {
            assert!(refused(body).contains("`oldest` needs a `percent`"));
        }
    }
}
