//! Profiles `fanout` and `slow`: many subscribers of one channel, and one publisher with a schedule. Latency counts from
//! the moment at which a message was to be published, so a publisher that is held up hides nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::client::End;
use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::course::{Course, Step};
use super::crowd::{Crowd, Gathering, Rig};
use super::error::{BenchError, excerpt};
use super::fairness::{self, Beside};
use super::figures::{
    CPU_BY_MESSAGE, Figure, LATENCY_MAX, LATENCY_P50, LATENCY_P99, LATENCY_P999, Measurement, median, worst,
};
use super::latency::Latencies;
use super::payload::{Marker, find_offset};
use super::probe::{Cpu, CpuSpent, Memory};
use super::publisher::Publisher;
use super::target::Target;
use super::worker::Act;

/// The load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: u32,
    /// Requests of the publisher a second; 0 publishes when all have received what came before.
    pub(super) rate: f64,
    /// Messages in one request.
    pub(super) burst: u32,
    /// Requests in all.
    pub(super) count: u32,
    /// Data bytes of a message.
    pub(super) size: usize,
    /// How many of a hundred connections do not read.
    pub(super) slow_percent: u32,
    /// Every connection has a channel of its own; they are published to in turn.
    pub(super) own_channels: bool,
}

impl Load {
    /// How many channels there are.
    fn channels(&self) -> u32 {
        if self.own_channels { self.connections } else { 1 }
    }

    /// Messages of all publish calls together.
    fn published(&self) -> u32 {
        self.count.saturating_mul(self.burst)
    }

    /// Messages for each client.
    fn messages(&self) -> u32 {
        self.published() / self.channels()
    }

    /// Clients that read.
    fn readers(&self) -> u64 {
        u64::from(self.connections - slow_connections(self))
    }

    /// What is wrong with the numbers, if anything is: channels that would not all get as many messages.
    pub(super) fn check(&self) -> Result<(), String> {
        let (published, channels) = (self.published(), self.channels());
        if published.is_multiple_of(channels) {
            return Ok(());
        }
        Err(format!(
            "--count x --burst, {published}, is no multiple of the {channels} channels: some would get fewer"
        ))
    }
}

const DELIVERIES: Figure = median("deliveries_per_s");
const LOST: Figure = worst("lost");
const DUPLICATED: Figure = worst("duplicated");
const REORDERED: Figure = worst("reordered");
const SLOW: Figure = median("slow_connections");
const SLOW_CLOSED: Figure = median("slow_closed");
const RSS_GROWTH: Figure = worst("rss_growth_bytes");

/// What profile `fanout` yields. Processor time is the server's, by delivered message.
pub(super) const FIGURES: &[Figure] = &[
    DELIVERIES,
    CPU_BY_MESSAGE[0],
    CPU_BY_MESSAGE[1],
    CPU_BY_MESSAGE[2],
    LATENCY_P50,
    LATENCY_P99,
    LATENCY_P999,
    LATENCY_MAX,
    LOST,
    DUPLICATED,
    REORDERED,
    fairness::QUIET_P99,
    fairness::QUIET_MAX,
    fairness::PONG_P99,
    fairness::PONG_MAX,
    fairness::FEW_P99,
    fairness::FEW_MAX,
    fairness::NEWCOMER_P50,
    fairness::NEWCOMER_MAX,
];

/// What profile `slow` yields: the figures of those who read, what became of those who do not, and the server's memory.
pub(super) const SLOW_FIGURES: &[Figure] = &[
    DELIVERIES,
    CPU_BY_MESSAGE[0],
    CPU_BY_MESSAGE[1],
    CPU_BY_MESSAGE[2],
    LATENCY_P50,
    LATENCY_P99,
    LATENCY_P999,
    LATENCY_MAX,
    LOST,
    DUPLICATED,
    REORDERED,
    SLOW,
    SLOW_CLOSED,
    RSS_GROWTH,
];

