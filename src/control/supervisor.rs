//! What whoever supervises the process is told (sd_notify(3)): that the node is ready, that it lives, that it goes away. Must never
//! say that it lives while one of its shards does not answer.
//!
//! Every third of the time after which systemd would give the node up, all shards are asked for their counters. Where all have
//! answered, a sign of life goes out; where one is stuck none does, and systemd starts the node anew. Nobody is asked where
//! nobody supervises.

use super::Control;
use super::calls::{Call, Counted};
use crate::clock::Now;
use crate::shard::mail::Question;
use sd_notify::NotifyState;
use std::time::Duration;

/// Whether there is somebody to tell, and when the next sign of life is due.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// None where nobody supervises.
    period_ms: Option<u64>,
    due_ms: u64,
    /// Shards are being asked.
    asking: bool,
}

impl Supervisor {
    /// As the environment says that systemd gave this process.
    pub(super) fn from_environment() -> Self {
        let supervised = std::env::var_os("NOTIFY_SOCKET").is_some();
        let period = sd_notify::watchdog_enabled().map_or(STATUS_PERIOD, |time| time / 3);
        let period_ms = supervised.then_some(period.as_millis().max(1) as u64);
        Self { period_ms, due_ms: 0, asking: false }
    }

    /// When shards are asked next, in milliseconds since the node started.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.period_ms.filter(|_| !self.asking).map(|_| self.due_ms)
    }
}

impl Control {
    /// The node serves.
    pub(super) fn tell_ready(&self) {
        tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// The node goes away, within this many milliseconds: more than a service is given to stop may be what it takes.
    pub(super) fn tell_stopping(&self, within_ms: u64) {
        let within_us = within_ms.saturating_add(STOP_SLACK_MS).saturating_mul(1000);
        let extended = NotifyState::ExtendTimeoutUsec(within_us.min(u64::from(u32::MAX)) as u32);
        tell(&[NotifyState::Stopping, extended, NotifyState::Status("saying goodbye to everyone")]);
    }

    /// The configuration is read anew; [`Control::tell_ready`] says when that is done.
    pub(super) fn tell_reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(moment) => tell(&[NotifyState::Reloading, moment]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// Asks all shards whether they live, when that is due.
    pub(super) fn ask_for_life(&mut self, now: Now) {
        if self.supervisor.due_ms().is_none_or(|due_ms| due_ms > now.mono_ms) {
            return;
        }
        self.supervisor.asking = true;
        let call = Call::life(now.mono_ms, self.office.shards.len());
        self.ask(call, &Question::Counters);
    }

    /// All have answered, or time is up.
    pub(super) fn heard_of_life(&mut self, now: Now, shards: &[Option<Counted>]) {
        self.supervisor.asking = false;
        self.supervisor.due_ms = now.mono_ms + self.supervisor.period_ms.unwrap_or(u64::MAX / 2);
        let silent: Vec<usize> =
            shards.iter().enumerate().filter(|(_, one)| one.is_none()).map(|(shard, _)| shard).collect();
        if !silent.is_empty() {
            tracing::error!(?silent, "shards do not answer: the supervisor gets no sign of life");
            return;
        }
        let connections: u64 = shards.iter().flatten().map(|counted| counted.counters.connections).sum();
        let state = self.drain.words();
        let status = format!("{state} {connections} of {} connections", self.settings.connections_max);
        tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }
}

/// Nobody is told where nobody supervises; and a supervisor that does not listen is no reason to end.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}

/// What the end of the process takes beside its drain, at most.
const STOP_SLACK_MS: u64 = 5000;
/// How often the number of connections is told where no sign of life is asked for.
const STATUS_PERIOD: Duration = Duration::from_secs(30);
