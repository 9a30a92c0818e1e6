#![doc = include_str!("README.md")]
//!
//! Must never know how roost works inside: it sees a server as a client, a publisher and the kernel see it.

pub mod budget;
mod client;
mod conduct;
mod crowd;
mod echo;
pub mod error;
mod fanout;
pub mod figures;
mod latency;
pub mod options;
mod payload;
mod probe;
mod proc_text;
mod progress;
mod publisher;
pub mod report;
mod rounds;
mod sources;
mod target;
mod url;
mod worker;

use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use budget::Bound;
use crowd::Rig;
use error::BenchError;
use figures::{Figure, Measurement, summarize};
use options::{BenchArgs, CommonArgs, FanoutArgs, ProfileArgs, PublishArgs, SubscribeArgs};
use progress::Progress;
use publisher::PublishTarget;
use report::Report;
use rounds::{Side, alternate};
use sources::Sources;
use target::{Target, TargetSpec};

use crate::limits::BENCH_COMPLAINTS_MAX;

/// All profiles and the figures they yield.
pub const CATALOGS: &[(&str, &[Figure])] =
    &[("echo", echo::FIGURES), ("fanout", fanout::FIGURES), ("slow", fanout::SLOW_FIGURES)];

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

/// Runs a profile from beginning to end and returns what was found. Shows a line of progress where standard error is a
/// terminal.
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

type Measure = Box<dyn FnMut(&Rig, &Arc<Target>) -> Result<Measurement, BenchError>>;

/// What is measured, and where.
struct Plan {
    server: Arc<Target>,
    floor: Option<Arc<Target>>,
    figures: &'static [Figure],
    load: String,
    measure: Measure,
}

impl Plan {
    fn of(profile: &ProfileArgs) -> Result<Self, BenchError> {
        match profile {
            ProfileArgs::Echo(args) => {
                options::seconds("--seconds", args.seconds).map_err(BenchError::Usage)?;
                options::seconds("--warm-up", args.warm_up).map_err(BenchError::Usage)?;
                let (connections, depth, size) = (args.connections, args.depth, args.size);
                let load = echo::Load {
                    connections,
                    depth,
                    size,
                    warm_up: Duration::from_secs_f64(args.warm_up),
                    duration: Duration::from_secs_f64(args.seconds),
                };
                let (server, floor) =
                    targets(&args.common, "ws://127.0.0.1:8080/echo", None, None, !args.no_echo_check)?;
                Ok(Self {
                    server,
                    floor,
                    figures: echo::FIGURES,
                    load: format!(
                        "{connections} connections, {depth} in flight each, {size} bytes, {} s",
                        args.seconds
                    ),
                    measure: Box::new(move |rig, target| echo::measure(rig, target, &load)),
                })
            }
            ProfileArgs::Fanout(args) => Self::fanout(args, 0, fanout::FIGURES),
            ProfileArgs::Slow(args) => Self::fanout(&args.fanout, args.slow_percent, fanout::SLOW_FIGURES),
        }
    }

    fn fanout(args: &FanoutArgs, slow_percent: u32, figures: &'static [Figure]) -> Result<Self, BenchError> {
        let FanoutArgs { common, subscribe, publish, connections, count } = args;
        publish.check().map_err(BenchError::Usage)?;
        let load = fanout::Load {
            connections: *connections,
            rate: publish.rate,
            burst: publish.burst,
            count: *count,
            size: publish.size,
            slow_percent,
        };
        let slow = if slow_percent > 0 { format!(" ({slow_percent} % not reading)") } else { String::new() };
        let checks = !publish.no_sequence_check;
        let (server, floor) =
            targets(common, "ws://127.0.0.1:8080/live", Some(subscribe), Some(publish), checks)?;
        Ok(Self {
            server,
            floor,
            figures,
            load: format!(
                "{connections} connections{slow}, {count} publish calls of {} x {} bytes, {} a second",
                load.burst, load.size, load.rate
            ),
            measure: Box::new(move |rig, target| fanout::measure(rig, target, &load)),
        })
    }

    fn measure(&mut self, rig: &Rig, side: Side) -> Result<Measurement, BenchError> {
        match (side, &self.floor) {
            (Side::Floor, Some(floor)) => (self.measure)(rig, floor),
            (Side::Floor, None) | (Side::Server, _) => (self.measure)(rig, &self.server),
        }
    }
}

/// The server and, where one is named, the floor. The floor confirms no subscription and echoes from a can.
fn targets(
    common: &CommonArgs,
    url_default: &str,
    subscribe: Option<&SubscribeArgs>,
    publish: Option<&PublishArgs>,
    checks: bool,
) -> Result<(Arc<Target>, Option<Arc<Target>>), BenchError> {
    let channel = subscribe.map_or("", |subscribe| &subscribe.channel);
    let server = TargetSpec {
        name: "server",
        url: common.url.as_deref().unwrap_or(url_default),
        path: common.path.as_deref(),
        headers: &common.header,
        channel: subscribe.map(|subscribe| subscribe.channel.as_str()),
        subscribe_frame: subscribe.and_then(|subscribe| subscribe.subscribe_frame.as_deref()),
        confirmation: subscribe.map(|subscribe| subscribe.confirmation.as_str()),
        pids: &common.server_pid,
        publish: publish
            .map(|p| PublishTarget::new(&p.publish_url, &p.publish_header, &p.publish_body, channel))
            .transpose()?,
        checks,
        sources_named: common.source.is_some(),
    };
    let Some(floor_url) = &common.floor_url else { return Ok((Arc::new(Target::new(server)?), None)) };
    let floor_publish = publish.and_then(|p| Some((p.floor_publish_url.as_ref()?, &p.floor_publish_body)));
    let floor = TargetSpec {
        name: "floor",
        url: floor_url,
        subscribe_frame: None,
        confirmation: None,
        pids: &common.floor_pid,
        publish: floor_publish.map(|(url, body)| PublishTarget::new(url, &[], body, channel)).transpose()?,
        checks: checks && publish.is_some(),
        ..server.clone()
    };
    Ok((Arc::new(Target::new(server)?), Some(Arc::new(Target::new(floor)?))))
}

fn rig(common: &CommonArgs) -> Result<Rig, BenchError> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let addresses = common.source.as_deref().unwrap_or(SOURCES_DEFAULT);
    Ok(Rig {
        clock: Instant::now(),
        sources: Arc::new(Sources::parse(addresses, &common.ports, seed)?),
        threads: common.threads,
        patience: Duration::from_secs_f64(common.patience),
        progress: Progress::new(),
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
