//! `host[:port]`, as `Host`, an absolute request target and an `Origin` write it (RFC 3986 §3.2).
//! Must never know whether a host exists or what its name resolves to.

/// A host and perhaps a port, borrowed from the bytes that named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'b> {
    /// Registered name, IPv4 address, or IPv6 address in brackets, in the case that it was written in; never
    /// empty.
    pub host: &'b str,
    /// Port number, where one was written. `example.com:` names none.
    pub port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Reads `host[:port]`; `None` for an empty host, user information, a path, spaces, control bytes, or a
    /// port above 65,535.
    ///
    /// A comma is refused although RFC 3986 lists it: a proxy that joined two `Host` headers leaves one
    /// behind.
    pub fn parse(bytes: &'b [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let (host, port) = split_port(text)?;
        let valid = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(is_ip_literal),
            None => !host.is_empty() && host.bytes().all(is_reg_name_byte),
        };
        valid.then_some(Self { host, port: parse_port(port)? })
    }

    /// Whether both name the same host, whatever the case, and the same port, where `port_default` stands in
    /// for one left out.
    pub fn same_as(&self, other: &Authority<'_>, port_default: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(port_default) == other.port.or(port_default)
    }
}

/// The port that a URL of `scheme` means when it names none; `None` for schemes without one.
pub fn port_default(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        Some(80)
    } else if is("https") || is("wss") {
        Some(443)
    } else {
        None
    }
}

/// Splits at the colon that starts the port; the colons within brackets belong to an IPv6 address.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let host_len =
        if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(host_len);
    if rest.is_empty() { Some((host, "")) } else { Some((host, rest.strip_prefix(':')?)) }
}

/// `Some(None)` for no digits, `None` for anything that is not a port.
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    // The standard parser would also take a plus sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten().map(Some)
}

fn is_ip_literal(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')
}

fn is_reg_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text.as_bytes()).map(|authority| (authority.host, authority.port))
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(parsed("example.com"), Some(("example.com", None)));
        assert_eq!(parsed("example.com:"), Some(("example.com", None)));
        assert_eq!(parsed("example.com:8080"), Some(("example.com", Some(8080))));
        assert_eq!(parsed("127.0.0.1:1"), Some(("127.0.0.1", Some(1))));
        assert_eq!(parsed("[::1]"), Some(("[::1]", None)));
        assert_eq!(parsed("[::ffff:1.2.3.4]:65535"), Some(("[::ffff:1.2.3.4]", Some(65535))));
        assert_eq!(parsed("under_score"), Some(("under_score", None)));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "a\tb",
            "user@host",
            "user:pass@host",
            "host/",
            "host/path",
            "host?x",
            "host#x",
            "a,b",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+80",
            "a:-1",
            "a: 80",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[]",
            "[1]",
            "[::g]",
            "::1",
            "grün",
            "a\0",
            "http://a",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
        assert_eq!(Authority::parse(b"\xff"), None);
    }

    #[test]
    fn hosts_are_the_same_in_any_case_and_with_the_default_port_left_out() {
        let same = |one: &'static str, two: &'static str, port| {
            let (one, two) =
                (Authority::parse(one.as_bytes()).unwrap(), Authority::parse(two.as_bytes()).unwrap());
            one.same_as(&two, port)
        };
        assert!(same("Example.COM", "example.com", None));
        assert!(same("example.com:443", "example.com", port_default("HTTPS")));
        assert!(same("example.com", "example.com:80", port_default("ws")));
        assert!(!same("example.com:443", "example.com", port_default("http")));
        assert!(!same("example.com:80", "example.com", port_default("chrome-extension")));
        assert!(!same("example.com", "example.com.", None));
    }
}
