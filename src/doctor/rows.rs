//! Each limit: how many connections it carries, what they want of it, and what lifts it. Must never ask the host itself.

use super::facts::{Fact, Facts, GroupBound, Use};
use super::{Amount, Finding, Question, State, When, host, plan, wanted};
use crate::capacity::{self, Host, Plan};
use crate::limits::{CONN_MEMORY_BYTES, SHARDS_MAX};

/// All limits, in the order in which a node meets them.
pub(super) fn all(facts: &Facts, question: Question) -> Vec<Finding> {
    let host = host(facts);
    let case = Case { facts, question, host, plan: plan(host, question) };
    [descriptors(&case), memory(&case), tasks(&case), network(&case)].concat()
}

struct Case<'a> {
    facts: &'a Facts,
    question: Question,
    host: Host,
    /// None where descriptors do not carry the connections.
    plan: Option<Plan>,
}

impl Case<'_> {
    /// Shards that the connections go into; where descriptors are short, those of one table that is long enough.
    fn shards(&self) -> u64 {
        self.plan.map_or(self.question.shards, |plan| plan.shards) as u64
    }

    fn connections(&self) -> u64 {
        self.question.connections
    }

    /// A limit that bites at a number of connections.
    fn bites(
        &self,
        limit: impl Into<String>,
        when: When,
        now: Amount,
        carries: u64,
        wanted: Amount,
    ) -> Finding {
        let state = if carries < self.connections() { State::Short } else { State::Ok };
        Finding {
            limit: limit.into(),
            when,
            state,
            now,
            carries: Some(carries),
            wanted,
            words: String::new(),
        }
    }

    /// A limit in connections. `carries` says how many of them a value carries.
    fn of_connections(
        &self,
        limit: &str,
        when: When,
        fact: Fact<Use>,
        carries: impl FnOnce(u64) -> u64,
        wanted: u64,
    ) -> Finding {
        let Fact::Known(room) = fact else { return absent(limit, when, fact, Amount::one(wanted)) };
        self.bites(limit, when, Amount::one(room.max), carries(room.left()), Amount::one(wanted))
            .lifted_by(|| set(limit, wanted))
    }

    /// A limit in shards, of which some are needed: it carries what goes into those that it allows.
    fn of_shards(&self, limit: impl Into<String>, now: u64, allows: u64, wanted: u64) -> Finding {
        let allows = allows.min(SHARDS_MAX as u64);
        let state = if allows < self.shards() { State::Short } else { State::Ok };
        let carries = capacity::carried(self.question.shards, allows as usize, self.host) as u64;
        // Where more shards cannot be had anyway, it is not this that bounds the connections.
        let carries = (allows < SHARDS_MAX as u64).then_some(carries);
        let (now, wanted) = (Amount::one(now), Amount::one(wanted));
        Finding { limit: limit.into(), when: When::Always, state, now, carries, wanted, words: String::new() }
    }
}

impl Finding {
    /// Says what lifts it, where it is short.
    fn lifted_by(mut self, fix: impl FnOnce() -> String) -> Self {
        if self.state == State::Short {
            self.words = fix();
        }
        self
    }

    /// Where it is short, says what becomes of that: nobody is kept out.
    fn softened(mut self, words: &str) -> Self {
        if self.state == State::Short {
            self.state = State::Note;
            self.words = format!("{words}: {}", self.words);
        }
        self
    }

    /// Adds what there is to know, where it is not short.
    fn noted(mut self, words: impl Into<String>) -> Self {
        if self.state != State::Short {
            self.state = State::Note;
            self.words = words.into();
        }
        self
    }
}

/// A limit that is not there, or not to be seen.
fn absent<T>(limit: &str, when: When, fact: Fact<T>, wanted: Amount) -> Finding {
    let (state, now, words) = match fact {
        Fact::Known(_) | Fact::Unlimited => (State::Ok, Amount::Word("unlimited"), ""),
        Fact::Hidden => (State::Hidden, Amount::Word("-"), "not visible here: ask on the host itself"),
    };
    Finding { limit: limit.into(), when, state, now, carries: None, wanted, words: words.into() }
}

fn set(key: &str, value: u64) -> String {
    format!("sysctl -w {key}={value}")
}

