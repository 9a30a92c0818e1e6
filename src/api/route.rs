//! Which call a request head asks for. Must never read a body.

use super::connections::{Listing, nobody};
use crate::dialect::native::check_channel;
use crate::hub::conn_key::ConnKey;
use crate::limits::{NDJSON_BYTES_MAX, ORDER_BODY_BYTES_MAX, PUBLISH_BODY_BYTES_MAX};
use crate::metrics::text::Format;
use crate::proto::http::{Head, Refusal};
use crate::proto::origin::OriginPolicy;
use crate::proto::query::{decode_path, parameter};
use std::sync::Arc;

/// A call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /publish`.
    Publish {
        /// One publication a line, instead of one for the whole body.
        ndjson: bool,
    },
    /// `GET /channels?prefix=`.
    Channels {
        /// The beginning of the names to list.
        prefix: Arc<str>,
    },
    /// `GET /channels/{name}`.
    Channel {
        /// The name, decoded.
        name: Arc<str>,
    },
    /// `GET /presence/{name}`: how many follow a channel.
    Presence {
        /// The name, decoded.
        name: Arc<str>,
    },
    /// `GET /connections?top=&limit=`.
    Connections(Listing),
    /// `GET /connections/{id}`.
    Connection(ConnKey),
    /// `POST /disconnect`.
    Disconnect,
    /// `GET /healthz`: the process is alive.
    Health,
    /// `GET /readyz`: the node takes connections.
    Ready,
    /// `GET /metrics`.
    Metrics(Format),
    /// `GET /debug/density`: what memory is spent on.
    Density,
    /// `POST /drain`: everyone is sent away, or some are.
    Drain,
    /// `GET /drain`: how far that is.
    DrainProgress,
    /// `DELETE /drain`: no more are.
    Resume,
    /// `GET /`: the status page.
    StatusPage,
    /// `GET /status`: the node at one look.
    Status,
    /// `GET /status/events`: the same, once a second.
    StatusEvents,
}

impl Route {
    /// Finds the call. A page of another origin must not reach it from a developer's browser.
    ///
    /// # Errors
    /// 404, 405 with `Allow`, 403, 415 or 400.
    pub fn find(head: &Head<'_>) -> Result<Self, Refusal> {
        let host = head.header("host").unwrap_or_default();
        if !OriginPolicy::SameOrigin.allows(head.only("origin")?, host) {
            return Err(Refusal::new(403, "forbidden", "the API is not for pages of another origin"));
        }
        match head.path {
            "/publish" => {
                method(head, "POST")?;
                Ok(Self::Publish { ndjson: is_ndjson(head)? })
            }
            "/channels" => {
                method(head, "GET")?;
                let prefix = parameter(head.query, "prefix").unwrap_or_default();
                Ok(Self::Channels { prefix: (&*prefix).into() })
            }
            "/healthz" => method(head, "GET").map(|()| Self::Health),
            "/readyz" => method(head, "GET").map(|()| Self::Ready),
            "/metrics" => method(head, "GET").map(|()| Self::Metrics(metrics_format(head))),
            "/debug/density" => method(head, "GET").map(|()| Self::Density),
            "/drain" => drain(head),
            "/" => method(head, "GET").map(|()| Self::StatusPage),
            "/status" => method(head, "GET").map(|()| Self::Status),
            "/status/events" => method(head, "GET").map(|()| Self::StatusEvents),
            "/disconnect" => {
                method(head, "POST")?;
                // It is JSON, whatever `curl -d` calls it.
                if is_ndjson(head)? { Err(one_at_a_time()) } else { Ok(Self::Disconnect) }
            }
            "/connections" => {
                method(head, "GET")?;
                Listing::from_query(head.query).map(Self::Connections)
            }
            path => {
                let inner = path.strip_prefix('/').and_then(|path| path.split_once('/'));
                let (place, name) = inner.ok_or_else(not_found)?;
                match place {
                    "channels" => method(head, "GET").and_then(|()| channel(name)).map(Self::channel),
                    "presence" => method(head, "GET").and_then(|()| channel(name)).map(Self::presence),
                    "connections" => {
                        method(head, "GET")?;
                        name.parse().map(Self::Connection).map_err(|_| nobody())
                    }
                    _ => Err(not_found()),
                }
            }
        }
    }

