//! Profile `idle`: clients that subscribe and then do nothing but answer pings. What the server and the kernel remember of
//! each is counted, and what it costs to keep them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::client::{End, MASK};
use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::crowd::{Crowd, Gathering, Rig};
use super::error::BenchError;
use super::figures::{Figure, Measurement, median, worst};
use super::probe::{Cpu, KernelMemory, Memory};
use super::target::Target;
use super::worker::Act;
use crate::proto::frame::{Opcode, put_masked_frame};

/// The load.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) connections: u32,
    /// How long they are left alone before anything is looked at.
    pub(super) warm_up: Duration,
    /// How long they are held.
    pub(super) hold: Duration,
    /// What each says once before, if anything; the server answers with one message.
    pub(super) say: Option<String>,
}

const JOIN: Figure = median("join_s");
const RSS: Figure = median("rss_bytes_per_connection");
const PSS: Figure = median("pss_bytes_per_connection");
const RSS_SAID: Figure = median("rss_said_bytes_per_connection");
const RSS_SAID_SHARE: Figure = median("rss_said_percent");
const RSS_LEFT: Figure = median("rss_left_bytes_per_connection");
const RSS_LEFT_SHARE: Figure = median("rss_left_percent");
const RSS_BEFORE: Figure = median("rss_before_bytes");
const RSS_HELD: Figure = median("rss_held_bytes");
const LOST: Figure = worst("lost");
const SLAB: Figure = median("slab_bytes_per_connection");
const SOCKET_SLAB: Figure = median("socket_slab_bytes_per_connection");
const SOCKETS: Figure = median("tcp_sockets");
const TCP_MEM: Figure = median("tcp_mem_pages");
const CPU: Figure = median("cpu_us_per_connection_s");
const PINGS: Figure = median("pings_per_s");
const PING_CPU: Figure = median("cpu_us_per_ping");
const PING_SPREAD: Figure = median("ping_spread_percent");

/// What this profile yields. Bytes a connection are counted from the memory before the first one; `rss_said_percent` is
/// what they became once all had said something, as a share of what they were, and `rss_left_percent` the whole
/// process after all have left, as a share of what it was before. Slab figures are the host's: over loopback both ends of
/// each connection are in them.
pub(super) const FIGURES: &[Figure] = &[
    JOIN,
    RSS,
    PSS,
    RSS_SAID,
    RSS_SAID_SHARE,
    RSS_LEFT,
    RSS_LEFT_SHARE,
    RSS_BEFORE,
    RSS_HELD,
    LOST,
    SLAB,
    SOCKET_SLAB,
    SOCKETS,
    TCP_MEM,
    CPU,
    PINGS,
    PING_CPU,
    PING_SPREAD,
];

/// Measures one server.
///
/// # Errors
/// Clients that did not join, or a server whose process cannot be read.
pub(super) fn measure(rig: &Rig, target: &Arc<Target>, load: &Load) -> Result<Measurement, BenchError> {
    let gathering = Gathering::paced(rig, load.connections);
    let (before, kernel) = (Memory::read(&target.pids)?, KernelMemory::read()?);
    let began = Instant::now();
    let conduct = || Idlers::new(load, rig.in_flight_max);
    let mut crowd = Crowd::gather(rig, target, gathering, conduct)?.all_joined(rig)?;

    let connections = f64::from(load.connections);
    let mut measurement = Measurement::default();
    measurement.set(&JOIN, began.elapsed().as_secs_f64());
    let joined = at_rest(rig, target)?;
    let mut said = None;
    if load.say.is_some() {
        crowd.act(Act::Play);
        crowd.wait(rig, Some("answered"), u64::from(load.connections), |shared| &shared.finished)?;
        said = Some(at_rest(rig, target)?);
    }
    set_kernel(&mut measurement, connections, &kernel, &KernelMemory::read()?);

    let hold = hold(rig, &crowd, target, load)?;
    let held = Memory::read(&target.pids)?;
    measurement.set(&LOST, crowd.shared.failed.load(Ordering::Acquire) as f64);
    let mut home = crowd.leave()?;
    let mut pings = Pings::default();
    home.conducts.iter().for_each(|conduct| pings.add(&conduct.pings));
    hold.set(&mut measurement, connections, &pings);
    let moments = Moments { before, joined, said, held, left: at_rest(rig, target)? };
    if !target.pids.is_empty() {
        moments.set(&mut measurement, connections);
    }
    home.complain_to(&mut measurement);
    Ok(measurement)
}

