//! Polling against a WebSocket for the same freshness, and which of them is the better choice. Must never know of nodes.

use super::measured::{PING, POLL_KEPT, POLL_NEW};
use super::{Channels, Question, delivery_us, wire};
use crate::limits::KEEP_ALIVE_MS;
use serde::Serialize;

/// What one way of telling news costs all clients together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Connections that are open all the time.
    pub connections: f64,
    /// Requests an hour.
    pub requests_per_hour: f64,
    /// Bytes of 30 days, either way, at the level of IP.
    pub bytes_per_month: f64,
    /// Cores that are busy with it.
    pub cores: f64,
    /// How old news may be when a client has it, in seconds; 0 is what the network takes.
    pub age_s: f64,
}

/// Which way is the better choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// A WebSocket.
    WebSocket,
    /// A request every now and then.
    Polling,
}

/// Both ways, the better one, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// By WebSocket.
    pub websocket: Cost,
    /// By polling.
    pub polling: Cost,
    /// Which one to take.
    pub better: Way,
    /// Why, a sentence each.
    pub why: Vec<String>,
}

/// Compares the two, where a node has so many connections.
#[must_use]
pub fn compare(question: &Question, of_node: u64) -> Comparison {
    let websocket = websocket(question, of_node);
    let polling = polling(question);
    let mut why = Vec::new();
    if polling.bytes_per_month <= websocket.bytes_per_month && polling.cores <= websocket.cores {
        why.push("it takes fewer bytes and less processor time, pings counted".to_owned());
    }
    let freshness_s = question.freshness_s();
    if freshness_s >= RARE_S && question.rate * RARE_S <= 1.0 {
        why.push("news is rarer than once a minute, and may be that old".to_owned());
    }
    let requests_per_s = polling.requests_per_hour / 3600.0;
    if requests_per_s <= FEW_PER_S {
        why.push(format!("{} requests a second are no load to any web server", round(requests_per_s)));
    }
    if why.is_empty() {
        let bytes = polling.bytes_per_month / websocket.bytes_per_month;
        let cores = polling.cores / websocket.cores;
        why.push(format!(
            "polling takes {} times the bytes and {} times the processor time",
            round(bytes),
            round(cores)
        ));
        why.push(format!(
            "news is {} s old at worst by polling, and there at once by WebSocket",
            round(freshness_s)
        ));
        return Comparison { websocket, polling, better: Way::WebSocket, why };
    }
    if question.channels == Channels::Shared {
        why.push("all get the same answer: a cache or CDN takes nearly all of the load away".to_owned());
    }
    Comparison { websocket, polling, better: Way::Polling, why }
}

fn websocket(question: &Question, of_node: u64) -> Cost {
    let connections = question.connections as f64;
    let pings = 1.0 / question.ping_s();
    let bytes = wire::delivery(question.bytes).times(question.rate).plus(wire::ping().times(pings));
    let cpu_us = question.rate * delivery_us(question.channels, of_node) + pings * PING.value;
    Cost {
        connections,
        requests_per_hour: 0.0,
        bytes_per_month: connections * bytes.sum() * MONTH_S,
        cores: connections * cpu_us / US_PER_S,
        age_s: 0.0,
    }
}

fn polling(question: &Question) -> Cost {
    let connections = question.connections as f64;
    let every_s = question.freshness_s();
    let kept = every_s * 1000.0 <= KEEP_ALIVE_MS as f64;
    // Who polls gets the latest, however often it has changed.
    let news = (question.rate * every_s).min(1.0) * wire::message(question.bytes) as f64;
    let cpu_us = if kept { POLL_KEPT.value } else { POLL_NEW.value };
    Cost {
        connections: if kept { connections } else { 0.0 },
        requests_per_hour: connections * 3600.0 / every_s,
        bytes_per_month: connections * wire::poll(news, kept).sum() / every_s * MONTH_S,
        cores: connections * cpu_us / every_s / US_PER_S,
        age_s: every_s,
    }
}

/// Two digits that mean something.
fn round(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// 30 days.
const MONTH_S: f64 = 30.0 * 24.0 * 3600.0;
/// Microseconds of a second.
pub(super) const US_PER_S: f64 = 1e6;
/// News that is no more frequent than this is what README.md, "When not to use it", means.
const RARE_S: f64 = 60.0;
/// Requests a second that need no thought.
const FEW_PER_S: f64 = 10.0;
