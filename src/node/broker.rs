//! The broker of several nodes, where there is one: its thread, and the way of what it tells to the owners. Must never look into that.

use super::{NodeError, random};
use crate::cluster::{Cluster, Receiver};
use crate::config::Config;
use crate::hub::ShardId;
use crate::hub::broker::Told;
use crate::hub::names::Names;
use crate::limits::MAILBOX_BYTES_MAX;
use crate::reactor::post_office::{PostOffice, Sender};
use crate::shard::mail::{Mail, Parcel};
use std::sync::Arc;

/// What the broker's thread tells goes to the owner of the channel.
struct Owners {
    sender: Sender,
    names: Names,
    shards: u16,
}

impl Receiver for Owners {
    fn deliver(&mut self, told: Vec<Told>) {
        for one in told {
            match one.name() {
                Some(name) => {
                    let owner = self.names.owner(name, self.shards);
                    self.sender.sort(Parcel::Shard(owner, Mail::Told(Box::new(one))));
                }
                None => {
                    let again = || if matches!(one, Told::Away) { Told::Away } else { Told::Back };
                    for shard in (0..self.shards).map(ShardId) {
                        self.sender.sort(Parcel::Shard(shard, Mail::Told(Box::new(again()))));
                    }
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
