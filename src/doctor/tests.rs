//! Hosts that are short of one thing at a time, and the whole against `capacity.rs`.

use super::*;
use crate::limits::CONN_MEMORY_BYTES;

const MILLION: u64 = 1_000_000;

fn question(connections: u64) -> Question {
    Question { connections, shards: 4, proxy_pairs: None }
}

fn of(max: u64) -> Fact<Use> {
    Fact::Known(Use { max, used: 0 })
}

/// A host that `tune apply` has fitted to a million.
fn fitted() -> Facts {
    let memory_bytes = 16 << 30;
    Facts {
        page_bytes: 4096,
        descriptors: Fact::Known(wanted::descriptors(MILLION)),
        separable: Fact::Known(true),
        filtered: Fact::Known(false),
        nr_open: Fact::Known(wanted::nr_open(MILLION)),
        files: of(wanted::files(MILLION)),
        memory_bytes: Fact::Known(memory_bytes),
        swap_bytes: Fact::Known(0),
        group_memory: Fact::Unlimited,
        group_memory_high: Fact::Unlimited,
        group_tasks: Fact::Unlimited,
        tcp_mem: Fact::Known(wanted::tcp_mem(MILLION, memory_bytes, 4096)),
        tcp_mem_used: Fact::Known(100),
        somaxconn: Fact::Known(wanted::SOMAXCONN),
        syn_backlog: Fact::Known(wanted::syn_backlog(MILLION)),
        syncookies: Fact::Known(1),
        orphans: Fact::Known(wanted::orphans(MILLION)),
        time_wait: Fact::Known(wanted::time_wait(MILLION)),
        conntrack: Fact::Known(Use { max: wanted::conntrack(MILLION), used: 40 }),
        ports: Fact::Known([32_768, 60_999]),
        threads: of(100_000),
        pids: of(32_768),
        user_tasks: Fact::Unlimited,
        maps: Fact::Known(65_530),
        overcommit: Fact::Known(0),
        address_bytes: Fact::Unlimited,
    }
}

fn group(file: &str, max: u64) -> Fact<GroupBound> {
    Fact::Known(GroupBound { file: format!("/sys/fs/cgroup/{file}"), room: Use { max, used: 0 } })
}

/// The limits that are short of a million, each with what it carries and its fix.
fn short(facts: &Facts) -> Vec<(String, u64, String)> {
    let diagnosis = diagnose(facts, question(MILLION));
    diagnosis
        .short()
        .map(|one| (one.limit.clone(), one.carries.unwrap_or(u64::MAX), one.words.clone()))
        .collect()
}

fn row(facts: &Facts, question: Question, limit: &str) -> Finding {
    let diagnosis = diagnose(facts, question);
    diagnosis.findings.into_iter().find(|row| row.limit == limit).unwrap_or_else(|| panic!("no {limit}"))
}

#[test]
fn a_host_that_tune_has_fitted_is_short_of_nothing_until_what_it_leaves_to_spare_is_used_up() {
    assert_eq!(short(&fitted()), []);
    let twice = diagnose(&fitted(), question(2 * MILLION));
    let limits: Vec<&str> = twice.short().map(|one| one.limit.as_str()).collect();
    let expected =
        ["net.ipv4.tcp_max_orphans", "net.netfilter.nf_conntrack_max", "fs.file-max", "net.ipv4.tcp_mem"];
    assert_eq!(limits, expected);
}

/// What is changed of a fitted host, the limit that is short then, what it carries and what lifts it.
type Lack = (fn(&mut Facts), &'static str, u64, &'static str);

