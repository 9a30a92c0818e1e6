//! What happened: a hash of all that was said, and, where somebody wants to read it, a line for each event.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

/// Lines kept for the report of a failure.
const LINES_MAX: usize = 120;

thread_local! {
    static TELLING: Cell<Telling> = const { Cell::new(Telling::Nothing) };
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
    static COUNTS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// What becomes of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// They are not even made.
    Nothing,
    /// The last ones are kept.
    Last,
    /// All are printed.
    All,
}

/// Decides what becomes of the lines of this thread from now on, and forgets those kept.
pub(crate) fn tell(telling: Telling) {
    TELLING.set(telling);
    LINES.take();
}

/// The lines kept.
pub(crate) fn last_lines() -> Vec<String> {
    LINES.take().into()
}

/// Adds a line, if anybody wants it.
pub(crate) fn say(line: impl FnOnce() -> String) {
    match TELLING.get() {
        Telling::Nothing => {}
        Telling::Last => LINES.with_borrow_mut(|lines| {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line());
        }),
        Telling::All => println!("{}", line()),
    }
}

/// Counts something that worlds should show: whatever no world shows is not tested.
pub(crate) fn count(what: &str) {
    COUNTS.with_borrow_mut(|counts| match counts.get_mut(what) {
        Some(count) => *count += 1,
        None => _ = counts.insert(what.to_owned(), 1),
    });
}

/// How often something was counted in this thread.
pub(crate) fn counted(what: &str) -> u64 {
    COUNTS.with_borrow(|counts| counts.get(what).copied().unwrap_or(0))
}

/// A hash of all bytes to clients and of all mail: two runs of one seed must agree in it.
#[derive(Debug, Default)]
pub(crate) struct Trace(DefaultHasher);

impl Trace {
    pub(crate) fn number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.0.finish()
    }
}
