//! `POST /publish`: bodies to publications, outcomes to answers. Must never number or deliver anything.

use super::answers::Reply;
use crate::dialect::cursor::Cursor;
use crate::dialect::native::{Code, Refused, begins_object, broken, check_channel, present};
use crate::limits::{
    CONFLATION_KEY_BYTES_MAX, PUBLICATION_BYTES_MAX, PUBLISH_CHANNELS_MAX, PUBLISH_ID_BYTES_MAX,
};
use crate::proto::http::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// One publication to one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// A valid name.
    pub channel: Box<str>,
    /// Valid JSON.
    pub data: Box<str>,
    /// What it is the latest of, for subscribers that get no more than that.
    pub key: Option<Arc<str>>,
    /// By which a second one of the channel is taken for the same.
    pub id: Option<Box<str>>,
}

/// What became of one publication: where the channel stands, or why nobody got it.
pub type Outcome = Result<Cursor, Refusal>;

/// A body, read and checked: what is to go out, and how the answer is to look.
#[derive(Debug)]
pub struct Batch {
    /// In the order of the body.
    pub publications: Vec<Publication>,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// One answer for the whole body.
    Whole(Form),
    /// One answer a line: how its publications are answered and how many there are, or what is wrong with it.
    Lines(Vec<Result<(Form, usize), Refusal>>),
}

/// How the channels were named, and so how the outcomes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `"channel"`: one object.
    Single,
    /// `"channels"`: results in their order.
    Many,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    conflate: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

impl Batch {
    /// Reads one publication, to one channel or to several: all of them good or none goes out.
    ///
    /// # Errors
    /// 400 or 413, naming what is wrong.
    pub fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        let mut publications = Vec::new();
        let shape = Shape::Whole(read(body, &mut publications)?);
        Ok(Self { publications, shape })
    }

    /// Reads one publication a line. Blank lines are skipped; a bad one is answered in its place, the others go out.
    #[must_use]
    pub fn from_ndjson(body: &[u8]) -> Self {
        let mut publications = Vec::new();
        let mut lines = Vec::new();
        for (index, line) in body.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let before = publications.len();
            lines.push(match read(line, &mut publications) {
                Ok(form) => Ok((form, publications.len() - before)),
                Err(refusal) => Err(Refusal { line: Some(index + 1), ..refusal }),
            });
        }
        Self { publications, shape: Shape::Lines(lines) }
    }

    /// The answer, once all outcomes are known: one for each publication, in order.
    #[must_use]
    pub fn reply(&self, outcomes: &[Outcome]) -> Reply {
        let mut rest: Vec<_> = self.publications.iter().zip(outcomes).collect();
        match &self.shape {
            Shape::Whole(form) => match form.answer(&rest) {
                Ok(json) => Reply::json(200, &json),
                Err(refusal) => Reply::refusal(&refusal),
            },
            Shape::Lines(lines) => {
                let mut text = String::new();
                for line in lines {
                    let json = match line {
                        Ok((form, count)) => form.answer(&rest.drain(..count).collect::<Vec<_>>()),
                        Err(refusal) => Err(refusal.clone()),
                    };
                    text += &json.map_or_else(|refusal| refusal.to_json(), |json| json.to_string());
                    text.push('\n');
                }
                Reply {
                    status: 200,
                    content_type: "application/x-ndjson",
                    body: text.into_bytes(),
                    headers: Vec::new(),
                }
            }
        }
    }
}

impl Form {
    fn answer(self, outcomes: &[(&Publication, &Outcome)]) -> Result<Value, Refusal> {
        let mut results = Vec::with_capacity(outcomes.len());
        for (publication, outcome) in outcomes {
            let cursor = outcome.as_ref().map_err(Clone::clone)?;
            results.push(json!({ "channel": publication.channel, "cursor": cursor }));
        }
        Ok(match self {
            Self::Single => results.pop().unwrap_or_default(),
            Self::Many => json!({ "results": results }),
        })
    }
}

