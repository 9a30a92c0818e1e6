//! What is asked of Redis in words of its own, and what its answers mean. Must never send or wait.

use super::Shared;
use super::keys::Keys;
use crate::dialect::cursor::{Cursor, Epoch};
use crate::hub::broker::{Draft, Entry, Refusal, Told};
use crate::limits::{
    BROKER_FETCH_WEIGHT, BROKER_NODE_MS, BROKER_NUMBERING_MS, BROKER_PAGE, BROKER_PAGE_BYTES,
    PUBLISH_ID_KEEP_MS,
};
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use std::sync::Arc;

/// One question.
#[derive(Debug)]
pub(super) enum Question {
    /// A publication.
    Publish(Box<Draft>),
    /// Where a channel stands.
    Look(Arc<str>),
    /// What is kept of it behind an offset.
    Fetch(Arc<str>, u64),
    /// This node lives; which others do.
    Beat,
    /// A word to other nodes: where, and what.
    Say(String, String),
}

/// Which server it is, and by what names it knows the scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Another one each time that it is started.
    pub(super) run_id: String,
    /// It keeps every write before it answers, so that a start loses nothing.
    pub(super) durable: bool,
    /// The hash of `publish.lua`.
    pub(super) publish: String,
    /// The hash of `kept.lua`.
    pub(super) kept: String,
    /// The hash of `beat.lua`.
    pub(super) beat: String,
}

/// What became of a question.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is answered.
    Told(Told),
    /// There was nothing to say.
    Nothing,
    /// So many nodes live.
    Nodes(usize),
    /// The server has forgotten the scripts: nothing was done.
    Forgotten(Question),
    /// The server cannot do it, and nothing was done. `gone` says that another one has to be looked for.
    Refused { told: Option<Told>, error: RedisError, gone: bool },
}

impl Question {
    /// Adds it to what is sent.
    pub(super) fn put(&self, pipeline: &mut redis::Pipeline, shared: &Shared, server: &Server) {
        let (keys, fresh) = (&shared.keys, shared.fresh_epoch());
        match self {
            Self::Publish(draft) => put_publish(draft, pipeline, keys, server, fresh),
            Self::Look(name) => put_kept(name, 0, 0, pipeline, keys, server, fresh),
            Self::Fetch(name, after) => put_kept(name, *after, BROKER_PAGE, pipeline, keys, server, fresh),
            Self::Beat => {
                let command = pipeline.cmd("EVALSHA").arg(&server.beat).arg(1).arg(keys.nodes());
                command.arg(&shared.id).arg(BROKER_NODE_MS);
            }
            Self::Say(channel, text) => _ = pipeline.cmd("PUBLISH").arg(channel).arg(text),
        }
    }

    /// What it weighs among those that go out together, by what its answer may weigh.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Fetch(..) => BROKER_FETCH_WEIGHT,
            Self::Publish(_) | Self::Look(_) | Self::Beat | Self::Say(..) => 1,
        }
    }

    /// Bytes that it takes until it is answered.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Publish(draft) => draft.bytes(),
            Self::Look(_) | Self::Fetch(..) | Self::Beat | Self::Say(..) => 0,
        }
    }

    /// What the answer means.
    pub(super) fn outcome(self, answer: Value) -> Outcome {
        if let Value::ServerError(error) = answer {
            return self.refused(error.into());
        }
        match self {
            Self::Publish(draft) => match cursor(&answer) {
                Some((cursor, repeated)) => {
                    let Draft { name, publisher, .. } = *draft;
                    let repeated = repeated == Some(&Value::Int(1));
                    Outcome::Told(Told::Published { name, publisher, outcome: Ok(cursor), repeated })
                }
                None => Self::Publish(draft).refused(senseless()),
            },
            Self::Look(name) => match cursor(&answer) {
                Some((cursor, _)) => Outcome::Told(Told::Stands { name, cursor }),
                None => Self::Look(name).refused(senseless()),
            },
            Self::Fetch(name, after) => match (cursor(&answer), entries(&answer)) {
                (Some((cursor, _)), Some(entries)) => {
                    Outcome::Told(Told::Kept { name, after, cursor, entries })
                }
                _ => Self::Fetch(name, after).refused(senseless()),
            },
            Self::Beat => match answer {
                Value::Array(nodes) => Outcome::Nodes(nodes.len()),
                _ => self.refused(senseless()),
            },
            Self::Say(..) => Outcome::Nothing,
        }
    }

    /// What is told when the server was lost before it answered, or before the question was `sent`.
    pub(super) fn lost(self, sent: bool) -> Option<Told> {
        let why = if sent { Refusal::Unknown } else { Refusal::Unavailable };
        match self {
            Self::Publish(draft) => {
                let Draft { name, publisher, .. } = *draft;
                Some(Told::Published { name, publisher, outcome: Err(why), repeated: false })
            }
            Self::Look(name) | Self::Fetch(name, _) => Some(Told::Failed(name)),
            Self::Beat | Self::Say(..) => None,
        }
    }

    fn refused(self, error: RedisError) -> Outcome {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, NoScript, ReadOnly};
        match error.kind() {
            ErrorKind::Server(NoScript) => Outcome::Forgotten(self),
            kind => {
                let gone =
                    matches!(kind, ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly));
                Outcome::Refused { told: self.lost(false), error, gone }
            }
        }
    }
}

