//! A few subscribers that are published to at a steady pace on a channel of their own, while something happens to very many
//! others: what they notice of it. Must never know what that is.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::crowd::{Crowd, Gathering, Rig};
use super::error::BenchError;
use super::fanout::{self, Subscribers};
use super::latency::Latencies;
use super::publisher::Publisher;
use super::target::Target;
use super::worker::Shared;

/// The load.
#[derive(Debug, Clone)]
pub(super) struct Steady {
    /// Where they are subscribed, and where is published meanwhile.
    pub(super) target: Arc<Target>,
    pub(super) subscribers: u32,
    /// Publish calls a second.
    pub(super) rate: f64,
    /// Data bytes of a message.
    pub(super) size: usize,
    /// How long is published.
    pub(super) duration: Duration,
}

impl Steady {
    fn publications(&self) -> u32 {
        (self.duration.as_secs_f64() * self.rate).ceil() as u32
    }
}

/// What they noticed.
#[derive(Debug)]
pub(super) struct Noticed {
    /// The longest time between two messages for one of them, in nanoseconds.
    pub(super) gap_ns: u64,
    /// How old messages were when they came.
    pub(super) latencies: Latencies,
}

/// They connect and subscribe.
///
/// # Errors
/// Some did not.
pub(super) fn gather(rig: &Rig, steady: &Steady) -> Result<Crowd<Bystanders>, BenchError> {
    let subscribers = fanout::Load {
        connections: steady.subscribers,
        rate: steady.rate,
        burst: 1,
        count: steady.publications(),
        size: steady.size,
        slow_percent: 0,
        own_channels: false,
    };
    let checks = steady.target.checks;
    let conduct = || Bystanders::new(Subscribers::new(subscribers, checks));
    Crowd::gather(rig, &steady.target, Gathering::paced(rig, steady.subscribers), conduct)?.all_joined(rig)
}

/// What all threads' bystanders noticed together.
pub(super) fn noticed(conducts: &[Bystanders]) -> Noticed {
    let latencies = Latencies::over(conducts.iter().map(|bystanders| bystanders.inner.latencies()));
    let gap_ns = conducts.iter().map(|bystanders| bystanders.gap_ns).max().unwrap_or(0);
    Noticed { gap_ns, latencies }
}

/// Their publisher, connected.
///
/// # Errors
/// Nobody said where is published to, or the connect failed.
pub(super) fn publisher(steady: &Steady) -> Result<SteadyPublisher<'_>, BenchError> {
    let publish = steady.target.publish.as_ref();
    let publish = publish.ok_or_else(|| {
        BenchError::Usage("where is published to those beside? Name it with --publish-url".into())
    })?;
    Ok(SteadyPublisher { steady, publisher: Publisher::connect(publish, 1)? })
}

/// Publishes to bystanders.
#[derive(Debug)]
pub(super) struct SteadyPublisher<'a> {
    steady: &'a Steady,
    publisher: Publisher,
}

impl SteadyPublisher<'_> {
    /// Publishes on schedule, until its time is over. A call that comes late does not move those after it.
    ///
    /// # Errors
    /// The server refused a publication.
    pub(super) fn publish_all(mut self, shared: &Shared) -> Result<(), BenchError> {
        let (began, began_ns) = (Instant::now(), shared.now_ns());
        for call in 0..self.steady.publications() {
            let due = Duration::from_secs_f64(f64::from(call) / self.steady.rate);
            thread::sleep(due.saturating_sub(began.elapsed()));
            self.publisher.publish(1, self.steady.size, began_ns + due.as_nanos() as u64)?;
        }
        Ok(())
    }
}

/// One thread's share: subscribers who also know when each of them last got something.
#[derive(Debug)]
pub(super) struct Bystanders {
    inner: Subscribers,
    /// By the client's number; there are few.
    last_ns: Vec<u64>,
    gap_ns: u64,
}

impl Bystanders {
    fn new(inner: Subscribers) -> Self {
        Self { inner, last_ns: Vec::new(), gap_ns: 0 }
    }
}

impl Conduct for Bystanders {
    fn message(
        &mut self,
        client: u32,
        note: &mut Note,
        text: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch> {
        let place = client as usize;
        if place >= self.last_ns.len() {
            self.last_ns.resize(place + 1, desk.now_ns);
        }
        let last_ns = std::mem::replace(&mut self.last_ns[place], desk.now_ns);
        if desk.recording {
            self.gap_ns = self.gap_ns.max(desk.now_ns - last_ns);
        }
        self.inner.message(client, note, text, desk)
    }

    fn leaving(&self, client: u32, note: &Note) -> Result<(), Mismatch> {
        self.inner.leaving(client, note)
    }
}
