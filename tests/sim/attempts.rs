//! Publishers that try again: the same id of the same channel goes out once in five minutes, however often it is sent.

use crate::trace::count;
use crate::truth::{Channel, Number};
use fastrand::Rng;
use roost::clock::TICK_MS;
use roost::dialect::cursor::Cursor;
use std::collections::HashMap;

/// How long an id is remembered.
const KEEP_MS: u64 = 300_000;

/// All attempts of one world. Those with the same id are answered in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    ids: Vec<Id>,
    /// Attempts without an outcome: which id, and when they were sent.
    under_way: HashMap<Number, (usize, u64)>,
}

#[derive(Debug)]
struct Id {
    channel: Channel,
    /// Channels have the same ids: each has its own of them.
    text: String,
    /// The last one that went out.
    out: Option<Out>,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    cursor: Cursor,
    /// It was numbered between these moments.
    sent_ms: u64,
    told_ms: u64,
}

/// What an outcome means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It went out.
    New,
    /// An earlier one had gone out, and nobody may ever meet this one.
    Repeated,
}

impl Attempts {
    /// An id for a publication of a channel: a new one, or one that was sent before; most publications have none.
    pub(crate) fn draw(&mut self, channel: Channel, rng: &mut Rng) -> Option<usize> {
        if rng.bool() {
            return None;
        }
        let known: Vec<usize> = (0..self.ids.len()).filter(|&id| self.ids[id].channel == channel).collect();
        if known.is_empty() || rng.u8(..3) == 0 {
            self.ids.push(Id { channel, text: known.len().to_string(), out: None });
            return Some(self.ids.len() - 1);
        }
        Some(known[rng.usize(..known.len())])
    }

    /// All ids and their channels.
    pub(crate) fn known(&self) -> Vec<(usize, Channel)> {
        self.ids.iter().map(|known| known.channel).enumerate().collect()
    }

    /// A publication is sent with an id, which is this.
    pub(crate) fn sent(&mut self, id: usize, number: Number, now_ms: u64) -> Box<str> {
        self.under_way.insert(number, (id, now_ms));
        self.ids[id].text.as_str().into()
    }

    /// A publication was answered with this place.
    pub(crate) fn told(&mut self, number: Number, cursor: Cursor, now_ms: u64) -> Outcome {
        let Some((id, sent_ms)) = self.under_way.remove(&number) else { return Outcome::New };
        let before = self.ids[id].out;
        if let Some(Out { cursor: known, told_ms, .. }) = before
            && known == cursor
        {
            assert!(sent_ms < told_ms + KEEP_MS + TICK_MS, "{cursor} is answered again after its time");
            count("an id again");
            return Outcome::Repeated;
        }
        if let Some(Out { cursor: known, sent_ms, .. }) = before {
            assert!(now_ms - sent_ms >= KEEP_MS, "{known} went out a second time, as {cursor}");
            count("an id after its time");
        }
        self.ids[id].out = Some(Out { cursor, sent_ms, told_ms: now_ms });
        Outcome::New
    }
}
