//! One test for each fault that was found, named for its symptom. Shards are driven by hand through their public verbs.

use roost::clock::Now;
use roost::conn::socket::Socket;
use roost::hub::ShardId;
use roost::hub::names::Names;
use roost::limits::Limits;
use roost::proto::origin::OriginPolicy;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Mail, Parcel, Publisher};
use roost::shard::{Readiness, Settings, Shard};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

const NOW: Now = Now { mono_ms: 3_600_000, wall_ms: 1_700_000_000_000 };
const READABLE: Readiness = Readiness { readable: true, writable: true, read_closed: false };

/// A peer with all the room that there is.
#[derive(Debug, Default)]
struct Peer {
    sends: VecDeque<u8>,
    ends: bool,
    got: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Line(Rc<RefCell<Peer>>);

impl Socket for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut peer = self.0.borrow_mut();
        let count = into.len().min(peer.sends.len());
        into.iter_mut().zip(peer.sends.drain(..count)).for_each(|(slot, byte)| *slot = byte);
        if count == 0 && !peer.ends { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().got.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        chunks.iter().map(|chunk| self.write(chunk)).sum()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Line {
    fn has_got(&self, text: &str) -> bool {
        self.0.borrow().got.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Two shards. What they send to each other waits until it is carried.
struct Pair {
    shards: [Shard<Line>; 2],
    names: Names,
}

impl Pair {
    fn new() -> Self {
        let names = Names::new(1);
        let shard = |id| {
            Shard::new(Settings {
                id: ShardId(id),
                shards: 2,
                limits: Limits::default(),
                policies: Default::default(),
                origins: OriginPolicy::SameOrigin,
                echo: false,
                node: "test".into(),
                names,
                own_seed: u64::from(id),
            })
        };
        Self { shards: [shard(0), shard(1)], names }
    }

    /// So many channels that a shard owns.
    fn channels(&self, owner: u16, count: usize) -> Vec<String> {
        let all = (0..).map(|number| format!("c{number}"));
        all.filter(|name| self.names.owner(name, 2) == ShardId(owner)).take(count).collect()
    }

    /// A client of shard 0 asks for these channels in its upgrade.
    fn connect(&mut self, channels: &[String]) -> (Token, Line) {
        let line = Line::default();
        let token = self.shards[0].insert(NOW, line.clone()).expect("there is room");
        let request = format!(
            "GET /live?channel={} HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            channels.join("&channel=")
        );
        line.0.borrow_mut().sends.extend(request.bytes());
        self.shards[0].ready(NOW, token, READABLE);
        (token, line)
    }

    /// A client ends its side.
    fn end(&mut self, token: Token, line: &Line) {
        line.0.borrow_mut().ends = true;
        self.shards[0].ready(NOW, token, Readiness { read_closed: true, ..READABLE });
    }

    fn turn(&mut self, shard: usize) -> Vec<Mail> {
        self.shards[shard].turn(NOW);
        let to_shard = |parcel| match parcel {
            Parcel::Shard(_, mail) => Some(mail),
            Parcel::Control(_) => None,
        };
        self.shards[shard].parcels().filter_map(to_shard).collect()
    }

    /// Mail arrives, and what follows from it comes back.
    fn carry(&mut self, shard: usize, mail: Vec<Mail>) -> Vec<Mail> {
        mail.into_iter().for_each(|mail| self.shards[shard].mail(NOW, mail));
        self.turn(shard)
    }

    /// What shard 1 sends when somebody publishes to channels that it owns.
    fn publish(&mut self, channels: &[String], data: &str) -> Vec<Mail> {
        let publisher = |index| Publisher::Call { ticket: 1, index, id: None };
        let mail = channels.iter().zip(0..).map(|(channel, index)| Mail::Publish {
            name: channel.as_str().into(),
            data: data.into(),
            key: None,
            publisher: publisher(index),
        });
        let mail = mail.collect();
        self.carry(1, mail)
    }
}

#[test]
fn a_channel_is_not_mute_after_everyone_of_a_shard_left_in_the_middle_of_its_passes() {
    let mut pair = Pair::new();
    let channels = pair.channels(1, 6);
    // More deliveries than one turn makes, and fewer connections than one turn frees.
    let crowd: Vec<_> = (0..60).map(|_| pair.connect(&channels)).collect();
    let joins = pair.turn(0);
    let joined = pair.carry(1, joins);
    pair.carry(0, joined);

    // One more client's join of the last channel is under way, which keeps that channel alive.
    let (late, line) = pair.connect(&channels[5..]);
    let late_join = pair.turn(0);
    let publications = pair.publish(&channels, "1");
    for mail in publications {
        pair.shards[0].mail(NOW, mail);
    }
    crowd.iter().for_each(|(token, line)| pair.end(*token, line));
    pair.end(late, &line);
    let leaves = pair.turn(0);
    assert_eq!(pair.shards[0].counters().connections, 0);

    let (_, newcomer) = pair.connect(&channels[5..]);
    let new_join = pair.turn(0);
    let joined = pair.carry(1, late_join.into_iter().chain(leaves).chain(new_join).collect());
    pair.carry(0, joined);
    assert!(newcomer.has_got("subscribed"));
    let publications = pair.publish(&channels[5..], r#""for the newcomer""#);
    pair.carry(0, publications);
    assert!(newcomer.has_got("for the newcomer"), "nobody ever gets anything of this channel again");
}
