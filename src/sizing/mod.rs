#![doc = include_str!("README.md")]

pub mod measured;
pub mod polling;
pub mod wire;

use measured::{DELIVERY, DELIVERY_EACH, KERNEL, Measured, OWN_EACH, OWN_SHARED, PING, START, WAITING};
use polling::{Comparison, US_PER_S, compare};
use serde::Serialize;

/// Who gets what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// All follow one channel.
    Shared,
    /// Each follows a channel of its own.
    Own,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Question {
    /// Connections in all, one at least.
    pub connections: u64,
    /// Messages that each gets a second.
    pub rate: f64,
    /// Data bytes of each.
    pub bytes: u64,
    /// Who gets what.
    pub channels: Channels,
    /// How old news may be, in milliseconds, one at least.
    pub freshness_ms: u64,
    /// Time from one ping of a connection to the next, in milliseconds, one at least.
    pub ping_ms: u64,
    /// Bytes of memory of a node.
    pub node_memory_bytes: u64,
    /// Cores of a node.
    pub cores: u64,
    /// Connections that one node gets at most.
    pub per_node: u64,
    /// Nodes, where that is not asked.
    pub nodes: Option<u64>,
}

impl Question {
    fn freshness_s(&self) -> f64 {
        self.freshness_ms as f64 / 1000.0
    }

    fn ping_s(&self) -> f64 {
        self.ping_ms as f64 / 1000.0
    }
}

/// What bounds a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Its memory.
    Memory,
    /// Its cores.
    Cores,
    /// `per_node`.
    PerNode,
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Memory {
    /// The kernel's, of idle connections.
    pub kernel: f64,
    /// roost's own.
    pub own: f64,
    /// A page for each connection, while a publication waits for all.
    pub waiting: f64,
    /// All of that, and a quarter to spare.
    pub needed: f64,
}

/// Cores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cores {
    /// Busy with deliveries.
    pub deliveries: f64,
    /// Busy with pings.
    pub pings: f64,
    /// Both, and a quarter to spare.
    pub needed: f64,
}

/// Bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bandwidth {
    /// From the nodes.
    pub down: f64,
    /// To the nodes.
    pub up: f64,
}

/// What a number of connections takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Load {
    /// The number.
    pub connections: u64,
    /// Memory of it.
    pub memory: Memory,
    /// Cores that it keeps busy.
    pub cores: Cores,
    /// What goes over the network.
    pub bandwidth: Bandwidth,
    /// Deliveries a second.
    pub deliveries: f64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// What was asked.
    pub question: Question,
    /// Connections that a node carries, at most, and why no more.
    pub node_carries: u64,
    /// Why no more.
    pub bound: Bound,
    /// Nodes that it takes, and one to spare. None where a node carries nothing.
    pub nodes_needed: Option<u64>,
    /// The nodes that were given, or else those that it takes.
    pub nodes: Option<u64>,
    /// Whether they carry everybody while one of them is away.
    pub carried: bool,
    /// A node while one is away.
    pub node: Load,
    /// All of them together.
    pub all: Load,
    /// Seconds that all cores of a node take for one publication to all its clients.
    pub publication_s: f64,
    /// Polling against a WebSocket.
    pub comparison: Comparison,
}

/// Works it out.
#[must_use]
pub fn estimate(question: Question) -> Estimate {
    let (node_carries, bound) = node_carries(&question);
    let nodes_needed = (node_carries > 0).then(|| question.connections.div_ceil(node_carries) + 1);
    let nodes = question.nodes.or(nodes_needed);
    // The only node there is cannot be away.
    let present = nodes.unwrap_or(1).saturating_sub(1).max(1);
    let of_node = question.connections.div_ceil(present);
    let node = load(&question, of_node);
    let delivery_us = delivery_us(question.channels, of_node);
    Estimate {
        question,
        node_carries,
        bound,
        nodes_needed,
        nodes,
        carried: of_node <= node_carries,
        node,
        all: sum(node, &question, of_node),
        publication_s: of_node as f64 * delivery_us / US_PER_S / question.cores as f64,
        comparison: compare(&question, of_node),
    }
}

/// The most connections of a node, found by halving: every need grows with their number.
fn node_carries(question: &Question) -> (u64, Bound) {
    let fits_memory = |count| load(question, count).memory.needed <= question.node_memory_bytes as f64;
    let fits_cores = |count| load(question, count).cores.needed <= question.cores as f64;
    let most = |fits: &dyn Fn(u64) -> bool| {
        let (mut low, mut high) = (0, question.per_node + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    };
    let bounds = [
        (question.per_node, Bound::PerNode),
        (most(&fits_memory), Bound::Memory),
        (most(&fits_cores), Bound::Cores),
    ];
    bounds.into_iter().min_by_key(|&(count, _)| count).unwrap_or(bounds[0])
}

/// Of one node.
fn load(question: &Question, connections: u64) -> Load {
    let count = connections as f64;
    let own = own(question.channels).value;
    let (kernel, waiting, own) = (count * KERNEL.value, count * WAITING.value, START.value + count * own);
    let pings = count / question.ping_s();
    let deliveries = count * question.rate;
    let delivering = deliveries * delivery_us(question.channels, connections) / US_PER_S;
    let pinging = pings * PING.value / US_PER_S;
    let bytes = wire::delivery(question.bytes).times(deliveries).plus(wire::ping().times(pings));
    Load {
        connections,
        memory: Memory { kernel, own, waiting, needed: (kernel + own + waiting) * SPARE },
        cores: Cores { deliveries: delivering, pings: pinging, needed: (delivering + pinging) * SPARE },
        bandwidth: Bandwidth { down: bytes.down * 8.0, up: bytes.up * 8.0 },
        deliveries,
    }
}

/// What all nodes take, of which each takes `node` for `of_node` connections.
fn sum(node: Load, question: &Question, of_node: u64) -> Load {
    let factor = question.connections as f64 / of_node.max(1) as f64;
    let Load { memory, cores, bandwidth, .. } = node;
    Load {
        connections: question.connections,
        memory: Memory {
            kernel: memory.kernel * factor,
            own: memory.own * factor,
            waiting: memory.waiting * factor,
            needed: memory.needed * factor,
        },
        cores: Cores {
            deliveries: cores.deliveries * factor,
            pings: cores.pings * factor,
            needed: cores.needed * factor,
        },
        bandwidth: Bandwidth { down: bandwidth.down * factor, up: bandwidth.up * factor },
        deliveries: node.deliveries * factor,
    }
}

/// roost's own part of a connection.
#[must_use]
pub fn own(channels: Channels) -> Measured {
    match channels {
        Channels::Shared => OWN_SHARED,
        Channels::Own => OWN_EACH,
    }
}

/// What a delivery takes on a node of so many connections: as measured with the next larger number.
#[must_use]
pub fn delivery(channels: Channels, connections: u64) -> Measured {
    let larger = DELIVERY.iter().find(|(measured, _)| *measured >= connections);
    match channels {
        Channels::Own => DELIVERY_EACH,
        Channels::Shared => larger.unwrap_or(&DELIVERY[DELIVERY.len() - 1]).1,
    }
}

fn delivery_us(channels: Channels, connections: u64) -> f64 {
    delivery(channels, connections).value
}

/// A quarter of what is needed is kept to spare.
const SPARE: f64 = 1.25;

#[cfg(test)]
mod tests;
