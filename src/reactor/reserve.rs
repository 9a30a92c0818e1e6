//! The spare descriptor of a table: given up for a moment to accept a client when there is no other, to say so. Must never
//! be open to others meanwhile: whoever snatched it would leave nothing to answer the next client with.

use std::fs::File;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One table's spare descriptor. All who accept in that table share it.
#[derive(Debug, Default)]
pub struct Reserve {
    /// Locked for reading by whoever opens a descriptor that stays open, for writing by whoever opens one in its place.
    spare: RwLock<Option<File>>,
}

impl Reserve {
    /// Takes the descriptor, in the table of the calling thread. Where there is none, [`Reserve::lend`] tries again.
    pub fn open(&self) {
        let mut spare = self.write();
        if spare.is_none() {
            *spare = open();
        }
    }

    /// Accepts, but not while the descriptor is given up.
    pub fn accept<T>(&self, accept: impl FnOnce() -> T) -> T {
        let _not_given_up = self.read();
        accept()
    }

    /// Gives the descriptor up while `work` runs, which has closed again what it opened when it returns.
    pub fn lend<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut spare = self.write();
        drop(spare.take());
        let outcome = work();
        *spare = open();
        outcome
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<File>> {
        // Whoever panicked left a descriptor or none: both are fine.
        self.spare.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<File>> {
        self.spare.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn nobody_accepts_while_the_descriptor_is_given_up() {
        let reserve = Reserve::default();
        let given_up = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        assert!(!reserve.accept(|| given_up.load(Ordering::Relaxed)));
                        reserve.lend(|| {
                            assert!(!given_up.swap(true, Ordering::Relaxed), "one at a time");
                            thread::yield_now();
                            given_up.store(false, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert!(reserve.read().is_some(), "it is taken again");
    }

    #[test]
    fn a_descriptor_that_was_not_to_be_had_is_taken_once_there_is_one() {
        let reserve = Reserve::default();
        assert!(reserve.read().is_none());
        assert_eq!(reserve.lend(|| 7), 7);
        assert!(reserve.read().is_some());
    }
}
