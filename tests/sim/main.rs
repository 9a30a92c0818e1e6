//! A whole node in one thread: shards on simulated sockets, clients that keep book, mail that waits, faults that a seed
//! draws. `README.md` says how to replay a world.

mod answer;
mod asking;
mod attempts;
mod book;
mod budget;
mod calls;
mod client;
mod counted;
mod events;
mod faults;
mod finish;
mod goodbyes;
mod inbox;
mod kick;
mod node;
mod past;
mod places;
mod poll;
mod script;
mod signs;
mod slow;
mod socket;
mod stream;
mod trace;
mod truth;
mod websocket;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use trace::Telling;
use world::World;

/// Worlds in the ordinary run.
const SEEDS: u64 = 600;
/// What the ordinary run must show, and how often at least.
const SHOWN: &[&str] = &[
    "status 100",
    "status 101",
    "status 200",
    "status 204",
    "status 400",
    "status 403",
    "status 404",
    "status 405",
    "status 408",
    "status 413",
    "status 415",
    "status 426",
    "status 429",
    "status 503",
    "close 0",
    "close 1000",
    "close 1001",
    "close 1002",
    "close 1003",
    "close 1007",
    "close 1008",
    "close 1009",
    "close 1013",
    "close 4003",
    "close 4004",
    "close 4006",
    "welcome",
    "subscribed",
    "recovered the head",
    "recovered what was missed",
    "replayed",
    "a later page",
    "gap: a cursor from elsewhere",
    "gap: everything",
    "gap: the beginning",
    "gap: what was lost meanwhile",
    "notification",
    "unsubscribed",
    "published",
    "pong",
    "already_subscribed",
    "not_subscribed",
    "too_many_channels",
    "forbidden",
    "overloaded",
    "rate_limited",
    "bad_json",
    "bad_request",
    "bad_channel",
    "unknown_type",
    "gap: what was lost before",
    "a slow websocket that caught up",
    "a slow stream that caught up",
    "a slow websocket that was cut",
    "a slow stream that was cut",
    "the node went over its budget",
    "a lag cut for all",
    "presence asked for",
    "presence announced",
    "an id again",
    "an id after its time",
    "gap: what was conflated",
    "gap: what a slow reader lost",
    "hidden",
    "visible",
    "a slow websocket of a drop channel that was kept",
    "a slow websocket of a latest channel that was kept",
    "a slow stream of a drop channel that was kept",
    "a slow stream of a latest channel that was kept",
    "from websocket to stream",
    "from websocket to poll",
    "from stream to websocket",
    "from stream to stream",
    "from stream to poll",
    "from poll to websocket",
    "from poll to stream",
    "from poll to poll",
    "a stream of one channel",
    "a stream of several channels",
    "a stream that was told to come back",
    "Last-Event-ID",
    "heartbeat",
    "notification in a stream",
    "gap in a stream",
    "presence in a stream",
    "notification in a poll",
    "gap in a poll",
    "a poll answered at once",
    "a poll answered when something came",
    "a poll answered because its time was over",
    "a poll that does not wait",
    "a poll without a cursor",
    "the last answer",
    "requests one behind the other",
    "published to a call",
    "presence to a call",
    "pong to a call",
    "forbidden to a call",
    "bad_request to a call",
    "bad_json to a call",
    "rate_limited to a call",
];
const SHOWN_MIN: u64 = 5;
/// Seeds that found a fault once. They run for ever.
const FOUND: [u64; 0] = [];

/// Runs a world to its end; returns the hash of all that it said.
fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    world.run();
    world.finish()
}

/// Runs a world; when it fails, runs it again to tell how it came to that.
fn checked(seed: u64) -> u64 {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|_| {
        trace::tell(Telling::Last);
        let again = catch_unwind(AssertUnwindSafe(|| run(seed)));
        let lines = trace::last_lines().join("\n");
        assert!(again.is_err(), "seed {seed} fails only sometimes");
        panic!(
            "{lines}\nseed {seed} failed; SIM_SEED={seed} cargo test --test sim -- --nocapture tells all of it"
        );
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_world_keeps_its_promises() {
    if let Some(seed) = number("SIM_SEED") {
        trace::tell(Telling::All);
        run(seed);
        return;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let seeds = first..first + number("SIM_SEEDS").unwrap_or(SEEDS);
    let ordinary = (seeds.start, seeds.end) == (0, SEEDS);
    for seed in FOUND.into_iter().chain(seeds) {
        checked(seed);
    }
    for what in SHOWN.iter().filter(|_| ordinary) {
        let count = trace::counted(what);
        assert!(count >= SHOWN_MIN, "all worlds together show `{what}` {count} times");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        assert_eq!(checked(seed), checked(seed), "seed {seed}");
    }
}