/// The server's memory once it has nothing left to do.
fn at_rest(rig: &Rig, target: &Target) -> Result<Memory, BenchError> {
    rig.settle(&target.pids)?;
    Memory::read(&target.pids)
}

/// The server's memory over the run.
struct Moments {
    /// Without a client.
    before: Memory,
    joined: Memory,
    /// After each had an answer, if any asked for one.
    said: Option<Memory>,
    /// At the end of the silence.
    held: Memory,
    /// After all have left.
    left: Memory,
}

impl Moments {
    fn set(&self, to: &mut Measurement, connections: f64) {
        let Self { before, joined, said, held, left } = self;
        let growth = |now: &Memory| now.rss as f64 - before.rss as f64;
        to.set(&RSS, growth(joined) / connections);
        to.set(&PSS, (joined.pss as f64 - before.pss as f64) / connections);
        if let Some(said) = said {
            to.set(&RSS_SAID, growth(said) / connections);
            if growth(joined) > 0.0 {
                to.set(&RSS_SAID_SHARE, growth(said) / growth(joined) * 100.0);
            }
        }
        to.set(&RSS_LEFT, growth(left) / connections);
        to.set(&RSS_LEFT_SHARE, left.rss as f64 / before.rss as f64 * 100.0);
        to.set(&RSS_BEFORE, before.rss as f64);
        to.set(&RSS_HELD, held.rss as f64);
    }
}

fn set_kernel(to: &mut Measurement, connections: f64, before: &KernelMemory, now: &KernelMemory) {
    let growth = |now: u64, before: u64| (now as f64 - before as f64) / connections;
    to.set(&SLAB, growth(now.slab, before.slab));
    if let (Some(now), Some(before)) = (now.socket_slab, before.socket_slab) {
        to.set(&SOCKET_SLAB, growth(now, before));
    }
    to.set(&SOCKETS, now.sockets.allocated as f64 - before.sockets.allocated as f64);
    to.set(&TCP_MEM, now.sockets.mem_pages as f64 - before.sockets.mem_pages as f64);
}

/// The time in which nothing happens but pings.
struct Hold {
    /// Its beginning and its end, in nanoseconds since the run began.
    ns: Range<u64>,
    /// Processor time of the server, if its processes are known.
    cpu_us: Option<f64>,
}

fn hold(rig: &Rig, crowd: &Crowd<Idlers>, target: &Target, load: &Load) -> Result<Hold, BenchError> {
    rig.pause("warm-up", load.warm_up);
    let (began_ns, before) = (crowd.shared.now_ns(), Cpu::read(&target.pids)?);
    crowd.shared.recording.store(true, Ordering::Relaxed);
    rig.pause("silence", load.hold);
    crowd.shared.recording.store(false, Ordering::Relaxed);
    let cpu_us = Cpu::read(&target.pids)?.since(&before).total_us;
    let cpu_us = (!target.pids.is_empty()).then_some(cpu_us);
    Ok(Hold { ns: began_ns..crowd.shared.now_ns(), cpu_us })
}

impl Hold {
    fn set(&self, measurement: &mut Measurement, connections: f64, pings: &Pings) {
        let pinged = pings.total() as f64;
        let seconds = (self.ns.end - self.ns.start) as f64 / 1e9;
        if seconds > 0.0 {
            measurement.set(&PINGS, pinged / seconds);
        }
        if let Some(cpu_us) = self.cpu_us.filter(|_| seconds > 0.0) {
            measurement.set(&CPU, cpu_us / connections / seconds);
        }
        if let Some(cpu_us) = self.cpu_us.filter(|_| pinged > 0.0) {
            measurement.set(&PING_CPU, cpu_us / pinged);
        }
        if let Some(spread) = pings.spread_percent(&self.ns) {
            measurement.set(&PING_SPREAD, spread);
        }
    }
}

/// One thread's clients. In a client's note, `count` holds the steps that are left: to say something, and to be answered.
#[derive(Debug)]
struct Idlers {
    say: Option<String>,
    /// Clients that have it to say yet.
    silent: VecDeque<u32>,
    /// Clients that wait for the answer.
    waiting: usize,
    /// A million of them at once would be a storm, and fill what the host has for unread data.
    waiting_max: usize,
    pings: Pings,
}

