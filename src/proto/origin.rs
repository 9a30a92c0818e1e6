//! Which web pages may open a connection: the guard against cross-site WebSocket hijacking (RFC 6455 §10.2).
//! Must never know who the user is; a client that is no browser sends whatever `Origin` it likes.

use super::authority::{Authority, port_default};
use crate::limits::ORIGINS_MAX;
use std::fmt;

/// The origins whose pages may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages from the host and port that the request names in `Host`. The default.
    SameOrigin,
    /// All pages. Safe only where a connection gives nothing that the whole world may not see.
    Any,
    /// Pages from these origins and no others.
    List(Vec<Origin>),
}

/// Scheme, host and port of a page (RFC 6454), compared as a whole: no wildcards, no suffixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    /// As written; the scheme's own where none was, and `None` for schemes without one
    /// (`capacitor://localhost`).
    port: Option<u16>,
}

/// What the answers to one page tell its browser, in one byte: which origin may read them (Fetch standard, CORS protocol).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reader(u8);

impl Reader {
    /// No word about it: only the page's own origin may.
    pub const SAME_ORIGIN: Self = Self(0);
    /// Every page may.
    const ANY: Self = Self(u8::MAX);
}

// Each origin of a list has a number of its own between those two.
const _: () = assert!(ORIGINS_MAX < u8::MAX as usize);

impl OriginPolicy {
    /// Reads the values of the `--origin` option: none for the same origin, `*` for all, or
    /// `scheme://host[:port]` each.
    ///
    /// `https://*.example.com` is refused on purpose: one forgotten subdomain would open the door for every
    /// user.
    ///
    /// # Errors
    /// A sentence that quotes the wrong value and says how to write it.
    pub fn parse(values: &[String]) -> Result<Self, String> {
        match values {
            [] => Ok(Self::SameOrigin),
            [all] if all == "*" => Ok(Self::Any),
            list if list.len() > ORIGINS_MAX => {
                Err(format!("{} origins: list at most {ORIGINS_MAX}, or allow all with `*`", list.len()))
            }
            list => list.iter().map(|value| Origin::parse(value)).collect::<Result<_, _>>().map(Self::List),
        }
    }

    /// Who may read what a page is answered, by the `Origin` and the `Host` header of its request; `None` when it may not even
    /// ask: see [`OriginPolicy::allows`].
    pub fn reader(&self, origin: Option<&[u8]>, host: &[u8]) -> Option<Reader> {
        match self {
            Self::Any => Some(Reader::ANY),
            Self::SameOrigin => self.allows(origin, host).then_some(Reader::SAME_ORIGIN),
            Self::List(list) => {
                let Some(origin) = origin else { return Some(Reader::SAME_ORIGIN) };
                let (scheme, authority) = split(str::from_utf8(origin).ok()?)?;
                let number = list.iter().position(|origin| origin.is(scheme, &authority))?;
                Some(Reader(number as u8 + 1)) // Within ORIGINS_MAX, checked when the list was read.
            }
        }
    }

    /// The value of `Access-Control-Allow-Origin` for a reader; `None` where there is none to be sent.
    #[must_use]
    pub fn allowed(&self, reader: Reader) -> Option<String> {
        match self {
            Self::Any => Some("*".to_owned()),
            Self::SameOrigin => None,
            Self::List(list) => list.get(usize::from(reader.0).checked_sub(1)?).map(Origin::to_string),
        }
    }

    /// Whether a page may connect, by the `Origin` and the `Host` header of its request.
    ///
    /// No `Origin` means no browser: allowed. `null` (a sandboxed frame, a local file) and whatever is no
    /// origin pass only where everything does. The same origin may have either of the schemes `http` and
    /// `https`: behind a proxy that terminates TLS the node cannot know which it was.
    pub fn allows(&self, origin: Option<&[u8]>, host: &[u8]) -> bool {
        let Some(origin) = origin else { return true };
        let page = || split(str::from_utf8(origin).ok()?);
        match self {
            Self::Any => true,
            Self::SameOrigin => {
                page().zip(Authority::parse(host)).is_some_and(|((scheme, authority), host)| {
                    let http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
                    http && authority.same_as(&host, port_default(scheme))
                })
            }
            Self::List(list) => page()
                .is_some_and(|(scheme, authority)| list.iter().any(|origin| origin.is(scheme, &authority))),
        }
    }
}

impl Origin {
    fn parse(value: &str) -> Result<Self, String> {
        if value == "*" {
            return Err("origin `*` allows every page: leave out the other origins".to_owned());
        }
        if value.contains('*') {
            return Err(format!(
                "origin `{value}` holds a wildcard: list each origin, as in `https://app.example.com`"
            ));
        }
        let Some((scheme, authority)) = split(value) else {
            return Err(format!(
                "origin `{value}` is not `scheme://host` or `scheme://host:port`: write it without a path, as in \
                 `https://app.example.com`, a name with other letters as its `xn--` form"
            ));
        };
        let port = authority.port.or(port_default(scheme));
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host: authority.host.to_ascii_lowercase(), port })
    }

    fn is(&self, scheme: &str, authority: &Authority<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
            && self.host.eq_ignore_ascii_case(authority.host)
            && self.port == authority.port.or(port_default(scheme))
    }
}

/// As browsers write it: without the port that the scheme means anyway.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if port_default(&self.scheme) != Some(port) => write!(f, ":{port}"),
            Some(_) | None => Ok(()),
        }
    }
}

