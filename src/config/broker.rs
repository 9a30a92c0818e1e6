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
    /// `redis` or `rediss`.
    scheme: &'static str,
    /// User and password, as they stand before the `@`.
    user: Option<Secret>,
    /// Each with its port, if that was said. Several only of Sentinel.
    hosts: Vec<String>,
    /// What Sentinel calls the master. None where the one host is asked itself.
    master: Option<String>,
    database: String,
    /// The whole without its password.
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
        let Some((typed, rest)) = self.0.split_once("://") else {
            return Err(format!("is no address; write it as {FORMS}"));
        };
        let Some(&(_, scheme, sentinel)) = SCHEMES.iter().find(|(name, ..)| *name == typed) else {
            let hint = nearest(typed, SCHEMES.map(|(name, ..)| name));
            let hint = hint.map_or(String::new(), |near| format!("did you mean `{near}`? "));
            return Err(format!("names no broker that there is: {hint}write it as {FORMS}"));
        };
        // A password may have an `@`.
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (master, database) = if sentinel {
            let (name, database) = path.split_once('/').unwrap_or((path, ""));
            if name.is_empty() {
                return Err(format!("does not say what Sentinel calls the master; write it as {FORMS}"));
            }
            (Some(name.to_owned()), database)
        } else {
            (None, path)
        };
        let hosts: Vec<&str> = if sentinel { authority.split(',').collect() } else { vec![authority] };
        hosts.iter().try_for_each(|host| check_host(host))?;
        if !database.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("its database is no number; write it as {FORMS}"));
        }
        if user.is_some_and(|user| user.ends_with(HIDDEN)) {
            return Err("was printed without its password: write that here".to_owned());
        }
        let shown = match user.map(|user| user.split_once(':').map_or(user, |(name, _)| name)) {
            Some(name) => format!("{typed}://{name}:{HIDDEN}@{place}"),
            None => self.0.clone(),
        };
        Ok(Some(BrokerAddr {
            scheme,
            user: user.map(|user| Secret(user.to_owned())),
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            master,
            database: database.to_owned(),
            shown,
        }))
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
    /// The address of the server at `host`, with the password, for whoever connects.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{}@", user.0));
        format!("{}://{user}{host}/{}", self.scheme, self.database)
    }

    /// The hosts that it names, each with its port, if that was said.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Where those are Sentinels: their addresses, and what they call the master. They are asked without a password.
    #[must_use]
    pub fn sentinels(&self) -> Option<(Vec<String>, &str)> {
        let master = self.master.as_deref()?;
        let url = |host: &String| match host_and_port(host) {
            (_, Some(_)) => format!("{}://{host}", self.scheme),
            (_, None) => format!("{}://{host}:{SENTINEL_PORT}", self.scheme),
        };
        Some((self.hosts.iter().map(url).collect(), master))
    }
}

/// Without the password.
impl fmt::Display for BrokerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn check_host(typed: &str) -> Result<(), String> {
    let (host, port) = host_and_port(typed);
    if !is_host(host) {
        return Err(format!("names no host; write it as {FORMS}"));
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(format!("its port is no number from 1 to 65535; write it as {FORMS}"));
    }
    Ok(())
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

/// Each as it is typed, as its servers are reached, and whether those that it names are Sentinels.
const SCHEMES: [(&str, &str, bool); 4] = [
    ("redis", "redis", false),
    ("rediss", "rediss", false),
    ("redis+sentinel", "redis", true),
    ("rediss+sentinel", "rediss", true),
];
const FORMS: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss://… with TLS, or \
                     redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/MASTER[/DATABASE]";
const SENTINEL_PORT: u16 = 26_379;
const HIDDEN: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(text: &str) -> Broker {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, url) in [
            ("redis://127.0.0.1", "redis://127.0.0.1/"),
            ("redis://redis.example:6380/3", "redis://redis.example:6380/3"),
            ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
            ("rediss://roost:hunter2@redis.example", "rediss://roost:hunter2@redis.example/"),
            ("redis://:hunter2@redis.example:6379/1", "redis://:hunter2@redis.example:6379/1"),
        ] {
            let addr = broker(text).read().unwrap().unwrap();
            assert_eq!(addr.url_at(&addr.hosts()[0]), url);
            assert_eq!(addr.sentinels(), None);
        }
        assert_eq!(broker("").read(), Ok(None));
    }

    #[test]
    fn sentinels_are_named_with_what_they_call_the_master() {
        let addr = broker("redis+sentinel://roost:hunter2@a,b:7000,[::1]/main/2").read().unwrap().unwrap();
        let urls = ["redis://a:26379", "redis://b:7000", "redis://[::1]:26379"].map(str::to_owned).to_vec();
        assert_eq!(addr.sentinels(), Some((urls, "main")), "they are shown no password");
        assert_eq!(addr.url_at("10.0.0.1:6379"), "redis://roost:hunter2@10.0.0.1:6379/2");
        assert_eq!(addr.to_string(), "redis+sentinel://roost:…@a,b:7000,[::1]/main/2");
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
            ("redis+sentinel://:hunter2@h", "what Sentinel calls the master"),
            ("redis+sentinel://:hunter2@h,/m", "names no host"),
            ("redis+sentinels://:hunter2@h/m", "did you mean `redis+sentinel`?"),
        ] {
            let message = broker(text).read().unwrap_err();
            assert!(message.contains(word) && !message.contains("hunter2"), "{text}: {message}");
        }
    }
}
