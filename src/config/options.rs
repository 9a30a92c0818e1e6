//! The options of `roost serve`: one struct from which `--help`, the environment, `roost.toml` and `--print-config` come.
//! A field's name is its key in `roost.toml`, with `-` its flag, in capitals after `ROOST_` its variable; its doc comment
//! is its help. Must never know which source a value came from, nor judge values against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, Args, Command};
use serde::{Deserialize, Deserializer, Serialize};

use super::address::{ApiAddr, ListenAddr};
use super::broker::Broker;
use super::log::{LogFormat, LogLevel};
use super::policy::{Policy, PolicyRule};
use super::site::Site;
use super::token_key::{TokenKey, one_or_many};
use super::units::{Size, Span};
use super::value::{ValueError, from_text, parse_switch};
use crate::capacity;
use crate::limits::{CONNECTIONS_MAX, Limits, SHARDS_MAX};

/// What defaults are worked out from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Cores that this process may run on.
    pub cores: usize,
    /// What it has for connections.
    pub room: capacity::Host,
    /// The host's name.
    pub name: String,
}

impl Host {
    /// Connections that a node with so many shards holds when nobody says.
    #[must_use]
    pub fn connections(&self, shards: usize) -> usize {
        capacity::unasked(shards, self.room).clamp(1, CONNECTIONS_MAX)
    }
}

impl Default for Host {
    /// A small host that is the same everywhere, for tests.
    fn default() -> Self {
        let room = capacity::Host {
            descriptors: 1024,
            separable: false,
            files: usize::MAX,
            files_max: usize::MAX,
            memory_bytes: usize::MAX,
        };
        Self { cores: 1, room, name: "roost".to_owned() }
    }
}

