//! A client: it asks, listens, and complains about everything that it was not promised. Whatever goes wrong for it must
//! have a reason that it knows of.

use crate::book::{Book, Kind, Message, News};
use crate::inbox::{Frame, Inbox};
use crate::socket::SharedPipe;
use crate::trace::{Trace, count, say};
use crate::truth::{Channel, Truth};
use fastrand::Rng;
use roost::clock::{Now, TICK_MS};
use roost::dialect::cursor::Cursor;
use roost::disconnect::Disconnect;
use roost::limits::{BATCH_BYTES_MAX, Limits};
use roost::proto::frame::{Opcode, put_masked_frame};
use roost::proto::handshake::check_switching;
use roost::shard::conn_table::Token;
use std::collections::{HashMap, VecDeque};

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not got an answer to its upgrade.
    Greeting,
    /// It speaks the native dialect.
    Open,
    /// It gets its own messages back.
    Echo,
    /// It got a close frame; nothing may follow but the end.
    Closed(Option<u16>),
    /// It got an answer with another status than 101.
    Refused(u16),
    /// The stream ended.
    Over,
}

impl Stage {
    /// Whether frames are exchanged.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Echo)
    }
}

/// What a client does that explains what happens to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Manners {
    /// It does not answer pings.
    pub(crate) mute: bool,
    /// It neither answers a close frame nor ends its side.
    pub(crate) rude: bool,
    /// It sends less than a whole request head.
    pub(crate) half_a_head: bool,
    /// Its request is refused with a status of 4xx.
    pub(crate) bad_head: bool,
    /// It sent a close frame with this code.
    pub(crate) said_close: Option<Option<u16>>,
    /// It broke the protocol in a way that ends it with this code.
    pub(crate) broke: Option<u16>,
    /// It sent noise: anything may come of it.
    pub(crate) wild: bool,
    /// It ended its side, or both, or its machine went away.
    pub(crate) left: bool,
}

/// A client that stalled reads again: of what was published before, it must not get more than may be queued.
#[derive(Debug)]
struct Thaw {
    wall_ms: u64,
    bytes_left: usize,
}

/// What a client needs to know of the world to judge.
pub(crate) struct Scene<'a> {
    pub(crate) truth: &'a mut Truth,
    pub(crate) trace: &'a mut Trace,
    pub(crate) now: Now,
    pub(crate) limits: &'a Limits,
    /// The time over which a drain tells clients to come back, if there is a drain.
    pub(crate) drain_over_ms: Option<u64>,
    pub(crate) tight_rate: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) serial: u64,
    pub(crate) shard: usize,
    pub(crate) token: Token,
    pub(crate) pipe: SharedPipe,
    pub(crate) stage: Stage,
    pub(crate) manners: Manners,
    pub(crate) book: Book,
    pub(crate) stalled: bool,
    /// It last said that nobody looks at it.
    pub(crate) hidden: bool,
    /// The last place seen in each channel, for its next connection.
    pub(crate) memory: HashMap<Channel, Cursor>,
    /// Pings got from the node since somebody last looked.
    pub(crate) pinged: usize,
    /// The subprotocol was offered, so that a `welcome` must come first.
    pub(crate) welcome_due: bool,
    /// The last `id` of a request or ping.
    pub(crate) ids: u64,
    /// The `Sec-WebSocket-Key`.
    pub(crate) key: String,
    /// What the 101 leads to.
    pub(crate) upgrades_to: Stage,
    /// Own pings without an answer.
    pings: VecDeque<Vec<u8>>,
    echoes: VecDeque<Vec<u8>>,
    inbox: Inbox,
    thaw: Option<Thaw>,
    born_ms: u64,
    rng: Rng,
}

impl Client {
    pub(crate) fn new(
        serial: u64,
        (shard, token): (usize, Token),
        pipe: SharedPipe,
        book: Book,
        now: Now,
        rng: Rng,
    ) -> Self {
        Self {
            serial,
            shard,
            token,
            pipe,
            stage: Stage::Greeting,
            manners: Manners::default(),
            book,
            stalled: false,
            hidden: false,
            memory: HashMap::new(),
            pinged: 0,
            welcome_due: false,
            ids: 0,
            key: String::new(),
            upgrades_to: Stage::Open,
            pings: VecDeque::new(),
            echoes: VecDeque::new(),
            inbox: Inbox::default(),
            thaw: None,
            born_ms: now.mono_ms,
            rng,
        }
    }