fn descriptors(case: &Case<'_>) -> Vec<Finding> {
    let (facts, connections) = (case.facts, case.connections());
    let carried = |host| capacity::carried(case.question.shards, SHARDS_MAX, host) as u64;
    let limit = wanted::descriptors(connections);
    let table = match facts.descriptors {
        Fact::Known(now) => {
            let row = case
                .bites(
                    "RLIMIT_NOFILE",
                    When::Always,
                    Amount::one(now),
                    carried(case.host),
                    Amount::one(limit),
                )
                .lifted_by(|| format!("LimitNOFILE={limit} in the unit, or ulimit -Hn {limit}"));
            match case.plan.filter(|plan| plan.own_tables) {
                Some(plan) => row.noted(format!(
                    "they go into {} tables, a thread each; LimitNOFILE={limit} lets them go into one",
                    plan.shards
                )),
                None => row,
            }
        }
        other => absent("RLIMIT_NOFILE", When::Always, other, Amount::one(limit)),
    };
    let ceiling = facts.nr_open.map(|max| Use { max, used: 0 });
    let of_ceiling = |descriptors: u64| carried(Host { descriptors: descriptors as usize, ..case.host });
    vec![
        table,
        filter(case),
        case.of_connections("fs.nr_open", When::Always, ceiling, of_ceiling, wanted::nr_open(connections)),
        case.of_connections(
            "fs.file-max",
            When::Always,
            facts.files,
            |left| left,
            wanted::files(connections),
        ),
    ]
}

/// Whether a system-call filter lets threads have tables of their own.
fn filter(case: &Case<'_>) -> Finding {
    let (limit, wanted) = ("system-call filter", Amount::Word("own tables"));
    let now = match (case.facts.separable, case.facts.filtered) {
        (Fact::Known(false), _) => "refuses tables",
        (Fact::Known(true), _) => "own tables",
        (_, Fact::Known(true)) => "not asked",
        (_, Fact::Known(false) | Fact::Unlimited) => "none",
        (_, Fact::Hidden) => return absent(limit, When::Always, Fact::<bool>::Hidden, wanted),
    };
    if case.facts.separable == Fact::Known(false) {
        let carries = capacity::one_table(case.question.shards, case.host) as u64;
        return case.bites(limit, When::Always, Amount::Word(now), carries, wanted).lifted_by(|| {
            "let it allow close_range or unshare; SystemCallFilter=@system-service has both".to_owned()
        });
    }
    let row = absent(limit, When::Always, Fact::<bool>::Unlimited, wanted);
    Finding { now: Amount::Word(now), ..row }
}

fn memory(case: &Case<'_>) -> Vec<Finding> {
    let (facts, connections) = (case.facts, case.connections());
    let each = CONN_MEMORY_BYTES as u64;
    let needed = Amount::bytes(wanted::memory_bytes(connections));
    let of_host = match facts.memory_bytes {
        Fact::Known(bytes) => case
            .bites("memory", When::Always, Amount::bytes(bytes), bytes / each, needed)
            .lifted_by(|| more_memory(connections, bytes / each)),
        other => absent("memory", When::Always, other, needed),
    };
    let unit = wanted::unit_memory_bytes(connections);
    let of_group = |bound: &Fact<GroupBound>, property: &str| {
        let group = bound.clone().known()?;
        let row = case.bites(
            group.name(),
            When::Always,
            Amount::bytes(group.room.max),
            group.room.max / each,
            Amount::bytes(unit),
        );
        Some(row.lifted_by(|| group.set(property, unit, &format!("{}M", unit.div_ceil(1 << 20)))))
    };
    let groups =
        [of_group(&facts.group_memory, "MemoryMax"), of_group(&facts.group_memory_high, "MemoryHigh")];
    let mut rows = vec![of_host];
    rows.extend(groups.into_iter().flatten());
    rows.extend([tcp_memory(case), swap(case), overcommit(case)]);
    rows.extend(addresses(case));
    rows
}

fn swap(case: &Case<'_>) -> Finding {
    let bytes = case.facts.swap_bytes;
    let row = absent("swap", When::Always, bytes, Amount::bytes(0));
    let row = Finding { now: bytes.known().map_or(row.now.clone(), Amount::bytes), ..row };
    match bytes {
        Fact::Known(1..) => row.noted(
            "what is idle may be written out, and the next ping fetches it: MemorySwapMax=0 in the unit",
        ),
        _ => row,
    }
}

fn overcommit(case: &Case<'_>) -> Finding {
    let (mode, most) = (case.facts.overcommit, wanted::OVERCOMMIT);
    let row = absent("vm.overcommit_memory", When::Always, mode, Amount::one(most));
    let row = Finding { now: mode.known().map_or(row.now.clone(), Amount::one), ..row };
    match mode {
        Fact::Known(mode) if mode > most => row.noted("2 counts memory that is asked for and not used"),
        _ => row,
    }
}

