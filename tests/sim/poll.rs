//! A client that asks one thing after another: polls, and what it says between them. Every answer is held against what was asked,
//! and its cursors against what its messages add up to.

use crate::answer::Answer;
use crate::asking::{Request, Wanted, target};
use crate::book::Message;
use crate::client::{Client, Scene, Stage, Way, short};
use crate::places::Places;
use crate::socket::Pipe;
use crate::trace::{count, say};
use crate::truth::{Channel, Heads, floor};
use fastrand::Rng;
use roost::clock::TICK_MS;
use roost::dialect::cursor::Cursor;
use roost::disconnect::Disconnect;
use roost::limits::{KEEP_ALIVE_MS, POLL_BATCH_BYTES_MAX, POLL_WAIT_S, POLL_WAIT_S_MAX};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};

/// What the client knows of its requests.
#[derive(Debug)]
pub(crate) struct Poll {
    /// What it follows.
    pub(crate) channels: Vec<Channel>,
    /// Requests without an answer, in order.
    asked: VecDeque<Asked>,
    /// A body that waits until the node wants it.
    withheld: Option<Vec<u8>>,
    /// It ever sent a request before the last one was answered.
    pipelined: bool,
    /// Polls that were answered.
    pub(crate) answered: u64,
}

#[derive(Debug)]
struct Asked {
    what: What,
    /// The connection ends behind the answer.
    closes: bool,
    sent_ms: u64,
}

/// What was asked.
#[derive(Debug)]
pub(crate) enum What {
    Poll(Held),
    /// A message, of which the book knows.
    Call,
    /// Whether a page may ask.
    Preflight,
    /// Something that is refused with this status.
    Bad(u16),
    /// Less than a whole request, of which this may be enough to refuse it. Its head may be whole.
    Half {
        bad: Option<u16>,
        head: bool,
    },
}

/// A poll.
#[derive(Debug)]
pub(crate) struct Held {
    /// In the order in which they are named.
    wanted: Vec<Wanted>,
    /// What was known of each when it was asked.
    floors: Vec<Heads>,
    wait_ms: u64,
    /// Where the client is in those that it has a cursor of.
    places: Places,
}

/// The body of a poll's answer. No other members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    #[serde(borrow)]
    cursors: BTreeMap<&'a str, &'a str>,
}

impl Poll {
    pub(crate) fn new(channels: Vec<Channel>) -> Self {
        Self { channels, asked: VecDeque::new(), withheld: None, pipelined: false, answered: 0 }
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether the connection ends behind what was asked.
    pub(crate) fn is_ending(&self) -> bool {
        self.asked.iter().any(|asked| asked.closes || matches!(asked.what, What::Bad(_) | What::Half { .. }))
    }

    /// Where it is in a channel of the poll that is held.
    pub(crate) fn place(&self, channel: Channel) -> Option<Cursor> {
        match &self.asked.front()?.what {
            What::Poll(held) => held.places.at(channel),
            What::Call | What::Preflight | What::Bad(_) | What::Half { .. } => None,
        }
    }

    /// Whether the node has got a request of it: more than a part of a head.
    pub(crate) fn is_known(&self) -> bool {
        let half = |asked: &Asked| matches!(asked.what, What::Half { head: false, .. });
        !self.asked.front().is_some_and(half)
    }

    /// How long the one request under way may be held.
    pub(crate) fn wait_ms(&self) -> Option<u64> {
        match self.asked.front() {
            Some(Asked { what: What::Poll(held), .. }) if self.asked.len() == 1 => Some(held.wait_ms),
            Some(_) | None => None,
        }
    }

    pub(crate) fn check_settled(&self, who: u64) {
        let Some(asked) = self.asked.front() else { return };
        let held = match &asked.what {
            What::Poll(held) => {
                held.wait_ms > 0 && held.wanted.iter().all(|(channel, _)| held.places.contains(*channel))
            }
            What::Call | What::Preflight | What::Bad(_) | What::Half { .. } => false,
        };
        assert!(held, "client {who} waits for the answer to {asked:?}");
    }

    /// At its end. Whoever ends its side first may still listen: what it has said is answered, but nothing is held for it.
    pub(crate) fn check_answered(&self, who: u64, pipe: &Pipe, scene: &Scene<'_>) {
        let listens = pipe.took_all() && !scene.sends_away() && pipe.quiet_ms < KEEP_ALIVE_MS / 2;
        let front = self.asked.front();
        let called = self.withheld.is_none() && front.is_some_and(|asked| matches!(asked.what, What::Call));
        assert!(!(listens && called), "client {who}: what was asked before the end was not answered");
    }

    /// Whether it knows why its connection ended without an answer.
    pub(crate) fn excuses_end(&self, pipe: &Pipe, scene: &Scene<'_>) -> bool {
        let unread = pipe.ever_blocked && (self.pipelined || scene.tight_total);
        // Nothing was asked for so long, or the answer was not taken in that time.
        let kept = pipe.quiet_ms + TICK_MS >= KEEP_ALIVE_MS;
        let lingered = self.asked.front().is_some_and(|asked| {
            let age_ms = scene.now.mono_ms - asked.sent_ms + TICK_MS;
            let refused = matches!(asked.what, What::Bad(_) | What::Half { .. });
            let closes = asked.closes || refused || age_ms >= scene.limits.handshake_timeout_ms;
            closes && pipe.ever_blocked && age_ms >= scene.limits.close_timeout_ms
        });
        scene.sends_away() || unread || kept || lingered
    }
}

impl Client {
    fn poll(&self) -> &Poll {
        let Way::Poll(poll) = &self.way else { unreachable!("one that polls") };
        poll
    }

