//! How it is going, on standard error: a bar where that is a terminal, else a plain line now and then. Must never know what
//! is measured.

use std::io::{Write, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is under way, as far as anybody was told.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<Stage>>);

/// One count on its way to its goal.
#[derive(Debug)]
struct Stage {
    what: String,
    bar: ProgressBar,
    told_at: Instant,
}

impl Progress {
    /// Shows `done` of `goal`: on a terminal at most ten times a second, elsewhere every few seconds. Another `what` takes
    /// the place of the one before.
    pub(super) fn show(&self, what: &str, done: u64, goal: u64) {
        let mut shown = self.stage();
        if shown.as_ref().is_some_and(|stage| stage.what != what) {
            clear(&mut shown);
        }
        shown.get_or_insert_with(|| Stage::new(what, goal)).show(done, goal);
    }

    /// Wipes the bar.
    pub(super) fn clear(&self) {
        clear(&mut self.stage());
    }

    /// Whoever panicked while it showed something did no harm to the others.
    fn stage(&self) -> MutexGuard<'_, Option<Stage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clear(shown: &mut Option<Stage>) {
    if let Some(stage) = shown.take() {
        stage.bar.finish_and_clear();
    }
}

impl Stage {
    fn new(what: &str, goal: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(goal), ProgressDrawTarget::stderr_with_hz(BAR_HZ));
        // A constant that the test below reads; without it there would be another bar, and no harm done.
        bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        Self { what: what.to_owned(), bar, told_at: Instant::now() }
    }

    fn show(&mut self, done: u64, goal: u64) {
        self.bar.set_length(goal);
        self.bar.set_position(done.min(goal));
        // Hidden means that standard error is no terminal.
        if self.bar.is_hidden() && self.told_at.elapsed() >= TELL_EVERY {
            self.told_at = Instant::now();
            // Nobody is served by a measurement that ends because nobody listens any more.
            let _ = writeln!(stderr(), "roost bench: {}", line(&self.what, done, goal));
        }
    }
}

fn line(what: &str, done: u64, goal: u64) -> String {
    format!("{} of {} {what}", HumanCount(done), HumanCount(goal))
}

const BAR: &str = "{bar:30} {human_pos} of {human_len} {msg}, {eta} to go";
const BAR_HZ: u8 = 10;
const TELL_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }

    #[test]
    fn a_line_says_how_much_of_how_much() {
        assert_eq!(line("joined", 12_345, 1_000_000), "12,345 of 1,000,000 joined");
    }

    #[test]
    fn another_count_begins_anew_and_a_cleared_one_too() {
        let progress = Progress::default();
        let position = || progress.stage().as_ref().map(|stage| (stage.what.clone(), stage.bar.position()));
        progress.show("joined", 7, 10);
        progress.show("answered", 2, 10);
        assert_eq!(position(), Some(("answered".to_owned(), 2)));
        progress.clear();
        assert_eq!(position(), None);
    }
}
