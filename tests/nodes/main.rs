//! Several nodes that share their channels through a broker, with seeded faults: real shards, clients that keep book, and a broker that
//! loses its data, its links and its patience. `NODES_SEED=N cargo test --test nodes` runs one world.

mod client;
#[path = "../by_hand/line.rs"]
mod line;
mod redis;
mod world;

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
