//! A place in a channel's numbering, as clients carry it: `EPOCH-OFFSET`. Must never know what is stored there.

use std::fmt;
use std::str::FromStr;

/// Which numbering of a channel an offset belongs to. Printed in base 62 (`0-9 A-Z a-z`), as PROTOCOL asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A place in a channel: everything up to and including `offset` of `epoch` is past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The numbering.
    pub epoch: Epoch,
    /// The last publication seen; 0 before the first.
    pub offset: u64,
}

/// The text was not `EPOCH-OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedCursor;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits that any `u64` fits into.
const DIGITS_MAX: usize = 11;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; DIGITS_MAX];
        let mut rest = self.0;
        let mut at = DIGITS_MAX;
        loop {
            at -= 1;
            text[at] = DIGITS[(rest % 62) as usize];
            rest /= 62;
            if rest == 0 {
                break;
            }
        }
        text[at..].iter().try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Epoch {
    type Err = MalformedCursor;

    /// Epochs are compared as numbers, so only the spelling that [`Epoch`] prints is taken.
    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let canonical = text == "0" || !text.is_empty() && !text.starts_with('0');
        if !canonical || text.len() > DIGITS_MAX {
            return Err(MalformedCursor);
        }
        text.bytes()
            .try_fold(0u64, |value, byte| {
                let digit = DIGITS.iter().position(|&digit| digit == byte)?;
                value.checked_mul(62)?.checked_add(digit as u64)
            })
            .map(Self)
            .ok_or(MalformedCursor)
    }
}

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let (epoch, offset) = text.split_once('-').ok_or(MalformedCursor)?;
        let digits = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(MalformedCursor);
        }
        Ok(Self { epoch: epoch.parse()?, offset: offset.parse().map_err(|_| MalformedCursor)? })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<T: serde::Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|MalformedCursor| serde::de::Error::custom("not EPOCH-OFFSET"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_it_was_printed(epoch: u64, offset: u64) {
            let cursor = Cursor { epoch: Epoch(epoch), offset };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_malformed(text in ".*") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.epoch, text.split_once('-').unwrap().0.parse::<Epoch>().unwrap());
            }
        }
    }

    #[test]
    fn malformed_cursors_are_refused() {
        for text in [
            "",
            "-",
            "a",
            "a-",
            "-1",
            "a-+1",
            "a- 1",
            "a-1-2",
            "ä-1",
            "01-1",
            "zzzzzzzzzzzz-1",
            "a-18446744073709551616",
            "zzzzzzzzzzz-1",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(MalformedCursor), "{text:?}");
        }
    }
}
