//! A client that keeps book: what it asked, what it is owed, what it got. Its decoder is tungstenite's.

use crate::socket::{ClientEnd, SharedWire};
use crate::truth::Truth;
use fastrand::Rng;
use roost::proto::handshake::{Request, check_switching, encode_key, put_request};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::rc::Rc;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

/// What a client may be excused for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Excuses {
    /// It stalled, or its window is small: it may be cut as slow.
    pub(crate) slow: bool,
    /// Time leapt: it may have been given up.
    pub(crate) late: bool,
    /// It sent garbage, said goodbye or reset the connection.
    pub(crate) own_doing: bool,
    /// The node drains.
    pub(crate) drained: bool,
}

/// What a client knows of one channel.
#[derive(Debug, Default)]
struct Followed {
    /// Answers owed, in order: the id and the kind of request.
    owed: VecDeque<(u64, &'static str, String)>,
    /// The next offset, while subscribed.
    next: Option<u64>,
}

#[derive(Debug)]
enum Stage {
    Upgrading(Vec<u8>),
    Open(Box<WebSocket<ClientEnd>>),
    Over,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) wire: SharedWire,
    pub(crate) outbox: Rc<RefCell<VecDeque<u8>>>,
    pub(crate) excuses: Excuses,
    pub(crate) stalled: bool,
    pub(crate) saying_goodbye: bool,
    key: String,
    stage: Stage,
    channels: HashMap<String, Followed>,
    /// The last place seen in each channel, for the next connection.
    pub(crate) cursors: HashMap<String, String>,
    epochs: HashMap<String, String>,
    next_id: u64,
    pub(crate) notifications: u64,
}

