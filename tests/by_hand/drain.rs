//! Goodbyes in virtual time: an even pace, the oldest first, a drain that is stopped, and clients that are too old.

use crate::line::Line;
use crate::node::{Client, Node, SHARDS};
use roost::config::policy::PolicyRule;
use roost::limits::{DRAIN_RETRY_MS, DRAIN_STEP_MS, Limits};
use roost::shard::Settings;
use roost::shard::mail::{DrainOrder, Mail};

fn node() -> Node {
    Node::new(PolicyRule::default(), |settings| settings)
}

fn node_with(age_max_ms: u64) -> Node {
    let tell =
        move |settings: Settings| Settings { limits: Limits { age_max_ms, ..Limits::default() }, ..settings };
    Node::new(PolicyRule::default(), tell)
}

fn some_go(over_ms: u64, percent: u8, oldest: bool) -> DrainOrder {
    DrainOrder { over_ms, percent, oldest, leaves: false }
}

fn tell_all(node: &mut Node, mail: impl Fn() -> Mail) {
    (0..usize::from(SHARDS)).for_each(|shard| node.mail(shard, mail()));
    node.settle();
}

fn left(node: &Node) -> u64 {
    node.shards.iter().map(|shard| shard.counters().drain_left).sum()
}

/// The time that a client was told to stay away, if it got a goodbye.
fn told(client: &Client) -> Option<u64> {
    let peer = client.line.0.borrow();
    let text = String::from_utf8_lossy(&peer.got);
    let retry_ms =
        text.split_once("going away retry_after_ms=")?.1.parse().expect("nothing comes behind a goodbye");
    // The code stands before the reason.
    assert!(peer.got.windows(12).any(|bytes| bytes == b"\x03\xe9going away"));
    assert!(retry_ms <= DRAIN_RETRY_MS);
    Some(retry_ms)
}

fn is_pinged(client: &Client) {
    // The silent ones of a test would be given up while hours pass.
    let pong = [0x8a, 0x80, 0, 0, 0, 0];
    client.line.0.borrow_mut().sends.extend(pong);
}

#[test]
fn a_crowd_is_told_at_an_even_pace_and_nobody_leaves_without_a_goodbye() {
    let mut node = node();
    let clients: Vec<Client> = (0..3000).map(|number| node.arrive(number % 3, "c")).collect();
    node.settle();
    tell_all(&mut node, || Mail::Drain(DrainOrder::to_leave(30_000)));
    let (mut before, mut retries) = (0, Vec::new());
    for second in 0..30 {
        node.pass(1_000);
        let now: Vec<u64> = clients.iter().filter_map(told).collect();
        let count = now.len() - before;
        assert!((80..=120).contains(&count), "{count} in second {second}");
        assert_eq!(left(&node), 3000 - now.len() as u64);
        (before, retries) = (now.len(), now);
    }
    assert_eq!(before, 3000);
    retries.sort_unstable();
    assert!(
        retries[0] < 50 && retries[1500].abs_diff(500) < 60 && retries[2999] > 950,
        "times to come back are spread"
    );
    let counters = node.shards.iter().map(|shard| shard.counters().drained).sum::<u64>();
    assert_eq!(counters, 3000);
}

#[test]
fn those_who_leave_by_themselves_slow_the_others_down() {
    let mut node = node();
    let clients: Vec<Client> = (0..900).map(|number| node.arrive(number % 3, "c")).collect();
    node.settle();
    tell_all(&mut node, || Mail::Drain(some_go(10_000, 100, false)));
    node.pass(1_000);
    let stay: Vec<&Client> = clients.iter().filter(|client| told(client).is_none()).collect();
    let (gone, stay) = stay.split_at(stay.len() / 2);
    gone.iter().for_each(|client| node.vanish(client));
    for second in 1..10 {
        let before = stay.iter().filter(|client| told(client).is_some()).count();
        node.pass(1_000);
        let count = stay.iter().filter(|client| told(client).is_some()).count() - before;
        assert!((35..=55).contains(&count), "{count} in second {second}");
    }
    assert_eq!(stay.iter().filter(|client| told(client).is_none()).count(), 0);
}

#[test]
fn whoever_ends_a_process_does_not_wait_an_hour_for_a_handful() {
    let mut node = node();
    let clients: Vec<Client> = (0..3).map(|number| node.connect(number % 3, "c")).collect();
    tell_all(&mut node, || Mail::Drain(DrainOrder::to_leave(3_600_000)));
    node.pass(100);
    assert!(clients.iter().all(|client| told(client).is_some()));
    clients.iter().for_each(|client| node.vanish(client));
    assert!(node.shards.iter().all(roost::shard::Shard::is_drained));
}

