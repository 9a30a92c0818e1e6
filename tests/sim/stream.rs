//! A client that hears a stream of events (`GET /events`). Every block is held against its book, and every `id` against the places
//! that the client has reached: that is all that its next connection knows.

use crate::answer::Head;
use crate::asking::{Request, Wanted, target};
use crate::book::{Message, News, Opening};
use crate::client::{Client, Scene, Stage, Way, short};
use crate::events::{Block, Event, Events};
use crate::faults::pick;
use crate::trace::{count, say};
use crate::truth::{Heads, floor};
use fastrand::Rng;
use roost::dialect::cursor::Cursor;
use roost::limits::{DRAIN_RETRY_MS, HEARTBEAT_MS, STREAM_RETRY_MS};

/// What is refused, and with which status.
const BAD: [(&str, u16); 6] = [
    ("/events", 400),
    ("/events?channel=a%20b", 400),
    ("/events?channel=d&since=x", 400),
    ("/events?channel=d&channel=d", 400),
    ("/events?channel=d&since=&since=", 400),
    ("/event?channel=d", 404),
];
/// What is refused in a `Last-Event-ID` for one channel.
const BAD_IDS: [&str; 4] = ["x", "z-1,z-1", "z-1,", "-"];

/// What the client knows of its stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// In the order in which it named them.
    wanted: Vec<Wanted>,
    /// What was known of each when it asked.
    floors: Vec<Heads>,
    /// It is refused with this status.
    bad: Option<u16>,
    events: Events,
    /// The first block has come.
    opened: bool,
    /// It was told when to come back, because the node goes.
    dismissed: bool,
    /// When it last got a comment, or was opened.
    sign_ms: u64,
}

impl Stream {
    pub(crate) fn was_dismissed(&self) -> bool {
        self.dismissed
    }

    /// When a comment must have come.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.opened.then_some(self.sign_ms + HEARTBEAT_MS)
    }

    /// From now on it takes everything at once.
    pub(crate) fn takes_all_from(&mut self, now_ms: u64) {
        self.sign_ms = now_ms;
    }

    pub(crate) fn check_settled(&self, who: u64) {
        assert!(self.opened, "client {who}: the stream does not open");
        assert!(!self.events.is_within(), "client {who}: half an event");
    }
}

impl Client {
    /// Asks for a stream of some channels, by `since` or by `Last-Event-ID`.
    pub(crate) fn ask_for_events(&mut self, returns: bool, rng: &mut Rng, scene: &Scene<'_>) {
        let with_since = returns || rng.bool();
        let wanted = self.choose(returns, with_since, 1, rng, scene);
        let (request, bad) = if rng.u8(..16) == 0 {
            let (request, status) = bad_request(rng);
            (request, Some(status))
        } else {
            (self.good_request(&wanted, with_since, rng, scene), None)
        };
        let heads = |(channel, _): &Wanted| scene.truth.heads(*channel);
        let floors = wanted.iter().map(heads).collect();
        say(|| format!("client {} asks for {} {:?}", self.serial, request.target, request.headers));
        let mut bytes = request.write(rng).bytes;
        if rng.u8(..12) == 0 {
            self.manners.half_a_request = true;
            bytes.truncate(rng.usize(..bytes.len()));
        }
        self.pipe.borrow_mut().send(&bytes);
        self.book.places.as_lines = true;
        self.way = Way::Stream(Stream {
            wanted,
            floors,
            bad,
            events: Events::default(),
            opened: false,
            dismissed: false,
            sign_ms: 0,
        });
    }

    fn good_request(
        &mut self,
        wanted: &[Wanted],
        with_since: bool,
        rng: &mut Rng,
        scene: &Scene<'_>,
    ) -> Request {
        let cursors: Option<Vec<String>> =
            wanted.iter().map(|(_, since)| since.map(|since| since.to_string())).collect();
        let Some(cursors) = cursors.filter(|_| rng.bool()) else {
            let mut request = Request::get(target("/events", wanted, with_since, scene.truth));
            if rng.bool() {
                // As good as none.
                request.headers.push(("Last-Event-ID", String::new()));
            }
            return request;
        };
        // What the URL says is of the first time: the header wins.
        let older: Vec<Wanted> =
            wanted.iter().map(|(channel, _)| (*channel, self.since(*channel, rng))).collect();
        let mut request = Request::get(target("/events", &older, rng.bool(), scene.truth));
        request.headers.push(("Last-Event-ID", cursors.join(",")));
        count("Last-Event-ID");
        request
    }

    /// Hears what has come.
    pub(crate) fn hear_events(&mut self, scene: &mut Scene<'_>) {
        if self.stage == Stage::Greeting {
            self.stream_answered(scene);
        }
        if self.stage != Stage::Open {
            return;
        }
        let bytes = self.inbox.take_rest();
        let Way::Stream(stream) = &mut self.way else { unreachable!("a stream") };
        for block in stream.events.read(&bytes) {
            self.hear_block(block, scene);
        }
    }

