//! A client with a WebSocket, or one that polls. It follows one channel, keeps its place, and holds everything that it hears against that.

use crate::line::{Line, behind_head, messages};
use crate::redis::Redis;
use roost::dialect::cursor::Cursor;
use roost::shard::conn_table::Token;
use serde_json::{Value, json};

/// How it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A WebSocket that names its channel in the query.
    Query,
    /// One that subscribes by a message.
    Message,
    Poll,
}

pub(crate) struct Client {
    pub(crate) channel: String,
    pub(crate) way: Way,
    pub(crate) node: usize,
    pub(crate) shard: usize,
    pub(crate) token: Token,
    pub(crate) line: Line,
    /// Up to where it has everything, or was told of the gap. None before it was told a place.
    pub(crate) place: Option<Cursor>,
    /// It is told where it stands.
    pub(crate) joined: bool,
    /// It was refused and has to come back.
    pub(crate) refused: bool,
    /// Gaps that it was told of.
    pub(crate) gaps: usize,
}

impl Client {
    /// What it asks for with the place that it has.
    pub(crate) fn request(channel: &str, way: Way, place: Option<Cursor>) -> Line {
        let since = place.map_or(String::new(), |place| format!("&since={place}"));
        match way {
            Way::Query => Line::asking_for(&format!("/live?channel={channel}{since}")),
            Way::Message => {
                let line = Line::asking_for("/live");
                let mut message = json!({ "type": "subscribe", "channel": channel });
                if let Some(place) = place {
                    message["since"] = place.to_string().into();
                }
                line.send(&message);
                line
            }
            Way::Poll => Line::sending(format!(
                "GET /poll?channel={channel}{since}&wait=2 HTTP/1.1\r\nHost: node\r\n\r\n"
            )),
        }
    }

    /// Takes what has come. True when it has heard the end of its question, and asks the next.
    pub(crate) fn hear(&mut self, redis: &Redis) -> bool {
        match self.way {
            Way::Query | Way::Message => {
                self.hear_frames(redis);
                false
            }
            Way::Poll => self.hear_answer(redis),
        }
    }

    fn hear_frames(&mut self, redis: &Redis) {
        let heard = {
            let peer = &mut *self.line.0.borrow_mut();
            let Some(frames) = behind_head(&peer.got) else { return };
            let (heard, rest) = messages(frames);
            let (head, taken) = (peer.got.len() - frames.len(), peer.got.len() - rest.len());
            // The head stays, so that what comes next is found behind it.
            peer.got.drain(head..taken);
            heard
        };
        for message in heard {
            self.take(&message, redis);
        }
    }

    fn hear_answer(&mut self, redis: &Redis) -> bool {
        let got = self.line.0.borrow().got.clone();
        let Some(body) = behind_head(&got) else { return false };
        let head = String::from_utf8_lossy(&got[..got.len() - body.len()]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.expect("a length").trim().parse().expect("a number");
        if body.len() < length {
            return false;
        }
        self.line.0.borrow_mut().got.clear();
        if head.starts_with("HTTP/1.1 503") {
            self.refused = true;
            return false;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let answer: Value = serde_json::from_slice(&body[..length]).expect("JSON");
        for message in answer["messages"].as_array().expect("messages") {
            self.take(message, redis);
        }
        let cursor: Cursor =
            answer["cursors"][&self.channel].as_str().expect("a cursor").parse().expect("one");
        assert_eq!(self.place.replace(cursor).unwrap_or(cursor), cursor, "an answer that does not add up");
        self.joined = true;
        true
    }

    fn take(&mut self, message: &Value, redis: &Redis) {
        let cursor =
            |message: &Value| -> Cursor { message["cursor"].as_str().expect("one").parse().expect("one") };
        match message["type"].as_str().expect("a type") {
            "subscribed" => {
                self.joined = true;
                self.place.get_or_insert_with(|| cursor(message));
            }
            "gap" => self.gap(message, cursor(message), redis),
            "notification" => {
                let place = self.place.as_mut().expect("a place comes first");
                place.offset += 1;
                assert_eq!(
                    message["offset"].as_u64(),
                    Some(place.offset),
                    "lost, doubled or out of order: {message}"
                );
                let known = redis.numbered.get(&(self.channel.as_str().into(), place.epoch.0, place.offset));
                assert_eq!(known.map(|data| &**data), Some(&*message["data"].to_string()), "{message}");
            }
            "error" => {
                assert_eq!(message["code"], "unavailable", "{message}");
                self.refused = true;
            }
            other => panic!("{other}"),
        }
    }

    fn gap(&mut self, message: &Value, cursor: Cursor, redis: &Redis) {
        let place = self.place.expect("a place comes first");
        let from = message["from"].as_u64().expect("a number");
        assert_eq!(message["to"].as_u64(), Some(cursor.offset));
        if cursor.epoch == place.epoch {
            assert_eq!(from, place.offset + 1, "{message} at {place}");
        } else {
            assert!(cursor.epoch.0 > place.epoch.0 && from == 1, "{message} at {place}");
        }
        let excused = redis.lost || self.channel.starts_with("bare:") || self.channel.starts_with("latest:");
        assert!(excused, "nothing was lost: {message} at {place}");
        self.gaps += 1;
        self.place = Some(cursor);
    }
}