impl Client {
    /// A client that asks for `query` in its upgrade.
    pub(crate) fn new(wire: SharedWire, query: &[(String, Option<String>)], rng: &mut Rng) -> Self {
        let key = encode_key(rng.u128(..).to_le_bytes());
        let mut target = "/live?".to_owned();
        for (channel, _) in query {
            target += &format!("channel={channel}&");
        }
        if query.iter().any(|(_, since)| since.is_some()) {
            for (_, since) in query {
                target += &format!("since={}&", since.as_deref().unwrap_or(""));
            }
        }
        let mut bytes = Vec::new();
        let request =
            Request { host: "node:8080", target: target.trim_end_matches('&'), key: &key, headers: &[] };
        put_request(&mut bytes, &request);
        let mut client = Self {
            wire,
            outbox: Rc::new(RefCell::new(bytes.into())),
            excuses: Excuses::default(),
            stalled: false,
            saying_goodbye: false,
            key,
            stage: Stage::Upgrading(Vec::new()),
            channels: HashMap::new(),
            cursors: HashMap::new(),
            epochs: HashMap::new(),
            next_id: 0,
            notifications: 0,
        };
        for (channel, since) in query {
            client.owe(channel, 0, "subscribe", since.clone().unwrap_or_default());
        }
        client
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_)) && !self.saying_goodbye
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Sends a request about a channel.
    pub(crate) fn ask(&mut self, kind: &'static str, channel: &str, extra: Option<String>) {
        self.next_id += 1;
        let id = self.next_id;
        let member = match (&extra, kind) {
            (Some(data), "publish") => format!(r#","data":{data}"#),
            (Some(since), _) => format!(r#","since":"{since}""#),
            (None, _) => String::new(),
        };
        self.owe(channel, id, kind, extra.unwrap_or_default());
        self.say(&format!(r#"{{"type":"{kind}","channel":"{channel}","id":{id}{member}}}"#));
    }

    fn owe(&mut self, channel: &str, id: u64, kind: &'static str, extra: String) {
        self.channels.entry(channel.to_owned()).or_default().owed.push_back((id, kind, extra));
    }

    fn say(&mut self, text: &str) {
        if let Stage::Open(socket) = &mut self.stage {
            socket.send(Message::text(text)).expect("the outbox takes everything");
        }
    }

    pub(crate) fn goodbye(&mut self) {
        self.excuses.own_doing = true;
        self.saying_goodbye = true;
        if let Stage::Open(socket) = &mut self.stage {
            // Only says that it is closing.
            let _ = socket.close(None);
            let _ = socket.flush();
        }
    }

    /// Reads all that is there; every message is held against what is owed. Returns what was read.
    pub(crate) fn read(&mut self, truth: &mut Truth, trace: &mut Vec<String>) {
        if let Stage::Upgrading(head) = &mut self.stage {
            let mut end = ClientEnd { wire: self.wire.clone(), outbox: self.outbox.clone() };
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                match end.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    Ok(_) => return self.over(None),
                    Err(_) => return,
                }
            }
            if head.starts_with(b"HTTP/1.1 408")
                || head.starts_with(b"HTTP/1.1 503")
                || head.starts_with(b"HTTP/1.1 400")
            {
                let status = String::from_utf8_lossy(&head[9..12]).into_owned();
                trace.push(format!("refused {status}"));
                let excused = match &*status {
                    "408" => self.excuses.late,
                    "503" => self.excuses.drained,
                    _ => self.excuses.own_doing,
                };
                assert!(excused, "an upgrade was refused with {status} for no reason");
                self.stage = Stage::Over;
                self.wire.borrow_mut().to_client.clear();
                self.outbox.borrow_mut().clear();
                self.wire.borrow_mut().send_fin();
                return;
            }
            check_switching(head, &self.key).expect("nothing but a 101 comes first");
            trace.push("upgraded".into());
            let socket = WebSocket::from_raw_socket(end, Role::Client, None);
            self.stage = Stage::Open(Box::new(socket));
        }
        while let Stage::Open(socket) = &mut self.stage {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    trace.push(text.to_string());
                    self.hear(&text, truth);
                }
                Ok(Message::Close(frame)) => {
                    let code = frame.as_ref().map(|frame| u16::from(frame.code));
                    trace.push(format!("close {code:?}"));
                    // What tungstenite answers with.
                    let _ = socket.flush();
                    self.over(Some(code));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(Error::ConnectionClosed) => self.over(None),
                Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                    self.over(None)
                }
                Err(Error::Io(_)) => self.over(None),
                Err(error) => panic!("what the node sent does not decode: {error}"),
            }
        }
    }

    fn over(&mut self, code: Option<Option<u16>>) {
        let Excuses { slow, late, own_doing, drained } = self.excuses;
        let excused = match code {
            Some(Some(1001)) => drained,
            Some(Some(1002 | 1007 | 1009 | 1003)) => own_doing,
            Some(Some(4003)) => slow,
            Some(Some(4004)) => late,
            // Answers to our own goodbye.
            Some(_) => own_doing,
            // Cut while it stalled, given up after a leap, or its own end came first.
            None => slow || late || own_doing || drained,
        };
        assert!(excused, "a connection ended with {code:?} for no reason: {:?}", self.excuses);
        self.stage = Stage::Over;
        let mut wire = self.wire.borrow_mut();
        wire.to_client.clear();
        let rest: Vec<u8> = self.outbox.borrow_mut().drain(..).collect();
        wire.send(rest);
        wire.send_fin();
    }

    fn hear(&mut self, text: &str, truth: &mut Truth) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        let kind = message["type"].as_str().expect("a type").to_owned();
        let channel = message["channel"].as_str().unwrap_or_default().to_owned();
        match &*kind {
            "notification" => self.notified(&channel, &message, text, truth),
            "subscribed" => self.subscribed(&channel, &message, truth),
            "gap" => {
                let head = self.channels[&channel].next.expect("gaps come to subscribers") - 1;
                assert_eq!(message["to"].as_u64(), Some(head), "{text}");
                assert!(message["from"].as_u64() <= Some(head + 1), "{text}");
            }
            "unsubscribed" => {
                self.settle(&channel, &message, "unsubscribe");
                let next = self.channels.get_mut(&channel).and_then(|followed| followed.next.take());
                assert!(next.is_some(), "unsubscribed from {channel} without following it");
            }
            "published" => {
                let data = self.settle(&channel, &message, "publish");
                truth.agree(&channel, message["offset"].as_u64().expect("an offset"), &data);
            }
            "error" => self.refused(&message, text),
            other => panic!("nobody asked for {other}: {text}"),
        }
    }

    fn notified(&mut self, channel: &str, message: &Value, text: &str, truth: &mut Truth) {
        let offset = message["offset"].as_u64().expect("an offset");
        let followed = self.channels.get_mut(channel).expect("a channel it asked for");
        let next = followed.next.as_mut().expect("notifications come to subscribers");
        assert_eq!(offset, *next, "lost, doubled or out of order in {channel}");
        *next += 1;
        self.notifications += 1;
        let data = text
            .split_once(r#""data":"#)
            .and_then(|(_, rest)| rest.split_once(r#","timestamp""#))
            .expect("data")
            .0;
        truth.agree(channel, offset, data);
        self.cursors.insert(channel.to_owned(), format!("{}-{offset}", self.epochs[channel]));
    }

    fn subscribed(&mut self, channel: &str, message: &Value, truth: &mut Truth) {
        let since = self.settle(channel, message, "subscribe");
        let cursor = message["cursor"].as_str().expect("a cursor");
        let (epoch, offset) = cursor.split_once('-').expect("EPOCH-OFFSET");
        truth.note_epoch(channel, epoch);
        let recovered = (!since.is_empty()).then(|| since == cursor);
        assert_eq!(
            message.get("recovered").and_then(Value::as_bool),
            recovered,
            "since {since}, now {cursor}"
        );
        let followed = self.channels.get_mut(channel).expect("asked for");
        assert_eq!(followed.next, None, "subscribed twice");
        followed.next = Some(offset.parse::<u64>().expect("a number") + 1);
        self.cursors.insert(channel.to_owned(), cursor.to_owned());
        self.epochs.insert(channel.to_owned(), epoch.to_owned());
    }

    /// The answer that is owed first for a channel; answers keep the order of the requests.
    fn settle(&mut self, channel: &str, message: &Value, kind: &str) -> String {
        let owed = self.channels.get_mut(channel).and_then(|followed| followed.owed.pop_front());
        let (id, owed_kind, extra) =
            owed.unwrap_or_else(|| panic!("nothing is owed for {channel}: {message}"));
        assert_eq!(
            message.get("id").and_then(Value::as_u64).unwrap_or(0),
            id,
            "answers of {channel} out of order"
        );
        assert_eq!(owed_kind, kind);
        extra
    }

    fn refused(&mut self, message: &Value, text: &str) {
        let Some(id) = message.get("id").and_then(Value::as_u64) else {
            // Garbage may happen to be a frame.
            return assert!(self.excuses.own_doing, "every request had an id: {text}");
        };
        let owing = |followed: &Followed| followed.owed.iter().any(|(owed, _, _)| *owed == id);
        let found = self.channels.iter().find(|(_, followed)| owing(followed));
        let channel = found.map(|(channel, _)| channel.clone()).expect("a request that is owed an answer");
        let followed = self.channels.get_mut(&channel).expect("found");
        let (first, kind, _) = followed.owed.pop_front().expect("found");
        assert_eq!(
            first, id,
            "answers of {channel} out of order: {text}; owed besides: {kind} {:?}",
            followed.owed
        );
        let fits = match message["code"].as_str().expect("a code") {
            "already_subscribed" => kind == "subscribe" && followed.next.is_some(),
            "not_subscribed" => kind == "unsubscribe" && followed.next.is_none(),
            "too_many_channels" => kind == "subscribe",
            "forbidden" => kind == "publish" && !channel.starts_with("open:"),
            "overloaded" => kind == "publish",
            _ => false,
        };
        assert!(fits, "{kind} was answered with {text}");
    }

    /// After everything has settled: nothing is owed, and it has everything up to the head.
    pub(crate) fn check_settled(&self, head: impl Fn(&str) -> u64) {
        for (channel, followed) in &self.channels {
            assert!(followed.owed.is_empty(), "still owed for {channel}: {:?}", followed.owed);
            if let Some(next) = followed.next {
                assert_eq!(next, head(channel) + 1, "{channel} is not at its head");
            }
        }
    }

    pub(crate) fn follows(&self) -> usize {
        self.channels.values().filter(|followed| followed.next.is_some()).count()
    }
}