/// Scheme and authority of `scheme://host[:port]`.
fn split(text: &str) -> Option<(&str, Authority<'_>)> {
    let (scheme, authority) = text.split_once("://")?;
    // RFC 3986 §3.1.
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    Authority::parse(authority.as_bytes()).filter(|_| valid).map(|authority| (scheme, authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(values: &[&str]) -> OriginPolicy {
        OriginPolicy::parse(&values.iter().map(|value| value.to_string()).collect::<Vec<_>>()).unwrap()
    }

    fn allows(policy: &OriginPolicy, origin: &str, host: &str) -> bool {
        policy.allows(Some(origin.as_bytes()), host.as_bytes())
    }

    #[test]
    fn without_an_origin_everybody_may_connect() {
        for policy in [policy(&[]), policy(&["*"]), policy(&["https://a.example"])] {
            assert!(policy.allows(None, b"b.example"));
        }
    }

    #[test]
    fn the_same_origin_is_the_default_whatever_the_scheme_behind_a_proxy() {
        let same = policy(&[]);
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("https://a.example", "a.example"),
            ("https://a.example", "a.example:443"),
            ("http://a.example:80", "a.example"),
            ("http://localhost:8080", "localhost:8080"),
            ("HTTP://A.example", "a.EXAMPLE"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(allows(&same, origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://a.example", "a.example:80"),
            ("http://a.example", "a.example:443"),
            ("http://a.example:8080", "a.example"),
            ("http://a.example", "a.example:8080"),
            ("http://a.example.evil", "a.example"),
            ("http://evil-a.example", "a.example"),
            ("http://sub.a.example", "a.example"),
            ("http://a.example@evil", "a.example"),
            ("http://a.example/", "a.example"),
            ("http://a.example http://b.example", "a.example"),
            ("http://a.example, http://b.example", "a.example"),
            ("chrome-extension://a.example", "a.example"),
            ("ws://a.example", "a.example"),
            ("null", "null"),
            ("null", "a.example"),
            ("", "a.example"),
            ("http://", ""),
            ("a.example", "a.example"),
            ("://a.example", "a.example"),
        ] {
            assert!(!allows(&same, origin, host), "{origin:?} {host}");
        }
        assert!(!same.allows(Some(b"http://a.example\xff"), b"a.example"));
    }

    #[test]
    fn a_list_matches_scheme_host_and_port_exactly() {
        let list = policy(&["https://App.example", "http://localhost:3000", "capacitor://localhost"]);
        for origin in [
            "https://app.example",
            "https://APP.example:443",
            "http://localhost:3000",
            "capacitor://localhost",
        ] {
            assert!(allows(&list, origin, "push.example"), "{origin}");
        }
        for origin in [
            "http://app.example",
            "https://app.example:8443",
            "https://evil.app.example",
            "https://app.example.evil",
            "https://xapp.example",
            "http://localhost",
            "http://localhost:3001",
            "capacitor://localhost:1",
            "null",
            "",
            "https://push.example",
        ] {
            assert!(!allows(&list, origin, "push.example"), "{origin}");
        }
    }

    #[test]
    fn a_star_allows_everything() {
        for origin in ["null", "", "https://evil.example", "\u{1}"] {
            assert!(allows(&policy(&["*"]), origin, "a.example"));
        }
    }

    #[test]
    fn answers_name_the_one_origin_that_may_read_them() {
        let list = policy(&["https://A.example:443", "http://localhost:3000", "capacitor://localhost"]);
        for (origin, allowed) in [
            ("https://a.example", "https://a.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            let reader = list.reader(Some(origin.as_bytes()), b"push.example").unwrap();
            assert_eq!(list.allowed(reader).as_deref(), Some(allowed));
        }
        assert_eq!(list.reader(Some(b"https://b.example"), b"b.example"), None);
        assert_eq!(list.allowed(list.reader(None, b"b.example").unwrap()), None);
        let same = policy(&[]);
        assert_eq!(same.allowed(same.reader(Some(b"http://a.example"), b"a.example").unwrap()), None);
        assert_eq!(same.reader(Some(b"http://b.example"), b"a.example"), None);
        let any = policy(&["*"]);
        assert_eq!(any.allowed(any.reader(Some(b"null"), b"a.example").unwrap()).as_deref(), Some("*"));
    }

    #[test]
    fn a_list_has_a_bound() {
        let values: Vec<String> =
            (0..=ORIGINS_MAX).map(|number| format!("https://a{number}.example")).collect();
        let longest = OriginPolicy::parse(&values[1..]).unwrap();
        let last = values.last().unwrap();
        let reader = longest.reader(Some(last.as_bytes()), b"a.example").unwrap();
        assert_eq!(longest.allowed(reader).as_ref(), Some(last));
        assert!(OriginPolicy::parse(&values).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_wrong_option_is_quoted_with_its_fix() {
        for (values, words) in [
            (vec!["*", "https://a.example"], ["`*`", "leave out"]),
            (vec!["https://*.example"], ["`https://*.example`", "list each"]),
            (vec!["https://a.example/"], ["`https://a.example/`", "without a path"]),
            (vec!["a.example"], ["`a.example`", "scheme://host"]),
            (vec!["https://grün.example"], ["`https://grün.example`", "xn--"]),
            (vec!["https://u@a.example"], ["`https://u@a.example`", "scheme://host"]),
            (vec!["1s://a.example"], ["`1s://a.example`", "scheme://host"]),
            (vec!["null"], ["`null`", "scheme://host"]),
            (vec![""], ["``", "scheme://host"]),
        ] {
            let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
            let message = OriginPolicy::parse(&values).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
