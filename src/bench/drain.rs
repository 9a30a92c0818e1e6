//! Profile `drain`: clients that are connected, and a server that is asked to send them away over a time. When each hears its
//! goodbye is noted, and when it was asked to come back: neither may come in a burst.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::client::End;
use super::conduct::{Conduct, Desk, Mismatch, Note};
use super::crowd::{Crowd, Gathering, Rig};
use super::error::BenchError;
use super::figures::{Figure, Measurement, median, worst};
use super::http_publisher::HttpPublisher;
use super::probe::Cpu;
use super::publisher::PublishTarget;
use super::target::Target;

/// The load.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) connections: u32,
    /// The goodbyes are to be spread over this.
    pub(super) over: Duration,
    /// Who is asked for that.
    pub(super) drain: PublishTarget,
}

const TOLD: Figure = median("told");
const CUT: Figure = worst("cut_without_goodbye");
const LAST: Figure = median("last_s");
const SPREAD: Figure = worst("goodbye_spread_percent");
const COMEBACK_SPREAD: Figure = worst("comeback_spread_percent");
const CPU: Figure = median("cpu_us_per_connection");

/// What this profile yields. A spread is the most that a second of the time has more or fewer than an equal part; a client
/// comes back when its goodbye asks it to, counted from when that came.
pub(super) const FIGURES: &[Figure] = &[TOLD, CUT, LAST, SPREAD, COMEBACK_SPREAD, CPU];

/// Measures one server.
///
/// # Errors
/// Clients that did not join; a server that refuses to drain, or whose process cannot be read.
pub(super) fn measure(rig: &Rig, target: &Arc<Target>, load: &Load) -> Result<Measurement, BenchError> {
    let gathering = Gathering { reset: false, ..Gathering::paced(rig, load.connections) };
    let crowd = Crowd::gather(rig, target, gathering, Leavers::default)?.all_joined(rig)?;
    rig.settle(&target.pids)?;

    let (began_ns, before) = (crowd.shared.now_ns(), Cpu::read(&target.pids)?);
    let order = format!(r#"{{"over_ms":{}}}"#, load.over.as_millis());
    HttpPublisher::connect(&load.drain)?.publish(&load.drain, &[order])?;
    crowd.wait(rig, Some("told"), u64::from(load.connections), |shared| &shared.finished)?;
    let spent = Cpu::read(&target.pids)?.since(&before);

    let failed = crowd.shared.failed.load(Ordering::Acquire);
    let mut home = crowd.leave()?;
    let mut goodbyes = Goodbyes::default();
    for leavers in &home.conducts {
        goodbyes.told_ns.extend(leavers.0.told_ns.iter().map(|told_ns| told_ns.saturating_sub(began_ns)));
        goodbyes.back_ns.extend(leavers.0.back_ns.iter().map(|back_ns| back_ns.saturating_sub(began_ns)));
        goodbyes.cut += leavers.0.cut;
    }
    let mut measurement = Measurement::default();
    measurement.set(&TOLD, goodbyes.told_ns.len() as f64);
    measurement.set(&CUT, (goodbyes.cut + failed) as f64);
    measurement.set(&LAST, goodbyes.told_ns.iter().max().map_or(0.0, |last_ns| *last_ns as f64 / 1e9));
    let seconds = 0..load.over.as_secs();
    if let Some(spread) = spread_percent(&goodbyes.told_ns, seconds.clone()) {
        measurement.set(&SPREAD, spread);
    }
    // In the first second of coming back and the one behind the last goodbye there are only parts.
    if let Some(spread) = spread_percent(&goodbyes.back_ns, seconds.start + 1..seconds.end) {
        measurement.set(&COMEBACK_SPREAD, spread);
    }
    if !target.pids.is_empty() {
        measurement.set(&CPU, spent.total_us / f64::from(load.connections));
    }
    home.complain_to(&mut measurement);
    Ok(measurement)
}

/// How far the busiest or the emptiest of these seconds is from the mean of them; None where there is no second.
fn spread_percent(moments_ns: &[u64], seconds: std::ops::Range<u64>) -> Option<f64> {
    let count = |second: u64| moments_ns.iter().filter(|ns| **ns / NS_PER_S == second).count() as f64;
    let counts: Vec<f64> = seconds.map(count).collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let farthest = counts.iter().map(|count| (count - mean).abs()).reduce(f64::max)?;
    (mean > 0.0).then(|| farthest / mean * 100.0)
}

const NS_PER_S: u64 = 1_000_000_000;

/// What became of clients.
#[derive(Debug, Default)]
struct Goodbyes {
    /// When each was told, in nanoseconds.
    told_ns: Vec<u64>,
    /// When each is to come back.
    back_ns: Vec<u64>,
    /// Those who lost their connection without a word.
    cut: u64,
}

/// One thread's clients.
#[derive(Debug, Default)]
struct Leavers(Goodbyes);

impl Conduct for Leavers {
    fn message(&mut self, _: u32, _: &mut Note, _: &str, _: &mut Desk<'_>) -> Result<(), Mismatch> {
        Ok(())
    }

    fn lost(&mut self, _client: u32, _note: &mut Note, end: &End, desk: &mut Desk<'_>) -> bool {
        let End::Goodbye(words) = end else {
            self.0.cut += 1;
            return false;
        };
        let retry_ms = words.split_once("retry_after_ms=").map_or(0, |(_, rest)| leading_number(rest));
        self.0.told_ns.push(desk.now_ns);
        self.0.back_ns.push(desk.now_ns + retry_ms * 1_000_000);
        *desk.finished += 1;
        true
    }
}

fn leading_number(text: &str) -> u64 {
    let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_the_worst_second_and_an_empty_one_counts() {
        let moments = |counts: &[u64]| -> Vec<u64> {
            let second = |(second, count): (usize, &u64)| vec![second as u64 * NS_PER_S + 7; *count as usize];
            counts.iter().enumerate().flat_map(second).collect()
        };
        assert_eq!(spread_percent(&moments(&[10, 10, 10]), 0..3), Some(0.0));
        assert_eq!(spread_percent(&moments(&[9, 12, 9]), 0..3), Some(20.0));
        assert_eq!(spread_percent(&moments(&[20, 0, 10]), 0..3), Some(100.0));
        assert_eq!(spread_percent(&moments(&[99, 10, 10, 99]), 1..3), Some(0.0));
        assert_eq!(spread_percent(&[], 0..3), None);
        assert_eq!(spread_percent(&[1], 0..0), None);
    }

    #[test]
    fn the_time_to_stay_away_is_read_from_the_reason() {
        assert_eq!(leading_number("250\""), 250);
        assert_eq!(leading_number(""), 0);
    }
}
