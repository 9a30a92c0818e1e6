//! What a channel may be called. Must never know what a channel does.

use crate::limits::CHANNEL_NAME_BYTES_MAX;

/// Whether `name` is 1 to [`CHANNEL_NAME_BYTES_MAX`] bytes of `A-Z a-z 0-9 _ - = @ , . ; : /`.
///
/// The alphabet is the one that Pusher's clients already keep to, and the slash. It holds no byte that a URL,
/// a log line or a Redis key would have to quote.
pub fn is_valid_channel_name(name: &str) -> bool {
    (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_channel_name_byte)
}

fn is_channel_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;:/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_byte_at_least_and_the_limit_at_most() {
        assert!(!is_valid_channel_name(""));
        assert!(is_valid_channel_name("a"));
        assert!(is_valid_channel_name(&"a".repeat(CHANNEL_NAME_BYTES_MAX)));
        assert!(!is_valid_channel_name(&"a".repeat(CHANNEL_NAME_BYTES_MAX + 1)));
    }

    #[test]
    fn exactly_the_bytes_of_the_alphabet_are_allowed() {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;:/";
        for byte in 0..=127u8 {
            let name = char::from(byte).to_string();
            assert_eq!(is_valid_channel_name(&name), alphabet.contains(&name), "byte {byte}");
        }
        assert!(!is_valid_channel_name("größe"));
    }
}
