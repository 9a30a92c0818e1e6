//! Profile `echo`: every client keeps a fixed number of messages in flight and sends the next ones when all came back. That
//! is a closed loop, whose latency is that of a server which is never asked more than it can answer. At a given pace, what
//! has to wait for the answers before it counts from the moment at which it was due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::client::MASK;
use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::crowd::{Crowd, Gathering, Rig};
use super::error::{BenchError, excerpt};
use super::figures::{
    CPU_BY_MESSAGE, Figure, LATENCY_MAX, LATENCY_P50, LATENCY_P99, LATENCY_P999, Measurement, median,
};
use super::latency::Latencies;
use super::probe::Cpu;
use super::target::Target;
use super::worker::Act;
use crate::proto::frame::{Opcode, put_masked_frame};

/// The load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) depth: u16,
    pub(super) size: usize,
    /// Messages a second of all clients together; `None` for as many as are answered.
    pub(super) rate: Option<f64>,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

impl Load {
    /// Time between two batches of one client, if there is a pace.
    fn period_ns(&self) -> Option<u64> {
        let batches_per_s = self.rate? / f64::from(self.connections) / f64::from(self.depth);
        Some((1e9 / batches_per_s) as u64)
    }
}

const MESSAGES: Figure = median("messages_per_s");

/// What this profile yields. Processor time is the server's, and latency goes from a message's write, or at a given pace
/// from when it was due, to its echo.
pub(super) const FIGURES: &[Figure] = &[
    MESSAGES,
    CPU_BY_MESSAGE[0],
    CPU_BY_MESSAGE[1],
    CPU_BY_MESSAGE[2],
    LATENCY_P50,
    LATENCY_P99,
    LATENCY_P999,
    LATENCY_MAX,
];

/// Measures one server.
///
/// # Errors
/// Clients that did not join, or a server whose process cannot be read.
pub(super) fn measure(rig: &Rig, target: &Arc<Target>, load: &Load) -> Result<Measurement, BenchError> {
    let gathering = Gathering::paced(rig, load.connections);
    let checks = target.checks;
    let conduct = || Echo::new(*load, checks);
    let mut crowd = Crowd::gather(rig, target, gathering, conduct)?.all_joined(rig)?;

    crowd.act(Act::Play);
    rig.pause("warm-up", load.warm_up);
    crowd.shared.recording.store(true, Ordering::Relaxed);
    let before = Reading::take(&crowd, target)?;
    rig.pause("echoes", load.duration);
    let after = Reading::take(&crowd, target)?;

    let mut home = crowd.leave()?;
    let messages = (after.delivered - before.delivered) as f64;
    let mut measurement = Measurement::default();
    measurement.set(&MESSAGES, messages / (after.at - before.at).as_secs_f64());
    if !target.pids.is_empty() {
        measurement.set_cpu(&CPU_BY_MESSAGE, after.cpu.since(&before.cpu), messages);
    }
    measurement.set_latencies(&latencies(&home.conducts));
    home.complain_to(&mut measurement);
    Ok(measurement)
}

/// How long answers took, over all threads.
pub(super) fn latencies(conducts: &[Echo]) -> Latencies {
    Latencies::over(conducts.iter().map(|echo| &echo.latencies))
}

/// What is compared at both ends of the measured time.
struct Reading {
    at: Instant,
    delivered: u64,
    cpu: Cpu,
}

impl Reading {
    fn take(crowd: &Crowd<Echo>, target: &Target) -> Result<Self, BenchError> {
        let cpu = Cpu::read(&target.pids)?;
        let delivered = crowd.shared.delivered.load(Ordering::Acquire);
        Ok(Self { at: Instant::now(), delivered, cpu })
    }
}