    fn poll_mut(&mut self) -> &mut Poll {
        let Way::Poll(poll) = &mut self.way else { unreachable!("one that polls") };
        poll
    }

    /// Polls these channels.
    pub(crate) fn ask_to_be_told(
        &mut self,
        wanted: Vec<Wanted>,
        wait_s: Option<u64>,
        closes: bool,
        rng: &mut Rng,
        scene: &Scene<'_>,
    ) {
        let with_since = wanted.iter().any(|(_, since)| since.is_some()) || rng.bool();
        let mut request = Request::get(target("/poll", &wanted, with_since, scene.truth));
        if let Some(wait_s) = wait_s {
            request.target += &format!("&wait={wait_s}");
        }
        request.closes = closes;
        let heads = |(channel, _): &Wanted| scene.truth.heads(*channel);
        let floors = wanted.iter().map(heads).collect();
        let mut places = Places::default();
        for (channel, since) in &wanted {
            if let Some(since) = since {
                places.come_back(*channel, *since);
            }
        }
        let wait_ms = wait_s.unwrap_or(POLL_WAIT_S) * 1_000;
        self.send_request(&request, What::Poll(Held { wanted, floors, wait_ms, places }), rng, scene);
    }

    /// Sends a request, or the beginning of one.
    pub(crate) fn send_request(&mut self, request: &Request, what: What, rng: &mut Rng, scene: &Scene<'_>) {
        let written = request.write(rng);
        let (mut what, mut bytes) = (what, written.bytes);
        let half = !scene.calm && !request.plain && rng.u8(..24) == 0;
        if half {
            bytes.truncate(rng.usize(1..bytes.len()));
            let bad = if let What::Bad(status) = what { Some(status) } else { None };
            let head = bytes.windows(4).any(|four| four == b"\r\n\r\n");
            (what, self.manners.half_a_request) = (What::Half { bad, head }, true);
        }
        say(|| format!("    client {} asks {:?}", self.serial, short(&String::from_utf8_lossy(&bytes))));
        self.pipe.borrow_mut().send(&bytes);
        let sent_ms = scene.now.mono_ms;
        let poll = self.poll_mut();
        poll.pipelined |= poll.is_waiting();
        poll.withheld = written.withheld.filter(|_| !half);
        poll.asked.push_back(Asked { what, closes: request.closes, sent_ms });
    }

    /// Whether it may send another request: it waits for no word that a body may come.
    pub(crate) fn can_ask(&self) -> bool {
        self.poll().withheld.is_none()
    }

