//! Clients without a WebSocket: a stream of events as a browser reads it, and polls one behind another. Must never know a
//! scenario.

use serde_json::{Value, json};

use crate::wire::{Response, Wire, head};

/// One event, as the HTML standard dispatches it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    /// What stands in its own `id` line; none where it has no such line.
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// A stream of events that has begun.
pub(crate) struct Stream {
    pub(crate) wire: Wire,
    pub(crate) head: Response,
    /// The `retry` of the opening, in milliseconds.
    pub(crate) retry_ms: u64,
    /// What a browser would send as `Last-Event-ID`.
    pub(crate) last_id: String,
}

impl Stream {
    /// Asks for events and reads the opening; demands that it says when and where to come back, and is no event.
    pub(crate) fn open(mut wire: Wire, query: &str, headers: &[&str]) -> Self {
        let headers = [&["Host: roost.test"], headers].concat();
        let answer = wire.ask(head(&format!("GET /events?{query} HTTP/1.1"), &headers));
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut stream = Self { wire, head: answer, retry_ms: 0, last_id: String::new() };
        let opening = stream.block();
        let [retry, id] = &opening[..] else { panic!("expected `retry` and `id`, got {opening:?}") };
        let value = |line: &str, name| line.strip_prefix(name).unwrap_or_else(|| panic!("{line}")).to_owned();
        stream.retry_ms = value(retry, "retry: ").parse().unwrap();
        stream.last_id = value(id, "id: ");
        stream
    }

    /// The lines up to the next empty one. Comments are lines like others.
    pub(crate) fn block(&mut self) -> Vec<String> {
        self.wire.block().split('\n').map(str::to_owned).collect()
    }

    /// The next event, past any comment.
    pub(crate) fn event(&mut self) -> Event {
        loop {
            let block = self.block();
            let fields = || block.iter().filter_map(|line| line.split_once(": "));
            let all = |name| fields().filter(move |(found, _)| *found == name).map(|(_, value)| value);
            let data: Vec<&str> = all("data").collect();
            if data.is_empty() {
                assert!(block.iter().all(|line| line.starts_with(':')), "{block:?}");
                continue;
            }
            assert!(block.iter().all(|line| !line.contains('\r')), "a CR ends a line too: {block:?}");
            let [kind] = all("event").collect::<Vec<_>>()[..] else { panic!("one `event`: {block:?}") };
            let id = all("id").next().map(str::to_owned);
            if let Some(id) = &id {
                self.last_id.clone_from(id);
            }
            let data = serde_json::from_str(&data.join("\n")).unwrap();
            return Event { kind: kind.to_owned(), id, data };
        }
    }

    /// The next event, which is a notification: its offset.
    pub(crate) fn hear(&mut self, channel: &str) -> u64 {
        let event = self.event();
        let (kind, name) = (&event.data["type"], &event.data["channel"]);
        assert_eq!(
            (&*event.kind, kind, name),
            ("notification", &json!("notification"), &json!(channel)),
            "{event:?}"
        );
        assert!(event.id.is_some(), "{event:?}");
        event.data["offset"].as_u64().unwrap()
    }

    /// The places in the last `id`.
    pub(crate) fn places(&self) -> Vec<&str> {
        self.last_id.split(',').collect()
    }
}

/// A client that sends one request behind another.
pub(crate) struct Poller {
    pub(crate) wire: Wire,
}

impl From<Wire> for Poller {
    fn from(wire: Wire) -> Self {
        Self { wire }
    }
}

impl Poller {
    /// Begins a poll.
    pub(crate) fn begin(&mut self, query: &str) {
        self.wire.send(&poll(query));
    }

    /// Demands an answer; returns messages and cursors.
    pub(crate) fn answer(&mut self) -> (Vec<Value>, Value) {
        let answer = self.wire.response();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        let mut body = answer.json();
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        let Value::Array(messages) = body["messages"].take() else { panic!("{answer:?}") };
        (messages, body["cursors"].take())
    }

    /// Polls and waits for the answer.
    pub(crate) fn poll(&mut self, query: &str) -> (Vec<Value>, Value) {
        self.begin(query);
        self.answer()
    }

    /// Asks where the channel stands.
    pub(crate) fn cursor(&mut self, channel: &str) -> String {
        let (messages, cursors) = self.poll(&format!("channel={channel}"));
        assert_eq!(messages, [] as [Value; 0]);
        cursors[channel].as_str().unwrap_or_else(|| panic!("{cursors}")).to_owned()
    }

    /// Says one message; returns the answer.
    pub(crate) fn say(&mut self, message: impl ToString) -> Value {
        let answer = self.wire.ask(call(&message.to_string()));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        answer.json()
    }
}

/// The request of a poll.
pub(crate) fn poll(query: &str) -> Vec<u8> {
    head(&format!("GET /poll?{query} HTTP/1.1"), &["Host: roost.test"])
}

/// The request that says a message.
pub(crate) fn call(message: &str) -> Vec<u8> {
    let length = format!("Content-Length: {}", message.len());
    let mut request =
        head("POST /poll HTTP/1.1", &["Host: roost.test", "Content-Type: application/json", &length]);
    request.extend_from_slice(message.as_bytes());
    request
}

/// The epoch of a cursor.
pub(crate) fn epoch(cursor: &str) -> &str {
    cursor.split_once('-').unwrap().0
}