/// One thread's clients.
#[derive(Debug)]
pub(super) struct Echo {
    load: Load,
    checks: bool,
    /// What is said instead of a payload of its own for each message.
    text: Option<&'static str>,
    payload: Vec<u8>,
    latencies: Latencies,
    /// When clients that have all their answers send again. At most one entry a client.
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Echo {
    fn new(load: Load, checks: bool) -> Self {
        Self {
            load,
            checks,
            text: None,
            payload: Vec::new(),
            latencies: Latencies::new(),
            due: BinaryHeap::new(),
        }
    }

    /// Clients that say `text` and take any message for its answer.
    pub(super) fn saying(text: &'static str, load: Load) -> Self {
        Self { text: Some(text), ..Self::new(load, false) }
    }

    /// The batch after the one that was due at `note.mark`: at once where there is no pace or it is late, else in its time.
    fn next_batch(&mut self, client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        let Some(period_ns) = self.load.period_ns() else {
            note.mark = desk.now_ns;
            return self.send_batch(client, note, desk);
        };
        note.mark += period_ns;
        if note.mark <= desk.now_ns {
            self.send_batch(client, note, desk);
        } else {
            self.due.push(Reverse((note.mark, client)));
        }
    }

    /// Everything in flight goes out in one write.
    fn send_batch(&mut self, client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        note.count = self.load.depth;
        for place in (0..self.load.depth).rev() {
            match self.text {
                Some(text) => put_masked_frame(desk.out, Opcode::Text, text.as_bytes(), MASK),
                None => {
                    fill(&mut self.payload, self.load.size, client, place, note.mark);
                    put_masked_frame(desk.out, Opcode::Text, &self.payload, MASK);
                }
            }
        }
    }
}

impl Conduct for Echo {
    fn open(&mut self, client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        note.mark = desk.now_ns;
        let Some(period_ns) = self.load.period_ns() else { return self.send_batch(client, note, desk) };
        // The first batches are spread over a period, as all that follow will be.
        let place = f64::from(client) / f64::from(self.load.connections);
        note.mark += (place * period_ns as f64) as u64;
        self.due.push(Reverse((note.mark, client)));
    }

    fn due_ns(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        self.due_ns().filter(|due_ns| *due_ns <= now_ns)?;
        self.due.pop().map(|Reverse((_, client))| client)
    }

    fn turn(&mut self, client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        self.send_batch(client, note, desk);
    }

    fn message(
        &mut self,
        client: u32,
        note: &mut Note,
        text: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch> {
        let Some(left) = note.count.checked_sub(1) else {
            let came = excerpt(text.as_bytes(), self.load.size);
            return Err(Mismatch { expected: "nothing before the next message".into(), came });
        };
        note.count = left;
        *desk.delivered += 1;
        if desk.recording {
            self.latencies.record(desk.now_ns.saturating_sub(note.mark));
        }
        let mut result = Ok(());
        if self.checks {
            fill(&mut self.payload, self.load.size, client, left, note.mark);
            if self.payload != text.as_bytes() {
                let excerpt = |bytes| excerpt(bytes, self.load.size.min(80));
                let (expected, came) = (excerpt(&self.payload), excerpt(text.as_bytes()));
                result = Err(Mismatch { expected, came });
            }
        }
        if left == 0 {
            self.next_batch(client, note, desk);
        }
        result
    }
}

/// A payload that no other client and no other message has, as far as its size allows.
fn fill(payload: &mut Vec<u8>, size: usize, client: u32, place: u16, mark: u64) {
    payload.clear();
    for (value, digits) in [(u64::from(client), 8), (u64::from(place), 4), (mark, 16)] {
        payload.extend((0..digits).rev().map(|digit| HEXADECIMAL[(value >> (4 * digit) & 0xf) as usize]));
    }
    payload.resize(size, b'.');
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        connections: 1,
        depth: 2,
        size: 64,
        rate: None,
        warm_up: Duration::ZERO,
        duration: Duration::ZERO,
    };

