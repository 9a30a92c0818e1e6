//! The node's drain: not ready first, then goodbyes, then the end of the process where a signal asked for it. Must never say a
//! goodbye before the node has said that it is not ready.
//!
//! ```text
//!            POST /drain, SIGTERM          the delay is over             SIGTERM, and all shards are done
//!   Serving ─────────────────────▶ Announced ────────────▶ UnderWay ──────────────────────────────▶ the end
//!      ▲                               │                      │
//!      └───────────────────────────────┴──────────────────────┘ DELETE /drain; the time is over where some stay
//! ```

use super::Control;
use super::calls::{Call, Caller, Counted};
use crate::api::Reply;
use crate::api::drain::{Progress, Wish};
use crate::clock::Now;
use crate::hub::ShardId;
use crate::limits::DRAIN_FAREWELL_MS;
use crate::metrics::Counters;
use crate::proto::http::Refusal;
use crate::shard::mail::{DrainOrder, Mail, Parcel, Question};
use std::time::Duration;

/// Where the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// It takes connections.
    Serving,
    /// It says that it is not ready; the first goodbye comes at this moment, in milliseconds since the node started.
    Announced(DrainOrder, u64),
    /// Goodbyes are said, the last one at this moment.
    UnderWay(DrainOrder, u64),
}

impl Drain {
    pub(super) fn order(self) -> Option<DrainOrder> {
        match self {
            Self::Serving => None,
            Self::Announced(order, _) | Self::UnderWay(order, _) => Some(order),
        }
    }

    /// Whether the node tells others to go elsewhere.
    pub(super) fn is_ready(self) -> bool {
        self.order().is_none_or(|order| !order.is_for_all())
    }

    /// Whether the process ends behind it.
    fn leaves(self) -> bool {
        self.order().is_some_and(|order| order.leaves)
    }

    /// When the last goodbye is said, in milliseconds since the node started.
    pub(super) fn ends_ms(self) -> Option<u64> {
        match self {
            Self::Serving => None,
            Self::Announced(order, at_ms) => Some(at_ms + order.over_ms),
            Self::UnderWay(_, ends_ms) => Some(ends_ms),
        }
    }

    /// When something changes by itself, likewise.
    pub(super) fn due_ms(self) -> Option<u64> {
        match self {
            Self::Announced(_, at_ms) => Some(at_ms),
            Self::UnderWay(order, ends_ms) if !order.is_for_all() => Some(ends_ms),
            Self::Serving | Self::UnderWay(..) => None,
        }
    }

    /// What the supervisor is told that the node does.
    pub(super) fn words(self) -> &'static str {
        match self {
            _ if self.is_ready() => "serving",
            Self::Announced(..) => "about to say goodbye to",
            _ => "saying goodbye to",
        }
    }
}

impl Control {
    /// The process was told to end.
    pub(super) fn signalled(&mut self, now: Now) {
        let count = self.signals.ends.count();
        if count == 0 {
            return;
        }
        if self.drain.leaves() || count > 1 {
            tracing::warn!("second signal: leaving at once");
            std::process::exit(1);
        }
        let order = DrainOrder::to_leave(millis(self.settings.drain_over));
        self.tell_stopping(self.delay_ms() + order.over_ms + DRAIN_FAREWELL_MS);
        self.announce(now, order);
    }

    /// `POST /drain`.
    pub(super) fn drain(&mut self, now: Now, caller: Caller, body: &[u8]) {
        let wish = match Wish::from_json(body) {
            Ok(_) if self.drain.leaves() => return self.reply(now, caller, &Reply::refusal(&leaving())),
            Ok(wish) => wish,
            Err(refusal) => return self.reply(now, caller, &Reply::refusal(&refusal)),
        };
        let Wish { over_ms, percent, oldest } = wish;
        let over_ms = over_ms.unwrap_or_else(|| millis(self.settings.drain_over));
        self.announce(now, DrainOrder { over_ms, percent: percent.unwrap_or(100), oldest, leaves: false });
        self.ask_for_drain(now, caller);
    }

    /// `DELETE /drain`.
    pub(super) fn resume(&mut self, now: Now, caller: Caller) {
        if self.drain.leaves() {
            return self.reply(now, caller, &Reply::refusal(&leaving()));
        }
        if self.drain != Drain::Serving {
            tracing::info!("the drain is stopped: those who are still here stay");
            self.drain = Drain::Serving;
            self.tell_all(|| Mail::Resume);
        }
        self.ask_for_drain(now, caller);
    }

    /// `GET /drain`, and what the other calls are answered with.
    pub(super) fn ask_for_drain(&mut self, now: Now, caller: Caller) {
        let call = Call::drain(caller, now.mono_ms, self.office.shards.len());
        self.ask(call, &Question::Counters);
    }

    /// All shards have said how far they are.
    pub(super) fn drain_progress(&self, now: Now, shards: &[Option<Counted>]) -> Progress {
        let sum =
            |read: fn(&Counters) -> u64| shards.iter().flatten().map(|counted| read(&counted.counters)).sum();
        let order = self.drain.order();
        Progress {
            draining: order.is_some(),
            ready: self.drain.is_ready(),
            over_ms: order.map(|order| order.over_ms),
            ends_in_ms: self.drain.ends_ms().map(|ends_ms| ends_ms.saturating_sub(now.mono_ms)),
            left: sum(|counters| counters.drain_left),
            connections: sum(|counters| counters.connections),
        }
    }

    /// Does what is due by now.
    pub(super) fn drain_on(&mut self, now: Now) {
        match self.drain {
            Drain::Announced(order, at_ms) if at_ms <= now.mono_ms => {
                self.drain = Drain::UnderWay(order, now.mono_ms + order.over_ms);
                tracing::info!(?order, "saying goodbye");
                self.tell_all(|| Mail::Drain(order));
            }
            Drain::UnderWay(order, ends_ms) if !order.is_for_all() && ends_ms <= now.mono_ms => {
                tracing::info!(?order, "the drain is over: the others stay");
                self.drain = Drain::Serving;
            }
            Drain::Serving | Drain::Announced(..) | Drain::UnderWay(..) => {}
        }
    }

    /// The node is not ready from now on, where all are to go. Goodbyes begin once others have had time to notice.
    fn announce(&mut self, now: Now, order: DrainOrder) {
        // Who was told to stop sending clients here was told already.
        let delay_ms = if order.is_for_all() && self.drain.is_ready() { self.delay_ms() } else { 0 };
        tracing::info!(?order, delay_ms, "a drain begins");
        self.drain = Drain::Announced(order, now.mono_ms + delay_ms);
        self.drain_on(now);
    }

    fn delay_ms(&self) -> u64 {
        millis(self.settings.drain_delay)
    }

    /// Sends the same mail to every shard.
    pub(super) fn tell_all(&mut self, mail: impl Fn() -> Mail) {
        for shard in 0..self.office.shards.len() {
            self.sender.sort(Parcel::Shard(ShardId(shard as u16), mail()));
        }
    }
}

fn leaving() -> Refusal {
    Refusal::new(409, "conflict", "the process was told to end, and its drain cannot be changed any more")
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
