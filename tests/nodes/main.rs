//! Several nodes that share their channels through a broker, with seeded faults: real shards, clients that keep book, and a broker that
//! loses its data, its links and its patience. `NODES_SEED=N cargo test --test nodes` runs one world.

mod client;
#[path = "../by_hand/line.rs"]
mod line;
mod redis;
mod world;

use line::Line;
use roost::clock::Now;
use roost::dialect::cursor::{Cursor, Epoch};
use roost::hub::ShardId;
use roost::hub::broker::{Ask, Told};
use roost::hub::names::Names;
use roost::shard::mail::{ConnKey, Mail, Parcel};
use roost::shard::{Settings, Shard};
use std::sync::Arc;
use world::World;

/// Worlds in a run.
const SEEDS: u64 = 250;
const STEPS: usize = 1_000;

#[test]
fn everyone_has_each_publication_once_or_is_told_of_the_gap_on_whatever_node_it_is() {
    let seeds = match std::env::var("NODES_SEED") {
        Ok(seed) => seed.parse().map(|seed: u64| seed..seed + 1).expect("a number"),
        Err(_) => 0..SEEDS,
    };
    let (mut gaps, mut failed) = (0, Vec::new());
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run(STEPS);
            world.gaps()
        });
        match outcome {
            Ok(count) => gaps += count,
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "NODES_SEED={} and {} more", failed[0], failed.len() - 1);
    assert!(
        seeds.end - seeds.start < SEEDS || gaps > 50,
        "worlds that lose nothing show little: {gaps} gaps"
    );
}

#[test]
fn a_channel_is_given_up_although_somebody_who_is_gone_still_waited_for_its_past() {
    let mut shard = Shard::<Line>::new(Settings { brokered: true, ..Settings::new(0, 1, Names::new(1)) });
    let at = |mono_ms| Now { mono_ms, wall_ms: mono_ms };
    let name: Arc<str> = "a".into();
    let conn = ConnKey { shard: ShardId(0), slot: 3, generation: 7 };
    let since = Cursor { epoch: Epoch(1), offset: 5 };
    shard.mail(at(0), Mail::Replay { conn, serial: 1, name: name.clone(), since });
    // The broker is away, and whoever is in the middle of its past waits for it.
    shard.mail(at(1), Mail::Told(Box::new(Told::Away)));
    shard.mail(at(1), Mail::Told(Box::new(Told::Failed(name))));
    let mut asked = Vec::new();
    for minute in 0..10 {
        shard.turn(at(minute * 60_000));
        asked.extend(shard.parcels().filter_map(|parcel| match parcel {
            Parcel::Broker(ask) => Some(ask),
            Parcel::Shard(..) | Parcel::Control(_) => None,
        }));
    }
    assert!(matches!(&asked[..], [Ask::Follow(_), Ask::Unfollow(_)]), "{asked:?}");
}
