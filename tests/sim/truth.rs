//! What was really published. Every publication's data is its own, so whoever meets it knows which one it is; the owner's
//! numbering is the truth, and everybody who tells of it must agree.

use crate::past::Past;
use fastrand::Rng;
use roost::clock::TICK_MS;
use roost::config::policy::Slow;
use roost::dialect::cursor::{Cursor, Epoch};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// Tells one channel of the world from another.
pub(crate) type Channel = usize;
/// Tells one publication of the world from another.
pub(crate) type Number = usize;
/// The highest offset known, by epoch.
pub(crate) type Heads = Vec<(Epoch, u64)>;

#[derive(Debug)]
struct Publication {
    channel: Channel,
    data: String,
    /// Offsets that were known when it was sent off: its own must be higher.
    floor: Heads,
    cursor: Option<Cursor>,
    /// From an answer that does not name the epoch.
    offset: Option<u64>,
    sent_ms: u64,
    /// An earlier one had gone out with its id, so nobody may meet it.
    repeated: bool,
}

#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) names: Vec<String>,
    /// What becomes of slow readers, by channel.
    pub(crate) slow: Vec<Slow>,
    publications: Vec<Publication>,
    numbers: HashMap<(Channel, Epoch, u64), Number>,
    heads: Vec<Heads>,
    /// By channel: whether it is counted who follows.
    pub(crate) counted: Vec<bool>,
    /// How long the numbering of each channel is kept.
    keep_ms: Vec<u64>,
    /// Where a witness follows all channels from the beginning: what the node must have.
    pub(crate) past: Option<Past>,
    clock: Rc<Cell<u64>>,
}

impl Truth {
    pub(crate) fn new(
        names: Vec<String>,
        counted: Vec<bool>,
        slow: Vec<Slow>,
        keep_ms: Vec<u64>,
        past: Option<Past>,
        clock: Rc<Cell<u64>>,
    ) -> Self {
        let heads = vec![Heads::new(); names.len()];
        Self {
            names,
            counted,
            slow,
            publications: Vec::new(),
            numbers: HashMap::new(),
            heads,
            keep_ms,
            past,
            clock,
        }
    }

    /// How long the node remembers a channel that nobody uses.
    pub(crate) fn longest_keep_ms(&self) -> u64 {
        self.keep_ms.iter().copied().max().expect("a channel")
    }