fn more_memory(connections: u64, carries: u64) -> String {
    match connections.checked_div(carries) {
        Some(_) => format!("add memory, or spread them over {} nodes", connections.div_ceil(carries)),
        None => "add memory".to_owned(),
    }
}

/// A first waiting byte takes a page of a connection's own.
fn tcp_memory(case: &Case<'_>) -> Finding {
    let (facts, connections, limit) = (case.facts, case.connections(), "net.ipv4.tcp_mem");
    let memory_bytes = facts.memory_bytes.known().unwrap_or(u64::MAX);
    let needed = wanted::tcp_mem(connections, memory_bytes, facts.page_bytes);
    let Fact::Known(now) = facts.tcp_mem else {
        return absent(limit, When::Waiting, facts.tcp_mem, Amount::Count(needed.into()));
    };
    let carries = now[2].saturating_sub(facts.tcp_mem_used.known().unwrap_or(0));
    case.bites(limit, When::Waiting, Amount::Count(now.into()), carries, Amount::Count(needed.into()))
        .lifted_by(|| match needed {
            _ if now[2] >= needed[2] => {
                format!("it is half the memory already: {}", more_memory(connections, carries))
            }
            [low, pressure, high] => format!("sysctl -w {limit}=\"{low} {pressure} {high}\""),
        })
}

/// Only where somebody has bounded them. What a node takes of them follows from its allocator more than from connections.
fn addresses(case: &Case<'_>) -> Option<Finding> {
    let bytes = case.facts.address_bytes.known()?;
    let row = absent("RLIMIT_AS", When::Always, Fact::<u64>::Unlimited, Amount::Word("unlimited"));
    let row =
        row.noted("addresses are no memory, and the allocator reserves many: LimitAS=infinity in the unit");
    Some(Finding { now: Amount::bytes(bytes), ..row })
}

fn tasks(case: &Case<'_>) -> Vec<Finding> {
    let facts = case.facts;
    let needed = case.shards() + TASKS_OTHER;
    let shards = |tasks: u64| tasks.saturating_sub(TASKS_OTHER);
    let of_host = |limit: &str, fact: Fact<Use>| match fact {
        Fact::Known(room) => {
            let wanted = room.used + needed;
            case.of_shards(limit, room.max, shards(room.left()), wanted).lifted_by(|| set(limit, wanted))
        }
        other => absent(limit, When::Always, other, Amount::one(needed)),
    };
    let of_group = facts.group_tasks.clone().known().map(|group| {
        let wanted = group.room.used + needed;
        case.of_shards(group.name(), group.room.max, shards(group.room.left()), wanted)
            .lifted_by(|| group.set("TasksMax", wanted, &wanted.to_string()))
    });
    let of_user = facts.user_tasks.known().map(|max| {
        case.of_shards("RLIMIT_NPROC", max, shards(max), needed)
            .lifted_by(|| format!("LimitNPROC={needed} in the unit, or ulimit -u {needed}"))
    });
    let needed = MAPS_BASE + case.shards() * MAPS_SHARD;
    let maps = match facts.maps {
        Fact::Known(max) => {
            let row =
                case.of_shards("vm.max_map_count", max, max.saturating_sub(MAPS_BASE) / MAPS_SHARD, needed);
            row.lifted_by(|| set("vm.max_map_count", needed))
        }
        other => absent("vm.max_map_count", When::Always, other, Amount::one(needed)),
    };
    let mut rows =
        vec![of_host("kernel.threads-max", facts.threads), of_host("kernel.pid_max", facts.pids), maps];
    rows.extend(of_group);
    rows.extend(of_user);
    rows
}

