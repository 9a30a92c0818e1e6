//! How much is logged and in what form, as words. Must never know the library that writes the log.

use std::fmt;
use std::str::FromStr;

use super::value::{ValueError, nearest, text_in_toml};

/// From which weight on events are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody's hand.
    Error,
    /// What may soon need it.
    Warn,
    /// What the node does as a whole.
    Info,
    /// What single connections do.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All levels, the quietest first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        Self::ALL.into_iter().find(|level| level.word() == typed).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "a log level",
            nearest: nearest(typed, Self::ALL.map(Self::word)).map(str::to_owned),
            valid: "error, warn, info, debug or trace",
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

text_in_toml!(LogLevel);

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
    /// Entries of the systemd journal, with a field for each value.
    Journald,
}

impl LogFormat {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Journald];

    const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Journald => "journald",
        }
    }
}

impl FromStr for LogFormat {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        Self::ALL.into_iter().find(|format| format.word() == typed).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "a log format",
            nearest: nearest(typed, Self::ALL.map(Self::word)).map(str::to_owned),
            valid: "text, json or journald",
        })
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

text_in_toml!(LogFormat);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_a_wrong_one_names_its_neighbour() {
        for level in LogLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        for format in LogFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("debgu".parse::<LogLevel>().unwrap_err().nearest.as_deref(), Some("debug"));
        assert_eq!("JSON".parse::<LogFormat>().unwrap_err().nearest.as_deref(), Some("json"));
    }
}
