//! What clients do of their own accord: how they greet, and what they say, break and leave undone.

use crate::asking::{Wanted, target};
use crate::book::Kind;
use crate::client::{Client, Scene, Stage, Way};
use crate::faults::{Faults, pick};
use crate::trace::{count, say};
use crate::truth::{Channel, Truth, draw_padding};
use fastrand::Rng;
use roost::dialect::cursor::{Cursor, Epoch};
use roost::dialect::native::SUBPROTOCOL;
use roost::proto::frame::Opcode;
use roost::proto::handshake::{self as upgrade, encode_key, put_request};

/// Targets that are refused.
const BAD_TARGETS: [&str; 4] =
    ["/nothing", "/live?channel=a%20b", "/live?channel=a&channel=b&since=", "/live?channel=d&channel=d"];
/// A request that does not ask for an upgrade.
const PLAIN: &[u8] = b"GET /live HTTP/1.1\r\nHost: node\r\n\r\n";

impl Client {
    /// Begins in one of three ways. Who returns wants what it followed.
    pub(crate) fn greet(&mut self, returns: bool, rng: &mut Rng, scene: &mut Scene<'_>) {
        self.manners.rude = rng.u8(..8) == 0;
        match rng.u8(..20) {
            0..11 => self.ask_for_upgrade(returns, rng, scene),
            11..16 => self.ask_for_events(returns, rng, scene),
            _ => self.begin_to_poll(returns, rng, scene),
        }
        if returns {
            count(&format!("from {} to {}", self.memory.way, self.way.label()));
        }
        self.memory.way = self.way.label();
    }

    /// Sends a request to upgrade, good or bad, whole or half.
    fn ask_for_upgrade(&mut self, returns: bool, rng: &mut Rng, scene: &Scene<'_>) {
        self.key = encode_key(rng.u128(..).to_be_bytes());
        self.manners.mute = rng.u8(..8) == 0;
        let target = match rng.u8(..16) {
            0 => {
                self.manners.bad_head = true;
                pick(rng, &BAD_TARGETS).to_owned()
            }
            1 => {
                self.upgrades_to = Stage::Echo;
                "/echo".to_owned()
            }
            _ => self.live(returns, rng, scene),
        };
        self.welcome_due = target.starts_with("/live") && rng.u8(..3) == 0;
        let protocols = [("Sec-WebSocket-Protocol", SUBPROTOCOL)];
        let headers = if self.welcome_due { &protocols[..] } else { &[] };
        let mut head = Vec::new();
        put_request(
            &mut head,
            &upgrade::Request { host: "node:8080", target: &target, key: &self.key, headers },
        );
        if self.manners.bad_head && rng.bool() {
            head = PLAIN.to_vec();
        }
        if rng.u8(..12) == 0 {
            self.manners.half_a_request = true;
            head.truncate(rng.usize(..head.len()));
        }
        say(|| format!("client {} asks for {target}", self.serial));
        self.pipe.borrow_mut().send(&head);
    }

    /// A target that subscribes to some channels.
    fn live(&mut self, returns: bool, rng: &mut Rng, scene: &Scene<'_>) -> String {
        let with_since = returns || rng.bool();
        let wanted = self.choose(returns, with_since, 0, rng, scene);
        for (channel, since) in &wanted {
            self.book.ask(None, Some(*channel), Kind::Subscribe { since: *since }, scene.truth);
        }
        target("/live", &wanted, with_since, scene.truth)
    }

    /// Some channels, or all that a client which returns has followed, each with a cursor where it has one.
    pub(crate) fn choose(
        &mut self,
        returns: bool,
        with_since: bool,
        least: usize,
        rng: &mut Rng,
        scene: &Scene<'_>,
    ) -> Vec<Wanted> {
        let most = scene.limits.channels_per_conn_max;
        let mut channels: Vec<Channel> = (0..scene.truth.names.len()).collect();
        rng.shuffle(&mut channels);
        if returns {
            channels.retain(|channel| self.memory.places.contains_key(channel));
            channels.truncate(most);
        } else {
            channels.truncate(rng.usize(least..4).min(most));
        }
        let since = |channel| (channel, self.since(channel, rng).filter(|_| with_since));
        channels.into_iter().map(since).collect()
    }

