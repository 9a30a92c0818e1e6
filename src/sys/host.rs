//! Every limit that a host sets to connections, read from its `/proc` and `/sys`, or from a tree like them. Must never judge
//! one, nor change one.
//! Source of each file: proc(5), the kernel's Documentation/admin-guide/sysctl and cgroup-v2.rst.

use super::cgroup::{self, Bound};
use super::proc_text::{kb_field_bytes, sockstat_tcp};
use crate::doctor::{Fact, Facts, GroupBound, Use};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};

/// Where a host is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What stands before each path: nothing, or the folder of a tree.
    pub root: String,
    /// The process whose limits are read: its number, or `self`.
    pub process: String,
}

impl Default for Source {
    /// This host, as this process is limited.
    fn default() -> Self {
        Self { root: String::new(), process: "self".to_owned() }
    }
}

impl Source {
    /// This host, as another process is limited.
    #[must_use]
    pub fn of(process: u32) -> Self {
        Self { process: process.to_string(), ..Self::default() }
    }
}

/// Something that could not be read, or makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It should be there.
    Missing,
    /// It cannot be read, for this reason.
    Unreadable(String),
    /// It holds something else than it should: what it holds, and what it should.
    Wrong(String, &'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, problem } = self;
        match problem {
            Problem::Missing => write!(f, "there is no {file}: is all of /proc and /sys there?"),
            Problem::Unreadable(error) => write!(f, "{file} cannot be read: {error}"),
            Problem::Wrong(held, wanted) => write!(f, "{file} holds `{held}`, which is no {wanted}"),
        }
    }
}

/// Reads all of it: what it says, and everything that is wrong with it.
#[must_use]
pub fn read(source: &Source) -> (Facts, Vec<Fault>) {
    let mut look = Look { source, faults: Vec::new(), sysctls: true, foreign_network: false };
    look.sysctls = look.has(SYSCTLS);
    if !look.sysctls {
        // One line instead of one for each key. Under ProcSubset=pid (systemd.exec(5)) it is like that.
        look.faults.push(Fault { file: look.place(SYSCTLS), problem: Problem::Missing });
    }
    // tcp_rmem is in every network namespace, the other two in the first alone.
    look.foreign_network = look.has("/proc/sys/net/ipv4/tcp_rmem")
        && !look.has("/proc/sys/net/ipv4/tcp_mem")
        && !look.has("/proc/sys/net/ipv4/tcp_max_orphans");
    let mut facts = Facts { page_bytes: look.page_bytes(), ..Facts::default() };
    look.process(&mut facts);
    look.memory(&mut facts);
    look.tables(&mut facts);
    look.network(&mut facts);
    look.groups(&mut facts);
    (facts, look.faults)
}

struct Look<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
    /// Whether there are keys to be read.
    sysctls: bool,
    /// Whether the process is in a network namespace that lacks the keys of the host.
    foreign_network: bool,
}

