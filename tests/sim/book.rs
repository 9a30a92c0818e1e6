//! What one connection is owed: its requests in order, and its place in each channel. Every message of the node is held
//! against it.

use crate::places::{Places, Taken};
use crate::trace::count;
use crate::truth::{Channel, Heads, Number, Truth, floor};
use roost::config::policy::Slow;
use roost::dialect::cursor::Cursor;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Subscribe {
        since: Option<Cursor>,
    },
    Unsubscribe,
    Publish(Number),
    Presence,
    Ping,
    /// Something that is answered with this error.
    Nonsense(&'static str),
}

#[derive(Debug)]
struct Request {
    /// As it must be echoed. None for a subscription in the query, and for texts in which no `id` can be found.
    id: Option<String>,
    channel: Option<Channel>,
    kind: Kind,
    /// What was known of the channel when it was asked.
    floor: Heads,
    asked_ms: u64,
    /// It asks for one channel more than allowed. None where requests may be refused for their rate.
    too_many: Option<bool>,
}

/// How many follow a channel, as far as a subscriber was told.
#[derive(Debug, Clone, Copy, Default)]
struct Presence {
    /// The last announcement.
    announced: Option<u64>,
    /// It has got its past since, and may have missed one.
    doubtful: bool,
}

/// What excuses answers that would otherwise be wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Customs {
    pub(crate) channels_max: usize,
    pub(crate) tight_rate: bool,
    pub(crate) congestion: bool,
}

#[derive(Debug)]
pub(crate) struct Book {
    requests: VecDeque<Request>,
    pub(crate) places: Places,
    /// Of the channels that it follows.
    presence: BTreeMap<Channel, Presence>,
    /// The last answer to the question how many follow a channel.
    counts: BTreeMap<Channel, u64>,
    /// The channels that it will follow once everything asked is answered.
    wanted: BTreeSet<Channel>,
    customs: Customs,
}

/// Everything that the node may say. No other members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) channel: Option<&'a str>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) timestamp: Option<u64>,
    pub(crate) offset: Option<u64>,
    pub(crate) cursor: Option<&'a str>,
    recovered: Option<bool>,
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    count: Option<u64>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    pub(crate) code: Option<&'a str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    pub(crate) session: Option<&'a str>,
    pub(crate) ping_ms: Option<u64>,
    pub(crate) node: Option<&'a str>,
}

/// A channel of a stream of events that opens.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) channel: Channel,
    pub(crate) at: Cursor,
    /// The client has named this place itself.
    pub(crate) back: bool,
    /// It is the only channel: the node did not have to wait for others.
    pub(crate) alone: bool,
    /// What was known of it when it was asked for.
    pub(crate) floor: &'a Heads,
}

/// What a message means beyond the book.
#[derive(Debug)]
pub(crate) enum News {
    Nothing,
    /// The client's place in a channel, for its next connection.
    Place(Channel, Cursor),
    /// As `Place`, behind a notification.
    Notification(Channel, Taken),
}

impl Book {
    pub(crate) fn new(customs: Customs) -> Self {
        Self {
            requests: VecDeque::new(),
            places: Places::default(),
            presence: BTreeMap::new(),
            counts: BTreeMap::new(),
            wanted: BTreeSet::new(),
            customs,
        }
    }

    /// A stream of events has opened.
    pub(crate) fn opened(&mut self, opening: &Opening<'_>, truth: &Truth) {
        let Opening { channel, at, back, alone, floor } = *opening;
        if back {
            self.places.come_back(channel, at);
        } else {
            self.places.join(channel, at, alone);
        }
        let known = floor.iter().any(|(epoch, offset)| *epoch == at.epoch && *offset >= at.offset);
        let doubtful = !alone || !self.places.is_level(channel, known, truth);
        self.presence.insert(channel, Presence { announced: None, doubtful });
    }

    pub(crate) fn ask(&mut self, id: Option<String>, channel: Option<Channel>, kind: Kind, truth: &Truth) {
        let floor = channel.map(|channel| truth.heads(channel)).unwrap_or_default();
        let too_many = self.want(channel, kind);
        let asked_ms = truth.now_ms();
        self.requests.push_back(Request { id, channel, kind, floor, asked_ms, too_many });
    }

