//! `--print-config`: all settings as a `roost.toml` whose comments say where each came from. Must never judge a value.

use std::fmt;

use toml::Value;

use super::options::{flag, keys, variable};
use super::settings::{CHANNELS, Setting, Settings, Source, shown};

impl fmt::Display for Settings {
    /// Valid TOML that, read as a file, gives the same configuration again, but for secrets, which it does not show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in keys() {
            if let Some(setting) = self.options.get(&key) {
                write_setting(f, &key, setting)?;
            }
        }
        for (prefix, rule) in &self.channels {
            writeln!(f, "\n[{CHANNELS}.{}]", Value::from(prefix.as_str()))?;
            for (key, setting) in rule {
                write_setting(f, key, setting)?;
            }
        }
        Ok(())
    }
}

fn write_setting(f: &mut fmt::Formatter<'_>, key: &str, setting: &Setting) -> fmt::Result {
    let value = &shown(key, &setting.value);
    match &setting.source {
        Source::Default => writeln!(f, "{key} = {value} # default"),
        Source::File(place) => writeln!(f, "{key} = {value} # file {place}"),
        Source::Environment => writeln!(f, "{key} = {value} # environment {}", variable(key)),
        Source::Flag => writeln!(f, "{key} = {value} # flag {}", flag(key)),
    }
}
