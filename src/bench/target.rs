//! A server under test: where it is, what its clients say first, how it is published to and which processes it is. Must
//! never know a profile. Roost and the bare floor are two sets of defaults; every value can be set for other servers.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::client::KEY;
use super::error::BenchError;
use super::publisher::PublishTarget;
use super::url::Url;
use crate::proto::handshake::{Request, put_request};

/// A server under test.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// What reports call it.
    pub(super) name: &'static str,
    /// Where clients connect to.
    pub(super) address: SocketAddr,
    /// Whether clients are bound to planned sources first.
    pub(super) bind_sources: bool,
    /// Text that confirms a subscription; without one, whoever is upgraded has joined.
    pub(super) confirmation: Option<String>,
    /// Its processes, for what the kernel knows of them; may be empty.
    pub(super) pids: Vec<u32>,
    /// How it is published to, where the profile publishes.
    pub(super) publish: Option<PublishTarget>,
    /// Whether what comes is compared with what was sent.
    pub(super) checks: bool,
    authority: String,
    path: String,
    headers: Vec<(String, String)>,
    subscribe: Option<String>,
}

/// What makes a [`Target`].
#[derive(Debug, Clone, Default)]
pub(super) struct TargetSpec<'a> {
    pub(super) name: &'static str,
    pub(super) url: &'a str,
    /// Instead of the path in the URL.
    pub(super) path: Option<&'a str>,
    /// `Name: value` each.
    pub(super) headers: &'a [String],
    /// Channel to subscribe to; `{n}` stands for the client's number.
    pub(super) channel: Option<&'a str>,
    /// Text that subscribes, instead of the query; `{channel}` and `{n}` are filled in.
    pub(super) subscribe_frame: Option<&'a str>,
    pub(super) confirmation: Option<&'a str>,
    pub(super) pids: &'a [u32],
    pub(super) publish: Option<PublishTarget>,
    pub(super) checks: bool,
    /// Sources were named, so they are used towards any host.
    pub(super) sources_named: bool,
}

impl Target {
    /// Resolves the address and prepares the request.
    ///
    /// # Errors
    /// An address or a header that cannot be read.
    pub(super) fn new(spec: TargetSpec<'_>) -> Result<Self, BenchError> {
        let url = Url::parse("ws", spec.url)?;
        let address = url.resolve()?;
        let mut path = spec.path.unwrap_or(&url.path).to_owned();
        let mut subscribe = None;
        if let Some(channel) = spec.channel {
            match spec.subscribe_frame {
                Some(frame) => subscribe = Some(frame.replace("{channel}", channel)),
                None => path = with_channel(&path, channel),
            }
        }
        let confirmation = spec.confirmation.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self {
            name: spec.name,
            address,
            bind_sources: address.is_ipv4() && (address.ip().is_loopback() || spec.sources_named),
            confirmation,
            pids: spec.pids.to_vec(),
            publish: spec.publish,
            checks: spec.checks,
            authority: url.authority,
            path,
            headers: spec.headers.iter().map(|line| parse_header(line)).collect::<Result<_, _>>()?,
            subscribe,
        })
    }

    /// Appends the upgrade request of client `number`.
    pub(super) fn put_request(&self, number: u32, out: &mut Vec<u8>) {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let target = numbered(&self.path, number);
        put_request(out, &Request { host: &self.authority, target: &target, key: KEY, headers: &headers });
    }

    /// The first message of client `number`, if it has to say something.
    pub(super) fn subscribe_text(&self, number: u32) -> Option<Cow<'_, str>> {
        self.subscribe.as_deref().map(|text| numbered(text, number))
    }
}

/// `Name: value`, taken apart.
pub(super) fn parse_header(line: &str) -> Result<(String, String), BenchError> {
    let wrong = || BenchError::Usage(format!("`{line}` is no header such as `Name: value`"));
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    if name.is_empty() || line.contains(['\r', '\n']) {
        return Err(wrong());
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `text` with the number in its place, if it has one.
pub(super) fn numbered(text: &str, number: u32) -> Cow<'_, str> {
    match text.contains(NUMBER) {
        true => text.replace(NUMBER, &number.to_string()).into(),
        false => text.into(),
    }
}

fn with_channel(path: &str, channel: &str) -> String {
    // The place of the number must survive the encoding.
    let encoded =
        channel.split(NUMBER).map(|part| form_urlencoded::byte_serialize(part.as_bytes()).collect());
    let encoded = encoded.collect::<Vec<String>>().join(NUMBER);
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}channel={encoded}")
}

const NUMBER: &str = "{n}";

#[cfg(test)]
mod tests {
    use super::*;

    fn first_line(spec: TargetSpec<'_>, number: u32) -> String {
        let mut out = Vec::new();
        Target::new(spec).unwrap().put_request(number, &mut out);
        String::from_utf8(out).unwrap().lines().next().unwrap().to_owned()
    }

    #[test]
    fn a_channel_goes_into_the_query_encoded_and_numbered() {
        let spec = TargetSpec { url: "127.0.0.1:1/live", channel: Some("a b:{n}"), ..TargetSpec::default() };
        assert_eq!(first_line(spec, 7), "GET /live?channel=a+b%3A7 HTTP/1.1");
        let spec = TargetSpec { url: "127.0.0.1:1/live?x=1", channel: Some("c"), ..TargetSpec::default() };
        assert_eq!(first_line(spec, 0), "GET /live?x=1&channel=c HTTP/1.1");
    }

    #[test]
    fn a_frame_subscribes_instead_of_the_query() {
        let spec = TargetSpec {
            url: "127.0.0.1:1",
            path: Some("/ws"),
            channel: Some("user:{n}"),
            subscribe_frame: Some("{\"sub\":\"{channel}\"}"),
            ..TargetSpec::default()
        };
        assert_eq!(first_line(spec.clone(), 3), "GET /ws HTTP/1.1");
        assert_eq!(Target::new(spec).unwrap().subscribe_text(3).unwrap(), "{\"sub\":\"user:3\"}");
    }

    #[test]
    fn only_loopback_or_named_sources_are_bound() {
        let spec = TargetSpec { url: "10.0.0.1:1", ..TargetSpec::default() };
        assert!(!Target::new(spec.clone()).unwrap().bind_sources);
        assert!(Target::new(TargetSpec { sources_named: true, ..spec.clone() }).unwrap().bind_sources);
        assert!(!Target::new(TargetSpec { url: "[::1]:1", ..spec.clone() }).unwrap().bind_sources);
        assert!(Target::new(TargetSpec { url: "127.0.0.1:1", ..spec }).unwrap().bind_sources);
    }

    #[test]
    fn a_header_has_a_name_and_one_line() {
        assert_eq!(parse_header("A: b:c").unwrap(), ("A".into(), "b:c".into()));
        assert!(parse_header("A").is_err());
        assert!(parse_header("A: b\r\nC: d").is_err());
    }
}
