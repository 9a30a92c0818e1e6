//! `roost plan`: how many nodes N connections take, of which size, and whether polling would do. Must never work anything out
//! itself.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Failure, output};
use crate::bench::report::{align, number};
use crate::config::{Size, Span};
use crate::limits::{CONNECTIONS_MAX, Limits, PUBLICATION_BYTES_MAX};
use crate::sizing::measured::{self, Measured};
use crate::sizing::polling::{Cost, Way};
use crate::sizing::{self, Bound, Channels, Estimate, Load, Question, estimate, wire};

pub(super) fn command() -> Command {
    let count = |id: &'static str, most: u64| {
        Arg::new(id).long(id).value_name("N").value_parser(value_parser!(u64).range(1..=most))
    };
    Command::new("plan")
        .about("How many nodes N connections take, of which size, and whether polling would do")
        .arg(count("connections", CONNECTIONS_MAX as u64).required(true).help("Connections in all"))
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("PER_SECOND")
                .allow_negative_numbers(true)
                .value_parser(parse_rate)
                .default_value("0.1")
                .help("Messages that each client gets a second"),
        )
        .arg(size("bytes", "64").help("Data of a message, at most 64KiB"))
        .arg(
            Arg::new("channels")
                .long("channels")
                .value_name("WHICH")
                .value_parser(["shared", "own"])
                .default_value("shared")
                .help("Whether all follow one channel, or each one of its own"),
        )
        .arg(time("freshness", "10s").help("How old news may be: how often a client would poll"))
        .arg(time("ping-interval", &default_ping()).help("Time from one ping of a connection to the next"))
        .arg(size("node-memory", "16GiB").help("Memory of a node"))
        .arg(count("cores", CORES_MAX).default_value("4").help("Cores of a node"))
        .arg(
            count("per-node", CONNECTIONS_MAX as u64)
                .default_value("1000000")
                .help("Connections of a node at most; more than the default nobody has measured"),
        )
        .arg(count("nodes", NODES_MAX).help("Judge so many nodes instead of working out how many it takes"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the plan as JSON"))
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let question = question(matches)?;
    let plan = estimate(question);
    let text = if matches.get_flag("json") {
        let json = serde_json::to_string(&plan).map_err(|error| Failure::Refused(error.to_string()))?;
        format!("{json}\n")
    } else {
        text(&plan)
    };
    output::print(&text)?;
    if plan.carried { Ok(()) } else { Err(Failure::Verdict(ExitCode::FAILURE)) }
}

fn size(id: &'static str, default: &'static str) -> Arg {
    Arg::new(id).long(id).value_name("SIZE").value_parser(value_parser!(Size)).default_value(default)
}

fn time(id: &'static str, default: &str) -> Arg {
    let default = default.to_owned();
    Arg::new(id).long(id).value_name("TIME").value_parser(value_parser!(Span)).default_value(default)
}

fn default_ping() -> String {
    Span::from_millis(Limits::default().ping_interval_ms).to_string()
}

fn parse_rate(typed: &str) -> Result<f64, String> {
    let rate = typed.parse().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| {
        format!("a number from 0 to {}, such as `0.1` for one in ten seconds", number(RATE_MAX))
    })
}

fn question(matches: &ArgMatches) -> Result<Question, Failure> {
    let count = |id| matches.get_one::<u64>(id).copied();
    let bytes = |id| matches.get_one::<Size>(id).map_or(0, |size| size.bytes());
    let millis = |id| matches.get_one::<Span>(id).map_or(0, |span| span.millis());
    let within = |id: &str, value: u64, least: u64, most: u64, words: &str| match value {
        value if (least..=most).contains(&value) => Ok(value),
        _ => Err(Failure::Usage(format!("--{id} is {words}"))),
    };
    let day_ms = crate::limits::TIMEOUT_MS_MAX;
    let asked = matches.get_one::<String>("channels").map(String::as_str);
    Ok(Question {
        connections: count("connections").unwrap_or(1),
        rate: matches.get_one("rate").copied().unwrap_or_default(),
        bytes: within(
            "bytes",
            bytes("bytes"),
            0,
            PUBLICATION_BYTES_MAX as u64,
            "at most 64KiB, as a publication is",
        )?,
        channels: if asked == Some("own") { Channels::Own } else { Channels::Shared },
        freshness_ms: within("freshness", millis("freshness"), 1, day_ms, "from 1ms to 24h")?,
        ping_ms: within("ping-interval", millis("ping-interval"), 1, day_ms, "from 1ms to 24h")?,
        node_memory_bytes: within(
            "node-memory",
            bytes("node-memory"),
            1 << 26,
            1 << 50,
            "from 64MiB to 1048576GiB",
        )?,
        cores: count("cores").unwrap_or(1),
        per_node: count("per-node").unwrap_or(1),
        nodes: count("nodes"),
    })
}

