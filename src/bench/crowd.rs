//! All clients of a measurement, on as many threads as their number needs descriptor tables. Must never know a profile.
//!
//! ```text
//!   Crowd --act, bell--> Worker (own fd table, own poll) --counts--> Shared --> Crowd
//!                        Worker ...                       --Outcome at the end--^
//! ```

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::conduct::Conduct;
use super::error::{BenchError, Complaint};
use super::figures::Measurement;
use super::probe::Cpu;
use super::progress::Progress;
use super::sources::Sources;
use super::target::Target;
use super::worker::{Act, Brief, Outcome, Shared, Worker};
use crate::limits::{BENCH_COMPLAINTS_MAX, BENCH_RESERVED_FDS, BENCH_THREADS_MAX};
use crate::sys::fd_table::unshare_fd_table;

/// What all measurements of one run share.
#[derive(Debug)]
pub(super) struct Rig {
    /// Where time begins.
    pub(super) clock: Instant,
    /// Where clients come from.
    pub(super) sources: Arc<Sources>,
    /// Threads, unless the number of clients needs more tables.
    pub(super) threads: usize,
    /// Connects that each thread has in flight, unless the profile is a storm.
    pub(super) in_flight_max: usize,
    /// How long nothing may happen where something should.
    pub(super) patience: Duration,
    /// Where one sees how it is going.
    pub(super) progress: Progress,
}

impl Rig {
    /// Lets a while pass; `what` is what it is filled with.
    pub(super) fn pause(&self, what: &str, duration: Duration) {
        let began = Instant::now();
        let what = format!("s of {what}");
        while let Some(left) = duration.checked_sub(began.elapsed()) {
            self.progress.show(&what, began.elapsed().as_secs(), duration.as_secs());
            thread::sleep(left.min(PAUSE_STEP));
        }
    }

    /// Waits until the server has nothing left to do, as far as its processor time tells, or the rig is out of patience.
    ///
    /// # Errors
    /// A server whose process cannot be read.
    pub(super) fn settle(&self, pids: &[u32]) -> Result<(), BenchError> {
        let began = Instant::now();
        let mut quiet = 0;
        while quiet < QUIET_STEPS && began.elapsed() < self.patience {
            let before = Cpu::read(pids)?;
            thread::sleep(PAUSE_STEP);
            let busy_us = Cpu::read(pids)?.since(&before).total_us;
            quiet = if busy_us < QUIET_SHARE * PAUSE_STEP.as_micros() as f64 { quiet + 1 } else { 0 };
        }
        Ok(())
    }
}

const PAUSE_STEP: Duration = Duration::from_millis(100);
/// A server is quiet when it works less than this share of each of so many steps: two seconds, for some give memory back
/// only when it has been quiet for one.
const QUIET_SHARE: f64 = 0.1;
const QUIET_STEPS: u32 = 20;

/// How a crowd comes together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathering {
    /// How many clients.
    pub(super) clients: u32,
    /// Number of the first.
    pub(super) first: u32,
    /// Connects that each thread may have in flight; `None` for all at once.
    pub(super) in_flight_max: Option<usize>,
    /// End connections with a reset, which leaves no `TIME_WAIT` behind.
    pub(super) reset: bool,
}

impl Gathering {
    /// So many clients, from number 0 on, at the rig's pace.
    pub(super) fn paced(rig: &Rig, clients: u32) -> Self {
        Self { clients, first: 0, in_flight_max: Some(rig.in_flight_max), reset: true }
    }
}

/// Clients that are connecting, or connected.
#[derive(Debug)]
pub(super) struct Crowd<C> {
    pub(super) shared: Arc<Shared>,
    clients: u64,
    bell: UnixStream,
    threads: Vec<JoinHandle<Result<Outcome<C>, BenchError>>>,
}

/// What the threads brought home.
#[derive(Debug)]
pub(super) struct Homecoming<C> {
    /// One a thread.
    pub(super) conducts: Vec<C>,
    complaints: Vec<Complaint>,
    complaints_total: u64,
}

impl<C: Conduct> Crowd<C> {
    /// Starts the threads, which begin to dial at once. `conduct` makes each thread's part.
    ///
    /// # Errors
    /// More clients than descriptor tables of this host hold.
    pub(super) fn gather(
        rig: &Rig,
        target: &Arc<Target>,
        gathering: Gathering,
        mut conduct: impl FnMut() -> C,
    ) -> Result<Self, BenchError> {
        let shares = shares(gathering.clients, rig.threads, table_room()?)?;
        let (bell, ear) = UnixStream::pair().map_err(BenchError::io("making the bell"))?;
        let shared = Arc::new(Shared::new(rig.clock));
        let tables_needed = shares.len() > 1;
        let mut threads = Vec::new();
        let mut first = gathering.first;
        for count in shares {
            let brief = Brief {
                target: Arc::clone(target),
                sources: Arc::clone(&rig.sources),
                shared: Arc::clone(&shared),
                bell: ear.try_clone().map_err(BenchError::io("making the bell"))?,
                first,
                count,
                in_flight_max: gathering.in_flight_max,
                reset: gathering.reset,
            };
            first += count;
            let conduct = conduct();
            threads.push(thread::spawn(move || {
                let own_table =
                    unshare_fd_table().map_err(BenchError::io("taking a descriptor table of its own"));
                // A single thread may do with the process's own.
                if tables_needed {
                    own_table?;
                }
                Worker::new(brief, conduct)?.run()
            }));
        }
        Ok(Self { shared, clients: u64::from(gathering.clients), bell, threads })
    }

