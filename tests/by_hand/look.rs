//! What a shard shows the status page: who reads too slowly, and which channels are the largest. One shard is driven by hand.

use crate::line::Line;
use crate::{NOW, READY, settings};
use roost::clock::Now;
use roost::limits::{CHANNELS_RANKED_MAX, LAGS_LOOKED_MAX, Limits, SLOWEST_LISTED_MAX};
use roost::metrics::look::Look;
use roost::shard::mail::{Answer, Mail, Parcel, Publisher, Question, Report};
use roost::shard::{Next, Settings, Shard};

const SOFT_BYTES: usize = 1_000;

fn shard() -> Shard<Line> {
    let limits = Limits { queue_soft_bytes: SOFT_BYTES, ..Limits::default() };
    Shard::new(Settings { limits, ..settings(0, 1) })
}

/// A client that reads nothing behind its `welcome`; its id.
fn connect(shard: &mut Shard<Line>, query: &str) -> String {
    let line = Line::asking_for(&format!("/live{query}"));
    line.0.borrow_mut().room = usize::MAX;
    let token = shard.insert(NOW, line.clone()).expect("there is room");
    shard.ready(NOW, token, READY);
    shard.turn(NOW);
    line.0.borrow_mut().room = 0;
    format!("0.{:x}.{:x}", token.slot, token.generation)
}

fn publish(shard: &mut Shard<Line>, channel: &str, bytes: usize) {
    let data = format!("\"{}\"", "x".repeat(bytes)).into();
    let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
    shard.mail(NOW, Mail::Publish { name: channel.into(), data, key: None, publisher });
    while shard.turn(NOW) == Next::Now {}
    shard.parcels().for_each(drop);
}

/// What the control thread is answered, once all turns are done.
fn ask(shard: &mut Shard<Line>, now: Now, question: Question) -> Answer {
    shard.mail(now, Mail::Ask { ticket: 7, question });
    while shard.turn(now) == Next::Now {}
    let mut answers = shard.parcels().filter_map(|parcel| match parcel {
        Parcel::Control(Report::Answer { ticket: 7, answer, .. }) => Some(answer),
        Parcel::Control(_) | Parcel::Shard(..) | Parcel::Broker(_) => None,
    });
    answers.next().expect("an answer")
}

fn look(shard: &mut Shard<Line>, now: Now) -> Look {
    let Answer::Look(look) = ask(shard, now, Question::Look) else { panic!("not the answer") };
    *look
}

#[test]
fn who_reads_too_slowly_is_named_with_the_largest_queue_first() {
    let mut shard = shard();
    let sizes = [10, SOFT_BYTES + 200, 200, SOFT_BYTES + 900];
    let ids: Vec<String> = (0..sizes.len()).map(|n| connect(&mut shard, &format!("?channel=c{n}"))).collect();
    assert_eq!(look(&mut shard, NOW).slowest, []);
    for (number, bytes) in sizes.into_iter().enumerate() {
        publish(&mut shard, &format!("c{number}"), bytes);
    }
    let later = Now { mono_ms: NOW.mono_ms + 700, ..NOW };
    let seen = look(&mut shard, later);
    let found: Vec<_> = seen.slowest.iter().map(|one| (&*one.session, one.over_soft_ms)).collect();
    let expected = [(3, Some(700)), (1, Some(700)), (2, None), (0, None)].map(|(n, ms)| (&*ids[n], ms));
    assert_eq!(found, expected);
    assert!(seen.slowest.is_sorted_by_key(|one| std::cmp::Reverse(one.queued_bytes)));
    assert_eq!((seen.over_soft, seen.truncated), (2, false));
    assert_eq!(seen.counters.queued_bytes, seen.slowest.iter().map(|one| one.queued_bytes).sum::<u64>());
}

#[test]
fn a_look_at_many_queues_is_a_short_one_and_says_that_there_may_be_more() {
    let mut shard = shard();
    for _ in 0..LAGS_LOOKED_MAX + 10 {
        connect(&mut shard, "?channel=all");
    }
    publish(&mut shard, "all", 100);
    let seen = look(&mut shard, NOW);
    assert_eq!((seen.over_soft, seen.truncated), (0, false), "nobody is near the soft bound");
    publish(&mut shard, "all", SOFT_BYTES);
    let seen = look(&mut shard, NOW);
    assert_eq!((seen.over_soft, seen.truncated), (LAGS_LOOKED_MAX as u64, true));
    assert_eq!(seen.slowest.len(), SLOWEST_LISTED_MAX);
}

#[test]
fn a_survey_finds_the_channels_with_the_most_subscribers() {
    let mut shard = shard();
    let top = |shard: &mut Shard<Line>| {
        let question = Question::Density(Box::default());
        let Answer::Density { top, .. } = ask(shard, NOW, question) else { panic!("not the answer") };
        top
    };
    for number in 1..=4 {
        (0..number).for_each(|_| _ = connect(&mut shard, &format!("?channel=c{number}&channel=all")));
    }
    let found = top(&mut shard);
    let expected =
        [("all", 10), ("c4", 4), ("c3", 3), ("c2", 2), ("c1", 1)].map(|(name, n)| (name.into(), n));
    assert_eq!((found.channels, found.left_out), (expected.to_vec(), 0));
    for number in 0..CHANNELS_RANKED_MAX {
        connect(&mut shard, &format!("?channel=own:{number}"));
    }
    let found = top(&mut shard);
    assert_eq!(found.channels[..4], expected[..4]);
    assert_eq!((found.channels.len(), found.left_out), (CHANNELS_RANKED_MAX, 1));
}