/// Every value an operator may set, as typed. The doc comments are the help texts.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Address of the public listener, unless systemd passes one
    #[arg(long, value_name = "ADDR")]
    pub listen: ListenAddr,

    /// Address of the API listener, unless systemd passes one: a loopback address, or unix:PATH
    #[arg(long, value_name = "ADDR")]
    pub api: ApiAddr,

    /// Name of this node, told to clients and written in logs (default: the host's name)
    #[arg(long, value_name = "NAME", hide_default_value = true)]
    #[serde(deserialize_with = "from_text")]
    pub node: String,

    /// Shards, each a thread with its own connections (default: one for each core)
    #[arg(long, value_name = "N", value_parser = parse_count, hide_default_value = true)]
    #[serde(deserialize_with = "count")]
    pub shards: usize,

    /// Connections held at once; one more is answered 503 (default: what one descriptor table and
    /// the host's memory carry)
    #[arg(long, value_name = "N", value_parser = parse_count, hide_default_value = true)]
    #[serde(deserialize_with = "count")]
    pub max_connections: usize,

    /// Largest message taken from a client; a longer one ends its connection with 1009
    #[arg(long, value_name = "SIZE")]
    pub max_message: Size,

    /// Bytes that may wait for a slow client for as long as --queue-soft-for
    #[arg(long, value_name = "SIZE")]
    pub queue_soft: Size,

    /// Time that more than --queue-soft may wait for a client before it is cut with 4003
    #[arg(long, value_name = "TIME")]
    pub queue_soft_for: Span,

    /// Bytes waiting for a slow client at which it is cut with 4003 at once
    #[arg(long, value_name = "SIZE")]
    pub queue_hard: Size,

    /// Bytes waiting for all clients together above which those with most are cut with 4003, largest first; bytes that
    /// several wait for count for each of them (default: a quarter of the memory of the host, or of its control group)
    #[arg(long, value_name = "SIZE", hide_default_value = true)]
    pub queue_total: Size,

    /// Origin whose pages may connect, as scheme://host:port, or * for all; may be repeated, or a list with commas
    /// (default: the origin that the node is reached at)
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    pub origin: Vec<Site>,

    /// Key that tokens may be signed with: hs256:SECRET of 32 bytes or more, hs256:@FILE, or rs256:@FILE, es256:@FILE,
    /// eddsa:@FILE with a public key as PEM, each also with the name that tokens give it, rs256/NAME:@FILE; may be repeated.
    /// Other users of the host see flags: prefer a file
    #[arg(long, value_name = "ALGORITHM:KEY")]
    #[serde(deserialize_with = "one_or_many")]
    pub token_key: Vec<TokenKey>,

    /// Who may issue tokens (their `iss`); may be repeated, or a list with commas (default: whoever has a key)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub token_issuer: Vec<String>,

    /// What this node is called in the `aud` of tokens; may be repeated, or a list with commas (default: a token with an
    /// `aud` is for somebody else)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub token_audience: Vec<String>,

    /// Redis through which nodes share their channels, as redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// with TLS, or
    /// redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/MASTER[/DATABASE]; without one this node has its channels for itself. Other users of the host see flags: prefer the file or the environment for a password
    #[arg(long, value_name = "URL")]
    pub broker: Broker,

    /// What the keys of this cluster begin with there, so that others may use the same Redis
    #[arg(long, value_name = "TEXT")]
    pub broker_prefix: String,

    /// Time in which a client must complete its request
    #[arg(long, value_name = "TIME")]
    pub handshake_timeout: Span,

    /// Silence of a client after which it is pinged, give or take: pings of many are spread evenly
    #[arg(long, value_name = "TIME")]
    pub ping_interval: Span,

    /// Silence of a client after which it is given up
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Span,

    /// Age at which a client has to connect again, so that load spreads over nodes that were added; up to a fifth of it earlier,
    /// at random. 0s lets clients stay
    #[arg(long, value_name = "TIME")]
    pub max_age: Span,

    /// Publications kept for each channel, for clients that come back; at most 4 MiB of them, 0 keeps none
    #[arg(long, value_name = "N", value_parser = parse_count)]
    #[serde(deserialize_with = "count")]
    pub history: usize,

    /// Time that a publication is kept
    #[arg(long, value_name = "TIME")]
    pub history_ttl: Span,

    /// Memory for the publications kept of all channels, an equal part for each shard; over it, what was published to
    /// longest ago goes first
    #[arg(long, value_name = "SIZE")]
    pub history_bytes: Size,

    /// Time between the moment that a draining node says it is not ready and its first goodbye, for a load balancer to notice;
    /// meanwhile clients still come in
    #[arg(long, value_name = "TIME")]
    pub drain_delay: Span,

    /// Time over which the goodbyes of a drain are spread evenly, also after SIGTERM
    #[arg(long, value_name = "TIME")]
    pub drain_over: Span,

    /// Kernel's send buffer of a connection
    #[arg(long, value_name = "SIZE")]
    pub send_buffer: Size,

    /// Kernel's receive buffer of a connection
    #[arg(long, value_name = "SIZE")]
    pub receive_buffer: Size,

    /// Unsent bytes in the kernel above which a connection takes no more (TCP_NOTSENT_LOWAT)
    #[arg(long, value_name = "SIZE")]
    pub notsent_lowat: Size,

    /// Time that sent bytes may stay unacknowledged; 0s leaves it to the system (TCP_USER_TIMEOUT)
    #[arg(long, value_name = "TIME")]
    pub user_timeout: Span,

    /// Serve a demo page at /, which shows roost.js at work
    #[arg(
        long, value_name = "SWITCH", value_parser = parse_switch, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub demo: bool,

    /// Serve /echo, which sends every message back: for conformance and load tests
    #[arg(
        long, value_name = "SWITCH", value_parser = parse_switch, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub echo: bool,

    /// Least weight of what is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: LogLevel,

    /// Form of the log: text or json on standard error, or journald
    #[arg(long, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Policies by channel prefix, in `roost.toml` only.
    #[arg(skip)]
    pub channels: BTreeMap<String, PolicyRule>,
}

impl Options {
    /// The defaults on `host`. What has a bound in [`Limits`] has its default there.
    #[must_use]
    pub fn on(host: &Host) -> Self {
        let limits = Limits::default();
        let shards = host.cores.clamp(1, SHARDS_MAX);
        let policy = Policy::default();
        Self {
            listen: ListenAddr(([0, 0, 0, 0], 8080).into()),
            api: ApiAddr::Tcp(([127, 0, 0, 1], 8081).into()),
            node: host.name.clone(),
            shards,
            max_connections: host.connections(shards),
            max_message: Size::from_bytes(limits.message_bytes_max as u64),
            queue_soft: Size::from_bytes(limits.queue_soft_bytes as u64),
            queue_soft_for: Span::from_millis(limits.queue_soft_for_ms),
            queue_hard: Size::from_bytes(limits.queue_hard_bytes as u64),
            queue_total: Size::from_bytes(capacity::queue_total_bytes(host.room) as u64),
            origin: Vec::new(),
            token_key: Vec::new(),
            token_issuer: Vec::new(),
            token_audience: Vec::new(),
            broker: Broker::default(),
            broker_prefix: "roost:".to_owned(),
            handshake_timeout: Span::from_millis(limits.handshake_timeout_ms),
            ping_interval: Span::from_millis(limits.ping_interval_ms),
            idle_timeout: Span::from_millis(limits.idle_timeout_ms),
            max_age: Span::from_millis(limits.age_max_ms),
            history: policy.history,
            history_ttl: Span::from_millis(policy.history_ttl_ms),
            history_bytes: Size::from_bytes(limits.history_bytes as u64),
            drain_delay: Span::from_millis(0),
            drain_over: Span::from_millis(10_000),
            send_buffer: Size::from_bytes(64 * 1024),
            receive_buffer: Size::from_bytes(32 * 1024),
            notsent_lowat: Size::from_bytes(16 * 1024),
            user_timeout: Span::from_millis(30_000),
            demo: false,
            echo: false,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            channels: BTreeMap::new(),
        }
    }

