//! One line on a terminal that says how it is going. Must never appear where nobody watches.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// A line that overwrites itself on standard error, if that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    watched: bool,
    shown_at: Cell<Option<Instant>>,
}

impl Progress {
    /// A line that has shown nothing yet.
    pub(super) fn new() -> Self {
        Self { watched: stderr().is_terminal(), shown_at: Cell::new(None) }
    }

    /// Shows `done` of `goal`, at most ten times a second.
    pub(super) fn show(&self, what: &str, done: u64, goal: u64) {
        let early = self.shown_at.get().is_some_and(|shown_at| shown_at.elapsed() < SHOW_EVERY);
        if !self.watched || early {
            return;
        }
        self.shown_at.set(Some(Instant::now()));
        // Nobody is served by a measurement that ends because its terminal is gone.
        let _ = write!(stderr(), "\r\x1b[K{}", line(what, done, goal));
    }

    /// Wipes the line.
    pub(super) fn clear(&self) {
        if self.watched && self.shown_at.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

const SHOW_EVERY: Duration = Duration::from_millis(100);
const BAR_CHARS: u64 = 30;

fn line(what: &str, done: u64, goal: u64) -> String {
    let filled = (done.min(goal) * BAR_CHARS).checked_div(goal).unwrap_or(BAR_CHARS);
    let (full, free) = ("#".repeat(filled as usize), ".".repeat((BAR_CHARS - filled) as usize));
    format!("[{full}{free}] {done} of {goal} {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_at_any_share() {
        for (done, goal, filled) in [(0, 10, 0), (5, 10, 15), (10, 10, 30), (20, 10, 30), (0, 0, 30)] {
            let line = line("joined", done, goal);
            assert_eq!(line.matches('#').count(), filled, "{line}");
            assert_eq!(line.find(']'), Some(31), "{line}");
        }
    }
}