    /// Follows what a request will change; tells whether it is a subscribe beyond the limit.
    fn want(&mut self, channel: Option<Channel>, kind: Kind) -> Option<bool> {
        let channel = channel.filter(|_| !self.customs.tight_rate)?;
        let full = self.wanted.len() >= self.customs.channels_max;
        match kind {
            Kind::Subscribe { .. } if full => return Some(!self.wanted.contains(&channel)),
            Kind::Subscribe { .. } => _ = self.wanted.insert(channel),
            Kind::Unsubscribe => _ = self.wanted.remove(&channel),
            Kind::Publish(_) | Kind::Presence | Kind::Ping | Kind::Nonsense(_) => {}
        }
        Some(false)
    }

    /// How many follow a channel as this subscriber was told last.
    pub(crate) fn announced(&self, channel: Channel) -> Option<u64> {
        self.presence.get(&channel)?.announced
    }

    /// Whether it may have missed an announcement: it was getting its past, or may have lagged or been put behind.
    pub(crate) fn may_have_missed(&self, channel: Channel, truth: &Truth) -> bool {
        let replayed = self.presence.get(&channel).is_none_or(|presence| presence.doubtful);
        replayed || self.places.was_hidden || truth.slow[channel] != Slow::Disconnect
    }

    /// What it was last answered when it asked how many follow a channel.
    pub(crate) fn count(&self, channel: Channel) -> Option<u64> {
        self.counts.get(&channel).copied()
    }

    pub(crate) fn count_owed(&self) -> usize {
        self.requests.len()
    }

    /// What is still owed, for a complaint.
    pub(crate) fn owed(&self) -> Option<String> {
        let first = self.requests.front()?;
        Some(format!("{} answers, first to {first:?}", self.requests.len()))
    }

    /// Whether an answer is owed that needs nobody but the connection's own shard.
    pub(crate) fn owes_pong(&self) -> bool {
        self.requests.iter().any(|request| request.kind == Kind::Ping)
    }

    /// Whether a message may be the answer to a request.
    pub(crate) fn expects(&self, message: &Message<'_>) -> bool {
        self.position(message).is_some()
    }

    /// Holds a message against the book.
    pub(crate) fn hear(&mut self, message: &Message<'_>, text: &str, truth: &mut Truth) -> News {
        let channel = message.channel.map(|name| truth.channel(name));
        match (message.kind, channel) {
            ("notification", Some(channel)) => {
                News::Notification(channel, self.places.notification(message, text, channel, truth))
            }
            ("subscribed", Some(channel)) => self.subscribed(message, channel, truth),
            ("gap", Some(channel)) => News::Place(channel, self.places.gap(message, channel, truth)),
            ("unsubscribed", Some(channel)) => {
                let request = self.answered(message, Some(channel));
                assert_eq!(request.kind, Kind::Unsubscribe);
                self.places.leave(channel);
                self.presence.remove(&channel);
                News::Nothing
            }
            ("published", Some(channel)) => {
                let request = self.answered(message, Some(channel));
                let Kind::Publish(number) = request.kind else { panic!("not the answer to {request:?}") };
                assert!(is_open(&truth.names[channel]), "published where clients may not");
                truth.told(number, message.offset.expect("an offset"));
                News::Nothing
            }
            ("presence", Some(channel)) => {
                self.presence(message, text, channel, truth);
                News::Nothing
            }
            ("pong", None) => {
                assert_eq!(self.answered(message, None).kind, Kind::Ping);
                News::Nothing
            }
            ("error", None) => {
                self.refused(message, truth);
                News::Nothing
            }
            (kind, channel) => panic!("nobody expects {kind} in {channel:?}: {text}"),
        }
    }

