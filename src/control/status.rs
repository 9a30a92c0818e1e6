//! The status page: who watches, and when the node is looked at for them. Must never look while nobody does, nor keep more
//! than one event waiting for a watcher.
//!
//! ```text
//!          every second, while somebody watches      all shards have answered, or time is up
//!   due ─────────────────────────────────────▶ look ──────────────────────────▶ one event to each watcher,
//!    ▲     └─ the last survey is old ─▶ survey ─┘                                skipped where the last one waits
//!    └───────────────────────────────────────────────────────────────────────────┘
//! ```

use super::Control;
use super::calls::{Call, Caller, Purpose};
use crate::api::Reply;
use crate::api::pace::Pace;
use crate::api::status::{Node, Seen, Status, Survey};
use crate::clock::Now;
use crate::limits::{
    CALL_TIMEOUT_MS, STATUS_LOOK_MS, STATUS_RETRY_MS, STATUS_SURVEY_MS, STATUS_WATCHERS_MAX,
};
use crate::metrics::heap::Heap;
use crate::metrics::memory::SocketObjects;
use crate::proto::http::Refusal;
use crate::shard::mail::Question;
use crate::sys::footprint;

/// Who watches, and what is remembered from one look to the next.
#[derive(Debug)]
pub(super) struct Watch {
    /// Connections that get events, by key and generation.
    watchers: Vec<(usize, u64)>,
    /// When the next look for them is due, in milliseconds since the node started.
    due_ms: u64,
    /// One is under way.
    looking: bool,
    /// Looks by now, for whomever.
    looks: u64,
    pace: Pace,
    survey: Option<Survey>,
    /// The kernel's sizes do not change: they are read once.
    socket: Option<SocketObjects>,
    /// When the node began to serve, in milliseconds on its own clock.
    began_ms: u64,
}

impl Watch {
    /// Nobody watches a node that begins now with so many shards.
    pub(super) fn new(now: Now, shards: usize) -> Self {
        Self {
            watchers: Vec::new(),
            due_ms: 0,
            looking: false,
            looks: 0,
            pace: Pace::since_start(now.mono_ms, shards),
            survey: None,
            socket: None,
            began_ms: now.mono_ms,
        }
    }

    /// How many watch, and how often was looked, for `/metrics`.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.watchers.len() as u64, self.looks)
    }

    /// When the control thread has to look; None while nobody watches.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (!self.watchers.is_empty() && !self.looking).then_some(self.due_ms)
    }
}

impl Control {
    /// `GET /status/events`: from now on the connection gets an event a second.
    pub(super) fn watch(&mut self, now: Now, (key, generation): (usize, u64)) {
        self.forget_watchers();
        if self.watch.watchers.len() >= STATUS_WATCHERS_MAX {
            let refusal =
                Refusal::new(503, "unavailable", "as many watch the node as may: close one of them");
            return self.reply(
                now,
                Some((key, generation)),
                &Reply::refusal(&refusal.with_header("Retry-After", "5")),
            );
        }
        let retry_ms = fastrand::u64(STATUS_RETRY_MS / 2..=STATUS_RETRY_MS);
        let Some((conn, found)) = self.conns.get_mut(key) else { return };
        if *found == generation && conn.begin_stream(now, &stream_head(retry_ms)) {
            self.watch.watchers.push((key, generation));
        }
    }

    /// Looks at the node for those who watch, when it is time.
    pub(super) fn look_for_watchers(&mut self, now: Now) {
        if self.watch.due_ms().is_none_or(|due_ms| due_ms > now.mono_ms) {
            return;
        }
        self.forget_watchers();
        if !self.watch.watchers.is_empty() {
            self.watch.due_ms = now.mono_ms + STATUS_LOOK_MS;
            self.watch.looking = true;
            self.status(now, None);
        }
    }

