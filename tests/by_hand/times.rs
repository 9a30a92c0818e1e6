//! What turns and passes took, as whoever drives a shard has measured it.

use crate::line::Line;
use crate::{NOW, READY, settings};
use roost::clock::Now;
use roost::shard::mail::{Mail, Publisher};
use roost::shard::{Next, Shard};

const TURN_US: u64 = 400;
const FOLLOWERS: usize = 300;

fn after(ms: u64) -> Now {
    Now { mono_ms: NOW.mono_ms + ms, ..NOW }
}

/// One shard with a large and a small channel.
fn shard() -> Shard<Line> {
    let mut shard = Shard::new(settings(0, 1));
    for number in 0..=FOLLOWERS {
        let channel = if number < FOLLOWERS { "large" } else { "small" };
        let line = Line::asking_for(&format!("/live?channel={channel}"));
        line.0.borrow_mut().room = usize::MAX;
        let token = shard.insert(NOW, line).expect("there is room");
        shard.ready(NOW, token, READY);
        while shard.turn(NOW) == Next::Now {}
    }
    shard.parcels().for_each(drop);
    shard
}

#[test]
fn a_pass_takes_from_its_publication_to_the_end_of_the_turn_of_its_last_write() {
    let mut shard = shard();
    for channel in ["large", "small"] {
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        shard.mail(NOW, Mail::Publish { name: channel.into(), data: "1".into(), key: None, publisher });
    }
    // A turn begins every ten milliseconds.
    let mut turns = 0;
    let mut expected_us = 0;
    let mut passes = 0;
    while passes < 2 {
        let began_ms = 10 * turns;
        shard.turn(after(began_ms));
        shard.count_turn(after(began_ms), TURN_US);
        let ended = shard.counters().passes - passes;
        expected_us += ended * (began_ms * 1000 + TURN_US);
        (passes, turns) = (passes + ended, turns + 1);
    }
    assert!(turns > 3, "the large pass was over after {turns} turns");
    let counters = shard.counters();
    assert_eq!(counters.pass_times.count(), 2);
    assert!((counters.pass_times.sum_s() - expected_us as f64 / 1e6).abs() < 1e-9, "{counters:?}");
    assert_eq!(counters.turn_times.count(), turns);
    // Nothing has ended since.
    shard.turn(after(1_000));
    shard.count_turn(after(1_000), TURN_US);
    assert_eq!(shard.counters().pass_times.count(), 2);
}

#[test]
fn who_drives_a_shard_and_measures_nothing_costs_it_nothing() {
    let mut shard = shard();
    let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
    shard.mail(NOW, Mail::Publish { name: "small".into(), data: "1".into(), key: None, publisher });
    while shard.turn(NOW) == Next::Now {}
    assert_eq!((shard.counters().passes, shard.counters().pass_times.count()), (1, 0));
    // Told of late, it is of another turn.
    shard.turn(after(5));
    shard.count_turn(after(5), TURN_US);
    assert_eq!(shard.counters().pass_times.count(), 0);
}
