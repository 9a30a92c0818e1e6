//! The limits of the host that a node's connections will hit, said in its log when it starts: what `roost doctor` says. It starts
//! nevertheless. Must never judge a limit itself.

use crate::capacity::Plan;
use crate::config::Config;
use crate::doctor::{self, Fact, Question};
use crate::sys::descriptors::Raised;
use crate::sys::host::{self, Problem, Source};

/// Logs one line for each of them. What the process does not see, as under `ProcSubset=pid` (systemd.exec(5)), is not spoken
/// of.
pub(super) fn warn(config: &Config, raised: Raised, plan: Plan) {
    let (mut facts, faults) = host::read(&Source::default());
    for fault in faults.iter().filter(|fault| matches!(fault.problem, Problem::Wrong(..))) {
        tracing::warn!(%fault, "a limit of this host cannot be judged");
    }
    // Descriptors are planned for by now.
    facts.descriptors = Fact::Known(raised.to);
    facts.separable = Fact::Known(true);
    let connections = plan.conns_max as u64;
    let question = Question { connections, shards: config.shards, proxy_pairs: None };
    for short in doctor::diagnose(&facts, question).short() {
        tracing::warn!(
            limit = short.limit,
            carries = short.carries,
            connections,
            when = short.when.words(),
            fix = short.words,
            "a limit of this host carries fewer connections than this node takes; `roost doctor` shows all"
        );
    }
}
