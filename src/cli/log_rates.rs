//! How many lines of one kind the log takes: a handful at once, then one a second. Must never know a clock, nor what a line says.

use std::collections::BTreeMap;

use tracing::Level;

use crate::limits::{LOG_BURST_LINES, LOG_PAUSE_MS};

/// Where in the program a line is said. There are as many as the program has such places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// Its weight.
    pub(super) level: Level,
    /// The module.
    pub(super) target: &'static str,
    /// The line of its source.
    pub(super) line: u32,
}

/// Lines of one kind that were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Which.
    pub(super) kind: Kind,
    /// How many.
    pub(super) count: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It is written.
    pub(super) passes: bool,
    /// What is to be told before it.
    pub(super) left_out: Vec<LeftOut>,
}

/// The kinds that have been said.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<Kind, Rate>);

/// One kind: a line costs a pause, and so many may be owed.
#[derive(Debug, Default)]
struct Rate {
    /// When all lines that passed are paid for, in milliseconds.
    paid_ms: u64,
    /// Lines that did not pass since that was last told.
    left_out: u64,
}

impl Rates {
    /// Counts a line said at `now_ms`, in milliseconds since whenever. What was left out of a kind is told once that kind may be
    /// said again, with the next line of whatever kind.
    pub(super) fn count(&mut self, kind: Kind, now_ms: u64) -> Verdict {
        let left_out = self.take_left_out(now_ms);
        let rate = self.0.entry(kind).or_default();
        let passes = rate.takes(now_ms);
        if passes {
            rate.pay(now_ms);
        } else {
            rate.left_out += 1;
        }
        Verdict { passes, left_out }
    }

    fn take_left_out(&mut self, now_ms: u64) -> Vec<LeftOut> {
        let due = self.0.iter_mut().filter(|(_, rate)| rate.left_out > 0 && rate.takes(now_ms));
        due.map(|(&kind, rate)| LeftOut { kind, count: std::mem::take(&mut rate.left_out) }).collect()
    }
}

impl Rate {
    fn takes(&self, now_ms: u64) -> bool {
        self.paid_ms <= now_ms + FULL_MS
    }

    fn pay(&mut self, now_ms: u64) {
        self.paid_ms = self.paid_ms.max(now_ms) + LOG_PAUSE_MS;
    }
}

/// So much may be owed before another line passes.
const FULL_MS: u64 = (LOG_BURST_LINES - 1) * LOG_PAUSE_MS;

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: Kind = Kind { level: Level::WARN, target: "roost::a", line: 1 };
    const OTHER: Kind = Kind { level: Level::WARN, target: "roost::a", line: 2 };

    /// Says a line each millisecond; how many passed, and how many were told to be left out.
    fn flood(rates: &mut Rates, milliseconds: std::ops::Range<u64>) -> (u64, u64) {
        let verdicts: Vec<Verdict> = milliseconds.map(|ms| rates.count(FLOOD, ms)).collect();
        let passed = verdicts.iter().filter(|verdict| verdict.passes).count() as u64;
        (passed, verdicts.iter().flat_map(|verdict| &verdict.left_out).map(|left_out| left_out.count).sum())
    }

    #[test]
    fn a_flood_is_a_handful_of_lines_and_one_a_second_and_every_line_is_counted() {
        let mut rates = Rates::default();
        let (passed, left_out) = flood(&mut rates, 5_000..65_000);
        assert_eq!(passed, LOG_BURST_LINES + 59);
        // It may be told with the next line.
        let rest = rates.count(OTHER, 70_000);
        assert!(rest.passes);
        assert_eq!(rest.left_out.len(), 1);
        assert_eq!(rest.left_out[0].kind, FLOOD);
        assert_eq!(passed + left_out + rest.left_out[0].count, 60_000);
    }

    #[test]
    fn kinds_do_not_wait_for_each_other_and_rest_restores_the_handful() {
        let mut rates = Rates::default();
        flood(&mut rates, 0..1_000);
        assert_eq!(rates.count(OTHER, 999), Verdict { passes: true, left_out: vec![] });
        let later_ms = 1_000 + LOG_BURST_LINES * LOG_PAUSE_MS;
        let (passed, _) = flood(&mut rates, later_ms..later_ms + 900);
        assert_eq!(passed, LOG_BURST_LINES);
    }

    #[test]
    fn a_line_now_and_then_is_never_left_out() {
        let mut rates = Rates::default();
        for second in 0..1_000 {
            assert_eq!(rates.count(FLOOD, second * LOG_PAUSE_MS), Verdict { passes: true, left_out: vec![] });
        }
    }
}
