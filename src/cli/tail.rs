//! `roost tail`: prints what arrives on channels, and comes back after every break where it was.
//! Must never know how a node works, only what PROTOCOL §2 says it sends.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Deserialize;
use serde_json::value::RawValue;
use tungstenite::client::client_with_config;
use tungstenite::http::Uri;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

use super::output::Reader;
use super::resume::{Backoff, Cursors, may_return, retry_after};
use super::{Failure, flag_or_variable, output};
use crate::limits::{CLIENT_TIMEOUT_MS, MESSAGE_BYTES_MAX, SILENCE_MS_MAX, TIMEOUT_MS_MAX};

pub(super) fn command() -> Command {
    Command::new("tail")
        .about("Print what is published to channels, as it arrives")
        .arg(
            Arg::new("channel").value_name("CHANNEL").required(true).num_args(1..).help("Channels to follow"),
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .value_parser(value_parser!(Target))
                .help("Where the node listens [env: ROOST_URL] [default: ws://127.0.0.1:8080/live]"),
        )
        .arg(Arg::new("data").long("data").action(ArgAction::SetTrue).help("Print the published data alone"))
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Stop after N notifications"),
        )
        .arg(Arg::new("once").long("once").action(ArgAction::SetTrue).help("Stop when the connection ends"))
        .after_help("Notifications go to standard output, one a line; everything else to standard error.")
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    exit_on_signals()?;
    let channels = matches.get_many::<String>("channel").unwrap_or_default().cloned();
    let target = match flag_or_variable(matches, "url", "ROOST_URL")? {
        Some(target) => target,
        None => DEFAULT_URL.parse().map_err(Failure::Usage)?,
    };
    let mut tail = Tail {
        target,
        data_only: matches.get_flag("data"),
        left: matches.get_one("count").copied(),
        cursors: Cursors::new(channels),
    };
    tail.follow(matches.get_flag("once"))
}

/// Ends with 0 where the user says that it is enough. Every line is written whole before the next is read, so there is
/// nothing to put in order first.
fn exit_on_signals() -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
    }
    Ok(())
}

/// Where the node listens: a `ws:` URL with a host.
#[derive(Debug, Clone)]
struct Target {
    host: String,
    port: u16,
    /// `host:port` as it was written, for the `Host` header.
    authority: String,
    path: String,
    query: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let uri: Uri =
            typed.parse().map_err(|error| format!("`{typed}` is not a URL: {error} ({VALID_URL})"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        match (uri.scheme_str(), authority) {
            (Some("ws"), Some(authority)) => Ok(Self {
                host: authority.host().trim_matches(['[', ']']).to_owned(),
                port: authority.port_u16().unwrap_or(80),
                authority: authority.to_string(),
                path: if uri.path() == "/" { "/live".to_owned() } else { uri.path().to_owned() },
                query: uri.query().map(str::to_owned),
            }),
            (Some("wss" | "https"), _) => {
                Err(format!("`{typed}` wants TLS, which this client does not speak ({VALID_URL})"))
            }
            _ => Err(format!("`{typed}` is not the URL of a node ({VALID_URL})")),
        }
    }
}

impl Target {
    /// The URL with `query` behind its own.
    fn with_query(&self, query: &str) -> Result<Uri, Failure> {
        let own = self.query.as_ref().map(|own| format!("{own}&")).unwrap_or_default();
        let text = format!("ws://{}{}?{own}{query}", self.authority, self.path);
        text.parse().map_err(|error| Failure::Usage(format!("too much for one request: {error}")))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for addr in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, CLIENT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// How a connection, or the attempt at one, ended.
enum End {
    /// The user has what they wanted.
    Enough,
    /// The node does not want us as we are: coming back would change nothing.
    Refused(String),
    /// It is over, and worth another attempt.
    Lost {
        /// For the user.
        reason: String,
        /// How long the node asks us to stay away.
        retry_after: Option<Duration>,
        /// Whether the node said goodbye as it should.
        orderly: bool,
    },
}

impl End {
    fn lost(reason: impl ToString) -> Self {
        Self::Lost { reason: reason.to_string(), retry_after: None, orderly: false }
    }
}

struct Tail {
    target: Target,
    data_only: bool,
    /// Notifications still wanted; nothing means all there will ever be.
    left: Option<u64>,
    cursors: Cursors,
}

impl Tail {
    fn follow(&mut self, once: bool) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            match self.connection()? {
                End::Enough => return Ok(()),
                End::Refused(reason) => return Err(Failure::Refused(reason)),
                End::Lost { orderly: true, .. } if once => return Ok(()),
                End::Lost { reason, .. } if once => return Err(Failure::Refused(reason)),
                End::Lost { reason, retry_after, .. } => {
                    let random = RandomState::new().hash_one(reason.as_str());
                    let wait = backoff.wait(started.elapsed(), retry_after, random);
                    status(&format!("{reason}; again in {:.1} s", wait.as_secs_f64()));
                    std::thread::sleep(wait);
                }
            }
        }
    }