/// Appends what one object asks for.
fn read(json: &[u8], publications: &mut Vec<Publication>) -> Result<Form, Refusal> {
    // serde does not look at the bytes of strings that it ignores.
    let json =
        simdutf8::compat::from_utf8(json).map_err(|error| Refused::new(Code::BadJson, error.to_string()))?;
    if !begins_object(json) {
        let message = r#"a publication is an object: {"channel":"…","data":…}"#;
        return Err(broken(json).unwrap_or_else(|| Refused::new(Code::BadRequest, message)).into());
    }
    let body: Body<'_> = serde_json::from_str(json)
        .map_err(|error| broken(json).unwrap_or_else(|| Refused::new(Code::BadRequest, error.to_string())))?;
    let data =
        body.data.map(RawValue::get).ok_or_else(|| Refused::new(Code::BadRequest, "`data` is missing"))?;
    if data.len() > PUBLICATION_BYTES_MAX {
        let message = format!("`data` has {} bytes, at most {PUBLICATION_BYTES_MAX} go out", data.len());
        return Err(Refusal::new(413, "too_large", message));
    }
    let (channels, form) = match (body.channel, body.channels) {
        (Some(channel), None) => (vec![channel], Form::Single),
        (None, Some(channels)) if (1..=PUBLISH_CHANNELS_MAX).contains(&channels.len()) => {
            (channels, Form::Many)
        }
        (None, Some(channels)) if channels.is_empty() => {
            return Err(Refused::new(Code::BadRequest, "`channels` names none").into());
        }
        (None, Some(channels)) => {
            let message = format!("`channels` names {}, it may name {PUBLISH_CHANNELS_MAX}", channels.len());
            return Err(Refused::new(Code::TooManyChannels, message).into());
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(
                Refused::new(Code::BadRequest, "one of `channel` and `channels` says where it goes").into()
            );
        }
    };
    for channel in &channels {
        check_channel(channel)
            .map_err(|refused| Refused::new(refused.code, format!("{channel:?}: {}", refused.message)))?;
    }
    let key = body.conflate.map(key).transpose()?;
    let id = body.id.map(publication_id).transpose()?;
    let publication = |channel: String| Publication {
        channel: channel.into(),
        data: data.into(),
        key: key.clone(),
        id: id.clone(),
    };
    publications.extend(channels.into_iter().map(publication));
    Ok(form)
}

/// Reads a conflation key.
fn key(json: &RawValue) -> Result<Arc<str>, Refusal> {
    let key = serde_json::from_str::<Cow<'_, str>>(json.get()).ok();
    match key.filter(|key| (1..=CONFLATION_KEY_BYTES_MAX).contains(&key.len())) {
        Some(key) => Ok(key.into()),
        None => {
            let message = format!("`conflate` is a string of 1 to {CONFLATION_KEY_BYTES_MAX} bytes");
            Err(Refused::new(Code::BadRequest, message).into())
        }
    }
}