    /// The answer to a question, or an announcement.
    fn presence(&mut self, message: &Message<'_>, text: &str, channel: Channel, truth: &Truth) {
        let (name, number) = (&truth.names[channel], message.count.expect("a count"));
        assert!(truth.counted[channel], "nobody counts who follows {name}");
        if message.id.is_some() {
            let request = self.answered(message, Some(channel));
            assert_eq!(request.kind, Kind::Presence);
            let least = u64::from(self.places.contains(channel) && !self.is_leaving(channel));
            assert!(number >= least, "it follows {name} itself");
            count("presence asked for");
            self.counts.insert(channel, number);
            return;
        }
        let exact = format!(r#"{{"type":"presence","channel":"{name}","count":{number}}}"#);
        assert_eq!(text, exact, "an announcement has three members");
        assert!(number > 0, "nobody is told that nobody is there");
        let presence = self.presence.get_mut(&channel);
        *presence.unwrap_or_else(|| panic!("it follows no {name}")) =
            Presence { announced: Some(number), doubtful: false };
        count("presence announced");
    }

    /// It has asked to leave a channel, and that is not answered yet.
    fn is_leaving(&self, channel: Channel) -> bool {
        let leaves = |request: &Request| request.kind == Kind::Unsubscribe;
        self.requests.iter().any(|request| request.channel == Some(channel) && leaves(request))
    }

    fn subscribed(&mut self, message: &Message<'_>, channel: Channel, truth: &mut Truth) -> News {
        let request = self.answered(message, Some(channel));
        let Kind::Subscribe { since } = request.kind else { panic!("not the answer to {request:?}") };
        let head: Cursor = message.cursor.and_then(|text| text.parse().ok()).expect("a cursor");
        let floor = floor(&request.floor, head.epoch);
        assert!(head.offset >= floor, "it joined at {head}, but {floor} was known before it asked");
        truth.seen(channel, head);
        assert_eq!(message.recovered.is_some(), since.is_some(), "`recovered` comes where `since` was");
        assert_ne!(request.too_many, Some(true), "more channels than allowed");
        let since = since.zip(message.recovered);
        let level = self.places.subscribed(channel, head, since, request.asked_ms, truth);
        self.presence.insert(channel, Presence { announced: None, doubtful: !level });
        if level { News::Place(channel, head) } else { News::Nothing }
    }

    fn refused(&mut self, message: &Message<'_>, truth: &Truth) {
        let code = message.code.expect("a code");
        let told = message.message.as_ref().is_some_and(|message| !message.is_empty());
        assert!(told, "an error says what was wrong");
        if code == "rate_limited" {
            assert!(self.customs.tight_rate, "nobody was too fast");
            let at = self.find(message);
            self.requests.remove(at);
            return;
        }
        let channel = self.requests[self.find(message)].channel;
        let request = self.answered(message, channel);
        let follows = channel.is_some_and(|channel| self.places.contains(channel));
        let open = channel.is_some_and(|channel| is_open(&truth.names[channel]));
        let fits = match (code, request.kind) {
            ("already_subscribed", Kind::Subscribe { .. }) => follows,
            ("not_subscribed", Kind::Unsubscribe) => !follows,
            ("too_many_channels", Kind::Subscribe { .. }) => !follows && request.too_many != Some(false),
            ("forbidden", Kind::Publish(_)) => !open,
            ("forbidden", Kind::Presence) => channel.is_some_and(|channel| !truth.counted[channel]),
            ("overloaded", Kind::Publish(_)) => open && self.customs.congestion,
            (_, Kind::Nonsense(expected)) => code == expected,
            (_, _) => false,
        };
        assert!(fits, "{request:?} was answered with {code}");
    }

    /// The request that a message answers: answers keep the order of the requests on a channel.
    fn answered(&mut self, message: &Message<'_>, channel: Option<Channel>) -> Request {
        let at = match channel {
            // A subscription of the query is found by its channel.
            Some(_) if message.id.is_none() => {
                self.requests.iter().position(|request| request.channel == channel && request.id.is_none())
            }
            Some(_) | None => Some(self.find(message)),
        };
        let at = at.unwrap_or_else(|| panic!("nothing was asked: {message:?}"));
        let mut before = self.requests.iter().take(at);
        let earlier = before.find(|other| other.channel.is_some() && other.channel == channel);
        assert!(earlier.is_none(), "an answer out of order, {earlier:?} came first: {message:?}");
        let request = self.requests.remove(at).expect("found");
        assert_eq!(request.channel, channel, "an answer for another channel");
        request
    }

    fn find(&self, message: &Message<'_>) -> usize {
        self.position(message).unwrap_or_else(|| panic!("nothing was asked with this id: {message:?}"))
    }

    fn position(&self, message: &Message<'_>) -> Option<usize> {
        let id = message.id.map(RawValue::get);
        let nonsense = |request: &Request| matches!(request.kind, Kind::Nonsense(_));
        let asked = |request: &Request| request.id.as_deref() == id && (id.is_some() || nonsense(request));
        self.requests.iter().position(asked)
    }
}

/// Where clients may publish.
fn is_open(name: &str) -> bool {
    name.starts_with("open:")
}
