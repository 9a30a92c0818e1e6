//! Floor 1: one peer. Its state in one cache line, and what it owns only while it is active.
//! Must never know a channel's subscribers, another connection, or how bytes reach the kernel.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod active;
pub mod ages;
pub mod out_queue;
pub mod places;
pub mod rate;
pub mod replays;
pub mod socket;
pub mod subscriptions;

use crate::clock::{Now, Tick};
use crate::lag::Lags;
use crate::metrics::Transport;
use crate::metrics::heap::slot_bytes;
use crate::proto::origin::Reader;
use active::Active;
use out_queue::OutQueue;
use rate::Rate;
use subscriptions::Subscriptions;

/// Where a connection is in its life.
///
/// ```text
///                   101 (/live)            either side's close frame
///   ┌─▶ Head ─┬──────────▶ Live ───┬──────────────────────────────────────┐
///   │         ├──────────▶ Echo ───┤ 101 (/echo)                          │
///   │         ├──────────▶ Stream ─┘ 200 (/events)                        ▼
///   │         ├──────────▶ Poll ──┐                  a refusal ─────▶ Lingering ─── their FIN, or time is up ──▶ Dead
///   │         └▶ Body ───▶ Call ──┤ the answer            ▲                                                        ▲
///   │                             ▼                       │                                                        │
///   └─ the next request ──────── Kept ────────────────────┘ there is none                                          │
///                                                                                                                  │
///      the stream ends without a goodbye, in any phase ────────────────────────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the whole request head. `since` is when the connection was accepted, or the head's first byte came.
    Head,
    /// A WebSocket that speaks the native dialect. `since` is when its last byte came.
    Live,
    /// A WebSocket that gets its own messages back. `since` is when its last byte came.
    Echo,
    /// A stream of events, which says nothing more itself. `since` is when it was last sent a sign of life.
    Stream,
    /// A poll that is held until there is something for it. `since` is when it has waited for long enough.
    Poll,
    /// The body of a client's message is on its way. `since` is when its head came.
    Body,
    /// A client's message is being answered: an owner was asked.
    Call,
    /// A request was answered, and another one may come. `since` is when that was.
    Kept,
    /// Our last byte is written or queued. Behind it goes our FIN; what still comes is thrown away until theirs,
    /// because closing with unread bytes makes the kernel send a reset that can overtake our last answer
    /// (RFC 9112 §9.6). `since` is when it began, or when the peer last took some of what is queued.
    Lingering,
    /// Ended; the end of the turn frees it.
    Dead,
}

impl Phase {
    /// Whether it hears of channels and of what it asked: after the upgrade or the request, before any close.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Live | Self::Echo | Self::Stream | Self::Poll | Self::Call => true,
            Self::Head | Self::Body | Self::Kept | Self::Lingering | Self::Dead => false,
        }
    }

    /// In which way it is connected, if it has said so.
    #[must_use]
    pub const fn transport(self) -> Option<Transport> {
        match self {
            Self::Live | Self::Echo => Some(Transport::WebSocket),
            Self::Stream => Some(Transport::Sse),
            Self::Poll | Self::Body | Self::Call | Self::Kept => Some(Transport::Poll),
            Self::Head | Self::Lingering | Self::Dead => None,
        }
    }

    /// Whether it was told to go, or is gone.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Lingering | Self::Dead)
    }

    /// Whether frames are exchanged.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Live | Self::Echo)
    }
}

/// Whether channels of a connection lag (`hub::subscribers` knows which), and what happens next.
///
/// ```text
///              a pass meets it               its queue is empty and its rest over
///   Level ─────────────────────▶ Waiting ──────────────────────────────▶ Listed
///     ▲                             ▲     there is more than a page of it  │
///     │                             └──────────────────────────────────────┤
///     └───────────────────────────────── it has got the latest of all ─────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// None lags.
    Level,
    /// Some lag; it takes nothing more for now.
    Waiting,
    /// Some lag, and it stands on a list of those that get the latest next.
    Listed,
}