/// Measures one server, and where there are some `beside`, what they notice.
///
/// # Errors
/// Clients that did not join, a publication that was refused, or a server whose process cannot be read.
pub(super) fn measure(
    rig: &Rig,
    target: &Arc<Target>,
    load: &Load,
    beside: Option<&Beside>,
) -> Result<Measurement, BenchError> {
    let gathering = Gathering::paced(rig, load.connections);
    let checks = target.checks;
    let mut crowd =
        Crowd::gather(rig, target, gathering, || Subscribers::new(*load, checks))?.all_joined(rig)?;
    crowd.shared.recording.store(true, Ordering::Relaxed);
    crowd.act(Act::Play);
    let mut measurement = Measurement::default();
    let run = match beside {
        Some(beside) => fairness::watch(rig, beside, &mut measurement, || run(rig, target, &crowd, load))?,
        None => run(rig, target, &crowd, load)?,
    };
    let mut home = crowd.leave()?;

    let mut total = Subscribers::new(*load, checks);
    home.conducts.iter().for_each(|conduct| total.add(conduct));
    let seconds = total.last_ns.saturating_sub(run.began_ns) as f64 / 1e9;
    measurement.set(&DELIVERIES, if seconds > 0.0 { total.delivered as f64 / seconds } else { 0.0 });
    if !target.pids.is_empty() {
        measurement.set_cpu(&CPU_BY_MESSAGE, run.spent, total.delivered as f64);
    }
    measurement.set_latencies(&total.latencies);
    let expected = load.readers() * u64::from(load.messages());
    measurement.set(&LOST, expected.saturating_sub(total.delivered) as f64);
    measurement.set(&DUPLICATED, total.duplicated as f64);
    measurement.set(&REORDERED, total.reordered as f64);
    if load.slow_percent > 0 {
        measurement.set(&SLOW, f64::from(slow_connections(load)));
        measurement.set(&SLOW_CLOSED, total.slow_closed as f64);
        if !target.pids.is_empty() {
            measurement.set(&RSS_GROWTH, run.rss_growth as f64);
        }
    }
    home.complain_to(&mut measurement);
    Ok(measurement)
}

/// What the server took for the publications.
struct Run {
    began_ns: u64,
    spent: CpuSpent,
    rss_growth: u64,
}

/// Publishes all, until those who read have it.
fn run(rig: &Rig, target: &Target, crowd: &Crowd<Subscribers>, load: &Load) -> Result<Run, BenchError> {
    let publish = target.publish.as_ref().ok_or_else(|| {
        BenchError::Usage(format!("where is the {} published to? Name it with --publish-url", target.name))
    })?;
    let mut publisher = Publisher::connect(publish, load.channels())?;
    let memory_before = Memory::read(&target.pids)?;
    let before = Cpu::read(&target.pids)?;
    let began_ns = crowd.shared.now_ns();
    publish_all(rig, crowd, &mut publisher, load)?;
    crowd.wait(rig, Some("clients complete"), load.readers(), |shared| &shared.finished)?;
    let spent = Cpu::read(&target.pids)?.since(&before);
    let rss_growth = Memory::read(&target.pids)?.rss.saturating_sub(memory_before.rss);
    Ok(Run { began_ns, spent, rss_growth })
}

/// Publishes on schedule. A request that comes late does not move those after it.
fn publish_all(
    rig: &Rig,
    crowd: &Crowd<Subscribers>,
    publisher: &mut Publisher,
    load: &Load,
) -> Result<(), BenchError> {
    let began = Instant::now();
    let began_ns = crowd.shared.now_ns();
    for request in 0..load.count {
        let intended_ns = if load.rate > 0.0 {
            let due = Duration::from_secs_f64(f64::from(request) / load.rate);
            thread::sleep(due.saturating_sub(began.elapsed()));
            began_ns + due.as_nanos() as u64
        } else {
            let goal =
                load.readers() * u64::from(request) * u64::from(load.burst) / u64::from(load.channels());
            crowd.wait(rig, None, goal, |shared| &shared.delivered)?;
            crowd.shared.now_ns()
        };
        publisher.publish(load.burst, load.size, intended_ns)?;
        rig.progress.show("publish calls", u64::from(request) + 1, u64::from(load.count));
    }
    Ok(())
}

