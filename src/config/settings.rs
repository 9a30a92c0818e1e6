//! Values with where they came from, and which source wins. Must never know what a value means.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::broker::Broker;
use super::options::{Host, Options, flag, variable};
use super::policy::{Policy, PolicyRule};
use super::token_key::TokenKey;

/// Where in a file something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name may hold anything, a comment and a line of a log may not.
        let file = self.file.replace(char::is_control, "?");
        write!(f, "{file}:{}:{}", self.line, self.column)
    }
}

/// Which source a value came from; the later variant wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file of `--config`.
    File(Place),
    /// A `ROOST_` variable.
    Environment,
    /// A flag.
    Flag,
}

/// One value and its source. What the value is of decides whether it may be shown: [`Setting::described`] knows.
#[derive(Clone, PartialEq)]
pub struct Setting {
    /// The value as `roost.toml` has it.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
}

impl Setting {
    /// The setting as its source has it, place included: `--shards 200`, `ROOST_SHARDS=200`,
    /// `roost.toml:3:1: shards = 200`, `shards = 200 (default)`.
    #[must_use]
    pub fn described(&self, key: &str) -> String {
        let value = &shown(key, &self.value);
        let bare = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let described = match &self.source {
            Source::Default => format!("{key} = {value} (default)"),
            Source::File(place) => format!("{place}: {key} = {value}"),
            Source::Environment => format!("{}={bare}", variable(key)),
            Source::Flag => format!("{} {bare}", flag(key)),
        };
        // A problem is one line, whatever somebody put into a value.
        described.replace(char::is_control, "?")
    }
}

/// A value as people may see it: of a key that tokens are signed with no secret, of a broker no password.
pub(super) fn shown(key: &str, value: &Value) -> Value {
    let mask = |one: &Value| match one.as_str().map(str::parse::<TokenKey>) {
        Some(Ok(token_key)) => Value::from(token_key.shown()),
        Some(Err(_)) | None => one.clone(),
    };
    match (key, value) {
        (BROKER, Value::String(url)) => match url.parse::<Broker>() {
            Ok(broker) => Value::from(broker.shown()),
        },
        (TOKEN_KEY, Value::Array(keys)) => Value::Array(keys.iter().map(mask).collect()),
        (TOKEN_KEY, one) => mask(one),
        (_, value) => value.clone(),
    }
}

/// All settings by key. `Debug` writes what `--print-config` prints.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// Every option but `channels`.
    pub options: BTreeMap<String, Setting>,
    /// What was said below each channel prefix; `""` is always there, with all keys that are not options as well.
    pub channels: BTreeMap<String, BTreeMap<String, Setting>>,
}

impl Settings {
    /// The defaults on `host`.
    ///
    /// # Errors
    /// Never in practice: an option that cannot be written as TOML.
    pub fn defaults(host: &Host) -> Result<Self, toml::ser::Error> {
        let as_default = |(key, value)| (key, Setting { value, source: Source::Default });
        let mut options = Table::try_from(Options::on(host))?;
        options.remove(CHANNELS);
        let mut everywhere = Table::try_from(PolicyRule::from_policy(Policy::default()))?;
        // What is an option as well has its default there, and here only what somebody writes.
        everywhere.retain(|key, _| !options.contains_key(key));
        Ok(Self {
            options: options.into_iter().map(as_default).collect(),
            channels: BTreeMap::from([(String::new(), everywhere.into_iter().map(as_default).collect())]),
        })
    }

    /// Lays a value over what weaker sources said. Sources are to be set from the weakest to the strongest.
    pub fn set(&mut self, key: &str, value: Value, source: Source) {
        self.options.insert(key.to_owned(), Setting { value, source });
    }

    /// Lays another default where nobody said anything: for one that follows from what was said elsewhere.
    pub fn set_default(&mut self, key: &str, value: Value) {
        if let Some(setting) = self.options.get_mut(key).filter(|setting| setting.source == Source::Default) {
            setting.value = value;
        }
    }

    /// The options that these settings spell.
    ///
    /// # Errors
    /// Never in practice: every value was read by the same types when it was set.
    pub fn to_options(&self) -> Result<Options, toml::de::Error> {
        let plain = |settings: &BTreeMap<String, Setting>| -> Table {
            settings.iter().map(|(key, setting)| (key.clone(), setting.value.clone())).collect()
        };
        let mut table = plain(&self.options);
        let channels: Table =
            self.channels.iter().map(|(prefix, rule)| (prefix.clone(), Value::Table(plain(rule)))).collect();
        table.insert(CHANNELS.to_owned(), Value::Table(channels));
        table.try_into()
    }

    /// [`Setting::described`] for the option of this key.
    #[must_use]
    pub fn described(&self, key: &str) -> String {
        self.options.get(key).map_or_else(|| key.to_owned(), |setting| setting.described(key))
    }

    /// [`Setting::described`] for a key below a channel prefix.
    #[must_use]
    pub fn described_channel(&self, prefix: &str, key: &str) -> String {
        let name = format!("{CHANNELS}.{}.{key}", Value::from(prefix));
        let setting = self.channels.get(prefix).and_then(|rule| rule.get(key));
        setting.map_or_else(|| name.clone(), |setting| setting.described(&name))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys whose values hold secrets.
const BROKER: &str = "broker";
const TOKEN_KEY: &str = "token_key";
/// The key under which `roost.toml` holds the policies.
pub(super) const CHANNELS: &str = "channels";
