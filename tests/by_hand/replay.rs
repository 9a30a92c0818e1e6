//! A client gets a long past page by page. Two shards are driven by hand through their public verbs, so that mail arrives
//! exactly when it must.

use crate::line::{Line, behind_head, messages};
use crate::{NOW, READY, settings};
use roost::dialect::cursor::Cursor;
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::limits::Limits;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Publisher, Report};
use roost::shard::{Settings, Shard};
use serde_json::{Value, json};

/// Publications of each channel: as many as a policy keeps, and more than go into one page.
const COUNT: u64 = 32;

impl Line {
    /// What the client has heard so far, as (channel, type, offset).
    fn heard(&self) -> Vec<(String, String, u64)> {
        let got = &self.0.borrow().got;
        let (messages, begun) = messages(behind_head(got).expect("a 101"));
        assert!(begun.is_empty(), "it takes whole frames");
        let heard = messages.iter().map(|message| {
            let text = |member: &str| message[member].as_str().unwrap_or_default().to_owned();
            (text("channel"), text("type"), message["offset"].as_u64().unwrap_or_default())
        });
        heard.collect()
    }

    /// The offsets of a channel's notifications, in order.
    fn offsets(&self, channel: &str) -> Vec<u64> {
        let of = |(name, kind, offset)| (name == channel && kind == "notification").then_some(offset);
        self.heard().into_iter().filter_map(of).collect()
    }
}

/// Shard 0 has the client, shard 1 owns its channels. What they send to each other waits until it is carried.
struct Pair {
    shards: [Shard<Line>; 2],
    channels: Vec<String>,
    sinces: Vec<Cursor>,
}

impl Pair {
    /// So many channels with a past.
    fn new(count: usize) -> Self {
        Self::with(count, &Limits::default())
    }

    fn with(count: usize, limits: &Limits) -> Self {
        let names = Names::new(1);
        let shard = |id| Shard::new(Settings { limits: limits.clone(), ..settings(id, 2) });
        let all = (0..).map(|number| format!("c{number}"));
        let channels = all.filter(|name| names.owner(name, 2) == ShardId(1)).take(count).collect();
        let mut pair = Self { shards: [shard(0), shard(1)], channels, sinces: Vec::new() };
        pair.sinces = pair.channels.clone().iter().map(|channel| pair.publish(channel, COUNT)).collect();
        pair
    }

    /// Publishes 2 KB to a channel so many times; returns the cursor of its beginning.
    fn publish(&mut self, channel: &str, count: u64) -> Cursor {
        let data = json!("x".repeat(2_000)).to_string();
        for _ in 0..count {
            let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
            let mail =
                Mail::Publish { name: channel.into(), data: data.as_str().into(), key: None, publisher };
            self.shards[1].mail(NOW, mail);
        }
        let mut reports = self.shards[1].parcels().filter_map(|parcel| match parcel {
            Parcel::Control(Report::Published { outcome, .. }) => outcome.ok(),
            Parcel::Control(_) | Parcel::Shard(..) | Parcel::Broker(_) => None,
        });
        Cursor { offset: 0, ..reports.next_back().expect("an outcome") }
    }

    /// A client comes back to all channels.
    fn come_back(&mut self) -> (Token, Line) {
        let pairs = self.channels.iter().zip(&self.sinces);
        let query: Vec<String> =
            pairs.map(|(channel, since)| format!("channel={channel}&since={since}")).collect();
        let line = Line::asking_for(&format!("/live?{}", query.join("&")));
        let token = self.shards[0].insert(NOW, line.clone()).expect("there is room");
        self.shards[0].ready(NOW, token, READY);
        (token, line)
    }

    fn say(&mut self, token: Token, line: &Line, message: &Value) {
        line.send(message);
        self.shards[0].ready(NOW, token, READY);
    }

    fn turn(&mut self, shard: usize) -> Vec<Mail> {
        self.shards[shard].turn(NOW);
        let to_shard = |parcel| match parcel {
            Parcel::Shard(_, mail) => Some(mail),
            Parcel::Control(_) | Parcel::Broker(_) => None,
        };
        self.shards[shard].parcels().filter_map(to_shard).collect()
    }

    /// Mail arrives, and what follows from it comes back.
    fn carry(&mut self, shard: usize, mail: Vec<Mail>) -> Vec<Mail> {
        mail.into_iter().for_each(|mail| self.shards[shard].mail(NOW, mail));
        self.turn(shard)
    }

