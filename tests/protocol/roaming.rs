//! One client, three transports: it loses its WebSocket, goes on over a stream of events, then polls, then comes back. The
//! cursors of the last way are all that the next one knows.

use serde_json::{Value, json};

use crate::fallback::{Poller, Stream, epoch};
use crate::node::Node;
use crate::publisher::Publisher;

const CHANNELS: [&str; 4] = ["chat:a", "chat:b", "chat:c", "chat:d"];
const CLIENTS: u64 = 4;
/// How often each of them changes its transport, or connects anew over the same.
const SWITCHES: u64 = 120;
/// Publications a second, to each channel.
const RATE: u64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    WebSocket,
    Events,
    Poll,
}

/// A client that never leaves in an orderly way, and drops nothing of what it hears: a message that came twice would be there
/// twice.
struct Roamer {
    /// Up to where it has everything of each channel, in the words of whatever it was connected by.
    cursors: [Option<String>; CHANNELS.len()],
    /// The offset that it began behind.
    first: [u64; CHANNELS.len()],
    heard: [Vec<u64>; CHANNELS.len()],
    rng: fastrand::Rng,
}

impl Roamer {
    fn new(seed: u64) -> Self {
        let (cursors, first, heard) = Default::default();
        Self { cursors, first, heard, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Channels in another order each time, and where each is gone on with.
    fn query(&mut self) -> (Vec<usize>, String) {
        let mut order: Vec<usize> = (0..CHANNELS.len()).collect();
        self.rng.shuffle(&mut order);
        let since = |&channel: &usize| self.cursors[channel].as_deref().unwrap_or_default();
        let pairs: Vec<String> = order
            .iter()
            .map(|channel| format!("channel={}&since={}", CHANNELS[*channel], since(channel)))
            .collect();
        (order, pairs.join("&"))
    }

    /// It is told a place: the first one is where it begins, the others are behind what it has heard.
    fn stands(&mut self, channel: usize, cursor: &str) {
        let offset = cursor.split_once('-').unwrap().1.parse().unwrap();
        if self.cursors[channel].replace(cursor.to_owned()).is_none() {
            self.first[channel] = offset;
        }
        let has = self.heard[channel].last().copied().unwrap_or(self.first[channel]);
        assert_eq!(offset, has, "{} is said to be at {cursor}", CHANNELS[channel]);
    }

    /// Notes a notification; nothing else may come. Returns its channel.
    fn note(&mut self, message: &Value) -> usize {
        assert_eq!(message["type"], "notification", "{message}");
        assert_eq!(message["offset"], message["data"], "{message}");
        let channel = CHANNELS.iter().position(|name| message["channel"] == *name).unwrap();
        self.heard[channel].push(message["offset"].as_u64().unwrap());
        channel
    }

    /// One connection, which is cut after some messages.
    fn visit(&mut self, node: &Node, transport: Transport) {
        let count = self.rng.usize(0..80);
        match transport {
            Transport::WebSocket => self.by_websocket(node, count),
            Transport::Events => self.by_events(node, count),
            Transport::Poll => self.by_polls(node, count),
        }
    }

    fn by_websocket(&mut self, node: &Node, mut count: usize) {
        let (_, query) = self.query();
        let mut client = node.client_at(&format!("/live?{query}"), None);
        let mut answers = 0;
        while answers < CHANNELS.len() || count > 0 {
            let message = client.hear();
            if message["type"] == "subscribed" {
                answers += 1;
                assert_ne!(message["recovered"], false, "{message}");
                let channel = CHANNELS.iter().position(|name| message["channel"] == *name).unwrap();
                if self.cursors[channel].is_none() {
                    self.stands(channel, message["cursor"].as_str().unwrap());
                }
                continue;
            }
            let channel = self.note(&message);
            let epoch = epoch(self.cursors[channel].as_ref().unwrap()).to_owned();
            self.stands(channel, &format!("{epoch}-{}", message["offset"]));
            count = count.saturating_sub(1);
        }
    }

    fn by_events(&mut self, node: &Node, count: usize) {
        let (order, query) = self.query();
        let all: Option<Vec<&str>> = order.iter().map(|channel| self.cursors[*channel].as_deref()).collect();
        let mut stream = match all {
            // As a browser that connects again: the query is the one of long ago.
            Some(all) if self.rng.bool() => {
                let id = format!("Last-Event-ID: {}", all.join(","));
                let old: Vec<String> = order
                    .iter()
                    .map(|channel| format!("channel={}&since=old-7", CHANNELS[*channel]))
                    .collect();
                node.stream_with(&old.join("&"), &[&id])
            }
            Some(_) | None => node.stream(&query),
        };
        self.stand_all(&order, &stream);
        for _ in 0..count {
            let event = stream.event();
            self.note(&event.data);
            self.stand_all(&order, &stream);
        }
    }

    fn stand_all(&mut self, order: &[usize], stream: &Stream) {
        assert_eq!(stream.places().len(), order.len());
        order.iter().zip(stream.places()).for_each(|(channel, place)| self.stands(*channel, place));
    }

    fn by_polls(&mut self, node: &Node, count: usize) {
        let mut poller = node.poller();
        let mut left = count;
        while left > 0 {
            left = left.saturating_sub(self.poll(&mut poller).max(1));
        }
        if self.rng.bool() {
            // It is cut while it waits: whatever the answer was, nobody has heard it.
            let (_, query) = self.query();
            poller.begin(&query);
        }
    }

    /// One poll; returns how many messages it was answered with.
    fn poll(&mut self, poller: &mut Poller) -> usize {
        let (_, query) = self.query();
        let wait = self.rng.choice([0, 1, 25, 55]).unwrap();
        let (messages, cursors) = poller.poll(&format!("{query}&wait={wait}"));
        messages.iter().for_each(|message| _ = self.note(message));
        assert_eq!(cursors.as_object().unwrap().len(), CHANNELS.len());
        for (channel, name) in CHANNELS.iter().enumerate() {
            self.stands(channel, cursors[name].as_str().unwrap());
        }
        messages.len()
    }
}

#[test]
fn clients_that_change_their_transport_480_times_while_messages_are_published_have_each_exactly_once() {
    let node = Node::start(&["--shards", "3", "--history", "20000"]);
    let publisher = Publisher::start(&node, &CHANNELS, RATE);
    let mut roamers: Vec<Roamer> = (0..CLIENTS).map(Roamer::new).collect();
    let mut rng = fastrand::Rng::with_seed(99);
    let mut visits = [0; 3];
    // While one is there, the others miss what is published.
    for switch in 0..SWITCHES {
        for roamer in &mut roamers {
            let choice = rng.usize(0..3);
            visits[choice] += 1;
            let transport = [Transport::WebSocket, Transport::Events, Transport::Poll][choice];
            let visit = std::panic::AssertUnwindSafe(|| roamer.visit(&node, transport));
            if std::panic::catch_unwind(visit).is_err() {
                panic!("switch {switch}, by {transport:?}, from {:?}", roamer.cursors);
            }
        }
    }
    let published = publisher.stop();
    for (client, roamer) in roamers.iter_mut().enumerate() {
        let mut poller = node.poller();
        let has_all = |roamer: &Roamer| {
            let end = format!("-{published}");
            roamer.cursors.iter().flatten().all(|cursor| cursor.ends_with(&end))
        };
        while !has_all(roamer) {
            roamer.poll(&mut poller);
        }
        for (channel, heard) in roamer.heard.iter().enumerate() {
            let each_once: Vec<u64> = (roamer.first[channel] + 1..=published).collect();
            assert_eq!(*heard, each_once, "client {client} in {}", CHANNELS[channel]);
            assert!(heard.len() > 100, "client {client} heard {} of {published}", heard.len());
        }
    }
    assert!(visits.iter().all(|&count| count > 100), "{visits:?}");
    assert_eq!((node.metric("roost_gaps_total"), node.metric("roost_panics_total")), (0, 0));
    assert!(node.metric("roost_replayed_total") > CLIENTS * SWITCHES, "hardly anything was missed");
    drop(roamers);
    node.await_metric("roost_connections", 0);
    assert_eq!((node.metric("roost_clients"), node.metric("roost_subscriptions")), (0, 0));
    node.end();
}

#[test]
fn what_one_transport_said_of_a_place_the_others_understand() {
    let node = Node::start(&["--shards", "2"]);
    let from_poll = node.poller().cursor("a");
    let from_stream = node.stream("channel=a").last_id;
    let from_websocket = node.client().subscribe("a");
    assert!(from_poll == from_stream && from_stream == from_websocket);
    node.publish("a", &1.into());
    for since in [from_poll, from_stream, from_websocket] {
        let (messages, _) = node.poller().poll(&format!("channel=a&since={since}"));
        assert_eq!(messages[0]["offset"], 1);
        assert_eq!(node.stream(&format!("channel=a&since={since}")).hear("a"), 1);
        let mut client = node.client();
        let answer = client.ask(json!({ "type": "subscribe", "channel": "a", "since": since }));
        assert_eq!(answer["recovered"], true);
        assert_eq!(client.hear()["offset"], 1);
    }
    node.end();
}
