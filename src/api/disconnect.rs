//! `POST /disconnect`: whom an operator wants to be gone, and how soon. Must never know who that is at the moment.

use super::answers::Reply;
use crate::dialect::native::{Code, Refused, begins_object, broken, check_channel};
use crate::disconnect::Disconnect;
use crate::hub::conn_key::ConnKey;
use crate::limits::{DISCONNECT_OVER_MS_MAX, USER_BYTES_MAX};
use crate::proto::http::Refusal;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// Whose connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// This one.
    Connection(ConnKey),
    /// All that have shown a token of this user.
    User(Box<str>),
    /// All that come from this address.
    Ip(IpAddr),
    /// All that follow this channel, or are about to.
    Channel(Arc<str>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kick {
    /// Whose connections end.
    pub who: Who,
    /// The close code of their WebSockets.
    pub code: u16,
    /// Over how long, in milliseconds.
    pub over_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    connection: Option<String>,
    user: Option<String>,
    ip: Option<String>,
    channel: Option<String>,
    code: Option<u16>,
    over_ms: Option<u64>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disconnected {
    /// Connections that end: at once, or over the time that was asked for.
    pub disconnected: u64,
}

impl Kick {
    /// Reads a call's body.
    ///
    /// # Errors
    /// 400, with what is wrong and what may be written there.
    pub fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        let Body { connection, user, ip, channel, code, over_ms } = read(body)?;
        let who = match (connection, user, ip, channel) {
            (Some(id), None, None, None) => Who::Connection(id.parse().map_err(|_| {
                Refusal::bad_request("`connection` is an id, as `GET /connections` and `welcome` tell it")
            })?),
            (None, Some(user), None, None) if (1..=USER_BYTES_MAX).contains(&user.len()) => {
                Who::User(user.into())
            }
            (None, Some(_), None, None) => {
                let message = format!("`user` is a name of 1 to {USER_BYTES_MAX} bytes");
                return Err(Refusal::bad_request(message));
            }
            (None, None, Some(ip), None) => Who::Ip(address(&ip)?),
            (None, None, None, Some(channel)) => {
                check_channel(&channel)?;
                Who::Channel(channel.into())
            }
            _ => {
                let message = "name one of `connection`, `user`, `ip` and `channel`: whose connections end";
                return Err(Refusal::bad_request(message));
            }
        };
        let code = code.unwrap_or(Disconnect::Kicked.code());
        if !is_allowed(code) {
            return Err(Refusal::bad_request(format!("`code` {CODES}")));
        }
        let over_ms = over_ms.unwrap_or(0);
        if over_ms > DISCONNECT_OVER_MS_MAX {
            let message = format!("`over_ms` is a number of milliseconds up to {DISCONNECT_OVER_MS_MAX}");
            return Err(Refusal::bad_request(message));
        }
        Ok(Self { who, code, over_ms })
    }
}

/// Whether an operator may close a WebSocket with this code: what says that it should go away, come back later or broke a
/// policy (RFC 6455 §7.4.1 and the IANA registry), or what applications agree on among themselves (§7.4.2). The other codes
/// would tell a client of faults that nobody made.
#[must_use]
pub const fn is_allowed(code: u16) -> bool {
    matches!(code, 1001 | 1008 | 1012 | 1013 | 4000..=4999)
}

/// What [`is_allowed`] allows, in words.
pub const CODES: &str = "is 1001, 1008, 1012, 1013, or a number from 4000 to 4999";

/// The answer, once all shards have counted, or time is up. `busy`: some take no further call.
#[must_use]
pub fn reply(disconnected: u64, busy: bool, complete: bool) -> Reply {
    if busy {
        let message = format!(
            "some shards have so many such calls to carry out that they take no further one; {disconnected} \
             connections of the others end: try again when some of those calls are done"
        );
        return Reply::refusal(&Refusal::new(503, "overloaded", message).with_header("Retry-After", "10"));
    }
    if !complete {
        let message =
            format!("a shard did not say in time whom it ends; {disconnected} connections of the others end");
        return Reply::refusal(&Refusal::new(503, "outcome_unknown", message));
    }
    Reply::json(200, &Disconnected { disconnected })
}

fn address(text: &str) -> Result<IpAddr, Refusal> {
    let ip = text.parse::<IpAddr>().map_err(|_| {
        Refusal::bad_request("`ip` is one IPv4 or IPv6 address, without a port or a prefix length")
    })?;
    // As connections show theirs.
    Ok(ip.to_canonical())
}

fn read(json: &[u8]) -> Result<Body, Refused> {
    // serde does not look at the bytes of strings that it ignores.
    let json =
        simdutf8::compat::from_utf8(json).map_err(|error| Refused::new(Code::BadJson, error.to_string()))?;
    if !begins_object(json) {
        let message = r#"the body is an object, such as {"user":"…"}"#;
        return Err(broken(json).unwrap_or_else(|| Refused::new(Code::BadRequest, message)));
    }
    serde_json::from_str(json)
        .map_err(|error| broken(json).unwrap_or_else(|| Refused::new(Code::BadRequest, error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ShardId;

    fn read(body: &str) -> Result<Kick, String> {
        Kick::from_json(body.as_bytes()).map_err(|refusal| {
            assert_eq!(refusal.status, 400, "{body}");
            refusal.to_json()
        })
    }

    #[test]
    fn each_way_to_say_whose_connections_end() {
        let key = ConnKey { shard: ShardId(1), slot: 0x2a, generation: 3 };
        let kick = |who| Ok(Kick { who, code: 4006, over_ms: 0 });
        assert_eq!(read(r#"{"connection":"1.2a.3"}"#), kick(Who::Connection(key)));
        assert_eq!(read(r#"{"user":"ann","ip":null}"#), kick(Who::User("ann".into())));
        assert_eq!(read(r#"{"ip":"10.0.0.7"}"#), kick(Who::Ip([10, 0, 0, 7].into())));
        assert_eq!(read(r#"{"ip":"::ffff:10.0.0.7"}"#), kick(Who::Ip([10, 0, 0, 7].into())));
        assert_eq!(read(r#"{"ip":"2001:db8::1"}"#), kick(Who::Ip("2001:db8::1".parse().unwrap())));
        assert_eq!(read(r#"{"channel":"a/b"}"#), kick(Who::Channel("a/b".into())));
        let read = read(r#"{"channel":"a","code":1012,"over_ms":60000}"#);
        assert_eq!(read, Ok(Kick { who: Who::Channel("a".into()), code: 1012, over_ms: 60_000 }));
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        for (body, words) in [
            ("", "bad_json"),
            ("{", "bad_json"),
            ("[]", "an object"),
            ("{}", "name one of"),
            (r#"{"user":"a","ip":"10.0.0.1"}"#, "name one of"),
            (r#"{"user":""}"#, "1 to 255 bytes"),
            (r#"{"user":7}"#, "invalid type"),
            (r#"{"users":"a"}"#, "unknown field `users`"),
            (r#"{"connection":"one"}"#, "`connection` is an id"),
            (r#"{"ip":"10.0.0.0/8"}"#, "`ip` is one"),
            (r#"{"ip":"10.0.0.1:80"}"#, "`ip` is one"),
            (r#"{"channel":"a b"}"#, "bad_channel"),
            (r#"{"user":"a","code":1000}"#, "1001, 1008, 1012, 1013, or a number from 4000 to 4999"),
            (r#"{"user":"a","code":70000}"#, "invalid value"),
            (r#"{"user":"a","over_ms":-1}"#, "invalid value"),
            (r#"{"user":"a","over_ms":3600001}"#, "up to 3600000"),
        ] {
            let refusal = read(body).expect_err(body);
            assert!(refusal.contains(words), "{body}: {refusal}");
        }
        assert!(Kick::from_json(b"{\"user\":\"\xff\"}").is_err());
    }

    #[test]
    fn an_operator_may_send_what_asks_a_client_to_leave_and_nothing_that_blames_it_for_a_fault() {
        let allowed: Vec<u16> = (0..=u16::MAX).filter(|&code| is_allowed(code)).collect();
        assert_eq!(allowed[..4], [1001, 1008, 1012, 1013]);
        assert_eq!(allowed[4..], (4000..=4999).collect::<Vec<u16>>());
    }
}
