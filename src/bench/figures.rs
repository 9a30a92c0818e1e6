//! The figures a run yields: each has a name, a unit and a rule for several rounds. Must never know how it was measured.

use super::error::Complaint;

/// A figure that a profile can yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// What reports and budgets call it; the unit comes last.
    pub name: &'static str,
    /// How several rounds become one value.
    pub across: Across,
}

/// How the values of several rounds become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// The median: what the machine did to one round is left out.
    Median,
    /// The worst round, for what should never happen at all.
    Worst,
}

/// A figure whose rounds have a median.
pub(super) const fn median(name: &'static str) -> Figure {
    Figure { name, across: Across::Median }
}

/// A figure of which the worst round counts.
pub(super) const fn worst(name: &'static str) -> Figure {
    Figure { name, across: Across::Worst }
}

/// The latency figures that several profiles share.
pub(super) const LATENCY_P50: Figure = median("latency_p50_us");
/// See [`LATENCY_P50`].
pub(super) const LATENCY_P99: Figure = median("latency_p99_us");
/// See [`LATENCY_P50`].
pub(super) const LATENCY_P999: Figure = median("latency_p999_us");
/// See [`LATENCY_P50`].
pub(super) const LATENCY_MAX: Figure = median("latency_max_us");

/// Processor time of the server by message, which several profiles share: all of it, user mode, system mode.
pub(super) const CPU_BY_MESSAGE: [Figure; 3] =
    [median("cpu_us_per_message"), median("cpu_user_us_per_message"), median("cpu_system_us_per_message")];

/// What one measurement of one server yielded.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// Values in the order in which they were set.
    values: Vec<(&'static str, f64)>,
    /// What went wrong, at most `BENCH_COMPLAINTS_MAX`. Any makes the run fail.
    pub complaints: Vec<Complaint>,
    /// How many complaints there were in all.
    pub complaints_total: u64,
}

impl Measurement {
    /// Sets a figure. What cannot be known, for want of a process to look at for example, is left out.
    pub(super) fn set(&mut self, figure: &Figure, value: f64) {
        self.values.push((figure.name, value));
    }

    /// The value of a figure, if it was measured.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// Sets the three figures of processor time, each by one of `count`; none where there was nothing.
    pub(super) fn set_cpu(&mut self, figures: &[Figure; 3], spent: super::probe::CpuSpent, count: f64) {
        if count > 0.0 {
            let [all, user, system] = figures;
            self.set(all, spent.total_us / count);
            self.set(user, spent.user_us / count);
            self.set(system, spent.system_us / count);
        }
    }

    /// Sets the four latency figures.
    pub(super) fn set_latencies(&mut self, latencies: &super::latency::Latencies) {
        self.set(&LATENCY_P50, latencies.at_us(0.5));
        self.set(&LATENCY_P99, latencies.at_us(0.99));
        self.set(&LATENCY_P999, latencies.at_us(0.999));
        self.set(&LATENCY_MAX, latencies.max_us());
    }
}

/// One figure over all rounds, of the server and, where one was measured beside it, the floor.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the figure.
    pub name: &'static str,
    /// The server's value.
    pub server: f64,
    /// The floor's value.
    pub floor: Option<f64>,
    /// Median of the rounds' own ratios, server to floor: rounds share what the machine did meanwhile.
    pub ratio: Option<f64>,
    /// The smallest and the largest of these ratios.
    pub ratio_range: Option<(f64, f64)>,
}

/// Sums up the rounds, figure by figure in the order of `catalog`; figures nobody measured have no row.
#[must_use]
pub fn summarize(catalog: &[Figure], server: &[Measurement], floor: &[Measurement]) -> Vec<Row> {
    catalog.iter().filter_map(|figure| row(figure, server, floor)).collect()
}

fn row(figure: &Figure, server: &[Measurement], floor: &[Measurement]) -> Option<Row> {
    let over = |rounds: &[Measurement]| {
        let values: Vec<f64> = rounds.iter().filter_map(|round| round.value(figure.name)).collect();
        match figure.across {
            Across::Median => middle(values),
            Across::Worst => values.into_iter().reduce(f64::max),
        }
    };
    let mut ratios: Vec<f64> = server
        .iter()
        .zip(floor)
        .filter_map(|(server, floor)| Some((server.value(figure.name)?, floor.value(figure.name)?)))
        .filter(|(_, floor)| *floor > 0.0)
        .map(|(server, floor)| server / floor)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio_range = ratios.first().copied().zip(ratios.last().copied());
    Some(Row {
        name: figure.name,
        server: over(server)?,
        floor: over(floor),
        ratio: middle(ratios),
        ratio_range,
    })
}

/// The median; of an even number, the mean of the two in the middle.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Figure = median("cpu_us");
    const LOST: Figure = worst("lost");

    fn round(cpu: f64, lost: f64) -> Measurement {
        let mut measurement = Measurement::default();
        measurement.set(&CPU, cpu);
        measurement.set(&LOST, lost);
        measurement
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_own_ratios() {
        // The machine was twice as slow in the second round: no ratio notices.
        let server = [round(11.0, 0.0), round(24.0, 0.0), round(10.5, 0.0)];
        let floor = [round(10.0, 0.0), round(20.0, 0.0), round(10.0, 0.0)];
        let rows = summarize(&[CPU], &server, &floor);
        assert_eq!(rows[0].server, 11.0);
        assert_eq!(rows[0].floor, Some(10.0));
        assert_eq!(rows[0].ratio, Some(1.1));
        assert_eq!(rows[0].ratio_range, Some((1.05, 1.2)));
    }

    #[test]
    fn what_must_never_happen_is_not_hidden_by_a_median() {
        let server = [round(1.0, 0.0), round(1.0, 3.0), round(1.0, 0.0)];
        let rows = summarize(&[CPU, LOST], &server, &[]);
        assert_eq!(rows[1].server, 3.0);
        assert_eq!((rows[1].floor, rows[1].ratio), (None, None));
    }

    #[test]
    fn a_floor_of_zero_has_no_ratio_and_an_unmeasured_figure_no_row() {
        let rows = summarize(&[CPU, LOST, median("absent")], &[round(1.0, 1.0)], &[round(0.0, 0.0)]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].ratio, None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(middle(vec![]), None);
    }
}
