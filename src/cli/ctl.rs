//! `roost ctl`: what an operator asks of a running node, over its API. Must never know more of a node than the API says.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::http_client::{Answer, HttpError, get, post};
use super::{
    Failure, Subcommand, api_address, api_arg, channels, conns, density, dispatch, drain, kick, output,
};
use crate::config::ApiAddr;

pub(super) fn command() -> Command {
    Command::new("ctl")
        .about("Look into a running node, or send clients of it away, over its API")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(QUESTIONS.iter().map(|question| (question.command)()))
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    dispatch(&QUESTIONS, matches)
        .unwrap_or_else(|| Err(Failure::Usage("roost ctl takes a subcommand".into())))
}

/// The options of every question: whom to ask, and how to tell the answer.
pub(super) fn with_options(command: Command) -> Command {
    command.arg(api_arg()).arg(
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the answer of the API as it is"),
    )
}

/// Gets `path` from the node and prints the answer: with `--json` as it came, else as `tell` words it.
pub(super) fn look(
    matches: &ArgMatches,
    path: &str,
    tell: impl FnOnce(&Answer) -> Option<String>,
) -> Result<(), Failure> {
    ask(matches, |api| get(api, path), tell).map(drop)
}

/// As [`look`], with an order to the node as JSON; returns what it answered.
pub(super) fn order(
    matches: &ArgMatches,
    path: &str,
    body: &[u8],
    tell: impl FnOnce(&Answer) -> Option<String>,
) -> Result<Answer, Failure> {
    ask(matches, |api| post(api, path, "application/json", body), tell)
}

fn ask(
    matches: &ArgMatches,
    call: impl FnOnce(&ApiAddr) -> Result<Answer, HttpError>,
    tell: impl FnOnce(&Answer) -> Option<String>,
) -> Result<Answer, Failure> {
    let api = api_address(matches)?;
    let refused = |reason: String| Failure::Refused(format!("{api}: {reason}"));
    let answer = call(&api).map_err(|error| refused(error.to_string()))?;
    if answer.status != 200 {
        return Err(refused(answer.reason()));
    }
    let text = if matches.get_flag("json") {
        Some(String::from_utf8_lossy(&answer.body).into_owned())
    } else {
        tell(&answer)
    };
    let strange = || refused("the answer is not what this version knows; --json prints it as it is".into());
    output::print(&text.ok_or_else(strange)?)?;
    Ok(answer)
}

const QUESTIONS: [Subcommand; 5] = [
    Subcommand { command: channels::command, run: channels::run },
    Subcommand { command: conns::command, run: conns::run },
    Subcommand { command: density::command, run: density::run },
    Subcommand { command: drain::command, run: drain::run },
    Subcommand { command: kick::command, run: kick::run },
];
