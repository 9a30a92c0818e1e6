//! Everything that can be wrong with a configuration, told so that the reader knows what, where, and what to write instead.
//! Must never know how it was found.

use std::fmt;

use super::settings::Place;

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The flags are wrong; clap has the words, those of `--help` included.
    Usage(clap::Error),
    /// The flags are well-formed; what they, the environment and the file say is not. At least one problem.
    Problems(Vec<Problem>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Problems(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let line_break = if index == 0 { "" } else { "\n" };
                    write!(f, "{line_break}{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<clap::Error> for ConfigError {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A variable whose value its option does not take.
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with its value.
        error: String,
    },
    /// A file that cannot be read.
    Unreadable {
        /// The file as it was named.
        file: String,
        /// The system's words.
        error: String,
    },
    /// A file that is not TOML.
    Syntax {
        /// Where it stops being TOML.
        place: Place,
        /// Why.
        error: String,
    },
    /// A key that does not exist.
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// The key, with the table that it stands in.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// All keys that may stand there.
        valid: Vec<String>,
    },
    /// A value in a file that its key does not take, or a channel prefix that no channel can have.
    FileValue {
        /// Where it stands.
        place: Place,
        /// The key, with the table that it stands in.
        key: String,
        /// What is wrong.
        error: String,
    },
    /// A value out of bounds, or at odds with another.
    Unfit {
        /// The setting as its source has it, place included.
        setting: String,
        /// What is wrong and what is valid.
        error: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { name, error } => write!(f, "{name}: {error}"),
            Self::Unreadable { file, error } => write!(f, "{file}: cannot be read: {error}"),
            Self::Syntax { place, error } => write!(f, "{place}: not valid TOML: {error}"),
            Self::UnknownKey { place, key, nearest: Some(nearest), valid: _ } => {
                write!(f, "{place}: unknown key `{key}`: did you mean `{nearest}`?")
            }
            Self::UnknownKey { place, key, nearest: None, valid } => {
                write!(f, "{place}: unknown key `{key}`: valid here are {}", valid.join(", "))
            }
            Self::FileValue { place, key, error } => write!(f, "{place}: {key}: {error}"),
            Self::Unfit { setting, error } => write!(f, "{setting}: {error}"),
        }
    }
}

/// A variable that begins with `ROOST_` and sets nothing.
///
/// It is a warning, not an error: whoever starts the node does not always own its environment. Kubernetes puts variables
/// of a service called `roost` into every pod beside it, and those must not keep a node from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// The variable.
    pub name: String,
    /// The variable that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sets nothing", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, ": did you mean {nearest}?"),
            None => write!(f, ": `roost serve --help` names all variables"),
        }
    }
}
