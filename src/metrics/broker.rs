//! What is told of the broker of several nodes. Must never ask it.

use super::text::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;
use std::fmt;

/// The broker, as its thread sees it. All but `up` and `followed` only ever rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broker {
    /// It is there.
    pub up: bool,
    /// How often it was connected to.
    pub connects: u64,
    /// Publications that came from it.
    pub incoming: u64,
    /// Publications that it has numbered for this node.
    pub published: u64,
    /// Publications that it has not got, as their publishers were told.
    pub refused: u64,
    /// Publications of which that is not known.
    pub unknown: u64,
    /// Channels that this node hears of.
    pub followed: u64,
    /// Nodes of the cluster that live, this one among them.
    pub nodes: u64,
    /// Bytes that wait to be sent to it.
    pub waiting_bytes: u64,
}

impl Broker {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        gauge(encoder, "roost_broker_up", "Whether the broker is there", u64::from(self.up))?;
        gauge(encoder, "roost_broker_followed_channels", "Channels that this node hears of", self.followed)?;
        gauge(encoder, "roost_broker_nodes", "Nodes of the cluster that live", self.nodes)?;
        gauge(
            encoder,
            "roost_broker_waiting_bytes",
            "What waits to be sent to the broker",
            self.waiting_bytes,
        )?;
        for (name, help, value) in [
            ("roost_broker_connects", "Times that the broker was connected to", self.connects),
            ("roost_broker_incoming", "Publications that came from the broker", self.incoming),
            (
                "roost_broker_published",
                "Publications that the broker has numbered for this node",
                self.published,
            ),
            (
                "roost_broker_refused",
                "Publications that the broker has not got, and nobody else",
                self.refused,
            ),
            (
                "roost_broker_unknown",
                "Publications of which it is not known whether the broker has got them",
                self.unknown,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            family.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}
