//! A client: it asks, listens, and complains about everything that it was not promised. Whatever goes wrong for it must
//! have a reason that it knows of.

use crate::book::Book;
use crate::inbox::Inbox;
use crate::socket::SharedPipe;
use crate::trace::{Trace, say};
use crate::truth::{Channel, Truth};
use fastrand::Rng;
use roost::clock::Now;
use roost::dialect::cursor::Cursor;
use roost::limits::{BATCH_BYTES_MAX, Limits};
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
        assert_eq!(self.book.places.owes_gap(), None, "client {who} is owed a gap");
        assert!(tight_rate || self.pings.is_empty(), "client {who}: the latest ping was not answered");
        assert!(self.echoes.is_empty(), "client {who}: an echo is missing");
        assert!(!self.welcome_due, "client {who}: no welcome");
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
}

/// What a long text begins with.
pub(crate) fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}