    /// One connection from its beginning to its end.
    fn connection(&mut self) -> Result<End, Failure> {
        let request = ClientRequestBuilder::new(self.target.with_query(&self.cursors.query())?)
            .with_sub_protocol("roost.v1");
        let stream = match self.target.connect() {
            Ok(stream) => stream,
            Err(error) => {
                return Ok(End::lost(format!("cannot connect to {}: {error}", self.target.authority)));
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        match client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => {
                socket.get_ref().set_read_timeout(Some(Duration::from_millis(SILENCE_MS_MAX)))?;
                self.read(socket)
            }
            Err(HandshakeError::Interrupted(_)) => Ok(End::lost("the node did not answer the handshake")),
            Err(HandshakeError::Failure(Error::Http(response))) => Ok(refused(
                response.status().as_u16(),
                response.headers().get("retry-after").and_then(|value| value.to_str().ok()),
                response.body().as_deref().unwrap_or_default(),
            )),
            Err(HandshakeError::Failure(Error::Io(error))) => Ok(End::lost(error)),
            Err(HandshakeError::Failure(error)) => Ok(End::Refused(format!("not a node's answer: {error}"))),
        }
    }

    fn read(&mut self, mut socket: WebSocket<TcpStream>) -> Result<End, Failure> {
        let mut goodbye = None;
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    if self.message(&text, socket.get_ref())? == Next::Stop {
                        // The node is told that we leave; whether it hears it changes nothing for us.
                        drop(socket.close(None));
                        drop(socket.flush());
                        return Ok(End::Enough);
                    }
                }
                Ok(Message::Close(frame)) => goodbye = Some(frame),
                // Pings are answered by the next read; the others mean nothing to a client of channels.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_)) => {}
                Err(error) => {
                    return Ok(match (goodbye, error) {
                        (Some(frame), _) => closed(frame.as_ref()),
                        (None, Error::Io(error)) if is_timeout(&error) => End::lost("the node went silent"),
                        (None, error) => End::lost(error),
                    });
                }
            }
        }
    }

    fn message(&mut self, text: &str, stream: &TcpStream) -> Result<Next, Failure> {
        let Ok(incoming) = serde_json::from_str::<Incoming<'_>>(text) else {
            status("a message that is not in the native dialect");
            return Ok(Next::Continue);
        };
        let channel = incoming.channel.as_deref().unwrap_or_default();
        let cursor = incoming.cursor.as_deref().unwrap_or_default();
        match incoming.kind.as_ref() {
            "notification" => {
                let offset = incoming.offset.unwrap_or_default();
                return self.notification(text, channel, offset, incoming.data);
            }
            "welcome" => stream.set_read_timeout(Some(silence(incoming.ping_ms)))?,
            "subscribed" => {
                self.cursors.subscribed(channel, cursor);
                status(&format!("subscribed to {channel} at {cursor}"));
            }
            "gap" => {
                self.cursors.skipped(channel, cursor);
                let (from, to) = (incoming.from.unwrap_or_default(), incoming.to.unwrap_or_default());
                if to < from {
                    status(&format!("{channel} begins a new numbering: what came before it may be lost"));
                } else {
                    status(&format!("gap in {channel}: offsets {from} to {to} are lost"));
                }
            }
            "error" => {
                let (code, message) =
                    (incoming.code.unwrap_or_default(), incoming.message.unwrap_or_default());
                status(&format!("{code}: {message}"));
            }
            // A later node may say more than this client knows.
            _ => {}
        }
        Ok(Next::Continue)
    }

    fn notification(
        &mut self,
        text: &str,
        channel: &str,
        offset: u64,
        data: Option<&RawValue>,
    ) -> Result<Next, Failure> {
        let shown = if self.data_only { data.map_or("null", RawValue::get) } else { text };
        if output::print(&one_line(shown))? == Reader::Gone {
            return Ok(Next::Stop);
        }
        self.cursors.notified(channel, offset);
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(if self.left == Some(0) { Next::Stop } else { Next::Continue })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Stop,
}

