//! The options of `roost bench`, as they are typed. Must never know how a measurement is made.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};

use crate::limits::{BENCH_DEPTH_MAX, BENCH_IN_FLIGHT, BENCH_ROUNDS_MAX, BENCH_THREADS_MAX};

/// Put a server under load and measure it
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What is measured.
    #[command(subcommand)]
    pub profile: ProfileArgs,
}

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub enum ProfileArgs {
    /// Messages that come straight back
    #[command(after_help = budget_keys("echo"))]
    Echo(EchoArgs),
    /// One publication to many subscribers
    #[command(after_help = budget_keys("fanout"))]
    Fanout(FanoutArgs),
    /// Many clients that do nothing
    #[command(after_help = budget_keys("idle"))]
    Idle(IdleArgs),
    /// Everybody connects at once, and leaves at once
    #[command(after_help = budget_keys("storm"))]
    Storm(StormArgs),
    /// Fan-out while some subscribers do not read
    #[command(after_help = budget_keys("slow"))]
    Slow(SlowArgs),
    /// Everybody is sent away over a time
    #[command(after_help = budget_keys("drain"))]
    Drain(DrainArgs),
}

impl ProfileArgs {
    /// The profile's name on the command line and in budget files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Fanout(_) => "fanout",
            Self::Idle(_) => "idle",
            Self::Storm(_) => "storm",
            Self::Slow(_) => "slow",
            Self::Drain(_) => "drain",
        }
    }

    /// The options that all profiles share.
    #[must_use]
    pub fn common(&self) -> &CommonArgs {
        match self {
            Self::Echo(args) => &args.common,
            Self::Fanout(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Storm(args) => &args.common,
            Self::Slow(args) => &args.fanout.common,
            Self::Drain(args) => &args.common,
        }
    }
}

/// Options that all profiles share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// Where clients connect to [default: ws://127.0.0.1:8080, with /echo or /live as the profile needs]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Path and query instead of those in the URL
    #[arg(long)]
    pub path: Option<String>,
    /// A header of the upgrade request, repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// A process of the server, for its processor time and memory; repeatable or separated by commas
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// A second server, such as the bare floor, measured alternately; reports the ratio of the first to it
    #[arg(long, value_name = "URL")]
    pub floor_url: Option<String>,
    /// A process of the second server
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "floor_url")]
    pub floor_pid: Vec<u32>,
    /// Rounds, of which the median is reported [default: 1, or 5 with a second server]
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Threads of the generator; many clients take more, one for each descriptor table they need
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Source addresses of clients: addresses and networks, separated by commas [default towards loopback:
    /// 127.1.0.0/16; else the kernel chooses]
    #[arg(long, value_name = "LIST")]
    pub source: Option<String>,
    /// Source ports of clients
    #[arg(long, value_name = "FIRST-LAST", default_value = "10000-59999")]
    pub ports: String,
    /// Connects that each thread has in flight, and messages of --say; a storm has no bound
    #[arg(long, value_name = "N", default_value_t = BENCH_IN_FLIGHT)]
    pub in_flight: usize,
    /// Seconds in which nothing happens before a measurement is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub patience: f64,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
    /// Bounds on figures, in TOML; any that is not kept makes the exit code 1
    #[arg(long, value_name = "FILE")]
    pub budget: Option<PathBuf>,
}

impl CommonArgs {
    /// What is wrong with the numbers, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        within("--threads", self.threads, 1, BENCH_THREADS_MAX)?;
        within("--rounds", self.rounds.unwrap_or(1), 1, BENCH_ROUNDS_MAX)?;
        within("--in-flight", self.in_flight, 1, usize::MAX)?;
        seconds("--patience", self.patience)
    }
}

/// Messages that come straight back: each client sends `depth` messages in one write when all of the last came back
#[derive(Debug, Clone, Args)]
pub struct EchoArgs {
    /// Options that all profiles share.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Messages that each client keeps in flight
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = value_parser!(u16).range(1..=i64::from(BENCH_DEPTH_MAX)))]
    pub depth: u16,
    /// Payload bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub size: usize,
    /// Messages a second of all clients together, where what waits for answers ages from when it was due [default: as
    /// many as are answered]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    pub warm_up: f64,
    /// Accept any answer for an echo
    #[arg(long)]
    pub no_echo_check: bool,
}

