//! Lists as tables: words to the left, numbers to the right. Must never know what they list.

use std::fmt::Write;

/// Where a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A heading and its lines, each with as many cells as there are columns.
pub(super) fn table<const COLUMNS: usize>(
    columns: [(&str, Side); COLUMNS],
    lines: &[[String; COLUMNS]],
) -> String {
    let head = columns.map(|(heading, _)| heading.to_owned());
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(lines).map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for line in std::iter::once(&head).chain(lines) {
        let mut cells = String::new();
        for ((cell, width), (_, side)) in line.iter().zip(widths).zip(columns) {
            // Writing to a string cannot fail.
            let _ = match side {
                Side::Left => write!(cells, "  {cell:<width$}"),
                Side::Right => write!(cells, "  {cell:>width$}"),
            };
        }
        text.push_str(cells.trim_end());
        text.push('\n');
    }
    text
}

/// Time as people say it: two units at most.
pub(super) fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{minutes}m {:02}s", whole % 60),
        3600..86_400 => format!("{hours}h {:02}m", minutes % 60),
        86_400.. => format!("{days}d {:02}h", hours % 24),
    }
}

/// Text that somebody else chose: a terminal would obey what is no letter in it.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_nothing_stands_behind_the_last() {
        let lines = [["ä", "1", ""], ["bcd", "1,000", "x"]].map(|line| line.map(str::to_owned));
        let text = table([("a", Side::Left), ("n", Side::Right), ("", Side::Left)], &lines);
        assert_eq!(text, "  a        n\n  ä        1\n  bcd  1,000  x\n");
    }

    #[test]
    fn an_age_has_two_units_at_most() {
        for (seconds, words) in [
            (0.04, "0.0s"),
            (59.9, "59.9s"),
            (60.0, "1m 00s"),
            (3599.9, "59m 59s"),
            (3600.0, "1h 00m"),
            (86_399.0, "23h 59m"),
            (90_000.0, "1d 01h"),
        ] {
            assert_eq!(age(seconds), words);
        }
    }

    #[test]
    fn a_terminal_gets_no_orders_from_a_user_name() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
