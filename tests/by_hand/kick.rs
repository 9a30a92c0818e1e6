//! An operator wants connections to be gone: whose they are, who is left alone, and how the ends are spread.

use crate::READY;
use crate::line::Line;
use crate::node::{BEGINS_MS, Client, Node, SHARDS};
use proptest::prelude::*;
use roost::api::disconnect::{Kick, Who};
use roost::config::policy::PolicyRule;
use roost::disconnect::Disconnect;
use roost::hub::ShardId;
use roost::limits::{KICK_BUDGET, KICKS_MAX};
use roost::metrics::Transport;
use roost::shard::mail::{Answer, ConnKey, Mail, Report};
use roost::shard::{Next, Settings, Shard};
use roost::tokens::{Key, Keys};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

const SECRET: &[u8] = b"thirty-two bytes that nobody else";

fn node() -> Node {
    let keys = Arc::new(Keys::new(1, vec![Key::from_secret(SECRET).expect("long enough")]));
    Node::new(PolicyRule::default(), |settings| Settings { keys: keys.clone(), ..settings })
}

fn token(user: &str) -> String {
    let claims = json!({ "sub": user, "exp": BEGINS_MS / 1000 + 3_600, "subscribe": ["*"] });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET).expect("a secret");
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("claims")
}

fn kick(who: Who) -> Kick {
    Kick { who, code: Disconnect::Kicked.code(), over_ms: 0 }
}

/// Tells every shard; the sum of their answers, or None where one takes no further call.
fn disconnect(node: &mut Node, kick: &Kick) -> Option<u64> {
    node.reports.clear();
    for shard in 0..usize::from(SHARDS) {
        node.mail(shard, Mail::Disconnect { ticket: 9, kick: Box::new(kick.clone()) });
    }
    node.settle();
    let answers = node.reports.iter().filter_map(|report| match report {
        Report::Answer { ticket: 9, answer: Answer::Disconnected(count), .. } => Some(*count),
        _ => None,
    });
    let answers: Vec<Option<u64>> = answers.collect();
    assert_eq!(answers.len(), usize::from(SHARDS));
    answers.into_iter().sum()
}

/// The code of the close frame that a client got last.
fn close_code(client: &Client) -> Option<u16> {
    let got = client.line.0.borrow();
    let at = got.got.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] >= 2)?;
    Some(u16::from_be_bytes([got.got[at + 2], got.got[at + 3]]))
}

fn ended(node: &Node, reason: Disconnect, transport: Option<Transport>) -> u64 {
    node.shards.iter().map(|shard| shard.counters().disconnects.over(reason, transport)).sum()
}

/// A client as a selector sees it.
#[derive(Debug, Clone, Copy)]
struct Kind {
    user: Option<u8>,
    ip: u8,
    channel: u8,
}

fn kinds() -> impl Strategy<Value = Kind> {
    (prop::option::of(0u8..3), 0u8..3, 0u8..3).prop_map(|(user, ip, channel)| Kind { user, ip, channel })
}

fn address(ip: u8) -> IpAddr {
    [10, 0, 0, ip].into()
}

fn connect(node: &mut Node, shard: usize, kind: Kind) -> Client {
    let token = kind.user.map_or(String::new(), |user| format!("&token={}", token(&format!("user {user}"))));
    let line = Line::asking_for(&format!("/live?channel=c{}{token}", kind.channel));
    line.0.borrow_mut().address = Some((address(kind.ip), 7).into());
    node.call(shard, line)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn those_who_are_meant_end_with_the_code_and_nobody_else_does(
        kinds in prop::collection::vec(kinds(), 1..30),
        which in 0u8..4,
        at in any::<prop::sample::Index>(),
        code in prop::sample::select(vec![1001u16, 1012, 4006, 4999]),
    ) {
        let mut node = node();
        let clients: Vec<Client> =
            kinds.iter().enumerate().map(|(n, kind)| connect(&mut node, n % 3, *kind)).collect();
        node.settle();
        let (at, one) = (at.index(clients.len()), kinds[at.index(kinds.len())]);
        let key = ConnKey {
            shard: ShardId(clients[at].shard as u16),
            slot: clients[at].token.slot,
            generation: clients[at].token.generation,
        };
        let who = match which {
            0 => Who::Connection(key),
            1 => Who::User(format!("user {}", one.user.unwrap_or(0)).into()),
            2 => Who::Ip(address(one.ip)),
            _ => Who::Channel(format!("c{}", one.channel).into()),
        };
        let is_meant = |n: usize| match which {
            0 => n == at,
            1 => kinds[n].user == Some(one.user.unwrap_or(0)),
            2 => kinds[n].ip == one.ip,
            _ => kinds[n].channel == one.channel,
        };
        let count = disconnect(&mut node, &Kick { code, ..kick(who) });
        prop_assert_eq!(count, Some((0..clients.len()).filter(|&n| is_meant(n)).count() as u64));
        for (n, client) in clients.iter().enumerate() {
            prop_assert_eq!(close_code(client), is_meant(n).then_some(code), "client {}", n);
        }
        prop_assert_eq!(ended(&node, Disconnect::Kicked, Some(Transport::WebSocket)), count.unwrap_or(0));
    }
}

