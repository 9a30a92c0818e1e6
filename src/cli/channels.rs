//! `roost ctl channels`: the channels of a node, as a table. Must never count subscribers itself.

use std::cmp::Reverse;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;

use super::Failure;
use super::ctl::{look, with_options};
use super::table::{Side, table};
use crate::bench::report::number;

/// What the API says of one.
#[derive(Deserialize)]
struct Channel {
    channel: String,
    subscribers: u64,
    cursor: Option<String>,
    history: u64,
}

#[derive(Deserialize)]
struct Channels {
    channels: Vec<Channel>,
    #[serde(default)]
    truncated: bool,
}

pub(super) fn command() -> Command {
    with_options(Command::new("channels"))
        .about("Channels with their subscribers, what is kept of them, and where they stand")
        .arg(
            Arg::new("prefix")
                .value_name("PREFIX")
                .default_value("")
                .hide_default_value(true)
                .help("Those whose names begin so [default: all]"),
        )
        .arg(
            Arg::new("top")
                .long("top")
                .action(ArgAction::SetTrue)
                .help("Those with the most subscribers first, instead of by name"),
        )
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let prefix = matches.get_one::<String>("prefix").map_or("", String::as_str);
    let encoded: String = form_urlencoded::byte_serialize(prefix.as_bytes()).collect();
    let top = matches.get_flag("top");
    look(matches, &format!("/channels?prefix={encoded}"), |answer| {
        serde_json::from_slice(&answer.body).ok().map(|found| told(found, top))
    })
}

fn told(found: Channels, top: bool) -> String {
    let Channels { mut channels, truncated } = found;
    if top {
        channels.sort_by_key(|one| Reverse(one.subscribers));
    }
    let count = number(channels.len() as f64);
    let heading = match truncated {
        false => format!("{count} channels\n"),
        true => format!("{count} channels of more: a longer prefix finds the others\n"),
    };
    if channels.is_empty() {
        return heading;
    }
    let lines: Vec<_> = channels.into_iter().map(line).collect();
    format!("{heading}\n{}", table(COLUMNS, &lines))
}

fn line(one: Channel) -> [String; COLUMNS.len()] {
    let Channel { channel, subscribers, cursor, history } = one;
    [channel, number(subscribers as f64), number(history as f64), cursor.unwrap_or_else(|| "-".to_owned())]
}

const COLUMNS: [(&str, Side); 4] =
    [("channel", Side::Left), ("subscribers", Side::Right), ("kept", Side::Right), ("cursor", Side::Left)];

const NOTES: &str = "\
Kept are publications for those who come back. The cursor is where a channel stands: the epoch of its numbering and the
offset of its last publication.";

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"channels":[
        {"channel":"a","subscribers":3,"history":0},
        {"channel":"b:long","subscribers":12000,"cursor":"5xT-17","history":17}]}"#;

    fn read(text: &str) -> Channels {
        serde_json::from_str(text).expect("an answer")
    }

    #[test]
    fn channels_come_by_name_and_with_top_by_their_subscribers() {
        let head = "  channel  subscribers  kept  cursor\n";
        let (a, b) = ("  a                  3     0  -\n", "  b:long        12,000    17  5xT-17\n");
        assert_eq!(told(read(ANSWER), false), format!("2 channels\n\n{head}{a}{b}"));
        assert_eq!(told(read(ANSWER), true), format!("2 channels\n\n{head}{b}{a}"));
    }

    #[test]
    fn none_and_too_many_say_so() {
        assert_eq!(told(read(r#"{"channels":[]}"#), true), "0 channels\n");
        let many = told(
            read(r#"{"channels":[{"channel":"a","subscribers":1,"history":0}],"truncated":true}"#),
            false,
        );
        assert!(many.starts_with("1 channels of more: a longer prefix"), "{many}");
    }
}
