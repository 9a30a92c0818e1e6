//! What all values of the configuration share: one error, one way through serde, and the nearest valid word for a
//! mistyped one. Must never know a particular option.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// A value that was typed and is not what the option takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// What was typed.
    pub typed: String,
    /// What it should have been, with its article: `a time`.
    pub wanted: &'static str,
    /// The nearest valid value, where one can be guessed.
    pub nearest: Option<String>,
    /// How a valid value looks, as a phrase.
    pub valid: &'static str,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.typed, self.wanted)?;
        if let Some(nearest) = &self.nearest {
            write!(f, ": did you mean `{nearest}`?")?;
        }
        write!(f, " ({})", self.valid)
    }
}

impl std::error::Error for ValueError {}

/// Gives a type with `FromStr` and `Display` the same text in `roost.toml` as on the command line.
macro_rules! text_in_toml {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::value::from_text(deserializer)
            }
        }
    };
}
pub(super) use text_in_toml;

/// Reads a value by its `FromStr`. Numbers and booleans are taken as the text they look like, so that `10` where a time
/// is wanted meets the same error in a file as on the command line.
pub(super) fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(TextVisitor(PhantomData))
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
}

/// Reads `true` or `false`, and `1` or `0` as environments like to say it.
///
/// # Errors
/// Anything else.
pub(super) fn parse_switch(typed: &str) -> Result<bool, ValueError> {
    match typed {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ValueError {
            typed: typed.to_owned(),
            wanted: "a switch",
            nearest: nearest(typed, ["true", "false"]).map(str::to_owned),
            valid: "`true` or `false`",
        }),
    }
}

/// The candidate that `typed` most probably meant; letter case and `-` for `_` do not count.
pub(super) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(typed);
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&folded, &fold(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.to_ascii_lowercase().replace('-', "_")
}

/// Jaro-Winkler likeness from which a word is offered: one or two slips in a word of our length, not another word.
const LIKENESS_MIN: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_its_neighbour_and_a_foreign_one_finds_nothing() {
        let keys = ["listen", "ping_interval", "idle_timeout", "queue_soft", "queue_hard"];
        for (typed, expected) in [
            ("lisen", Some("listen")),
            ("PING-INTERVAL", Some("ping_interval")),
            ("pingInterval", Some("ping_interval")),
            ("queue_sotf", Some("queue_soft")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, keys), expected, "{typed}");
        }
    }

    #[test]
    fn a_switch_is_true_or_false_and_the_error_says_so() {
        assert_eq!(parse_switch("1"), Ok(true));
        assert_eq!(parse_switch("false"), Ok(false));
        let error = parse_switch("ture").unwrap_err().to_string();
        assert_eq!(error, "`ture` is not a switch: did you mean `true`? (`true` or `false`)");
    }
}
