//! Where one connection is in each channel: whatever comes of a channel must follow what came before, or a gap must say why it
//! does not.

use crate::book::Message;
use crate::trace::count;
use crate::truth::{Channel, Truth};
use roost::config::policy::Slow;
use roost::dialect::cursor::Cursor;
use std::collections::BTreeMap;

/// A place in a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The last offset received, or passed over by a gap.
    pub(crate) at: Cursor,
    flow: Flow,
}

/// What may come next of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// What is published.
    Live,
    /// A gap. Up to `head` everything was missed: all of it is lost, or only the beginning.
    Gap { head: u64, whole: bool },
    /// What was missed, with a gap in it where the node had no more of it when it came to that.
    Past,
    /// The same, behind a cursor of which nobody has said yet what it is worth.
    Unjudged,
}

/// The places of one connection, in the channels that it follows.
#[derive(Debug, Default)]
pub(crate) struct Places {
    by_channel: BTreeMap<Channel, Place>,
    /// The client ever said that nobody looks at it.
    pub(crate) was_hidden: bool,
    /// Data comes line by line, so that every line end in it is a LF.
    pub(crate) as_lines: bool,
}

/// A notification that came in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Where the client is now.
    pub(crate) at: Cursor,
    /// The node's wall clock.
    pub(crate) wall_ms: u64,
    /// It may come from what is kept for those who come back or lag: it need not have been queued.
    pub(crate) excused: bool,
}

impl Places {
    pub(crate) fn contains(&self, channel: Channel) -> bool {
        self.by_channel.contains_key(&channel)
    }

    /// Where it is in a channel.
    pub(crate) fn at(&self, channel: Channel) -> Option<Cursor> {
        self.by_channel.get(&channel).map(|place| place.at)
    }

    /// The channels that it follows.
    pub(crate) fn channels(&self) -> impl Iterator<Item = Channel> {
        self.by_channel.keys().copied()
    }

    /// A channel of which a gap must come next.
    pub(crate) fn owes_gap(&self) -> Option<Channel> {
        let mut owed = self.by_channel.iter().filter(|(_, place)| matches!(place.flow, Flow::Gap { .. }));
        owed.next().map(|(channel, _)| *channel)
    }

    /// It follows a channel from its head, or from a cursor of which it was told what that is worth. True when it has all.
    pub(crate) fn subscribed(
        &mut self,
        channel: Channel,
        head: Cursor,
        since: Option<(Cursor, bool)>,
        asked_ms: u64,
        truth: &Truth,
    ) -> bool {
        let place = match since {
            Some((since, recovered)) => resumed(since, head, recovered),
            None => Place { at: head, flow: Flow::Live },
        };
        if place.flow == Flow::Past {
            count("recovered what was missed");
            let had = truth.past.as_ref().is_none_or(|past| {
                place.at.offset >= past.head(channel)
                    || past.lost_ms(channel, place.at.offset + 1) >= asked_ms
            });
            assert!(had, "{place:?} of {channel} cannot be recovered: the next one was lost before");
        }
        let before = self.by_channel.insert(channel, place);
        assert!(before.is_none(), "subscribed twice");
        place.flow == Flow::Live
    }

    /// It follows a channel from its head. Unless it is live at once, it first asks whether it has missed something meanwhile.
    pub(crate) fn join(&mut self, channel: Channel, head: Cursor, live: bool) {
        let flow = if live { Flow::Live } else { Flow::Past };
        let before = self.by_channel.insert(channel, Place { at: head, flow });
        assert!(before.is_none(), "named twice");
    }

    /// It follows a channel from a cursor, and what comes will say what that is worth.
    pub(crate) fn come_back(&mut self, channel: Channel, since: Cursor) {
        let before = self.by_channel.insert(channel, Place { at: since, flow: Flow::Unjudged });
        assert!(before.is_none(), "named twice");
    }

    /// The owner has answered where the channel is. True when the client has missed nothing until now, if its place is one that
    /// was `known` when it asked.
    pub(crate) fn is_level(&mut self, channel: Channel, known: bool, truth: &Truth) -> bool {
        let place = self.by_channel.get_mut(&channel).expect("it follows the channel");
        let head = truth.past.as_ref().map(|past| past.head(channel));
        if known && Some(place.at.offset) == head {
            place.flow = Flow::Live;
        }
        place.flow == Flow::Live
    }

    /// It follows a channel no more.
    pub(crate) fn leave(&mut self, channel: Channel) {
        let place = self.by_channel.remove(&channel).expect("it followed the channel");
        assert!(!matches!(place.flow, Flow::Gap { .. }), "a gap was owed");
    }

