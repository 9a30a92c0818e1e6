//! The `roost` binary: hands its arguments to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    roost::cli::main(std::env::args_os())
}
