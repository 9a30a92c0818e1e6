//! Addresses as they are typed: `ws://host:port/path` and `http://host:port/path`. Must never know what is said there.

use std::net::{SocketAddr, ToSocketAddrs};

use super::error::BenchError;

/// An address without encryption, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// What goes into `Host`: the host as typed, with the port unless it is 80.
    pub(super) authority: String,
    /// Path and query, beginning with a slash.
    pub(super) path: String,
    host: String,
    port: u16,
}

impl Url {
    /// Takes `text` apart. `scheme` is `ws` or `http`; the scheme may be left out.
    ///
    /// # Errors
    /// Another scheme, no host, or a port that is none.
    pub(super) fn parse(scheme: &str, text: &str) -> Result<Self, BenchError> {
        let wrong = |why: &str| BenchError::Usage(format!("`{text}` is no {scheme}:// address: {why}"));
        let rest = match text.split_once("://") {
            Some((given, rest)) if given.eq_ignore_ascii_case(scheme) => rest,
            Some((given, _)) if given.eq_ignore_ascii_case(&format!("{scheme}s")) => {
                return Err(wrong("the load generator speaks plain text only"));
            }
            Some((given, _)) => return Err(wrong(&format!("the scheme is `{given}`"))),
            None => text,
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('?') => (&rest[..at], format!("/{}", &rest[at..])),
            Some(at) => (&rest[..at], rest[at..].to_owned()),
            None => (rest, "/".to_owned()),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("the port is no number up to 65535"))?)
            }
            Some(_) | None => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        Ok(Self { authority: authority.to_owned(), path, host: host.to_owned(), port })
    }

    /// The first address that the host's name stands for.
    ///
    /// # Errors
    /// A name that cannot be resolved.
    pub(super) fn resolve(&self) -> Result<SocketAddr, BenchError> {
        let what = || format!("resolving `{}`", self.host);
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let mut addresses = found.map_err(BenchError::io(what()))?;
        addresses.next().ok_or_else(|| BenchError::Usage(format!("{}: it has no address", what())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Url, String> {
        Url::parse("ws", text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_taken_apart() {
        let url = parse("ws://127.0.0.1:8080/live?channel=a").unwrap();
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("127.0.0.1:8080", "/live?channel=a"));
        assert_eq!(url.resolve().unwrap(), ([127, 0, 0, 1], 8080).into());
    }

    #[test]
    fn scheme_port_and_path_may_be_left_out() {
        let url = parse("127.0.0.1").unwrap();
        assert_eq!((url.port, url.path.as_str()), (80, "/"));
        assert_eq!(parse("h:1?a=b").unwrap().path, "/?a=b");
        assert_eq!(parse("[::1]:9/").unwrap().resolve().unwrap(), "[::1]:9".parse().unwrap());
        assert_eq!(parse("[::1]").unwrap().port, 80);
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        assert!(parse("wss://a/").unwrap_err().contains("plain text only"));
        assert!(parse("http://a/").unwrap_err().contains("the scheme is `http`"));
        assert!(parse("ws://a:99999/").unwrap_err().contains("the port"));
        assert!(parse("ws:///x").unwrap_err().contains("no host"));
    }
}