/// The members of all messages that a node sends to a subscriber.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    offset: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    ping_ms: Option<u64>,
    code: Option<String>,
    message: Option<String>,
}

/// The text on one line. In JSON a line break can only stand between tokens, where a space means the same.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ") + "\n"
}

/// How long a node that pings after `ping_ms` of silence may be silent: two pings and a slow network.
fn silence(ping_ms: Option<u64>) -> Duration {
    let pings = ping_ms.map(|ping_ms| ping_ms.min(TIMEOUT_MS_MAX) * 2 + CLIENT_TIMEOUT_MS);
    Duration::from_millis(pings.unwrap_or(SILENCE_MS_MAX))
}

/// The end of an attempt that the node answered with an HTTP status.
fn refused(status: u16, retry_after: Option<&str>, body: &[u8]) -> End {
    let said = String::from_utf8_lossy(body);
    let reason = one_line(&format!("the node answered {status} {said}")).trim().to_owned();
    match status {
        408 | 429 | 500..=599 => {
            let seconds = retry_after.and_then(|seconds| seconds.trim().parse().ok());
            End::Lost { reason, retry_after: seconds.map(Duration::from_secs), orderly: false }
        }
        _ => End::Refused(reason),
    }
}

/// The end of a connection that the node closed.
fn closed(frame: Option<&CloseFrame>) -> End {
    let Some(frame) = frame else { return End::lost("closed by the node") };
    let code = u16::from(frame.code);
    let reason = one_line(&format!("closed by the node: {code} {}", frame.reason)).trim().to_owned();
    if may_return(code) {
        let orderly = matches!(code, 1000 | 1001 | 1012);
        End::Lost { reason, retry_after: retry_after(&frame.reason), orderly }
    } else {
        End::Refused(reason)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn status(text: &str) {
    output::complain("tail", text);
}

const CLIENT_TIMEOUT: Duration = Duration::from_millis(CLIENT_TIMEOUT_MS);
const DEFAULT_URL: &str = "ws://127.0.0.1:8080/live";
const VALID_URL: &str = "ws://HOST:PORT/live, such as `ws://127.0.0.1:8080/live`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_means_live_and_keeps_its_own_query() {
        for (typed, whole) in [
            ("ws://localhost:8080", "ws://localhost:8080/live?channel=a"),
            ("ws://localhost/", "ws://localhost/live?channel=a"),
            ("ws://[::1]:9/x?token=t", "ws://[::1]:9/x?token=t&channel=a"),
        ] {
            let target: Target = typed.parse().unwrap();
            assert_eq!(target.with_query("channel=a").unwrap().to_string(), whole);
        }
        let target: Target = "ws://[::1]/".parse().unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 80));
    }

    #[test]
    fn what_is_no_url_of_a_node_is_refused_with_a_valid_one() {
        for typed in ["localhost:8080", "http://localhost", "wss://localhost", "ws://", "", "ws://a@b"] {
            let error = typed.parse::<Target>().unwrap_err();
            assert!(
                error.starts_with(&format!("`{typed}`")) && error.ends_with(&format!("({VALID_URL})")),
                "{error}"
            );
        }
    }

    #[test]
    fn busy_nodes_are_tried_again_and_refusals_are_final() {
        let again = refused(503, Some("7"), b"{}");
        assert!(matches!(again, End::Lost { retry_after: Some(wait), .. } if wait == Duration::from_secs(7)));
        assert!(
            matches!(refused(400, None, b"bad"), End::Refused(reason) if reason == "the node answered 400 bad")
        );
    }

    #[test]
    fn a_notification_stays_on_one_line() {
        assert_eq!(one_line("{\r\n  \"a\": \"\\n\"\n}"), "{    \"a\": \"\\n\" }\n");
    }
}
