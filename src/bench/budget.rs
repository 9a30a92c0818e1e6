//! A budget file: bounds on figures, and the verdict on each. Must never know how a figure came about.
//!
//! ```toml
//! [fanout]
//! cpu_us_per_message_max = 12.0        # the server's own value
//! cpu_us_per_message_ratio_max = 1.10  # the server's value by the floor's, in the same run
//! deliveries_per_s_min = 50_000
//! ```

use toml::Table;

use super::error::BenchError;
use super::figures::{Figure, Row};

/// A bound on a figure of one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The key as it stands in the file.
    pub key: String,
    figure: &'static str,
    of_ratio: bool,
    side: Side,
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Max,
    Min,
}

/// What became of a bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The key as it stands in the file.
    pub key: String,
    /// The figure that the bound is about.
    pub figure: &'static str,
    /// The bound.
    pub limit: f64,
    /// What was measured; `None` fails, for a bound that nobody looked at must not pass.
    pub value: Option<f64>,
    /// Whether the value is within the bound.
    pub pass: bool,
}

/// Reads the bounds for `profile` from the text of a budget file. `catalogs` names all profiles with their figures, and
/// every section is checked against it, so that a typing error anywhere is found.
///
/// # Errors
/// Text that is no TOML; an unknown profile or figure, with the nearest that there is; a bound that is no number.
pub fn parse(
    text: &str,
    profile: &str,
    catalogs: &[(&'static str, &'static [Figure])],
) -> Result<Vec<Bound>, BenchError> {
    let file: Table = text.parse().map_err(|error| BenchError::Usage(format!("budget: {error}")))?;
    let mut bounds = Vec::new();
    for (section, value) in &file {
        let Some((_, catalog)) = catalogs.iter().find(|(name, _)| name == section) else {
            let names = catalogs.iter().map(|(name, _)| (*name).to_owned());
            return Err(unknown(&format!("profile `[{section}]`"), section, names));
        };
        let Some(table) = value.as_table() else {
            return Err(BenchError::Usage(format!("budget: `{section}` must be a section: [{section}]")));
        };
        for (key, value) in table {
            let bound = Bound::parse(section, key, value, catalog)?;
            if section == profile {
                bounds.push(bound);
            }
        }
    }
    Ok(bounds)
}

impl Bound {
    fn parse(section: &str, key: &str, value: &toml::Value, catalog: &[Figure]) -> Result<Self, BenchError> {
        let limit = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        let limit = limit.ok_or_else(|| {
            BenchError::Usage(format!("budget: [{section}] {key} must be a number, and is {value}"))
        })?;
        for figure in catalog {
            let Some(ending) = key.strip_prefix(figure.name) else { continue };
            let (of_ratio, side) = match ending {
                "_max" => (false, Side::Max),
                "_min" => (false, Side::Min),
                "_ratio_max" => (true, Side::Max),
                "_ratio_min" => (true, Side::Min),
                _ => continue,
            };
            return Ok(Self { key: key.to_owned(), figure: figure.name, of_ratio, side, limit });
        }
        let keys = catalog.iter().flat_map(|figure| {
            ["_max", "_min", "_ratio_max", "_ratio_min"].map(|ending| format!("{}{ending}", figure.name))
        });
        Err(unknown(&format!("figure `{key}` in [{section}]"), key, keys))
    }

    /// Holds the bound against what was measured.
    #[must_use]
    pub fn judge(&self, rows: &[Row]) -> Verdict {
        let row = rows.iter().find(|row| row.name == self.figure);
        let value = row.and_then(|row| if self.of_ratio { row.ratio } else { Some(row.server) });
        let pass = value.is_some_and(|value| match self.side {
            Side::Max => value <= self.limit,
            Side::Min => value >= self.limit,
        });
        Verdict { key: self.key.clone(), figure: self.figure, limit: self.limit, value, pass }
    }
}

fn unknown(what: &str, given: &str, known: impl Iterator<Item = String>) -> BenchError {
    let nearest = known.min_by_key(|name| strsim::levenshtein(name, given));
    let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    BenchError::Usage(format!("budget: unknown {what}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::super::figures::median;
    use super::*;

    const FANOUT: &[Figure] = &[median("cpu_us_per_message"), median("deliveries_per_s"), median("cpu_us")];
    const CATALOGS: &[(&str, &[Figure])] = &[("fanout", FANOUT), ("echo", &[median("messages_per_s")])];

    fn row(name: &'static str, server: f64, ratio: Option<f64>) -> Row {
        Row { name, server, floor: None, ratio, ratio_range: None }
    }

    fn error(text: &str) -> String {
        parse(text, "fanout", CATALOGS).unwrap_err().to_string()
    }

    #[test]
    fn bounds_above_below_and_on_ratios_are_judged() {
        let text = "[fanout]\ncpu_us_per_message_max = 12\ncpu_us_per_message_ratio_max = 1.1\n\
                    deliveries_per_s_min = 1000.5\n[echo]\nmessages_per_s_min = 1";
        let bounds = parse(text, "fanout", CATALOGS).unwrap();
        let judge = |rows: &[Row]| bounds.iter().map(|bound| bound.judge(rows).pass).collect::<Vec<_>>();
        let good = [row("cpu_us_per_message", 12.0, Some(1.1)), row("deliveries_per_s", 1001.0, None)];
        let poor = [row("cpu_us_per_message", 12.1, Some(1.2)), row("deliveries_per_s", 1000.0, None)];
        assert_eq!(judge(&good), [true, true, true]);
        assert_eq!(judge(&poor), [false, false, false]);
    }

    #[test]
    fn a_figure_that_was_not_measured_fails() {
        let bounds = parse("[fanout]\ncpu_us_ratio_max = 2", "fanout", CATALOGS).unwrap();
        let verdict = bounds[0].judge(&[row("cpu_us", 1.0, None)]);
        assert_eq!((verdict.value, verdict.pass), (None, false));
    }

    #[test]
    fn unknown_names_are_errors_that_name_the_nearest() {
        assert_eq!(
            error("[fanout]\ncpu_us_per_mesage_max = 1"),
            "budget: unknown figure `cpu_us_per_mesage_max` in [fanout]; did you mean `cpu_us_per_message_max`?"
        );
        assert_eq!(error("[fan-out]\na = 1"), "budget: unknown profile `[fan-out]`; did you mean `fanout`?");
        assert!(error("[echo]\nmessages_per_s = 1").contains("did you mean `messages_per_s_m"));
    }

    #[test]
    fn what_is_no_number_no_section_or_no_toml_is_an_error() {
        assert!(error("[fanout]\ncpu_us_max = \"1\"").contains("must be a number"));
        assert!(error("fanout = 1").contains("must be a section"));
        assert!(error("[fanout").starts_with("budget: "));
    }
}
