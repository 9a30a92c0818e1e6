//! The native dialect: JSON commands in, JSON answers out (PROTOCOL §2). Must never know what a command does.

use super::cursor::Cursor;
use crate::metrics::cause::Cause;
use crate::proto::channel_name::is_valid_channel_name;
use crate::proto::frame::{Opcode, put_frame};
use crate::proto::http::Refusal;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The subprotocol that gets a `welcome`.
pub const SUBPROTOCOL: &str = "roost.v1";

/// What a client asks for.
#[derive(Debug)]
pub enum Command<'a> {
    /// Follow a channel, from a place on if given.
    Subscribe {
        /// The channel, a valid name.
        channel: Cow<'a, str>,
        /// Where the client left off.
        since: Option<Cursor>,
    },
    /// Stop following a channel.
    Unsubscribe {
        /// The channel, a valid name.
        channel: Cow<'a, str>,
    },
    /// Send data to a channel's subscribers.
    Publish {
        /// The channel, a valid name.
        channel: Cow<'a, str>,
        /// The client's JSON, byte for byte.
        data: &'a str,
    },
    /// Asks how many follow a channel.
    Presence {
        /// The channel, a valid name.
        channel: Cow<'a, str>,
    },
    /// Says who the client is.
    Auth {
        /// The token.
        token: Secret<'a>,
    },
    /// Asks for a sign of life.
    Ping,
    /// Says whether anybody looks at the client: hidden, it gets the latest of everything, in one delivery a second.
    Visibility {
        /// Nobody does.
        hidden: bool,
    },
}

/// Text that nobody else may see: what is printed of it is its length.
pub struct Secret<'a>(pub Cow<'a, str>);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A command with the `id` that its answer carries: the client's JSON, byte for byte.
#[derive(Debug)]
pub struct Request<'a> {
    /// What is asked.
    pub command: Result<Command<'a>, Refused>,
    /// The `id` to echo.
    pub id: Option<&'a str>,
}

/// An error answer: a code of PROTOCOL §2 and a sentence for the developer at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One of the codes.
    pub code: Code,
    /// What was wrong and what would be right.
    pub message: Cow<'static, str>,
}

/// The error codes of the dialect and of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation: PROTOCOL §2
pub enum Code {
    BadJson,
    BadRequest,
    UnknownType,
    BadChannel,
    Unauthorized,
    Forbidden,
    AlreadySubscribed,
    NotSubscribed,
    TooManyChannels,
    RateLimited,
    Overloaded,
    Unavailable,
    OutcomeUnknown,
}

impl Code {
    /// As it stands in `code`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadRequest => "bad_request",
            Self::UnknownType => "unknown_type",
            Self::BadChannel => "bad_channel",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::AlreadySubscribed => "already_subscribed",
            Self::NotSubscribed => "not_subscribed",
            Self::TooManyChannels => "too_many_channels",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

impl Refused {
    /// An error answer.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The same over HTTP.
impl From<Refused> for Refusal {
    fn from(Refused { code, message }: Refused) -> Self {
        match code {
            Code::Unauthorized => {
                let refusal = Self::new(401, code.label(), message);
                refusal.with_header("WWW-Authenticate", "Bearer").because(Cause::Token)
            }
            Code::Forbidden => Self::new(403, code.label(), message).because(Cause::Forbidden),
            _ => Self::new(400, code.label(), message),
        }
    }
}

/// The members that any command may have; unknown ones are ignored.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    since: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    state: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    token: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// A member that is there, also when it is `null`, which `Option` alone takes for absent.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Whether JSON can be an object, by its first character: serde would take an array for a struct, member by member.
pub(crate) fn begins_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// What is wrong with text that is no JSON. A member of the wrong type ends the reading early: only the whole text
/// tells.
pub(crate) fn broken(text: &str) -> Option<Refused> {
    let error = serde_json::from_str::<&RawValue>(text).err()?;
    Some(Refused::new(Code::BadJson, error.to_string()))
}

/// Reads one text message.
#[must_use]
pub fn parse(text: &str) -> Request<'_> {
    if !begins_object(text) {
        let refused =
            broken(text).unwrap_or_else(|| Refused::new(Code::BadRequest, "a message is a JSON object"));
        return Request { command: Err(refused), id: None };
    }
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(members) => Request { id: members.id.map(RawValue::get), command: command(members) },
        Err(error) => refuse(text, &error),
    }
}