fn text(plan: &Estimate) -> String {
    let Question { connections, rate, bytes, channels, .. } = plan.question;
    let which = match channels {
        Channels::Shared => "all on one channel",
        Channels::Own => "a channel each",
    };
    let mut text = format!(
        "{} connections, {} messages a second to each, {} bytes of data, {which}\n\n",
        number(connections as f64),
        rate,
        number(bytes as f64),
    );
    text.push_str(&nodes(plan));
    text.push('\n');
    text.push_str(&align(&loads(plan)));
    text.push('\n');
    text.push_str(&align(&ways(plan)));
    text.push_str(&verdict(plan));
    text.push_str("\nAssumed:\n");
    text.push_str(&align(&figures(plan)));
    for words in assumed(plan) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {words}");
    }
    text
}

/// How many nodes, and why.
fn nodes(plan: &Estimate) -> String {
    let Question { node_memory_bytes, cores, nodes: given, .. } = plan.question;
    let size = format!("{} and {cores} cores", Size::from_bytes(node_memory_bytes));
    let carries = number(plan.node_carries as f64);
    let why = match plan.bound {
        Bound::Memory => "its memory bounds it",
        Bound::Cores => "its cores bound it",
        Bound::PerNode => "--per-node bounds it",
    };
    let mut text = match (plan.nodes, given) {
        (None, _) => format!("No node of {size} carries even one of them.\n"),
        (Some(1), Some(_)) => {
            format!("One node of {size}, and none to spare: while it is away everybody is.\n")
        }
        (Some(nodes), _) => format!("{} nodes of {size}, one of them to spare.\n", number(nodes as f64)),
    };
    let of_node = number(plan.node.connections as f64);
    let _ = match plan.carried {
        true => writeln!(text, "One carries {carries} ({why}), and has {of_node} while another one is away."),
        false => {
            let needed = plan.nodes_needed.map_or("larger nodes".to_owned(), |nodes| number(nodes as f64));
            writeln!(
                text,
                "NOT ENOUGH: one carries {carries} ({why}), and would have {of_node}. It takes {needed}."
            )
        }
    };
    text
}

fn loads(plan: &Estimate) -> Vec<Vec<String>> {
    let words = |text: &str| text.to_owned();
    let of = |one: Measured| format!("{} {} each", number(one.value), one.unit);
    let row = |name: &str, of: &dyn Fn(&Load) -> String, note: String| {
        vec![name.to_owned(), of(&plan.node), of(&plan.all), note]
    };
    let own = sizing::own(plan.question.channels);
    let delivery = sizing::delivery(plan.question.channels, plan.node.connections);
    vec![
        ["", "a node", "all"].map(words).to_vec(),
        row("connections", &|load| number(load.connections as f64), String::new()),
        row("memory: kernel", &|load| size_of(load.memory.kernel), of(measured::KERNEL)),
        row("memory: roost", &|load| size_of(load.memory.own), of(own)),
        row(
            "memory: publication",
            &|load| size_of(load.memory.waiting),
            words("a page each while one waits for all"),
        ),
        row("memory", &|load| size_of(load.memory.needed), words("with a quarter to spare")),
        row("deliveries/s", &|load| number(load.deliveries.round()), String::new()),
        row("cores: deliveries", &|load| digits(load.cores.deliveries), of(delivery)),
        row("cores: pings", &|load| digits(load.cores.pings), of(measured::PING)),
        row("cores", &|load| digits(load.cores.needed), words("with a quarter to spare")),
        row("Mbit/s from it", &|load| digits(load.bandwidth.down / 1e6), words("deliveries and pings")),
        row("Mbit/s to it", &|load| digits(load.bandwidth.up / 1e6), words("acknowledgements and pongs")),
        vec![
            words("seconds"),
            digits(plan.publication_s),
            words("-"),
            words("for one publication to all clients of a node, by all its cores"),
        ],
    ]
}

