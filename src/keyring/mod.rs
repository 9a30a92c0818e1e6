//! Floor 4: the keys that are in force: those of the configuration, and those of a key set that is looked at again and again on a
//! thread of its own. Must never check a token, nor keep anybody waiting but at the start.

mod fetch;
mod schedule;

pub use fetch::Roots;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::KeySetAddr;
use crate::limits::KEY_SET_TIMEOUT_MS;
use crate::tokens::key_set::{self, KeySet, KeySetError};
use crate::tokens::{Key, Keys};
use fetch::{FetchError, fetch};
use schedule::Schedule;

/// The keys of a node, and how they are kept up to date.
#[derive(Debug)]
pub struct Keyring {
    addr: KeySetAddr,
    roots: Roots,
    /// Those of the configuration.
    fixed: Vec<Key>,
    /// The set as it was found last. As long as it says the same nothing has changed.
    text: Vec<u8>,
    keys: Arc<Keys>,
    schedule: Schedule,
    started: Instant,
    asked: Receiver<()>,
    looks: Arc<Looks>,
}

/// Asks for keys that tokens name and nobody here knows. Any thread may, and none waits for it.
#[derive(Debug, Clone)]
pub struct Asker {
    asking: SyncSender<()>,
    looks: Arc<Looks>,
}

/// What became of the looks at a key set. All only ever rise.
#[derive(Debug, Default)]
pub struct Looks {
    found: AtomicU64,
    failed: AtomicU64,
}

impl Keyring {
    /// The keys of the configuration, and those of the set at `addr` if it is to be had: this waits for it, for
    /// [`KEY_SET_TIMEOUT_MS`] at most, so that those who connect at once are not refused. What cannot be had now is looked for
    /// later.
    #[must_use]
    pub fn open(fixed: Vec<Key>, addr: KeySetAddr, roots: Roots) -> (Self, Asker) {
        // One question that waits is as good as many.
        let (asking, asked) = sync_channel(1);
        let looks = Arc::new(Looks::default());
        let keys = Arc::new(Keys::new(0, fixed.clone()));
        let schedule = Schedule::new(0);
        let asker = Asker { asking, looks: looks.clone() };
        let (text, started) = (Vec::new(), Instant::now());
        let mut keyring = Self { addr, roots, fixed, text, keys, schedule, started, asked, looks };
        if keyring.addr != KeySetAddr::None {
            keyring.look();
        }
        (keyring, asker)
    }

    /// The keys that are in force.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.clone()
    }

    /// Looks at the set whenever it is due, on a thread of its own, and hands every other set of keys to `tell`. The thread ends
    /// with the last [`Asker`]. Where there is no set there is no thread.
    ///
    /// To be called when threads that take a descriptor table of their own have taken it: they would keep connections of this
    /// one open.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub fn watch(self, tell: impl FnMut(Arc<Keys>) + Send + 'static) -> io::Result<()> {
        if self.addr == KeySetAddr::None {
            return Ok(());
        }
        thread::Builder::new().name("keys".to_owned()).spawn(move || self.run(tell)).map(drop)
    }

    fn run(mut self, mut tell: impl FnMut(Arc<Keys>)) {
        loop {
            let wait_ms = self.schedule.wait_ms(self.now_ms());
            // What is due comes first: questions without end would keep it waiting.
            if wait_ms == 0 {
                if self.look() {
                    tell(self.keys());
                }
                continue;
            }
            match self.asked.recv_timeout(Duration::from_millis(wait_ms)) {
                Ok(()) => self.schedule.missed(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks once. Returns whether other keys are in force now.
    fn look(&mut self) -> bool {
        let (addr, roots, text) = (&self.addr, &self.roots, &self.text);
        // A fault in what reads other people's answers must not end the looks.
        let outcome = catch_unwind(AssertUnwindSafe(|| find(addr, roots, text)));
        match outcome.unwrap_or(Err(LookError::Panicked)) {
            Ok((keep_s, other)) => {
                self.looks.found.fetch_add(1, Ordering::Relaxed);
                self.schedule.found(self.now_ms(), keep_s);
                let changed = other.is_some();
                if let Some((text, set)) = other {
                    self.replace(text, set);
                }
                changed
            }
            Err(error) => {
                self.looks.failed.fetch_add(1, Ordering::Relaxed);
                self.schedule.failed(self.now_ms(), fastrand::f64());
                let (from, keys) = (self.addr.shown(), self.keys.as_slice().len());
                let again_in_s = self.schedule.wait_ms(self.now_ms()) / 1000;
                tracing::warn!(from, %error, keys, again_in_s, "no key set: the keys of before stay in force");
                false
            }
        }
    }

    /// Puts other keys in force. Those of the configuration come first: they are tried first, and a set cannot crowd them out.
    fn replace(&mut self, text: Vec<u8>, set: KeySet) {
        let from = self.addr.shown();
        for skipped in &set.skipped {
            tracing::warn!(from, %skipped, "a key of the set is not used");
        }
        let keys = self.fixed.iter().cloned().chain(set.keys).collect();
        self.keys = Arc::new(Keys::new(self.keys.version() + 1, keys));
        self.text = text;
        tracing::info!(from, keys = self.keys.as_slice().len(), version = self.keys.version(), "key set");
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Asker {
    /// A token named a key that is not known here: the set is looked at soon. However often this is called, there is a pause
    /// between two looks.
    pub fn ask(&self) {
        // Where a question waits already, or nobody looks, there is nothing more to do.
        let _ = self.asking.try_send(());
    }

    /// Looks that found a set, and looks that found none.
    #[must_use]
    pub fn looks(&self) -> (u64, u64) {
        (self.looks.found.load(Ordering::Relaxed), self.looks.failed.load(Ordering::Relaxed))
    }
}

/// A set that says something else than before, with its text.
type Other = Option<(Vec<u8>, KeySet)>;

/// Looks at a set: how many seconds it may be kept, and what it says, where that is not what `known` said.
fn find(addr: &KeySetAddr, roots: &Roots, known: &[u8]) -> Result<(Option<u64>, Other), LookError> {
    let found = fetch(addr, roots, Duration::from_millis(KEY_SET_TIMEOUT_MS)).map_err(LookError::Fetch)?;
    if found.text == known {
        return Ok((found.keep_s, None));
    }
    let set = key_set::read(&found.text).map_err(LookError::Set)?;
    Ok((found.keep_s, Some((found.text, set))))
}

/// Why a look found no keys.
#[derive(Debug)]
enum LookError {
    Fetch(FetchError),
    Set(KeySetError),
    /// A fault of ours, which the panic hook has told of.
    Panicked,
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Set(error) => error.fmt(f),
            Self::Panicked => f.write_str("a fault of this node"),
        }
    }
}

#[cfg(test)]
mod scratch;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
