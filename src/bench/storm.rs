//! Profile `storm`: everybody connects at once, and, if asked for, everybody leaves at once while others stay and new ones
//! come. What a connection costs from accept to subscription is counted, and what those who stay notice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::crowd::{Crowd, Gathering, Rig};
use super::error::BenchError;
use super::fanout;
use super::figures::{
    Figure, LATENCY_MAX, LATENCY_P50, LATENCY_P99, LATENCY_P999, Measurement, median, worst,
};
use super::latency::Latencies;
use super::probe::{Cpu, ListenLosses};
use super::publisher::Publisher;
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
    /// Where those who stay are subscribed, and where is published meanwhile: another channel than that of those who leave.
    pub(super) stay_target: Arc<Target>,
    pub(super) stay: u32,
    pub(super) newcomers: u32,
    /// Publish calls a second.
    pub(super) rate: f64,
    /// Data bytes of a message.
    pub(super) size: usize,
    /// How long is looked at.
    pub(super) duration: Duration,
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
        Some(leave) => Some((leave, gather_stayers(rig, leave)?)),
        None => None,
    };
    let crowd = storm(rig, target, load, &mut measurement)?;
    let joins = |conducts: &[Joiners]| {
        let mut latencies = Latencies::new();
        conducts.iter().for_each(|joiners| latencies.merge(&joiners.latencies));
        latencies
    };
    let mut home = match stayers {
        None => crowd.leave()?,
        Some((leave, stayers)) => {
            let parting = part(rig, target, leave, stayers, crowd)?;
            measurement.set(&STAY_GAP, parting.gap_ns as f64 / 1e6);
            measurement.set(&STAY_P99, parting.latencies.at_us(0.99));
            measurement.set(&STAY_MAX, parting.latencies.max_us());
            let newcomers = joins(&parting.newcomers);
            if newcomers.count() > 0 {
                measurement.set(&NEWCOMER_P50, newcomers.at_us(0.5));
                measurement.set(&NEWCOMER_MAX, newcomers.max_us());
            }
            parting.complaints.into_iter().for_each(|mut home| home.complain_to(&mut measurement));
            parting.home
        }
    };
    measurement.set_latencies(&joins(&home.conducts));
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

fn gather_stayers(rig: &Rig, leave: &Leave) -> Result<Crowd<Stayers>, BenchError> {
    let gathering = Gathering::paced(rig, leave.stay);
    let subscribers = fanout::Load {
        connections: leave.stay,
        rate: leave.rate,
        burst: 1,
        count: leave.publications(),
        size: leave.size,
        slow_percent: 0,
        own_channels: false,
    };
    let checks = leave.stay_target.checks;
    Crowd::gather(rig, &leave.stay_target, gathering, || {
        Stayers::new(fanout::Subscribers::new(subscribers, checks))
    })?
    .all_joined(rig)
}

impl Leave {
    fn publications(&self) -> u32 {
        ((LEAD_IN + self.duration).as_secs_f64() * self.rate).ceil() as u32
    }
}

/// What was seen while everybody left.
struct Parting {
    gap_ns: u64,
    latencies: Latencies,
    newcomers: Vec<Joiners>,
    home: super::crowd::Homecoming<Joiners>,
    complaints: Vec<super::crowd::Homecoming<()>>,
}

/// Publishes at a steady pace; soon after the beginning everybody leaves, and new ones come.
fn part(
    rig: &Rig,
    target: &Arc<Target>,
    leave: &Leave,
    mut stayers: Crowd<Stayers>,
    mut leavers: Crowd<Joiners>,
) -> Result<Parting, BenchError> {
    let publish = leave.stay_target.publish.as_ref();
    let publish = publish.ok_or_else(|| {
        BenchError::Usage("where is published to those who stay? Name it with --publish-url".into())
    })?;
    let publisher = Publisher::connect(publish, 1)?;
    stayers.act(Act::Play);
    let (began, began_ns) = (Instant::now(), stayers.shared.now_ns());
    // By itself: a publisher that waited until the threads of newcomers have begun would make a gap of its own.
    let newcomers = thread::scope(|scope| {
        let publishing = scope.spawn(move || publish_steadily(publisher, leave, began, began_ns));
        thread::sleep(LEAD_IN.saturating_sub(began.elapsed()));
        stayers.shared.recording.store(true, Ordering::Relaxed);
        leavers.act(Act::Leave);
        let newcomers = gather_newcomers(rig, target, leave);
        publishing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        newcomers
    })?;
    stayers
        .wait(rig, Some("of those who stay complete"), u64::from(leave.stay), |shared| &shared.finished)?;

    let (newcomers, rest_of_newcomers) = newcomers.all_joined(rig)?.leave()?.apart();
    let home = leavers.leave()?;
    let (stayed, rest_of_stayers) = stayers.leave()?.apart();
    let complaints = vec![rest_of_newcomers, rest_of_stayers];
    let mut latencies = Latencies::new();
    stayed.iter().for_each(|stayers| latencies.merge(stayers.inner.latencies()));
    let gap_ns = stayed.iter().map(|stayers| stayers.gap_ns).max().unwrap_or(0);
    Ok(Parting { gap_ns, latencies, newcomers, home, complaints })
}

/// Publishes on schedule, counted from `began`. A call that comes late does not move those after it.
fn publish_steadily(
    mut publisher: Publisher,
    leave: &Leave,
    began: Instant,
    began_ns: u64,
) -> Result<(), BenchError> {
    for call in 0..leave.publications() {
        let due = Duration::from_secs_f64(f64::from(call) / leave.rate);
        thread::sleep(due.saturating_sub(began.elapsed()));
        publisher.publish(1, leave.size, began_ns + due.as_nanos() as u64)?;
    }
    Ok(())
}

fn gather_newcomers(rig: &Rig, target: &Arc<Target>, leave: &Leave) -> Result<Crowd<Joiners>, BenchError> {
    let gathering = Gathering::paced(rig, leave.newcomers);
    Crowd::gather(rig, target, gathering, Joiners::new)
}

/// Time in which those who stay get messages before the others leave.
const LEAD_IN: Duration = Duration::from_millis(500);

/// One thread's clients, of whom only matters how long they took to join.
#[derive(Debug)]
struct Joiners {
    latencies: Latencies,
}

impl Joiners {
    fn new() -> Self {
        Self { latencies: Latencies::new() }
    }
}

impl Conduct for Joiners {
    fn joined(&mut self, note: &mut Note, desk: &mut Desk<'_>) {
        self.latencies.record(desk.now_ns.saturating_sub(note.mark));
        *note = Note::default();
    }

    fn message(
        &mut self,
        _client: u32,
        _note: &mut Note,
        _text: &str,
        _desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch> {
        Ok(())
    }
}

/// One thread's share of those who stay: subscribers who also know when each of them last got something.
#[derive(Debug)]
struct Stayers {
    inner: fanout::Subscribers,
    /// By the client's number; there are few.
    last_ns: Vec<u64>,
    gap_ns: u64,
}

impl Stayers {
    fn new(inner: fanout::Subscribers) -> Self {
        Self { inner, last_ns: Vec::new(), gap_ns: 0 }
    }
}

impl Conduct for Stayers {
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
