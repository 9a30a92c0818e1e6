//! What the operator allows per channel: rules by name prefix, and the lookup of the one that holds for a channel.
//! Must never know where the rules came from, nor anything else of the configuration: shards carry this file alone.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::units::Span;
use super::value::{ValueError, nearest, text_in_toml};
use crate::limits::{CHANNEL_NAME_BYTES_MAX, CHANNEL_POLICIES_MAX};

/// What holds for one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether a client may publish over its own connection; the API always may.
    pub clients_may_publish: bool,
    /// Publications kept for those who come back; 0 is none.
    pub history: usize,
    /// How long each is kept, in milliseconds; 0 is not at all.
    pub history_ttl_ms: u64,
    /// Whether it is counted and announced how many connections follow the channel.
    pub presence: bool,
    /// What becomes of a subscriber that reads too slowly.
    pub slow: Slow,
    /// Who may follow the channel, and publish to it where clients may.
    pub auth: Auth,
}

/// What becomes of a subscriber that reads more slowly than is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slow {
    /// It is cut with 4003 once too much waits for it.
    #[default]
    Disconnect,
    /// Nothing more is queued to it once much waits; it gets the rest from the history when it has read that, and a gap for
    /// what the history has lost.
    Drop,
    /// While anything waits for it, only the latest publication of each conflation key is kept for it.
    Latest,
}

impl Slow {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Disconnect, Self::Drop, Self::Latest];

    const fn word(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Drop => "drop",
            Self::Latest => "latest",
        }
    }
}

impl FromStr for Slow {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        Self::ALL.into_iter().find(|slow| slow.word() == typed).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "what becomes of slow readers",
            nearest: nearest(typed, Self::ALL.map(Self::word)).map(str::to_owned),
            valid: "disconnect, drop or latest",
        })
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

text_in_toml!(Slow);

/// Who may use a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Everybody.
    #[default]
    Public,
    /// Who has a token that allows it.
    Token,
}

impl Auth {
    /// Both of them, the default first.
    pub const ALL: [Self; 2] = [Self::Public, Self::Token];

    const fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Token => "token",
        }
    }
}

impl FromStr for Auth {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        Self::ALL.into_iter().find(|auth| auth.word() == typed).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "who may use a channel",
            nearest: nearest(typed, Self::ALL.map(Self::word)).map(str::to_owned),
            valid: "public or token",
        })
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

text_in_toml!(Auth);

impl Default for Policy {
    /// PROTOCOL §6: 32 publications, 2 minutes, slow readers are cut.
    fn default() -> Self {
        Self {
            clients_may_publish: false,
            history: 32,
            history_ttl_ms: 120_000,
            presence: false,
            slow: Slow::Disconnect,
            auth: Auth::Public,
        }
    }
}

/// What an operator wrote below one prefix. A key left out is taken from the next shorter prefix that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// See [`Policy::clients_may_publish`].
    pub clients_may_publish: Option<bool>,
    /// See [`Policy::history`].
    pub history: Option<usize>,
    /// See [`Policy::history_ttl_ms`].
    pub history_ttl: Option<Span>,
    /// See [`Policy::presence`].
    pub presence: Option<bool>,
    /// See [`Policy::slow`].
    pub slow: Option<Slow>,
    /// See [`Policy::auth`].
    pub auth: Option<Auth>,
}

impl PolicyRule {
    /// The rule that says in full what `policy` says.
    #[must_use]
    pub fn from_policy(policy: Policy) -> Self {
        Self {
            clients_may_publish: Some(policy.clients_may_publish),
            history: Some(policy.history),
            history_ttl: Some(Span::from_millis(policy.history_ttl_ms)),
            presence: Some(policy.presence),
            slow: Some(policy.slow),
            auth: Some(policy.auth),
        }
    }

    /// What holds where `self` was written and `shorter` holds for what it leaves out.
    fn over(self, shorter: Policy) -> Policy {
        Policy {
            clients_may_publish: self.clients_may_publish.unwrap_or(shorter.clients_may_publish),
            history: self.history.unwrap_or(shorter.history),
            history_ttl_ms: self.history_ttl.map_or(shorter.history_ttl_ms, Span::millis),
            presence: self.presence.unwrap_or(shorter.presence),
            slow: self.slow.unwrap_or(shorter.slow),
            auth: self.auth.unwrap_or(shorter.auth),
        }
    }
}

/// Why a set of rules is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyError {
    /// A prefix no channel name can begin with: the prefix and its first impossible character.
    Character(String, char),
    /// A prefix longer than any channel name.
    TooLong(String),
    /// More prefixes than [`CHANNEL_POLICIES_MAX`]: how many there were.
    TooMany(usize),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(prefix, character) => write!(
                f,
                "no channel name can begin with {prefix:?}: {character:?} is not one of A-Z a-z 0-9 _ - = @ , . ; : /"
            ),
            Self::TooLong(prefix) => write!(
                f,
                "no channel name can begin with {prefix:?}: it has {} bytes, a name has at most {CHANNEL_NAME_BYTES_MAX}",
                prefix.len()
            ),
            Self::TooMany(count) => {
                write!(f, "{count} channel prefixes, at most {CHANNEL_POLICIES_MAX} are kept")
            }
        }
    }
}

