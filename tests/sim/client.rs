//! A client: it reads, and complains about everything that it was not promised. Whatever goes wrong for it must have a reason
//! that it knows of. What it says and hears depends on its way to the node: `websocket.rs`, `stream.rs`, `poll.rs`.

use crate::book::Book;
use crate::inbox::Inbox;
use crate::poll::Poll;
use crate::socket::{Pipe, SharedPipe};
use crate::stream::Stream;
use crate::trace::{Trace, say};
use crate::truth::{Channel, Truth};
use fastrand::Rng;
use roost::clock::Now;
use roost::dialect::cursor::Cursor;
use roost::limits::{BATCH_BYTES_MAX, Limits};
use roost::shard::conn_table::Token;
use std::collections::{HashMap, VecDeque};

/// How a client is connected.
#[derive(Debug)]
pub(crate) enum Way {
    WebSocket,
    Stream(Stream),
    Poll(Poll),
}

/// The names of the ways.
pub(crate) const WEBSOCKET: &str = "websocket";
pub(crate) const STREAM: &str = "stream";
pub(crate) const POLL: &str = "poll";

impl Way {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::WebSocket => WEBSOCKET,
            Self::Stream(_) => STREAM,
            Self::Poll(_) => POLL,
        }
    }
}

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not got an answer.
    Greeting,
    /// It speaks the native dialect, hears events, or asks one thing after another.
    Open,
    /// It gets its own messages back.
    Echo,
    /// It got a close frame; nothing may follow but the end.
    Closed(Option<u16>),
    /// It got an answer with this status behind which only the end may follow.
    Answered(u16),
    /// The stream ended.
    Over,
}

impl Stage {
    /// Whether something may be said.
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
    /// It sends less than a whole request.
    pub(crate) half_a_request: bool,
    /// Its request is refused with a status of 4xx.
    pub(crate) bad_head: bool,
    /// It sent a close frame with this code.
    pub(crate) said_close: Option<Option<u16>>,
    /// It broke the protocol in a way that ends it with this code.
    pub(crate) broke: Option<u16>,
    /// It sent noise: anything may come of it.
    pub(crate) wild: bool,
    /// An operator may have meant it, who wants connections to be closed with this code.
    pub(crate) kicked: Option<u16>,
    /// It ended its side, or both, or its machine went away.
    pub(crate) left: bool,
}

/// What is left of a client when its connection is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// The last place seen in each channel.
    pub(crate) places: HashMap<Channel, Cursor>,
    /// The way on which it saw them.
    pub(crate) way: &'static str,
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
    /// A drain of all was asked for.
    pub(crate) closing: bool,
    /// Goodbyes to some were asked for.
    pub(crate) thinned: bool,
    pub(crate) tight_rate: bool,
    /// Little may be queued to all.
    pub(crate) tight_total: bool,
    /// The faults have stopped.
    pub(crate) calm: bool,
}

