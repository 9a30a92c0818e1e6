//! `GET /metrics`: what shards, control thread and kernel say, put together. Must never ask the kernel between two scrapes.

use super::Control;
use super::calls::Counted;
use crate::api::Reply;
use crate::cluster::Health;
use crate::metrics::host::Process;
use crate::metrics::text::{Format, Snapshot, render};
use crate::sys::observe;

impl Control {
    pub(super) fn metrics(&self, shards: Vec<Option<Counted>>, format: Format) -> Reply {
        let (status_watchers, status_looks) = self.watch.counts();
        let after_ms = |counted: &Option<Counted>| counted.as_ref().map(|counted| counted.after_ms);
        let answered_after_ms = shards.iter().map(after_ms).collect();
        let shards: Vec<_> = shards.into_iter().map(|counted| Some(counted?.counters)).collect();
        let connections = shards.iter().flatten().map(|counters| counters.connections).sum();
        let snapshot = Snapshot {
            answered_after_ms,
            mailbox_bytes: self.office.shards.iter().map(|mailbox| mailbox.bytes() as u64).collect(),
            process: self.process(connections),
            kernel: observe::kernel(),
            shards,
            connections_max: self.settings.connections_max as u64,
            queued_bytes_max: self.settings.queued_bytes_max as u64,
            api_requests: self.requests,
            status_watchers,
            status_looks,
            ready: self.is_ready(),
            broker: self.settings.broker.as_ref().map(Health::look),
        };
        let body = render(snapshot, format).into_bytes();
        Reply { status: 200, content_type: format.content_type(), body, headers: Vec::new() }
    }

    /// Where the kernel does not count descriptors, they are those of the start and one for each connection.
    fn process(&self, connections: u64) -> Process {
        let process = observe::process(self.settings.own_tables);
        let counted = self.fds_at_start + connections + self.conns.len() as u64;
        Process { open_fds: process.open_fds.or(Some(counted)), ..process }
    }
}