fn command(members: Members<'_>) -> Result<Command<'_>, Refused> {
    match &*members.kind {
        "subscribe" => {
            Ok(Command::Subscribe { channel: channel(members.channel)?, since: since(members.since)? })
        }
        "unsubscribe" => Ok(Command::Unsubscribe { channel: channel(members.channel)? }),
        "publish" => {
            let channel = channel(members.channel)?;
            let data = members.data.ok_or_else(|| Refused::new(Code::BadRequest, "publish needs `data`"))?;
            Ok(Command::Publish { channel, data: data.get() })
        }
        "presence" => Ok(Command::Presence { channel: channel(members.channel)? }),
        "auth" => Ok(Command::Auth { token: token(members.token)? }),
        "ping" => Ok(Command::Ping),
        "visibility" => Ok(Command::Visibility { hidden: is_hidden(members.state)? }),
        _ => Err(Refused::new(
            Code::UnknownType,
            "type is one of subscribe, unsubscribe, publish, presence, visibility, auth, ping",
        )),
    }
}

/// Only `visibility` has a `state`: in other messages it is ignored, whatever it is.
fn is_hidden(state: Option<&RawValue>) -> Result<bool, Refused> {
    let word = state.and_then(|state| serde_json::from_str::<Cow<'_, str>>(state.get()).ok());
    match word.as_deref() {
        Some("hidden") => Ok(true),
        Some("visible") => Ok(false),
        Some(_) | None => Err(Refused::new(Code::BadRequest, r#"`state` is "hidden" or "visible""#)),
    }
}

/// Only `auth` has a `token`.
fn token(token: Option<&RawValue>) -> Result<Secret<'_>, Refused> {
    let text = token.and_then(|token| serde_json::from_str::<Cow<'_, str>>(token.get()).ok());
    text.map(Secret).ok_or_else(|| Refused::new(Code::BadRequest, "auth needs `token`, a string"))
}

fn channel(channel: Option<Cow<'_, str>>) -> Result<Cow<'_, str>, Refused> {
    let channel = channel.ok_or_else(|| Refused::new(Code::BadRequest, "`channel` is missing"))?;
    check_channel(&channel)?;
    Ok(channel)
}

/// Checks a channel's name.
///
/// # Errors
/// `bad_channel` when it is not 1 to 164 bytes of the allowed characters.
pub fn check_channel(channel: &str) -> Result<(), Refused> {
    if is_valid_channel_name(channel) {
        return Ok(());
    }
    Err(Refused::new(Code::BadChannel, "a channel name is 1 to 164 bytes of A-Z a-z 0-9 _ - = @ , . ; : /"))
}

/// Reads a `since`; none or an empty one is the present.
///
/// # Errors
/// `bad_request` when it is not `EPOCH-OFFSET`.
pub fn since(since: Option<Cow<'_, str>>) -> Result<Option<Cursor>, Refused> {
    let Some(since) = since else { return Ok(None) };
    since.parse().map(Some).map_err(|_| {
        Refused::new(Code::BadRequest, "`since` is a cursor as `subscribed` and `gap` carry it: EPOCH-OFFSET")
    })
}

/// Tells a wrong member from broken JSON, and still finds the `id`.
fn refuse<'a>(text: &'a str, error: &serde_json::Error) -> Request<'a> {
    let refused = match error.classify() {
        Category::Data => broken(text).unwrap_or_else(|| Refused::new(Code::BadRequest, error.to_string())),
        Category::Syntax | Category::Eof | Category::Io => Refused::new(Code::BadJson, error.to_string()),
    };
    let command = Err(refused);
    let id = serde_json::from_str::<OnlyId<'_>>(text).ok().and_then(|only| only.id).map(RawValue::get);
    Request { command, id }
}

/// An answer of the server, but for notifications: those are made once for everyone (`hub::publication`).
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)] // member for member the table of PROTOCOL §2
pub enum Answer<'a> {
    Welcome {
        session: &'a str,
        ping_ms: u64,
        node: &'a str,
    },
    Subscribed {
        channel: &'a str,
        cursor: Cursor,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
    },
    Unsubscribed {
        channel: &'a str,
    },
    Published {
        channel: &'a str,
        offset: u64,
    },
    /// The answer to the command, and, without an `id`, the announcement of a change.
    Presence {
        channel: &'a str,
        count: u64,
        /// Who is signed in of them; only in an answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        users: Option<&'a [Arc<str>]>,
        /// Who came; only in an announcement.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        joined: &'a [Arc<str>],
        /// Who went; only in an announcement.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        left: &'a [Arc<str>],
    },
    Gap {
        channel: &'a str,
        from: u64,
        to: u64,
        cursor: Cursor,
    },
    Pong,
    /// The token is good, and for how long.
    Authenticated {
        expires_in_ms: u64,
    },
    /// It is not for much longer.
    Expiring {
        expires_in_ms: u64,
    },
    Error {
        code: Code,
        message: &'a str,
    },
}

