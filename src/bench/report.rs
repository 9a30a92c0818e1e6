//! What a run is told as: a table for people, JSON for programs. Must never know how anything was measured.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::budget::Verdict;
use super::error::Complaint;
use super::figures::Row;

/// A finished run.
#[derive(Debug)]
pub struct Report {
    /// The profile.
    pub profile: &'static str,
    /// The load in words.
    pub load: String,
    /// Rounds, each of which measured the server and, if there is one, the floor.
    pub rounds: usize,
    /// The figures in the profile's order.
    pub rows: Vec<Row>,
    /// What became of the budget.
    pub verdicts: Vec<Verdict>,
    /// What went wrong with the server, at most `BENCH_COMPLAINTS_MAX`.
    pub complaints: Vec<Complaint>,
    /// How many complaints there were in all.
    pub complaints_total: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Report {
    /// Whether the budget was kept and nothing went wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.complaints_total == 0 && self.verdicts.iter().all(|verdict| verdict.pass)
    }

    /// The report as an aligned table.
    #[must_use]
    pub fn to_text(&self) -> String {
        let rounds =
            if self.rounds == 1 { String::new() } else { format!(", median of {} rounds", self.rounds) };
        let mut text = format!("{}: {}{rounds}\n", self.profile, self.load);
        text.push_str(&align(&self.cells()));
        if self.complaints_total > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} complaints, the first of them:", self.complaints_total);
            self.complaints.iter().for_each(|complaint| {
                let _ = writeln!(text, "  {complaint}");
            });
        }
        if !self.verdicts.is_empty() || self.complaints_total > 0 {
            text.push_str(if self.passed() { "PASS\n" } else { "FAIL\n" });
        }
        text
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let with_floor = self.rows.iter().any(|row| row.floor.is_some());
        let mut head = vec!["figure", "server"];
        if with_floor {
            head.extend(["floor", "ratio", "ratios"]);
        }
        let mut cells = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for row in &self.rows {
            let mut line = vec![row.name.to_owned(), number(row.server)];
            if with_floor {
                line.push(row.floor.map(number).unwrap_or_default());
                line.push(row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default());
                let range = row.ratio_range.map(|(low, high)| format!("{low:.3}-{high:.3}"));
                line.push(range.unwrap_or_default());
            }
            line.extend(self.verdicts.iter().filter(|verdict| verdict.figure == row.name).map(said));
            cells.push(line);
        }
        let has_row = |verdict: &&Verdict| self.rows.iter().any(|row| row.name == verdict.figure);
        for verdict in self.verdicts.iter().filter(|verdict| !has_row(verdict)) {
            cells.push(vec![verdict.figure.to_owned(), "not measured".to_owned(), said(verdict)]);
        }
        cells
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let column = |value: fn(&Row) -> Option<f64>| -> Map<String, Value> {
            let known = self.rows.iter().filter_map(|row| Some((row.name.to_owned(), json!(value(row)?))));
            known.collect()
        };
        let verdicts: Vec<Value> = self
            .verdicts
            .iter()
            .map(|v| json!({"key": v.key, "limit": v.limit, "value": v.value, "pass": v.pass}))
            .collect();
        let complaints: Vec<Value> = self
            .complaints
            .iter()
            .map(|c| {
                let source = c.source.map(|source| source.to_string());
                json!({"connection": c.connection, "source": source, "expected": c.expected, "came": c.came})
            })
            .collect();
        json!({
            "profile": self.profile,
            "load": self.load,
            "rounds": self.rounds,
            "kernel": self.kernel,
            "version": env!("CARGO_PKG_VERSION"),
            "server": column(|row| Some(row.server)),
            "floor": column(|row| row.floor),
            "ratio": column(|row| row.ratio),
            "budget": verdicts,
            "complaints": complaints,
            "complaints_total": self.complaints_total,
            "pass": self.passed(),
        })
    }
}

fn said(verdict: &Verdict) -> String {
    format!("{} {} {}", verdict.key, number(verdict.limit), if verdict.pass { "PASS" } else { "FAIL" })
}

/// Columns of equal width: the first to the left, numbers to the right, verdicts as they are.
pub(crate) fn align(cells: &[Vec<String>]) -> String {
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| cells.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let head_columns = cells.first().map_or(0, Vec::len);
    let mut text = String::new();
    for line in cells {
        let mut columns = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 => write!(columns, "  {cell:<width$}"),
                _ if column < head_columns => write!(columns, "  {cell:>width$}"),
                _ => write!(columns, "  {cell}"),
            };
        }
        text.push_str(columns.trim_end());
        text.push('\n');
    }
    text
}

/// A number with as many digits as mean something, and its thousands apart.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let (whole, fraction) = text.find('.').map_or((text.as_str(), ""), |at| text.split_at(at));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |name, server, floor: f64, ratio: f64| Row {
            name,
            server,
            floor: Some(floor),
            ratio: Some(ratio),
            ratio_range: Some((ratio - 0.01, ratio + 0.01)),
        };
        let verdict = Verdict {
            key: "cpu_us_ratio_max".into(),
            figure: "cpu_us",
            limit: 1.1,
            value: Some(1.05),
            pass: true,
        };
        Report {
            profile: "fanout",
            load: "2 connections".into(),
            rounds: 5,
            rows: vec![row("cpu_us", 9.314, 8.87, 1.05), row("deliveries_per_s", 123_456.7, 130_000.0, 0.95)],
            verdicts: vec![verdict],
            complaints: Vec::new(),
            complaints_total: 0,
            kernel: "6.1".into(),
        }
    }

    #[test]
    fn the_table_is_aligned_and_has_verdicts_beside_their_figures() {
        let expected = "fanout: 2 connections, median of 5 rounds
  figure             server    floor  ratio       ratios
  cpu_us               9.31     8.87  1.050  1.040-1.060  cpu_us_ratio_max 1.10 PASS
  deliveries_per_s  123,457  130,000  0.950  0.940-0.960
PASS
";
        assert_eq!(report().to_text(), expected);
    }

    #[test]
    fn one_complaint_or_one_bound_broken_fails_the_run() {
        let mut failed = report();
        failed.verdicts[0].pass = false;
        assert!(!failed.passed());
        let mut failed = report();
        failed.complaints_total = 1;
        assert!(failed.to_text().ends_with("FAIL\n"));
    }

    #[test]
    fn a_bound_on_what_was_not_measured_is_shown() {
        let mut report = report();
        report.rows.remove(0);
        report.verdicts[0].pass = false;
        assert!(report.to_text().contains("not measured"), "{}", report.to_text());
    }

    #[test]
    fn json_has_every_figure_by_its_name() {
        let json = report().to_json();
        assert_eq!(json["server"]["cpu_us"], 9.314);
        assert_eq!(json["ratio"]["deliveries_per_s"], 0.95);
        assert_eq!(json["budget"][0]["pass"], true);
        assert_eq!(json["pass"], true);
    }

    #[test]
    fn numbers_show_the_digits_that_mean_something() {
        let cases = [(0.0, "0"), (0.1234, "0.123"), (1.5, "1.50"), (12.34, "12.3"), (1e6, "1,000,000")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
        assert_eq!(number(-1234.5), "-1,234");
    }
}
