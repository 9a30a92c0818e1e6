//! What a client asks of its own accord that has no connection that lasts: polls, messages, and what is refused.

use crate::asking::{Request, Wanted};
use crate::book::Kind;
use crate::client::{Client, Scene, Way};
use crate::faults::{Faults, pick};
use crate::poll::{Poll, What};
use crate::trace::{count, say};
use crate::truth::draw_padding;
use fastrand::Rng;
use roost::limits::POLL_WAIT_S_MAX;

/// What is refused, and with which status.
const BAD: [(&str, u16); 10] = [
    ("/poll", 400),
    ("/poll?wait=0", 400),
    ("/poll?channel=a%20b", 400),
    ("/poll?channel=d&channel=d", 400),
    ("/poll?channel=d&since=x", 400),
    ("/poll?channel=d&since=&since=", 400),
    ("/poll?channel=d&wait=56", 400),
    ("/poll?channel=d&wait=-1", 400),
    ("/poll?channel=d&wait=", 400),
    ("/polls?channel=d", 404),
];
/// Messages that need a connection that lasts, and one that is none.
const ALONE: [(&str, &str); 4] = [
    (r#"{"type":"subscribe","channel":"d"}"#, "bad_request"),
    (r#"{"type":"unsubscribe","channel":"d"}"#, "bad_request"),
    (r#"{"type":"visibility","state":"hidden"}"#, "bad_request"),
    ("", "bad_json"),
];

impl Client {
    /// Asks the first thing.
    pub(crate) fn begin_to_poll(&mut self, returns: bool, rng: &mut Rng, scene: &mut Scene<'_>) {
        let wanted = self.choose(returns, true, 1, rng, scene);
        self.way = Way::Poll(Poll::new(wanted.iter().map(|(channel, _)| *channel).collect()));
        if returns || rng.bool() {
            let closes = rng.u8(..6) == 0;
            self.ask_to_be_told(wanted, draw_wait(rng), closes, rng, scene);
        } else {
            self.ask_one_thing(rng, scene);
        }
    }

    pub(crate) fn act_between_polls(&mut self, faults: &Faults, rng: &mut Rng, scene: &mut Scene<'_>) {
        let Way::Poll(poll) = &self.way else { unreachable!("one that polls") };
        let behind = poll.is_waiting();
        if !self.can_ask() || (behind && rng.u8(..12) > 0) {
            return;
        }
        if faults.garbage.hit(rng) {
            let noise: Vec<u8> = (0..rng.usize(1..60)).map(|_| rng.u8(..)).collect();
            say(|| format!("    client {} makes noise", self.serial));
            self.manners.wild = true;
            return self.pipe.borrow_mut().send(&noise);
        }
        if faults.bulk.hit(rng) || (scene.tight_rate && rng.u8(..10) == 0) {
            self.ask_much(rng, scene);
        } else if rng.u8(..40) == 0 {
            self.end();
        } else {
            self.ask_one_thing(rng, scene);
        }
    }

    /// One request behind the other, without a look at the answers.
    fn ask_much(&mut self, rng: &mut Rng, scene: &Scene<'_>) {
        count("requests one behind the other");
        for _ in 0..rng.usize(2..500) {
            let text = self.request(Kind::Ping, None, scene.truth);
            let request = Request { plain: true, ..Request::post(text) };
            self.send_request(&request, What::Call, rng, scene);
        }
    }

    fn ask_one_thing(&mut self, rng: &mut Rng, scene: &mut Scene<'_>) {
        let channel = rng.usize(..scene.truth.names.len());
        match rng.u8(..24) {
            0..12 => self.poll_some(rng, scene),
            12..17 => {
                let padding = draw_padding(rng, scene.limits.message_bytes_max - 500);
                let number = scene.truth.publish(channel, padding);
                self.call_about(Kind::Publish(number), channel, rng, scene);
            }
            17..19 => self.call_about(Kind::Presence, channel, rng, scene),
            19 => self.call(Kind::Ping, rng, scene),
            20 => self.call_as_large_as_may_be(rng, scene),
            21 => {
                let (text, code) = pick(rng, &ALONE);
                self.book.ask(None, None, Kind::Nonsense(code), scene.truth);
                self.say_by_request(text.to_owned(), rng, scene);
            }
            22 => {
                let mut request = Request { method: "OPTIONS", ..Request::get("/poll".to_owned()) };
                request.headers.push(("Origin", "http://node:8080".to_owned()));
                self.send_request(&request, What::Preflight, rng, scene);
            }
            _ => {
                let (request, status) = bad_request(scene, rng);
                self.send_request(&request, What::Bad(status), rng, scene);
            }
        }
    }

    /// Polls some of its channels, each from where it is or says that it is.
    fn poll_some(&mut self, rng: &mut Rng, scene: &Scene<'_>) {
        let Way::Poll(poll) = &self.way else { unreachable!("one that polls") };
        let mut channels = poll.channels.clone();
        rng.shuffle(&mut channels);
        channels.truncate(rng.usize(1..=channels.len()));
        let from_the_head = rng.u8(..10) == 0;
        let since = |channel| (channel, self.since(channel, rng).filter(|_| !from_the_head));
        let wanted: Vec<Wanted> = channels.into_iter().map(since).collect();
        let closes = rng.u8(..6) == 0;
        self.ask_to_be_told(wanted, draw_wait(rng), closes, rng, scene);
    }

    fn call(&mut self, kind: Kind, rng: &mut Rng, scene: &Scene<'_>) {
        let text = self.request(kind, None, scene.truth);
        self.say_by_request(text, rng, scene);
    }

    fn call_about(&mut self, kind: Kind, channel: usize, rng: &mut Rng, scene: &Scene<'_>) {
        let text = self.request(kind, Some(channel), scene.truth);
        self.say_by_request(text, rng, scene);
    }

    /// A message of exactly as many bytes as it may have.
    fn call_as_large_as_may_be(&mut self, rng: &mut Rng, scene: &Scene<'_>) {
        let mut text = self.request(Kind::Ping, None, scene.truth);
        text += &" ".repeat(scene.limits.message_bytes_max - text.len());
        self.say_by_request(text, rng, scene);
    }

    fn say_by_request(&mut self, text: String, rng: &mut Rng, scene: &Scene<'_>) {
        self.send_request(&Request::post(text), What::Call, rng, scene);
    }
}

fn draw_wait(rng: &mut Rng) -> Option<u64> {
    pick(rng, &[None, Some(0), Some(0), Some(1), Some(5), Some(POLL_WAIT_S_MAX)])
}

fn bad_request(scene: &Scene<'_>, rng: &mut Rng) -> (Request, u16) {
    let limits = scene.limits;
    let good = Request::get("/poll?channel=d".to_owned());
    match rng.u8(..11) {
        0 => (Request { method: "PUT", ..good }, 405),
        1 => (Request { body: Some("{}".to_owned()), ..good }, 400),
        2 => (Request { headers: vec![("Origin", "http://elsewhere".to_owned())], ..good }, 403),
        3 | 10 => {
            let text = vec![("Content-Type", "text/plain".to_owned())];
            (Request { headers: text, ..Request::post("{}".to_owned()) }, 415)
        }
        4 | 5 => (Request::post(" ".repeat(limits.message_bytes_max + 1)), 413),
        6 => {
            let names = (0..=limits.channels_per_conn_max).map(|name| format!("x{name}"));
            let names: Vec<String> = names.collect();
            (Request::get(format!("/poll?channel={}", names.join("&channel="))), 400)
        }
        _ => {
            let (target, status) = pick(rng, &BAD);
            (Request::get(target.to_owned()), status)
        }
    }
}
