#![doc = include_str!("README.md")]
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use toml::{Table, Value};

mod address;
mod broker;
mod check;
mod environment;
mod error;
mod file;
mod key_set;
mod log;
mod options;
pub mod policy;
mod print;
mod reload;
mod settings;
mod site;
pub mod token_key;
mod units;
mod value;

pub use address::{ApiAddr, ListenAddr};
pub use broker::BrokerAddr;
pub use error::{ConfigError, Problem, UnknownVariable};
pub use key_set::KeySetAddr;
pub use log::{LogFormat, LogLevel};
pub use options::{Call, Host, Options, command};
pub use policy::{Auth, Policies, Policy, Slow};
pub use reload::Reloaded;
pub use settings::{Place, Setting, Settings, Source};
pub use site::Site;
pub use units::{Size, Span};
pub use value::ValueError;

use crate::limits::Limits;

/// What the node runs with: resolved, checked, in plain types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// Address of the API listener: loopback or a Unix socket.
    pub api: ApiAddr,
    /// Name of this node.
    pub node: String,
    /// Shards, from 1 to [`crate::limits::SHARDS_MAX`].
    pub shards: usize,
    /// Connections held at once by all shards.
    pub max_connections: usize,
    /// Bytes of a client's message; at most [`Config::queue_hard_bytes`].
    pub message_bytes_max: usize,
    /// Bytes that may wait for a client for [`Config::queue_soft_for`].
    pub queue_soft_bytes: usize,
    /// How long the soft bound may be exceeded.
    pub queue_soft_for: Duration,
    /// Bytes waiting for a client at which it is cut.
    pub queue_hard_bytes: usize,
    /// Bytes that may wait for all clients together; over it, the largest lags are cut first. At least
    /// [`Config::queue_hard_bytes`].
    pub queue_total_bytes: usize,
    /// Origins that may connect, in browsers' spelling, or `*`; none means the same origin only.
    pub origins: Vec<String>,
    /// Keys that tokens may be signed with.
    pub token_keys: Vec<token_key::Entry>,
    /// Who may issue tokens; none means whoever has a key.
    pub token_issuers: Vec<String>,
    /// What the node is called in the `aud` of tokens.
    pub token_audiences: Vec<String>,
    /// The broker that channels are shared through, if they are.
    pub broker: Option<BrokerAddr>,
    /// What its keys begin with.
    pub broker_prefix: String,
    /// Time to complete the upgrade.
    pub handshake_timeout: Duration,
    /// Silence after which a client is pinged; shorter than [`Config::idle_timeout`].
    pub ping_interval: Duration,
    /// Silence after which a client is given up.
    pub idle_timeout: Duration,
    /// Age at which a client has to connect again; zero lets it stay.
    pub max_age: Duration,
    /// Memory for the publications kept of all channels, in bytes. How many and how long: [`Config::policies`].
    pub history_bytes: usize,
    /// Time between a draining node's word that it is not ready and its first goodbye.
    pub drain_delay: Duration,
    /// Time over which the goodbyes of a drain are spread.
    pub drain_over: Duration,
    /// `SO_SNDBUF` of the listeners, in bytes.
    pub send_buffer_bytes: usize,
    /// `SO_RCVBUF` of the listeners, in bytes.
    pub receive_buffer_bytes: usize,
    /// `TCP_NOTSENT_LOWAT` of the listeners, in bytes.
    pub notsent_lowat_bytes: usize,
    /// `TCP_USER_TIMEOUT` of the listeners; zero leaves it to the system.
    pub user_timeout: Duration,
    /// Whether the demo page is served.
    pub demo: bool,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Least weight of what is logged.
    pub log_level: LogLevel,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What holds for which channel.
    pub policies: Policies,
}

