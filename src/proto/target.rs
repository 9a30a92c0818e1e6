//! The request target: path and query, and which of the four forms of RFC 9112 §3.2 are accepted.
//! Must never know which paths the node serves.

use super::answer::Refusal;
use super::authority::{Authority, port_default};

/// Path and query of a request target, neither of them percent-decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'b> {
    /// Begins with a slash.
    pub path: &'b str,
    /// What follows the first question mark.
    pub query: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Reads the origin form (`/live?channel=a`), and the absolute form (`http://host/live`) where its
    /// authority is what `Host` says: a proxy that routed by one of them must not find us acting on the
    /// other.
    ///
    /// # Errors
    /// 400 for every other form, for a fragment, and for bytes outside printable ASCII.
    pub fn parse(target: &'b str, host: Option<&Authority<'_>>) -> Result<Self, Refusal> {
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::bad_request(
                "the request target holds bytes outside ASCII: percent-encode them",
            ));
        }
        if target.contains('#') {
            return Err(Refusal::bad_request(
                "the request target holds a fragment: leave out `#` and what follows",
            ));
        }
        if target.starts_with('/') { Ok(Self::split(target)) } else { Self::parse_absolute(target, host) }
    }

    fn parse_absolute(target: &'b str, host: Option<&Authority<'_>>) -> Result<Self, Refusal> {
        let refusal = || Refusal::bad_request("the request target must begin with `/`");
        let (scheme, rest) = target.split_once("://").ok_or_else(refusal)?;
        let port_default = port_default(scheme).ok_or_else(refusal)?;
        let (authority, origin_form) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = Authority::parse(authority.as_bytes()).ok_or_else(refusal)?;
        if !host.is_some_and(|host| authority.same_as(host, Some(port_default))) {
            return Err(Refusal::bad_request(
                "the request target names another host than `Host`: send the path alone",
            ));
        }
        Ok(Self::split(origin_form))
    }

    /// An absolute target may leave out the path, with or without a query: it means the root.
    fn split(origin_form: &'b str) -> Self {
        let (path, query) = match origin_form.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (origin_form, None),
        };
        Self { path: if path.is_empty() { "/" } else { path }, query }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(target: &'static str, host: &'static str) -> Result<(&'static str, Option<&'static str>), u16> {
        let host = Authority::parse(host.as_bytes());
        Target::parse(target, host.as_ref()).map(|t| (t.path, t.query)).map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_origin_form_is_split_at_the_first_question_mark() {
        assert_eq!(parsed("/", "a"), Ok(("/", None)));
        assert_eq!(parsed("/live?a=b?c", "a"), Ok(("/live", Some("a=b?c"))));
        assert_eq!(parsed("/live?", "a"), Ok(("/live", Some(""))));
        assert_eq!(parsed("//double", "a"), Ok(("//double", None)));
        assert_eq!(parsed("/\"quotes\"|", ""), Ok(("/\"quotes\"|", None)));
    }

    #[test]
    fn the_absolute_form_must_name_the_host() {
        assert_eq!(parsed("http://a.example/live?x", "a.example"), Ok(("/live", Some("x"))));
        assert_eq!(parsed("HTTP://A.example:80", "a.EXAMPLE"), Ok(("/", None)));
        assert_eq!(parsed("wss://a.example?x=/y", "a.example:443"), Ok(("/", Some("x=/y"))));
        for (target, host) in [
            ("http://b.example/", "a.example"),
            ("http://a.example:81/", "a.example"),
            ("https://a.example/", "a.example:80"),
            ("http://user@a.example/", "a.example"),
            ("http://a.example/", ""),
            ("ftp://a.example/", "a.example"),
            ("://a.example/", "a.example"),
            ("http:///live", "a.example"),
        ] {
            assert_eq!(parsed(target, host), Err(400), "{target} {host}");
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        for target in ["*", "a.example:80", "live", "?x", "/a#b", "/?a#b", "/gr\u{fc}n", "/a b", "/a\u{7f}"] {
            assert_eq!(parsed(target, "a.example"), Err(400), "{target}");
        }
    }
}