impl Idlers {
    fn new(load: &Load, waiting_max: usize) -> Self {
        let pings = Pings::default();
        Self { say: load.say.clone(), silent: VecDeque::new(), waiting: 0, waiting_max, pings }
    }
}

const TO_SAY: u16 = 2;
const TO_BE_ANSWERED: u16 = 1;

impl Conduct for Idlers {
    fn open(&mut self, client: u32, note: &mut Note, _desk: &mut Desk<'_>) {
        note.count = TO_SAY;
        self.silent.push_back(client);
    }

    fn due_ns(&self) -> Option<u64> {
        (self.waiting < self.waiting_max && !self.silent.is_empty()).then_some(0)
    }

    fn take_due(&mut self, _now_ns: u64) -> Option<u32> {
        self.due_ns().and_then(|_| self.silent.pop_front())
    }

    fn turn(&mut self, _client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        note.count = TO_BE_ANSWERED;
        self.waiting += 1;
        let text = self.say.as_deref().unwrap_or_default();
        put_masked_frame(desk.out, Opcode::Text, text.as_bytes(), MASK);
    }

    fn message(
        &mut self,
        _client: u32,
        note: &mut Note,
        _text: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch> {
        if note.count == TO_BE_ANSWERED {
            note.count = 0;
            self.waiting -= 1;
            *desk.finished += 1;
        }
        Ok(())
    }

    fn lost(&mut self, _client: u32, note: &mut Note, _end: &End, _desk: &mut Desk<'_>) -> bool {
        self.waiting -= usize::from(note.count == TO_BE_ANSWERED);
        false
    }

    fn leaving(&self, _client: u32, note: &Note) -> Result<(), Mismatch> {
        match note.count {
            0 => Ok(()),
            _ => {
                Err(Mismatch { expected: "an answer to what it said".into(), came: "nothing in time".into() })
            }
        }
    }

    fn pinged(&mut self, desk: &mut Desk<'_>) {
        if desk.recording {
            self.pings.record(desk.now_ns);
        }
    }
}

/// How many pings came in each tenth of a second.
#[derive(Debug, Default)]
struct Pings {
    /// Of the first tenth that has any, counted since the run began.
    first: u64,
    counts: Vec<u32>,
}

impl Pings {
    fn record(&mut self, now_ns: u64) {
        let tenth = now_ns / TENTH_NS;
        if self.counts.is_empty() {
            self.first = tenth;
        }
        // The clock of one thread does not go back; the hold, a week at most, bounds the list.
        let place = tenth.saturating_sub(self.first) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
    }

    fn add(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            self.first = other.first;
        }
        let first = self.first.min(other.first);
        let ends = [self, other].map(|pings| pings.first + pings.counts.len() as u64);
        let mut counts = vec![0; (ends[0].max(ends[1]) - first) as usize];
        for pings in [&*self, other] {
            let from = (pings.first - first) as usize;
            counts[from..].iter_mut().zip(&pings.counts).for_each(|(sum, count)| *sum += count);
        }
        *self = Self { first, counts };
    }

    fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// How far the busiest or the quietest tenth of a time is from the mean, in percent of it. The first and the last,
    /// which the time cut, do not count; without enough others, or without a ping, there is no answer.
    fn spread_percent(&self, ns: &Range<u64>) -> Option<f64> {
        let tenths = ns.start / TENTH_NS + 1..ns.end / TENTH_NS;
        let count = |tenth: u64| {
            let place = tenth.checked_sub(self.first).map(|place| place as usize);
            place.and_then(|place| self.counts.get(place)).map_or(0.0, |count| f64::from(*count))
        };
        let length = tenths.clone().count();
        let mean = tenths.clone().map(count).sum::<f64>() / length as f64;
        let farthest = tenths.map(|tenth| (count(tenth) - mean).abs()).fold(0.0, f64::max);
        (length >= TENTHS_MIN && mean > 0.0).then(|| farthest / mean * 100.0)
    }
}

