//! `GET /connections` and `GET /connections/{id}`: what is told of connections, and the shards' parts made one answer. Must never
//! hold more of them than were asked for.

use super::answers::Reply;
use crate::dialect::cursor::Cursor;
use crate::limits::{CONNECTIONS_LISTED, CONNECTIONS_LISTED_MAX};
use crate::metrics::Transport;
use crate::proto::http::Refusal;
use crate::proto::query::parameter;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

/// What puts a connection at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Top {
    /// Most waits for it.
    Lag,
    /// It came first.
    Age,
    /// Most went through its socket.
    Bytes,
}

/// What `GET /connections` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Who comes first.
    pub top: Top,
    /// How many are told of.
    pub limit: usize,
}

/// What is told of a connection in a list, and about one alone. What cannot be known is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its id, which its client was told as `session` of `welcome`.
    pub connection: String,
    /// Where it lives.
    pub shard: u16,
    /// How it is connected; null while it has not said so.
    pub transport: Option<Transport>,
    /// Where the client is, or the proxy before it.
    pub peer: Option<SocketAddr>,
    /// Since it was accepted, in seconds: a tenth exact for those that came just now, then to a 32nd of the age.
    pub age_s: f64,
    /// Whose token it has shown.
    pub user: Option<Box<str>>,
    /// Channels that it follows, or is about to.
    pub subscriptions: usize,
    /// Weight of what waits for it in the node's memory, as its bounds count it.
    pub queued_bytes: u64,
    /// What it has acknowledged of all that was sent to it: the kernel's count, heads and frames included.
    pub sent_bytes: Option<u64>,
    /// What came from it, likewise.
    pub received_bytes: Option<u64>,
}

/// One connection in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// What is told of every one.
    #[serde(flatten)]
    pub facts: Facts,
    /// The first few of its channels.
    pub channels: Vec<Arc<str>>,
}

/// All about one connection.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detail {
    /// What is told of every one.
    #[serde(flatten)]
    pub facts: Facts,
    /// Since its last byte came, in seconds: of a WebSocket, the only one that is heard of while nothing happens.
    pub silent_s: Option<f64>,
    /// How long a byte and the word that it has come are on their way together, by the kernel's measure, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// When its token ends, in seconds from now; 0 where that is only a matter of the clocks' leeway.
    pub token_expires_in_s: Option<u64>,
    /// Its client says that nobody looks at it.
    pub hidden: bool,
    /// For how long its queue has been over the soft bound, in milliseconds.
    pub over_soft_ms: Option<u64>,
    /// All its channels.
    pub channels: Vec<Followed>,
}

/// One channel of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// Its name.
    pub channel: Arc<str>,
    /// How the connection gets what is published there.
    pub state: Following,
    /// Up to where the client has everything or was told of a gap, where it does not get what is published at once. One that
    /// is live stands where the channel does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// How a connection gets what is published to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Following {
    /// The channel's owner has not answered yet.
    Joining,
    /// At once.
    Live,
    /// It gets what it missed first, or waits for that to be asked for.
    Replaying,
    /// It is behind, and gets the latest when it has read what waits for it.
    Lagging,
}

/// What all shards together have found.
#[derive(Debug)]
pub struct Found {
    listing: Listing,
    connections: Vec<Connection>,
    total: u64,
}

/// The answer to `GET /connections`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Connections {
    /// How many there are, those that are not told of included.
    pub total: u64,
    /// The first of them.
    pub connections: Vec<Connection>,
}

impl Top {
    /// All variants, as they are offered.
    pub const ALL: [Self; 3] = [Self::Lag, Self::Age, Self::Bytes];

    /// How it is written.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Age => "age",
            Self::Bytes => "bytes",
        }
    }
}

impl Listing {
    /// Reads `top` and `limit`.
    ///
    /// # Errors
    /// 400, with what may be written there.
    pub fn from_query(query: Option<&str>) -> Result<Self, Refusal> {
        let top = parameter(query, "top").unwrap_or("lag".into());
        let limit = parameter(query, "limit");
        let top = Top::ALL.into_iter().find(|one| one.label() == top);
        let top = top.ok_or_else(|| Refusal::bad_request("`top` is `lag`, `age` or `bytes`"))?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = match limit {
            None => Some(CONNECTIONS_LISTED),
            Some(text) if digits(&text) => text.parse().ok(),
            Some(_) => None,
        };
        let limit = limit.filter(|limit| (1..=CONNECTIONS_LISTED_MAX).contains(limit)).ok_or_else(|| {
            Refusal::bad_request(format!("`limit` is a number from 1 to {CONNECTIONS_LISTED_MAX}"))
        })?;
        Ok(Self { top, limit })
    }
}

impl Facts {
    /// The larger, the nearer to the top.
    fn rank(&self, top: Top) -> u64 {
        match top {
            Top::Lag => self.queued_bytes,
            Top::Age => (self.age_s * 10.0) as u64,
            Top::Bytes => self.sent_bytes.unwrap_or(0) + self.received_bytes.unwrap_or(0),
        }
    }
}

