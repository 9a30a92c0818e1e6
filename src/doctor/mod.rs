#![doc = include_str!("README.md")]

mod facts;
mod rows;
pub mod wanted;

pub use facts::{Fact, Facts, GroupBound, Use};

use crate::capacity::{self, Host, Plan};
use serde::Serialize;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Connections that the node shall hold, at most `CONNECTIONS_MAX`.
    pub connections: u64,
    /// Shards that it starts with at least: its cores.
    pub shards: usize,
    /// Pairs of addresses between a proxy on the same host and the node, where there is one.
    pub proxy_pairs: Option<u64>,
}

/// A value of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// A number, or several.
    Count(Vec<u64>),
    /// Bytes.
    Bytes {
        /// How many.
        bytes: u64,
    },
    /// A word in its place.
    Word(&'static str),
}

impl Amount {
    /// One number.
    #[must_use]
    pub fn one(number: u64) -> Self {
        Self::Count(vec![number])
    }

    /// So many bytes.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        Self::Bytes { bytes }
    }
}

/// What it takes for a limit to be hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The connections are there.
    Always,
    /// All come at once.
    Arriving,
    /// A publication waits for all.
    Waiting,
    /// All leave within a minute.
    Leaving,
}

impl When {
    /// The same in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Always => "they are there",
            Self::Arriving => "all come at once",
            Self::Waiting => "a publication waits for all",
            Self::Leaving => "all leave at once",
        }
    }
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It carries what was asked for.
    Ok,
    /// It does not.
    Short,
    /// There is something to know; nothing is in the way.
    Note,
    /// This process does not see it.
    Hidden,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// As the kernel or systemd calls it.
    pub limit: String,
    /// What it takes to hit it.
    pub when: When,
    /// How it stands.
    pub state: State,
    /// What it is.
    pub now: Amount,
    /// How many connections it carries; none where it does not bite by their number.
    pub carries: Option<u64>,
    /// What the connections want.
    pub wanted: Amount,
    /// Short: the command or line that lifts it. Else what there is to know, or nothing.
    pub words: String,
}

/// All limits of a host, for a number of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The number that was asked for.
    pub connections: u64,
    /// By the number of connections at which they bite, the first one first.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// The limits that are in the way, the first one first.
    pub fn short(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.state == State::Short)
    }

    /// The first limit in the way: of those that keep clients out whatever they do, else of the others.
    #[must_use]
    pub fn first(&self) -> Option<&Finding> {
        self.short().find(|finding| finding.when == When::Always).or_else(|| self.short().next())
    }

    /// The first limit that would bite beyond what was asked for.
    #[must_use]
    pub fn next(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.carries.is_some_and(|carries| carries >= self.connections))
    }
}

/// Judges a host.
#[must_use]
pub fn diagnose(facts: &Facts, question: Question) -> Diagnosis {
    let mut findings = rows::all(facts, question);
    // Stable: of those that bite at the same number, the one that a node meets first comes first.
    findings.sort_by_key(|finding| finding.carries.unwrap_or(u64::MAX));
    Diagnosis { connections: question.connections, findings }
}

/// What a node would find at its start, as far as it is visible. A host that was not asked whether threads may have tables
/// of their own is taken to allow it, as Linux does.
#[must_use]
pub fn host(facts: &Facts) -> Host {
    let files = facts.files.known();
    let number =
        |value: Option<u64>| value.map_or(usize::MAX, |value| usize::try_from(value).unwrap_or(usize::MAX));
    let group = facts.group_memory.clone().known().map(|group| group.room.max);
    Host {
        descriptors: number(facts.descriptors.known()).min(DESCRIPTORS_MAX),
        separable: facts.separable.known().unwrap_or(true),
        files: number(files.map(Use::left)),
        files_max: number(files.map(|files| files.max)),
        memory_bytes: number(facts.memory_bytes.known().into_iter().chain(group).min()),
    }
}

/// Where the connections would go, if descriptors carry them.
fn plan(host: Host, question: Question) -> Option<Plan> {
    // Of descriptors alone: files and memory do not change the number of shards.
    let host = Host { files: usize::MAX, files_max: usize::MAX, memory_bytes: usize::MAX, ..host };
    let wanted = question.connections as usize;
    capacity::plan(wanted, question.shards, host).ok().filter(|plan| plan.conns_max >= wanted)
}

/// Linux lets no table hold more (fs/file.c).
const DESCRIPTORS_MAX: usize = 1 << 31;

#[cfg(test)]
mod tests;
