//! What nodes say to each other over pub/sub, as JSON. Must never answer: the control thread does.

use super::Shared;
use super::question::Question;
use crate::hub::broker::Told;
use crate::hub::distant;
use serde::{Deserialize, Serialize};

/// One word.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// To all.
    Ask { node: Box<str>, ticket: u64, question: distant::Question },
    /// To the one that asked.
    Answer { ticket: u64, part: distant::Part },
}

/// Asks all other nodes.
pub(super) fn ask(shared: &Shared, ticket: u64, question: distant::Question) -> Option<Question> {
    say(shared.keys.all(), &Word::Ask { node: shared.id.as_str().into(), ticket, question })
}

/// Answers one of them.
pub(super) fn answer(shared: &Shared, node: &str, ticket: u64, part: distant::Part) -> Option<Question> {
    say(shared.keys.node(node), &Word::Answer { ticket, part })
}

/// What is heard. None for what this node has said itself, or is no word of a node.
pub(super) fn heard(shared: &Shared, payload: &[u8]) -> Option<Told> {
    match serde_json::from_slice(payload).ok()? {
        Word::Ask { node, .. } if *node == *shared.id => None,
        Word::Ask { node, ticket, question } => Some(Told::Asked { node, ticket, question }),
        Word::Answer { ticket, part } => Some(Told::Heard { ticket, part }),
    }
}

fn say(channel: String, word: &Word) -> Option<Question> {
    // A word is made of texts and numbers: it can always be written.
    serde_json::to_string(word).ok().map(|text| Question::Say(channel, text))
}