    fn channel(name: Arc<str>) -> Self {
        Self::Channel { name }
    }

    fn presence(name: Arc<str>) -> Self {
        Self::Presence { name }
    }

    /// Bytes of body that the call takes.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        match self {
            Self::Publish { ndjson: true } => NDJSON_BYTES_MAX,
            Self::Publish { ndjson: false } => PUBLISH_BODY_BYTES_MAX,
            Self::Drain | Self::Disconnect => ORDER_BODY_BYTES_MAX,
            Self::Channels { .. }
            | Self::Channel { .. }
            | Self::Presence { .. }
            | Self::Connections(_)
            | Self::Connection(_)
            | Self::Health
            | Self::Ready
            | Self::Metrics(_)
            | Self::Density
            | Self::DrainProgress
            | Self::Resume
            | Self::StatusPage
            | Self::Status
            | Self::StatusEvents => 0,
        }
    }
}

fn not_found() -> Refusal {
    let message = "there are /, /status, /status/events, /publish, /channels, /channels/{name}, /presence/{name}, \
                   /connections, /connections/{id}, /disconnect, /drain, /healthz, \
                   /readyz, /metrics and /debug/density here";
    Refusal::new(404, "not_found", message)
}

fn drain(head: &Head<'_>) -> Result<Route, Refusal> {
    match head.method {
        "POST" => Ok(Route::Drain),
        "DELETE" => Ok(Route::Resume),
        "GET" | "HEAD" => Ok(Route::DrainProgress),
        _ => {
            let refusal = Refusal::new(405, "method_not_allowed", "this path takes POST, GET and DELETE");
            Err(refusal.with_header("Allow", "POST, GET, DELETE"))
        }
    }
}

fn one_at_a_time() -> Refusal {
    Refusal::new(415, "bad_request", "this path takes one object: Content-Type is application/json")
}

fn method(head: &Head<'_>, wanted: &'static str) -> Result<(), Refusal> {
    if head.method == wanted || (wanted == "GET" && head.method == "HEAD") {
        return Ok(());
    }
    let message = format!("this path takes {wanted}");
    Err(Refusal::new(405, "method_not_allowed", message).with_header("Allow", wanted))
}

/// A scraper that reads OpenMetrics says so; what else it reads, the older format is.
fn metrics_format(head: &Head<'_>) -> Format {
    let types = head.members("accept").map(|member| member.split(|&byte| byte == b';').next());
    let is_open = |essence: &[u8]| essence.trim_ascii().eq_ignore_ascii_case(b"application/openmetrics-text");
    if types.flatten().any(is_open) { Format::OpenMetrics } else { Format::Plain }
}

/// Slashes of a name may stand as they are or as `%2F`.
fn channel(path: &str) -> Result<Arc<str>, Refusal> {
    let name = decode_path(path).ok_or_else(|| Refusal::bad_request("the channel's name is not UTF-8"))?;
    check_channel(&name)?;
    Ok((&*name).into())
}

