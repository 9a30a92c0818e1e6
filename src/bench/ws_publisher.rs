//! Publishing as a client does: one WebSocket connection that says each publication as a text message. Whatever the server
//! says to it is read and, unless it is an error, passed over. Must never know what is published.

use std::io;
use std::net::TcpStream;

use tungstenite::client::client;
use tungstenite::http::Uri;
use tungstenite::{ClientRequestBuilder, Error, Message, WebSocket};

use super::error::{BenchError, excerpt};
use super::publisher::PublishTarget;

/// An open connection.
#[derive(Debug)]
pub(super) struct WsPublisher {
    socket: WebSocket<TcpStream>,
}

impl WsPublisher {
    /// Connects and upgrades.
    ///
    /// # Errors
    /// The connect failed, or the server refuses the upgrade.
    pub(super) fn connect(target: &PublishTarget) -> Result<Self, BenchError> {
        let PublishTarget { authority, path, headers, .. } = target;
        let url = format!("ws://{authority}{path}");
        let uri: Uri = url.parse().map_err(|error| BenchError::Usage(format!("`{url}`: {error}")))?;
        let mut request = ClientRequestBuilder::new(uri);
        for (name, value) in headers {
            request = request.with_header(name, value);
        }
        let (socket, _) = client(request, target.dial()?)
            .map_err(|error| BenchError::Publish(format!("upgrading {url}: {error}")))?;
        Ok(Self { socket })
    }

    /// Says each of `bodies`, all in one write, and listens to what came in the meantime.
    ///
    /// # Errors
    /// The connection ended, or the server has said something that holds an `"error"`.
    pub(super) fn publish(&mut self, bodies: Vec<String>) -> Result<(), BenchError> {
        for body in bodies {
            self.socket.write(Message::text(body)).map_err(ended)?;
        }
        self.socket.flush().map_err(ended)?;
        self.block(false)?;
        let heard = self.listen();
        self.block(true)?;
        heard
    }

    /// Reads what is there. Pings are answered on the way.
    fn listen(&mut self) -> Result<(), BenchError> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) if text.contains("\"error\"") => {
                    let came = excerpt(text.as_bytes(), EXCERPT_CHARS);
                    return Err(BenchError::Publish(format!("expected no error, came {came}")));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(ended(error)),
            }
        }
    }

    fn block(&self, block: bool) -> Result<(), BenchError> {
        let stream = self.socket.get_ref();
        stream.set_nonblocking(!block).map_err(BenchError::io("listening to the publisher's connection"))
    }
}

fn ended(error: Error) -> BenchError {
    BenchError::Publish(format!("expected an open connection, came: {error}"))
}

const EXCERPT_CHARS: usize = 300;
