//! The broker of several nodes, where there is one: its thread, and the way of what it tells to the owners. Must never look into that.

use super::{NodeError, random};
use crate::cluster::{Cluster, Receiver};
use crate::config::Config;
use crate::hub::ShardId;
use crate::hub::broker::Told;
use crate::hub::names::Names;
use crate::limits::MAILBOX_BYTES_MAX;
use crate::reactor::post_office::{PostOffice, Sender};
use crate::shard::mail::{Mail, Parcel, Report};
use std::sync::Arc;

/// What the broker's thread tells goes to the owner of the channel.
struct Owners {
    sender: Sender,
    names: Names,
    shards: u16,
}

impl Owners {
    fn tell_all(&mut self, told: impl Fn() -> Told) {
        for shard in (0..self.shards).map(ShardId) {
            self.sender.sort(Parcel::Shard(shard, Mail::Told(Box::new(told()))));
        }
    }
}

impl Receiver for Owners {
    fn deliver(&mut self, told: Vec<Told>) {
        for one in told {
            match one {
                Told::Away => self.tell_all(|| Told::Away),
                Told::Back => self.tell_all(|| Told::Back),
                Told::Asked { node, ticket, question } => {
                    self.sender.sort(Parcel::Control(Report::Asked { node, ticket, question }));
                }
                Told::Heard { ticket, part } => {
                    self.sender.sort(Parcel::Control(Report::Heard { ticket, part }));
                }
                one => {
                    let owner = one.name().map(|name| self.names.owner(name, self.shards));
                    let mail = Mail::Told(Box::new(one));
                    self.sender
                        .sort(Parcel::Shard(owner.expect("what is for an owner names a channel"), mail));
                }
            }
        }
        self.sender.send();
    }

    fn is_congested(&self, name: &str) -> bool {
        let owner = self.names.owner(name, self.shards);
        self.sender.office().shards[usize::from(owner.0)].bytes() > MAILBOX_BYTES_MAX
    }
}

/// The way to the broker, where the configuration names one.
pub(super) fn prepare(config: &Config) -> Result<Option<Cluster>, NodeError> {
    let Some(addr) = &config.broker else { return Ok(None) };
    Cluster::new(addr, &config.broker_prefix, random()).map(Some).map_err(NodeError::Broker)
}

/// Starts its thread: behind those of the shards, whose tables would keep its connections.
pub(super) fn start(
    cluster: Option<Cluster>,
    office: Arc<PostOffice>,
    names: Names,
) -> Result<(), NodeError> {
    let Some(cluster) = cluster else { return Ok(()) };
    let shards = office.shards.len() as u16;
    let owners = Owners { sender: Sender::new(office), names, shards };
    cluster.start(owners).map_err(|error| NodeError::System("the broker's thread", error))
}
