//! tungstenite as a client that speaks JSON. Must never know a scenario.

use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use crate::node::PATIENCE;

/// A connected client.
pub(crate) struct Client {
    ws: WebSocket<TcpStream>,
    /// The subprotocol that the node chose.
    pub(crate) protocol: Option<String>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // The node has a handle on it too: closing ours alone would end nothing.
        let _ = self.ws.get_ref().shutdown(Shutdown::Both);
    }
}

impl Client {
    /// Upgrades, or panics with the refusal.
    pub(crate) fn open(stream: TcpStream, url: &str, protocol: Option<&str>) -> Self {
        let mut request = url.into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        }
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (ws, response) = tungstenite::client(request, stream).unwrap();
        let chosen = response.headers().get("Sec-WebSocket-Protocol");
        Self { ws, protocol: chosen.map(|value| value.to_str().unwrap().to_owned()) }
    }

    /// Sends a text.
    pub(crate) fn say(&mut self, text: impl ToString) {
        self.ws.send(Message::text(text.to_string())).unwrap();
    }

    /// Sends a WebSocket message.
    pub(crate) fn send(&mut self, message: Message) {
        self.ws.send(message).unwrap();
    }

    /// The next message, pings and pongs included.
    pub(crate) fn read(&mut self) -> Message {
        self.ws.read().unwrap()
    }

    /// The next text.
    pub(crate) fn hear_text(&mut self) -> String {
        loop {
            match self.ws.read().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Value {
        serde_json::from_str(&self.hear_text()).unwrap()
    }

    /// Sends and hears.
    pub(crate) fn ask(&mut self, message: impl ToString) -> Value {
        self.say(message);
        self.hear()
    }

    /// Subscribes; returns the cursor.
    pub(crate) fn subscribe(&mut self, channel: &str) -> String {
        let answer = self.ask(json!({ "type": "subscribe", "channel": channel }));
        assert_eq!((&answer["type"], &answer["channel"]), (&json!("subscribed"), &json!(channel)));
        answer["cursor"].as_str().unwrap().to_owned()
    }

    /// Demands that a message is answered by an error with this code, and that the connection lives on.
    pub(crate) fn refused(&mut self, message: impl ToString, code: &str) {
        let message = message.to_string();
        let answer = self.ask(&message);
        assert_eq!(answer["type"], "error", "{message}: {answer}");
        assert_eq!(answer["code"], code, "{message}: {answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty(), "{message}: {answer}");
        self.lives();
    }

    /// Demands that the next thing heard is the answer to a ping.
    pub(crate) fn lives(&mut self) {
        assert_eq!(self.ask(r#"{"type":"ping"}"#), json!({ "type": "pong" }));
    }

    /// Code and reason of the close that comes next, past any message before it, and demands the end of the stream.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let mut goodbye = None;
        loop {
            match self.ws.read() {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    goodbye = Some((code.into(), reason.to_string()));
                }
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return goodbye.expect("a close frame with a code"),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub(crate) fn close(mut self) {
        self.ws.close(None).unwrap();
        loop {
            match self.ws.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
