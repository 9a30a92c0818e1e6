//! How far a client has come in the order of messages: tells the next one from one that was left out, came late or came
//! again. Must never know what a message says.

use super::conduct::Note;

/// How far a client has come in the order of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    /// The message that comes next.
    pub(super) next: u32,
    /// How many were left out before it.
    pub(super) missing: u32,
}

/// What a message is to the client that gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The one that was to come.
    Next,
    /// A later one; this one was to come.
    Skipped(u32),
    /// An earlier one while some are missing: taken to be one of those.
    Late,
    /// An earlier one that was there before.
    Again,
}

impl Course {
    /// As the client's note has it.
    pub(super) fn of(note: &Note) -> Self {
        Self { next: note.mark as u32, missing: (note.mark >> 32) as u32 }
    }

    /// Writes it into the client's note.
    pub(super) fn keep(self, note: &mut Note) {
        note.mark = u64::from(self.missing) << 32 | u64::from(self.next);
    }

    /// Message `number` came.
    pub(super) fn take(&mut self, number: u32) -> Step {
        let expected = self.next;
        if number < expected && self.missing == 0 {
            return Step::Again;
        }
        if number < expected {
            self.missing -= 1;
            return Step::Late;
        }
        self.missing += number - expected;
        self.next = number.saturating_add(1);
        if number == expected { Step::Next } else { Step::Skipped(expected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(numbers: &[u32]) -> (Vec<Step>, Course) {
        let mut note = Note::default();
        let steps = numbers.iter().map(|number| {
            let mut course = Course::of(&note);
            let step = course.take(*number);
            course.keep(&mut note);
            step
        });
        (steps.collect(), Course::of(&note))
    }

    #[test]
    fn loss_repetition_and_lateness_are_told_apart() {
        use Step::{Again, Late, Next, Skipped};
        assert_eq!(steps(&[0, 1, 2]).0, [Next, Next, Next]);
        assert_eq!(steps(&[0, 2, 3]), (vec![Next, Skipped(1), Next], Course { next: 4, missing: 1 }));
        assert_eq!(steps(&[0, 2, 1]), (vec![Next, Skipped(1), Late], Course { next: 3, missing: 0 }));
        assert_eq!(steps(&[0, 0, 1, 1]).0, [Next, Again, Next, Again]);
        assert_eq!(steps(&[u32::MAX]).0, [Skipped(0)]);
    }
}
