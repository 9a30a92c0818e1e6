//! The node has more queued than it may. One shard is driven by hand through its public verbs, with clients that read exactly
//! as much as a test lets them.

use crate::line::Line;
use crate::{NOW, READY, settings};
use roost::disconnect::{Bound, Disconnect};
use roost::hub::ShardId;
use roost::limits::{CUT_BUDGET, Limits, QUEUE_CHUNK_BYTES};
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Publisher};
use roost::shard::{Next, Settings, Shard};

/// Data bytes of a publication, and the least that it weighs in a queue.
const DATA_BYTES: usize = 1_000;
const WEIGHT: usize = DATA_BYTES + QUEUE_CHUNK_BYTES;

/// One shard of a node with so many, and clients that read nothing behind their `subscribed`.
struct Edge {
    shard: Shard<Line>,
    clients: Vec<(Token, Line)>,
}

impl Edge {
    fn new(shards: u16, queue_total_bytes: usize) -> Self {
        let shard = Shard::new(Settings {
            limits: Limits { queue_total_bytes, ..Limits::default() },
            own_seed: 1,
            ..settings(0, shards)
        });
        Self { shard, clients: Vec::new() }
    }

    /// So many channels that this shard numbers.
    fn channels(&self, count: usize) -> Vec<String> {
        let all = (0..).map(|number| format!("c{number}"));
        all.filter(|name| self.shard.owner(name) == ShardId(0)).take(count).collect()
    }

    fn connect(&mut self, channel: &str) -> usize {
        let line = Line::asking_for(&format!("/live?channel={channel}"));
        let token = self.shard.insert(NOW, line.clone()).expect("there is room");
        self.shard.ready(NOW, token, READY);
        self.shard.turn(NOW);
        let peer = &mut *line.0.borrow_mut();
        assert!(peer.got.ends_with(b"}"), "subscribed");
        (peer.room, peer.got) = (0, Vec::new());
        self.clients.push((token, line.clone()));
        self.clients.len() - 1
    }

    fn publish(&mut self, channel: &str, count: usize, bytes: usize) {
        for _ in 0..count {
            let data = format!("\"{}\"", "x".repeat(bytes)).into();
            let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
            self.shard.mail(NOW, Mail::Publish { name: channel.into(), data, key: None, publisher });
        }
    }

    /// A client has room again; what it has got since it had none.
    fn reads(&mut self, client: usize) -> Vec<u8> {
        let (token, line) = &self.clients[client];
        line.0.borrow_mut().room = usize::MAX;
        self.shard.ready(NOW, *token, READY);
        line.0.borrow().got.clone()
    }

    fn lag(&self, client: usize) -> usize {
        self.shard.queued_to(self.clients[client].0)
    }

    fn cut_for_all(&self) -> u64 {
        let counters = self.shard.counters();
        assert_eq!(
            counters.slow_consumers.iter().sum::<u64>(),
            counters.disconnects.of(Disconnect::SlowConsumer)
        );
        counters.slow_consumers[Bound::Total.index()]
    }
}

/// So many publications are in what was got, and the last is whole.
fn is_whole(got: &[u8], publications: usize) -> bool {
    let kind = br#""type":"notification""#;
    got.windows(kind.len()).filter(|window| window == kind).count() == publications && got.ends_with(b"}")
}

fn is_cut(got: &[u8]) -> bool {
    got.starts_with(&[0x88]) && got[2..4] == 4003u16.to_be_bytes()
}

#[test]
fn the_largest_lags_are_cut_until_the_rest_fits_and_the_others_get_everything() {
    let sizes = [4, 1, 32, 2, 16, 8];
    for (fitting, cut) in [(64, &[][..]), (40, &[2]), (20, &[2, 4]), (7, &[2, 4, 5])] {
        let mut edge = Edge::new(1, fitting * (WEIGHT + 100));
        let channels = edge.channels(sizes.len());
        for (channel, size) in channels.iter().zip(sizes) {
            edge.connect(channel);
            edge.publish(channel, size, DATA_BYTES);
        }
        edge.shard.turn(NOW);
        assert!(edge.shard.queued_bytes() <= fitting * (WEIGHT + 100));
        assert_eq!(edge.cut_for_all(), cut.len() as u64, "of {fitting} that fit");
        for (client, size) in sizes.into_iter().enumerate() {
            let got = edge.reads(client);
            let as_expected = if cut.contains(&client) { is_cut(&got) } else { is_whole(&got, size) };
            assert!(
                as_expected,
                "client {client} with {size}, {fitting} fit: {}",
                String::from_utf8_lossy(&got)
            );
        }
        assert_eq!((edge.shard.queued_bytes(), edge.shard.counters().queues), (0, 0));
    }
}