fn put_publish(draft: &Draft, pipeline: &mut redis::Pipeline, keys: &Keys, server: &Server, fresh: u64) {
    let command = pipeline.cmd("EVALSHA").arg(&server.publish).arg(if draft.id.is_some() { 3 } else { 2 });
    command.arg(keys.numbering(&draft.name)).arg(keys.stream(&draft.name));
    if let Some(id) = &draft.id {
        command.arg(keys.id(&draft.name, id));
    }
    command
        .arg(&server.run_id)
        .arg(u8::from(server.durable))
        .arg(fresh)
        .arg(&*draft.data)
        .arg(draft.wall_ms)
        .arg(draft.key.as_deref().unwrap_or_default())
        .arg(draft.keep)
        .arg(draft.keep_ms)
        .arg(BROKER_NUMBERING_MS.max(draft.keep_ms))
        .arg(PUBLISH_ID_KEEP_MS)
        .arg("PUBLISH")
        .arg(keys.channel(&draft.name));
}

fn put_kept(
    name: &str,
    after: u64,
    most: usize,
    pipeline: &mut redis::Pipeline,
    keys: &Keys,
    server: &Server,
    fresh: u64,
) {
    let command = pipeline.cmd("EVALSHA").arg(&server.kept).arg(2);
    command.arg(keys.numbering(name)).arg(keys.stream(name)).arg(&server.run_id);
    command
        .arg(u8::from(server.durable))
        .arg(fresh)
        .arg(BROKER_NUMBERING_MS)
        .arg(after)
        .arg(most)
        .arg(BROKER_PAGE_BYTES);
}

/// A publication as it comes over pub/sub: `EPOCH OFFSET WALL KEYBYTES`, a line feed, the key, the data.
pub(super) fn incoming(payload: &[u8]) -> Option<(Epoch, Entry)> {
    let head = payload.iter().position(|&byte| byte == b'\n')?;
    let mut numbers = str::from_utf8(&payload[..head]).ok()?.split(' ').map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let (epoch, offset, wall_ms, key_bytes) = (number()?, number()?, number()?, number()?);
    let (key, data) = payload[head + 1..].split_at_checked(usize::try_from(key_bytes).ok()?)?;
    Some((Epoch(epoch), entry(offset, wall_ms, key, data)?))
}

/// The epoch and the offset that an answer begins with, and what follows.
fn cursor(answer: &Value) -> Option<(Cursor, Option<&Value>)> {
    let Value::Array(parts) = answer else { return None };
    let (epoch, offset) = (number(parts.first()?)?, number(parts.get(1)?)?);
    Some((Cursor { epoch: Epoch(epoch), offset }, parts.get(2)))
}

/// The third part of an answer: `[[ID, [FIELD, VALUE, …]], …]`.
fn entries(answer: &Value) -> Option<Vec<Entry>> {
    let Value::Array(parts) = answer else { return None };
    let Value::Array(entries) = parts.get(2)? else { return None };
    entries.iter().map(kept_entry).collect()
}

fn kept_entry(kept: &Value) -> Option<Entry> {
    let Value::Array(parts) = kept else { return None };
    let [id, Value::Array(fields)] = &parts[..] else { return None };
    let offset = str::from_utf8(bytes(id)?).ok()?.strip_suffix("-0")?.parse().ok()?;
    let field = |name: &[u8]| {
        fields.chunks_exact(2).find(|pair| bytes(&pair[0]) == Some(name)).and_then(|pair| bytes(&pair[1]))
    };
    let wall_ms = str::from_utf8(field(b"t")?).ok()?.parse().ok()?;
    entry(offset, wall_ms, field(b"k")?, field(b"d")?)
}