    fn stream_answered(&mut self, scene: &Scene<'_>) {
        let Way::Stream(stream) = &self.way else { unreachable!("a stream") };
        let Some(head) = Head::read(self.inbox.rest()) else { return };
        if head.status != 200 {
            let Some(answer) = self.inbox.answer() else { return };
            return self.refused(&answer, stream.bad, self.born_ms, scene);
        }
        count("status 200");
        assert!(stream.bad.is_none() && !self.manners.half_a_request, "a bad request was accepted");
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
            ("connection", "close"),
        ] {
            assert_eq!(head.header(name), Some(value), "{head:?}");
        }
        for name in ["content-length", "transfer-encoding"] {
            assert_eq!(head.header(name), None, "a stream ends with its connection");
        }
        self.inbox.skip(head.length);
        self.stage = Stage::Open;
    }

    fn hear_block(&mut self, block: Block, scene: &mut Scene<'_>) {
        say(|| format!("client {} hears {block:?}", self.serial));
        let Way::Stream(stream) = &mut self.way else { unreachable!("a stream") };
        assert!(!stream.dismissed, "client {}: something comes behind the goodbye", self.serial);
        let Block { id, retry_ms, event, comments, length } = block;
        match (event, id, retry_ms, comments) {
            (None, Some(id), Some(retry_ms), 0) if !stream.opened => {
                let expected = STREAM_RETRY_MS..=2 * STREAM_RETRY_MS;
                assert!(expected.contains(&retry_ms), "come back after {retry_ms} ms");
                (stream.opened, stream.sign_ms) = (true, scene.now.mono_ms);
                self.opened(&id, scene);
            }
            (None, None, Some(retry_ms), 0) => {
                let told = scene.sends_away() && retry_ms <= DRAIN_RETRY_MS;
                assert!(told, "client {} is sent away for {retry_ms} ms", self.serial);
                count("a stream that was told to come back");
                stream.dismissed = true;
            }
            (None, None, None, 1) if stream.opened => {
                count("heartbeat");
                stream.sign_ms = scene.now.mono_ms;
            }
            (Some(event), id, None, 0) if stream.opened => self.event(&event, id, length, scene),
            other => panic!("client {}: nobody expects {other:?}", self.serial),
        }
    }

    /// The opening: one place a channel, in the order in which they were named.
    fn opened(&mut self, id: &str, scene: &mut Scene<'_>) {
        let Way::Stream(stream) = &self.way else { unreachable!("a stream") };
        let cursors = cursors(id, stream.wanted.len());
        let alone = cursors.len() == 1;
        count(if alone { "a stream of one channel" } else { "a stream of several channels" });
        for (((channel, since), floors), at) in stream.wanted.iter().zip(&stream.floors).zip(cursors) {
            match since {
                Some(since) => assert_eq!(at, *since, "the opening repeats where the client was"),
                None => {
                    let floor = floor(floors, at.epoch);
                    assert!(at.offset >= floor, "opened at {at}, but {floor} was known before it asked");
                    scene.truth.seen(*channel, at);
                }
            }
            let opening = Opening { channel: *channel, at, back: since.is_some(), alone, floor: floors };
            self.book.opened(&opening, scene.truth);
            self.memory.places.insert(*channel, at);
        }
    }

    fn event(&mut self, event: &Event, id: Option<String>, length: usize, scene: &mut Scene<'_>) {
        let Event { kind, data } = event;
        let message: Message<'_> =
            serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {}", short(data)));
        assert_eq!(message.kind, kind, "the event is what the message says");
        count(&format!("{kind} in a stream"));
        match self.book.hear(&message, data, scene.truth) {
            News::Nothing => return assert_eq!((kind.as_str(), id), ("presence", None)),
            News::Place(..) => {}
            News::Notification(_, taken) => {
                assert!(taken.wall_ms <= scene.now.wall_ms, "a timestamp of the future");
                if !taken.excused {
                    self.weigh(taken.wall_ms, length);
                }
            }
        }
        let Way::Stream(stream) = &self.way else { unreachable!("a stream") };
        let cursors = cursors(&id.expect("a place to come back to"), stream.wanted.len());
        for ((channel, _), cursor) in stream.wanted.iter().zip(cursors) {
            let at = self.book.places.at(*channel);
            assert_eq!(Some(cursor), at, "client {}: the place in channel {channel}", self.serial);
            self.memory.places.insert(*channel, cursor);
        }
    }
}

/// The cursors of an `id`.
fn cursors(id: &str, count: usize) -> Vec<Cursor> {
    let cursors: Vec<Cursor> = id.split(',').map(|cursor| cursor.parse().expect("a cursor")).collect();
    assert_eq!(cursors.len(), count, "one cursor for each channel: {id}");
    cursors
}

fn bad_request(rng: &mut Rng) -> (Request, u16) {
    let mut request = Request::get("/events?channel=d".to_owned());
    match rng.u8(..5) {
        0 => {
            request.headers.push(("Last-Event-ID", pick(rng, &BAD_IDS).to_owned()));
            (request, 400)
        }
        1 => (Request { method: "PUT", ..request }, 405),
        2 => {
            request.headers.push(("Origin", "http://elsewhere".to_owned()));
            (request, 403)
        }
        _ => {
            let (target, status) = pick(rng, &BAD);
            (Request::get(target.to_owned()), status)
        }
    }
}
