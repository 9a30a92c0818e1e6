//! What an operator is told of connections: the walk to the top of them, a few steps a turn while others come and go, and all
//! about one.

use crate::line::Line;
use crate::node::{Client, Node};
use crate::{ENDED, NOW, READY, settings};
use proptest::prelude::*;
use roost::api::connections::{Connection, Detail, Followed, Following, Listing, Top};
use roost::clock::Now;
use roost::config::policy::PolicyRule;
use roost::conn::socket::Traffic;
use roost::hub::ShardId;
use roost::limits::{CHANNELS_TOLD, KERNEL_LOOKS, Limits, WALK_BUDGET, WALKS_MAX};
use roost::metrics::Transport;
use roost::shard::conn_table::Token;
use roost::shard::mail::{Answer, ConnKey, Mail, Parcel, Publisher, Question, Report};
use roost::shard::{Next, Settings, Shard};
use serde_json::json;
use std::cmp::Reverse;

/// One shard, its clients in the order in which they came, and the time.
struct World {
    shard: Shard<Line>,
    clients: Vec<(Token, Line)>,
    now: Now,
}

impl World {
    fn new() -> Self {
        let limits = Limits { queue_hard_bytes: usize::MAX, ..Limits::default() };
        Self { shard: Shard::new(Settings { limits, ..settings(0, 1) }), clients: Vec::new(), now: NOW }
    }

    fn connect(&mut self, query: &str, bytes: u64) -> Token {
        let line = Line::asking_for(&format!("/live?{query}"));
        line.0.borrow_mut().traffic = Traffic { sent_bytes: bytes, received_bytes: bytes / 2, rtt_us: 1500 };
        line.0.borrow_mut().address = Some(([10, 0, 0, 1], self.clients.len() as u16).into());
        let token = self.shard.insert(self.now, line.clone()).expect("there is room");
        self.shard.ready(self.now, token, READY);
        self.clients.push((token, line));
        token
    }

    fn vanish(&mut self, index: usize) -> Token {
        let (token, line) = self.clients.remove(index);
        line.0.borrow_mut().ended = true;
        self.shard.ready(self.now, token, ENDED);
        token
    }

    fn publish(&mut self, channel: &str) {
        let publisher = Publisher::Call { ticket: 1, index: 0, id: None };
        let data = format!("\"{}\"", "x".repeat(300)).into();
        self.shard.mail(self.now, Mail::Publish { name: channel.into(), data, key: None, publisher });
        self.settle();
    }

    fn settle(&mut self) {
        while self.shard.turn(self.now) == Next::Now {}
    }

    fn ask(&mut self, ticket: u64, question: Question) {
        self.shard.mail(self.now, Mail::Ask { ticket, question });
    }

    /// What the control thread was answered since it last looked.
    fn answers(&mut self) -> Vec<(u64, Answer)> {
        let answer = |parcel| match parcel {
            Parcel::Control(Report::Answer { ticket, answer, .. }) => Some((ticket, answer)),
            Parcel::Control(_) | Parcel::Shard(..) | Parcel::Broker(_) => None,
        };
        self.shard.parcels().filter_map(answer).collect()
    }

    fn top(&mut self, top: Top, limit: usize) -> (Vec<Connection>, u64) {
        self.answers();
        self.ask(7, Question::Connections(Listing { top, limit }));
        self.settle();
        match self.answers().pop() {
            Some((7, Answer::Connections { connections, total })) => (connections, total),
            other => panic!("{other:?}"),
        }
    }

    fn portrait(&mut self, token: Token) -> Option<Box<Detail>> {
        self.ask(8, Question::Connection(key(token)));
        match self.answers().pop() {
            Some((8, Answer::Connection(detail))) => detail,
            other => panic!("{other:?}"),
        }
    }
}

fn key(token: Token) -> ConnKey {
    ConnKey { shard: ShardId(0), slot: token.slot, generation: token.generation }
}

