//! `roost publish`: one publication over a node's API. Must never know how a publication travels on.

use std::io::Read;

use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::http_client::{Answer, post};
use super::{Failure, api_address, api_arg, output};
use crate::limits::STDIN_BYTES_MAX;

pub(super) fn command() -> Command {
    Command::new("publish")
        .about("Publish JSON to a channel and print its cursor")
        .arg(Arg::new("channel").value_name("CHANNEL").required(true).help("Channel to publish to"))
        .arg(
            Arg::new("json")
                .value_name("JSON")
                .required(true)
                .allow_negative_numbers(true)
                .help("What to publish, passed on byte for byte; - reads one JSON value from standard input"),
        )
        .arg(api_arg())
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let api = api_address(matches)?;
    let body = call_body(&text("channel"), &read_json(text("json"))?)?;
    let answer = post(&api, "/publish", "application/json", body.as_bytes())
        .map_err(|error| Failure::Refused(format!("{api}: {error}")))?;
    output::print(&format!("{}\n", cursor(&answer)?)).map(drop)
}

fn read_json(argument: String) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument);
    }
    let mut text = String::new();
    std::io::stdin().lock().take(STDIN_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > STDIN_BYTES_MAX {
        return Err(Failure::Usage(format!("standard input: more than {STDIN_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The body of the call. What is not JSON is refused here, where the shell that swallowed the quotes is near.
fn call_body(channel: &str, json: &str) -> Result<String, Failure> {
    let not_json = |error| {
        Failure::Usage(format!("not JSON: {error}; text needs its double quotes past the shell: '\"hello\"'"))
    };
    let data: &RawValue = serde_json::from_str(json).map_err(not_json)?;
    serde_json::to_string(&Call { channel, data }).map_err(|error| Failure::Usage(error.to_string()))
}

fn cursor(answer: &Answer) -> Result<String, Failure> {
    if answer.status == 200
        && let Ok(published) = serde_json::from_slice::<Published>(&answer.body)
    {
        return Ok(published.cursor);
    }
    Err(Failure::Refused(answer.reason()))
}

#[derive(Serialize)]
struct Call<'a> {
    channel: &'a str,
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Published {
    cursor: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<String, Failure> {
        cursor(&Answer { status, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn data_is_passed_on_byte_for_byte_and_the_channel_as_a_json_string() {
        let body = call_body("a\"b", " {\"n\":1.0e2, \"n\":[ ]}\n").unwrap();
        assert_eq!(body, r#"{"channel":"a\"b","data":{"n":1.0e2, "n":[ ]}}"#);
    }

    #[test]
    fn what_is_not_json_is_wrong_usage_with_its_place() {
        for json in ["hello", "{", "", "1 2"] {
            match call_body("c", json) {
                Err(Failure::Usage(text)) => assert!(text.contains("line 1 column"), "{text}"),
                other => panic!("{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_answer_is_its_cursor_or_its_reason() {
        assert_eq!(answered(200, r#"{"channel":"c","cursor":"e-1"}"#).unwrap(), "e-1");
        for (status, body, words) in [
            (
                400,
                r#"{"error":{"code":"bad_channel","message":"no such name"}}"#,
                "bad_channel: no such name",
            ),
            (502, "<html>", "the node answered 502 without a reason"),
            (200, "", "the node answered 200 without a reason"),
        ] {
            match answered(status, body) {
                Err(Failure::Refused(text)) => assert_eq!(text, words),
                other => panic!("{other:?}"),
            }
        }
    }
}