impl std::error::Error for PolicyError {}

/// The policies of all channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// Prefixes in byte order with what holds below them. The first is always `""`, so that every name has a policy.
    by_prefix: Vec<(Box<str>, Policy)>,
}

impl Policies {
    /// Resolves the rules written per prefix; `""` is the default of all channels and need not be given.
    ///
    /// # Errors
    /// A prefix that no channel name can have, or more than [`CHANNEL_POLICIES_MAX`] of them.
    pub fn new(rules: &BTreeMap<String, PolicyRule>) -> Result<Self, PolicyError> {
        if rules.len() > CHANNEL_POLICIES_MAX {
            return Err(PolicyError::TooMany(rules.len()));
        }
        let everywhere = rules.get("").copied().unwrap_or_default().over(Policy::default());
        let mut policies = Self { by_prefix: vec![("".into(), everywhere)] };
        // Byte order puts a prefix before everything that it begins, so what a rule inherits is resolved before it.
        for (prefix, rule) in rules.iter().filter(|(prefix, _)| !prefix.is_empty()) {
            check_prefix(prefix)?;
            let policy = rule.over(*policies.for_channel(prefix));
            policies.by_prefix.push((prefix.as_str().into(), policy));
        }
        Ok(policies)
    }

    /// Whether both count who follows the same channels.
    #[must_use]
    pub fn count_alike(&self, other: &Self) -> bool {
        // Below the longest prefix that a name has of both, each has one policy.
        let prefixes = self.by_prefix.iter().chain(&other.by_prefix).map(|(prefix, _)| prefix);
        let mut pairs = prefixes.map(|prefix| (self.for_channel(prefix), other.for_channel(prefix)));
        pairs.all(|(one, two)| one.presence == two.presence)
    }

    /// The policy of the longest prefix that `name` begins with.
    #[must_use]
    pub fn for_channel(&self, name: &str) -> &Policy {
        // Every prefix of a name sorts at or before it, and whatever sorts between the two begins with that prefix too.
        // So the nearest entry at or before the name either is the answer, or the answer is a prefix of what the two
        // have in common. Each step shortens the name; the entry "" ends the search.
        let mut name = name.as_bytes();
        loop {
            let after = self.by_prefix.partition_point(|(prefix, _)| prefix.as_bytes() <= name);
            let (prefix, policy) = &self.by_prefix[after.saturating_sub(1)];
            let common = common_length(prefix.as_bytes(), name);
            if common == prefix.len() {
                return policy;
            }
            name = &name[..common];
        }
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self { by_prefix: vec![("".into(), Policy::default())] }
    }
}

pub(super) fn check_prefix(prefix: &str) -> Result<(), PolicyError> {
    if let Some(character) = prefix.chars().find(|character| !may_stand_in_name(*character)) {
        return Err(PolicyError::Character(prefix.to_owned(), character));
    }
    if prefix.len() > CHANNEL_NAME_BYTES_MAX {
        return Err(PolicyError::TooLong(prefix.to_owned()));
    }
    Ok(())
}

/// PROTOCOL §6, "channel name".
fn may_stand_in_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-=@,.;:/".contains(character)
}