/// Reads the id by which a publisher may try again.
fn publication_id(json: &RawValue) -> Result<Box<str>, Refused> {
    let id: Option<Box<str>> = serde_json::from_str(json.get()).ok();
    id.filter(|id| (1..=PUBLISH_ID_BYTES_MAX).contains(&id.len())).ok_or_else(|| {
        let message = format!("`id` is a string of 1 to {PUBLISH_ID_BYTES_MAX} bytes");
        Refused::new(Code::BadRequest, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::cursor::Epoch;

    fn cursor(offset: u64) -> Outcome {
        Ok(Cursor { epoch: Epoch(10), offset })
    }

    fn text(reply: Reply) -> String {
        String::from_utf8(reply.body).unwrap()
    }

    #[test]
    fn one_channel_answers_one_object_with_the_data_byte_for_byte() {
        let batch = Batch::from_json(br#" {"channel":"c","data":{"n": 1.00},"else":1}"#).unwrap();
        assert_eq!(&*batch.publications[0].data, r#"{"n": 1.00}"#);
        assert_eq!(text(batch.reply(&[cursor(3)])), "{\"channel\":\"c\",\"cursor\":\"A-3\"}\n");
    }

    #[test]
    fn many_channels_answer_in_their_order() {
        let batch = Batch::from_json(br#"{"channels":["d","c"],"data":null}"#).unwrap();
        assert_eq!(batch.publications.len(), 2);
        let expected =
            "{\"results\":[{\"channel\":\"d\",\"cursor\":\"A-1\"},{\"channel\":\"c\",\"cursor\":\"A-2\"}]}\n";
        assert_eq!(text(batch.reply(&[cursor(1), cursor(2)])), expected);
        assert_eq!(batch.reply(&[cursor(1), Err(Refusal::unavailable())]).status, 503);
    }

    #[test]
    fn a_bad_line_is_answered_in_its_place_and_the_others_go_out() {
        let body = b"{\"channel\":\"a\",\"data\":1}\n\n{\"channel\":\"\",\"data\":1}\r\n{\"channels\":[\"b\",\"c\"],\"data\":2}";
        let batch = Batch::from_ndjson(body);
        assert_eq!(batch.publications.len(), 3);
        let text = text(batch.reply(&[cursor(1), cursor(2), cursor(3)]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], r#"{"channel":"a","cursor":"A-1"}"#);
        assert!(lines[1].starts_with(r#"{"error":{"code":"bad_channel","#), "{}", lines[1]);
        assert!(lines[1].ends_with(r#","line":3}"#), "{}", lines[1]);
        assert!(lines[2].starts_with(r#"{"results":["#));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_conflation_key_is_a_short_string_for_all_channels_of_the_call() {
        let batch = Batch::from_json(br#"{"channels":["d","c"],"data":1,"conflate":"\u0041"}"#).unwrap();
        assert!(batch.publications.iter().all(|one| one.key.as_deref() == Some("A")));
        let lines = b"{\"channel\":\"a\",\"data\":1,\"conflate\":\"k\"}\n{\"channel\":\"a\",\"data\":1}";
        let keys = Batch::from_ndjson(lines).publications.into_iter().map(|one| one.key);
        assert_eq!(keys.collect::<Vec<_>>(), [Some("k".into()), None]);
        let body = |key: &str| format!(r#"{{"channel":"c","data":1,"conflate":{key}}}"#);
        let longest = "k".repeat(CONFLATION_KEY_BYTES_MAX);
        assert!(Batch::from_json(body(&format!("\"{longest}\"")).as_bytes()).is_ok());
        for wrong in ["\"\"", "null", "7", "[\"k\"]", &format!("\"k{longest}\"")] {
            let refusal = Batch::from_json(body(wrong).as_bytes()).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, "bad_request"), "{wrong}");
            assert_eq!(refusal.message, "`conflate` is a string of 1 to 164 bytes", "{wrong}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_although_it_stands_in_a_member_that_nobody_reads() {
        let body = b"{\"channel\":\"c\",\"data\":1,\"else\":\"\xff\"}";
        assert_eq!(Batch::from_json(body).unwrap_err().code, "bad_json");
    }

    #[test]
    fn an_id_goes_with_each_channel_and_with_its_own_line_alone() {
        let batch = Batch::from_json(br#"{"channels":["c","d"],"data":1,"id":"\u0061b"}"#).unwrap();
        assert!(batch.publications.iter().all(|one| one.id.as_deref() == Some("ab")));
        let lines = b"{\"channel\":\"c\",\"data\":1,\"id\":\"x\"}\n{\"channel\":\"c\",\"data\":1}\n{\"channel\":\"c\",\"data\":1,\"id\":7}";
        let batch = Batch::from_ndjson(lines);
        let ids: Vec<_> = batch.publications.iter().map(|one| one.id.as_deref()).collect();
        assert_eq!(ids, [Some("x"), None]);
        let text = text(batch.reply(&[cursor(1), cursor(2)]));
        let last = text.lines().last().unwrap();
        assert!(
            last.contains("`id` is a string of 1 to 128 bytes") && last.ends_with(r#","line":3}"#),
            "{last}"
        );
    }

    #[test]
    fn an_id_is_a_string_of_1_to_128_bytes_whatever_their_characters() {
        let body = |id: &str| format!(r#"{{"channel":"c","data":1,"id":{id}}}"#);
        let longest = format!("\"{}\"", "ü".repeat(64));
        for good in ["\"x\"", "\" \"", "\"\\u0000\"", &longest] {
            assert!(Batch::from_json(body(good).as_bytes()).is_ok(), "{good}");
        }
        let longer = format!("\"{}x\"", "ü".repeat(64));
        for bad in ["\"\"", "7", "null", "true", "[\"x\"]", "{}", &longer] {
            let refusal = Batch::from_json(body(bad).as_bytes()).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, "bad_request"), "{bad}");
            assert_eq!(refusal.message, "`id` is a string of 1 to 128 bytes");
        }
    }

    #[test]
    fn each_fault_has_its_status_and_code() {
        let large = format!(r#"{{"channel":"c","data":"{}"}}"#, "x".repeat(PUBLICATION_BYTES_MAX));
        let many = format!(r#"{{"channels":{:?},"data":1}}"#, vec!["c"; PUBLISH_CHANNELS_MAX + 1]);
        for (body, status, code) in [
            ("", 400, "bad_json"),
            ("{", 400, "bad_json"),
            ("nonsense", 400, "bad_json"),
            (r#"{"channel":7,"data":}"#, 400, "bad_json"),
            ("[1]", 400, "bad_request"),
            ("{}", 400, "bad_request"),
            (r#"{"channel":"c"}"#, 400, "bad_request"),
            (r#"{"data":1}"#, 400, "bad_request"),
            (r#"{"channel":"c","channels":["d"],"data":1}"#, 400, "bad_request"),
            (r#"{"channels":[],"data":1}"#, 400, "bad_request"),
            (r#"{"channels":["c","a b"],"data":1}"#, 400, "bad_channel"),
            (r#"{"channel":7,"data":1}"#, 400, "bad_request"),
            (&many, 400, "too_many_channels"),
            (&large, 413, "too_large"),
        ] {
            let refusal = Batch::from_json(body.as_bytes()).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (status, code), "{body:.60}");
        }
        let exact = format!(r#"{{"channel":"c","data":"{}"}}"#, "x".repeat(PUBLICATION_BYTES_MAX - 2));
        assert!(Batch::from_json(exact.as_bytes()).is_ok());
    }
}
