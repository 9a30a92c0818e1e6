//! `roost ctl drain`: sends the clients of a node away, over its API, and shows how far that is. Must never decide who goes.

use std::thread;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;

use super::ctl::with_options;
use super::http_client::{Answer, HttpError, delete, get, post};
use super::{Failure, api_address, output};
use crate::api::drain::Progress;
use crate::bench::report::number;
use crate::config::{ApiAddr, Span};

pub(super) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    with_options(Command::new("drain"))
        .about("Send the clients of a node away, spread over a time; it says that it is not ready first")
        .arg(
            Arg::new("over")
                .long("over")
                .value_name("TIME")
                .value_parser(value_parser!(Span))
                .help("Spread the goodbyes over this time [default: --drain-over of the node]"),
        )
        .arg(
            Arg::new("percent")
                .long("percent")
                .value_name("N")
                .value_parser(value_parser!(u8).range(1..=100))
                .help("Send only so many in a hundred away; the node stays ready"),
        )
        .arg(flag("oldest").requires("percent").help("Send those away who came first"))
        .arg(flag("wait").help("Wait until the last one is told, and say how far it is"))
        .arg(
            flag("stop")
                .conflicts_with_all(["over", "percent", "oldest", "wait"])
                .help("Stop a drain: those who are still there stay, and newcomers are taken again"),
        )
        .arg(
            flag("status")
                .conflicts_with_all(["over", "percent", "oldest", "stop"])
                .help("Only say how far a drain is"),
        )
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let api = api_address(matches)?;
    let asked = if matches.get_flag("stop") {
        delete(&api, "/drain")
    } else if matches.get_flag("status") {
        get(&api, "/drain")
    } else {
        post(&api, "/drain", "application/json", &body(matches))
    };
    let mut told = tell(matches, &api, asked)?;
    while matches.get_flag("wait") && !told.is_over() {
        thread::sleep(LOOK_EVERY);
        told = tell(matches, &api, get(&api, "/drain"))?;
    }
    Ok(())
}

fn body(matches: &ArgMatches) -> Vec<u8> {
    let mut members = serde_json::Map::new();
    if let Some(over) = matches.get_one::<Span>("over") {
        members.insert("over_ms".into(), json!(over.duration().as_millis() as u64));
    }
    if let Some(percent) = matches.get_one::<u8>("percent") {
        members.insert("percent".into(), json!(percent));
    }
    if matches.get_flag("oldest") {
        members.insert("oldest".into(), json!(true));
    }
    serde_json::Value::Object(members).to_string().into_bytes()
}

/// Prints what the node says of its drain, one line.
fn tell(matches: &ArgMatches, api: &ApiAddr, answer: Result<Answer, HttpError>) -> Result<Progress, Failure> {
    let refused = |reason: String| Failure::Refused(format!("{api}: {reason}"));
    let answer = answer.map_err(|error| refused(error.to_string()))?;
    if answer.status != 200 {
        return Err(refused(answer.reason()));
    }
    let strange = |_| refused("the answer is not what this version knows".into());
    let progress: Progress = serde_json::from_slice(&answer.body).map_err(strange)?;
    let text = if matches.get_flag("json") {
        String::from_utf8_lossy(&answer.body).into_owned()
    } else {
        words(&progress) + "\n"
    };
    output::print(&text)?;
    Ok(progress)
}

fn words(progress: &Progress) -> String {
    let Progress { left, connections, .. } = progress;
    let (left, connections) = (number(*left as f64), number(*connections as f64));
    let ready = if progress.ready { "ready" } else { "not ready" };
    match progress.ends_in_ms {
        Some(ms) => {
            let seconds = ms.div_ceil(1000);
            format!(
                "draining: {left} of {connections} connections still to be told, the last in {seconds} s; {ready}"
            )
        }
        None => format!("serving {connections} connections; {ready}"),
    }
}

/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const NOTES: &str = "\
Everyone: /readyz says 503 from the first moment on, newcomers are answered 503 with Retry-After after --drain-delay
of the node, and every client gets a close frame with a time to come back. The process stays: end it with a signal,
or take newcomers again with --stop. With --percent the node stays ready, for even load after another one was added.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = Progress {
            draining: true,
            ready: false,
            over_ms: Some(30_000),
            ends_in_ms: Some(12_001),
            left: 43_210,
            connections: 50_000,
        };
        assert_eq!(
            words(&progress),
            "draining: 43,210 of 50,000 connections still to be told, the last in 13 s; not ready"
        );
        let serving =
            Progress { draining: false, ready: true, over_ms: None, ends_in_ms: None, left: 0, ..progress };
        assert_eq!(words(&serving), "serving 50,000 connections; ready");
    }

    #[test]
    fn what_is_typed_becomes_the_body() {
        let typed = |args: &[&str]| {
            let matches = command().try_get_matches_from(["drain"].iter().chain(args)).unwrap();
            String::from_utf8(body(&matches)).unwrap()
        };
        assert_eq!(typed(&[]), "{}");
        let body = typed(&["--over", "1m", "--percent", "20", "--oldest"]);
        assert_eq!(body, r#"{"oldest":true,"over_ms":60000,"percent":20}"#);
    }
}
