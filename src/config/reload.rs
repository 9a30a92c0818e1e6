//! Another configuration for a node that runs: what of it can be taken over, and what needs a new start. Must never lose a difference.

use super::Config;

/// What becomes of a configuration that was read anew.
#[derive(Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// What is in force from now on.
    pub config: Config,
    /// Options that changed.
    pub taken: Vec<&'static str>,
    /// Options that another start would change.
    pub kept: Vec<&'static str>,
}

impl Config {
    /// This one, which is in force, with what can be taken over of `new`.
    ///
    /// Clients that are there keep what they were given. `slow` of a channel changes when nobody follows it any more. Whether
    /// followers are counted cannot change under them: where `presence` is another, all policies wait for another start.
    #[must_use]
    pub fn reload(&self, new: Self) -> Reloaded {
        let mut config = self.clone();
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        macro_rules! take {
            ($($field:ident: $option:literal),* $(,)?) => {
                $(if config.$field != $field {
                    config.$field = $field;
                    taken.push($option);
                })*
            };
        }
        macro_rules! keep {
            ($($field:ident: $option:literal),* $(,)?) => {
                $(if config.$field != $field {
                    kept.push($option);
                })*
            };
        }
        // All of them, so that a new one cannot be forgotten.
        #[rustfmt::skip]
        let Self {
            listen, api, node, shards, max_connections, message_bytes_max, queue_soft_bytes, queue_soft_for,
            queue_hard_bytes, queue_total_bytes, origins, broker, broker_prefix, token_keys, token_issuers, token_audiences,
            handshake_timeout, ping_interval, idle_timeout, max_age, history_bytes, drain_delay, drain_over,
            send_buffer_bytes, receive_buffer_bytes, notsent_lowat_bytes, user_timeout, demo, echo,
            log_level, log_format, policies,
        } = new;
        take! {
            message_bytes_max: "max_message", queue_soft_bytes: "queue_soft", queue_soft_for: "queue_soft_for",
            queue_hard_bytes: "queue_hard", origins: "origin", token_keys: "token_key",
            token_issuers: "token_issuer", token_audiences: "token_audience", max_age: "max_age",
            drain_delay: "drain_delay", drain_over: "drain_over", demo: "demo", echo: "echo",
            log_level: "log_level",
        }
        keep! {
            listen: "listen", api: "api", node: "node", shards: "shards", max_connections: "max_connections",
            queue_total_bytes: "queue_total", handshake_timeout: "handshake_timeout",
            ping_interval: "ping_interval", idle_timeout: "idle_timeout", history_bytes: "history_bytes",
            send_buffer_bytes: "send_buffer", receive_buffer_bytes: "receive_buffer",
            notsent_lowat_bytes: "notsent_lowat", user_timeout: "user_timeout", broker: "broker",
            broker_prefix: "broker_prefix", log_format: "log_format",
        }
        if config.policies.count_alike(&policies) {
            take! { policies: "channels" }
        } else {
            kept.push("channels.*.presence");
        }
        Reloaded { config, taken, kept }
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::{Policies, PolicyRule, Slow};
    use super::*;
    use std::collections::BTreeMap;

    fn policies(rule: PolicyRule) -> Policies {
        Policies::new(&BTreeMap::from([("a:".to_owned(), rule)])).unwrap()
    }

    #[test]
    fn what_can_change_changes_and_the_rest_is_named() {
        let old = Config::default();
        assert_eq!(old.reload(old.clone()), Reloaded { config: old.clone(), taken: vec![], kept: vec![] });
        let new = Config {
            origins: vec!["*".to_owned()],
            message_bytes_max: 7,
            shards: 9,
            history_bytes: 1,
            policies: policies(PolicyRule { slow: Some(Slow::Drop), ..PolicyRule::default() }),
            ..old.clone()
        };
        let Reloaded { config, taken, kept } = old.reload(new.clone());
        assert_eq!(taken, ["max_message", "origin", "channels"]);
        assert_eq!(kept, ["shards", "history_bytes"]);
        assert_eq!(config, Config { shards: old.shards, history_bytes: old.history_bytes, ..new });
    }

    #[test]
    fn nobody_begins_to_be_counted_half_way() {
        let old = Config::default();
        let presence = policies(PolicyRule { presence: Some(true), ..PolicyRule::default() });
        let Reloaded { config, taken, kept } = old.reload(Config { policies: presence, ..old.clone() });
        assert_eq!((config, taken, kept), (old, vec![], vec!["channels.*.presence"]));
    }
}