const LACKS: [Lack; 14] = [
    (
        |host| host.descriptors = Fact::Known(1024),
        "RLIMIT_NOFILE",
        102_144,
        "LimitNOFILE=1204096 in the unit, or ulimit -Hn 1204096",
    ),
    (
        |host| host.files = Fact::Known(Use { max: 600_000, used: 1000 }),
        "fs.file-max",
        599_000,
        "sysctl -w fs.file-max=1762144",
    ),
    (
        |host| (host.memory_bytes, host.tcp_mem) = (Fact::Known(2 << 30), Fact::Unlimited),
        "memory",
        511_305,
        "add memory, or spread them over 2 nodes",
    ),
    (
        |host| host.group_memory = group("system.slice/roost.service/memory.max", 1 << 30),
        "memory.max of roost.service",
        255_652,
        "systemctl set-property roost.service MemoryMax=9890M",
    ),
    (
        |host| host.group_memory_high = group("pod7/memory.high", 1 << 30),
        "memory.high of pod7",
        255_652,
        "echo 10370000000 > /sys/fs/cgroup/pod7/memory.high",
    ),
    (
        |host| host.tcp_mem = Fact::Known([1, 2, 400_000]),
        "net.ipv4.tcp_mem",
        399_900,
        "sysctl -w net.ipv4.tcp_mem=\"1000000 1500000 2000000\"",
    ),
    (
        |host| host.somaxconn = Fact::Known(4096),
        "net.core.somaxconn",
        16_384,
        "sysctl -w net.core.somaxconn=65535",
    ),
    (
        |host| (host.syn_backlog, host.syncookies) = (Fact::Known(2048), Fact::Known(0)),
        "net.ipv4.tcp_max_syn_backlog",
        8192,
        "sysctl -w net.ipv4.tcp_max_syn_backlog=262144",
    ),
    (
        |host| host.conntrack = Fact::Known(Use { max: 262_144, used: 144 }),
        "net.netfilter.nf_conntrack_max",
        262_000,
        "sysctl -w net.netfilter.nf_conntrack_max=1300000",
    ),
    (
        |host| host.orphans = Fact::Known(65_536),
        "net.ipv4.tcp_max_orphans",
        262_144,
        "sysctl -w net.ipv4.tcp_max_orphans=262144",
    ),
    (
        |host| host.threads = Fact::Known(Use { max: 100, used: 95 }),
        "kernel.threads-max",
        0,
        "sysctl -w kernel.threads-max=102",
    ),
    (|host| host.user_tasks = Fact::Known(6), "RLIMIT_NPROC", 0, "LimitNPROC=7 in the unit, or ulimit -u 7"),
    (
        |host| host.group_tasks = group("system.slice/roost.service/pids.max", 5),
        "pids.max of roost.service",
        0,
        "systemctl set-property roost.service TasksMax=7",
    ),
    (|host| host.maps = Fact::Known(100), "vm.max_map_count", 0, "sysctl -w vm.max_map_count=288"),
];

#[test]
fn each_limit_is_named_with_what_it_carries_and_what_lifts_it() {
    for (take, limit, carries, fix) in LACKS {
        let mut facts = fitted();
        take(&mut facts);
        assert_eq!(short(&facts), [(limit.to_owned(), carries, fix.to_owned())]);
        // What it is said to carry it carries.
        let diagnosis = diagnose(&facts, question(carries.max(1)));
        assert_eq!(diagnosis.short().count(), usize::from(carries == 0), "{limit}: {diagnosis:?}");
    }
}

#[test]
fn without_tables_of_their_own_threads_share_one_and_the_filter_is_named() {
    let facts = Facts { descriptors: Fact::Known(20_000), separable: Fact::Known(false), ..fitted() };
    let limits: Vec<String> = short(&facts).into_iter().map(|(limit, ..)| limit).collect();
    assert_eq!(limits, ["RLIMIT_NOFILE", "system-call filter"]);
    let own = Facts { separable: Fact::Known(true), ..facts };
    assert_eq!(short(&own), []);
    let row = row(&own, question(MILLION), "RLIMIT_NOFILE");
    assert_eq!(row.state, State::Note);
    assert!(row.words.starts_with("they go into 54 tables, a thread each"), "{}", row.words);
    // Each of them is a thread.
    let few = Facts { group_tasks: group("a.service/pids.max", 40), ..own };
    let [(limit, carries, fix)] = &short(&few)[..] else { panic!("{:?}", short(&few)) };
    assert_eq!(
        (limit.as_str(), fix.as_str()),
        ("pids.max of a.service", "systemctl set-property a.service TasksMax=57")
    );
    assert!((600_000..800_000).contains(carries), "37 tables carry {carries}?");
}

#[test]
fn of_two_that_are_short_the_one_that_keeps_clients_out_is_the_first_and_rows_are_sorted_by_what_they_carry()
{
    let facts = Facts { somaxconn: Fact::Known(128), files: of(300_000), ..fitted() };
    let diagnosis = diagnose(&facts, question(MILLION));
    assert_eq!(diagnosis.first().map(|one| one.limit.as_str()), Some("fs.file-max"));
    assert_eq!(diagnosis.short().next().map(|one| one.limit.as_str()), Some("net.core.somaxconn"));
    let carries: Vec<u64> = diagnosis.findings.iter().map(|one| one.carries.unwrap_or(u64::MAX)).collect();
    assert!(carries.is_sorted(), "{carries:?}");
    let next = diagnose(&fitted(), question(MILLION)).next().cloned().unwrap();
    assert_eq!((next.limit.as_str(), next.carries), ("net.ipv4.tcp_max_tw_buckets", Some(MILLION)));
}

#[test]
fn what_keeps_nobody_out_is_told_and_is_not_short() {
    let facts = Facts {
        syn_backlog: Fact::Known(128),
        time_wait: Fact::Known(10),
        conntrack: Fact::Known(Use { max: 10, used: 0 }),
        swap_bytes: Fact::Known(1 << 30),
        overcommit: Fact::Known(2),
        address_bytes: Fact::Known(1 << 30),
        ..fitted()
    };
    assert_eq!(short(&facts), []);
    let notes =
        diagnose(&facts, question(MILLION)).findings.into_iter().filter(|row| row.state == State::Note);
    let limits: Vec<String> = notes.map(|row| row.limit).collect();
    let expected = [
        "net.ipv4.tcp_max_tw_buckets",
        "net.netfilter.nf_conntrack_max",
        "net.ipv4.tcp_max_syn_backlog",
        // All that a listener takes, and less than all who may come at once.
        "net.core.somaxconn",
        "swap",
        "vm.overcommit_memory",
        "RLIMIT_AS",
        "net.ipv4.ip_local_port_range",
    ];
    assert_eq!(limits, expected);
}

