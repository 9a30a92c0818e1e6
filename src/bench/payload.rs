//! What a published message carries so that whoever receives it can tell which one it is and how old: a marker inside
//! the publisher's JSON. Must never know how the message travelled.
//!
//! ```text
//! "@0000002a0000075bcd15........"
//!  |\______/\__________/ padding up to the wanted size
//!  |  number  nanoseconds at which it was to be sent, since the run began; both hexadecimal
//!  searched for
//! ```

/// Smallest payload that holds a marker and its quotes, in bytes.
pub(super) const SIZE_MIN: usize = 2 + 1 + NUMBER_DIGITS + TIME_DIGITS;

const NUMBER_DIGITS: usize = 8;
const TIME_DIGITS: usize = 12;
/// 2^48 nanoseconds are 78 hours.
const TIME_MASK: u64 = (1 << (4 * TIME_DIGITS)) - 1;

/// Number and time of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    /// Place in the order of publication, from 0.
    pub(super) number: u32,
    /// When it was to be published, in nanoseconds since the run began.
    pub(super) intended_ns: u64,
}

impl Marker {
    /// The marker as a JSON string of `size` bytes, quotes included; `size` is at least [`SIZE_MIN`].
    pub(super) fn to_json(self, size: usize) -> String {
        let mut json = format!("\"@{:08x}{:012x}", self.number, self.intended_ns & TIME_MASK);
        let padding = size.saturating_sub(json.len() + 1);
        json.extend(std::iter::repeat_n('.', padding));
        json.push('"');
        json
    }

    /// The marker somewhere in `text`, if there is one.
    pub(super) fn find(text: &str) -> Option<Self> {
        let mut rest = text;
        loop {
            let at = rest.find('@')?;
            rest = &rest[at + 1..];
            let number = rest.get(..NUMBER_DIGITS).and_then(hexadecimal);
            let time = rest.get(NUMBER_DIGITS..NUMBER_DIGITS + TIME_DIGITS).and_then(hexadecimal);
            if let (Some(number), Some(intended_ns)) = (number, time) {
                // Eight digits fit.
                return Some(Self { number: number as u32, intended_ns });
            }
        }
    }
}

/// The `offset` of a notification: the last member of that name in `text`.
pub(super) fn find_offset(text: &str) -> Option<u64> {
    const NAME: &str = "\"offset\":";
    let value = text[text.rfind(NAME)? + NAME.len()..].trim_start();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok()
}

fn hexadecimal(digits: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_marker_is_found_again_whatever_surrounds_it(
            number: u32,
            time in 0..=TIME_MASK,
            size in SIZE_MIN..200,
            before in "[^@]{0,40}",
            after in "\\PC{0,40}",
        ) {
            let marker = Marker { number, intended_ns: time };
            let json = marker.to_json(size);
            prop_assert_eq!(json.len(), size);
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
            prop_assert_eq!(Marker::find(&format!("{before}{json}{after}")), Some(marker));
        }

        #[test]
        fn any_text_is_searched_without_a_panic(text in "\\PC{0,80}") {
            Marker::find(&text);
            find_offset(&text);
        }
    }

    #[test]
    fn an_at_sign_that_begins_no_marker_is_passed_over() {
        let json = Marker { number: 1, intended_ns: 2 }.to_json(64);
        assert_eq!(Marker::find(&format!("a@b @0000zz {json}")).map(|marker| marker.number), Some(1));
        assert_eq!(Marker::find("@"), None);
        assert_eq!(Marker::find("@+0000001000000000002"), None);
    }

    #[test]
    fn the_offset_is_the_envelopes_not_the_datas() {
        let text = r#"{"type":"notification","data":{"offset":7},"timestamp":1,"offset": 12}"#;
        assert_eq!(find_offset(text), Some(12));
        assert_eq!(find_offset(r#"{"data":1}"#), None);
        assert_eq!(find_offset(r#"{"offset":-"#), None);
    }
}
