//! The contract, sentence by sentence, against a running node: what a well-behaved client (tungstenite) hears, and what
//! bytes that nobody should send are answered with. Must never know how the node does it.

mod api;
mod channels;
mod client;
mod connections;
mod disconnect;
mod drains;
mod events;
mod fallback;
mod frames;
mod handshake;
mod history;
mod http;
mod life;
mod limits;
mod logs;
mod metrics;
mod node;
mod poll;
mod publisher;
mod roaming;
mod shards;
mod status;
mod wire;
