//! A client that has a WebSocket: frames both ways. What it is told is held against its book, and the end against what it knows.

use crate::answer::Head;
use crate::book::{Kind, Message, News};
use crate::client::{Client, Manners, Scene, Stage, short};
use crate::inbox::Frame;
use crate::trace::{count, say};
use crate::truth::{Channel, Truth};
use roost::clock::TICK_MS;
use roost::disconnect::Disconnect;
use roost::limits::{DRAIN_RETRY_MS, Limits};
use roost::proto::frame::{Opcode, put_masked_frame};
use roost::proto::handshake::check_switching;

impl Client {
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

    /// Asks something about a channel, or nothing in particular.
    pub(crate) fn ask(&mut self, kind: Kind, channel: Option<Channel>, truth: &Truth) {
        let text = self.request(kind, channel, truth);
        self.text(&text);
    }

    /// A message that asks something, in one of the ways to write it. Its answer is owed from now on.
    pub(crate) fn request(&mut self, kind: Kind, channel: Option<Channel>, truth: &Truth) -> String {
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
        text
    }

    /// Hears what has come.
    pub(crate) fn hear_frames(&mut self, scene: &mut Scene<'_>) {
        if self.stage == Stage::Greeting {
            self.greeted(scene);
        }
        while self.stage.is_open() {
            let Some((frame, length)) = self.inbox.frame() else { break };
            self.hear(frame, length, scene);
        }
    }

    /// After everything has settled.
    pub(crate) fn check_websocket(&self, tight_rate: bool) {
        let who = self.serial;
        assert_eq!(self.book.owed(), None, "client {who} is owed answers");
        assert_eq!(self.book.places.owes_gap(), None, "client {who} is owed a gap");
        assert!(tight_rate || self.pings.is_empty(), "client {who}: the latest ping was not answered");
        assert!(self.echoes.is_empty(), "client {who}: an echo is missing");
        assert!(!self.welcome_due, "client {who}: no welcome");
    }

    /// At its end. Whoever ends its side first may still listen.
    pub(crate) fn check_answered(&self) {
        let Manners { broke, wild, .. } = self.manners;
        let listens = self.stage == Stage::Open && !wild && broke.is_none() && self.pipe.borrow().took_all();
        let owed = listens && self.book.owes_pong();
        assert!(!owed, "client {}: what was asked before the end was not answered", self.serial);
    }

    fn greeted(&mut self, scene: &Scene<'_>) {
        let Some(head) = Head::read(self.inbox.rest()) else { return };
        if head.status != 101 {
            let Some(answer) = self.inbox.answer() else { return };
            let bad = Some(head.status).filter(|_| self.manners.bad_head);
            return self.refused(&answer, bad, self.born_ms, scene);
        }
        count("status 101");
        assert!(!self.manners.bad_head && !self.manners.half_a_request, "a bad request was accepted");
        let protocol = check_switching(&self.inbox.rest()[..head.length], &self.key).expect("a good 101");
        assert_eq!(protocol.is_some(), self.welcome_due, "the subprotocol that was offered");
        self.inbox.skip(head.length);
        self.stage = self.upgrades_to;
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
            News::Place(channel, cursor) => _ = self.memory.places.insert(channel, cursor),
            News::Notification(channel, taken) => {
                self.memory.places.insert(channel, taken.at);
                assert!(taken.wall_ms <= scene.now.wall_ms, "a timestamp of the future");
                if !taken.excused {
                    self.weigh(taken.wall_ms, length);
                }
            }
        }
    }

    fn closed(&mut self, code: Option<u16>, reason: &str, scene: &Scene<'_>) {
        say(|| format!("client {} hears close {code:?} {reason:?}", self.serial));
        count(&format!("close {}", code.unwrap_or(0)));
        let Manners { said_close, broke, wild, kicked, .. } = self.manners;
        let pipe = self.pipe.borrow();
        let Limits { idle_timeout_ms, ping_interval_ms, .. } = *scene.limits;
        let excused = match code {
            _ if said_close == Some(code) && reason.is_empty() => true,
            _ if code.is_some() && kicked == code && reason == Disconnect::Kicked.reason() => true,
            Some(1001) => {
                let retry = reason.strip_prefix("going away retry_after_ms=");
                let retry_ms = retry.and_then(|ms| ms.parse::<u64>().ok());
                scene.sends_away() && retry_ms.is_some_and(|ms| ms <= DRAIN_RETRY_MS)
            }
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
}
