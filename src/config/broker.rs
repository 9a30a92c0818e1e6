//! Where the broker is that several nodes share their channels through, as an operator writes it. Must never show a password: not in an error,
//! not in what is printed of a configuration.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::site::is_host;
use super::token_key::Secret;
use super::value::{nearest, text_in_toml};

/// The value of `--broker`, not looked at yet: whatever reads it from a command line would show what it refuses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Broker(String);

/// What a [`Broker`] says: a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddr {
    url: Secret,
    /// The same without its password.
    shown: String,
}

impl Broker {
    /// What it says; None where there is no broker.
    ///
    /// # Errors
    /// A sentence that says what is wrong and does not repeat a password.
    pub fn read(&self) -> Result<Option<BrokerAddr>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return Err(format!("is no address; write it as {FORMS}"));
        };
        if !SCHEMES.contains(&scheme) {
            let hint =
                nearest(scheme, SCHEMES).map_or(String::new(), |near| format!("did you mean `{near}`? "));
            return Err(format!("names no broker that there is: {hint}write it as {FORMS}"));
        }
        // A password may have an `@`.
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = host_and_port(authority);
        if !is_host(host) {
            return Err(format!("names no host; write it as {FORMS}"));
        }
        if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) == port.is_none() {
            return Err(format!("its port is no number from 1 to 65535; write it as {FORMS}"));
        }
        if !database.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("its database is no number; write it as {FORMS}"));
        }
        if user.is_some_and(|user| user.ends_with(HIDDEN)) {
            return Err("was printed without its password: write that here".to_owned());
        }
        let shown = match user.map(|user| user.split_once(':').map_or(user, |(name, _)| name)) {
            Some(name) => format!("{scheme}://{name}:{HIDDEN}@{place}"),
            None => self.0.clone(),
        };
        Ok(Some(BrokerAddr { url: Secret(self.0.clone()), shown }))
    }

    /// What may be shown of it: all but a password. What says nothing may hold one.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.read() {
            Ok(None) => String::new(),
            Ok(Some(addr)) => addr.shown,
            Err(_) => HIDDEN.to_owned(),
        }
    }
}

impl BrokerAddr {
    /// The address with its password, for whoever connects.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url.0
    }
}

/// Without the password.
impl fmt::Display for BrokerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl FromStr for Broker {
    type Err = Infallible;

    fn from_str(typed: &str) -> Result<Self, Infallible> {
        Ok(Self(typed.to_owned()))
    }
}

/// As it is written, so that a file which holds it reads back; [`Broker::shown`] is for people.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_in_toml!(Broker);

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broker({})", self.shown())
    }
}

/// The port stands behind the last colon, unless that belongs to an IPv6 address.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

const SCHEMES: [&str; 1] = ["redis"];
const FORMS: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]";
const HIDDEN: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(text: &str) -> Broker {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in [
            "redis://127.0.0.1",
            "redis://redis.example:6380/3",
            "redis://[::1]:6379/0",
            "redis://roost:hunter2@redis.example",
            "redis://:hunter2@redis.example:6379/1",
        ] {
            assert_eq!(broker(text).read().unwrap().unwrap().url(), text);
        }
        assert_eq!(broker("").read(), Ok(None));
    }

    #[test]
    fn a_password_is_shown_to_nobody() {
        for (text, shown) in [
            ("redis://roost:hunter2@h/1", "redis://roost:…@h/1"),
            ("redis://:hunter2@h", "redis://:…@h"),
            ("redis://a:hunter2@hunter2@h", "redis://a:…@h"),
            ("redis//:hunter2@h", "…"),
        ] {
            assert_eq!(broker(text).shown(), shown);
            assert!(!format!("{:?}", broker(text)).contains("hunter2"));
        }
        let read = broker("redis://roost:hunter2@h").read();
        assert!(!format!("{read:?}").contains("hunter2"));
        let message = broker("redis://roost:…@h").read().unwrap_err();
        assert!(message.contains("without its password"), "{message}");
    }

    #[test]
    fn what_is_wrong_is_told_and_a_password_not_repeated() {
        for (text, word) in [
            ("hunter2", "is no address"),
            ("radis://:hunter2@h", "did you mean `redis`?"),
            ("redis://:hunter2@", "names no host"),
            ("redis://:hunter2@h:0", "port"),
            ("redis://:hunter2@h:65536", "port"),
            ("redis://:hunter2@h:x", "port"),
            ("redis://:hunter2@h/zero", "database"),
        ] {
            let message = broker(text).read().unwrap_err();
            assert!(message.contains(word) && !message.contains("hunter2"), "{text}: {message}");
        }
    }
}
