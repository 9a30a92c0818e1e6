//! `roost ctl kick`: ends connections of a node. Must never decide whose: the node finds them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::builder::TypedValueParser;
use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use serde::Serialize;

use super::Failure;
use super::ctl::{order, with_options};
use super::http_client::Answer;
use crate::api::disconnect::{CODES, Disconnected, is_allowed};
use crate::bench::report::number;
use crate::config::Span;
use crate::disconnect::Disconnect;

/// The body of the call.
#[derive(Serialize)]
struct Call<'a> {
    #[serde(flatten)]
    who: BTreeMap<&'static str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    over_ms: Option<u64>,
}

pub(super) fn command() -> Command {
    let codes = value_parser!(u16).try_map(|code| match is_allowed(code) {
        true => Ok(code),
        false => Err(format!("a close code {CODES}")),
    });
    let code_help = format!("Close code of WebSockets; it {CODES} [default: {}]", Disconnect::Kicked.code());
    let who = WHO.map(|(name, value, help)| Arg::new(name).long(name).value_name(value).help(help));
    with_options(Command::new("kick"))
        .about("End connections: one, or all of a user, an address or a channel")
        .args(who)
        .group(ArgGroup::new("who").args(WHO.map(|(name, ..)| name)).required(true))
        .arg(Arg::new("code").long("code").value_name("N").value_parser(codes).help(code_help))
        .arg(
            Arg::new("over")
                .long("over")
                .value_name("TIME")
                .value_parser(value_parser!(Span))
                .help("Spread the ends over so long, in random order, such as 30s [default: at once]"),
        )
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let named = |(name, ..): (&'static str, _, _)| Some((name, matches.get_one::<String>(name)?.as_str()));
    let over = matches.get_one::<Span>("over").copied();
    let call = Call {
        who: WHO.into_iter().filter_map(named).collect(),
        code: matches.get_one::<u16>("code").copied(),
        over_ms: over.map(Span::millis),
    };
    let body = serde_json::to_vec(&call).map_err(|error| Failure::Usage(error.to_string()))?;
    let count = |answer: &Answer| {
        let Disconnected { disconnected } = serde_json::from_slice(&answer.body).ok()?;
        Some(disconnected)
    };
    let answer = order(matches, "/disconnect", &body, |answer| Some(told(count(answer)?, over)))?;
    // As pkill(1) does: a script may want to know that nobody was there.
    if count(&answer) == Some(0) { Err(Failure::Verdict(ExitCode::FAILURE)) } else { Ok(()) }
}

fn told(disconnected: u64, over: Option<Span>) -> String {
    let connections = if disconnected == 1 { "connection ends" } else { "connections end" };
    let over = over.filter(|over| over.millis() > 0 && disconnected > 0);
    let over = over.map_or(String::new(), |over| format!(" within {over}"));
    format!("{} {connections}{over}\n", number(disconnected as f64))
}

/// Whose connections: option, value, help.
const WHO: [(&str, &str, &str); 4] = [
    ("connection", "ID", "The one with this id, as `roost ctl conns` tells it"),
    ("user", "USER", "All that have shown a token of this user"),
    ("ip", "ADDR", "All that come from this address"),
    ("channel", "CHANNEL", "All that follow this channel"),
];

const NOTES: &str = "\
WebSockets get a close frame, streams of events end, and polls are answered with 403, or with 503 where the code
says to come back (1001, 1012, 1013). Whoever still has a good token may come back: roost.js and roost tail do not
after 4006.

Exit codes: 0 some end, 1 nobody was there, or the node refused, 2 wrong usage.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_end_is_said_in_words() {
        let over = |text: &str| text.parse::<Span>().ok();
        assert_eq!(told(0, over("30s")), "0 connections end\n");
        assert_eq!(told(1, None), "1 connection ends\n");
        assert_eq!(told(12_345, over("90s")), "12,345 connections end within 90s\n");
        assert_eq!(told(2, over("0s")), "2 connections end\n");
    }
}
