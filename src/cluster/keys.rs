//! What a channel's keys are called in Redis. Must never let two channels share one, nor a channel's keys two slots.

/// The names, behind a prefix that sets this cluster apart from whatever else is in the same Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What is published to; the braces have Redis Cluster choose the slot by the channel alone, and no channel's name has any.
    pub(super) fn channel(&self, name: &str) -> String {
        format!("{}{{{name}}}", self.prefix)
    }

    /// The channel that is published to there.
    pub(super) fn name_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        channel.strip_prefix(&self.prefix)?.strip_prefix('{')?.strip_suffix('}')
    }

    /// A hash: `epoch`, `offset`, and `run`, the server that numbered last.
    pub(super) fn numbering(&self, name: &str) -> String {
        self.of(name, "n")
    }

    /// A stream: what is kept, by offset.
    pub(super) fn stream(&self, name: &str) -> String {
        self.of(name, "s")
    }

    /// Where a publication stands that came with an id.
    pub(super) fn id(&self, name: &str, id: &str) -> String {
        format!("{}:{id}", self.of(name, "i"))
    }

    /// A sorted set: which nodes live.
    pub(super) fn nodes(&self) -> String {
        format!("{}@nodes", self.prefix)
    }

    /// What all nodes hear.
    pub(super) fn all(&self) -> String {
        format!("{}@all", self.prefix)
    }

    /// What one node hears.
    pub(super) fn node(&self, id: &str) -> String {
        format!("{}@node:{id}", self.prefix)
    }

    fn of(&self, name: &str, kind: &str) -> String {
        format!("{}{{{name}}}:{kind}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_by_its_pub_sub_channel_and_nothing_else_is_taken_for_one() {
        let keys = Keys::new("live:");
        assert_eq!(keys.channel("a:b/c"), "live:{a:b/c}");
        assert_eq!(keys.name_of(&keys.channel("a:b/c")), Some("a:b/c"));
        for other in [&keys.all(), &keys.node("7"), &keys.nodes(), "roost:{a}", "live:a", "live:{a", "{a}"] {
            assert_eq!(keys.name_of(other), None, "{other}");
        }
    }

    #[test]
    fn all_keys_of_a_channel_are_in_one_slot_and_no_two_are_the_same() {
        let keys = Keys::new("roost:");
        let all =
            [keys.channel("c"), keys.numbering("c"), keys.stream("c"), keys.id("c", "1"), keys.id("c", "2")];
        for (at, key) in all.iter().enumerate() {
            assert!(key.starts_with("roost:{c}"), "the slot goes by what stands in braces: {key}");
            assert!(!all[..at].contains(key), "{key}");
        }
    }
}