fn ids(connections: &[Connection]) -> Vec<&str> {
    connections.iter().map(|one| &*one.facts.connection).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Against a twin that sorts all of them.
    #[test]
    fn the_top_is_what_sorting_everybody_finds(
        steps in prop::collection::vec((0u8..10, any::<prop::sample::Index>(), 0u64..5_000), 1..60),
        limit in 1usize..20,
    ) {
        let mut world = World::new();
        for (step, index, bytes) in steps {
            match step {
                0..6 => _ = world.connect(&format!("channel=c{}", bytes % 3), bytes),
                6 if !world.clients.is_empty() => {
                    let at = index.index(world.clients.len());
                    world.vanish(at);
                }
                7 if !world.clients.is_empty() => {
                    world.settle();
                    world.clients[index.index(world.clients.len())].1.0.borrow_mut().room = 0;
                }
                8 => world.publish(&format!("c{}", bytes % 3)),
                _ => world.now.mono_ms += bytes,
            }
            world.settle();
        }
        for top in Top::ALL {
            let rank = |age: usize, token: Token, line: &Line| match top {
                Top::Lag => world.shard.queued_to(token) as u64,
                Top::Age => (world.clients.len() - age) as u64,
                Top::Bytes => {
                    let traffic = line.0.borrow().traffic;
                    traffic.sent_bytes + traffic.received_bytes
                }
            };
            let mut twin: Vec<(u64, Token)> = world.clients.iter().enumerate()
                .map(|(age, (token, line))| (rank(age, *token, line), *token)).collect();
            twin.sort_by_key(|&(rank, token)| (Reverse(rank), token.slot));
            let twin: Vec<String> = twin.iter().take(limit).map(|&(_, token)| key(token).to_string()).collect();
            let (found, total) = world.top(top, limit);
            prop_assert_eq!(total, world.clients.len() as u64);
            prop_assert_eq!(ids(&found), twin, "{:?}", top);
            for one in &found {
                let at = world.clients.iter().position(|(token, _)| key(*token).to_string() == one.facts.connection);
                let (token, line) = &world.clients[at.expect("it is there")];
                prop_assert_eq!(one.facts.queued_bytes, world.shard.queued_to(*token) as u64);
                prop_assert_eq!(one.facts.peer, line.0.borrow().address);
            }
        }
    }
}

#[test]
fn a_walk_over_many_takes_turns_and_misses_nobody_who_stays() {
    const CONNS: usize = 1000;
    let mut world = World::new();
    (0..CONNS).for_each(|n| _ = world.connect("channel=all", n as u64));
    world.settle();
    world.answers();
    world.ask(7, Question::Connections(Listing { top: Top::Bytes, limit: 2 * CONNS }));
    let mut gone = Vec::new();
    let mut turns = 0;
    let answer = loop {
        turns += 1;
        let next = world.shard.turn(world.now);
        if let Some(answer) = world.answers().pop() {
            break answer;
        }
        assert_eq!(next, Next::Now, "turn {turns}: there is more to see, or to tell");
        // Slots are taken again while the walk is under way.
        gone.extend([world.vanish(turns * 7), world.vanish(turns * 3)]);
        world.connect("channel=all", 1_000_000);
    };
    let looks = CONNS * KERNEL_LOOKS + CONNS * 2 * KERNEL_LOOKS;
    assert!((looks / WALK_BUDGET..=looks / WALK_BUDGET + 3).contains(&turns), "{turns} turns");
    let (7, Answer::Connections { connections, .. }) = answer else { panic!("{answer:?}") };
    let found = ids(&connections);
    let once: std::collections::BTreeSet<&str> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "nobody twice");
    let stayed = world.clients.iter().map(|(token, _)| key(*token)).take(CONNS - gone.len());
    let missed: Vec<ConnKey> = stayed.filter(|key| !once.contains(&*key.to_string())).collect();
    assert_eq!(missed, []);
}

#[test]
fn questions_wait_for_one_another_and_too_many_are_not_answered() {
    let mut world = World::new();
    (0..300).for_each(|_| _ = world.connect("channel=all", 5));
    world.settle();
    world.answers();
    for ticket in 0..WALKS_MAX as u64 + 5 {
        world.ask(ticket, Question::Connections(Listing { top: Top::Bytes, limit: 2 }));
    }
    world.settle();
    let answered: Vec<u64> = world.answers().into_iter().map(|(ticket, _)| ticket).collect();
    assert_eq!(answered, (0..WALKS_MAX as u64).collect::<Vec<_>>());
    assert_eq!(world.top(Top::Lag, 3).0.len(), 3, "there is room again");
}