impl EchoArgs {
    /// What is wrong with the numbers, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.rate {
            Some(rate) if !rate.is_finite() || rate <= 0.0 => {
                Err(format!("--rate {rate} is no number of messages a second"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Subscribing, at roost by default and at other servers with these options
#[derive(Debug, Clone, Args)]
pub struct SubscribeArgs {
    /// Channel to subscribe to, in the query string
    #[arg(long, default_value = "bench")]
    pub channel: String,
    /// A first message that subscribes, instead of the query string; channel and number of the client are filled in
    #[arg(long, value_name = "TEXT {channel} {n}")]
    pub subscribe_frame: Option<String>,
    /// What a message must contain to confirm the subscription; empty for a server that confirms nothing
    #[arg(long, value_name = "TEXT", default_value = "\"subscribed\"")]
    pub confirmation: String,
}

/// Publishing, at roost by default and at other servers with these options
#[derive(Debug, Clone, Args)]
pub struct PublishArgs {
    /// Where publications are posted; a ws:// address where they are said by a client
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081/publish")]
    pub publish_url: String,
    /// A header of the publish request, or of the publisher's upgrade, repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub publish_header: Vec<String>,
    /// Body of a publication, or the message; `{channel}`, `{data}` (a JSON string), `{timestamp}` and `{offset}` are filled
    /// in
    #[arg(long, value_name = "TEMPLATE", default_value = super::publisher::ROOST_BODY)]
    pub publish_body: String,
    /// Where the second server is published to
    #[arg(long, value_name = "URL", requires = "floor_url")]
    pub floor_publish_url: Option<String>,
    /// Body of a publication to the second server; by default what roost makes of one, for the bare floor to write
    #[arg(long, value_name = "TEMPLATE", default_value = super::publisher::FLOOR_BODY)]
    pub floor_publish_body: String,
    /// Data bytes of a message, as JSON
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub size: usize,
    /// Publish calls a second; 0 publishes when all have what came before [default: 5, or 100 during a storm]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Do not check that each client gets each message once and in order
    #[arg(long)]
    pub no_sequence_check: bool,
}

impl PublishArgs {
    /// What is wrong with the numbers, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        within("--size", self.size, super::payload::SIZE_MIN, crate::limits::PUBLICATION_BYTES_MAX)?;
        match self.rate {
            Some(rate) if !rate.is_finite() || rate < 0.0 => {
                Err(format!("--rate {rate} is no number of calls a second"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// One publication to many subscribers
#[derive(Debug, Clone, Args)]
pub struct FanoutArgs {
    /// Options that all profiles share.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How clients subscribe.
    #[command(flatten)]
    pub subscribe: SubscribeArgs,
    /// How the publisher publishes.
    #[command(flatten)]
    pub publish: PublishArgs,
    /// A channel of its own for each subscriber, whose number is filled in; they are published to in turn
    #[arg(long, value_name = "NAME{n}", conflicts_with = "channel")]
    pub own_channel: Option<String>,
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Messages in one publish call, as NDJSON or in one write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=65_536))]
    pub burst: u32,
    /// Publish calls in all
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..))]
    pub count: u32,
    /// Clients beside that ask for a sign of life meanwhile, with ten subscribers of a small channel that get 100 messages a
    /// second, and ten newcomers a second; the second server has none
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub beside: Option<u32>,
}

/// Fan-out while some subscribers do not read
#[derive(Debug, Clone, Args)]
pub struct SlowArgs {
    /// The fan-out that goes on meanwhile.
    #[command(flatten)]
    pub fanout: FanoutArgs,
    /// How many of a hundred subscribers do not read
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=99))]
    pub slow_percent: u32,
}

/// Many clients that do nothing: what is remembered of each, and what it costs to keep them
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Options that all profiles share.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How clients subscribe.
    #[command(flatten)]
    pub subscribe: SubscribeArgs,
    /// A channel of its own for each client, whose number is filled in
    #[arg(long, value_name = "NAME{n}", conflicts_with = "channel")]
    pub own_channel: Option<String>,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Seconds that they are held
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before that which are not looked at: whoever just spoke is not pinged yet
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub warm_up: f64,
    /// A message that each client sends once, to be answered with one; memory is then counted a second time
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
}

/// Everybody connects at once: what a connection costs, from accept to subscription
#[derive(Debug, Clone, Args)]
pub struct StormArgs {
    /// Options that all profiles share.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How clients subscribe.
    #[command(flatten)]
    pub subscribe: SubscribeArgs,
    /// How the publisher publishes.
    #[command(flatten)]
    pub publish: PublishArgs,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Then all leave at once, while others stay; the second server is not asked to
    #[arg(long)]
    pub leave: bool,
    /// Clients of another channel that stay and are published to
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..))]
    pub stay: u32,
    /// Clients that connect while all leave
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub newcomers: u32,
    /// Seconds that are looked at while all leave
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// Everybody is sent away over a time: whether that is even, and whether all were told. The server drains and stays
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Options that all profiles share.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How clients subscribe.
    #[command(flatten)]
    pub subscribe: SubscribeArgs,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Seconds over which they are sent away
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Where the server is asked to
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081/drain")]
    pub drain_url: String,
}

/// The end of a profile's help: what its section of a budget file may bound.
fn budget_keys(profile: &str) -> String {
    let catalog = super::CATALOGS.iter().find(|(name, _)| *name == profile);
    let names: Vec<&str> =
        catalog.iter().flat_map(|(_, figures)| *figures).map(|figure| figure.name).collect();
    format!(
        "A bound in the section [{profile}] of a budget file is a figure with _max or _min, or with _ratio_max or \
         _ratio_min where a second server is measured:\n  {}",
        names.join("\n  ")
    )
}

/// A number of seconds that a duration can hold.
pub(super) fn seconds(option: &str, value: f64) -> Result<(), String> {
    if (0.0..=SECONDS_MAX).contains(&value) {
        return Ok(());
    }
    Err(format!("{option} {value} is not between 0 and {SECONDS_MAX} seconds"))
}

fn within(option: &str, value: usize, low: usize, high: usize) -> Result<(), String> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!("{option} {value} is not between {low} and {high}"))
}

/// A week.
const SECONDS_MAX: f64 = 7.0 * 24.0 * 3600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_each_profile_names_its_figures_and_keeps_its_brackets() {
        let mut command = BenchArgs::augment_args(clap::Command::new("bench"));
        for (profile, figures) in super::super::CATALOGS {
            let help = command.find_subcommand_mut(profile).unwrap().render_help().to_string();
            for figure in *figures {
                assert!(help.contains(&format!("\n  {}", figure.name)), "{profile}: {}", figure.name);
            }
            // clap takes an n in braces for the end of a line.
            assert!(!help.contains("`\n"), "{help}");
        }
        let idle = command.find_subcommand_mut("idle").unwrap().render_help().to_string();
        assert!(idle.contains("--own-channel <NAME{n}>"), "{idle}");
    }
}