/// How many connections do not read: every hundredth, as often as the percentage says.
fn slow_connections(load: &Load) -> u32 {
    let (hundreds, rest) = (load.connections / 100, load.connections % 100);
    hundreds * load.slow_percent + rest.min(load.slow_percent)
}

/// One thread's subscribers. In a client's note, `mark` holds the number of the message that comes next and, in the upper
/// half, how many were left out before it.
#[derive(Debug)]
pub(super) struct Subscribers {
    load: Load,
    checks: bool,
    latencies: Latencies,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
    slow_closed: u64,
    last_ns: u64,
    /// Offset of the first message by this server's counting. One publisher numbers its messages without holes, so the
    /// offset of every message, for every client, is known from any one.
    offset_of_first: Option<u64>,
}

impl Subscribers {
    /// Subscribers that have received nothing; with `checks`, they complain about what they miss.
    pub(super) fn new(load: Load, checks: bool) -> Self {
        Self {
            load,
            checks,
            latencies: Latencies::new(),
            delivered: 0,
            duplicated: 0,
            reordered: 0,
            slow_closed: 0,
            last_ns: 0,
            offset_of_first: None,
        }
    }

    /// How old messages were when they came.
    pub(super) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    fn add(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.delivered += other.delivered;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.slow_closed += other.slow_closed;
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    fn deliver(&mut self, marker: Marker, desk: &mut Desk<'_>) {
        self.delivered += 1;
        *desk.delivered += 1;
        self.last_ns = desk.now_ns;
        if desk.recording {
            self.latencies.record(desk.now_ns.saturating_sub(marker.intended_ns));
        }
    }

    fn check_offset(&mut self, marker: Marker, text: &str) -> Result<(), Mismatch> {
        let Some(offset) = find_offset(text) else { return Ok(()) };
        let number = u64::from(marker.number);
        let first = *self.offset_of_first.get_or_insert(offset.wrapping_sub(number));
        let expected = first.wrapping_add(number);
        if offset == expected {
            return Ok(());
        }
        Err(Mismatch {
            expected: format!("message {number} with offset {expected}"),
            came: format!("offset {offset}"),
        })
    }
}

impl Conduct for Subscribers {
    fn message(
        &mut self,
        client: u32,
        note: &mut Note,
        text: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch> {
        if !self.reads(client) {
            return Ok(());
        }
        // What carries no marker is an announcement of the server's own.
        let Some(marker) = Marker::find(text) else { return Ok(()) };
        let mut course = Course::of(note);
        let step = course.take(marker.number);
        course.keep(note);
        match step {
            Step::Next | Step::Skipped(_) => self.deliver(marker, desk),
            Step::Late => {
                self.reordered += 1;
                self.deliver(marker, desk);
            }
            Step::Again => self.duplicated += 1,
        }
        // Whoever was left out something waits for it, in case it comes late.
        if course.next == self.load.messages() && course.missing == 0 && step != Step::Again {
            *desk.finished += 1;
        }
        if !self.checks {
            return Ok(());
        }
        self.check_offset(marker, text)?;
        let came = |what: &str| format!("{what} {}: {}", marker.number, excerpt(text.as_bytes(), 200));
        match step {
            Step::Next => Ok(()),
            Step::Skipped(expected) => {
                Err(Mismatch { expected: format!("message {expected}"), came: came("message") })
            }
            Step::Late => {
                Err(Mismatch { expected: "messages in order".into(), came: came("message, late,") })
            }
            Step::Again => {
                Err(Mismatch { expected: "each message once".into(), came: came("again message") })
            }
        }
    }

    fn reads(&self, client: u32) -> bool {
        client % 100 >= self.load.slow_percent
    }

    fn leaving(&self, client: u32, note: &Note) -> Result<(), Mismatch> {
        let (course, messages) = (Course::of(note), self.load.messages());
        // Holes in the middle were noticed when they came.
        if !self.checks || !self.reads(client) || course.next == messages {
            return Ok(());
        }
        let expected = format!("all of {messages} messages");
        Err(Mismatch { expected, came: format!("nothing from message {} on", course.next) })
    }

    fn lost(&mut self, client: u32, _note: &mut Note, _end: &End, _desk: &mut Desk<'_>) -> bool {
        let slow = !self.reads(client);
        self.slow_closed += u64::from(slow);
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        connections: 250,
        rate: 0.0,
        burst: 1,
        count: 4,
        size: 64,
        slow_percent: 10,
        own_channels: false,
    };

    #[test]
    fn channels_of_their_own_get_as_many_each_or_the_load_is_refused() {
        let own = Load { own_channels: true, burst: 125, ..LOAD };
        assert_eq!((own.published(), own.messages(), own.check()), (500, 2, Ok(())));
        let uneven = Load { burst: 124, ..own };
        assert!(uneven.check().unwrap_err().contains("496, is no multiple of the 250 channels"));
        assert_eq!(LOAD.messages(), 4);
    }

    fn receive(subscribers: &mut Subscribers, note: &mut Note, text: &str) -> (Result<(), Mismatch>, u64) {
        let (mut out, mut delivered, mut finished) = (Vec::new(), 0, 0);
        let mut desk = Desk {
            now_ns: 1000,
            recording: true,
            out: &mut out,
            delivered: &mut delivered,
            finished: &mut finished,
        };
        let result = subscribers.message(99, note, text, &mut desk);
        (result, finished)
    }

    fn text(number: u32, offset: u64) -> String {
        let data = Marker { number, intended_ns: 0 }.to_json(64);
        format!("{{\"data\":{data},\"offset\":{offset}}}")
    }

    #[test]
    fn a_client_with_every_message_once_and_in_order_has_finished() {
        let (mut subscribers, mut note) = (Subscribers::new(LOAD, true), Note::default());
        let finished: Vec<_> =
            (0..4).map(|n| receive(&mut subscribers, &mut note, &text(n, 100 + u64::from(n)))).collect();
        assert_eq!(finished, [(Ok(()), 0), (Ok(()), 0), (Ok(()), 0), (Ok(()), 1)]);
        assert_eq!((subscribers.delivered, subscribers.duplicated, subscribers.reordered), (4, 0, 0));
        assert!(receive(&mut subscribers, &mut note, &text(3, 103)).0.is_err());
        assert_eq!((subscribers.delivered, subscribers.duplicated), (4, 1));
    }

    #[test]
    fn a_client_that_leaves_early_says_what_never_came() {
        let (mut subscribers, mut note) = (Subscribers::new(LOAD, true), Note::default());
        receive(&mut subscribers, &mut note, &text(0, 1)).0.unwrap();
        let mismatch = subscribers.leaving(99, &note).unwrap_err();
        assert_eq!(mismatch.came, "nothing from message 1 on");
        assert_eq!(subscribers.leaving(0, &note), Ok(()), "this one does not read");
    }

    #[test]
    fn an_offset_that_another_message_should_have_is_a_mismatch() {
        let (mut subscribers, mut note) = (Subscribers::new(LOAD, true), Note::default());
        assert_eq!(receive(&mut subscribers, &mut note, &text(0, 7)).0, Ok(()));
        let mismatch = receive(&mut subscribers, &mut note, &text(1, 9)).0.unwrap_err();
        assert_eq!(mismatch.expected, "message 1 with offset 8");
        assert_eq!(mismatch.came, "offset 9");
    }

    #[test]
    fn what_carries_no_marker_is_passed_over_and_without_checks_only_counted() {
        let (mut subscribers, mut note) = (Subscribers::new(LOAD, false), Note::default());
        assert_eq!(receive(&mut subscribers, &mut note, "{\"type\":\"gap\"}").0, Ok(()));
        assert_eq!(receive(&mut subscribers, &mut note, &text(2, 1)).0, Ok(()));
        assert_eq!(subscribers.delivered, 1);
    }

    #[test]
    fn as_many_connections_are_slow_as_the_percentage_says() {
        let subscribers = Subscribers::new(LOAD, true);
        let slow = (0..LOAD.connections).filter(|client| !subscribers.reads(*client)).count();
        assert_eq!(slow as u32, slow_connections(&LOAD));
        assert_eq!(slow, 30);
    }
}
