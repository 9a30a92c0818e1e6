//! `roost doctor` on hosts made of files: what it reads, what it says, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roost::doctor::{Fact, GroupBound, Use};
use roost::sys::host::{self, Source};

/// A host as Linux 6.1 boots with 16 GiB, in a folder that goes with the value.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let tree = Self(std::env::temp_dir().join(format!("roost-doctor-{}-{name}", std::process::id())));
        FILES.iter().for_each(|(path, text)| tree.write(path, text));
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.0.join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    fn source(&self) -> Source {
        Source { root: self.0.to_str().unwrap().to_owned(), ..Source::default() }
    }

    /// Exit code, standard output and standard error of `roost doctor`.
    fn doctor(&self, args: &[&str]) -> (i32, String, String) {
        let root = self.source().root;
        let output = Command::new(env!("CARGO_BIN_EXE_roost"))
            .args(["doctor", "--root", &root, "--shards", "4"])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

const GROUP: &str = "sys/fs/cgroup/system.slice/roost.service";

const FILES: &[(&str, &str)] = &[
    ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 12 kB\nSwapTotal:      1024 kB\n"),
    ("proc/loadavg", "0.00 0.01 0.05 2/140 612\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max processes             63500                63500                processes \n\
         Max open files            1024                 524288               files     \n\
         Max address space         unlimited            unlimited            bytes     \n",
    ),
    ("proc/self/status", "Name:\tcat\nUid:\t1000\t1000\nCapEff:\t0000000000000000\nSeccomp:\t2\n"),
    ("proc/self/cgroup", "0::/system.slice/roost.service\n"),
    ("proc/self/net/sockstat", "sockets: used 150\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 31\n"),
    ("proc/self/smaps", "5580-5581 r--p 0 fe:00 1 /bin/cat\nKernelPageSize:    4 kB\n"),
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/fs/file-nr", "1184\t0\t9223372036854775807\n"),
    ("proc/sys/kernel/threads-max", "127000\n"),
    ("proc/sys/kernel/pid_max", "4194304\n"),
    ("proc/sys/vm/max_map_count", "65530\n"),
    ("proc/sys/vm/overcommit_memory", "0\n"),
    ("proc/sys/net/core/somaxconn", "4096\n"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096\n"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1\n"),
    ("proc/sys/net/ipv4/tcp_max_orphans", "65536\n"),
    ("proc/sys/net/ipv4/tcp_max_tw_buckets", "65536\n"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("proc/sys/net/ipv4/tcp_mem", "190000\t260000\t380000\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
    ("proc/sys/net/netfilter/nf_conntrack_count", "44\n"),
    ("sys/fs/cgroup/system.slice/roost.service/memory.max", "max\n"),
    ("sys/fs/cgroup/system.slice/roost.service/memory.high", "max\n"),
    ("sys/fs/cgroup/system.slice/roost.service/pids.max", "512\n"),
    ("sys/fs/cgroup/system.slice/roost.service/pids.current", "12\n"),
    ("sys/fs/cgroup/system.slice/memory.max", "8589934592\n"),
    ("sys/fs/cgroup/system.slice/pids.max", "400\n"),
    ("sys/fs/cgroup/system.slice/pids.current", "60\n"),
];

#[test]
fn a_host_is_read_from_its_files() {
    let (facts, faults) = host::read(&Tree::new("read").source());
    assert_eq!(faults, []);
    assert_eq!(facts.descriptors, Fact::Known(524_288));
    assert_eq!((facts.filtered, facts.user_tasks), (Fact::Known(true), Fact::Known(63_500)));
    assert_eq!(facts.files, Fact::Known(Use { max: i64::MAX as u64, used: 1184 }));
    assert_eq!((facts.memory_bytes, facts.swap_bytes), (Fact::Known(16 << 30), Fact::Known(1 << 20)));
    assert_eq!(
        (facts.tcp_mem, facts.tcp_mem_used),
        (Fact::Known([190_000, 260_000, 380_000]), Fact::Known(31))
    );
    assert_eq!(facts.conntrack, Fact::Known(Use { max: 262_144, used: 44 }));
    assert_eq!(facts.threads, Fact::Known(Use { max: 127_000, used: 140 }));
    assert_eq!((facts.ports, facts.page_bytes), (Fact::Known([32_768, 60_999]), 4096));
    assert_eq!((facts.address_bytes, facts.group_memory_high), (Fact::Unlimited, Fact::Unlimited));
    // Of a group and those that it lies in, the bound that leaves least.
    let bound = |facts: Fact<GroupBound>| facts.known().map(|bound| (bound.file, bound.room));
    let slice = "/sys/fs/cgroup/system.slice";
    assert_eq!(
        bound(facts.group_memory),
        Some((format!("{slice}/memory.max"), Use { max: 8 << 30, used: 0 }))
    );
    assert_eq!(bound(facts.group_tasks), Some((format!("{slice}/pids.max"), Use { max: 400, used: 60 })));
}

#[test]
fn a_bound_of_cgroup_v1_counts_and_one_above_the_memory_of_the_host_is_none() {
    let tree = Tree::new("v1");
    tree.write("proc/self/cgroup", "8:pids:/a\n4:memory:/a\n0::/\n");
    tree.write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(host::read(&tree.source()).0.group_memory, Fact::Unlimited);
    tree.write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
    tree.write("sys/fs/cgroup/pids/a/pids.max", "20\n");
    let (code, out, _) = tree.doctor(&["--connections", "300000"]);
    assert_eq!(code, 1);
    assert!(out.contains("memory.limit_in_bytes of a"), "{out}");
    assert!(out.contains("echo 3111000000 > /sys/fs/cgroup/memory/a/memory.limit_in_bytes"), "{out}");
    assert!(out.contains("pids.max of a"), "{out}");
}

#[test]
fn who_may_make_threads_without_bound_has_none() {
    let tree = Tree::new("root");
    for status in ["Uid:\t0\t0\nCapEff:\t0\n", "Uid:\t1000\t1000\nCapEff:\t0000000001000000\n"] {
        tree.write("proc/self/status", status);
        let (facts, faults) = host::read(&tree.source());
        assert_eq!((facts.user_tasks, facts.filtered, faults), (Fact::Unlimited, Fact::Known(false), vec![]));
    }
}

#[test]
fn what_is_short_is_exit_code_1_with_the_first_one_and_what_lifts_it() {
    let tree = Tree::new("short");
    let (code, out, err) = tree.doctor(&["--connections", "300000"]);
    assert_eq!((code, err.as_str()), (1, ""));
    for words in [
        "3 limits of this host are short of 300,000 connections.\n",
        "The first one hit is net.netfilter.nf_conntrack_max, at 262,100. To lift it:\n  sysctl -w net.netfilter.nf_conntrack_max=390000\n",
        "Under load it is net.core.somaxconn, at 16,384 that come at once. To lift it:\n  sysctl -w net.core.somaxconn=65535\n",
        "  tuning/tune apply --connections 300000\n",
        "  SHORT  all come at once: sysctl -w net.core.somaxconn=65535\n",
    ] {
        assert!(out.contains(words), "{words:?} is missing in\n{out}");
    }
    assert_eq!(out.lines().filter(|line| line.contains("  SHORT  ")).count(), 3, "{out}");
    let files: Vec<&str> =
        out.lines().find(|line| line.contains("fs.file-max")).unwrap().split_whitespace().collect();
    assert_eq!(files, ["fs.file-max", "unlimited", "any", "712,144", "ok"]);
}

#[test]
fn what_fits_is_exit_code_0_and_names_the_next_limit() {
    let (code, out, err) = Tree::new("fits").doctor(&["--connections", "10000"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let words = "This host carries 10,000 connections.\nThe next limit is net.core.somaxconn, at 16,384 that come at once.\n";
    assert!(out.starts_with(words), "{out}");
}

#[test]
fn programs_get_the_same_as_json() {
    let (code, out, _) = Tree::new("json").doctor(&["--connections", "300000", "--json"]);
    assert_eq!(code, 1);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["connections"], &json["carried"]), (&300_000.into(), &false.into()));
    let first = &json["first"];
    assert_eq!(first["limit"], "net.netfilter.nf_conntrack_max");
    assert_eq!(
        (&first["carries"], &first["state"], &first["when"]),
        (&262_100.into(), &"short".into(), &"always".into())
    );
    assert_eq!(
        (&first["now"], &first["wanted"]),
        (&serde_json::json!([262_144]), &serde_json::json!([390_000]))
    );
    assert_eq!(first["words"], "sysctl -w net.netfilter.nf_conntrack_max=390000");
    assert!(
        json["limits"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["now"] == serde_json::json!({"bytes": 16_u64 << 30}))
    );
}

#[test]
fn a_proxy_on_the_host_needs_ports() {
    let tree = Tree::new("ports");
    assert_eq!(tree.doctor(&["--connections", "15000"]).0, 0);
    assert_eq!(tree.doctor(&["--connections", "15000", "--proxy-pairs", "1"]).0, 0);
    tree.write("proc/sys/net/ipv4/ip_local_port_range", "50000\t60999\n");
    let (code, out, _) = tree.doctor(&["--connections", "15000", "--proxy-pairs", "1"]);
    assert!(code == 1 && out.contains("ip_local_port_range, at 11,000"), "{out}");
}

/// Every file that must be there, with texts that are none.
#[test]
fn what_makes_no_sense_is_exit_code_2_and_a_line_that_names_the_file_and_what_was_in_it() {
    let tree = Tree::new("wrong");
    let numbers = ["", "abc", "12 x", "-1", "+1", "1.5", "0x10", "18446744073709551616", "\u{fffd}"];
    let texts = ["", "x\n", "TCP: inuse\n", "MemTotal: much kB\n"];
    for (path, good) in FILES {
        let optional =
            ["smaps", "tcp_rmem", "status", "/cgroup/", "self/cgroup"].iter().any(|word| path.contains(word));
        if optional {
            continue;
        }
        let bad: &[&str] = if path.starts_with("proc/sys/") { &numbers } else { &texts };
        for text in bad {
            tree.write(path, text);
            let (code, out, err) = tree.doctor(&["--connections", "1000"]);
            assert_eq!((code, out.as_str()), (2, ""), "{path}: {text:?}\n{err}");
            let held: Vec<&str> = text.split_whitespace().collect();
            let words = format!("/{path} holds `{}`, which is no ", held.join(" "));
            assert!(err.starts_with("error: ") && err.contains(&words), "{words:?} is missing in {err}");
        }
        tree.write(path, good);
    }
    for bound in ["memory.max", "pids.max", "pids.current"] {
        let path = format!("{GROUP}/{bound}");
        tree.write(&path, "lots\n");
        let (code, _, err) = tree.doctor(&["--connections", "1000"]);
        assert!(code == 2 && err.contains(&format!("/{path} holds `lots`")), "{err}");
        tree.write(&path, if bound == "memory.max" { "max\n" } else { "40\n" });
    }
}

#[test]
fn what_is_missing_or_cannot_be_read_is_named_all_of_it_at_once() {
    let tree = Tree::new("missing");
    tree.remove("proc/sys/net/core/somaxconn");
    tree.remove("proc/sys/fs/nr_open");
    fs::create_dir(tree.0.join("proc/sys/fs/nr_open")).unwrap();
    let (code, out, err) = tree.doctor(&["--connections", "1000"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(err.contains("proc/sys/net/core/somaxconn: is all of /proc and /sys there?"), "{err}");
    assert!(err.contains("proc/sys/fs/nr_open cannot be read: "), "{err}");
    tree.remove("proc/sys");
    let (code, _, err) = tree.doctor(&["--connections", "1000"]);
    assert!(code == 2 && err.lines().count() == 1 && err.contains("there is no "), "{err}");
}

#[test]
fn in_a_network_namespace_what_is_of_the_host_is_not_judged_and_an_untracked_host_has_no_bound() {
    let tree = Tree::new("namespace");
    tree.remove("proc/sys/net/ipv4/tcp_mem");
    tree.remove("proc/sys/net/ipv4/tcp_max_orphans");
    tree.remove("proc/sys/net/netfilter");
    let (code, out, err) = tree.doctor(&["--connections", "10000"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let line =
        |name: &str| out.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}\n{out}"));
    assert!(
        line("net.ipv4.tcp_mem").contains("?  ") && line("tcp_max_orphans").contains("not visible here"),
        "{out}"
    );
    assert!(line("nf_conntrack_max").contains("not loaded"), "{out}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_named() {
    let tree = Tree::new("usage");
    for (args, words) in [
        (&[][..], "--connections"),
        (&["--connections", "0"], "--connections"),
        (&["--connections", "1073741825"], "1073741824"),
        (&["--connections", "1e6"], "1e6"),
        (&["--connections", "1", "--shards", "129"], "--shards"),
        (&["--connections", "1", "--proxy-pairs", "0"], "--proxy-pairs"),
        (&["--connections", "1", "--pid", "x"], "--pid"),
    ] {
        let (code, out, err) = tree.doctor(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}\n{err}");
        assert!(err.contains(words), "{words}\n{err}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_roost"))
        .args(["doctor", "--connections", "1", "--root", "/nowhere"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: --root: there is no folder `/nowhere`\n");
}

/// Whatever this machine is: it can be read, and it carries one connection.
#[test]
fn this_machine_is_read_and_carries_one() {
    if !Path::new("/proc/sys/net/core/somaxconn").exists() {
        return;
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_roost")).args(["doctor", "--connections", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