    /// Runs `act` at `now_ns` and returns its result, the bytes it sent and the messages it counted.
    fn turn<T>(now_ns: u64, act: impl FnOnce(&mut Desk<'_>) -> T) -> (T, usize, u64) {
        let (mut out, mut delivered, mut finished) = (Vec::new(), 0, 0);
        let mut desk = Desk {
            now_ns,
            recording: true,
            out: &mut out,
            delivered: &mut delivered,
            finished: &mut finished,
        };
        let result = act(&mut desk);
        (result, out.len(), delivered)
    }

    #[test]
    fn the_next_batch_goes_out_when_all_came_back() {
        let (mut echo, mut note) = (Echo::new(LOAD, true), Note::default());
        let batch_bytes = 2 * (2 + 4 + 64);
        assert_eq!(turn(7, |desk| echo.open(3, &mut note, desk)).1, batch_bytes);
        let text = |place: u16| {
            let mut payload = Vec::new();
            fill(&mut payload, 64, 3, place, 7);
            String::from_utf8(payload).unwrap()
        };
        assert_eq!(turn(8, |desk| echo.message(3, &mut note, &text(1), desk)), (Ok(()), 0, 1));
        assert_eq!(turn(9, |desk| echo.message(3, &mut note, &text(0), desk)), (Ok(()), batch_bytes, 1));
        assert_eq!(echo.latencies.count(), 2);
    }

    #[test]
    fn at_a_pace_a_batch_that_waited_for_answers_counts_from_when_it_was_due() {
        // Two batches of two a second and client: one every 500 ms.
        let load = Load { connections: 4, rate: Some(16.0), ..LOAD };
        let (mut echo, mut note) = (Echo::new(load, false), Note::default());
        assert_eq!(turn(1000, |desk| echo.open(1, &mut note, desk)).1, 0);
        let first_ns = 1000 + 125_000_000;
        assert_eq!((echo.due_ns(), echo.take_due(first_ns - 1)), (Some(first_ns), None));
        assert_eq!(echo.take_due(first_ns), Some(1));
        assert!(turn(first_ns, |desk| echo.turn(1, &mut note, desk)).1 > 0);

        let answer = |echo: &mut Echo, note: &mut Note, now_ns| {
            let mut sent = 0;
            for _ in 0..2 {
                sent = turn(now_ns, |desk| echo.message(1, note, "x", desk)).1;
            }
            sent
        };
        // In time: the next batch waits for its turn.
        assert_eq!(answer(&mut echo, &mut note, first_ns + 1_000_000), 0);
        let second_ns = first_ns + 500_000_000;
        assert_eq!(echo.take_due(second_ns), Some(1));
        turn(second_ns, |desk| echo.turn(1, &mut note, desk));
        // 700 ms late: the next one goes out at once, and is 200 ms old by then.
        assert!(answer(&mut echo, &mut note, second_ns + 700_000_000) > 0);
        assert_eq!((echo.due_ns(), note.mark), (None, second_ns + 500_000_000));
        assert_eq!(answer(&mut echo, &mut note, second_ns + 710_000_000), 0);
        let median_us = echo.latencies.at_us(0.5);
        assert!((median_us / 210_000.0 - 1.0).abs() < 0.001, "{median_us}");
    }

    #[test]
    fn another_answer_and_one_too_many_are_mismatches() {
        let (mut echo, mut note) = (Echo::new(LOAD, true), Note { mark: 7, count: 1 });
        let (result, ..) = turn(8, |desk| echo.message(3, &mut note, "hello", desk));
        assert_eq!(result.unwrap_err().came, "\"hello\"");
        note.count = 0;
        assert!(turn(9, |desk| echo.message(3, &mut note, "more", desk)).0.is_err());
    }

    #[test]
    fn a_payload_has_the_size_asked_for_however_small() {
        let mut payload = Vec::new();
        for size in [0, 1, 8, 64, 5000] {
            fill(&mut payload, size, u32::MAX, u16::MAX, u64::MAX);
            assert_eq!(payload.len(), size);
        }
    }
}