fn network(case: &Case<'_>) -> Vec<Finding> {
    let (facts, connections, shards) = (case.facts, case.connections(), case.shards());
    let all = |fact: Fact<u64>| fact.map(|max| Use { max, used: 0 });
    let queue = |limit, fact: Fact<u64>, enough: u64| {
        // Each shard listens, with a queue of its own.
        let row =
            case.of_connections(limit, When::Arriving, all(fact), |each| each.saturating_mul(shards), enough);
        match fact {
            Fact::Known(now) if now >= enough && row.state == State::Short => {
                let words = "no more is to be had; who finds it full tries again a second later".to_owned();
                Finding { state: State::Note, words, ..row }
            }
            _ => row,
        }
    };
    let backlog = queue("net.ipv4.tcp_max_syn_backlog", facts.syn_backlog, wanted::syn_backlog(connections));
    let backlog = match facts.syncookies {
        Fact::Known(1..) => backlog.softened("cookies stand in beyond it, which forget TCP's options"),
        _ => backlog,
    };
    let time_wait = case.of_connections(
        "net.ipv4.tcp_max_tw_buckets",
        When::Leaving,
        all(facts.time_wait),
        |max| max / wanted::TIME_WAIT_EACH,
        wanted::time_wait(connections),
    );
    let orphans = case.of_connections(
        "net.ipv4.tcp_max_orphans",
        When::Leaving,
        all(facts.orphans),
        |max| max.saturating_mul(wanted::ORPHANS_PART),
        wanted::orphans(connections),
    );
    vec![
        queue("net.core.somaxconn", facts.somaxconn, wanted::SOMAXCONN),
        backlog,
        tracking(case),
        orphans,
        time_wait.softened("TIME-WAIT ends at once beyond it, and a port is taken anew too early"),
        ports(case),
    ]
}

fn tracking(case: &Case<'_>) -> Finding {
    let (limit, tracked) = ("net.netfilter.nf_conntrack_max", case.facts.conntrack);
    let row =
        case.of_connections(limit, When::Always, tracked, |left| left, wanted::conntrack(case.connections()));
    match tracked {
        Fact::Unlimited => Finding { now: Amount::Word("not loaded"), ..row },
        // The module is there, and no rule asks it: whoever asks over a network is tracked otherwise.
        Fact::Known(Use { used: 0, .. }) => {
            row.softened("nobody is tracked now; a rule that asks for ct state changes that")
        }
        Fact::Known(_) | Fact::Hidden => row,
    }
}

/// A proxy on the same host has a port of its own for each connection, from each of its addresses to each of the node's.
fn ports(case: &Case<'_>) -> Finding {
    let (limit, when, wanted) =
        ("net.ipv4.ip_local_port_range", When::Always, Amount::Count(wanted::PORTS.into()));
    let Fact::Known([first, last]) = case.facts.ports else {
        return absent(limit, when, case.facts.ports, wanted);
    };
    let (each, now) = (last.saturating_add(1).saturating_sub(first), Amount::Count(vec![first, last]));
    let Some(pairs) = case.question.proxy_pairs else {
        let row = absent(limit, when, Fact::<u64>::Unlimited, wanted);
        let words = format!(
            "{each} for each pair of addresses, if a proxy on this host stands before the node (--proxy-pairs)"
        );
        return Finding { now, ..row.noted(words) };
    };
    case.bites(limit, when, now, each.saturating_mul(pairs), wanted).lifted_by(|| {
        let [low, high] = wanted::PORTS;
        let widened = first > low || last < high;
        let each = if widened { high + 1 - low } else { each };
        let pairs_needed = case.connections().div_ceil(each.max(1));
        let command = format!("sysctl -w {limit}=\"{low} {high}\"");
        match (widened, pairs_needed > pairs) {
            (true, false) => command,
            (true, true) => format!("{command} and {pairs_needed} pairs of addresses"),
            (false, _) => format!("{pairs_needed} pairs of addresses between the proxy and the node"),
        }
    })
}

impl GroupBound {
    /// The bound and its group, without the way there.
    fn name(&self) -> String {
        let (group, bound) = self.file.rsplit_once('/').unwrap_or(("", &self.file));
        format!("{bound} of {}", group.rsplit('/').next().unwrap_or_default())
    }

    /// What sets it: systemd's property, where systemd made the group.
    fn set(&self, property: &str, value: u64, worded: &str) -> String {
        let group = self.file.rsplit('/').nth(1).unwrap_or_default();
        if [".service", ".scope", ".slice"].iter().any(|ending| group.ends_with(ending)) {
            format!("systemctl set-property {group} {property}={worded}")
        } else {
            format!("echo {value} > {}", self.file)
        }
    }
}

/// Threads of a node beside its shards: the one that starts it and then controls it, one that fetches keys, and one that gives
/// memory back, which ends soon.
const TASKS_OTHER: u64 = 3;
/// Mappings of a node's memory (`/proc/PID/maps`), and how many more each shard has. Measured at start, from 1 to 128 shards:
/// 38 and 4; the rest is for what tables and buffers that grow take.
const MAPS_BASE: u64 = 256;
/// See [`MAPS_BASE`].
const MAPS_SHARD: u64 = 8;
