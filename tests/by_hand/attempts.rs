//! A publisher tries again. The owner of a channel is driven by hand through its public verbs, in virtual time; another
//! shard follows the channel, and what it is sent is what its clients get.

use crate::line::Line;
use crate::settings;
use roost::clock::Now;
use roost::conn::subscriptions::{ChannelId, Subscription};
use roost::dialect::cursor::Cursor;
use roost::hub::ShardId;
use roost::limits::Limits;
use roost::shard::mail::{ConnKey, Mail, Parcel, Publisher, Report};
use roost::shard::{Next, Settings, Shard};

const MINUTES_5_MS: u64 = 300_000;

/// The owner of all channels, and what it has sent to the shard that follows channel `a`.
struct Owner {
    shard: Shard<Line>,
    now_ms: u64,
    next: Next,
    delivered: Vec<u64>,
}

impl Owner {
    fn new(limits: Limits) -> Self {
        let shard = Shard::new(Settings { limits, own_seed: 1, ..settings(0, 1) });
        let mut owner = Self { shard, now_ms: 1_000, next: Next::Idle, delivered: Vec::new() };
        let conn = ConnKey { shard: ShardId(1), slot: 0, generation: 0 };
        let subscription = Subscription::joining(ChannelId(0), 0);
        owner.mail(Mail::Join { conn, subscription, name: "a".into(), since: None, id: None });
        owner
    }

    fn mail(&mut self, mail: Mail) -> Option<Cursor> {
        let now = Now { mono_ms: self.now_ms, wall_ms: 0 };
        self.shard.mail(now, mail);
        self.next = self.shard.turn(now);
        let mut told = None;
        for parcel in self.shard.parcels() {
            match parcel {
                Parcel::Control(Report::Published { outcome, .. }) => told = outcome.ok(),
                Parcel::Shard(_, Mail::Publication(publication)) => self.delivered.push(publication.offset),
                Parcel::Control(_) | Parcel::Shard(..) | Parcel::Broker(_) => {}
            }
        }
        told
    }

    /// What the API is told of a publication.
    fn publish(&mut self, channel: &str, id: Option<&str>) -> Cursor {
        let publisher = Publisher::Call { ticket: 1, index: 0, id: id.map(Into::into) };
        self.mail(Mail::Publish { name: channel.into(), data: "1".into(), key: None, publisher })
            .expect("an outcome")
    }

    /// Time passes, with a turn at each moment that the shard asked for.
    fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Next::At(at_ms) = self.next
            && at_ms <= end_ms
        {
            assert!(at_ms > self.now_ms, "a quiet shard has no peace");
            self.now_ms = at_ms;
            self.next = self.shard.turn(Now { mono_ms: at_ms, wall_ms: 0 });
        }
        self.now_ms = end_ms;
    }
}

#[test]
fn the_same_id_within_five_minutes_is_answered_with_the_first_cursor_and_delivered_once() {
    let mut owner = Owner::new(Limits::default());
    let first = owner.publish("a", Some("x"));
    let other = owner.publish("a", None);
    assert_eq!((first.offset, other.offset), (1, 2));
    for _ in 0..3 {
        owner.pass(MINUTES_5_MS / 3 - 1);
        assert_eq!(owner.publish("a", Some("x")), first);
    }
    assert_eq!(owner.delivered, [1, 2]);
    let counters = owner.shard.counters();
    assert_eq!((counters.published, counters.repeated, counters.ids), (2, 3, 1));
    assert_eq!(owner.publish("b", Some("x")).offset, 1, "another channel has its own");
}

#[test]
fn after_five_minutes_it_is_a_new_publication() {
    let mut owner = Owner::new(Limits::default());
    let first = owner.publish("a", Some("x"));
    owner.pass(MINUTES_5_MS);
    let second = owner.publish("a", Some("x"));
    assert_eq!((first.epoch, first.offset + 1), (second.epoch, second.offset));
    assert_eq!(owner.delivered, [1, 2]);
    assert_eq!(owner.publish("a", Some("x")), second);
}

#[test]
fn a_channel_that_nobody_follows_is_numbered_on_for_as_long_as_its_publisher_may_try_again() {
    let mut owner = Owner::new(Limits::default());
    let first = owner.publish("b", Some("x"));
    owner.pass(MINUTES_5_MS - 100);
    assert_eq!(owner.publish("b", Some("x")), first, "although its history is long forgotten");
    owner.pass(200);
    let counters = owner.shard.counters();
    assert_eq!((counters.ids, counters.channels_owned), (0, 1), "all but the one that is followed");
    assert_ne!(owner.publish("b", Some("x")).epoch, first.epoch);
}

#[test]
fn where_there_is_no_room_the_oldest_id_is_forgotten_and_counted() {
    let mut owner = Owner::new(Limits { publish_ids: 2, ..Limits::default() });
    for id in ["x", "y", "z"] {
        owner.publish("a", Some(id));
    }
    assert_eq!((owner.publish("a", Some("z")).offset, owner.publish("a", Some("y")).offset), (3, 2));
    assert_eq!(owner.publish("a", Some("x")).offset, 4);
    let counters = owner.shard.counters();
    assert_eq!((counters.ids, counters.ids_evicted, counters.repeated), (2, 2, 2));
}
