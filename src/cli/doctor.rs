//! `roost doctor`: which limit of this host is hit first by N connections, and what lifts it. Must never judge a limit itself.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::{Failure, output};
use crate::bench::report::{align, number};
use crate::capacity;
use crate::doctor::{self, Amount, Diagnosis, Fact, Facts, Finding, Question, State, When, diagnose};
use crate::limits::{CONNECTIONS_MAX, SHARDS_MAX};
use crate::sys::host::{self, Source};
use crate::sys::{descriptors, fd_table};

pub(super) fn command() -> Command {
    let count = |id: &'static str, most: u64| {
        Arg::new(id).long(id).value_name("N").value_parser(value_parser!(u64).range(1..=most))
    };
    Command::new("doctor")
        .about("Which limit of this host N connections hit first, and the command that lifts it")
        .arg(
            count("connections", CONNECTIONS_MAX as u64)
                .required(true)
                .help("Connections that the node shall hold"),
        )
        .arg(count("shards", SHARDS_MAX as u64).help("Shards of the node (default: one for each core)"))
        .arg(count("proxy-pairs", u64::from(u32::MAX)).help(
            "Pairs of addresses between a proxy on this host and the node: judges the ports between them",
        ))
        .arg(
            Arg::new("pid")
                .long("pid")
                .value_name("PID")
                .value_parser(value_parser!(u32).range(1..))
                .help("Take limits and control group of this process instead of those of the shell"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the findings as JSON"))
        .arg(Arg::new("root").long("root").value_name("DIR").default_value("").hide(true))
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let root = matches.get_one::<String>("root").map_or("", |root| root.trim_end_matches('/'));
    if !root.is_empty() && !std::path::Path::new(root).is_dir() {
        return Err(Failure::Usage(format!("--root: there is no folder `{root}`")));
    }
    let pid = matches.get_one::<u32>("pid");
    let source = Source { root: root.into(), ..pid.map_or_else(Source::default, |&pid| Source::of(pid)) };
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(SHARDS_MAX);
    let question = Question {
        connections: matches.get_one::<u64>("connections").copied().unwrap_or_default(),
        shards: matches.get_one::<u64>("shards").map_or_else(cores, |&shards| shards as usize),
        proxy_pairs: matches.get_one("proxy-pairs").copied(),
    };
    let (mut facts, faults) = host::read(&source);
    if !faults.is_empty() {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return Err(Failure::Usage(lines.join("\n")));
    }
    if root.is_empty() && pid.is_none() {
        try_out(&mut facts, question);
    }
    let diagnosis = diagnose(&facts, question);
    let text = if matches.get_flag("json") { format!("{}\n", json(&diagnosis)) } else { text(&diagnosis) };
    output::print(&text)?;
    match diagnosis.short().next() {
        Some(_) => Err(Failure::Verdict(ExitCode::FAILURE)),
        None => Ok(()),
    }
}

/// What a node does at its start: it raises its limit as far as it may, and asks for tables where it needs them.
fn try_out(facts: &mut Facts, question: Question) {
    if let Ok(raised) = descriptors::raise() {
        facts.descriptors = Fact::Known(raised.to);
    }
    // Not asked without need: some filters end a process for the question.
    let one_table = capacity::one_table(question.shards, doctor::host(facts)) as u64;
    if question.connections > one_table {
        facts.separable = Fact::Known(fd_table::is_separable());
    }
}

fn json(diagnosis: &Diagnosis) -> Value {
    json!({
        "connections": diagnosis.connections,
        "carried": diagnosis.short().next().is_none(),
        "first": diagnosis.first(),
        "limits": diagnosis.findings,
    })
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = verdict(diagnosis);
    let head = ["limit", "now", "carries", "wanted"].map(str::to_owned).to_vec();
    let mut cells = vec![head];
    cells.extend(diagnosis.findings.iter().map(line));
    text.push('\n');
    text.push_str(&align(&cells));
    text
}

fn verdict(diagnosis: &Diagnosis) -> String {
    let connections = number(diagnosis.connections as f64);
    let mut text = String::new();
    let mut say = |words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    let Some(first) = diagnosis.first() else {
        say(format!("This host carries {connections} connections."));
        if let Some(next) = diagnosis.next() {
            say(format!("The next limit is {}, {}.", next.limit, bite(next)));
        }
        return text;
    };
    let short = match diagnosis.short().count() {
        1 => "One limit of this host is".to_owned(),
        count => format!("{count} limits of this host are"),
    };
    say(format!("{short} short of {connections} connections."));
    say(format!("The first one hit is {}, {}. To lift it:\n  {}", first.limit, bite(first), first.words));
    if let Some(earlier) = diagnosis.short().next().filter(|earlier| *earlier != first) {
        let words = format!("{}, {}", earlier.limit, bite(earlier));
        say(format!("Under load it is {words}. To lift it:\n  {}", earlier.words));
    }
    if diagnosis.short().any(|finding| finding.words.starts_with("sysctl")) {
        say(format!(
            "All sysctls now and after each boot, as root:\n  tuning/tune apply --connections {}",
            diagnosis.connections
        ));
    }
    text
}

/// At how many connections, and when.
fn bite(finding: &Finding) -> String {
    let carries = finding.carries.map_or("any number".to_owned(), carried);
    match finding.when {
        When::Always => format!("at {carries}"),
        When::Arriving => format!("at {carries} that come at once"),
        When::Waiting => format!("at {carries} for which a publication waits"),
        When::Leaving => format!("at {carries} that leave within a minute"),
    }
}

fn line(finding: &Finding) -> Vec<String> {
    let state = match finding.state {
        State::Ok => "ok",
        State::Short => "SHORT",
        State::Note => "note",
        State::Hidden => "?",
    };
    let when = if finding.when == When::Always { "" } else { finding.when.words() };
    let separator = if when.is_empty() || finding.words.is_empty() { "" } else { ": " };
    vec![
        finding.limit.clone(),
        amount(&finding.now),
        finding.carries.map_or("-".to_owned(), carried),
        amount(&finding.wanted),
        state.to_owned(),
        format!("{when}{separator}{}", finding.words),
    ]
}

/// More than a node may ask for is as good as any number.
fn carried(carries: u64) -> String {
    if carries > CONNECTIONS_MAX as u64 { "any".to_owned() } else { number(carries as f64) }
}

fn amount(amount: &Amount) -> String {
    match amount {
        Amount::Word(word) => (*word).to_owned(),
        Amount::Bytes { bytes } => format!("{} MiB", number((bytes / MIB) as f64)),
        // What the kernel writes where there is no bound: fs.file-max.
        Amount::Count(numbers) if numbers[..] == [i64::MAX as u64] => "unlimited".to_owned(),
        Amount::Count(numbers) => {
            // Two are a range of ports, which are names rather than numbers.
            let plain = numbers.len() == 2;
            let words: Vec<String> =
                numbers.iter().map(|&one| if plain { one.to_string() } else { number(one as f64) }).collect();
            words.join(" ")
        }
    }
}

const MIB: u64 = 1024 * 1024;

const NOTES: &str = "\
Limits are sorted by the number of connections at which they bite. What others use is taken off, as for a node that
starts now. Descriptors and control group are those of this shell, unless --pid names a running node:
  roost doctor --connections 1000000 --pid \"$(systemctl show --value -p MainPID roost)\"
A node that starts logs the same as warnings, for its own --max-connections.

Exit codes: 0 the host carries them, 1 something is short, 2 wrong usage, or something could not be read or judged.";