    /// Carries mail to and fro until there is none.
    fn settle(&mut self, mut to_owner: Vec<Mail>) {
        while !to_owner.is_empty() {
            let to_client = self.carry(1, to_owner);
            to_owner = self.carry(0, to_client);
        }
    }
}

#[test]
fn short_pasts_come_in_one_write_with_the_101() {
    let mut pair = Pair::new(3);
    pair.sinces.iter_mut().for_each(|since| since.offset = COUNT - 2);
    let (_, line) = pair.come_back();
    let joins = pair.turn(0);
    pair.settle(joins);
    for channel in &pair.channels {
        assert_eq!(line.offsets(channel), [COUNT - 1, COUNT]);
    }
    assert_eq!(line.0.borrow().writes, 1);
}

#[test]
fn long_pasts_of_several_channels_come_in_turns() {
    let mut pair = Pair::new(3);
    let (_, line) = pair.come_back();
    let joins = pair.turn(0);
    pair.settle(joins);
    for channel in &pair.channels {
        assert_eq!(line.offsets(channel), (1..=COUNT).collect::<Vec<_>>(), "{channel}");
    }
    let heard = line.heard();
    let place = |channel: &str, offset| {
        let mut places = heard.iter();
        places.position(|(name, _, at)| name == channel && *at == offset).expect("heard")
    };
    let ends = pair.channels.iter().map(|channel| place(channel, COUNT)).min().unwrap();
    let middles = pair.channels.iter().map(|channel| place(channel, COUNT / 2)).max().unwrap();
    assert!(middles < ends, "one had everything before another had half of it");
}

#[test]
fn a_page_of_a_channel_that_was_given_up_meanwhile_is_for_nobody() {
    let mut pair = Pair::new(2);
    let (token, line) = pair.come_back();
    let joins = pair.turn(0);
    let joined = pair.carry(1, joins);
    // The next page of the first channel is on its way when the client gives that channel up.
    let asked = pair.carry(0, joined);
    assert!(matches!(asked[..], [Mail::Replay { .. }]), "{asked:?}");
    let late = pair.carry(1, asked);
    let [first, second] = [pair.channels[0].clone(), pair.channels[1].clone()];
    let had = line.offsets(&first).len();
    pair.say(token, &line, &json!({ "type": "unsubscribe", "channel": first }));
    let asked = pair.turn(0);
    assert!(asked.iter().any(|mail| matches!(mail, Mail::Replay { .. })), "the other one goes on: {asked:?}");
    let more = pair.carry(0, late);
    pair.settle(asked.into_iter().chain(more).collect());
    assert_eq!(line.offsets(&first).len(), had, "a channel that it does not follow");
    assert_eq!(line.offsets(&second), (1..=COUNT).collect::<Vec<_>>());
}

#[test]
fn what_is_published_meanwhile_comes_behind_the_past_and_once() {
    let mut pair = Pair::new(1);
    let (_, line) = pair.come_back();
    let channel = pair.channels[0].clone();
    let mut to_owner = pair.turn(0);
    // At every step of the replay something more is published, and arrives before the step's own answer.
    for _ in 0..3 {
        for mail in to_owner {
            pair.shards[1].mail(NOW, mail);
        }
        let data = "1".into();
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        pair.shards[1].mail(NOW, Mail::Publish { name: channel.as_str().into(), data, key: None, publisher });
        let to_client = pair.turn(1);
        to_owner = pair.carry(0, to_client);
    }
    pair.settle(to_owner);
    assert_eq!(line.offsets(&channel), (1..=COUNT + 3).collect::<Vec<_>>());
}

#[test]
fn a_gap_before_a_page_takes_nothing_from_it_however_small_queues_may_be() {
    let mut pair = Pair::with(1, &Limits { queue_soft_bytes: 100, ..Limits::default() });
    let (_, line) = pair.come_back();
    let channel = pair.channels[0].clone();
    let joins = pair.turn(0);
    let joined = pair.carry(1, joins);
    let asked = pair.carry(0, joined);
    // Half of what was missed is forgotten before the next page is asked for.
    pair.publish(&channel, COUNT / 2);
    let to_client = pair.carry(1, asked);
    let asked = pair.carry(0, to_client);
    pair.settle(asked);
    assert!(line.heard().iter().any(|(_, kind, _)| kind == "gap"));
    assert_eq!(line.offsets(&channel), (COUNT / 2 + 1..=COUNT * 3 / 2).collect::<Vec<_>>());
}
