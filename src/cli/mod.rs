#![doc = include_str!("README.md")]

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::config::{ApiAddr, Options};

mod bench;
mod channels;
mod conns;
mod ctl;
mod density;
mod doctor;
mod drain;
mod http_client;
mod kick;
mod log_rates;
mod logging;
mod output;
mod plan;
mod publish;
mod resume;
mod serve;
mod table;
mod tail;

/// Runs the command line and says how it went: 0 fine, 1 refused or failed, 2 wrong usage.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return Failure::from(error).report(),
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The whole command line, help and quick start included.
#[must_use]
pub fn command() -> Command {
    Command::new("roost")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(QUICK_START)
        .subcommands(SUBCOMMANDS.iter().map(|subcommand| (subcommand.command)()))
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    dispatch(&SUBCOMMANDS, matches)
        .unwrap_or_else(|| output::print(&command().render_help().to_string()).map(drop))
}

/// Runs the subcommand that `matches` names. None where they name none: clap knows of no others.
fn dispatch(subcommands: &[Subcommand], matches: &ArgMatches) -> Option<Result<(), Failure>> {
    let (name, matches) = matches.subcommand()?;
    let found = subcommands.iter().find(|subcommand| (subcommand.command)().get_name() == name)?;
    Some((found.run)(matches))
}

/// What each file of a subcommand offers.
struct Subcommand {
    command: fn() -> Command,
    run: fn(&ArgMatches) -> Result<(), Failure>,
}

/// Why a command ends other than well.
#[derive(Debug)]
enum Failure {
    /// The arguments are wrong, and clap has the words.
    Arguments(clap::Error),
    /// The arguments are wrong in a way that clap cannot know.
    Usage(String),
    /// The node, the network or the configuration refused.
    Refused(String),
    /// The command has told the user all there is to tell, also when all went well.
    Verdict(ExitCode),
}

impl Failure {
    /// Tells the user, and the caller's exit code.
    fn report(self) -> ExitCode {
        match self {
            Self::Arguments(error) => {
                // Help and version come this way too. Where nobody reads them there is nobody to tell.
                drop(error.print());
                u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::Usage(text) => {
                output::complain("error", &text);
                ExitCode::from(2)
            }
            Self::Refused(text) => {
                output::complain("error", &text);
                ExitCode::from(1)
            }
            Self::Verdict(code) => code,
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// A flag's value, else that of a variable, else nothing. As for `roost serve`, an empty variable counts as not set.
fn flag_or_variable<T>(matches: &ArgMatches, flag: &str, variable: &str) -> Result<Option<T>, Failure>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    if let Some(value) = matches.get_one::<T>(flag) {
        return Ok(Some(value.clone()));
    }
    match std::env::var(variable).unwrap_or_default() {
        text if text.is_empty() => Ok(None),
        text => text.parse().map(Some).map_err(|error| Failure::Refused(format!("{variable}: {error}"))),
    }
}

/// The option that names a node's API.
fn api_arg() -> Arg {
    Arg::new("api")
        .long("api")
        .value_name("ADDR")
        .value_parser(value_parser!(ApiAddr))
        .help("API listener of the node, or unix:PATH [env: ROOST_API] [default: 127.0.0.1:8081]")
}

/// The API that [`api_arg`], the variable or the default names.
fn api_address(matches: &ArgMatches) -> Result<ApiAddr, Failure> {
    Ok(flag_or_variable(matches, "api", "ROOST_API")?.unwrap_or_else(|| Options::default().api))
}

const SUBCOMMANDS: [Subcommand; 7] = [
    Subcommand { command: serve::command, run: serve::run },
    Subcommand { command: publish::command, run: publish::run },
    Subcommand { command: tail::command, run: tail::run },
    Subcommand { command: bench::command, run: bench::run },
    Subcommand { command: ctl::command, run: ctl::run },
    Subcommand { command: doctor::command, run: doctor::run },
    Subcommand { command: plan::command, run: plan::run },
];

const QUICK_START: &str = "\
Quick start, each in a terminal of its own:
  roost serve
  roost tail notifications
  roost publish notifications '{\"count\":3}'

Exit codes: 0 fine, 1 refused or failed, 2 wrong usage.";
