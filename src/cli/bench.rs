//! `roost bench`: the load generator on the command line. Must never measure anything itself.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::Failure;
use crate::bench::{self, options::BenchArgs};

pub(super) fn command() -> Command {
    BenchArgs::augment_args(Command::new("bench"))
        .about("Put a server under load and measure it: roost, or anything that speaks WebSocket")
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let verdict = bench::execute(&BenchArgs::from_arg_matches(matches)?);
    Err(Failure::Verdict(verdict))
}