    pub(crate) fn notification(
        &mut self,
        message: &Message<'_>,
        text: &str,
        channel: Channel,
        truth: &mut Truth,
    ) -> Taken {
        let name = &truth.names[channel];
        let data = message.data.expect("data").get();
        let offset = message.offset.expect("an offset");
        let wall_ms = message.timestamp.expect("a timestamp");
        let exact = format!(
            r#"{{"type":"notification","channel":"{name}","data":{data},"timestamp":{wall_ms},"offset":{offset}}}"#
        );
        assert_eq!(text, exact, "a notification has five members");
        let place =
            self.by_channel.get_mut(&channel).unwrap_or_else(|| panic!("it follows no {name}: {text}"));
        assert!(!matches!(place.flow, Flow::Gap { .. }), "the gap comes before what follows it");
        assert_eq!(offset, place.at.offset + 1, "lost, doubled or out of order in {name}");
        let replayed = matches!(place.flow, Flow::Past | Flow::Unjudged);
        if replayed {
            count("replayed");
            place.flow = Flow::Past;
        }
        let excused = replayed || self.was_hidden || truth.slow[channel] != Slow::Disconnect;
        place.advance(offset, channel, truth);
        truth.met(channel, place.at, data, self.as_lines);
        Taken { at: place.at, wall_ms, excused }
    }

    /// Passes over what is lost; returns where the client is now.
    pub(crate) fn gap(&mut self, message: &Message<'_>, channel: Channel, truth: &mut Truth) -> Cursor {
        let place = self.by_channel.get_mut(&channel).expect("a gap comes to subscribers");
        let (from, to) = message.from.zip(message.to).expect("a gap has two ends");
        let behind: Cursor = message.cursor.and_then(|text| text.parse().ok()).expect("a cursor");
        if place.flow == Flow::Unjudged && (behind.epoch != place.at.epoch || to < place.at.offset) {
            // A cursor of another numbering, or of the future.
            *place = Place {
                at: Cursor { offset: 0, ..behind },
                flow: Flow::Gap { head: behind.offset, whole: true },
            };
        }
        assert_eq!(from, place.at.offset + 1, "the gap begins where the client is");
        let cursor = Cursor { epoch: place.at.epoch, offset: to };
        assert_eq!(message.cursor, Some(cursor.to_string().as_str()), "the cursor behind the gap");
        truth.seen(channel, cursor);
        let conflates = self.was_hidden || truth.slow[channel] == Slow::Latest;
        let lags = conflates || truth.slow[channel] == Slow::Drop;
        let answers = matches!(place.flow, Flow::Gap { .. });
        let whole = match place.flow {
            Flow::Live => {
                assert!(lags, "a gap {from}..={to} for somebody who missed nothing");
                count(if conflates { "gap: what was conflated" } else { "gap: what a slow reader lost" });
                true
            }
            Flow::Gap { head, whole: true } => {
                assert_eq!(to, head, "a cursor from elsewhere is worth nothing");
                count("gap: a cursor from elsewhere");
                place.flow = Flow::Live;
                place.at = cursor;
                return cursor;
            }
            Flow::Gap { head, whole: false } => {
                count(if to == head { "gap: everything" } else { "gap: the beginning" });
                to == head
            }
            Flow::Past => {
                count("gap: what was lost meanwhile");
                false
            }
            Flow::Unjudged => {
                count("gap: what was lost before");
                false
            }
        };
        for (past, offset) in truth.past.iter().flat_map(|past| (from..=to).map(move |offset| (past, offset)))
        {
            let lost_ms = past.lost_ms(channel, offset);
            let overtaken = conflates && !answers && past.is_overtaken(channel, offset);
            let excused = overtaken || lost_ms <= truth.now_ms();
            assert!(excused, "{offset} of {channel} could be had until {lost_ms}");
        }
        place.flow = if whole { Flow::Live } else { Flow::Past };
        place.advance(to, channel, truth);
        place.at
    }
}

impl Place {
    /// Everything up to `offset` has come, or is known to be lost.
    fn advance(&mut self, offset: u64, channel: Channel, truth: &Truth) {
        self.at.offset = offset;
        // Whoever has everything had it already when the node sent this, and is live since.
        if truth.past.as_ref().is_some_and(|past| past.head(channel) == offset) {
            self.flow = Flow::Live;
        }
    }
}

/// Where a client is that has come back.
fn resumed(since: Cursor, head: Cursor, recovered: bool) -> Place {
    let behind = since.epoch == head.epoch && since.offset < head.offset;
    if since == head {
        count("recovered the head");
        assert!(recovered, "the head must be recovered");
        return Place { at: head, flow: Flow::Live };
    }
    if !behind {
        assert!(!recovered, "{since} cannot be recovered at {head}");
        return Place {
            at: Cursor { offset: 0, ..head },
            flow: Flow::Gap { head: head.offset, whole: true },
        };
    }
    let flow = if recovered { Flow::Past } else { Flow::Gap { head: head.offset, whole: false } };
    Place { at: since, flow }
}