fn entry(offset: u64, wall_ms: u64, key: &[u8], data: &[u8]) -> Option<Entry> {
    let key = if key.is_empty() { None } else { Some(str::from_utf8(key).ok()?.into()) };
    Some(Entry { offset, wall_ms, key, data: str::from_utf8(data).ok()?.into() })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        value => str::from_utf8(bytes(value)?).ok()?.parse().ok(),
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn senseless() -> RedisError {
    (
        ErrorKind::UnexpectedReturnType,
        "the keys of this prefix hold something else: choose another --broker-prefix",
    )
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::publisher::Publisher;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn draft() -> Box<Draft> {
        Box::new(Draft {
            name: "c".into(),
            data: "1".into(),
            key: None,
            id: None,
            wall_ms: 5,
            keep: 1,
            keep_ms: 1,
            publisher: Publisher::Call { ticket: 1, index: 0, id: None },
        })
    }

    proptest! {
        #[test]
        fn what_is_published_is_heard_as_it_was(
            numbers in any::<[u64; 3]>(), key in prop::option::of("\\PC{1,9}"), data in "(?s).{0,40}",
        ) {
            let [epoch, offset, wall_ms] = numbers;
            let typed = key.clone().unwrap_or_default();
            // As publish.lua writes it.
            let payload = format!("{epoch} {offset} {wall_ms} {}\n{typed}{data}", typed.len());
            let entry = Entry { offset, wall_ms, key: key.map(Into::into), data: data.into() };
            prop_assert_eq!(incoming(payload.as_bytes()), Some((Epoch(epoch), entry)));
        }

        #[test]
        fn whatever_somebody_else_publishes_is_taken_for_nothing(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some((_, entry)) = incoming(&payload) {
                prop_assert!(payload.ends_with(entry.data.as_bytes()));
            }
        }
    }

    #[test]
    fn what_is_kept_is_read_as_redis_writes_it() {
        let entry = |id: &str, fields: &[&str]| {
            Value::Array(vec![text(id), Value::Array(fields.iter().map(|field| text(field)).collect())])
        };
        let kept = vec![
            entry("4-0", &["d", "{}", "t", "17", "k", ""]),
            entry("5-0", &["d", "[1]", "t", "18", "k", "x"]),
        ];
        let answer = Value::Array(vec![text("99"), text("5"), Value::Array(kept)]);
        let Outcome::Told(Told::Kept { after: 3, cursor, entries, .. }) =
            Question::Fetch("c".into(), 3).outcome(answer)
        else {
            panic!("no answer")
        };
        assert_eq!(cursor, Cursor { epoch: Epoch(99), offset: 5 });
        let read: Vec<_> =
            entries.iter().map(|one| (one.offset, one.wall_ms, one.key.as_deref(), &*one.data)).collect();
        assert_eq!(read, [(4, 17, None, "{}"), (5, 18, Some("x"), "[1]")]);
    }

    #[test]
    fn an_answer_without_sense_refuses_and_is_not_believed() {
        for answer in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![text("1")]),
            Value::Array(vec![text("x"), text("1"), Value::Int(0)]),
        ] {
            let Outcome::Refused { told: Some(Told::Published { outcome, .. }), gone: false, .. } =
                Question::Publish(draft()).outcome(answer.clone())
            else {
                panic!("{answer:?} was believed")
            };
            assert_eq!(outcome, Err(Refusal::Unavailable));
        }
    }

    #[test]
    fn what_was_sent_and_not_answered_is_unknown_and_what_was_not_sent_went_to_nobody() {
        for (sent, expected) in [(true, Refusal::Unknown), (false, Refusal::Unavailable)] {
            let Some(Told::Published { outcome, .. }) = Question::Publish(draft()).lost(sent) else {
                panic!("its publisher is told")
            };
            assert_eq!(outcome, Err(expected));
        }
        assert!(matches!(Question::Look("c".into()).lost(true), Some(Told::Failed(_))));
        assert!(Question::Beat.lost(true).is_none());
    }

    #[test]
    fn a_publication_goes_out_with_the_keys_and_words_that_the_script_expects() {
        let mut pipeline = redis::Pipeline::new();
        let shared = Shared::new("roost:", 1);
        let server = Server {
            run_id: "r".into(),
            durable: true,
            publish: "p".into(),
            kept: "k".into(),
            beat: "b".into(),
        };
        Question::Publish(Box::new(Draft { id: Some("7".into()), key: Some("x".into()), ..*draft() })).put(
            &mut pipeline,
            &shared,
            &server,
        );
        let packed = String::from_utf8(pipeline.get_packed_pipeline()).unwrap();
        let words: Vec<&str> = packed.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
        let fresh = words[8];
        assert!(fresh.parse::<u64>().is_ok(), "{words:?}");
        let expected = [
            "EVALSHA",
            "p",
            "3",
            "roost:{c}:n",
            "roost:{c}:s",
            "roost:{c}:i:7",
            "r",
            "1",
            fresh,
            "1",
            "5",
            "x",
        ];
        assert_eq!(words[..12], expected);
        assert_eq!(words[12..], ["1", "1", "600000", "300000", "PUBLISH", "roost:{c}", ""]);
    }
}