    /// The rules of all prefixes. What `""` leaves out and is an option as well is taken from that.
    pub(super) fn rules(&self) -> BTreeMap<String, PolicyRule> {
        let mut rules = self.channels.clone();
        let everywhere = rules.entry(String::new()).or_default();
        everywhere.history.get_or_insert(self.history);
        everywhere.history_ttl.get_or_insert(self.history_ttl);
        rules
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::on(&Host::default())
    }
}

/// What a call of `roost serve` is to do and with which file: flags only, but for `ROOST_CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Call {
    /// Read options and channel policies from this file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the options and exit: 0 when they are valid, 1 with every problem on standard error
    #[arg(long, conflicts_with = "print_config")]
    pub check: bool,

    /// Print every option with its value and where that came from, as a valid roost.toml, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// The whole `serve` command with help, variables' names and defaults.
#[must_use]
pub fn command() -> Command {
    let options = with_defaults(Options::augment_args(Command::new("serve")));
    let whole = Call::augment_args(options.mut_args(name_variable)).mut_arg("config", name_variable);
    whole.about("Run a node").after_help(PRECEDENCE)
}

/// The options alone, as a command that takes nothing else: to read one value as its flag would be read.
pub(super) fn bare_command() -> Command {
    with_defaults(Options::augment_args(Command::new("roost").no_binary_name(true)))
}

/// The keys of all options but `channels`, in the order of the help.
pub(super) fn keys() -> Vec<String> {
    bare_command().get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

/// The variable that sets the option of this key.
pub(super) fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase())
}

/// The flag that sets the option of this key.
pub(super) fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// Gives every option its default, so that none is required and the help shows it.
fn with_defaults(command: Command) -> Command {
    let defaults = toml::Table::try_from(Options::default()).unwrap_or_default();
    command.mut_args(|arg| {
        let default = match defaults.get(arg.get_id().as_str()) {
            Some(toml::Value::String(text)) => Some(text.clone()),
            Some(toml::Value::Array(_)) | None => None,
            Some(other) => Some(other.to_string()),
        };
        match default {
            Some(text) => arg.required(false).default_value(text),
            None => arg.required(false),
        }
    })
}

/// Puts the variable's name behind the help. Its value is never read here: the environment is an argument of the load.
fn name_variable(arg: Arg) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let variable = variable(arg.get_id().as_str());
    arg.help(format!("{help} [env: {variable}]"))
}

fn parse_count(typed: &str) -> Result<usize, ValueError> {
    typed.parse().map_err(|_| ValueError {
        typed: typed.to_owned(),
        wanted: "a count",
        nearest: None,
        valid: "a whole number, such as `4`",
    })
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    from_text::<Count, D>(deserializer).map(|count| count.0)
}

struct Count(usize);

impl std::str::FromStr for Count {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        parse_count(typed).map(Self)
    }
}

/// What all variables of ours begin with.
pub(super) const VARIABLE_PREFIX: &str = "ROOST_";

const PRECEDENCE: &str = "\
Each option is also a variable, as shown, and a key of roost.toml with _ for -.
A flag wins over the variable, that over the file, that over the default; a list replaces a list.
Sizes are bytes, or KiB, MiB, GiB: 64KiB. Times are ms, s, m, h: 250ms.
Policies of channels are in roost.toml only; the longest prefix wins, \"\" is the default of all:

  [channels.\"chat:\"]
  clients_may_publish = true
  history = 100
  history_ttl = \"5m\"
  presence = true
  slow = \"drop\"";