impl Look<'_> {
    fn page_bytes(&self) -> u64 {
        let own = rustix::param::page_size() as u64;
        if self.source.root.is_empty() {
            return own;
        }
        let smaps = fs::read_to_string(self.place("/proc/self/smaps")).unwrap_or_default();
        kb_field_bytes(&smaps, "KernelPageSize").unwrap_or(own)
    }

    /// Limits of the process, and who it is.
    fn process(&mut self, facts: &mut Facts) {
        let limits = self.of_process("limits");
        let Some(text) = self.text(&limits) else { return };
        let mut hard = |name| self.hard_limit(&limits, &text, name);
        facts.descriptors = hard("Max open files");
        facts.address_bytes = hard("Max address space");
        facts.user_tasks = hard("Max processes");
        let status = self.of_process("status");
        let Some(text) = self.text(&status) else { return };
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.split_whitespace().next()
        };
        // A kernel without filters does not have the line.
        facts.filtered = Fact::Known(field("Seccomp") == Some("2"));
        // fork(2): root, and whoever has one of two privileges, is exempt.
        let privileges = field("CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
        if field("Uid") == Some("0") || privileges & EXEMPT != 0 {
            facts.user_tasks = Fact::Unlimited;
        }
    }

    fn memory(&mut self, facts: &mut Facts) {
        let file = "/proc/meminfo";
        let Some(text) = self.text(file) else { return };
        let mut bytes = |name| match kb_field_bytes(&text, name) {
            Some(bytes) => Fact::Known(bytes),
            None => self.wrong(
                file,
                &text,
                if name == "MemTotal" { "text with MemTotal in kB" } else { "text with SwapTotal in kB" },
            ),
        };
        facts.memory_bytes = bytes("MemTotal");
        facts.swap_bytes = bytes("SwapTotal");
    }

    /// Descriptors, files, threads and what else the kernel counts for all.
    fn tables(&mut self, facts: &mut Facts) {
        facts.nr_open = self.number("/proc/sys/fs/nr_open");
        facts.files = self
            .numbers("/proc/sys/fs/file-nr")
            .map(|[open, free, max]: [u64; 3]| Use { max, used: open.saturating_sub(free) });
        facts.maps = self.number("/proc/sys/vm/max_map_count");
        facts.overcommit = self.number("/proc/sys/vm/overcommit_memory");
        let tasks = self.tasks();
        let mut with_tasks = |file| self.number(file).map(|max| Use { max, used: tasks });
        facts.threads = with_tasks("/proc/sys/kernel/threads-max");
        facts.pids = with_tasks("/proc/sys/kernel/pid_max");
    }

    /// Tasks of the host: behind the slash of the fourth field.
    fn tasks(&mut self) -> u64 {
        let file = "/proc/loadavg";
        let Some(text) = self.text(file) else { return 0 };
        let tasks = text.split_whitespace().nth(3).and_then(|field| number(field.split_once('/')?.1));
        tasks.unwrap_or_else(|| self.wrong(file, &text, "text with running/all tasks").known().unwrap_or(0))
    }

    fn network(&mut self, facts: &mut Facts) {
        facts.somaxconn = self.number("/proc/sys/net/core/somaxconn");
        facts.syn_backlog = self.number("/proc/sys/net/ipv4/tcp_max_syn_backlog");
        facts.syncookies = self.number("/proc/sys/net/ipv4/tcp_syncookies");
        facts.time_wait = self.number("/proc/sys/net/ipv4/tcp_max_tw_buckets");
        facts.ports = self.numbers("/proc/sys/net/ipv4/ip_local_port_range");
        if !self.foreign_network {
            facts.orphans = self.number("/proc/sys/net/ipv4/tcp_max_orphans");
            facts.tcp_mem = self.numbers("/proc/sys/net/ipv4/tcp_mem");
        }
        let file = self.of_process("net/sockstat");
        if let Some(text) = self.text(&file) {
            facts.tcp_mem_used = match sockstat_tcp(&text) {
                Some(tcp) => Fact::Known(tcp.mem_pages),
                None => self.wrong(&file, &text, "text with TCP: … mem PAGES"),
            };
        }
        facts.conntrack = self.conntrack();
    }

    fn conntrack(&mut self) -> Fact<Use> {
        let max = "/proc/sys/net/netfilter/nf_conntrack_max";
        if !self.has(max) {
            // Without the module nobody is tracked; without /proc/sys nobody knows.
            return if self.sysctls { Fact::Unlimited } else { Fact::Hidden };
        }
        let max = self.number(max);
        let used = self.number("/proc/sys/net/netfilter/nf_conntrack_count").known().unwrap_or(0);
        max.map(|max| Use { max, used })
    }

    fn groups(&mut self, facts: &mut Facts) {
        let file = self.of_process("cgroup");
        let Some(groups) = self.text(&file) else { return };
        let memory = |max: u64| facts.memory_bytes.known().is_none_or(|host| max < host);
        let bound = self.tightest(&groups, cgroup::MEMORY, None, memory);
        let high = self.tightest(&groups, cgroup::MEMORY_HIGH, None, memory);
        facts.group_memory = bound;
        facts.group_memory_high = high;
        facts.group_tasks = self.tightest(&groups, cgroup::TASKS, Some("pids.current"), |_| true);
    }

    /// The bound that leaves least, of those that count. `used` names the file beside it that says what is in use.
    fn tightest(
        &mut self,
        groups: &str,
        bound: Bound,
        used: Option<&str>,
        counts: impl Fn(u64) -> bool,
    ) -> Fact<GroupBound> {
        let mut bounds = Vec::new();
        // A container may see its own group as the root, and its path as the host has it: what is not there has no bound.
        for file in bound.files(groups) {
            let path = file.to_string_lossy().into_owned();
            let Some(text) = self.has(&path).then(|| self.text(&path)).flatten() else { continue };
            if text.trim() == "max" {
                continue;
            }
            let Fact::Known(max) = self.parsed(&path, &text, "number, nor `max`") else { continue };
            let used = used.map(|name| file.with_file_name(name).to_string_lossy().into_owned());
            let used =
                used.filter(|file| self.has(file)).map_or(0, |file| self.number(&file).known().unwrap_or(0));
            if counts(max) {
                bounds.push(GroupBound { file: path, room: Use { max, used } });
            }
        }
        bounds.into_iter().min_by_key(|bound| bound.room.left()).map_or(Fact::Unlimited, Fact::Known)
    }

    fn place(&self, path: &str) -> String {
        format!("{}{path}", self.source.root)
    }

    fn of_process(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.source.process)
    }

    fn has(&self, path: &str) -> bool {
        fs::exists(self.place(path)).unwrap_or(true)
    }

    /// The text of a file; none, and a fault, where it cannot be read.
    fn text(&mut self, path: &str) -> Option<String> {
        if !self.sysctls && path.starts_with(SYSCTLS) {
            return None;
        }
        let file = self.place(path);
        match fs::read(&file) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                self.faults.push(Fault { file, problem: problem(&error) });
                None
            }
        }
    }

    fn number(&mut self, path: &str) -> Fact<u64> {
        let text = self.text(path);
        text.map_or(Fact::Hidden, |text| self.parsed(path, &text, "number"))
    }

    fn parsed(&mut self, path: &str, text: &str, wanted: &'static str) -> Fact<u64> {
        number(text.trim()).map_or_else(|| self.wrong(path, text, wanted), Fact::Known)
    }

    fn numbers<const COUNT: usize>(&mut self, path: &str) -> Fact<[u64; COUNT]> {
        let Some(text) = self.text(path) else { return Fact::Hidden };
        let numbers: Option<Vec<u64>> = text.split_whitespace().map(number).collect();
        match numbers.and_then(|numbers| numbers.try_into().ok()) {
            Some(numbers) => Fact::Known(numbers),
            None => {
                self.wrong(path, &text, if COUNT == 2 { "pair of numbers" } else { "row of three numbers" })
            }
        }
    }

    /// The hard one of two limits in the text of `/proc/PID/limits`.
    fn hard_limit(&mut self, path: &str, text: &str, name: &str) -> Fact<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        match line.and_then(|line| line.split_whitespace().nth(1)) {
            Some("unlimited") => Fact::Unlimited,
            Some(word) => number(word).map_or_else(|| self.wrong(path, word, "limit"), Fact::Known),
            None => self.wrong(path, text, "table of limits"),
        }
    }

    fn wrong<T>(&mut self, path: &str, held: &str, wanted: &'static str) -> Fact<T> {
        let words: Vec<&str> = held.split_whitespace().collect();
        let held = words.join(" ").chars().take(SHOWN_CHARS).collect();
        self.faults.push(Fault { file: self.place(path), problem: Problem::Wrong(held, wanted) });
        Fact::Hidden
    }
}

fn problem(error: &io::Error) -> Problem {
    match error.kind() {
        ErrorKind::NotFound => Problem::Missing,
        _ => Problem::Unreadable(error.to_string()),
    }
}

/// Digits alone, as the kernel writes them.
fn number(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

/// `CAP_SYS_ADMIN` and `CAP_SYS_RESOURCE` (capabilities(7)).
const EXEMPT: u64 = 1 << 21 | 1 << 24;
/// Where the keys are.
const SYSCTLS: &str = "/proc/sys";
/// What is shown of a text that makes no sense.
const SHOWN_CHARS: usize = 40;
