//! One test for each fault that was found, named for its symptom. Shards are driven by hand through their public verbs.

use crate::line::Line;
use crate::{ENDED, NOW, READY, settings};
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::shard::Shard;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Publisher};

impl Line {
    fn has_got(&self, text: &str) -> bool {
        self.0.borrow().got.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Two shards. What they send to each other waits until it is carried.
struct Pair {
    shards: [Shard<Line>; 2],
    names: Names,
}

impl Pair {
    fn new() -> Self {
        let names = Names::new(1);
        let shard = |id| Shard::new(settings(id, 2));
        Self { shards: [shard(0), shard(1)], names }
    }

    /// So many channels that a shard owns.
    fn channels(&self, owner: u16, count: usize) -> Vec<String> {
        let all = (0..).map(|number| format!("c{number}"));
        all.filter(|name| self.names.owner(name, 2) == ShardId(owner)).take(count).collect()
    }

    /// A client of shard 0 asks for these channels in its upgrade.
    fn connect(&mut self, channels: &[String]) -> (Token, Line) {
        let line = Line::asking_for(&format!("/live?channel={}", channels.join("&channel=")));
        let token = self.shards[0].insert(NOW, line.clone()).expect("there is room");
        self.shards[0].ready(NOW, token, READY);
        (token, line)
    }

    /// A client ends its side.
    fn end(&mut self, token: Token, line: &Line) {
        line.0.borrow_mut().ended = true;
        self.shards[0].ready(NOW, token, ENDED);
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

    /// What shard 1 sends when somebody publishes to channels that it owns.
    fn publish(&mut self, channels: &[String], data: &str) -> Vec<Mail> {
        let publisher = |index| Publisher::Call { ticket: 1, index, id: None };
        let mail = channels.iter().zip(0..).map(|(channel, index)| Mail::Publish {
            name: channel.as_str().into(),
            data: data.into(),
            key: None,
            publisher: publisher(index),
        });
        let mail = mail.collect();
        self.carry(1, mail)
    }
}

#[test]
fn a_channel_is_not_mute_after_everyone_of_a_shard_left_in_the_middle_of_its_passes() {
    let mut pair = Pair::new();
    let channels = pair.channels(1, 6);
    // More deliveries than one turn makes, and fewer connections than one turn frees.
    let crowd: Vec<_> = (0..60).map(|_| pair.connect(&channels)).collect();
    let joins = pair.turn(0);
    let joined = pair.carry(1, joins);
    pair.carry(0, joined);

    // One more client's join of the last channel is under way, which keeps that channel alive.
    let (late, line) = pair.connect(&channels[5..]);
    let late_join = pair.turn(0);
    let publications = pair.publish(&channels, "1");
    for mail in publications {
        pair.shards[0].mail(NOW, mail);
    }
    crowd.iter().for_each(|(token, line)| pair.end(*token, line));
    pair.end(late, &line);
    let leaves = pair.turn(0);
    assert_eq!(pair.shards[0].counters().connections, 0);

    let (_, newcomer) = pair.connect(&channels[5..]);
    let new_join = pair.turn(0);
    let joined = pair.carry(1, late_join.into_iter().chain(leaves).chain(new_join).collect());
    pair.carry(0, joined);
    assert!(newcomer.has_got("subscribed"));
    let publications = pair.publish(&channels[5..], r#""for the newcomer""#);
    pair.carry(0, publications);
    assert!(newcomer.has_got("for the newcomer"), "nobody ever gets anything of this channel again");
}
