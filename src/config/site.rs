//! The web sites whose pages may connect, as a browser spells them in `Origin` (RFC 6454 §6.1).
//! Must never know a request.

use std::fmt;
use std::str::FromStr;

use super::value::{ValueError, text_in_toml};

/// One entry of the allow-list: `*`, or scheme, host and port in the browser's own spelling, so that a plain comparison
/// with the `Origin` header decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site(String);

impl Site {
    /// The entry as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Site {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        if typed == "*" {
            return Ok(Self(typed.to_owned()));
        }
        canonical(typed).map(Self).ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "an origin",
            nearest: nearest_site(typed),
            valid: "scheme://host or scheme://host:port without a path, such as `https://example.com`, or `*` for all",
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_in_toml!(Site);

/// Lower case and without the scheme's own port, as browsers send it; nothing where it is no origin.
fn canonical(typed: &str) -> Option<String> {
    let lower = typed.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://")?;
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (host, port) = split_port(authority)?;
    if !scheme_fits || !is_host(host) {
        return None;
    }
    let shown = match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    Some(format!("{scheme}://{host}{shown}"))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            Some((host, Some(digits.then(|| port.parse().ok()).flatten()?)))
        }
        _ => Some((authority, None)),
    }
}

pub(super) fn is_host(host: &str) -> bool {
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The origin of a whole URL, or of a host without its scheme.
fn nearest_site(typed: &str) -> Option<String> {
    let with_scheme = if typed.contains("://") { typed.to_owned() } else { format!("https://{typed}") };
    let after_scheme = with_scheme.find("://")? + 3;
    let end =
        with_scheme[after_scheme..].find(['/', '?', '#']).map_or(with_scheme.len(), |at| after_scheme + at);
    // A lone word such as `null` is no host that anybody means.
    canonical(&with_scheme[..end]).filter(|site| site.contains(['.', '[']) || site.contains("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_a_browser_spells_it() {
        for (typed, kept) in [
            ("*", "*"),
            ("https://example.com", "https://example.com"),
            ("HTTPS://Example.COM:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(typed.parse::<Site>().unwrap().as_str(), kept, "{typed}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_the_one_that_was_meant() {
        for (typed, meant) in [
            ("https://example.com/", Some("https://example.com")),
            ("https://example.com:8443/app?x", Some("https://example.com:8443")),
            ("example.com", Some("https://example.com")),
            ("localhost:3000", Some("https://localhost:3000")),
            ("https://*.example.com", None),
            ("null", None),
            ("", None),
            ("https://", None),
            ("https://a b", None),
            ("https://example.com:port", None),
            ("https://example.com:", None),
            ("https://exämple.com", None),
        ] {
            let error = typed.parse::<Site>().unwrap_err();
            assert_eq!(error.nearest.as_deref(), meant, "{typed}");
            assert!(error.to_string().starts_with(&format!("`{typed}` is not an origin")), "{error}");
        }
    }
}
