//! `GET /channels` and `GET /presence`: the shards' parts to one answer. Must never ask a shard: the parts are gathered already.

use super::answers::Reply;
use crate::dialect::cursor::Cursor;
use crate::hub::channels::ChannelPart;
use crate::limits::{CHANNELS_LISTED_MAX, PRESENCE_USERS_MAX};
use crate::proto::http::Refusal;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What all shards together know of the channels asked for.
#[derive(Debug, Default)]
pub struct Gathered {
    channels: BTreeMap<Arc<str>, Known>,
    truncated: bool,
}

#[derive(Debug, Default)]
struct Known {
    subscribers: usize,
    cursor: Option<Cursor>,
    history: usize,
    users: Option<Vec<Arc<str>>>,
}

#[derive(Serialize)]
struct Channel<'a> {
    channel: &'a str,
    subscribers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
    /// Publications kept.
    history: usize,
}

#[derive(Serialize)]
struct Presence<'a> {
    channel: &'a str,
    /// Connections that follow it.
    count: usize,
    /// Who is signed in of them, the first [`crate::limits::PRESENCE_USERS_MAX`] by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<&'a [Arc<str>]>,
}

#[derive(Serialize)]
struct Channels<'a> {
    channels: Vec<Channel<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Gathered {
    /// Adds one shard's part.
    pub fn add(&mut self, parts: Vec<ChannelPart>, truncated: bool) {
        self.truncated |= truncated;
        for part in parts {
            let known = self.channels.entry(part.name).or_default();
            known.subscribers += part.subscribers;
            known.cursor = later(known.cursor, part.cursor);
            // One owner of each node knows it: that of the largest has all that there is.
            known.history = known.history.max(part.history);
            known.users = together(known.users.take(), part.users);
        }
    }

    /// What another node is told, the first [`CHANNELS_LISTED_MAX`] by name.
    #[must_use]
    pub fn into_parts(self) -> (Vec<ChannelPart>, bool) {
        let truncated = self.truncated || self.channels.len() > CHANNELS_LISTED_MAX;
        let part = |(name, known): (Arc<str>, Known)| {
            let Known { subscribers, cursor, history, users } = known;
            ChannelPart { name, subscribers, cursor, history, users }
        };
        (self.channels.into_iter().take(CHANNELS_LISTED_MAX).map(part).collect(), truncated)
    }

    /// The answer to `GET /channels`, by name; `truncated` when there are more than [`CHANNELS_LISTED_MAX`].
    #[must_use]
    pub fn list(&self) -> Reply {
        let channels =
            self.channels.iter().take(CHANNELS_LISTED_MAX).map(|(name, known)| channel(name, known));
        let truncated = self.truncated || self.channels.len() > CHANNELS_LISTED_MAX;
        Reply::json(200, &Channels { channels: channels.collect(), truncated })
    }

    /// The answer to `GET /channels/{name}`.
    #[must_use]
    pub fn single(&self, name: &str) -> Reply {
        match self.channels.get(name) {
            Some(known) => Reply::json(200, &channel(name, known)),
            None => {
                let message = "nobody follows this channel, and nothing was published to it lately";
                Reply::refusal(&Refusal::new(404, "not_found", message))
            }
        }
    }

    /// The answer to `GET /presence/{name}`. Nobody is a number as well.
    #[must_use]
    pub fn presence(&self, name: &str) -> Reply {
        let known = self.channels.get(name);
        let count = known.map_or(0, |known| known.subscribers);
        let users = known.and_then(|known| known.users.as_deref());
        Reply::json(200, &Presence { channel: name, count, users })
    }
}

/// The one that is further on; of two numberings the first one told of.
fn later(one: Option<Cursor>, other: Option<Cursor>) -> Option<Cursor> {
    match (one, other) {
        (Some(one), Some(other)) if one.epoch == other.epoch && other.offset > one.offset => Some(other),
        (one, other) => one.or(other),
    }
}

/// The users that two nodes know of, the first [`PRESENCE_USERS_MAX`] by name.
fn together(one: Option<Vec<Arc<str>>>, other: Option<Vec<Arc<str>>>) -> Option<Vec<Arc<str>>> {
    let (Some(one), Some(other)) = (&one, &other) else { return one.or(other) };
    let users: BTreeSet<_> = one.iter().chain(other).cloned().collect();
    Some(users.into_iter().take(PRESENCE_USERS_MAX).collect())
}

fn channel<'a>(name: &'a str, known: &Known) -> Channel<'a> {
    let &Known { subscribers, cursor, history, .. } = known;
    Channel { channel: name, subscribers, cursor, history }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::cursor::Epoch;

    #[test]
    fn the_parts_of_all_shards_are_summed() {
        let cursor = Some(Cursor { epoch: Epoch(1), offset: 2 });
        let part = |subscribers, cursor, history, users| ChannelPart {
            name: "a".into(),
            subscribers,
            cursor,
            history,
            users,
        };
        let mut gathered = Gathered::default();
        gathered.add(vec![part(2, None, 0, None)], false);
        gathered.add(vec![part(1, cursor, 7, Some(vec!["ann".into()]))], false);
        let expected = "{\"channel\":\"a\",\"subscribers\":3,\"cursor\":\"1-2\",\"history\":7}\n";
        assert_eq!(gathered.single("a").body, expected.as_bytes());
        assert_eq!(gathered.single("b").status, 404);
        assert_eq!(gathered.presence("a").body, b"{\"channel\":\"a\",\"count\":3,\"users\":[\"ann\"]}\n");
        assert_eq!(gathered.presence("b").body, b"{\"channel\":\"b\",\"count\":0}\n");
        let elsewhere =
            part(4, Some(Cursor { epoch: Epoch(1), offset: 3 }), 6, Some(vec!["bob".into(), "ann".into()]));
        gathered.add(vec![elsewhere], false);
        assert_eq!(
            gathered.presence("a").body,
            b"{\"channel\":\"a\",\"count\":7,\"users\":[\"ann\",\"bob\"]}\n"
        );
        let expected =
            "{\"channels\":[{\"channel\":\"a\",\"subscribers\":7,\"cursor\":\"1-3\",\"history\":7}]}\n";
        assert_eq!(gathered.list().body, expected.as_bytes());
    }
}
