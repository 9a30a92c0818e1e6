//! What a token names channels by: a whole name, or the beginning of names with a `*` behind it. No channel name can hold a
//! `*`, so the two are never mistaken for each other. Must never know who may do what.

use crate::proto::channel_name::is_valid_channel_name;

/// Whether `pattern` is a channel name, `*`, or the beginning of a channel name and a `*`.
#[must_use]
pub fn is_valid_pattern(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => prefix.is_empty() || is_valid_channel_name(prefix),
        None => is_valid_channel_name(pattern),
    }
}

/// Whether a valid pattern means this channel.
#[must_use]
pub fn covers(pattern: &str, channel: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => channel.starts_with(prefix),
        None => pattern == channel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHANNEL_NAME_BYTES_MAX;

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names_with_a_star() {
        let longest = "a".repeat(CHANNEL_NAME_BYTES_MAX);
        let longest_prefix = format!("{longest}*");
        for pattern in ["a", "room:1", "*", "room:*", "news*", "/*", &longest, &longest_prefix] {
            assert!(is_valid_pattern(pattern), "{pattern}");
        }
        let too_long = format!("{longest}a");
        let too_long_prefix = format!("{longest}a*");
        for pattern in ["", "**", "a**", "*a", "a*b", "a b", "a b*", "ä", "a\n", &too_long, &too_long_prefix]
        {
            assert!(!is_valid_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_name_means_itself_and_a_prefix_means_all_that_begin_with_it() {
        for (pattern, channel) in
            [("a", "a"), ("room:*", "room:1"), ("room:*", "room:"), ("room*", "room"), ("*", "a")]
        {
            assert!(covers(pattern, channel), "{pattern} {channel}");
        }
        for (pattern, channel) in
            [("a", "ab"), ("ab", "a"), ("A", "a"), ("room:*", "room"), ("room:*", "rooms:1")]
        {
            assert!(!covers(pattern, channel), "{pattern} {channel}");
        }
    }
}