#[test]
fn with_no_time_all_are_told_at_once() {
    let mut node = node();
    let clients: Vec<Client> = (0..1500).map(|_| node.arrive(0, "c")).collect();
    node.settle();
    tell_all(&mut node, || Mail::Drain(some_go(0, 100, false)));
    assert!(clients.iter().all(|client| told(client).is_some()));
}

#[test]
fn the_oldest_go_whatever_their_slots_and_newcomers_stay() {
    let mut node = node();
    let mut clients: Vec<Client> = Vec::new();
    let mut leavers: Vec<Client> = Vec::new();
    for number in 0..300 {
        clients.push(node.connect(number % 3, "c"));
        leavers.push(node.connect(number % 3, "c"));
        // Their slots are taken by those who come later.
        if number % 5 == 4 {
            leavers.drain(..).for_each(|client| node.vanish(&client));
            node.pass(300);
        }
    }
    tell_all(&mut node, || Mail::Drain(some_go(10_000, 20, true)));
    assert_eq!(left(&node), 60);
    let mut newcomers = Vec::new();
    for _ in 0..10 {
        newcomers.push(node.connect(0, "c"));
        node.pass(1_000);
    }
    node.pass(DRAIN_STEP_MS);
    let (old, young) = clients.split_at(60);
    let count = |clients: &[Client]| clients.iter().filter(|client| told(client).is_some()).count();
    assert_eq!((count(old), count(young), count(&newcomers)), (60, 0, 0));
    assert_eq!(left(&node), 0);
    // It is over: whoever comes is served as ever.
    let late = node.connect(1, "c");
    node.pass(20_000);
    assert_eq!(told(&late), None);
}

#[test]
fn a_part_is_that_part_over_all_shards_however_few_there_are() {
    for (count, percent, goes) in [(30, 50, 14..=16), (300, 1, 2..=4), (7, 99, 6..=7), (90, 33, 28..=31)] {
        let mut node = node();
        let clients: Vec<Client> = (0..count).map(|number| node.connect(number % 3, "c")).collect();
        tell_all(&mut node, || Mail::Drain(some_go(1_000, percent, false)));
        node.pass(1_000 + DRAIN_STEP_MS);
        let told = clients.iter().filter(|client| told(client).is_some()).count();
        assert!(goes.contains(&told), "{told} of {count} with {percent} %");
    }
}

#[test]
fn a_drain_that_is_stopped_tells_nobody_more_and_newcomers_come_in() {
    let mut node = node();
    let clients: Vec<Client> = (0..300).map(|number| node.connect(number % 3, "c")).collect();
    tell_all(&mut node, || Mail::Drain(some_go(10_000, 100, false)));
    node.pass(3_000);
    assert!(node.shards[0].insert(node.now, Line::sending("")).is_err(), "nobody comes in");
    let count = |clients: &[Client]| clients.iter().filter(|client| told(client).is_some()).count();
    let told_then = count(&clients);
    assert!((80..=100).contains(&told_then), "{told_then}");
    tell_all(&mut node, || Mail::Resume);
    assert_eq!(left(&node), 0);
    let newcomer = node.connect(0, "c");
    node.pass(20_000);
    assert_eq!((count(&clients), told(&newcomer)), (told_then, None));
    // And a second one goes through.
    tell_all(&mut node, || Mail::Drain(some_go(0, 100, false)));
    assert_eq!(count(&clients), 300);
}

#[test]
fn who_is_too_old_goes_at_an_age_of_its_own() {
    const AGE_MS: u64 = 1_000_000;
    let mut node = node_with(AGE_MS);
    let clients: Vec<Client> = (0..600).map(|number| node.arrive(number % 3, "c")).collect();
    node.settle();
    let mut at_s = vec![None; clients.len()];
    for second in (10..=1_100).step_by(10) {
        clients.iter().for_each(is_pinged);
        for client in &clients {
            node.shards[client.shard].ready(node.now, client.token, crate::READY);
        }
        node.pass(10_000);
        for (client, at_s) in clients.iter().zip(&mut at_s) {
            if at_s.is_none() && told(client).is_some() {
                *at_s = Some(second);
            }
        }
    }
    let at_s: Vec<u64> = at_s.into_iter().map(|at_s| at_s.expect("nobody stays for longer")).collect();
    let (first, last) = (at_s.iter().min().unwrap(), at_s.iter().max().unwrap());
    // A 64th of the age is how well it is known, and how often it is looked at.
    assert!((800..=840).contains(first) && (980..=1_030).contains(last), "from {first} to {last} s");
    for window in (820..980).step_by(40) {
        let count = at_s.iter().filter(|at_s| (window..window + 40).contains(*at_s)).count();
        assert!((80..=160).contains(&count), "{count} within 40 s of {window}");
    }
    assert_eq!(node.shards.iter().map(|shard| shard.counters().drained).sum::<u64>(), 0);
}