    /// The moment, in milliseconds since the node started.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.get()
    }

    pub(crate) fn channel(&self, name: &str) -> Channel {
        self.names.iter().position(|known| known == name).expect("a channel of this world")
    }

    /// What is known of a channel now.
    pub(crate) fn heads(&self, channel: Channel) -> Heads {
        self.heads[channel].clone()
    }

    /// A new publication: valid JSON with oddities that must survive byte for byte, its number, and so much padding.
    pub(crate) fn publish(&mut self, channel: Channel, padding: usize) -> Number {
        let sent_ms = self.now_ms();
        let number = self.publications.len();
        let pad = "x".repeat(padding);
        let space = SPACES[number % SPACES.len()];
        let data = format!(
            r#"{{ "p":{number},{space}"big":12345678901234567890 ,"e":"\u00e9ü",{space}"pad":"{pad}"}}"#
        );
        let floor = self.heads(channel);
        let publication =
            Publication { channel, data, floor, cursor: None, offset: None, sent_ms, repeated: false };
        self.publications.push(publication);
        number
    }

    pub(crate) fn channel_of(&self, number: Number) -> Channel {
        self.publications[number].channel
    }

    pub(crate) fn data(&self, number: Number) -> &str {
        &self.publications[number].data
    }

    /// Whoever published it was told its offset.
    pub(crate) fn told(&mut self, number: Number, offset: u64) {
        let publication = &mut self.publications[number];
        assert_eq!(publication.offset, None, "told twice");
        publication.offset = Some(offset);
        if let Some(cursor) = publication.cursor {
            assert_eq!(cursor.offset, offset, "publication {number} has two numbers");
        }
    }

    /// Its publisher was told the place of an earlier one.
    pub(crate) fn repeated(&mut self, number: Number) {
        let publication = &mut self.publications[number];
        assert_eq!(publication.cursor, None, "publication {number} went out although its id was known");
        publication.repeated = true;
    }

    /// Somebody met `data` in a channel at this place. Where it came line by line, every line end in it is a LF.
    pub(crate) fn met(&mut self, channel: Channel, cursor: Cursor, data: &str, as_lines: bool) {
        let number: Number = data
            .strip_prefix(r#"{ "p":"#)
            .and_then(|rest| rest.split(',').next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("nobody published {data}"));
        let published = &self.publications[number].data;
        if as_lines {
            assert_eq!(published.replace("\r\n", "\n").replace('\r', "\n"), data, "data comes line for line");
        } else {
            assert_eq!(published, data, "data comes byte for byte");
        }
        self.numbered(channel, cursor, number);
    }

    /// Somebody says that a publication has this place.
    pub(crate) fn numbered(&mut self, channel: Channel, cursor: Cursor, number: Number) {
        self.seen(channel, cursor);
        let known = *self.numbers.entry((channel, cursor.epoch, cursor.offset)).or_insert(number);
        assert_eq!(known, number, "two publications are {cursor} of {}", self.names[channel]);
        let publication = &mut self.publications[number];
        assert_eq!(publication.channel, channel, "publication {number} in another channel");
        assert!(!publication.repeated, "publication {number} went out although its id was known");
        let at = *publication.cursor.get_or_insert(cursor);
        assert_eq!(at, cursor, "publication {number} has two places");
        if let Some(offset) = publication.offset {
            assert_eq!(offset, cursor.offset, "publication {number} has two numbers");
        }
        let floor = floor(&publication.floor, cursor.epoch);
        assert!(
            cursor.offset > floor,
            "publication {number} is {cursor}; {floor} was known before it was sent"
        );
    }

    /// Somebody says that a channel has come this far.
    pub(crate) fn seen(&mut self, channel: Channel, cursor: Cursor) {
        match self.heads[channel].iter_mut().find(|(epoch, _)| *epoch == cursor.epoch) {
            Some((_, offset)) => *offset = cursor.offset.max(*offset),
            None => {
                self.check_kept(channel, cursor.epoch);
                self.heads[channel].push((cursor.epoch, cursor.offset));
            }
        }
    }

    /// A numbering that was published in is kept for a while after the last publication: a newer one cannot begin before.
    fn check_kept(&self, channel: Channel, epoch: Epoch) {
        let followed = self.past.is_some() && !self.heads[channel].is_empty();
        assert!(!followed, "{} is followed all the time and numbered anew", self.names[channel]);
        let older =
            self.numbers.iter().filter(|((other, known, _), _)| *other == channel && known.0 < epoch.0);
        let sent_ms = older.map(|(_, &number)| self.publications[number].sent_ms).max();
        let newest = self.heads[channel].iter().all(|(known, _)| known.0 < epoch.0);
        if let Some(sent_ms) = sent_ms.filter(|_| newest) {
            let kept_ms = self.now_ms() - sent_ms;
            let due_ms = self.keep_ms[channel];
            assert!(kept_ms + TICK_MS >= due_ms, "a numbering was forgotten after {kept_ms} ms");
        }
    }
}

/// White space between two tokens.
const SPACES: [&str; 7] = [" ", "", "\n", "\r\n", "\r", "\n\n \r", "\t"];

/// Padding of a publication: mostly little, sometimes more than a queue may hold.
pub(crate) fn draw_padding(rng: &mut Rng, bytes_max: usize) -> usize {
    let most = match rng.u8(..20) {
        0 => 20_000,
        1..4 => 1_000,
        _ => 30,
    };
    rng.usize(..most).min(bytes_max)
}

/// The offset known in one epoch; 0 when none is.
pub(crate) fn floor(heads: &Heads, epoch: Epoch) -> u64 {
    heads.iter().find(|(known, _)| *known == epoch).map_or(0, |(_, offset)| *offset)
}