    /// Where it was in a channel, or where it says that it was.
    pub(crate) fn since(&self, channel: Channel, rng: &mut Rng) -> Option<Cursor> {
        let known = self.memory.places.get(&channel).copied();
        match rng.u8(..20) {
            0 => Some(Cursor { epoch: Epoch(rng.u64(..100)), offset: rng.u64(..100) }),
            1 => known.map(|known| Cursor { offset: known.offset + rng.u64(..20), ..known }),
            _ => known,
        }
    }

    /// Does something, or nothing.
    pub(crate) fn act(&mut self, faults: &Faults, rng: &mut Rng, scene: &mut Scene<'_>) {
        if self.stalled && rng.u8(..6) == 0 {
            say(|| format!("    client {} reads again", self.serial));
            self.thaw(scene);
        } else if faults.stall.hit(rng) {
            say(|| format!("    client {} stalls", self.serial));
            self.stalled = true;
        }
        if !self.manners.left && faults.reset.hit(rng) {
            return self.reset();
        }
        if !self.can_speak() {
            return;
        }
        match self.way {
            Way::WebSocket => self.act_over_websocket(faults, rng, scene),
            Way::Stream(_) => self.act_beside_stream(faults, rng),
            Way::Poll(_) => self.act_between_polls(faults, rng, scene),
        }
    }

    fn act_over_websocket(&mut self, faults: &Faults, rng: &mut Rng, scene: &mut Scene<'_>) {
        if faults.garbage.hit(rng) {
            return self.break_something(rng, scene);
        }
        if faults.bulk.hit(rng) {
            return self.say_much(rng, scene);
        }
        if self.stage == Stage::Echo {
            return self.echo_something(rng);
        }
        if scene.tight_rate && rng.u8(..30) == 0 {
            // Twice the burst and more: whoever does not listen to the first refusals.
            (0..100).for_each(|_| self.ask(Kind::Ping, None, scene.truth));
        }
        match rng.u8(..40) {
            0..22 => self.ask_about_a_channel(1, rng, scene),
            22..25 => self.ask_about_a_channel(rng.usize(2..8), rng, scene),
            25..28 => self.ask(Kind::Ping, None, scene.truth),
            28..31 => self.ping(),
            31..33 => self.frame(Opcode::Pong, b"unasked"),
            33..35 => self.talk_nonsense(rng, scene.truth),
            35 => self.goodbye(pick(rng, &[None, Some(1000), Some(1001), Some(4321)])),
            36 if rng.bool() => self.end(),
            // A message without an answer would get one where it is too fast.
            37..39 if !scene.tight_rate => self.hide(!self.hidden),
            _ => {}
        }
    }

    /// Nobody has anything to say there.
    fn act_beside_stream(&mut self, faults: &Faults, rng: &mut Rng) {
        if faults.garbage.hit(rng) {
            say(|| format!("    client {} speaks into its stream", self.serial));
            self.pipe.borrow_mut().send(b"GET / HTTP/1.1\r\n");
            self.manners.broke = Some(1002);
        } else if rng.u8(..60) == 0 {
            self.end();
        }
    }

    /// One or several commands on one channel at once: their answers must keep the order.
    fn ask_about_a_channel(&mut self, count: usize, rng: &mut Rng, scene: &mut Scene<'_>) {
        let channel = rng.usize(..scene.truth.names.len());
        for _ in 0..count {
            let kind = match rng.u8(..11) {
                0..5 => {
                    let with_since = rng.bool();
                    Kind::Subscribe { since: self.since(channel, rng).filter(|_| with_since) }
                }
                5..7 => Kind::Unsubscribe,
                7 => Kind::Presence,
                _ => {
                    let padding = draw_padding(rng, scene.limits.message_bytes_max - 500);
                    Kind::Publish(scene.truth.publish(channel, padding))
                }
            };
            self.ask(kind, Some(channel), scene.truth);
        }
    }