#[test]
fn tcp_mem_that_is_half_the_memory_already_is_lifted_by_memory() {
    let facts =
        Facts { memory_bytes: Fact::Known(5 << 30), tcp_mem: Fact::Known([1, 2, 655_360]), ..fitted() };
    let [(limit, carries, fix)] = &short(&facts)[..] else { panic!("{:?}", short(&facts)) };
    assert_eq!((limit.as_str(), *carries), ("net.ipv4.tcp_mem", 655_260));
    assert_eq!(fix, "it is half the memory already: add memory, or spread them over 2 nodes");
}

#[test]
fn ports_count_where_a_proxy_stands_on_the_same_host() {
    let with = |ports, pairs| {
        let asked = Question { proxy_pairs: Some(pairs), ..question(100_000) };
        row(&Facts { ports: Fact::Known(ports), ..fitted() }, asked, "net.ipv4.ip_local_port_range")
    };
    for (ports, pairs, carries, fix) in [
        ([32_768, 60_999], 4, 112_928, ""),
        ([32_768, 60_999], 2, 56_464, "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\""),
        (
            [32_768, 60_999],
            1,
            28_232,
            "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" and 2 pairs of addresses",
        ),
        ([1024, 65_535], 1, 64_512, "2 pairs of addresses between the proxy and the node"),
    ] {
        let found = with(ports, pairs);
        assert_eq!((found.carries, found.words.as_str()), (Some(carries), fix), "{ports:?} {pairs}");
        assert_eq!(found.state == State::Short, !fix.is_empty());
    }
}

#[test]
fn what_is_not_visible_is_not_judged() {
    let diagnosis = diagnose(&Facts::default(), question(MILLION));
    assert_eq!(diagnosis.first(), None);
    let hidden = diagnosis.findings.iter().filter(|row| row.state == State::Hidden).count();
    assert_eq!(hidden, diagnosis.findings.len(), "{:?}", diagnosis.findings);
    assert!(diagnosis.findings.iter().all(|row| row.words.contains("not visible here")));
}

/// Of everything that `capacity.rs` counts, doctor says neither more nor less than the start of a node does.
#[test]
fn what_is_said_to_carry_the_connections_is_accepted_at_start_and_the_other_way_round() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut seen = [0; 2];
    for _ in 0..20_000 {
        let connections = 1 << rng.u32(..22) | rng.u64(..1000);
        let shards = rng.usize(1..=8);
        let files = 1 << rng.u32(9..40);
        let facts = Facts {
            descriptors: Fact::Known(rng.u64(1..2000) << rng.u32(..9)),
            separable: Fact::Known(rng.bool()),
            files: Fact::Known(Use { max: files, used: rng.u64(..500) }),
            memory_bytes: Fact::Known(1 << rng.u32(24..40)),
            group_memory: if rng.bool() {
                group("a.service/memory.max", 1 << rng.u32(24..40))
            } else {
                Fact::Unlimited
            },
            ..Facts::default()
        };
        let asked = Question { connections, shards, proxy_pairs: None };
        let diagnosis = diagnose(&facts, asked);
        let plan = capacity::plan(connections as usize, shards, host(&facts));
        let accepted = plan.is_ok_and(|plan| plan.conns_max as u64 == connections);
        assert_eq!(diagnosis.first().is_none(), accepted, "{asked:?} on {facts:?}: {diagnosis:?}");
        seen[usize::from(accepted)] += 1;
        // The first one hit is hit at the number that is told: so many are accepted, and one more is not.
        if let Some(carries) = diagnosis.first().and_then(|first| first.carries) {
            let accepts = |wanted: u64| {
                let plan = capacity::plan(wanted as usize, shards, host(&facts));
                plan.is_ok_and(|plan| plan.conns_max as u64 == wanted)
            };
            assert!(carries == 0 || accepts(carries), "{carries} of {facts:?}");
            assert!(!accepts(carries + 1), "{carries} and one of {facts:?}");
        }
    }
    assert!(seen.iter().all(|&count| count > 1000), "{seen:?}");
}

#[test]
fn the_largest_numbers_are_worked_out() {
    let most = crate::limits::CONNECTIONS_MAX as u64;
    let facts = Facts { memory_bytes: Fact::Known(u64::MAX), descriptors: Fact::Known(u64::MAX), ..fitted() };
    let diagnosis = diagnose(
        &Facts { ports: Fact::Known([0, u64::MAX]), ..facts },
        Question { proxy_pairs: Some(u64::from(u32::MAX)), ..question(most) },
    );
    assert!(diagnosis.first().is_some());
    assert_eq!(wanted::memory_bytes(most), most * CONN_MEMORY_BYTES as u64);
    assert_eq!(wanted::nr_open(most), 2_147_483_584);
}
