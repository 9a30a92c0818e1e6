//! The JSON of clients and publishers: whatever text arrives is a command or a refusal that says what kind of wrong it is, and
//! every answer is JSON again. A naive reading by `serde_json::Value` is the oracle.

use roost::api::publish::Batch;
use roost::dialect::native::{Answer, Code, Command, Request, parse, put_answer};
use roost::proto::channel_name::is_valid_channel_name;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rng::Rng;

/// Texts tried.
const SEEDS: u64 = 20_000;

/// Holds for any bytes.
pub(crate) fn commands(bytes: &[u8]) {
    publications(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Request { command, id } = parse(text);
    let is_bad_json = matches!(&command, Err(refused) if refused.code == Code::BadJson);
    assert_told(is_bad_json, text.as_bytes());
    assert_answer(id);
    let Ok(command) = command else { return };
    // Nesting beyond what Value takes is left to the parser's own tests.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    assert_eq!(id.map(|id| serde_json::from_str(id).unwrap()), value.get("id").cloned(), "{text}");
    let (kind, channel, data) = match &command {
        Command::Subscribe { channel, .. } => ("subscribe", Some(&**channel), None),
        Command::Unsubscribe { channel } => ("unsubscribe", Some(&**channel), None),
        Command::Publish { channel, data } => ("publish", Some(&**channel), Some(*data)),
        Command::Presence { channel } => ("presence", Some(&**channel), None),
        Command::Ping => ("ping", None, None),
        Command::Auth { .. } => ("auth", None, None),
        Command::Visibility { hidden } => {
            assert_eq!(value["state"], if *hidden { "hidden" } else { "visible" }, "{text}");
            ("visibility", None, None)
        }
    };
    assert_eq!(value["type"], kind, "{text}");
    if let Some(channel) = channel {
        assert!(is_valid_channel_name(channel), "{text}");
        assert_eq!(value["channel"], channel, "{text}");
    }
    if let Some(data) = data {
        assert!(text.contains(data), "{text}: data is not passed on as it came");
        assert_eq!(value["data"], serde_json::from_str::<Value>(data).unwrap(), "{text}");
    }
}

/// What a reader may call broken although its grammar is right: half a surrogate pair is no text, the other no number.
const HALF_BROKEN: [&str; 2] = ["\\ud8", "e999"];

/// Broken JSON is called so, and nothing else is.
fn assert_told(is_bad_json: bool, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_json = serde_json::from_slice::<&RawValue>(bytes).is_ok();
    assert!(is_bad_json || is_json, "{text}");
    assert!(!(is_bad_json && is_json) || HALF_BROKEN.iter().any(|half| text.contains(half)), "{text}");
}

/// An answer with this id is one JSON object, whatever the id.
fn assert_answer(id: Option<&str>) {
    let mut frame = Vec::new();
    put_answer(&mut frame, &Answer::Pong, id);
    let start = frame.iter().position(|&byte| byte == b'{').unwrap();
    let answer: &RawValue = serde_json::from_slice(&frame[start..]).unwrap();
    assert!(answer.get().starts_with(r#"{"type":"pong""#), "{answer}");
}

/// The same for what publishers send.
fn publications(bytes: &[u8]) {
    let lines = Batch::from_ndjson(bytes);
    for batch in Batch::from_json(bytes).iter().chain([&lines]) {
        for publication in &batch.publications {
            assert!(is_valid_channel_name(&publication.channel));
            assert!(serde_json::from_str::<&RawValue>(&publication.data).is_ok(), "{}", publication.data);
            assert!(publication.id.as_ref().is_none_or(|id| (1..=128).contains(&id.len())));
        }
    }
    if let Err(refusal) = Batch::from_json(bytes) {
        assert_told(refusal.code == "bad_json", bytes);
        assert!(serde_json::from_str::<Value>(&refusal.to_json()).is_ok());
    }
}

/// What texts are put together from: lawful messages, and pieces that may land anywhere in them.
const MESSAGES: [&str; 10] = [
    r#"{"type":"subscribe","channel":"news","since":"abc-7","id":1}"#,
    r#"{"type":"unsubscribe","channel":"chat:1","id":{"n":[null]}}"#,
    r#"{"type":"publish","channel":"chat:1","data":{"x": 1.50,"y":[true,"\u00e9"]}}"#,
    r#"{"type":"presence","channel":"room:1","id":[7]}"#,
    r#"{"type":"ping","id":"x"}"#,
    r#"{"type":"visibility","state":"hidden"}"#,
    r#"{"channel":"c","data":{"count":3}}"#,
    r#"{"channel":"c","data":1,"conflate":"key"}"#,
    r#"{"channels":["c","d"],"data":null,"id":"o-17"}"#,
    "{\"channel\":\"c\",\"data\":1}\n{\"channel\":\"d\",\"data\":2}\n",
];
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u00",
    "\\ud800",
    "\n",
    " ",
    "null",
    "true",
    "-",
    "1e999",
    "\"id\":",
    "\"type\":",
    "\"data\":",
    "\"channel\":",
    "\"channels\":",
    "\"ping\"",
    "é",
    "\u{0}",
];

fn text(rng: &mut Rng) -> Vec<u8> {
    let mut text = rng.pick(&MESSAGES).as_bytes().to_vec();
    for _ in 0..rng.below(4) {
        let start = rng.below(text.len() + 1);
        let end = start + rng.below((text.len() - start).min(8) + 1);
        let piece = if rng.one_in(8) { rng.bytes(2) } else { rng.pick(&PIECES).as_bytes().to_vec() };
        text.splice(start..end, piece);
    }
    text
}

#[test]
fn whatever_text_arrives_is_a_command_or_a_refusal_that_says_what_kind_of_wrong_it_is() {
    let (mut accepted, mut broken) = (0, 0);
    for seed in 0..SEEDS {
        let text = text(&mut Rng::new(seed));
        if let Err(panic) = std::panic::catch_unwind(|| commands(&text)) {
            eprintln!("seed {seed}: {}", String::from_utf8_lossy(&text));
            std::panic::resume_unwind(panic);
        }
        let parsed = str::from_utf8(&text).map(|text| parse(text).command.is_ok());
        accepted += u64::from(parsed == Ok(true));
        broken += u64::from(parsed == Ok(false));
    }
    assert!(accepted > SEEDS / 20 && broken > SEEDS / 20, "{accepted} accepted, {broken} refused");
}