    /// `GET /status`, or an event: a look at all shards, behind a survey where the last one is old.
    pub(super) fn status(&mut self, now: Now, caller: Caller) {
        if self.watch.survey.as_ref().is_some_and(|survey| now.mono_ms < survey.at_ms + STATUS_SURVEY_MS) {
            self.look(now, caller);
        } else {
            self.survey(now, caller, Purpose::Status);
        }
    }

    fn look(&mut self, now: Now, caller: Caller) {
        self.watch.looks += 1;
        let call = Call::look(caller, now.mono_ms, self.office.shards.len());
        self.ask(call, &Question::Look);
    }

    /// `GET /debug/density`, and the part of the status that takes the shards a walk.
    pub(super) fn survey(&mut self, now: Now, caller: Caller, purpose: Purpose) {
        let mailboxes = self.sender.heap_bytes() + self.office.control.heap_bytes();
        let own = Heap { mailboxes: mailboxes as u64, ..Heap::default() };
        let due_ms = now.mono_ms + CALL_TIMEOUT_MS;
        let call = Call::survey(caller, due_ms, self.office.shards.len(), own, purpose);
        self.ask(call, &Question::Density(Box::default()));
    }

    /// A survey is there: whoever it is for waits for a look now.
    pub(super) fn surveyed(&mut self, now: Now, caller: Caller, survey: Survey) {
        self.watch.survey = Some(Survey { at_ms: now.mono_ms, ..survey });
        self.look(now, caller);
    }

    /// A look is over: the answer to whoever asked for it, or an event to all who watch.
    pub(super) fn looked(&mut self, now: Now, caller: Caller, mut shards: Vec<Option<Seen>>) {
        for (seen, mailbox) in shards.iter_mut().zip(&self.office.shards) {
            if let Some(seen) = seen {
                seen.mailbox_bytes = mailbox.bytes() as u64;
            }
        }
        let node = self.about(now);
        let watch = &mut self.watch;
        let status = Status::new(&node, now.mono_ms, &shards, &mut watch.pace, watch.survey.as_ref());
        if caller.is_some() {
            return self.reply(now, caller, &Reply::json(200, &status));
        }
        watch.looking = false;
        let event = status.event();
        for &(key, generation) in &watch.watchers {
            if let Some((conn, found)) = self.conns.get_mut(key)
                && *found == generation
                && conn.push(now, &event).is_err()
            {
                self.conns.remove(key);
            }
        }
    }

    fn about(&mut self, now: Now) -> Node {
        let ready = self.is_ready();
        let ends_in_ms = self.drain.ends_ms().map(|ends_ms| ends_ms.saturating_sub(now.mono_ms));
        let drain = self.drain.order().map(|order| order.over_ms).zip(ends_in_ms);
        let settings = &self.settings;
        let watch = &mut self.watch;
        Node {
            name: settings.node.clone(),
            ready,
            drain,
            uptime_ms: now.mono_ms - watch.began_ms,
            time_ms: now.wall_ms,
            connections_max: settings.connections_max as u64,
            queued_bytes_max: settings.queued_bytes_max as u64,
            queue_soft_bytes: settings.queue_soft_bytes as u64,
            process: footprint::process(),
            socket: watch.socket.get_or_insert_with(|| footprint::socket_objects(settings.ipv6)).clone(),
            watchers: watch.watchers.len(),
        }
    }

    /// Connections that are gone watch no more.
    fn forget_watchers(&mut self) {
        let conns = &self.conns;
        let lives =
            |&(key, generation): &(usize, u64)| conns.get(key).is_some_and(|&(_, found)| found == generation);
        self.watch.watchers.retain(lives);
    }
}

/// The head of the stream, and how long its client is asked to wait before it connects again. The stream ends with the connection:
/// nothing has to be told apart behind it, and a proxy has no chunk to wait for.
fn stream_head(retry_ms: u64) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                X-Accel-Buffering: no\r\nConnection: close\r\n\r\n";
    format!("{head}retry: {retry_ms}\n\n").into_bytes()
}
