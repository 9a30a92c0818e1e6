//! `roost.toml`: from its text to settings, each with its line and column. Must never open a file.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::error::Problem;
use super::options::{Options, keys};
use super::policy::{Policy, PolicyRule, check_prefix};
use super::settings::{CHANNELS, Place, Setting, Settings, Source};
use super::value::nearest;
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// Lays what the file says over `settings`.
///
/// # Errors
/// Everything that is wrong with the file, in its order.
pub(super) fn apply(file: &str, text: &str, settings: &mut Settings) -> Result<(), Vec<Problem>> {
    if text.len() > CONFIG_FILE_BYTES_MAX {
        let error = format!("it has {} bytes, at most {CONFIG_FILE_BYTES_MAX} are read", text.len());
        return Err(vec![Problem::Unreadable { file: file.to_owned(), error }]);
    }
    let mut reader = Reader { file, text, problems: Vec::new() };
    let parsed = DeTable::parse(text).and_then(|spanned| Ok((spanned, toml::from_str::<Table>(text)?)));
    match parsed {
        Ok((spanned, plain)) => reader.top(spanned.get_ref(), plain, settings),
        Err(error) => {
            let place = reader.place(&error.span().unwrap_or(0..0));
            let error = error.message().trim().replace('\n', "; ");
            reader.problems.push(Problem::Syntax { place, error });
        }
    }
    reader.problems.sort_by_key(line_and_column);
    if reader.problems.is_empty() { Ok(()) } else { Err(reader.problems) }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The table that the file is.
    fn top(&mut self, spanned: &DeTable<'_>, mut plain: Table, settings: &mut Settings) {
        let channels = plain.remove(CHANNELS);
        let mut valid = keys();
        let found = self.table::<Options>("", &valid, spanned, plain);
        settings.options.extend(found);
        valid.push(CHANNELS.to_owned());
        self.unknown_keys("", &valid, spanned);
        let at_channels = spanned.iter().find(|(key, _)| key.get_ref().as_ref() == CHANNELS);
        if let (Some((_, spanned)), Some(plain)) = (at_channels, channels) {
            self.channels(spanned, plain, settings);
        }
    }

    /// The table `channels`, whose keys are prefixes.
    fn channels(&mut self, spanned: &Spanned<DeValue<'_>>, plain: Value, settings: &mut Settings) {
        let (DeValue::Table(prefixes), Value::Table(mut plain)) = (spanned.get_ref(), plain) else {
            let error = "it is not a table: write [channels.\"PREFIX\"] with keys below it".to_owned();
            return self.value_problem(&spanned.span(), CHANNELS.to_owned(), error);
        };
        for (prefix, rule) in in_order(prefixes) {
            let name = format!("{CHANNELS}.{}", Value::from(prefix.get_ref().as_ref()));
            if let Err(error) = check_prefix(prefix.get_ref()) {
                self.value_problem(&prefix.span(), name.clone(), error.to_string());
            }
            match (rule.get_ref(), plain.remove(prefix.get_ref().as_ref())) {
                (DeValue::Table(spanned), Some(Value::Table(plain))) => {
                    let valid = rule_keys();
                    self.unknown_keys(&name, &valid, spanned);
                    let found = self.table::<PolicyRule>(&name, &valid, spanned, plain);
                    settings.channels.entry(prefix.get_ref().to_string()).or_default().extend(found);
                }
                _ => self.value_problem(
                    &rule.span(),
                    name.clone(),
                    format!("it is not a table: write [{name}] with {} below it", rule_keys().join(", ")),
                ),
            }
        }
    }

    /// Reads those keys of a table that `T` has, each alone, so that one wrong value does not hide the next.
    fn table<T: Serialize + DeserializeOwned>(
        &mut self,
        within: &str,
        valid: &[String],
        spanned: &DeTable<'_>,
        mut plain: Table,
    ) -> BTreeMap<String, Setting> {
        let mut found = BTreeMap::new();
        for (key, at) in in_order(spanned) {
            let name: &str = key.get_ref().as_ref();
            let Some(value) = plain.remove(name).filter(|_| valid.iter().any(|valid| valid == name)) else {
                continue;
            };
            match read_value::<T>(name, value) {
                Ok(value) => {
                    let source = Source::File(self.place(&key.span()));
                    found.insert(name.to_owned(), Setting { value, source });
                }
                Err(error) => self.value_problem(&at.span(), joined(within, name), error),
            }
        }
        found
    }

    fn unknown_keys(&mut self, within: &str, valid: &[String], spanned: &DeTable<'_>) {
        for (key, _) in in_order(spanned) {
            let name: &str = key.get_ref().as_ref();
            if !valid.iter().any(|valid| valid == name) {
                let place = self.place(&key.span());
                let nearest = nearest(name, valid.iter().map(String::as_str)).map(str::to_owned);
                let valid = valid.to_vec();
                self.problems.push(Problem::UnknownKey { place, key: joined(within, name), nearest, valid });
            }
        }
    }

    fn value_problem(&mut self, span: &Range<usize>, key: String, error: String) {
        self.problems.push(Problem::FileValue { place: self.place(span), key, error });
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

fn line_and_column(problem: &Problem) -> (usize, usize) {
    match problem {
        Problem::Syntax { place, .. }
        | Problem::UnknownKey { place, .. }
        | Problem::FileValue { place, .. } => (place.line, place.column),
        Problem::Variable { .. } | Problem::Unreadable { .. } | Problem::Unfit { .. } => (0, 0),
    }
}

/// The entries of a table as the file has them: the table itself is sorted by key.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Reads a value by the type of its field, and writes it as that type does: `65536` becomes `64KiB`.
fn read_value<T: Serialize + DeserializeOwned>(key: &str, value: Value) -> Result<Value, String> {
    let one = Table::from_iter([(key.to_owned(), value)]);
    let read: T = one.try_into().map_err(|error: toml::de::Error| error.message().trim().to_owned())?;
    let mut written = Table::try_from(read).map_err(|error| error.to_string())?;
    written.remove(key).ok_or_else(|| "it has no value".to_owned())
}

/// The keys that may stand below a prefix.
fn rule_keys() -> Vec<String> {
    let rule = Table::try_from(PolicyRule::from_policy(Policy::default())).unwrap_or_default();
    rule.into_iter().map(|(key, _)| key).collect()
}

fn joined(within: &str, key: &str) -> String {
    if within.is_empty() { key.to_owned() } else { format!("{within}.{key}") }
}
