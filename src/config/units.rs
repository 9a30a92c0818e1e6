//! Sizes and times as operators write them: `64KiB`, `10s`. Must never know which option they belong to.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::value::{ValueError, text_in_toml};

/// A number of bytes, written as such or in `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// A size of that many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        parse(typed, SIZE_UNITS).map(Self).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "a size",
            nearest: respell(typed, SIZE_SLIPS),
            valid: "bytes, or a whole number and KiB, MiB or GiB, such as `65536` or `64KiB`",
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, SIZE_UNITS)
    }
}

text_in_toml!(Size);

/// A length of time in whole milliseconds, written in `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// A span of that many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The span in milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The span as the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        parse(typed, SPAN_UNITS).map(Self).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "a time",
            nearest: respell(typed, SPAN_SLIPS),
            valid: "a whole number and ms, s, m or h, such as `250ms` or `10s`",
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, SPAN_UNITS)
    }
}

text_in_toml!(Span);

/// Spellings and their factors, largest first.
type Units = &'static [(&'static str, u64)];

/// Takes a whole number and one of `units` apart; nothing where that fails or the product does not fit.
fn parse(typed: &str, units: Units) -> Option<u64> {
    let (number, unit) = split(typed);
    let (_, factor) = units.iter().find(|(spelling, _)| *spelling == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes `value` with the largest of `units` that leaves no remainder, so that nothing is lost.
fn write_exact(f: &mut fmt::Formatter<'_>, value: u64, units: Units) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(*factor);
    match units.iter().find(fits).or(units.last()) {
        Some((spelling, factor)) => write!(f, "{}{spelling}", value / factor),
        None => write!(f, "{value}"),
    }
}

/// The value that was meant, where a slip of `slips` explains what was typed.
fn respell(typed: &str, slips: &[(&str, &str)]) -> Option<String> {
    let (number, unit) = split(typed.trim());
    number.parse::<u64>().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    slips.iter().find(|(slip, _)| *slip == unit).map(|(_, meant)| format!("{number}{meant}"))
}

fn split(typed: &str) -> (&str, &str) {
    let digits = typed.find(|character: char| !character.is_ascii_digit()).unwrap_or(typed.len());
    typed.split_at(digits)
}

const SIZE_UNITS: Units = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];
const SPAN_UNITS: Units = &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// What people write for a unit of ours, in lower case, and the unit.
const SIZE_SLIPS: &[(&str, &str)] = &[
    ("b", ""),
    ("bytes", ""),
    ("k", "KiB"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gib", "GiB"),
];
const SPAN_SLIPS: &[(&str, &str)] = &[
    ("", "s"),
    ("ms", "ms"),
    ("msec", "ms"),
    ("millis", "ms"),
    ("s", "s"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("m", "m"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("h", "h"),
    ("hr", "h"),
    ("hour", "h"),
    ("hours", "h"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_bytes_or_carry_a_binary_unit() {
        for (typed, bytes) in
            [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("16MiB", 16 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(typed.parse(), Ok(Size(bytes)), "{typed}");
        }
    }

    #[test]
    fn times_carry_their_unit() {
        for (typed, millis) in
            [("0ms", 0), ("250ms", 250), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(typed.parse(), Ok(Span(millis)), "{typed}");
        }
    }

    #[test]
    fn the_largest_exact_unit_is_written() {
        for (bytes, text) in
            [(0, "0"), (1000, "1000"), (65_536, "64KiB"), (3 << 20, "3MiB"), (5 << 30, "5GiB")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
        for (millis, text) in
            [(0, "0ms"), (250, "250ms"), (90_000, "90s"), (120_000, "2m"), (7_200_000, "2h")]
        {
            assert_eq!(Span(millis).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_size_or_time_says_what_was_typed_what_was_meant_and_what_is_valid() {
        let size = |typed: &str| typed.parse::<Size>().unwrap_err().to_string();
        assert_eq!(
            size("64KB"),
            "`64KB` is not a size: did you mean `64KiB`? \
             (bytes, or a whole number and KiB, MiB or GiB, such as `65536` or `64KiB`)"
        );
        let span = |typed: &str| typed.parse::<Span>().unwrap_err().to_string();
        assert_eq!(
            span("10"),
            "`10` is not a time: did you mean `10s`? \
             (a whole number and ms, s, m or h, such as `250ms` or `10s`)"
        );
        assert!(span("5 minutes").contains("did you mean `5m`?"));
        for hopeless in ["", "-1s", "1.5s", "ten", "99999999999999999999h", "10000000000000000h"] {
            let error = span(hopeless);
            assert!(error.starts_with(&format!("`{hopeless}` is not a time")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_size(bytes in any::<u64>(), shift in 0u32..40) {
            for size in [Size(bytes), Size(bytes >> 40 << shift)] {
                prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
            }
        }

        #[test]
        fn what_is_written_reads_back_as_the_same_time(millis in any::<u64>(), count in 0u64..100_000) {
            for span in [Span(millis), Span(count * 1_000), Span(count * 60_000), Span(count * 3_600_000)] {
                prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            }
        }

        #[test]
        fn no_text_makes_the_readers_panic(typed in any::<String>()) {
            if let Ok(size) = typed.parse::<Size>() {
                prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
            }
            if let Ok(span) = typed.parse::<Span>() {
                prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            }
        }
    }
}