#[test]
fn streams_and_polls_end_too_and_a_request_hears_why() {
    for (code, status) in [(4006, "403"), (4500, "403"), (1012, "503"), (1013, "503")] {
        let mut node = node();
        let call = |node: &mut Node, request: &str| {
            let line = Line::sending(format!("{request} HTTP/1.1\r\nHost: node\r\n\r\n"));
            line.0.borrow_mut().address = Some((address(1), 7).into());
            node.call(0, line)
        };
        let stream = call(&mut node, "GET /events?channel=a&channel=b");
        let kept = call(&mut node, "GET /poll?channel=a");
        let silent = Line::sending("GET /live HTTP/1.1\r\nHo");
        silent.0.borrow_mut().address = Some((address(1), 7).into());
        let silent = node.call(0, silent);
        node.settle();
        // Where the channel stands is where a poll is held.
        let got = String::from_utf8(kept.line.0.borrow().got.clone()).expect("text");
        let cursor = got.rsplit('"').nth(1).expect("a cursor").to_owned();
        let held = call(&mut node, &format!("GET /poll?channel=a&since={cursor}"));
        node.settle();
        [&stream, &kept, &held].iter().for_each(|client| client.line.0.borrow_mut().got.clear());
        assert_eq!(disconnect(&mut node, &Kick { code, ..kick(Who::Ip(address(1))) }), Some(4));
        let got = |client: &Client| String::from_utf8(client.line.0.borrow().got.clone()).expect("text");
        assert!([&stream, &kept, &held, &silent].iter().all(|client| client.line.0.borrow().finished));
        assert_eq!((got(&stream), got(&kept)), (String::new(), String::new()), "there is no goodbye");
        for client in [&held, &silent] {
            let got = got(client);
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{code}: {got}");
            assert!(got.contains("Connection: close"), "{got}");
            assert_eq!(got.contains("Retry-After: "), status == "503", "{got}");
        }
        let count = |transport| ended(&node, Disconnect::Kicked, transport);
        let counts = [Some(Transport::Sse), Some(Transport::Poll), None].map(count);
        assert_eq!(counts, [1, 2, 1]);
    }
}

#[test]
fn the_ends_are_a_stream_in_random_order_and_nobody_waits_longer_than_was_said() {
    const CLIENTS: usize = 600;
    const OVER_MS: u64 = 6_000;
    let mut node = node();
    let kind = Kind { user: None, ip: 1, channel: 1 };
    let clients: Vec<Client> = (0..CLIENTS).map(|n| connect(&mut node, n % 3, kind)).collect();
    node.settle();
    let channel = Who::Channel("c1".into());
    assert_eq!(disconnect(&mut node, &Kick { over_ms: OVER_MS, ..kick(channel) }), Some(CLIENTS as u64));
    let came_late = connect(&mut node, 0, kind);
    // Some leave by themselves before their moment comes.
    clients[..60].iter().for_each(|client| node.vanish(client));
    let mut order = Vec::new();
    let mut seconds = [0u32; 6];
    for step in 0..OVER_MS / 10 {
        node.pass(10);
        for (n, client) in clients.iter().enumerate().skip(60) {
            if close_code(client).is_some() && !order.contains(&n) {
                order.push(n);
                seconds[(step / 100) as usize] += 1;
            }
        }
    }
    assert_eq!(order.len(), CLIENTS - 60, "all that stayed are gone, within the time");
    assert!(seconds.iter().all(|count| (70..=110).contains(count)), "{seconds:?}");
    let swaps = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((200..340).contains(&swaps), "{swaps} of {} are out of order", order.len());
    assert_eq!(close_code(&came_late), None, "it was not counted");
}

#[test]
fn a_crowd_that_has_to_go_at_once_does_so_over_some_turns() {
    let mut shard = Shard::new(crate::settings(0, 1));
    let lines: Vec<Line> = (0..3 * KICK_BUDGET).map(|_| Line::asking_for("/live?channel=a")).collect();
    for line in &lines {
        let token = shard.insert(crate::NOW, line.clone()).expect("there is room");
        shard.ready(crate::NOW, token, READY);
    }
    while shard.turn(crate::NOW) == Next::Now {}
    let gone = || lines.iter().filter(|line| line.0.borrow().finished).count();
    let who = Who::Channel("a".into());
    shard.mail(crate::NOW, Mail::Disconnect { ticket: 9, kick: Box::new(kick(who)) });
    let mut turns = 0;
    while gone() < lines.len() {
        let before = gone();
        shard.turn(crate::NOW);
        turns += 1;
        assert!(gone() - before <= KICK_BUDGET && turns < 6, "{turns} turns, {} at once", gone() - before);
    }
    assert!(turns >= 3);
}

#[test]
fn so_many_calls_at_once_and_no_more_until_one_is_done() {
    let mut node = node();
    let clients: Vec<Client> =
        (0..3).map(|shard| connect(&mut node, shard, Kind { user: None, ip: 1, channel: 1 })).collect();
    node.settle();
    let slowly = Kick { over_ms: 60_000, ..kick(Who::Ip(address(1))) };
    for _ in 0..KICKS_MAX {
        assert_eq!(disconnect(&mut node, &slowly), Some(3));
    }
    assert_eq!(disconnect(&mut node, &slowly), None);
    let nobody = kick(Who::User("nobody".into()));
    assert_eq!(disconnect(&mut node, &nobody), None, "whoever it means");
    node.pass(60_000);
    assert!(clients.iter().all(|client| close_code(client) == Some(4006)));
    assert_eq!(disconnect(&mut node, &nobody), Some(0));
    assert_eq!(ended(&node, Disconnect::Kicked, Some(Transport::WebSocket)), 3, "each ends once");
}