impl Scene<'_> {
    /// Whether anybody may be told to go.
    pub(crate) fn sends_away(&self) -> bool {
        self.closing || self.thinned
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) serial: u64,
    pub(crate) shard: usize,
    pub(crate) token: Token,
    pub(crate) pipe: SharedPipe,
    pub(crate) way: Way,
    pub(crate) stage: Stage,
    pub(crate) manners: Manners,
    pub(crate) book: Book,
    pub(crate) stalled: bool,
    /// It last said that nobody looks at it.
    pub(crate) hidden: bool,
    /// For its next connection.
    pub(crate) memory: Memory,
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
    pub(crate) pings: VecDeque<Vec<u8>>,
    pub(crate) echoes: VecDeque<Vec<u8>>,
    pub(crate) inbox: Inbox,
    thaw: Option<Thaw>,
    pub(crate) born_ms: u64,
    pub(crate) rng: Rng,
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
            way: Way::WebSocket,
            stage: Stage::Greeting,
            manners: Manners::default(),
            book,
            stalled: false,
            hidden: false,
            memory: Memory::default(),
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

    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.way, Way::WebSocket)
    }

    /// Whether the node serves it, as far as it knows.
    pub(crate) fn is_open(&self) -> bool {
        let begun =
            self.stage.is_open() || (self.stage == Stage::Greeting && matches!(self.way, Way::Poll(_)));
        begun && !self.pipe.borrow().server_gone
    }

    /// Whether it has done nothing that ends it: it may say more, and everything is owed to it.
    pub(crate) fn can_speak(&self) -> bool {
        let Manners { said_close, broke, wild, left, half_a_request, .. } = self.manners;
        let begun = match &self.way {
            Way::WebSocket | Way::Stream(_) => self.stage.is_open(),
            Way::Poll(poll) => {
                matches!(self.stage, Stage::Greeting | Stage::Open) && !half_a_request && !poll.is_ending()
            }
        };
        begun && said_close.is_none() && broke.is_none() && !wild && !left
    }

    /// Where it is in a channel that it follows.
    pub(crate) fn place(&self, channel: Channel) -> Option<Cursor> {
        match &self.way {
            Way::WebSocket | Way::Stream(_) => self.book.places.at(channel),
            Way::Poll(poll) => poll.place(channel),
        }
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

    /// Takes everything from now on.
    pub(crate) fn read_on(&mut self, now: Now) {
        self.stalled = false;
        if let Way::Stream(stream) = &mut self.way {
            stream.takes_all_from(now.mono_ms);
        }
    }

    /// Reads again.
    pub(crate) fn thaw(&mut self, scene: &Scene<'_>) {
        self.read_on(scene.now);
        let held = self.pipe.borrow().down.len() + self.inbox.len();
        // An event is larger than a frame: by its kind, and by all places of a stream.
        let dressed = if self.is_websocket() { 1 } else { 2 };
        let bytes_left = held + dressed * (scene.limits.queue_hard_bytes + BATCH_BYTES_MAX);
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
        match self.way {
            Way::WebSocket => self.hear_frames(scene),
            Way::Stream(_) => self.hear_events(scene),
            Way::Poll(_) => self.hear_answers(scene),
        }
        if matches!(self.stage, Stage::Closed(_) | Stage::Answered(_)) {
            let rest = String::from_utf8_lossy(self.inbox.rest());
            assert!(rest.is_empty(), "client {}: behind the last word comes {rest}", self.serial);
        }
        let over = self.pipe.borrow().is_over();
        if over {
            self.ended(scene);
        }
        let asked = scene.calm && matches!(self.way, Way::Poll(_)) && self.poll_on(scene);
        over || asked || !bytes.is_empty()
    }

    /// After everything has settled nothing is half done.
    pub(crate) fn check_settled(&self, tight_rate: bool) {
        let who = self.serial;
        let ending = matches!(self.stage, Stage::Closed(_) | Stage::Answered(_));
        assert!(!ending || self.stalled, "client {who}: no end comes behind the last word");
        if !self.can_speak() || self.stalled {
            return;
        }
        assert_eq!(self.inbox.len(), 0, "client {who}: half a frame, event or answer");
        match &self.way {
            Way::WebSocket => self.check_websocket(tight_rate),
            Way::Stream(stream) => stream.check_settled(who),
            Way::Poll(poll) => poll.check_settled(who),
        }
    }

    /// Counts what was published before it read again.
    pub(crate) fn weigh(&mut self, wall_ms: u64, length: usize) {
        if let Some(thaw) = &mut self.thaw
            && wall_ms < thaw.wall_ms
        {
            let left = thaw.bytes_left.checked_sub(length);
            thaw.bytes_left = left.unwrap_or_else(|| panic!("client {} had too much queued", self.serial));
        }
    }

    pub(crate) fn leave_if_polite(&mut self) {
        if !self.manners.rude {
            self.manners.left = true;
            self.pipe.borrow_mut().end();
        }
    }

    fn ended(&mut self, scene: &Scene<'_>) {
        say(|| format!("client {} is at the end of its stream", self.serial));
        let excused = self.stage == Stage::Over || self.excuses_end(&self.pipe.borrow(), scene);
        assert!(excused, "client {}: the stream ended without a word", self.serial);
        match &self.way {
            Way::WebSocket => self.check_answered(),
            Way::Poll(poll) if !self.manners.wild && self.manners.kicked.is_none() => {
                poll.check_answered(self.serial, &self.pipe.borrow(), scene);
            }
            Way::Stream(_) | Way::Poll(_) => {}
        }
        self.stage = Stage::Over;
        if !self.manners.rude {
            self.pipe.borrow_mut().close();
        }
    }

    /// Whether it knows why the stream ended.
    fn excuses_end(&self, pipe: &Pipe, scene: &Scene<'_>) -> bool {
        let Manners { said_close, broke, wild, left, kicked, .. } = self.manners;
        if matches!(self.stage, Stage::Closed(_) | Stage::Answered(_)) {
            return true;
        }
        let own_doing = said_close.is_some() || broke.is_some() || wild || left;
        own_doing
            || pipe.lost
            || match &self.way {
                Way::WebSocket => pipe.ever_blocked,
                Way::Stream(stream) => pipe.ever_blocked || stream.was_dismissed() || kicked.is_some(),
                Way::Poll(poll) => poll.excuses_end(pipe, scene) || kicked.is_some(),
            }
    }
}

/// What a long text begins with.
pub(crate) fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}