impl Config {
    /// Reads a configuration from the arguments behind `roost serve`, an environment, and the file that they name.
    ///
    /// # Errors
    /// Whatever is wrong with any of them; of a file and an environment, everything at once.
    pub fn load(
        args: impl IntoIterator<Item = OsString>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        host: &Host,
        read_file: impl FnOnce(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let matches = command().no_binary_name(true).try_get_matches_from(args)?;
        load(&matches, env, host, read_file).map(|loaded| loaded.config)
    }

    /// The bounds that the shards see, each of which may hold `conns_per_shard_max` connections: that is for
    /// [`crate::capacity::plan`] to say.
    #[must_use]
    pub fn limits(&self, conns_per_shard_max: usize) -> Limits {
        Limits {
            message_bytes_max: self.message_bytes_max,
            queue_soft_bytes: self.queue_soft_bytes,
            queue_soft_for_ms: millis(self.queue_soft_for),
            queue_hard_bytes: self.queue_hard_bytes,
            queue_total_bytes: self.queue_total_bytes,
            handshake_timeout_ms: millis(self.handshake_timeout),
            ping_interval_ms: millis(self.ping_interval),
            idle_timeout_ms: millis(self.idle_timeout),
            age_max_ms: millis(self.max_age),
            conns_per_shard_max,
            history_bytes: self.history_bytes,
            ..Limits::default()
        }
    }

    fn resolve(options: Options, policies: Policies) -> Self {
        Self {
            listen: options.listen.0,
            api: options.api,
            node: options.node,
            shards: options.shards,
            max_connections: options.max_connections,
            message_bytes_max: bytes(options.max_message),
            queue_soft_bytes: bytes(options.queue_soft),
            queue_soft_for: options.queue_soft_for.duration(),
            queue_hard_bytes: bytes(options.queue_hard),
            queue_total_bytes: bytes(options.queue_total),
            origins: options.origin.iter().map(ToString::to_string).collect(),
            // Those that cannot be read are a problem of their own (check.rs).
            broker: options.broker.read().ok().flatten(),
            broker_prefix: options.broker_prefix,
            token_keys: options.token_key.iter().flat_map(|key| key.read()).collect(),
            token_issuers: options.token_issuer,
            token_audiences: options.token_audience,
            handshake_timeout: options.handshake_timeout.duration(),
            ping_interval: options.ping_interval.duration(),
            idle_timeout: options.idle_timeout.duration(),
            max_age: options.max_age.duration(),
            history_bytes: bytes(options.history_bytes),
            drain_delay: options.drain_delay.duration(),
            drain_over: options.drain_over.duration(),
            send_buffer_bytes: bytes(options.send_buffer),
            receive_buffer_bytes: bytes(options.receive_buffer),
            notsent_lowat_bytes: bytes(options.notsent_lowat),
            user_timeout: options.user_timeout.duration(),
            demo: options.demo,
            echo: options.echo,
            log_level: options.log_level,
            log_format: options.log_format,
            policies,
        }
    }
}

impl Default for Config {
    /// The defaults on [`Host::default`], for tests.
    fn default() -> Self {
        Self::resolve(Options::default(), Policies::default())
    }
}

/// A configuration with the story of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What to run with.
    pub config: Config,
    /// Every value with its source; its `Display` is what `--print-config` prints.
    pub settings: Settings,
    /// Variables that look like ours and set nothing.
    pub warnings: Vec<UnknownVariable>,
    /// What the caller wants done.
    pub task: Task,
}

/// What a call of `roost serve` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Run the node.
    Run,
    /// Say whether it could.
    Check,
    /// Print the settings.
    Print,
}

/// Reads a configuration from matched flags of [`command`], an environment, and the file that they name.
///
/// # Errors
/// Everything that is wrong with any of them, see [`Problem`].
pub fn load(
    matches: &ArgMatches,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    host: &Host,
    read_file: impl FnOnce(&Path) -> io::Result<String>,
) -> Result<Loaded, ConfigError> {
    let call = Call::from_arg_matches(matches)?;
    let environment = environment::read(env);
    let mut problems = environment.problems;
    let mut settings = Settings::defaults(host).map_err(unwritable)?;

    // From the weakest source to the strongest: each lays its values over what is there.
    if let Some(path) = call.config.as_deref().or(environment.config.as_deref()) {
        problems.extend(lay_file(path, read_file, &mut settings));
    }
    for (key, value) in environment.values {
        settings.set(&key, value, Source::Environment);
    }
    lay_flags(matches, &mut settings)?;
    if !problems.is_empty() {
        return Err(ConfigError::Problems(problems));
    }

    let options = resolve_connections(&mut settings, host).map_err(unwritable)?;
    problems.extend(check::problems(&options, &settings));
    let policies = Policies::new(&options.rules());
    match policies {
        Ok(policies) if problems.is_empty() => {
            let config = Config::resolve(options, policies);
            Ok(Loaded { config, settings, warnings: environment.unknown, task: task(&call) })
        }
        Ok(_) => Err(ConfigError::Problems(problems)),
        Err(error) => {
            problems
                .push(Problem::Unfit { setting: settings::CHANNELS.to_owned(), error: error.to_string() });
            Err(ConfigError::Problems(problems))
        }
    }
}

/// How many connections fit follows from the shards, whoever said how many those are.
fn resolve_connections(settings: &mut Settings, host: &Host) -> Result<Options, toml::de::Error> {
    let shards = settings.to_options()?.shards;
    let connections = i64::try_from(host.connections(shards)).unwrap_or(i64::MAX);
    settings.set_default("max_connections", Value::Integer(connections));
    settings.to_options()
}

fn lay_file(
    path: &Path,
    read_file: impl FnOnce(&Path) -> io::Result<String>,
    settings: &mut Settings,
) -> Vec<Problem> {
    let file = path.display().to_string();
    match read_file(path) {
        Ok(text) => file::apply(&file, &text, settings).err().unwrap_or_default(),
        Err(error) => vec![Problem::Unreadable { file, error: error.to_string() }],
    }
}

fn lay_flags(matches: &ArgMatches, settings: &mut Settings) -> Result<(), ConfigError> {
    let typed = Table::try_from(Options::from_arg_matches(matches)?).map_err(unwritable)?;
    for (key, value) in typed {
        // `channels` is no flag: asking clap about it would be a mistake of ours.
        if key != settings::CHANNELS && matches.value_source(&key) == Some(ValueSource::CommandLine) {
            settings.set(&key, value, Source::Flag);
        }
    }
    Ok(())
}

/// An option that its own type can write and not read is a mistake of ours, told like any other problem.
fn unwritable(error: impl std::fmt::Display) -> ConfigError {
    let setting = "the options".to_owned();
    ConfigError::Problems(vec![Problem::Unfit { setting, error: error.to_string() }])
}

fn task(call: &Call) -> Task {
    match (call.check, call.print_config) {
        (true, _) => Task::Check,
        (false, true) => Task::Print,
        (false, false) => Task::Run,
    }
}

fn bytes(size: Size) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod tests;
