#![doc = include_str!("README.md")]
//!
//! Must never know how roost works inside: it sees a server as a client, a publisher and the kernel see it.

pub mod budget;
mod bystanders;
mod client;
mod conduct;
mod course;
mod crowd;
mod dial;
mod drain;
mod echo;
pub mod error;
mod fairness;
mod fanout;
pub mod figures;
mod http_publisher;
mod idle;
mod joiners;
mod latency;
pub mod options;
mod payload;
mod plan;
mod probe;
mod progress;
mod publisher;
pub mod report;
mod rounds;
mod sources;
mod storm;
mod target;
mod url;
mod worker;
mod ws_publisher;

use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use budget::Bound;
use crowd::Rig;
use error::BenchError;
use figures::{Figure, summarize};
use options::{BenchArgs, CommonArgs};
use plan::Plan;
use progress::Progress;
use report::Report;
use rounds::alternate;
use sources::Sources;

use crate::limits::BENCH_COMPLAINTS_MAX;

/// All profiles and the figures they yield.
pub const CATALOGS: &[(&str, &[Figure])] = &[
    ("echo", echo::FIGURES),
    ("fanout", fanout::FIGURES),
    ("idle", idle::FIGURES),
    ("storm", storm::FIGURES),
    ("slow", fanout::SLOW_FIGURES),
    ("drain", drain::FIGURES),
];

/// Runs a profile and prints its report on standard output: the whole of `roost bench`. The exit code is 0 where the budget
/// was kept and nothing went wrong, 1 where not, and 2 where nothing could be measured.
#[must_use]
pub fn execute(args: &BenchArgs) -> ExitCode {
    match run(args) {
        Ok(report) => {
            let text = if args.profile.common().json {
                format!("{:#}\n", report.to_json())
            } else {
                report.to_text()
            };
            // Whoever closed our standard output does not want the report.
            let _ = stdout().write_all(text.as_bytes());
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("roost bench: {error}");
            ExitCode::from(NOT_MEASURED)
        }
    }
}

const NOT_MEASURED: u8 = 2;

/// Runs a profile from beginning to end and returns what was found. Shows how it is going on standard error.
///
/// # Errors
/// Options or a budget that make no sense, a server that cannot be measured, or a kernel that refuses something.
pub fn run(args: &BenchArgs) -> Result<Report, BenchError> {
    let (profile, common) = (args.profile.name(), args.profile.common());
    common.check().map_err(BenchError::Usage)?;
    let bounds = read_budget(profile, common)?;
    let mut plan = Plan::of(&args.profile)?;
    let mut rig = rig(common)?;

    let rounds = common.rounds.unwrap_or(if plan.floor.is_some() { ROUNDS_WITH_FLOOR } else { 1 });
    let measured = alternate(rounds, plan.floor.is_some(), |side| {
        // No thread of the round before is left, so the sources are this thread's alone.
        if let Some(sources) = Arc::get_mut(&mut rig.sources) {
            sources.renew();
        }
        let measurement = plan.measure(&rig, side);
        rig.progress.clear();
        measurement
    })?;

    let rows = summarize(plan.figures, &measured.server, &measured.floor);
    let all = || measured.server.iter().chain(&measured.floor);
    Ok(Report {
        profile,
        load: plan.load,
        rounds,
        verdicts: bounds.iter().map(|bound| bound.judge(&rows)).collect(),
        rows,
        complaints: all().flat_map(|round| &round.complaints).take(BENCH_COMPLAINTS_MAX).cloned().collect(),
        complaints_total: all().map(|round| round.complaints_total).sum(),
        kernel: probe::kernel_release(),
    })
}

fn rig(common: &CommonArgs) -> Result<Rig, BenchError> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let addresses = common.source.as_deref().unwrap_or(SOURCES_DEFAULT);
    Ok(Rig {
        clock: Instant::now(),
        sources: Arc::new(Sources::parse(addresses, &common.ports, seed)?),
        threads: common.threads,
        in_flight_max: common.in_flight,
        patience: Duration::from_secs_f64(common.patience),
        progress: Progress::default(),
    })
}

fn read_budget(profile: &str, common: &CommonArgs) -> Result<Vec<Bound>, BenchError> {
    let Some(path) = &common.budget else { return Ok(Vec::new()) };
    let text = fs::read_to_string(path).map_err(BenchError::io(format!("reading {}", path.display())))?;
    budget::parse(&text, profile, CATALOGS)
}

const ROUNDS_WITH_FLOOR: usize = 5;
/// Towards loopback: 65,534 addresses besides the one that servers are usually bound to.
const SOURCES_DEFAULT: &str = "127.1.0.0/16";