    /// Hears what has come.
    pub(crate) fn hear_answers(&mut self, scene: &mut Scene<'_>) {
        while matches!(self.stage, Stage::Greeting | Stage::Open)
            && let Some(answer) = self.inbox.answer()
        {
            say(|| format!("client {} hears {} {}", self.serial, answer.head.status, short(&answer.body)));
            if answer.head.status == 100 {
                self.send_withheld();
            } else {
                self.answered(&answer, scene);
            }
        }
    }

    fn send_withheld(&mut self) {
        count("status 100");
        let front = self.poll().asked.front();
        let called = |asked: &Asked| matches!(asked.what, What::Call | What::Bad(_) | What::Half { .. });
        let wanted = front.is_some_and(called);
        assert!(wanted, "client {}: nobody asked whether to go on", self.serial);
        if !self.manners.left
            && let Some(body) = self.poll_mut().withheld.take()
        {
            self.pipe.borrow_mut().send(&body);
        }
    }

    /// An answer is for the request that was sent first.
    fn answered(&mut self, answer: &Answer, scene: &mut Scene<'_>) {
        let status = answer.head.status;
        let poll = self.poll_mut();
        let Some(asked) = poll.asked.pop_front() else {
            assert!(self.manners.wild, "client {} is told {status} and has not asked", self.serial);
            return self.refused(answer, Some(status), self.born_ms, scene);
        };
        if !poll.is_waiting() {
            // It was not wanted.
            poll.withheld = None;
        }
        match asked.what {
            What::Poll(held) if status == 200 => self.polled(held, answer, scene),
            What::Call if status == 200 => self.called(answer, scene),
            What::Preflight if status == 204 => check_preflight(answer),
            What::Call if status == 429 && scene.tight_rate => {
                return self.refused(answer, Some(status), asked.sent_ms, scene);
            }
            What::Bad(expected) => return self.refused(answer, Some(expected), asked.sent_ms, scene),
            What::Half { bad, .. } => return self.refused(answer, bad, asked.sent_ms, scene),
            What::Poll(_) | What::Call | What::Preflight => {
                return self.refused(answer, None, asked.sent_ms, scene);
            }
        }
        count(&format!("status {status}"));
        assert_eq!(answer.head.header("cache-control"), Some("no-store"));
        if answer.head.keeps() {
            assert!(!asked.closes, "client {}: it wanted the end", self.serial);
            self.stage = Stage::Open;
            return;
        }
        let ends = asked.closes || self.manners.left || self.manners.kicked.is_some();
        let told = ends || scene.sends_away() || self.poll().pipelined;
        assert!(told, "client {}: the connection is not kept", self.serial);
        count("the last answer");
        self.last_word(status);
    }

    /// Only the end may follow.
    pub(crate) fn last_word(&mut self, status: u16) {
        if let Way::Poll(poll) = &mut self.way {
            poll.asked.clear();
        }
        self.stage = Stage::Answered(status);
        self.leave_if_polite();
    }

