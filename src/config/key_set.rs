//! Where the keys are published that tokens are signed with (JWK Set, RFC 7517 §5). Must never fetch them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::site::is_host;
use super::value::{ValueError, text_in_toml};

/// The address of a key set, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeySetAddr {
    /// There is none.
    #[default]
    None,
    /// An `https` URL; an `http` one on this host only, where nobody in between can put another key into it.
    Web(String),
    /// A file, by its absolute path.
    File(PathBuf),
}

impl KeySetAddr {
    /// The address without what stands behind a `?`, which may be somebody's key: for logs.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Web(url) => url.split('?').next().unwrap_or_default().to_owned(),
            Self::None | Self::File(_) => self.to_string(),
        }
    }
}

impl FromStr for KeySetAddr {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        if typed.is_empty() {
            return Ok(Self::None);
        }
        let parsed = match typed.strip_prefix("file://") {
            Some(path) => is_path(path).then(|| Self::File(path.into())),
            None => is_url(typed).then(|| Self::Web(typed.to_owned())),
        };
        parsed.ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "the address of a key set",
            nearest: nearest_addr(typed),
            valid: "https://HOST/PATH, http:// on this host only, or file:///PATH",
        })
    }
}

impl fmt::Display for KeySetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Web(url) => f.write_str(url),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

text_in_toml!(KeySetAddr);

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() > 1 && !path.contains(char::is_control)
}

fn is_url(typed: &str) -> bool {
    let Some((scheme, rest)) = typed.split_once("://") else { return false };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().is_ok()),
        _ => (authority, true),
    };
    let plain = typed.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let reachable = match scheme {
        "https" => is_host(host),
        "http" => is_this_host(host),
        _ => false,
    };
    plain && port && reachable
}

/// Whether what is sent to `host` does not leave this one.
fn is_this_host(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()),
        None => host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

/// The address that was meant by a path alone, a host without a scheme, or `http` to somewhere else.
fn nearest_addr(typed: &str) -> Option<String> {
    let path = typed.strip_prefix("file:").unwrap_or(typed);
    if path.starts_with('/') {
        let path = format!("/{}", path.trim_start_matches('/'));
        return is_path(&path).then(|| format!("file://{path}"));
    }
    let host = typed.strip_prefix("http://").unwrap_or(typed);
    let url = format!("https://{host}");
    (host.contains('.') && is_url(&url)).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_is_published_over_https_on_this_host_or_in_a_file() {
        for typed in [
            "https://id.example/.well-known/jwks.json",
            "https://id.example:8443/keys?v=1",
            "https://10.0.0.1",
            "https://[fd00::1]/keys",
            "http://localhost:8080/keys",
            "http://127.0.0.1/keys",
            "http://127.8.9.1:81/keys",
            "http://[::1]:81/keys",
        ] {
            let addr: KeySetAddr = typed.parse().unwrap();
            assert_eq!(addr, KeySetAddr::Web(typed.to_owned()));
            assert_eq!(addr.to_string(), typed);
        }
        assert_eq!("file:///etc/keys.json".parse(), Ok(KeySetAddr::File("/etc/keys.json".into())));
        assert_eq!("".parse(), Ok(KeySetAddr::None));
        assert_eq!(KeySetAddr::None.to_string(), "");
    }

    #[test]
    fn a_wrong_address_names_the_nearest_valid_one() {
        for (typed, meant) in [
            ("http://id.example/keys", Some("https://id.example/keys")),
            ("id.example/keys", Some("https://id.example/keys")),
            ("/etc/keys.json", Some("file:///etc/keys.json")),
            ("file:/etc/keys.json", Some("file:///etc/keys.json")),
            ("http://127.0.0.1.evil.example/", Some("https://127.0.0.1.evil.example/")),
            ("http://localhost.evil.example/", Some("https://localhost.evil.example/")),
            ("http://user@localhost/", None),
            ("http://localhost@evil.example/", None),
            ("https://user:secret@id.example/", None),
            ("https://id.example/#keys", None),
            ("https://id.example/a b", None),
            ("https://id.example:99999/", None),
            ("https:///keys", None),
            ("https://", None),
            ("ftp://id.example/", None),
            ("file://", None),
            ("file://keys.json", Some("file:///keys.json")),
            ("keys", None),
        ] {
            let error = typed.parse::<KeySetAddr>().unwrap_err();
            assert_eq!(error.nearest.as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn what_stands_behind_the_question_mark_is_not_shown() {
        let addr: KeySetAddr = "https://id.example/keys?api_key=hunter2".parse().unwrap();
        assert_eq!(addr.shown(), "https://id.example/keys");
        assert_eq!("file:///a?b".parse::<KeySetAddr>().unwrap().shown(), "file:///a?b");
    }
}
