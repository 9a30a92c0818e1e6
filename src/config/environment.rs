//! The `ROOST_` variables: from an environment that is handed in to settings. Must never read the process's own.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use toml::{Table, Value};

use super::error::{Problem, UnknownVariable};
use super::options::{Options, VARIABLE_PREFIX, bare_command, flag, keys, variable};
use super::value::nearest;

/// What an environment says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Environment {
    /// Values by key.
    pub(super) values: Vec<(String, Value)>,
    /// The file of `ROOST_CONFIG`.
    pub(super) config: Option<PathBuf>,
    /// Variables that set nothing, by name.
    pub(super) unknown: Vec<UnknownVariable>,
    /// Values that their options do not take.
    pub(super) problems: Vec<Problem>,
}

/// Reads the variables that are ours. An empty one counts as not set: that is how compose files unset a variable.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    let keys = keys();
    let mut environment = Environment::default();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else { continue };
        if value.is_empty() || READ_ELSEWHERE.contains(&name) || is_service_link(name) {
            continue;
        }
        if name == CONFIG {
            environment.config = Some(value.into());
        } else if let Some(key) = keys.iter().find(|key| variable(key) == name) {
            match read_value(key, &value) {
                Ok(value) => environment.values.push((key.clone(), value)),
                Err(error) => environment.problems.push(Problem::Variable { name: name.to_owned(), error }),
            }
        } else {
            environment
                .unknown
                .push(UnknownVariable { name: name.to_owned(), nearest: nearest_variable(name, &keys) });
        }
    }
    environment.unknown.sort_by(|left, right| left.name.cmp(&right.name));
    environment
}

/// Reads a value as the flag of the same option would read it.
fn read_value(key: &str, value: &OsString) -> Result<Value, String> {
    let value = value.to_str().ok_or_else(|| "its value is not UTF-8".to_owned())?;
    let parsed = bare_command().try_get_matches_from([format!("{}={value}", flag(key))]);
    let matches = parsed.map_err(|error| inner(&error))?;
    let options =
        <Options as clap::FromArgMatches>::from_arg_matches(&matches).map_err(|error| inner(&error))?;
    let mut table = Table::try_from(options).map_err(|error| error.to_string())?;
    table.remove(key).ok_or_else(|| "it has no value".to_owned())
}

/// What the value's own reader said, without the words that clap puts around it for a flag.
fn inner(error: &clap::Error) -> String {
    error.source().map_or_else(|| error.kind().to_string(), ToString::to_string)
}

fn nearest_variable(name: &str, keys: &[String]) -> Option<String> {
    let typed = name.strip_prefix(VARIABLE_PREFIX)?;
    nearest(typed, keys.iter().map(String::as_str).chain(["config"])).map(variable)
}

/// Whether Kubernetes set this variable for a service whose name begins with `roost`: `ROOST_SERVICE_HOST`,
/// `ROOST_PORT_8080_TCP_ADDR` and their like. No option of ours is called so.
fn is_service_link(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || name.contains("_SERVICE_PORT_")
        || name
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()))
}

const CONFIG: &str = "ROOST_CONFIG";

/// Variables of the other subcommands: `roost tail` reads its URL from one.
const READ_ELSEWHERE: [&str; 1] = ["ROOST_URL"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(variables: &[(&str, &str)]) -> Environment {
        read(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_variable_reads_like_the_flag_of_its_option() {
        let environment = read_all(&[
            ("ROOST_PING_INTERVAL", "5000ms"),
            ("ROOST_ECHO", "1"),
            ("ROOST_ORIGIN", "https://a.example,https://b.example"),
            ("ROOST_CONFIG", "/etc/roost.toml"),
            ("PATH", "/bin"),
        ]);
        let value =
            |key: &str| environment.values.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        assert_eq!(value("ping_interval"), Some(&Value::from("5s")));
        assert_eq!(value("echo"), Some(&Value::from(true)));
        assert_eq!(value("origin"), Some(&Value::from(vec!["https://a.example", "https://b.example"])));
        assert_eq!(environment.config, Some("/etc/roost.toml".into()));
        assert_eq!((environment.unknown, environment.problems), (vec![], vec![]));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert_eq!(
            read_all(&[("ROOST_SHARDS", ""), ("ROOST_CONFIG", ""), ("ROOST_X", "")]),
            Environment::default()
        );
    }

    #[test]
    fn a_mistyped_variable_is_a_warning_with_its_neighbour() {
        let unknown = read_all(&[("ROOST_QUX", "1"), ("ROOST_LISEN", "1")]).unknown;
        let words: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "ROOST_LISEN sets nothing: did you mean ROOST_LISTEN?",
                "ROOST_QUX sets nothing: `roost serve --help` names all variables"
            ]
        );
    }

    #[test]
    fn what_kubernetes_says_of_a_service_called_roost_is_passed_over() {
        let links = [
            "ROOST_SERVICE_HOST",
            "ROOST_SERVICE_PORT",
            "ROOST_SERVICE_PORT_HTTP",
            "ROOST_PORT",
            "ROOST_PORT_8080_TCP",
            "ROOST_PORT_8080_TCP_ADDR",
            "ROOST_API_SERVICE_HOST",
            "ROOST_API_PORT_8081_TCP_PROTO",
        ];
        assert_eq!(read_all(&links.map(|name| (name, "tcp://10.0.0.1:8080"))), Environment::default());
    }

    #[test]
    fn no_variable_of_an_option_looks_like_a_service_link_or_belongs_elsewhere() {
        for name in keys().iter().map(|key| variable(key)) {
            assert!(!is_service_link(&name) && !READ_ELSEWHERE.contains(&name.as_str()), "{name}");
        }
    }
}