fn common_length(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SILENT: PolicyRule = PolicyRule {
        clients_may_publish: None,
        history: None,
        history_ttl: None,
        presence: None,
        slow: None,
        auth: None,
    };
    const OPEN: PolicyRule = PolicyRule { clients_may_publish: Some(true), ..SILENT };
    const SHUT: PolicyRule = PolicyRule { clients_may_publish: Some(false), ..SILENT };

    fn rules(of: &[(&str, PolicyRule)]) -> BTreeMap<String, PolicyRule> {
        of.iter().map(|(prefix, rule)| ((*prefix).to_owned(), *rule)).collect()
    }

    fn may_publish(rules_of: &[(&str, PolicyRule)], channel: &str) -> bool {
        Policies::new(&rules(rules_of)).unwrap().for_channel(channel).clients_may_publish
    }

    #[test]
    fn without_rules_clients_may_not_publish_anywhere() {
        assert!(!Policies::default().for_channel("chat:1").clients_may_publish);
        assert_eq!(Policies::new(&BTreeMap::new()).unwrap(), Policies::default());
    }

    #[test]
    fn the_longest_prefix_wins_and_the_empty_one_is_the_default_of_all() {
        let of = [("", SHUT), ("chat:", OPEN), ("chat:staff:", SHUT), ("chat:staff:lobby", OPEN)];
        assert!(!may_publish(&of, "news"));
        assert!(!may_publish(&of, "chat"));
        assert!(may_publish(&of, "chat:"));
        assert!(may_publish(&of, "chat:1"));
        assert!(!may_publish(&of, "chat:staff:1"));
        assert!(may_publish(&of, "chat:staff:lobby"));
        assert!(may_publish(&of, "chat:staff:lobby2"));
    }

    #[test]
    fn a_key_left_out_is_taken_from_the_next_shorter_prefix_that_has_it() {
        let of = [("", OPEN), ("a", SILENT), ("ab", SHUT), ("abc", SILENT)];
        assert!(may_publish(&of, "a1"));
        assert!(!may_publish(&of, "abc1"));
    }

    #[test]
    fn each_key_is_inherited_by_itself() {
        let ten_seconds = Some(Span::from_millis(10_000));
        let of = [
            ("a", PolicyRule { history: Some(5), ..SILENT }),
            ("ab", PolicyRule { history_ttl: ten_seconds, ..OPEN }),
            ("abc", PolicyRule { history: Some(0), presence: Some(true), ..SILENT }),
            ("abcd", PolicyRule { history: Some(1), slow: Some(Slow::Latest), ..SILENT }),
            ("abcde", PolicyRule { presence: Some(false), auth: Some(Auth::Token), ..SILENT }),
            ("abcdef", PolicyRule { history: Some(2), ..SILENT }),
            ("abcdefg", PolicyRule { auth: Some(Auth::Public), ..SILENT }),
        ];
        let policies = Policies::new(&rules(&of)).unwrap();
        let history = |name| {
            let policy = policies.for_channel(name);
            (policy.clients_may_publish, policy.history, policy.history_ttl_ms, policy.presence, policy.slow)
        };
        let auth = |name| policies.for_channel(name).auth;
        assert_eq!(history("b"), (false, 32, 120_000, false, Slow::Disconnect));
        assert_eq!(history("a1"), (false, 5, 120_000, false, Slow::Disconnect));
        assert_eq!(history("ab1"), (true, 5, 10_000, false, Slow::Disconnect));
        assert_eq!(history("abc1"), (true, 0, 10_000, true, Slow::Disconnect));
        assert_eq!(history("abcd1"), (true, 1, 10_000, true, Slow::Latest));
        assert_eq!(history("abcde1"), (true, 1, 10_000, false, Slow::Latest));
        assert_eq!([auth("abcd1"), auth("abcde1"), auth("abcdef1"), auth("abcdefg1")], {
            [Auth::Public, Auth::Token, Auth::Token, Auth::Public]
        });
    }

    #[test]
    fn a_prefix_that_no_channel_name_can_have_is_refused_with_its_first_bad_character() {
        let error = Policies::new(&rules(&[("chat room", OPEN)])).unwrap_err();
        assert_eq!(error, PolicyError::Character("chat room".to_owned(), ' '));
        assert!(error.to_string().contains("\"chat room\"") && error.to_string().contains("' '"), "{error}");
        let long = "a".repeat(CHANNEL_NAME_BYTES_MAX + 1);
        assert_eq!(Policies::new(&rules(&[(&long, OPEN)])), Err(PolicyError::TooLong(long.clone())));
        assert!(Policies::new(&rules(&[(&long[1..], OPEN)])).is_ok());
    }

    #[test]
    fn more_prefixes_than_the_limit_are_refused() {
        let many: BTreeMap<_, _> = (0..=CHANNEL_POLICIES_MAX).map(|n| (n.to_string(), OPEN)).collect();
        assert_eq!(Policies::new(&many), Err(PolicyError::TooMany(CHANNEL_POLICIES_MAX + 1)));
    }

    /// What the lookup means, without any cleverness: try every prefix from the whole name down to nothing.
    fn naive(rules: &BTreeMap<String, PolicyRule>, name: &str) -> bool {
        let lengths = (0..=name.len()).rev();
        lengths
            .filter_map(|length| rules.get(&name[..length]))
            .find_map(|rule| rule.clients_may_publish)
            .unwrap_or(false)
    }

    proptest! {
        #[test]
        fn the_lookup_agrees_with_trying_every_prefix(
            rules in prop::collection::btree_map("[ab:]{0,6}", any::<Option<bool>>(), 0..24),
            names in prop::collection::vec("[abc:]{1,9}", 1..24),
        ) {
            let rules: BTreeMap<_, _> = rules
                .into_iter()
                .map(|(prefix, clients_may_publish)| (prefix, PolicyRule { clients_may_publish, ..SILENT }))
                .collect();
            let policies = Policies::new(&rules).unwrap();
            for name in &names {
                prop_assert_eq!(policies.for_channel(name).clients_may_publish, naive(&rules, name), "{}", name);
            }
        }
    }
}
