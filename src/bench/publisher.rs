//! The publisher's side: what is published, where, and over which road. Must never know who receives it.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::BenchError;
use super::http_publisher::HttpPublisher;
use super::payload::Marker;
use super::target::{numbered, parse_header};
use super::url::Url;
use super::ws_publisher::WsPublisher;

/// Where and how publications are made.
#[derive(Debug, Clone)]
pub(super) struct PublishTarget {
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    road: Road,
    address: SocketAddr,
    body: String,
    /// `{n}` stands for the number of the channel.
    channel: String,
}

/// How a publication travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Road {
    /// As the body of a POST that is answered.
    Http,
    /// As a text message, like those of any client.
    Ws,
}

/// What `roost serve` takes.
pub(super) const ROOST_BODY: &str = r#"{"channel":"{channel}","data":{data}}"#;
/// What the bare floor is to write, byte for byte: the notification that roost makes of [`ROOST_BODY`].
pub(super) const FLOOR_BODY: &str = r#"{"type":"notification","channel":"{channel}","data":{data},"timestamp":{timestamp},"offset":{offset}}"#;

impl PublishTarget {
    /// `url` is `http://`, or `ws://` for a server that publishes what a client says. `body` is a template with
    /// `{channel}`, `{data}` (a JSON string with the marker), `{timestamp}` (milliseconds since 1970) and `{offset}` (from
    /// 1).
    ///
    /// # Errors
    /// An address or a header that cannot be read, or a template without `{data}`.
    pub(super) fn new(url: &str, headers: &[String], body: &str, channel: &str) -> Result<Self, BenchError> {
        let road = if url.starts_with("ws:") { Road::Ws } else { Road::Http };
        let url = match road {
            Road::Http => Url::parse("http", url)?,
            Road::Ws => Url::parse("ws", url)?,
        };
        if !body.contains("{data}") {
            let message = format!("the publish body {body:?} has no place for {{data}}");
            return Err(BenchError::Usage(message));
        }
        Ok(Self {
            address: url.resolve()?,
            authority: url.authority,
            path: url.path,
            headers: headers.iter().map(|line| parse_header(line)).collect::<Result<_, _>>()?,
            road,
            body: body.to_owned(),
            channel: channel.to_owned(),
        })
    }

    /// A connection on which nothing has been said yet.
    ///
    /// # Errors
    /// The connect failed.
    pub(super) fn dial(&self) -> Result<TcpStream, BenchError> {
        let dial = || {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        };
        dial().map_err(BenchError::io(format!("connecting to {}", self.authority)))
    }

    /// The publication to channel number `channel`.
    fn body(&self, channel: u32, marker: Marker, size: usize) -> String {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        // The data goes in last: what it holds is not looked at.
        self.body
            .replace("{channel}", &numbered(&self.channel, channel))
            .replace("{timestamp}", &timestamp.to_string())
            .replace("{offset}", &(u64::from(marker.number) + 1).to_string())
            .replace("{data}", &marker.to_json(size))
    }
}

/// An open connection to a [`PublishTarget`].
#[derive(Debug)]
pub(super) struct Publisher {
    target: PublishTarget,
    line: Line,
    /// Channels that are published to in turn.
    channels: u32,
    /// Publications so far.
    published: u32,
}

#[derive(Debug)]
enum Line {
    Http(HttpPublisher),
    Ws(Box<WsPublisher>),
}

impl Publisher {
    /// Connects. With several `channels`, one publication goes to each in turn; their name has a place for the number.
    ///
    /// # Errors
    /// The connect failed.
    pub(super) fn connect(target: &PublishTarget, channels: u32) -> Result<Self, BenchError> {
        let line = match target.road {
            Road::Http => Line::Http(HttpPublisher::connect(target)?),
            Road::Ws => Line::Ws(Box::new(WsPublisher::connect(target)?)),
        };
        Ok(Self { target: target.clone(), line, channels, published: 0 })
    }

    /// Publishes `burst` messages of `size` data bytes together. They carry the time at which they were to be sent.
    ///
    /// # Errors
    /// The server did not take them, as far as it says so.
    pub(super) fn publish(&mut self, burst: u32, size: usize, intended_ns: u64) -> Result<(), BenchError> {
        let mut bodies = Vec::new();
        for _ in 0..burst {
            let (number, channel) = (self.published / self.channels, self.published % self.channels);
            bodies.push(self.target.body(channel, Marker { number, intended_ns }, size));
            self.published += 1;
        }
        let published = match &mut self.line {
            Line::Http(line) => line.publish(&self.target, &bodies),
            Line::Ws(line) => line.publish(bodies),
        };
        published.map_err(|error| match error {
            BenchError::Publish(why) => BenchError::Publish(format!("message {}: {why}", self.published - 1)),
            other => other,
        })
    }
}

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let target = PublishTarget::new("127.0.0.1:1/p", &[], FLOOR_BODY, "c").unwrap();
        let body = target.body(0, Marker { number: 41, intended_ns: 5 }, 64);
        assert!(
            body.starts_with(r#"{"type":"notification","channel":"c","data":"@00000029000000000005...."#)
        );
        assert!(body.ends_with(r#","offset":42}"#));
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        assert!(PublishTarget::new("127.0.0.1:1", &[], "{}", "c").is_err());
        let target = PublishTarget::new("127.0.0.1:1/p", &[], ROOST_BODY, "user:{n}").unwrap();
        let body = target.body(7, Marker { number: 0, intended_ns: 5 }, 64);
        assert!(body.starts_with(r#"{"channel":"user:7","data":"@00000000"#), "{body}");
    }
}
