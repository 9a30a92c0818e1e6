//! Shards driven by hand through their public verbs, so that mail arrives, sockets take bytes and time passes exactly when a
//! test says.

mod attempts;
mod budget;
mod connections;
mod drain;
mod fallback;
mod kick;
mod lag;
mod line;
mod look;
mod node;
mod pace;
mod presence;
mod regressions;
mod replay;
mod times;
mod tokens;

use roost::clock::Now;
use roost::hub::names::Names;
use roost::shard::{Readiness, Settings};

/// The moment of tests in which no time passes.
const NOW: Now = Now { mono_ms: 3_600_000, wall_ms: 1_700_000_000_000 };
const READY: Readiness = Readiness { readable: true, writable: true, read_closed: false };
/// The peer ended its side.
const ENDED: Readiness = Readiness { readable: true, writable: true, read_closed: true };

/// What one of so many shards is told.
fn settings(id: u16, shards: u16) -> Settings {
    Settings::new(id, shards, Names::new(1))
}