#[test]
fn the_lags_of_other_shards_count_and_a_shard_within_its_share_cuts_nobody() {
    let mut edge = Edge::new(4, 40 * WEIGHT);
    let channels = edge.channels(3);
    for (channel, size) in channels.iter().zip([3, 6, 12]) {
        edge.connect(channel);
        edge.publish(channel, size, DATA_BYTES);
    }
    edge.shard.set_queued_elsewhere(10 * WEIGHT);
    edge.shard.turn(NOW);
    assert_eq!(edge.cut_for_all(), 0, "it has more than its share, and the node has room");
    edge.shard.set_queued_elsewhere(40 * WEIGHT);
    assert!(edge.shard.is_over_total());
    edge.shard.turn(NOW);
    assert!(!edge.shard.is_over_total());
    assert_eq!((edge.cut_for_all(), edge.lag(2)), (1, 7 + QUEUE_CHUNK_BYTES + 10), "a close frame");
    edge.shard.set_queued_elsewhere(400 * WEIGHT);
    edge.shard.turn(NOW);
    assert_eq!(edge.cut_for_all(), 1, "it has its share, and the others have to cut");
    assert!(is_whole(&edge.reads(0), 3));
    assert!(is_whole(&edge.reads(1), 6));
    assert!(is_cut(&edge.reads(2)));
}

#[test]
fn who_was_cut_and_still_has_more_than_anybody_else_is_ended_at_once() {
    let mut edge = Edge::new(1, 50_000);
    let channels = edge.channels(2);
    for channel in &channels {
        edge.connect(channel);
    }
    // A frame that was begun has to be finished before a close frame may follow.
    edge.clients[0].1.0.borrow_mut().room = 1;
    edge.publish(&channels[0], 1, 60_000);
    edge.publish(&channels[1], 20, DATA_BYTES);
    edge.shard.turn(NOW);
    let counters = edge.shard.counters();
    assert_eq!((edge.cut_for_all(), counters.connections, counters.queues), (1, 1, 1));
    assert!(is_whole(&edge.reads(1), 20));
}

#[test]
fn a_crowd_is_cut_some_a_turn_and_nothing_more_is_queued_meanwhile() {
    let crowd = 4 * CUT_BUDGET;
    let total = crowd * WEIGHT * 5 / 4;
    let mut edge = Edge::new(2, total);
    let channel = &edge.channels(1)[0];
    (0..crowd).for_each(|_| _ = edge.connect(channel));
    let reader = edge.connect(channel);
    edge.reads(reader);
    edge.publish(channel, 1, DATA_BYTES);
    while edge.shard.turn(NOW) == Next::Now {}
    assert_eq!(edge.cut_for_all(), 0, "all of the crowd lag, and all of that fits");
    edge.shard.set_queued_elsewhere(total);
    assert_eq!(edge.shard.turn(NOW), Next::Now);
    assert_eq!(edge.cut_for_all(), CUT_BUDGET as u64);
    edge.publish(channel, 1, DATA_BYTES);
    let delivered = edge.shard.counters().delivered;
    while edge.shard.queued_bytes() > total / 2 {
        assert_eq!(edge.shard.counters().delivered, delivered);
        edge.shard.turn(NOW);
    }
    while edge.shard.turn(NOW) == Next::Now {}
    assert!(edge.shard.queued_bytes() <= total / 2);
    assert!(is_whole(&edge.reads(reader), 2), "whoever reads gets everything");
}

#[test]
fn a_fast_reader_leaves_no_trace_in_the_books() {
    let mut edge = Edge::new(1, 1);
    let channel = &edge.channels(1)[0];
    let reader = edge.connect(channel);
    edge.reads(reader);
    edge.publish(channel, 100, DATA_BYTES);
    edge.shard.turn(NOW);
    let counters = edge.shard.counters();
    assert_eq!((counters.queued_bytes, counters.queues, counters.queue_largest_bytes), (0, 0, 0));
    assert_eq!((counters.delivered, edge.cut_for_all()), (100, 0));
    assert_eq!((counters.passes, counters.pass_publications), (counters.pass_sizes.iter().sum(), 100));
}

#[test]
fn a_queue_that_fills_and_empties_for_ever_is_in_the_books_once_or_not_at_all() {
    let mut edge = Edge::new(1, usize::MAX);
    let channel = &edge.channels(1)[0];
    let client = edge.connect(channel);
    for _ in 0..10_000 {
        edge.clients[client].1.0.borrow_mut().room = 0;
        edge.publish(channel, 2, 10);
        edge.shard.turn(NOW);
        assert_eq!((edge.shard.counters().queues, edge.shard.queued_bytes()), (1, edge.lag(client)));
        edge.reads(client);
        edge.clients[client].1.0.borrow_mut().got.clear();
        assert_eq!((edge.shard.counters().queues, edge.shard.queued_bytes()), (0, 0));
    }
}