const TENTH_NS: u64 = 100_000_000;
/// A second.
const TENTHS_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_it_a_few_at_a_time_and_one_without_an_answer_complains() {
        let load =
            Load { connections: 3, warm_up: Duration::ZERO, hold: Duration::ZERO, say: Some("hello".into()) };
        let (mut idlers, mut notes) = (Idlers::new(&load, 2), [Note::default(); 3]);
        let (mut out, mut delivered, mut finished) = (Vec::new(), 0, 0);
        let mut desk = Desk {
            now_ns: 0,
            recording: true,
            out: &mut out,
            delivered: &mut delivered,
            finished: &mut finished,
        };
        for client in [0, 1, 2] {
            idlers.open(client, &mut notes[client as usize], &mut desk);
        }
        let say = |idlers: &mut Idlers, notes: &mut [Note; 3], desk: &mut Desk<'_>| {
            let client = idlers.take_due(0)?;
            idlers.turn(client, &mut notes[client as usize], desk);
            Some(client)
        };
        let said: Vec<_> = (0..3).map(|_| say(&mut idlers, &mut notes, &mut desk)).collect();
        assert_eq!(said, [Some(0), Some(1), None]);
        idlers.message(2, &mut notes[2], "news", &mut desk).unwrap();
        idlers.message(1, &mut notes[1], "hello", &mut desk).unwrap();
        idlers.lost(0, &mut notes[0], &End::Closed, &mut desk);
        assert_eq!(say(&mut idlers, &mut notes, &mut desk), Some(2));
        assert!(idlers.leaving(2, &notes[2]).is_err());
        assert_eq!((idlers.leaving(1, &notes[1]), finished), (Ok(()), 1));
    }

    #[test]
    fn memory_is_counted_from_before_and_shares_say_what_came_back() {
        let memory = |rss, pss| Memory { rss, pss };
        let moments = Moments {
            before: memory(5000, 4000),
            joined: memory(12_500, 11_000),
            said: Some(memory(14_375, 0)),
            held: memory(13_000, 0),
            left: memory(6250, 0),
        };
        let mut measurement = Measurement::default();
        moments.set(&mut measurement, 100.0);
        for (figure, expected) in [(RSS, 75.0), (PSS, 70.0), (RSS_SAID, 93.75), (RSS_SAID_SHARE, 125.0)] {
            assert_eq!(measurement.value(figure.name), Some(expected), "{}", figure.name);
        }
        for (figure, expected) in [(RSS_LEFT, 12.5), (RSS_LEFT_SHARE, 125.0), (RSS_HELD, 13_000.0)] {
            assert_eq!(measurement.value(figure.name), Some(expected), "{}", figure.name);
        }
    }

    fn pings(tenths: &[u64]) -> Pings {
        let mut pings = Pings::default();
        tenths.iter().for_each(|tenth| pings.record(tenth * TENTH_NS + 5));
        pings
    }

    #[test]
    fn threads_that_began_at_other_times_add_up_by_the_clock() {
        let mut sum = pings(&[5, 5, 7]);
        sum.add(&pings(&[3, 7, 9]));
        sum.add(&Pings::default());
        assert_eq!((sum.first, sum.counts.as_slice()), (3, [1, 0, 2, 0, 2, 0, 1].as_slice()));
        let mut none = Pings::default();
        none.add(&sum);
        assert_eq!((none.first, none.total()), (3, 6));
    }

    #[test]
    fn the_spread_is_the_farthest_tenth_by_the_mean() {
        // From within the first tenth until within the last.
        let hold = 5..19 * TENTH_NS + 5;
        let even: Vec<u64> = (0..20).flat_map(|tenth| [tenth; 10]).collect();
        assert_eq!(pings(&even).spread_percent(&hold), Some(0.0));
        let mut burst = even.clone();
        burst.extend([7; 18]);
        assert!((pings(&burst).spread_percent(&hold).unwrap() - 154.5).abs() < 0.1);
        assert_eq!(pings(&even).spread_percent(&(0..10 * TENTH_NS)), None, "too short to say");
        assert_eq!(Pings::default().spread_percent(&hold), None);
    }

    #[test]
    fn one_burst_in_a_long_silence_is_as_far_from_even_as_it_gets() {
        let spread = pings(&[40; 500]).spread_percent(&(0..101 * TENTH_NS));
        assert_eq!(spread, Some(9900.0));
    }
}