    /// Says that nobody looks at it, or that somebody does.
    fn hide(&mut self, hidden: bool) {
        self.hidden = hidden;
        self.book.places.was_hidden |= hidden;
        let state = if hidden { "hidden" } else { "visible" };
        count(state);
        self.text(&format!(r#"{{"type":"visibility","state":"{state}","id":7}}"#));
    }

    fn talk_nonsense(&mut self, rng: &mut Rng, truth: &Truth) {
        if rng.bool() {
            return self.ask(Kind::Nonsense("unknown_type"), None, truth);
        }
        let texts = [
            ("{", "bad_json"),
            ("[]", "bad_request"),
            (r#"{"type":"visibility","state":"asleep"}"#, "bad_request"),
            (r#"{"type":"subscribe","channel":"a b"}"#, "bad_channel"),
            (r#"{"type":"subscribe","channel":"d","since":"x"}"#, "bad_request"),
        ];
        let (text, code) = pick(rng, &texts);
        self.book.ask(None, None, Kind::Nonsense(code), truth);
        self.text(text);
    }

    fn echo_something(&mut self, rng: &mut Rng) {
        let length = if rng.u8(..6) == 0 { 1_500 } else { 40 };
        match rng.u8(..12) {
            0 => self.goodbye(Some(1000)),
            1 => self.ping(),
            _ => {
                let text: String = (0..rng.usize(..length)).map(|_| rng.alphanumeric()).collect();
                self.text(&text);
            }
        }
    }

    /// Sends more than one turn reads, in messages that are just not too big.
    fn say_much(&mut self, rng: &mut Rng, scene: &Scene<'_>) {
        let length = scene.limits.message_bytes_max - 200;
        for _ in 0..rng.usize(1..=300_000 / length) {
            if self.stage == Stage::Echo {
                self.text(&"e".repeat(length));
            } else {
                self.ids += 1;
                let id = format!("{}", self.ids);
                let text = format!(r#"{{"type":"ping","id":{id},"pad":"{}"}}"#, "p".repeat(length));
                self.book.ask(Some(id), None, Kind::Ping, scene.truth);
                self.text(&text);
            }
        }
    }

    /// Breaks the protocol in one of many ways; nothing that it says afterwards counts.
    fn break_something(&mut self, rng: &mut Rng, scene: &Scene<'_>) {
        let (opcode, payload, code) = match rng.u8(..8) {
            0 => return self.send_noise(b"\x81\x02{}", Some(1002)),
            1 => return self.send_noise(b"\xF1\x80\0\0\0\0", Some(1002)),
            2 => (Opcode::Continuation, b"of nothing".to_vec(), 1002),
            3 => (Opcode::Text, b"\"\xC3\x28\"".to_vec(), 1007),
            4 if self.stage == Stage::Open => (Opcode::Binary, b"bytes".to_vec(), 1003),
            5 => (Opcode::Text, vec![b' '; scene.limits.message_bytes_max + 1], 1009),
            6 => (Opcode::Close, b"\x03".to_vec(), 1002),
            _ => {
                let noise: Vec<u8> = (0..rng.usize(1..60)).map(|_| rng.u8(..)).collect();
                return self.send_noise(&noise, None);
            }
        };
        say(|| format!("    client {} breaks the protocol: {code}", self.serial));
        self.frame(opcode, &payload);
        self.manners.broke = Some(code);
    }

    fn send_noise(&mut self, noise: &[u8], code: Option<u16>) {
        say(|| format!("    client {} makes noise: {code:?}", self.serial));
        self.pipe.borrow_mut().send(noise);
        self.manners.broke = code;
        self.manners.wild = code.is_none();
    }
}