impl Found {
    /// Nothing yet.
    #[must_use]
    pub fn new(listing: Listing) -> Self {
        Self { listing, connections: Vec::new(), total: 0 }
    }

    /// Adds one shard's part.
    pub fn add(&mut self, connections: Vec<Connection>, total: u64) {
        let Listing { top, limit } = self.listing;
        self.total += total;
        self.connections.extend(connections);
        // Equals stay in the order of their shard.
        self.connections.sort_by_key(|one| (Reverse(one.facts.rank(top)), one.facts.shard));
        self.connections.truncate(limit);
    }

    /// The answer to `GET /connections`.
    #[must_use]
    pub fn reply(self) -> Reply {
        Reply::json(200, &Connections { total: self.total, connections: self.connections })
    }
}

/// The answer to `GET /connections/{id}`.
#[must_use]
pub fn single(detail: Option<&Detail>) -> Reply {
    detail.map_or_else(|| Reply::refusal(&nobody()), |detail| Reply::json(200, detail))
}

/// No connection has the id that was asked for.
#[must_use]
pub fn nobody() -> Refusal {
    let message = "no connection has this id: it has ended, or never was; `GET /connections` tells the ids";
    Refusal::new(404, "not_found", message)
}

/// Tenths of a second, as seconds.
#[must_use]
pub fn seconds(ms: u64) -> f64 {
    (ms / 100) as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connection(shard: u16, queued_bytes: u64, age_s: f64, bytes: Option<u64>) -> Connection {
        let facts = Facts {
            connection: format!("{shard:x}.0.1"),
            shard,
            transport: Some(Transport::Sse),
            peer: Some("127.0.0.1:5".parse().unwrap()),
            age_s,
            user: None,
            subscriptions: 1,
            queued_bytes,
            sent_bytes: bytes,
            received_bytes: bytes,
        };
        Connection { facts, channels: vec!["a".into()] }
    }

    #[test]
    fn what_is_asked_for_is_read_or_named() {
        let read = |query| Listing::from_query(query).map_err(|refusal| refusal.to_json());
        assert_eq!(read(None), Ok(Listing { top: Top::Lag, limit: CONNECTIONS_LISTED }));
        assert_eq!(read(Some("limit=1000&top=age")), Ok(Listing { top: Top::Age, limit: 1000 }));
        assert_eq!(read(Some("top=bytes&limit=1")), Ok(Listing { top: Top::Bytes, limit: 1 }));
        for (query, words) in [
            ("top=", "`lag`, `age` or `bytes`"),
            ("top=Lag", "`lag`, `age` or `bytes`"),
            ("limit=", "`limit` is a number from 1 to 1000"),
            ("limit=0", "from 1 to 1000"),
            ("limit=1001", "from 1 to 1000"),
            ("limit=+7", "from 1 to 1000"),
            ("limit=99999999999999999999", "from 1 to 1000"),
        ] {
            let refusal = read(Some(query)).unwrap_err();
            assert!(refusal.contains(words) && refusal.contains("bad_request"), "{query}: {refusal}");
        }
    }

    #[test]
    fn the_answer_names_everything_and_says_null_where_nobody_knows() {
        let mut found = Found::new(Listing { top: Top::Lag, limit: 5 });
        found.add(vec![connection(0, 7, 1.5, None)], 3);
        let expected = "{\"total\":3,\"connections\":[{\"connection\":\"0.0.1\",\"shard\":0,\"transport\":\"sse\",\
             \"peer\":\"127.0.0.1:5\",\"age_s\":1.5,\"user\":null,\"subscriptions\":1,\"queued_bytes\":7,\
             \"sent_bytes\":null,\"received_bytes\":null,\"channels\":[\"a\"]}]}\n";
        assert_eq!(String::from_utf8(found.reply().body).unwrap(), expected);
        assert_eq!(single(None).status, 404);
    }

    proptest! {
        #[test]
        fn the_top_of_all_shards_is_that_of_one_list(
            parts in prop::collection::vec(prop::collection::vec((0u64..9, 0u32..9, 0u64..9), 0..9), 0..6),
            limit in 1usize..8,
        ) {
            for top in Top::ALL {
                let mut found = Found::new(Listing { top, limit });
                let mut all = Vec::new();
                for (shard, part) in parts.iter().enumerate() {
                    let made = |&(lag, age, bytes): &(u64, u32, u64)| {
                        connection(shard as u16, lag, f64::from(age) / 10.0, Some(bytes))
                    };
                    let part: Vec<_> = part.iter().map(made).collect();
                    all.extend(part.iter().map(|one| one.facts.rank(top)));
                    found.add(part, 1);
                }
                all.sort_unstable_by_key(|&rank| Reverse(rank));
                all.truncate(limit);
                let ranks: Vec<u64> = found.connections.iter().map(|one| one.facts.rank(top)).collect();
                prop_assert_eq!(ranks, all);
                prop_assert_eq!(found.total, parts.len() as u64);
            }
        }
    }
}