#[test]
fn who_has_not_asked_for_anything_is_listed_and_who_was_told_to_go_is_not() {
    let mut world = World::new();
    let silent = Line::sending("GET /live HT");
    let silent = (world.shard.insert(NOW, silent.clone()).unwrap(), silent);
    world.shard.ready(NOW, silent.0, READY);
    let refused = Line::sending("GET /nothing HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    let refused = world.shard.insert(NOW, refused).unwrap();
    world.shard.ready(NOW, refused, READY);
    let many: String = (0..CHANNELS_TOLD + 4).map(|n| format!("&channel=c{n}")).collect();
    let follower = world.connect(&many, 0);
    world.settle();
    world.now.mono_ms += 2_340;
    let (found, total) = world.top(Top::Age, 10);
    assert_eq!((ids(&found), total), (vec![&*key(silent.0).to_string(), &*key(follower).to_string()], 2));
    assert_eq!((found[0].facts.transport, found[0].facts.subscriptions), (None, 0));
    assert_eq!(found[1].facts.transport, Some(Transport::WebSocket));
    assert_eq!((found[1].facts.subscriptions, found[1].channels.len()), (CHANNELS_TOLD + 4, CHANNELS_TOLD));
    assert_eq!(found[1].facts.age_s, 2.3);
    assert_eq!(world.portrait(refused), None);
    assert_eq!(world.portrait(Token { generation: 77, ..follower }), None, "a stale id finds nothing");
}

#[test]
fn all_about_one_connection() {
    let mut world = World::new();
    let token = world.connect("channel=a&channel=b", 600);
    world.settle();
    world.now.mono_ms += 3_000;
    let line = world.clients[0].1.clone();
    line.send(&json!({ "type": "visibility", "state": "hidden" }));
    world.shard.ready(world.now, token, READY);
    world.settle();
    world.now.mono_ms += 500;
    let detail = world.portrait(token).expect("it is there");
    assert_eq!((detail.facts.age_s, detail.silent_s, detail.rtt_ms), (3.5, Some(0.5), Some(1.5)));
    assert_eq!((detail.facts.sent_bytes, detail.facts.received_bytes), (Some(600), Some(300)));
    assert!(detail.hidden && detail.token_expires_in_s.is_none() && detail.facts.user.is_none());
    let live = |name: &str| Followed { channel: name.into(), state: Following::Live, cursor: None };
    assert_eq!(detail.channels, [live("a"), live("b")]);
    // Two publications at once: the first is delivered, and the second one waits for the next second.
    world.publish("a");
    world.publish("a");
    let detail = world.portrait(token).expect("it is there");
    let behind = detail.channels.iter().find(|one| &*one.channel == "a").expect("it is followed");
    assert_eq!((behind.state, behind.cursor.map(|at| at.offset)), (Following::Lagging, Some(1)));
}

/// The channels of a client, as its shard tells them. Mail that was on its way goes on.
fn followed(node: &mut Node, client: &Client) -> Vec<Followed> {
    let question = Question::Connection(ConnKey { shard: ShardId(client.shard as u16), ..key(client.token) });
    node.mail(client.shard, Mail::Ask { ticket: 8, question });
    let mut found = None;
    for parcel in node.shards[client.shard].parcels().collect::<Vec<_>>() {
        match parcel {
            Parcel::Shard(to, mail) => node.mail(usize::from(to.0), mail),
            Parcel::Control(Report::Answer { answer: Answer::Connection(detail), .. }) => found = detail,
            Parcel::Control(_) | Parcel::Broker(_) => {}
        }
    }
    found.expect("it is there").channels
}

#[test]
fn a_stream_knows_its_places_and_has_none_where_an_owner_has_not_answered() {
    let mut node = Node::new(PolicyRule::default(), |settings| settings);
    let channels = [node.room(1), node.room(2)];
    let head = format!("GET /events?channel={}&channel={} HTTP/1.1", channels[0], channels[1]);
    let client = node.call(0, Line::sending(format!("{head}\r\nHost: node\r\n\r\n")));
    let states = |followed: &[Followed]| followed.iter().map(|one| one.state).collect::<Vec<_>>();
    assert_eq!(states(&followed(&mut node, &client)), [Following::Joining; 2]);
    node.settle();
    let live = followed(&mut node, &client);
    assert_eq!(states(&live), [Following::Live; 2]);
    let mut names: Vec<&str> = live.iter().map(|one| &*one.channel).collect();
    names.sort_unstable();
    assert_eq!(names, channels);
    assert!(live.iter().all(|one| one.cursor.is_some_and(|cursor| cursor.offset == 0)), "{live:?}");
}