/// One connection: everything that an idle one owns.
#[derive(Debug)]
pub struct Conn<S> {
    /// The peer's socket.
    pub socket: S,
    /// Distinguishes this connection from earlier ones in the same slot.
    pub generation: u32,
    /// The moment that the phase counts from.
    pub since: Tick,
    /// The pace of the peer's messages.
    pub rate: Rate,
    /// What only an active connection needs; given back when idle.
    pub active: Option<Box<Active>>,
    /// The channels it is subscribed to, or about to be.
    pub subscriptions: Subscriptions,
    /// Its requests that owners on other shards have not answered yet.
    pub asked: u32,
    /// Where it is in its life.
    pub phase: Phase,
    /// A ping was sent since the last byte came.
    pub pinged: bool,
    /// What is said to it waits for the owners it asked during the handshake, so that 101, or the head of a stream,
    /// and their answers are one write.
    pub corked: bool,
    /// It stands on the ready-again list.
    pub listed: bool,
    /// The peer ended its side; read on to the end although the last read was short.
    pub read_closed: bool,
    /// Whether channels lag.
    pub catch_up: CatchUp,
    /// Nobody looks at the client: it gets the latest of everything, in one delivery a second.
    pub hidden: bool,
    /// It had such a delivery less than a second ago, and stands among those that rest.
    pub resting: bool,
    /// The request under way may be followed by another one.
    pub keep_alive: bool,
    /// Whose pages may read the answers.
    pub reader: Reader,
}

// An idle connection is one cache line, also in the slab, where a vacant slot must not make it larger. A socket is its
// descriptor, four bytes (mio adds a check in debug builds).
const _: () = assert!(slot_bytes::<Conn<u32>>() <= 64);

impl<S> Conn<S> {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(socket: S, generation: u32, now: Now) -> Self {
        Self {
            socket,
            generation,
            since: now.tick(),
            rate: Rate::new(now),
            active: None,
            subscriptions: Subscriptions::default(),
            asked: 0,
            phase: Phase::Head,
            pinged: false,
            corked: false,
            listed: false,
            read_closed: false,
            catch_up: CatchUp::Level,
            hidden: false,
            resting: false,
            keep_alive: false,
            reader: Reader::SAME_ORIGIN,
        }
    }

    /// The box of an active connection, made when there is none.
    pub fn activate(&mut self) -> &mut Active {
        self.active.get_or_insert_with(Box::default)
    }

    /// Changes the queue. This is the only door to it, so that what a shard's connections have queued together is known at
    /// all times: `lags` is the shard's, `slot` the connection's own.
    pub fn change_queue<T>(
        &mut self,
        lags: &mut Lags,
        slot: u32,
        change: impl FnOnce(&mut OutQueue, &mut S) -> T,
    ) -> T {
        let Active { out, standing, .. } = &mut **self.active.get_or_insert_with(Box::default);
        let outcome = change(out, &mut self.socket);
        lags.note(standing, slot, out.weight());
        outcome
    }

    /// Throws the box away, whatever is in it.
    pub fn deactivate(&mut self, lags: &mut Lags, slot: u32) {
        if let Some(mut active) = self.active.take() {
            lags.note(&mut active.standing, slot, 0);
        }
    }

    /// Gives the box back when nothing in it is needed any more.
    pub fn settle(&mut self) {
        if self.active.as_ref().is_some_and(|active| active.is_idle()) {
            self.active = None;
        }
    }

    /// Whether what is said to it still waits for owners.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.corked && self.asked > 0 && self.phase.is_open()
    }

    /// Bytes waiting to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.active.as_ref().map_or(0, |active| active.out.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_gives_its_box_back() {
        let (mut conn, mut lags) = (Conn::new((), 1, Now::default()), Lags::default());
        conn.change_queue(&mut lags, 7, |out, _| out.push_owned(b"x".to_vec()));
        conn.settle();
        assert_eq!(conn.queued_bytes(), 1);
        conn.change_queue(&mut lags, 7, |out, _| *out = OutQueue::default());
        conn.settle();
        assert!(conn.active.is_none());
    }

    #[test]
    fn what_is_queued_is_known_until_the_box_is_thrown_away() {
        let (mut conn, mut lags) = (Conn::new((), 1, Now::default()), Lags::default());
        conn.change_queue(&mut lags, 7, |out, _| out.push_owned(b"four".to_vec()));
        let weight = conn.active.as_ref().map(|active| active.out().weight());
        assert_eq!((lags.largest(), Some(lags.bytes())), (Some(7), weight));
        conn.deactivate(&mut lags, 7);
        assert_eq!((lags.len(), lags.bytes()), (0, 0));
    }
}