/// `curl -d` says form and means JSON; everything else has to say what it is.
fn is_ndjson(head: &Head<'_>) -> Result<bool, Refusal> {
    let Some(value) = head.only("content-type")? else { return Ok(false) };
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/x-ndjson") {
        return Ok(true);
    }
    let json: [&[u8]; 2] = [b"application/json", b"application/x-www-form-urlencoded"];
    if json.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(false);
    }
    let message = "Content-Type is application/json, or application/x-ndjson for one publication a line";
    Err(Refusal::new(415, "bad_request", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::connections::Top;
    use crate::hub::ShardId;

    fn route(text: &str) -> Result<Route, u16> {
        let text = format!("{text}\r\nHost: localhost:8081\r\n\r\n");
        let head = Head::parse(text.as_bytes()).map_err(|refusal| refusal.status)?;
        Route::find(&head).map_err(|refusal| refusal.status)
    }

    #[test]
    fn each_path_has_its_call_and_its_method() {
        assert_eq!(route("POST /publish HTTP/1.1"), Ok(Route::Publish { ndjson: false }));
        assert_eq!(
            route("POST /publish HTTP/1.1\r\nContent-Type: Application/X-NDJSON; charset=utf-8"),
            Ok(Route::Publish { ndjson: true })
        );
        assert_eq!(route("GET /channels?prefix=a%3A HTTP/1.1"), Ok(Route::Channels { prefix: "a:".into() }));
        assert_eq!(route("GET /channels/a%2Fb/c HTTP/1.1"), Ok(Route::Channel { name: "a/b/c".into() }));
        assert_eq!(route("GET /presence/a%2Fb/c HTTP/1.1"), Ok(Route::Presence { name: "a/b/c".into() }));
        let listing = Listing { top: Top::Bytes, limit: 7 };
        let key = ConnKey { shard: ShardId(1), slot: 0x2a, generation: 3 };
        assert_eq!(route("GET /connections?limit=7&top=bytes HTTP/1.1"), Ok(Route::Connections(listing)));
        assert_eq!(route("GET /connections/1.2a.3 HTTP/1.1"), Ok(Route::Connection(key)));
        assert_eq!(route("POST /disconnect HTTP/1.1"), Ok(Route::Disconnect));
        assert_eq!(route("HEAD /metrics HTTP/1.1"), Ok(Route::Metrics(Format::Plain)));
        let prometheus =
            "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("text/plain, Application/OpenMetrics-Text", Format::OpenMetrics),
            ("*/*", Format::Plain),
            ("text/plain;version=0.0.4", Format::Plain),
        ] {
            let line = format!("GET /metrics HTTP/1.1\r\nAccept: {accept}");
            assert_eq!(route(&line), Ok(Route::Metrics(format)), "{accept}");
        }
        assert_eq!(route("GET /debug/density HTTP/1.1"), Ok(Route::Density));
        assert_eq!(route("POST /drain HTTP/1.1"), Ok(Route::Drain));
        assert_eq!(route("HEAD /drain HTTP/1.1"), Ok(Route::DrainProgress));
        assert_eq!(route("DELETE /drain HTTP/1.1"), Ok(Route::Resume));
        assert_eq!(route("GET / HTTP/1.1"), Ok(Route::StatusPage));
        assert_eq!(route("GET /status HTTP/1.1"), Ok(Route::Status));
        assert_eq!(route("GET /status/events HTTP/1.1"), Ok(Route::StatusEvents));
        for (line, status) in [
            ("GET /publish HTTP/1.1", 405),
            ("POST /metrics HTTP/1.1", 405),
            ("POST /debug/density HTTP/1.1", 405),
            ("PUT /drain HTTP/1.1", 405),
            ("POST / HTTP/1.1", 405),
            ("POST /status HTTP/1.1", 405),
            ("DELETE /status/events HTTP/1.1", 405),
            ("GET /status/ HTTP/1.1", 404),
            ("GET /status/events HTTP/1.1\r\nOrigin: https://evil.example", 403),
            ("ANNOUNCE /healthz HTTP/1.1", 405),
            ("GET /nothing HTTP/1.1", 404),
            ("GET /channels/a%20b HTTP/1.1", 400),
            ("GET /channels/ HTTP/1.1", 400),
            ("GET /presence/ HTTP/1.1", 400),
            ("GET /presence HTTP/1.1", 404),
            ("GET /connections?top=oldest HTTP/1.1", 400),
            ("POST /connections HTTP/1.1", 405),
            ("DELETE /connections/1.2.3 HTTP/1.1", 405),
            ("GET /connections/ HTTP/1.1", 404),
            ("GET /connections/one HTTP/1.1", 404),
            ("GET /connections/1.2.3/channels HTTP/1.1", 404),
            ("GET /nothing/at/all HTTP/1.1", 404),
            ("GET /disconnect HTTP/1.1", 405),
            ("POST /disconnect HTTP/1.1\r\nContent-Type: text/plain", 415),
            ("POST /disconnect HTTP/1.1\r\nContent-Type: application/x-ndjson", 415),
            ("POST /disconnect HTTP/1.1\r\nOrigin: https://evil.example", 403),
            ("POST /presence/a HTTP/1.1", 405),
            ("POST /publish HTTP/1.1\r\nContent-Type: text/plain", 415),
            ("POST /publish HTTP/1.1\r\nOrigin: https://evil.example", 403),
        ] {
            assert_eq!(route(line), Err(status), "{line}");
        }
    }
}
