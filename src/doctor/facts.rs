//! What a host says of its limits, as plain values in the kernel's own units. Must never read any of it.

/// One thing that a host says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fact<T> {
    /// It says so.
    Known(T),
    /// There is no such limit here.
    Unlimited,
    /// This process does not see it.
    #[default]
    Hidden,
}

impl<T> Fact<T> {
    /// The value, where there is one.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unlimited | Self::Hidden => None,
        }
    }

    /// The same of what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(change(value)),
            Self::Unlimited => Fact::Unlimited,
            Self::Hidden => Fact::Hidden,
        }
    }
}

/// How much there may be, and how much of it is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// The limit.
    pub max: u64,
    /// What is in use.
    pub used: u64,
}

impl Use {
    /// What is left.
    #[must_use]
    pub fn left(self) -> u64 {
        self.max.saturating_sub(self.used)
    }
}

/// A bound of a control group: that of the process, or of one that it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBound {
    /// The file that holds it.
    pub file: String,
    /// The bound, and what the group uses of it.
    pub room: Use,
}

/// All that is asked of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Descriptors that one table may hold: `RLIMIT_NOFILE`, as far as it can be raised.
    pub descriptors: Fact<u64>,
    /// Whether threads may take tables of their own. Hidden where nobody asked.
    pub separable: Fact<bool>,
    /// Whether a system-call filter is in force (`Seccomp:` of `/proc/PID/status` is 2).
    pub filtered: Fact<bool>,
    /// `fs.nr_open`.
    pub nr_open: Fact<u64>,
    /// `fs.file-max`, and the files that are open.
    pub files: Fact<Use>,
    /// Bytes of memory.
    pub memory_bytes: Fact<u64>,
    /// Bytes of swap.
    pub swap_bytes: Fact<u64>,
    /// `memory.max` of cgroup v2, `memory.limit_in_bytes` of v1.
    pub group_memory: Fact<GroupBound>,
    /// `memory.high` of cgroup v2.
    pub group_memory_high: Fact<GroupBound>,
    /// `pids.max`.
    pub group_tasks: Fact<GroupBound>,
    /// `net.ipv4.tcp_mem`, in pages.
    pub tcp_mem: Fact<[u64; 3]>,
    /// Pages of it in use.
    pub tcp_mem_used: Fact<u64>,
    /// `net.core.somaxconn`.
    pub somaxconn: Fact<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub syn_backlog: Fact<u64>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Fact<u64>,
    /// `net.ipv4.tcp_max_orphans`.
    pub orphans: Fact<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub time_wait: Fact<u64>,
    /// `net.netfilter.nf_conntrack_max`, and how many are tracked. Unlimited where nothing is tracked.
    pub conntrack: Fact<Use>,
    /// First and last of `net.ipv4.ip_local_port_range`.
    pub ports: Fact<[u64; 2]>,
    /// `kernel.threads-max`, and the tasks of the host.
    pub threads: Fact<Use>,
    /// `kernel.pid_max`, and the tasks of the host.
    pub pids: Fact<Use>,
    /// `RLIMIT_NPROC`: tasks of one user. Unlimited for whoever is exempt.
    pub user_tasks: Fact<u64>,
    /// `vm.max_map_count`.
    pub maps: Fact<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit: Fact<u64>,
    /// `RLIMIT_AS`: bytes of addresses.
    pub address_bytes: Fact<u64>,
}
