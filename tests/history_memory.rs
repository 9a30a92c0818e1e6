//! What a history weighs itself at is what it takes from the allocator, held against bytes that were really allocated.

use allocation_counter::measure;
use roost::clock::Now;
use roost::config::policy::{Auth, Policy, Slow};
use roost::hub::history::{Bounds, History, LogId};
use std::sync::Arc;

const POLICY: Policy = Policy {
    clients_may_publish: false,
    history: 32,
    history_ttl_ms: 60_000,
    presence: false,
    slow: Slow::Disconnect,
    auth: Auth::Public,
};

fn history() -> History {
    History::new(Bounds { bytes: usize::MAX, log_bytes: usize::MAX, page_bytes: usize::MAX })
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

fn publish(history: &mut History, log: LogId, bytes: usize, now: Now) {
    history.append(log, Arc::from(vec![0; bytes]), &POLICY, now);
}

/// Bytes that the kept publications take: what goes back when they are dropped.
fn taken(history: &mut History, now: Now) -> usize {
    let freed = measure(|| while history.age_one(now, usize::MAX).is_some() {});
    assert_eq!((history.bytes(), history.publications()), (0, 0));
    usize::try_from(-freed.bytes_current).unwrap()
}

#[test]
fn publications_never_take_more_than_they_weigh_and_not_much_less() {
    for (channels, each, bytes) in
        [(1000, 1, 100), (1000, 2, 100), (100, 17, 120), (100, 32, 100), (100, 33, 4000)]
    {
        let mut history = history();
        let logs: Vec<LogId> = (0..channels).map(|_| history.begin()).collect();
        for _ in 0..each {
            logs.iter().for_each(|log| publish(&mut history, *log, bytes, at(1)));
        }
        let (weight, count) = (history.bytes(), history.publications());
        let taken = taken(&mut history, at(100_000));
        assert!(taken <= weight, "{channels} of {each} of {bytes}: {taken} taken, {weight} weighed");
        // What an allocator adds is not in `taken`.
        let least = weight - count * 48;
        assert!(taken >= least, "{channels} of {each} of {bytes}: {taken} taken, {weight} weighed");
    }
}

#[test]
fn a_ring_that_lost_most_of_its_publications_takes_no_more_than_what_is_left_weighs() {
    let mut history = history();
    let logs: Vec<LogId> = (0..100).map(|_| history.begin()).collect();
    for log in &logs {
        (0..32).for_each(|number| publish(&mut history, *log, 100, at(1_000 * number)));
        // All but one are too old when the next one comes.
        publish(&mut history, *log, 100, at(90_500));
    }
    assert_eq!(history.publications(), 2 * logs.len());
    let weight = history.bytes();
    let taken = taken(&mut history, at(1_000_000));
    assert!(taken <= weight, "{taken} taken, {weight} weighed");
}

#[test]
fn a_channel_costs_nothing_before_its_first_publication_and_its_log_alone_after_the_last_is_too_old() {
    let empty = measure(|| drop(history()));
    assert_eq!(empty.count_total, 0);
    let mut history = history();
    let log = history.begin();
    let begun = measure(|| publish(&mut history, log, 100, at(1)));
    assert!(begun.bytes_current > 0);
    let silent = measure(|| while history.age_one(at(100_000), usize::MAX).is_some() {});
    // The calendar keeps one leaf of its tree for the next entry.
    assert!(begun.bytes_current + silent.bytes_current <= 400, "{begun:?} {silent:?}");
    assert_eq!((history.head(log), history.next_ms()), (1, None));
}

#[test]
fn a_steady_stream_allocates_nothing_but_the_publications_themselves() {
    let mut history = history();
    let log = history.begin();
    (0..100).for_each(|_| publish(&mut history, log, 100, at(1)));
    let frame: Arc<[u8]> = Arc::from(vec![0; 100]);
    let steady = measure(|| (0..1000).for_each(|_| history.append(log, frame.clone(), &POLICY, at(2))));
    assert_eq!(steady.count_total, 0);
}
