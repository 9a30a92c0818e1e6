//! Values against their bounds and against each other. Must never know how a value was read.

use std::net::SocketAddr;

use super::address::ApiAddr;
use super::error::Problem;
use super::options::Options;
use super::policy::Auth;
use super::settings::Settings;
use super::units::{Size, Span};
use crate::limits::{
    BROKER_PREFIX_BYTES_MAX, CONNECTIONS_MAX, HISTORY_BYTES_MAX, HISTORY_COUNT_MAX, MESSAGE_BYTES_MAX,
    NODE_NAME_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_TOTAL_BYTES_MAX, SHARDS_MAX, SOCKET_BUFFER_BYTES_MAX,
    TIMEOUT_MS_MAX,
};

/// Everything about `options` that cannot be run with; `settings` says where each value came from.
pub(super) fn problems(options: &Options, settings: &Settings) -> Vec<Problem> {
    let mut check = Check { settings, problems: Vec::new() };
    check.counts(options);
    check.sizes(options);
    check.times(options);
    check.order(options);
    check.channels(options);
    check.tokens(options);
    check.broker(options);
    check.listeners(options);
    check.node(&options.node);
    check.problems
}

struct Check<'a> {
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn counts(&mut self, options: &Options) {
        self.within("shards", options.shards, 1, SHARDS_MAX);
        self.within("max_connections", options.max_connections, 1, CONNECTIONS_MAX);
        self.within("history", options.history, 0, HISTORY_COUNT_MAX);
    }

    fn sizes(&mut self, options: &Options) {
        let size = |bytes: usize| Size::from_bytes(bytes as u64);
        self.within("max_message", options.max_message, size(1), size(MESSAGE_BYTES_MAX));
        self.within("queue_soft", options.queue_soft, size(1), size(QUEUE_BYTES_MAX));
        self.within("queue_hard", options.queue_hard, size(1), size(QUEUE_BYTES_MAX));
        self.within("queue_total", options.queue_total, size(1), size(QUEUE_TOTAL_BYTES_MAX));
        self.within("history_bytes", options.history_bytes, size(0), size(HISTORY_BYTES_MAX));
        let buffer = (size(1024), size(SOCKET_BUFFER_BYTES_MAX));
        self.within("send_buffer", options.send_buffer, buffer.0, buffer.1);
        self.within("receive_buffer", options.receive_buffer, buffer.0, buffer.1);
        self.within("notsent_lowat", options.notsent_lowat, buffer.0, buffer.1);
    }

    fn times(&mut self, options: &Options) {
        let longest = Span::from_millis(TIMEOUT_MS_MAX);
        let shortest = Span::from_millis(1);
        self.within("handshake_timeout", options.handshake_timeout, shortest, longest);
        self.within("ping_interval", options.ping_interval, shortest, longest);
        self.within("idle_timeout", options.idle_timeout, shortest, longest);
        let none = Span::from_millis(0);
        self.within("queue_soft_for", options.queue_soft_for, none, longest);
        self.within("max_age", options.max_age, none, longest);
        self.within("drain_delay", options.drain_delay, none, longest);
        self.within("drain_over", options.drain_over, none, longest);
        self.within("history_ttl", options.history_ttl, none, longest);
        self.within("user_timeout", options.user_timeout, none, longest);
    }

    fn order(&mut self, options: &Options) {
        if options.ping_interval >= options.idle_timeout {
            self.at_odds(
                "ping_interval",
                "must be shorter than",
                "idle_timeout",
                "a client is pinged before it is given up",
            );
        }
        if options.queue_soft > options.queue_hard {
            self.at_odds("queue_soft", "must not be larger than", "queue_hard", "it would never be reached");
        }
        if options.queue_total < options.queue_hard {
            let why = "one client's queue alone would be over it";
            self.at_odds("queue_total", "must not be smaller than", "queue_hard", why);
        }
        if options.max_message > options.queue_hard {
            let why = "a message that large, passed on, would cut every client that it has to wait for";
            self.at_odds("max_message", "must not be larger than", "queue_hard", why);
        }
    }

    fn channels(&mut self, options: &Options) {
        let (none, longest) = (Span::from_millis(0), Span::from_millis(TIMEOUT_MS_MAX));
        for (prefix, rule) in &options.channels {
            let described = |key| self.settings.described_channel(prefix, key);
            let count = rule.history.and_then(|count| outside(count, 0, HISTORY_COUNT_MAX));
            let ttl = rule.history_ttl.and_then(|ttl| outside(ttl, none, longest));
            let unfit = [("history", count), ("history_ttl", ttl)]
                .map(|(key, error)| error.map(|error| Problem::Unfit { setting: described(key), error }));
            self.problems.extend(unfit.into_iter().flatten());
            if rule.auth == Some(Auth::Token) && options.token_key.is_empty() {
                let error = "needs a key that tokens are signed with: set `token_key`".to_owned();
                self.problems.push(Problem::Unfit { setting: described("auth"), error });
            }
        }
    }

    fn tokens(&mut self, options: &Options) {
        for error in options.token_key.iter().filter_map(|key| key.read().err()) {
            self.unfit("token_key", error);
        }
    }

    fn broker(&mut self, options: &Options) {
        if let Err(error) = options.broker.read() {
            self.unfit("broker", error);
        }
        let prefix = &options.broker_prefix;
        if prefix.len() > BROKER_PREFIX_BYTES_MAX
            || !prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte))
        {
            let error = format!(
                "is printable text without spaces and braces, of at most {BROKER_PREFIX_BYTES_MAX} bytes"
            );
            self.unfit("broker_prefix", error);
        }
    }

    fn listeners(&mut self, options: &Options) {
        let ApiAddr::Tcp(api) = options.api else { return };
        // Whoever reaches the API may publish: there are no keys that could tell callers apart.
        if !api.ip().to_canonical().is_loopback() {
            let error = format!(
                "the API has no keys, whoever reaches it may publish, so it listens on this host only: use a loopback \
                 address such as 127.0.0.1:{}, a Unix socket such as unix:/run/roost/api.sock, or a tunnel to one of them",
                api.port()
            );
            self.unfit("api", error);
        }
        // Both listeners share their port with SO_REUSEPORT or SO_REUSEADDR, so the kernel need not object.
        if takes(options.listen.0, api) {
            self.at_odds(
                "api",
                "must not be the same as",
                "listen",
                "the two listeners serve different people",
            );
        }
    }

    fn node(&mut self, name: &str) {
        if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX || name.contains(char::is_control) {
            self.unfit(
                "node",
                format!("must be 1 to {NODE_NAME_BYTES_MAX} bytes without control characters"),
            );
        }
    }

    fn within<T: PartialOrd + std::fmt::Display>(&mut self, key: &str, value: T, least: T, most: T) {
        if let Some(error) = outside(value, least, most) {
            self.unfit(key, error);
        }
    }

    fn at_odds(&mut self, key: &str, relation: &str, other: &str, why: &str) {
        let other = self.settings.described(other);
        self.unfit(key, format!("{relation} `{other}`: {why}"));
    }

    fn unfit(&mut self, key: &str, error: String) {
        self.problems.push(Problem::Unfit { setting: self.settings.described(key), error });
    }
}

/// What to say of a value that is not within its bounds.
fn outside<T: PartialOrd + std::fmt::Display>(value: T, least: T, most: T) -> Option<String> {
    let nearest = if value < least {
        &least
    } else if value > most {
        &most
    } else {
        return None;
    };
    Some(format!("must be from {least} to {most}; the nearest is {nearest}"))
}

/// Whether a listener on `public` takes what is meant for `other`. Port 0 is a port of its own each time.
fn takes(public: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = public.ip() == other.ip()
        || (public.ip().is_unspecified() && (public.is_ipv4() == other.is_ipv4() || public.is_ipv6()));
    public.port() != 0 && public.port() == other.port() && same_ip
}