fn ways(plan: &Estimate) -> Vec<Vec<String>> {
    let (socket, poll) = (plan.comparison.websocket, plan.comparison.polling);
    let row = |name: &str, of: &dyn Fn(&Cost) -> String| vec![name.to_owned(), of(&socket), of(&poll)];
    vec![
        ["for the same news", "WebSocket", "polling"].map(str::to_owned).to_vec(),
        row("connections", &|cost| number(cost.connections)),
        row("requests an hour", &|cost| number(cost.requests_per_hour.round())),
        row("bytes a month", &|cost| size_of(cost.bytes_per_month)),
        row("cores", &|cost| digits(cost.cores)),
        row("news is old, s", &|cost| digits(cost.age_s)),
    ]
}

fn verdict(plan: &Estimate) -> String {
    let head = match plan.comparison.better {
        Way::Polling => "Polling is the better choice here:",
        Way::WebSocket => "A WebSocket is the better choice here:",
    };
    let mut text = format!("{head}\n");
    for why in &plan.comparison.why {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {why}");
    }
    text
}

/// The figures that the plan rests on.
fn figures(plan: &Estimate) -> Vec<Vec<String>> {
    let question = &plan.question;
    let used = [
        measured::KERNEL,
        sizing::own(question.channels),
        measured::START,
        measured::WAITING,
        sizing::delivery(question.channels, plan.node.connections),
        measured::PING,
        measured::POLL_KEPT,
        measured::POLL_NEW,
        measured::POLL_REQUEST,
        measured::POLL_ANSWER,
    ];
    let line = |what: &str, value: f64, unit: &str, source: &str| {
        vec![what.to_owned(), format!("{} {unit}", number(value)), source.to_owned()]
    };
    let mut lines = vec![["figure", "value"].map(str::to_owned).to_vec()];
    lines.extend(used.iter().map(|one| line(one.what, one.value, one.unit, one.source)));
    lines.push(line(
        "the frame of a message",
        wire::frame(question.bytes) as f64,
        "B",
        "PROTOCOL, in a channel named with 16 B",
    ));
    lines
}

/// What else.
fn assumed(plan: &Estimate) -> Vec<&'static str> {
    let mut words = vec![
        "bytes at the level of IP: IPv4, TCP with timestamps, no TLS; a month has 30 days; histories are not counted",
        "processor time over loopback on two cores, where the sender's core does the receiver's TCP as well",
    ];
    if plan.question.bytes > measured::DELIVERY_DATA_BYTES {
        words.push("deliveries were measured with 64 bytes of data: those of more take longer");
    }
    if plan.node.connections > measured::CONNECTIONS.value as u64 {
        words.push("NOBODY HAS MEASURED a node with more than 1,000,000 connections");
    }
    words
}

fn size_of(bytes: f64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let (unit, factor) = units.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(("B", 1.0));
    if factor == 1.0 {
        return format!("{} B", bytes.round());
    }
    let value = format!("{:.1}", bytes / factor);
    format!("{} {unit}", if bytes / factor >= 1000.0 { number((bytes / factor).round()) } else { value })
}

/// With as many digits as mean something, and no more than three of them behind the point.
fn digits(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { number(value) }
}

/// Messages that a client may get a second.
const RATE_MAX: f64 = 100_000.0;
/// Cores of a node, more than Linux is built for.
const CORES_MAX: u64 = 8192;
/// Nodes that may be asked for.
const NODES_MAX: u64 = 1_000_000;

const NOTES: &str = "\
Each figure was measured, and the plan names the page that says so. A quarter of memory and cores is kept to spare, and
one node: those that are left when it is away carry everybody.

Exit codes: 0 the nodes carry the connections, 1 they do not, 2 wrong usage.";
