//! `roost ctl conns`: the connections at the top of a node, as a table. Must never sort or count them itself.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};

use super::Failure;
use super::ctl::{look, with_options};
use super::table::{Side, age, printable, table};
use crate::api::connections::{Connection, Connections, Facts, Top};
use crate::bench::report::number;
use crate::limits::{CONNECTIONS_LISTED, CONNECTIONS_LISTED_MAX};

pub(super) fn command() -> Command {
    let tops = PossibleValuesParser::new(Top::ALL.map(Top::label));
    let limits = value_parser!(u64).range(1..=CONNECTIONS_LISTED_MAX as u64);
    let limit_help = format!("How many, up to {CONNECTIONS_LISTED_MAX} [default: {CONNECTIONS_LISTED}]");
    with_options(Command::new("conns"))
        .about("Connections that lag most, that are the oldest, or that moved the most bytes")
        .arg(
            Arg::new("top")
                .long("top")
                .value_name("WHAT")
                .value_parser(tops)
                .default_value(Top::Lag.label())
                .help("Who comes first"),
        )
        .arg(Arg::new("limit").long("limit").value_name("N").value_parser(limits).help(limit_help))
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let top = matches.get_one::<String>("top").map_or(Top::Lag.label(), String::as_str);
    let limit = matches.get_one::<u64>("limit").map_or(CONNECTIONS_LISTED as u64, |limit| *limit);
    let path = format!("/connections?top={top}&limit={limit}");
    look(matches, &path, |answer| serde_json::from_slice(&answer.body).ok().as_ref().map(told))
}

fn told(found: &Connections) -> String {
    let total = number(found.total as f64);
    if found.connections.is_empty() {
        return format!("{total} connections\n");
    }
    let lines: Vec<_> = found.connections.iter().map(line).collect();
    let shown =
        if lines.len() as u64 == found.total { String::new() } else { format!("{} of ", lines.len()) };
    format!("{shown}{total} connections\n\n{}", table(COLUMNS, &lines))
}

fn line(connection: &Connection) -> [String; COLUMNS.len()] {
    let Connection { facts, channels } = connection;
    let Facts { connection, transport, peer, user, subscriptions, .. } = facts;
    let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| number(bytes as f64));
    let more = match subscriptions.saturating_sub(channels.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    [
        connection.clone(),
        transport.map_or("-", |transport| transport.label()).to_owned(),
        age(facts.age_s),
        number(facts.queued_bytes as f64),
        bytes(facts.sent_bytes),
        bytes(facts.received_bytes),
        peer.map_or("-".to_owned(), |peer| peer.to_string()),
        user.as_deref().map_or("-".to_owned(), printable),
        channels.join(" ") + &more,
    ]
}

const COLUMNS: [(&str, Side); 9] = [
    ("connection", Side::Left),
    ("transport", Side::Left),
    ("age", Side::Right),
    ("queued", Side::Right),
    ("sent", Side::Right),
    ("received", Side::Right),
    ("peer", Side::Left),
    ("user", Side::Left),
    ("channels", Side::Left),
];

const NOTES: &str = "\
Queued are the bytes that wait in the node's memory until the client reads. Sent and received are the kernel's count
of its socket: what it has acknowledged and what came from it, heads and frames included.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Transport;

    fn connection(id: &str, subscriptions: usize, user: Option<&str>) -> Connection {
        let facts = Facts {
            connection: id.to_owned(),
            shard: 0,
            transport: Some(Transport::WebSocket),
            peer: Some("10.0.0.7:52344".parse().unwrap()),
            age_s: 75.3,
            user: user.map(Into::into),
            subscriptions,
            queued_bytes: 12_345,
            sent_bytes: Some(1_000_000),
            received_bytes: None,
        };
        Connection { facts, channels: (0..subscriptions.min(2)).map(|n| format!("c{n}").into()).collect() }
    }

    #[test]
    fn the_table_is_aligned_and_says_how_many_there_are_beside() {
        let connections = vec![connection("0.1.2", 1, None), connection("0.1a.fff", 5, Some("a\tb"))];
        let expected = "\
2 of 1,000 connections

  connection  transport     age  queued       sent  received  peer            user  channels
  0.1.2       websocket  1m 15s  12,345  1,000,000         -  10.0.0.7:52344  -     c0
  0.1a.fff    websocket  1m 15s  12,345  1,000,000         -  10.0.0.7:52344  a\u{fffd}b   c0 c1 and 3 more
";
        assert_eq!(told(&Connections { total: 1000, connections }), expected);
    }

    #[test]
    fn a_node_without_connections_has_no_table() {
        assert_eq!(told(&Connections { total: 0, connections: Vec::new() }), "0 connections\n");
        let one = Connections { total: 1, connections: vec![connection("0.0.1", 0, None)] };
        assert!(told(&one).starts_with("1 connections\n\n  connection"));
    }
}