    /// Whether it may still send frames.
    pub(crate) fn can_speak(&self) -> bool {
        let Manners { said_close, broke, wild, left, .. } = self.manners;
        self.stage.is_open() && said_close.is_none() && broke.is_none() && !wild && !left
    }

    /// Sends a frame.
    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        put_masked_frame(&mut frame, opcode, payload, self.rng.u32(..).to_be_bytes());
        self.pipe.borrow_mut().send(&frame);
    }

    /// Sends a text message, in fragments if it likes, with a ping in between if it likes.
    pub(crate) fn text(&mut self, text: &str) {
        say(|| format!("    client {} says {}", self.serial, short(text)));
        if self.stage == Stage::Echo {
            self.echoes.push_back(text.as_bytes().to_vec());
        }
        if text.len() < 2 || self.rng.u8(..8) > 0 {
            return self.frame(Opcode::Text, text.as_bytes());
        }
        let (first, second) = text.as_bytes().split_at(self.rng.usize(1..text.len()));
        let mut frame = Vec::new();
        put_masked_frame(&mut frame, Opcode::Text, first, self.rng.u32(..).to_be_bytes());
        frame[0] &= 0x7F;
        self.pipe.borrow_mut().send(&frame);
        if self.rng.bool() {
            self.ping();
        }
        self.frame(Opcode::Continuation, second);
    }

    pub(crate) fn ping(&mut self) {
        self.ids += 1;
        let payload = [&self.ids.to_be_bytes()[..], &vec![b'.'; self.rng.usize(..118)]].concat();
        self.frame(Opcode::Ping, &payload);
        self.pings.push_back(payload);
    }

    /// Says goodbye with a close frame.
    pub(crate) fn goodbye(&mut self, code: Option<u16>) {
        say(|| format!("    client {} says goodbye with {code:?}", self.serial));
        self.manners.said_close = Some(code);
        let payload = code.map_or(Vec::new(), |code| [&code.to_be_bytes()[..], b"bye"].concat());
        self.frame(Opcode::Close, &payload);
    }

    /// Ends its side of the stream.
    pub(crate) fn end(&mut self) {
        say(|| format!("    client {} ends its side", self.serial));
        self.manners.left = true;
        self.pipe.borrow_mut().end();
    }

    pub(crate) fn reset(&mut self) {
        say(|| format!("    client {} is gone", self.serial));
        self.manners.left = true;
        self.pipe.borrow_mut().reset();
    }

    /// Reads again.
    pub(crate) fn thaw(&mut self, scene: &Scene<'_>) {
        self.stalled = false;
        let held = self.pipe.borrow().down.len() + self.inbox.len();
        let bytes_left = held + scene.limits.queue_hard_bytes + BATCH_BYTES_MAX;
        self.thaw = Some(Thaw { wall_ms: scene.now.wall_ms, bytes_left });
    }

    /// Reads up to `most` bytes and holds what they say against what it is owed. True when there was something.
    pub(crate) fn read(&mut self, most: usize, scene: &mut Scene<'_>) -> bool {
        if self.stalled || self.stage == Stage::Over {
            return false;
        }
        let bytes = self.pipe.borrow_mut().take(most);
        scene.trace.bytes(&bytes);
        self.inbox.push(&bytes);
        if self.stage == Stage::Greeting {
            self.greeted(scene);
        }
        while self.stage.is_open() {
            let Some((frame, length)) = self.inbox.frame() else { break };
            self.hear(frame, length, scene);
        }
        if let Stage::Closed(_) = self.stage {
            assert_eq!(self.inbox.len(), 0, "something comes behind a close frame: {:?}", self.inbox.frame());
        }
        let over = self.pipe.borrow().is_over();
        if over {
            self.ended();
        }
        over || !bytes.is_empty()
    }

    /// After everything has settled nothing is half done.
    pub(crate) fn check_settled(&self, tight_rate: bool) {
        let who = self.serial;
        let ending = matches!(self.stage, Stage::Closed(_) | Stage::Refused(_));
        assert!(!ending || self.stalled, "client {who}: no end comes behind the last word");
        if !self.can_speak() || self.stalled {
            return;
        }
        assert_eq!(self.inbox.len(), 0, "client {who}: half a frame");
        assert_eq!(self.book.owed(), None, "client {who} is owed answers");
        assert_eq!(self.book.owes_gap(), None, "client {who} is owed a gap");
        assert!(tight_rate || self.pings.is_empty(), "client {who}: the latest ping was not answered");
        assert!(self.echoes.is_empty(), "client {who}: an echo is missing");
        assert!(!self.welcome_due, "client {who}: no welcome");
    }

    fn greeted(&mut self, scene: &Scene<'_>) {
        let rest = self.inbox.rest();
        let first = rest.len().min(STATUS_LINE.len());
        assert_eq!(rest[..first], STATUS_LINE[..first], "something comes before the answer");
        let Some(head) = self.inbox.head() else { return };
        let status: u16 = String::from_utf8_lossy(&head[9..12]).parse().expect("a status");
        say(|| format!("client {} gets {status}", self.serial));
        count(&format!("status {status}"));
        if status == 101 {
            assert!(!self.manners.bad_head && !self.manners.half_a_head, "a bad request was accepted");
            let protocol = check_switching(&head, &self.key).expect("a good 101");
            assert_eq!(protocol.is_some(), self.welcome_due, "the subprotocol that was offered");
            self.stage = self.upgrades_to;
            return;
        }
        let age_ms = scene.now.mono_ms - self.born_ms;
        let excused = match status {
            408 => age_ms + TICK_MS >= scene.limits.handshake_timeout_ms,
            503 => scene.drain_over_ms.is_some(),
            400..500 => self.manners.bad_head,
            _ => false,
        };
        assert!(excused, "client {} was refused with {status} after {age_ms} ms", self.serial);
        self.stage = Stage::Refused(status);
        self.leave_if_polite();
    }

    fn hear(&mut self, frame: Frame, length: usize, scene: &mut Scene<'_>) {
        match frame {
            Frame::Text(text) if self.stage == Stage::Echo => self.echoed(text.as_bytes()),
            Frame::Binary(bytes) => self.echoed(&bytes),
            Frame::Text(text) => self.told(&text, length, scene),
            Frame::Ping(payload) => {
                self.pinged += 1;
                if !self.manners.mute && !self.manners.left && self.manners.said_close.is_none() {
                    self.frame(Opcode::Pong, &payload);
                }
            }
            Frame::Pong(payload) => {
                let at = self.pings.iter().position(|ping| *ping == payload);
                let known = at.is_some() || self.manners.wild;
                assert!(known, "client {}: a pong for no ping", self.serial);
                // Only the latest ping has to be answered.
                self.pings.drain(..at.map_or(0, |at| at + 1));
            }
            Frame::Close { code, reason } => self.closed(code, &reason, scene),
        }
    }

    fn echoed(&mut self, bytes: &[u8]) {
        assert_eq!(self.stage, Stage::Echo, "client {}: binary from the native dialect", self.serial);
        let expected = self.echoes.pop_front();
        let good = self.manners.wild || expected.as_deref() == Some(bytes);
        assert!(good, "client {}: a wrong echo", self.serial);
    }

    fn told(&mut self, text: &str, length: usize, scene: &mut Scene<'_>) {
        say(|| format!("client {} hears {}", self.serial, short(text)));
        let message: Message<'_> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        count(message.code.unwrap_or(message.kind));
        if std::mem::take(&mut self.welcome_due) {
            assert_eq!(message.kind, "welcome", "the welcome comes first");
            assert_eq!(message.ping_ms, Some(scene.limits.ping_interval_ms));
            assert_eq!(message.node, Some("sim"));
            assert!(message.session.is_some_and(|session| !session.is_empty()));
            return;
        }
        if self.manners.wild && message.kind == "error" && !self.book.expects(&message) {
            // Noise may happen to be a frame.
            return;
        }
        match self.book.hear(&message, text, scene.truth) {
            News::Nothing => {}
            News::Place(channel, cursor) => _ = self.memory.insert(channel, cursor),
            News::Notification(channel, cursor, wall_ms, excused) => {
                self.memory.insert(channel, cursor);
                assert!(wall_ms <= scene.now.wall_ms, "a timestamp of the future");
                if !excused {
                    self.weigh(wall_ms, length);
                }
            }
        }
    }

    /// Counts what was published before it read again.
    fn weigh(&mut self, wall_ms: u64, length: usize) {
        if let Some(thaw) = &mut self.thaw
            && wall_ms < thaw.wall_ms
        {
            let left = thaw.bytes_left.checked_sub(length);
            thaw.bytes_left = left.unwrap_or_else(|| panic!("client {} had too much queued", self.serial));
        }
    }

    fn closed(&mut self, code: Option<u16>, reason: &str, scene: &Scene<'_>) {
        say(|| format!("client {} hears close {code:?} {reason:?}", self.serial));
        count(&format!("close {}", code.unwrap_or(0)));
        let Manners { said_close, broke, wild, .. } = self.manners;
        let pipe = self.pipe.borrow();
        let Limits { idle_timeout_ms, ping_interval_ms, .. } = *scene.limits;
        let excused = match code {
            _ if said_close == Some(code) && reason.is_empty() => true,
            Some(1001) => scene.drain_over_ms.is_some_and(|over_ms| {
                let retry = reason.strip_prefix("going away retry_after_ms=");
                retry.and_then(|ms| ms.parse::<u64>().ok()).is_some_and(|ms| ms <= over_ms)
            }),
            Some(1002 | 1003 | 1007 | 1009) => wild || broke == code,
            Some(1008) => scene.tight_rate,
            Some(4003) => pipe.ever_blocked && reason == Disconnect::SlowConsumer.reason(),
            // The first ping, and with it the end, may come early by an interval.
            Some(4004) => pipe.silence_ms + ping_interval_ms + 2 * TICK_MS >= idle_timeout_ms,
            Some(_) | None => wild,
        };
        assert!(excused, "client {} was closed with {code:?} {reason:?}: {:?}", self.serial, self.manners);
        drop(pipe);
        self.stage = Stage::Closed(code);
        if said_close.is_none() && !self.manners.rude {
            let payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
            self.frame(Opcode::Close, &payload);
        }
        self.leave_if_polite();
    }

    fn leave_if_polite(&mut self) {
        if !self.manners.rude {
            self.manners.left = true;
            self.pipe.borrow_mut().end();
        }
    }

    fn ended(&mut self) {
        say(|| format!("client {} is at the end of its stream", self.serial));
        let Manners { said_close, broke, wild, left, .. } = self.manners;
        let own_doing = said_close.is_some() || broke.is_some() || wild || left;
        let mut pipe = self.pipe.borrow_mut();
        let excused = match self.stage {
            Stage::Greeting | Stage::Open | Stage::Echo => own_doing || pipe.ever_blocked || pipe.lost,
            Stage::Closed(_) | Stage::Refused(_) | Stage::Over => true,
        };
        assert!(excused, "client {}: the stream ended without a word", self.serial);
        // Whoever ends its side first may still listen.
        let listens = self.stage == Stage::Open && !wild && broke.is_none() && pipe.took_all();
        let owed = listens && self.book.owes_pong();
        assert!(!owed, "client {}: what was asked before the end was not answered", self.serial);
        self.stage = Stage::Over;
        if !self.manners.rude {
            pipe.close();
        }
    }

    /// Asks something about a channel, or nothing in particular, in one of the ways to write it.
    pub(crate) fn ask(&mut self, kind: Kind, channel: Option<Channel>, truth: &Truth) {
        self.ids += 1;
        let id = match self.ids % 3 {
            0 => format!("{}", self.ids),
            1 => format!(r#""r{}""#, self.ids),
            _ => format!(r#"{{"n": [{}]}}"#, self.ids),
        };
        let (name, members) = match kind {
            Kind::Subscribe { since: Some(since) } => ("subscribe", format!(r#","since":"{since}""#)),
            Kind::Subscribe { since: None } => ("subscribe", String::new()),
            Kind::Unsubscribe => ("unsubscribe", String::new()),
            Kind::Publish(number) => ("publish", format!(r#","data":{}"#, truth.data(number))),
            Kind::Presence => ("presence", String::new()),
            Kind::Ping => ("ping", String::new()),
            Kind::Nonsense(_) => ("dance", String::new()),
        };
        let named = |channel: Channel| format!(r#","channel":"{}""#, truth.names[channel]);
        let about = channel.map_or(String::new(), named);
        let text = if self.rng.bool() {
            format!(r#"{{"type":"{name}"{about},"id":{id}{members}}}"#)
        } else {
            format!(r#" {{ "more":[{{}}],"id": {id} {members}{about} , "type":"{name}" }}"#)
        };
        self.book.ask(Some(id), channel, kind, truth);
        self.text(&text);
    }
}

/// What a long text begins with.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
