//! A whole node in one thread, with seeded faults: shards on simulated sockets, clients decoded by tungstenite, mail
//! that waits. `SIM_SEED=7 cargo test --test sim` replays one world and prints what happened in it.

mod client;
mod faults;
mod socket;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Worlds in the ordinary run; each has faults, clients and shards of its own.
const SEEDS: u64 = 300;
/// Steps of a world before its faults stop.
const STEPS: usize = 3_000;
/// Seeds that found a fault once. They run for ever.
const FOUND: [u64; 0] = [];

/// Runs a world to its end; returns the hash of all that it said.
fn run(seed: u64, trace: bool) -> u64 {
    let mut world = World::new(seed, trace);
    for _ in 0..STEPS {
        world.step();
    }
    world.finish()
}

fn named(seed: u64) -> u64 {
    match catch_unwind(AssertUnwindSafe(|| run(seed, false))) {
        Ok(hash) => hash,
        Err(_) => panic!("seed {seed} failed; replay it with SIM_SEED={seed} cargo test --test sim"),
    }
}

#[test]
fn every_world_keeps_its_promises() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok()) {
        run(seed, true);
        return;
    }
    let more = std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in (0..more).chain(FOUND) {
        named(seed);
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..10 {
        assert_eq!(named(seed), named(seed), "seed {seed}");
    }
}