    /// Waits until every client has joined.
    ///
    /// # Errors
    /// Clients that failed to, or nothing happening for as long as the rig is patient; with the first complaints.
    pub(super) fn all_joined(self, rig: &Rig) -> Result<Self, BenchError> {
        self.wait(rig, Some("joined"), self.clients, |shared| &shared.joined)?;
        let joined = self.shared.joined.load(Ordering::Acquire);
        if joined == self.clients && self.shared.failed.load(Ordering::Acquire) == 0 {
            return Ok(self);
        }
        let expected = self.clients;
        let complaints = self.leave()?.complaints;
        Err(BenchError::Gathering { expected, joined, complaints })
    }

    /// Waits until `counter` is at `goal`, or nothing has moved for as long as the rig is patient. Those that failed count
    /// as having reached it. `what` names what is counted, if it is to be shown.
    ///
    /// # Errors
    /// A thread ended early.
    pub(super) fn wait(
        &self,
        rig: &Rig,
        what: Option<&str>,
        goal: u64,
        counter: impl Fn(&Shared) -> &std::sync::atomic::AtomicU64,
    ) -> Result<(), BenchError> {
        let mut seen = (u64::MAX, 0, 0);
        let mut moved_at = Instant::now();
        loop {
            let shared = &self.shared;
            let (done, failed) =
                (counter(shared).load(Ordering::Acquire), shared.failed.load(Ordering::Acquire));
            let now = (done, failed, shared.delivered.load(Ordering::Acquire));
            if let Some(what) = what {
                rig.progress.show(what, done, goal);
            }
            if done + failed >= goal || self.threads.iter().any(JoinHandle::is_finished) {
                return Ok(());
            }
            if now != seen {
                (seen, moved_at) = (now, Instant::now());
            } else if moved_at.elapsed() > rig.patience {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Tells all threads what to do next.
    pub(super) fn act(&mut self, act: Act) {
        self.shared.set_act(act);
        // Every thread watches the other end; nobody reads it, for it is an edge that wakes them. It is large enough for
        // the few acts of a run, and closed only together with this end.
        let _ = self.bell.write_all(b"!");
    }

    /// Hangs up, and collects what the threads found.
    ///
    /// # Errors
    /// What ended a thread early.
    pub(super) fn leave(mut self) -> Result<Homecoming<C>, BenchError> {
        self.act(Act::Leave);
        let (mut conducts, mut complaints, mut complaints_total) = (Vec::new(), Vec::new(), 0);
        for thread in std::mem::take(&mut self.threads) {
            let outcome = brought_home(thread.join())?;
            conducts.push(outcome.conduct);
            complaints.extend(outcome.complaints);
            complaints_total += outcome.complaints_total;
        }
        complaints.truncate(BENCH_COMPLAINTS_MAX);
        Ok(Homecoming { conducts, complaints, complaints_total })
    }
}

impl<C> Homecoming<C> {
    /// The conducts, and the complaints without them.
    pub(super) fn apart(self) -> (Vec<C>, Homecoming<()>) {
        let Self { conducts, complaints, complaints_total } = self;
        (conducts, Homecoming { conducts: Vec::new(), complaints, complaints_total })
    }

    /// Hands the complaints over to the measurement.
    pub(super) fn complain_to(&mut self, measurement: &mut Measurement) {
        measurement.complaints.append(&mut self.complaints);
        measurement.complaints.truncate(BENCH_COMPLAINTS_MAX);
        measurement.complaints_total += std::mem::take(&mut self.complaints_total);
    }
}

/// What a thread that ended has found. Where it panicked, the panic goes on here.
pub(super) fn brought_home<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Raises the soft limit to the hard one and returns how many clients one table holds.
fn table_room() -> Result<u64, BenchError> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).map_err(BenchError::io("raising RLIMIT_NOFILE"))?;
    Ok(limit.saturating_sub(BENCH_RESERVED_FDS))
}

/// How many clients each thread gets: as evenly as it goes, and none more than a table has room for.
fn shares(clients: u32, threads: usize, room: u64) -> Result<Vec<u32>, BenchError> {
    if room == 0 {
        return Err(BenchError::Usage(format!(
            "RLIMIT_NOFILE leaves no descriptor beyond the {BENCH_RESERVED_FDS} that a thread needs itself"
        )));
    }
    let tables = u64::from(clients).div_ceil(room);
    let count = tables.max(threads as u64).clamp(1, u64::from(clients.max(1)));
    if count > BENCH_THREADS_MAX as u64 {
        return Err(BenchError::Usage(format!(
            "{clients} clients need {tables} descriptor tables of {room}; at most {BENCH_THREADS_MAX} are made"
        )));
    }
    // Within BENCH_THREADS_MAX.
    let count = count as u32;
    Ok((0..count).map(|index| clients / count + u32::from(index < clients % count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_clients_take_as_many_tables_as_the_limit_demands() {
        let shares = shares(1_000_000, 2, 19_744).unwrap();
        assert_eq!(shares.len(), 51);
        assert_eq!(shares.iter().sum::<u32>(), 1_000_000);
        assert!(shares.iter().all(|share| *share <= 19_744));
    }

    #[test]
    fn few_clients_are_spread_over_the_threads_and_no_thread_is_idle() {
        assert_eq!(shares(5, 2, 100).unwrap(), [3, 2]);
        assert_eq!(shares(1, 4, 100).unwrap(), [1]);
        assert_eq!(shares(0, 4, 100).unwrap(), [0]);
    }

    #[test]
    fn what_no_host_can_hold_is_refused_with_the_arithmetic() {
        assert!(shares(1_000_000, 1, 10).unwrap_err().to_string().contains("100000 descriptor tables of 10"));
        assert!(shares(1, 1, 0).is_err());
    }
}
