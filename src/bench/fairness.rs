//! What others notice while publications go out to very many: clients that ask for a sign of life, the subscribers of a
//! small channel that is published to steadily, and newcomers. Must never know how many the very many are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::bystanders::{self, Bystanders, Noticed, Steady};
use super::crowd::{Crowd, Gathering, Rig, brought_home};
use super::echo::{self, Echo};
use super::error::BenchError;
use super::figures::{Figure, Measurement, median, worst};
use super::joiners::{self, Joiners};
use super::latency::Latencies;
use super::target::Target;
use super::worker::Act;

/// Those beside.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    /// Where those who ask and newcomers are: on a channel that nobody publishes to.
    pub(super) target: Arc<Target>,
    /// Clients that ask: enough that every thread of the server has some.
    pub(super) asking: u32,
    /// The small channel.
    pub(super) few: Steady,
}

/// What those beside yield. A pong answers a ping message and counts from when that was due; quiet is before the first
/// publication.
pub(super) const QUIET_P99: Figure = median("pong_quiet_p99_us");
/// See [`QUIET_P99`].
pub(super) const QUIET_MAX: Figure = median("pong_quiet_max_us");
/// See [`QUIET_P99`].
pub(super) const PONG_P99: Figure = median("pong_p99_us");
/// See [`QUIET_P99`].
pub(super) const PONG_MAX: Figure = worst("pong_max_us");
/// See [`QUIET_P99`].
pub(super) const FEW_P99: Figure = median("few_latency_p99_us");
/// See [`QUIET_P99`].
pub(super) const FEW_MAX: Figure = worst("few_latency_max_us");
/// See [`QUIET_P99`].
pub(super) const NEWCOMER_P50: Figure = median("newcomer_p50_us");
/// See [`QUIET_P99`].
pub(super) const NEWCOMER_MAX: Figure = worst("newcomer_max_us");

/// Does the work while they go about theirs, and says what they noticed.
///
/// # Errors
/// Some of them did not connect, a publication was refused, or the work failed.
pub(super) fn watch<T>(
    rig: &Rig,
    beside: &Beside,
    measurement: &mut Measurement,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let quiet = ask_for(rig, beside)?;
    let asking = begin_asking(rig, beside)?;
    let few = begin_few(rig, beside)?;
    let publisher = bystanders::publisher(&beside.few)?;
    let (worked, newcomers) = thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher.publish_all(&few.shared));
        let coming = scope.spawn(|| let_come(rig, beside));
        let worked = work();
        let newcomers = brought_home(coming.join())?;
        brought_home(publishing.join())?;
        Ok::<_, BenchError>((worked?, newcomers))
    })?;
    few.wait(rig, None, u64::from(beside.few.subscribers), |shared| &shared.finished)?;

    let (few, mut rest) = few.leave()?.apart();
    rest.complain_to(measurement);
    let (asking, mut rest) = asking.leave()?.apart();
    rest.complain_to(measurement);
    set(measurement, &quiet, &echo::latencies(&asking), &bystanders::noticed(&few), &newcomers);
    Ok(worked)
}

/// How long answers take while nothing else happens.
fn ask_for(rig: &Rig, beside: &Beside) -> Result<Latencies, BenchError> {
    let asking = begin_asking(rig, beside)?;
    rig.pause("quiet", QUIET);
    Ok(echo::latencies(&asking.leave()?.apart().0))
}

fn begin_asking(rig: &Rig, beside: &Beside) -> Result<Crowd<Echo>, BenchError> {
    let load = echo::Load {
        connections: beside.asking,
        depth: 1,
        size: PING.len(),
        rate: Some(f64::from(beside.asking) * PINGS_PER_S),
        warm_up: Duration::ZERO,
        duration: Duration::ZERO,
    };
    let conduct = || Echo::saying(PING, load);
    let crowd = Crowd::gather(rig, &beside.target, Gathering::paced(rig, beside.asking), conduct)?;
    Ok(playing(crowd.all_joined(rig)?))
}

fn begin_few(rig: &Rig, beside: &Beside) -> Result<Crowd<Bystanders>, BenchError> {
    Ok(playing(bystanders::gather(rig, &beside.few)?))
}

fn playing<C: super::conduct::Conduct>(mut crowd: Crowd<C>) -> Crowd<C> {
    crowd.shared.recording.store(true, Ordering::Relaxed);
    crowd.act(Act::Play);
    crowd
}

/// Newcomers, one after another at a steady pace for as long as the small channel is published to; how long each took to
/// join.
fn let_come(rig: &Rig, beside: &Beside) -> Result<Latencies, BenchError> {
    let began = Instant::now();
    let mut newcomers = Vec::new();
    while began.elapsed() < beside.few.duration {
        let first = beside.asking + newcomers.len() as u32;
        let gathering = Gathering { first, ..Gathering::paced(rig, 1) };
        newcomers.push(Crowd::gather(rig, &beside.target, gathering, Joiners::new)?);
        thread::sleep((NEWCOMER_EVERY * newcomers.len() as u32).saturating_sub(began.elapsed()));
    }
    let mut conducts = Vec::new();
    for newcomer in newcomers {
        conducts.append(&mut newcomer.all_joined(rig)?.leave()?.conducts);
    }
    Ok(joiners::latencies(&conducts))
}

fn set(to: &mut Measurement, quiet: &Latencies, pongs: &Latencies, few: &Noticed, newcomers: &Latencies) {
    to.set(&QUIET_P99, quiet.at_us(0.99));
    to.set(&QUIET_MAX, quiet.max_us());
    to.set(&PONG_P99, pongs.at_us(0.99));
    to.set(&PONG_MAX, pongs.max_us());
    to.set(&FEW_P99, few.latencies.at_us(0.99));
    to.set(&FEW_MAX, few.latencies.max_us());
    to.set(&NEWCOMER_P50, newcomers.at_us(0.5));
    to.set(&NEWCOMER_MAX, newcomers.max_us());
}

/// What those who ask say; the answer is a message too.
const PING: &str = r#"{"type":"ping"}"#;
/// How often each of them does.
const PINGS_PER_S: f64 = 10.0;
/// How long they do while nothing else happens.
const QUIET: Duration = Duration::from_secs(5);
const NEWCOMER_EVERY: Duration = Duration::from_millis(100);
