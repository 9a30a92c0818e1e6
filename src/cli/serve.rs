//! `roost serve`: the configuration from this process's arguments, environment and files, then the node.
//! Must never know what a node does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::{ArgMatches, Command};

use super::{Failure, logging, output};
use crate::capacity;
use crate::config::{self, Config, ConfigError, Host, Task};
use crate::control::token_keys;
use crate::limits::CONFIG_FILE_BYTES_MAX;
use crate::node::{self, NodeError};
use crate::sys::{allocator, memory};

pub(super) fn command() -> Command {
    config::command()
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let host = measure_host();
    let loaded = config::load(matches, std::env::vars_os(), &host, read_file)?;
    let mut log = None;
    if loaded.task == Task::Run {
        log = Some(
            logging::start(loaded.config.log_level, loaded.config.log_format).map_err(Failure::Refused)?,
        );
        allocator::set_up(host.cores);
    }
    for warning in &loaded.warnings {
        output::complain("warning", &warning.to_string());
    }
    match loaded.task {
        Task::Check => match token_keys::read(&loaded.config) {
            Ok(_) => output::print("the configuration is valid\n").map(drop),
            Err(error) => Err(Failure::Refused(NodeError::TokenKey(error).to_string())),
        },
        Task::Print => output::print(&loaded.settings.to_string()).map(drop),
        Task::Run => {
            let matches = matches.clone();
            let read_anew = move || load(&matches, &host).map(|loaded| loaded.config);
            let taken_over =
                move |config: &Config| log.iter().for_each(|log| log.set_level(config.log_level));
            node::run(loaded.config, read_anew, taken_over)
                .map_err(|error| Failure::Refused(error.to_string()))
        }
    }
}

/// Reads the configuration once more, by the same flags and variables; the file may be another one.
fn load(matches: &ArgMatches, host: &Host) -> Result<config::Loaded, String> {
    config::load(matches, std::env::vars_os(), host, read_file).map_err(|error| error.to_string())
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Usage(error) => Self::Arguments(error),
            problems @ ConfigError::Problems(_) => Self::Refused(problems.to_string()),
        }
    }
}

/// What this host gives a node that was told nothing. Where the host does not say, the smallest answer is taken.
fn measure_host() -> Host {
    let smallest = Host::default();
    let hard = rlimit::Resource::NOFILE.get_hard();
    let descriptors = hard.map(|hard| usize::try_from(hard).unwrap_or(usize::MAX));
    let files = memory::open_files();
    let room = capacity::Host {
        descriptors: descriptors.unwrap_or(smallest.room.descriptors),
        separable: smallest.room.separable,
        files: files.left,
        files_max: files.max,
        memory_bytes: memory::total_bytes(),
    };
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Host {
        cores: std::thread::available_parallelism().map_or(smallest.cores, std::num::NonZero::get),
        room,
        name: if name.is_empty() { smallest.name } else { name },
    }
}

/// Reads no more of a file than shows that it is too large.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