/// Writes an answer as a text frame, with the `id` of its request.
pub fn put_answer(out: &mut Vec<u8>, answer: &Answer<'_>, id: Option<&str>) {
    put_frame(out, Opcode::Text, &answer_json(answer, id));
}

/// An answer as JSON, with the `id` of its request.
#[must_use]
pub fn answer_json(answer: &Answer<'_>, id: Option<&str>) -> Vec<u8> {
    // Writing plain structs into memory cannot fail; `id` is the JSON that was read.
    let mut json = serde_json::to_vec(answer).unwrap_or_default();
    if let Some(id) = id
        && json.pop() == Some(b'}')
    {
        json.extend_from_slice(b",\"id\":");
        json.extend_from_slice(id.as_bytes());
        json.push(b'}');
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        parse(text).command.err().map(|refused| refused.code)
    }

    #[test]
    fn commands_are_read_with_their_members() {
        let request =
            parse(r#" {"type":"subscribe","channel":"a","since":"Xy-7","id":{"n":[1]},"unknown":0}"#);
        assert_eq!(request.id, Some(r#"{"n":[1]}"#));
        let Ok(Command::Subscribe { channel, since: Some(since) }) = request.command else { panic!() };
        assert_eq!((&*channel, since.to_string().as_str()), ("a", "Xy-7"));
        let request =
            parse(r#"{"type":"publish","channel":"a","data":{"x": 1.00, "y":12345678901234567890}}"#);
        let Ok(Command::Publish { data, .. }) = request.command else { panic!() };
        assert_eq!(data, r#"{"x": 1.00, "y":12345678901234567890}"#);
        assert!(matches!(parse(r#"{"type":"ping"}"#).command, Ok(Command::Ping)));
        let presence = parse(r#"{"type":"presence","channel":"a","users":true}"#);
        assert!(matches!(presence.command, Ok(Command::Presence { channel }) if channel == "a"));
        for (text, expected) in [
            (r#"{"type":"visibility","state":"hidden"}"#, true),
            (r#"{"state":"visibl\u0065","type":"visibility","id":1}"#, false),
        ] {
            let Ok(Command::Visibility { hidden }) = parse(text).command else { panic!("{text}") };
            assert_eq!(hidden, expected, "{text}");
        }
        assert!(matches!(parse(r#"{"type":"ping","state":[7]}"#).command, Ok(Command::Ping)));
        let null = parse(r#"{"type":"publish","channel":"a","data":null,"id":null}"#);
        assert!(matches!(
            null,
            Request { command: Ok(Command::Publish { data: "null", .. }), id: Some("null") }
        ));
        let escaped = parse(r#"{"type":"unsub\u0073cribe","channel":"\u0061"}"#);
        assert!(matches!(escaped.command, Ok(Command::Unsubscribe { channel }) if channel == "a"));
    }

    #[test]
    fn each_fault_has_its_code() {
        for (text, expected) in [
            ("", Code::BadJson),
            ("{", Code::BadJson),
            (r#"{"type":5"#, Code::BadJson),
            (r#"{"type":"ping"} x"#, Code::BadJson),
            (r#"["ping"]"#, Code::BadRequest),
            ("7", Code::BadRequest),
            ("{}", Code::BadRequest),
            (r#"{"type":5}"#, Code::BadRequest),
            (r#"{"type":"subscribe"}"#, Code::BadRequest),
            (r#"{"type":"subscribe","channel":5}"#, Code::BadRequest),
            (r#"{"type":"subscribe","channel":"a","since":7}"#, Code::BadRequest),
            (r#"{"type":"subscribe","channel":"a","since":"x"}"#, Code::BadRequest),
            (r#"{"type":"publish","channel":"a"}"#, Code::BadRequest),
            (r#"{"type":"visibility"}"#, Code::BadRequest),
            (r#"{"type":"visibility","state":null}"#, Code::BadRequest),
            (r#"{"type":"visibility","state":true}"#, Code::BadRequest),
            (r#"{"type":"visibility","state":"Hidden"}"#, Code::BadRequest),
            (r#"{"type":"subscribe","channel":""}"#, Code::BadChannel),
            (r#"{"type":"subscribe","channel":"a b"}"#, Code::BadChannel),
            (r#"{"type":"dance"}"#, Code::UnknownType),
        ] {
            assert_eq!(code(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_refused_command_still_has_its_id() {
        for text in [
            r#"{"type":5,"id":9}"#,
            r#"{"id":9,"type":"subscribe","channel":[]}"#,
            r#"{"id":9,"type":"dance"}"#,
        ] {
            assert_eq!(parse(text).id, Some("9"), "{text}");
        }
    }

    #[test]
    fn data_may_be_nested_to_any_depth() {
        let depth = 100_000;
        let text = format!(
            r#"{{"type":"publish","channel":"a","data":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        assert!(matches!(parse(&text).command, Ok(Command::Publish { data, .. }) if data.len() == 2 * depth));
    }

    #[test]
    fn presence_names_whom_it_knows() {
        let text = |answer: &Answer<'_>| String::from_utf8(answer_json(answer, None)).unwrap();
        let users = [Arc::from("ann"), Arc::from("b\"b")];
        let (channel, none) = ("c", &[][..]);
        let answer = Answer::Presence { channel, count: 3, users: Some(&users), joined: none, left: none };
        assert_eq!(text(&answer), r#"{"type":"presence","channel":"c","count":3,"users":["ann","b\"b"]}"#);
        let moved =
            Answer::Presence { channel, count: 1, users: None, joined: &users[..1], left: &users[1..] };
        let expected = r#"{"type":"presence","channel":"c","count":1,"joined":["ann"],"left":["b\"b"]}"#;
        assert_eq!(text(&moved), expected);
        let counted = Answer::Presence { channel, count: 1, users: None, joined: none, left: none };
        assert_eq!(text(&counted), r#"{"type":"presence","channel":"c","count":1}"#);
    }

    #[test]
    fn answers_read_as_the_contract_says() {
        let cursor = Cursor { epoch: super::super::cursor::Epoch(61), offset: 3 };
        let text = |answer: &Answer<'_>, id| String::from_utf8(answer_json(answer, id)).unwrap();
        assert_eq!(
            text(&Answer::Subscribed { channel: "c", cursor, recovered: None }, Some("[1]")),
            r#"{"type":"subscribed","channel":"c","cursor":"z-3","id":[1]}"#
        );
        assert_eq!(
            text(&Answer::Subscribed { channel: "c", cursor, recovered: Some(true) }, None),
            r#"{"type":"subscribed","channel":"c","cursor":"z-3","recovered":true}"#
        );
        assert_eq!(
            text(&Answer::Gap { channel: "c", from: 1, to: 3, cursor }, None),
            r#"{"type":"gap","channel":"c","from":1,"to":3,"cursor":"z-3"}"#
        );
        assert_eq!(text(&Answer::Pong, Some("\"x\"")), r#"{"type":"pong","id":"x"}"#);
        assert_eq!(
            text(&Answer::Error { code: Code::TooManyChannels, message: "m" }, None),
            r#"{"type":"error","code":"too_many_channels","message":"m"}"#
        );
    }
}
