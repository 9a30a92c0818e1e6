//! Calls that are about the whole cluster: the other nodes are asked as well, and answered when they ask. Must never wait for one that is
//! dead: what does not come in time is left out.

use super::Control;
use super::calls::{Call, Of};
use crate::api::disconnect::{Kick, Who};
use crate::clock::Now;
use crate::cluster::Health;
use crate::hub::broker::Ask;
use crate::hub::distant::{Part, Question};
use crate::limits::DISTANT_TIMEOUT_MS;
use crate::shard::mail;
use crate::shard::mail::Parcel;

impl Control {
    /// Has the other nodes answer a call as well, if there are any. Returns its ticket.
    pub(super) fn share(&mut self, now: Now, mut call: Call, question: Question) -> u64 {
        let others = self.settings.broker.as_ref().map_or(0, Health::others);
        call.expect_others(now, others);
        let lost = self.settings.broker.as_ref().is_some_and(|broker| !broker.is_up());
        if lost && matches!(question, Question::Disconnect(_)) {
            call.expect_nobody();
        }
        let ticket = self.ticket(call);
        // Who is to go is told also to those who are not heard of yet, or not any more.
        let concerns_all = self.settings.broker.is_some() && matches!(question, Question::Disconnect(_));
        if others > 0 || concerns_all {
            self.sender.sort(Parcel::Broker(Ask::Others { ticket, question }));
        }
        ticket
    }

    /// Another node asks this one.
    pub(super) fn asked(&mut self, now: Now, node: Box<str>, ticket: u64, question: Question) {
        let (due_ms, shards) = (now.mono_ms + DISTANT_TIMEOUT_MS, self.office.shards.len());
        match question {
            Question::Channels(prefix) => {
                let call = Call::channels(None, due_ms, shards, Of::All);
                self.ask(call.asked_by(node, ticket), &mail::Question::Channels { prefix });
            }
            Question::Channel(name) => {
                let call = Call::channels(None, due_ms, shards, Of::Single(name.clone()));
                self.ask(call.asked_by(node, ticket), &mail::Question::Channel(name));
            }
            Question::Disconnect(body) => match Kick::from_json(body.as_bytes()) {
                // The id of a connection is one of the node that was asked.
                Ok(Kick { who: Who::Connection(_), .. }) | Err(_) => {
                    tracing::warn!(node, "another node wants connections to end and does not say which");
                }
                Ok(kick) => {
                    let call = Call::disconnect(None, due_ms, shards).asked_by(node, ticket);
                    let ticket = self.ticket(call);
                    self.end_connections(ticket, &kick);
                }
            },
        }
    }

    /// Another node answers.
    pub(super) fn heard(&mut self, ticket: u64, part: Part) {
        if let Some(call) = self.calls.get_mut(&ticket) {
            call.heard(part);
        }
    }

    /// Answers the node that asked; where a shard of this one is silent, not at all.
    pub(super) fn answer_node(&mut self, node: Box<str>, ticket: u64, call: Call) {
        if let Some(part) = call.part() {
            self.sender.sort(Parcel::Broker(Ask::Answer { node, ticket, part }));
        }
    }
}
