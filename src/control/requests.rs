//! What each call of the API sets going: an answer at once, or questions to the shards. Must never wait for an answer.

use super::Control;
use super::calls::{Call, Caller, Of, Purpose, away, overloaded};
use super::conn::Request;
use crate::api::connections::nobody;
use crate::api::disconnect::{Kick, Who};
use crate::api::page::page;
use crate::api::publish::{Batch, Publication};
use crate::api::{Reply, Route};
use crate::clock::Now;
use crate::hub::ShardId;
use crate::hub::distant;
use crate::limits::CALL_TIMEOUT_MS;
use crate::proto::http::Refusal;
use crate::shard::mail::{Mail, Parcel, Publisher, Question};
use std::sync::Arc;

impl Control {
    pub(super) fn call(&mut self, now: Now, conn: (usize, u64), request: Request) {
        self.requests += 1;
        let caller = Some(conn);
        let due_ms = now.mono_ms + CALL_TIMEOUT_MS;
        let shards = self.office.shards.len();
        match request.route {
            Route::Publish { ndjson } => {
                let batch = if ndjson {
                    Ok(Batch::from_ndjson(&request.body))
                } else {
                    Batch::from_json(&request.body)
                };
                match batch {
                    Ok(batch) => self.publish(now, caller, due_ms, batch),
                    Err(refusal) => self.reply(now, caller, &Reply::refusal(&refusal)),
                }
            }
            Route::Channels { prefix } => {
                let call = Call::channels(caller, due_ms, shards, Of::All);
                let ticket = self.share(now, call, distant::Question::Channels(prefix.clone()));
                self.tell_all(|| Mail::Ask {
                    ticket,
                    question: Question::Channels { prefix: prefix.clone() },
                });
            }
            Route::Channel { name } => {
                let call = Call::channels(caller, due_ms, shards, Of::Single(name.clone()));
                self.ask_all_of_channel(now, call, name);
            }
            Route::Presence { name } if !self.settings.policies.for_channel(&name).presence => {
                self.reply(now, caller, &Reply::refusal(&uncounted()));
            }
            // Each shard counts its own: what its connections were told by now is in it.
            Route::Presence { name } => {
                let call = Call::channels(caller, due_ms, shards, Of::Presence(name.clone()));
                self.ask_all_of_channel(now, call, name);
            }
            Route::Connections(listing) => {
                let call = Call::connections(caller, due_ms, shards, listing);
                self.ask(call, &Question::Connections(listing));
            }
            Route::Connection(key) if usize::from(key.shard.0) >= shards => {
                self.reply(now, caller, &Reply::refusal(&nobody()));
            }
            Route::Connection(key) => {
                let ticket = self.ticket(Call::connection(caller, due_ms));
                let mail = Mail::Ask { ticket, question: Question::Connection(key) };
                self.sender.sort(Parcel::Shard(key.shard, mail));
            }
            Route::Disconnect => match Kick::from_json(&request.body) {
                Ok(kick) => self.disconnect(now, caller, due_ms, &kick, &request.body),
                Err(refusal) => self.reply(now, caller, &Reply::refusal(&refusal)),
            },
            Route::Metrics(format) => {
                self.ask(Call::counters(caller, now.mono_ms, shards, format), &Question::Counters);
            }
            Route::Density => self.survey(now, caller, Purpose::Density),
            Route::StatusPage => self.reply(now, caller, &page()),
            Route::Status => self.status(now, caller),
            Route::StatusEvents => self.watch(now, conn),
            Route::Health => self.reply(now, caller, &Reply::text(200, "ok")),
            Route::Drain => self.drain(now, caller, &request.body),
            Route::DrainProgress => self.ask_for_drain(now, caller),
            Route::Resume => self.resume(now, caller),
            Route::Ready if !self.drain.is_ready() => self.reply(now, caller, &Reply::refusal(&draining())),
            Route::Ready if !self.is_ready() => self.reply(now, caller, &Reply::refusal(&away())),
            Route::Ready => self.reply(now, caller, &Reply::text(200, "ready")),
        }
    }

    pub(super) fn ask(&mut self, call: Call, question: &Question) {
        let ticket = self.ticket(call);
        self.tell_all(|| Mail::Ask { ticket, question: question.clone() });
    }

    fn ask_all_of_channel(&mut self, now: Now, call: Call, name: Arc<str>) {
        let ticket = self.share(now, call, distant::Question::Channel(name.clone()));
        self.tell_all(|| Mail::Ask { ticket, question: Question::Channel(name.clone()) });
    }

    /// Whoever is meant is counted by each shard, here and on the other nodes; one connection by its own shard alone.
    fn disconnect(&mut self, now: Now, caller: Caller, due_ms: u64, kick: &Kick, body: &[u8]) {
        let shards = self.office.shards.len();
        let ticket = match kick.who {
            Who::Connection(key) if usize::from(key.shard.0) >= shards => {
                return self.finish(now, Call::disconnect(caller, due_ms, 0));
            }
            Who::Connection(_) => self.ticket(Call::disconnect(caller, due_ms, 1)),
            Who::User(_) | Who::Ip(_) | Who::Channel(_) => {
                // It was read as JSON, so it is text.
                let body = String::from_utf8_lossy(body).into_owned();
                self.share(now, Call::disconnect(caller, due_ms, shards), distant::Question::Disconnect(body))
            }
        };
        self.end_connections(ticket, kick);
    }

    /// Has the shards end connections, and tell how many.
    pub(super) fn end_connections(&mut self, ticket: u64, kick: &Kick) {
        tracing::info!(?kick, "connections are to end");
        let shards = (0..self.office.shards.len()).map(|shard| ShardId(shard as u16));
        let meant = |shard: &ShardId| !matches!(kick.who, Who::Connection(key) if key.shard != *shard);
        for shard in shards.filter(meant) {
            let mail = Mail::Disconnect { ticket, kick: Box::new(kick.clone()) };
            self.sender.sort(Parcel::Shard(shard, mail));
        }
    }

    fn publish(&mut self, now: Now, caller: Caller, due_ms: u64, mut batch: Batch) {
        let shards = self.office.shards.len() as u16;
        let names = self.settings.names;
        let owners: Vec<_> = batch.publications.iter().map(|one| names.owner(&one.channel, shards)).collect();
        let congested = self.office.congested();
        // All or nothing, as far as it can be known beforehand.
        if owners.iter().any(|&owner| congested.contains(owner)) {
            return self.reply(now, caller, &Reply::refusal(&overloaded()));
        }
        // The answer names channels alone, so the data goes out without a copy.
        let outgoing: Vec<_> = batch
            .publications
            .iter_mut()
            .map(|publication| {
                let Publication { channel, data, key, id } = publication;
                (channel.clone(), std::mem::take(data), key.take(), id.take())
            })
            .collect();
        let call = Call::publish(caller, due_ms, batch);
        if call.is_complete() {
            return self.finish(now, call);
        }
        let ticket = self.ticket(call);
        for (index, ((name, data, key, id), owner)) in outgoing.into_iter().zip(owners).enumerate() {
            let publisher = Publisher::Call { ticket, index: index as u32, id };
            self.sender.sort(Parcel::Shard(owner, Mail::Publish { name, data, key, publisher }));
        }
    }

    pub(super) fn ticket(&mut self, call: Call) -> u64 {
        self.serial += 1;
        self.calls.insert(self.serial, call);
        self.serial
    }
}

fn uncounted() -> Refusal {
    Refusal::new(403, "forbidden", "nobody counts who follows this channel: its policy has no `presence`")
}

fn draining() -> Refusal {
    Refusal::new(503, "unavailable", "the node is going away")
}
