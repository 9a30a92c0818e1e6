//! Profile `storm`: everybody connects at once, and, if asked for, everybody leaves at once while others stay and new ones
//! come. What a connection costs from accept to subscription is counted, and what those who stay notice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::bystanders::{self, Bystanders, Noticed, Steady};
use super::crowd::{Crowd, Gathering, Rig, brought_home};
use super::error::BenchError;
use super::figures::{
    Figure, LATENCY_MAX, LATENCY_P50, LATENCY_P99, LATENCY_P999, Measurement, median, worst,
};
use super::joiners::{self, Joiners};
use super::probe::{Cpu, ListenLosses};
use super::target::Target;
use super::worker::Act;

/// The load.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) connections: u32,
    /// What happens afterwards; `None` for nothing.
    pub(super) leave: Option<Leave>,
}

/// All leave at once, while others stay.
#[derive(Debug, Clone)]
pub(super) struct Leave {
    /// Those who stay, on another channel than those who leave.
    pub(super) stay: Steady,
    pub(super) newcomers: u32,
}

const TIME_TO_ALL: Figure = median("time_to_all_ms");
const CPU: [Figure; 3] = [
    median("cpu_us_per_connection"),
    median("cpu_user_us_per_connection"),
    median("cpu_system_us_per_connection"),
];
const FAILED: Figure = worst("failed");
const OVERFLOWS: Figure = worst("listen_overflows");
const DROPS: Figure = worst("listen_drops");
const STAY_GAP: Figure = worst("stay_gap_max_ms");
const STAY_P99: Figure = median("stay_latency_p99_us");
const STAY_MAX: Figure = worst("stay_latency_max_us");
const NEWCOMER_P50: Figure = median("newcomer_p50_us");
const NEWCOMER_MAX: Figure = worst("newcomer_max_us");

/// What this profile yields. Latency goes from the beginning of a connect to the confirmed subscription; processor time is
/// the server's. The gap is the longest time between two messages for one of those who stay.
pub(super) const FIGURES: &[Figure] = &[
    TIME_TO_ALL,
    CPU[0],
    CPU[1],
    CPU[2],
    LATENCY_P50,
    LATENCY_P99,
    LATENCY_P999,
    LATENCY_MAX,
    FAILED,
    OVERFLOWS,
    DROPS,
    STAY_GAP,
    STAY_P99,
    STAY_MAX,
    NEWCOMER_P50,
    NEWCOMER_MAX,
];

/// Measures one server.
///
/// # Errors
/// A server whose process cannot be read; a publication that was refused; those who stay did not join. Clients of the
/// storm that fail are counted instead.
pub(super) fn measure(rig: &Rig, target: &Arc<Target>, load: &Load) -> Result<Measurement, BenchError> {
    let mut measurement = Measurement::default();
    let stayers = match &load.leave {
        Some(leave) => Some((leave, bystanders::gather(rig, &leave.stay)?)),
        None => None,
    };
    let crowd = storm(rig, target, load, &mut measurement)?;
    let mut home = match stayers {
        None => crowd.leave()?,
        Some((leave, stayers)) => {
            let parting = part(rig, target, leave, stayers, crowd)?;
            measurement.set(&STAY_GAP, parting.noticed.gap_ns as f64 / 1e6);
            measurement.set(&STAY_P99, parting.noticed.latencies.at_us(0.99));
            measurement.set(&STAY_MAX, parting.noticed.latencies.max_us());
            let newcomers = joiners::latencies(&parting.newcomers);
            if newcomers.count() > 0 {
                measurement.set(&NEWCOMER_P50, newcomers.at_us(0.5));
                measurement.set(&NEWCOMER_MAX, newcomers.max_us());
            }
            parting.complaints.into_iter().for_each(|mut home| home.complain_to(&mut measurement));
            parting.home
        }
    };
    measurement.set_latencies(&joiners::latencies(&home.conducts));
    home.complain_to(&mut measurement);
    Ok(measurement)
}

/// Everybody connects. The crowd that comes back may lack some.
fn storm(
    rig: &Rig,
    target: &Arc<Target>,
    load: &Load,
    measurement: &mut Measurement,
) -> Result<Crowd<Joiners>, BenchError> {
    let gathering = Gathering {
        clients: load.connections,
        first: 0,
        in_flight_max: None,
        // A storm that leaves does so as browsers do.
        reset: load.leave.is_none(),
    };
    let (losses, before, began) = (ListenLosses::read()?, Cpu::read(&target.pids)?, Instant::now());
    let crowd = Crowd::gather(rig, target, gathering, Joiners::new)?;
    crowd.wait(rig, Some("joined"), u64::from(load.connections), |shared| &shared.joined)?;
    measurement.set(&TIME_TO_ALL, began.elapsed().as_secs_f64() * 1e3);
    let spent = Cpu::read(&target.pids)?.since(&before);
    let lost = ListenLosses::read()?;

    let joined = crowd.shared.joined.load(Ordering::Acquire);
    if !target.pids.is_empty() {
        measurement.set_cpu(&CPU, spent, joined as f64);
    }
    measurement.set(&FAILED, u64::from(load.connections).saturating_sub(joined) as f64);
    measurement.set(&OVERFLOWS, lost.overflows.saturating_sub(losses.overflows) as f64);
    measurement.set(&DROPS, lost.drops.saturating_sub(losses.drops) as f64);
    Ok(crowd)
}

/// What was seen while everybody left.
struct Parting {
    noticed: Noticed,
    newcomers: Vec<Joiners>,
    home: super::crowd::Homecoming<Joiners>,
    complaints: Vec<super::crowd::Homecoming<()>>,
}

/// Publishes at a steady pace; soon after the beginning everybody leaves, and new ones come.
fn part(
    rig: &Rig,
    target: &Arc<Target>,
    leave: &Leave,
    mut stayers: Crowd<Bystanders>,
    mut leavers: Crowd<Joiners>,
) -> Result<Parting, BenchError> {
    let publisher = bystanders::publisher(&leave.stay)?;
    stayers.act(Act::Play);
    let began = Instant::now();
    // By itself: a publisher that waited until the threads of newcomers have begun would make a gap of its own.
    let newcomers = thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher.publish_all(&stayers.shared));
        thread::sleep(LEAD_IN.saturating_sub(began.elapsed()));
        stayers.shared.recording.store(true, Ordering::Relaxed);
        leavers.act(Act::Leave);
        let newcomers = gather_newcomers(rig, target, leave);
        brought_home(publishing.join())?;
        newcomers
    })?;
    stayers.wait(rig, Some("of those who stay complete"), u64::from(leave.stay.subscribers), |shared| {
        &shared.finished
    })?;

    let (newcomers, rest_of_newcomers) = newcomers.all_joined(rig)?.leave()?.apart();
    let home = leavers.leave()?;
    let (stayed, rest_of_stayers) = stayers.leave()?.apart();
    let complaints = vec![rest_of_newcomers, rest_of_stayers];
    let noticed = bystanders::noticed(&stayed);
    Ok(Parting { noticed, newcomers, home, complaints })
}

fn gather_newcomers(rig: &Rig, target: &Arc<Target>, leave: &Leave) -> Result<Crowd<Joiners>, BenchError> {
    let gathering = Gathering::paced(rig, leave.newcomers);
    Crowd::gather(rig, target, gathering, Joiners::new)
}

/// Time in which those who stay get messages before the others leave.
pub(super) const LEAD_IN: Duration = Duration::from_millis(500);