    /// The answer to a poll: in each channel what follows the client's cursor, or a gap; and the cursors behind that.
    fn polled(&mut self, mut held: Held, answer: &Answer, scene: &mut Scene<'_>) {
        assert_eq!(answer.head.header("content-type"), Some("application/json"));
        let body: Body<'_> =
            serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
        let texts: Vec<&str> = body.messages.iter().map(|message| message.get()).collect();
        let messages = texts.join(",");
        assert!(messages.len() <= POLL_BATCH_BYTES_MAX || texts.len() == 1, "{} bytes", messages.len());
        for text in &texts {
            let message: Message<'_> = serde_json::from_str(text).expect("a message");
            let channel = scene.truth.channel(message.channel.expect("a channel"));
            count(&format!("{} in a poll", message.kind));
            match message.kind {
                "notification" => {
                    let taken = held.places.notification(&message, text, channel, scene.truth);
                    assert!(taken.wall_ms <= scene.now.wall_ms, "a timestamp of the future");
                }
                "gap" => _ = held.places.gap(&message, channel, scene.truth),
                kind => panic!("client {}: nobody expects {kind}", self.serial),
            }
        }
        let mut cursors = Vec::new();
        for ((channel, _), floors) in held.wanted.iter().zip(&held.floors) {
            let name = &scene.truth.names[*channel];
            let told: Cursor = body.cursors.get(name.as_str()).expect("a cursor").parse().expect("a cursor");
            let at = held.places.at(*channel).unwrap_or(told);
            cursors.push(format!(r#""{name}":"{at}""#));
            let floor = floor(floors, at.epoch);
            let known = held.places.contains(*channel) || at.offset >= floor;
            assert!(known, "it stands at {at}, but {floor} was known before it asked");
            scene.truth.seen(*channel, at);
            self.memory.places.insert(*channel, at);
        }
        let exact = format!(r#"{{"messages":[{messages}],"cursors":{{{}}}}}"#, cursors.join(","));
        assert_eq!(answer.body, exact, "the cursors are what the messages add up to, in the order asked");
        self.check_moment(&held, texts.is_empty(), scene);
        self.poll_mut().answered += 1;
    }

    /// A poll with nothing in its answer was held for as long as it wished.
    fn check_moment(&self, held: &Held, empty: bool, scene: &Scene<'_>) {
        let held_ms = self.pipe.borrow().held_ms();
        let places = held.wanted.iter().all(|(channel, _)| held.places.contains(*channel));
        count(match (empty, places) {
            (_, false) => "a poll without a cursor",
            (true, true) if held.wait_ms == 0 => "a poll that does not wait",
            (true, true) => "a poll answered because its time was over",
            (false, true) if held_ms == 0 => "a poll answered at once",
            (false, true) => "a poll answered when something came",
        });
        let excused = self.manners.left || scene.sends_away() || self.poll().pipelined;
        let due = empty && places && !excused;
        assert!(!due || held_ms >= held.wait_ms, "client {}: empty after {held_ms} ms", self.serial);
    }

    /// The answer to what the client said.
    fn called(&mut self, answer: &Answer, scene: &mut Scene<'_>) {
        assert_eq!(answer.head.header("content-type"), Some("application/json"));
        let text = answer.body.as_str();
        let message: Message<'_> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        count(&format!("{} to a call", message.code.unwrap_or(message.kind)));
        let owed = self.book.count_owed();
        self.book.hear(&message, text, scene.truth);
        assert_eq!(self.book.count_owed(), owed - 1, "{text} answers nothing");
    }

    /// Polls all its channels from where it is, if it waits for nothing.
    pub(crate) fn poll_on(&mut self, scene: &Scene<'_>) -> bool {
        if !self.can_speak() || self.stalled || self.poll().is_waiting() {
            return false;
        }
        let mut rng = self.rng.fork();
        let place = |channel: &Channel| (*channel, self.memory.places.get(channel).copied());
        let wanted = self.poll().channels.iter().map(place).collect();
        let wait_s = rng.u64(20..=POLL_WAIT_S_MAX);
        self.ask_to_be_told(wanted, Some(wait_s), false, &mut rng, scene);
        true
    }

    /// An answer that is none: something was wrong, or it was too late, or the node goes.
    pub(crate) fn refused(&mut self, answer: &Answer, bad: Option<u16>, asked_ms: u64, scene: &Scene<'_>) {
        let status = answer.head.status;
        say(|| format!("client {} is refused with {status}", self.serial));
        count(&format!("status {status}"));
        let waited_ms = scene.now.mono_ms - asked_ms;
        let excused = match status {
            408 => waited_ms + TICK_MS >= scene.limits.handshake_timeout_ms,
            403 if self.manners.kicked == Some(Disconnect::Kicked.code()) => true,
            503 if self.manners.kicked == Some(Disconnect::TryLater.code()) => true,
            503 => scene.sends_away(),
            _ => self.manners.wild || bad == Some(status),
        };
        assert!(excused, "client {} was refused with {status} after {waited_ms} ms: {bad:?}", self.serial);
        answer.check_refusal();
        self.last_word(status);
    }
}

fn check_preflight(answer: &Answer) {
    let methods = answer.head.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET, POST"), "{answer:?}");
}
