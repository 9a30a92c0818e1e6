//! What the kernel says of the server and of itself, read from `/proc`. Must never know what load there is.

use std::fs;

use super::error::BenchError;
use crate::sys::proc_text::{
    Sockstat, kb_field_bytes, netstat_counter, schedstat_ns, socket_slab_bytes, sockstat_tcp, stat_ticks,
};

/// Processor time of the server's processes so far, all threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// Processor time between two readings, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CpuSpent {
    /// All of it, to the nanosecond.
    pub(super) total_us: f64,
    /// The program's own share, as the kernel's tick sampling divides it.
    pub(super) user_us: f64,
    /// The kernel's share, likewise.
    pub(super) system_us: f64,
}

impl Cpu {
    /// Reads the clocks of `pids` and their threads.
    ///
    /// # Errors
    /// A process that is gone or that this user may not look at.
    pub(super) fn read(pids: &[u32]) -> Result<Self, BenchError> {
        let mut cpu = Self::default();
        for pid in pids {
            let path = format!("/proc/{pid}/stat");
            let (user, system) = stat_ticks(&read(&path)?).ok_or_else(|| strange(&path))?;
            cpu.user_ticks += user;
            cpu.system_ticks += system;
            let tasks = format!("/proc/{pid}/task");
            for task in fs::read_dir(&tasks).map_err(BenchError::io(&tasks))? {
                let path = task.map_err(BenchError::io(&tasks))?.path().join("schedstat");
                // A thread that ended since the listing has no file any more.
                cpu.ns += fs::read_to_string(path).ok().and_then(|text| schedstat_ns(&text)).unwrap_or(0);
            }
        }
        Ok(cpu)
    }

    /// What was spent since `earlier`. The total has nanoseconds; its division comes from ticks of 10 ms.
    pub(super) fn since(&self, earlier: &Self) -> CpuSpent {
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        let total_us = self.ns.saturating_sub(earlier.ns) as f64 / 1e3;
        let user_share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        CpuSpent { total_us, user_us: total_us * user_share, system_us: total_us * (1.0 - user_share) }
    }
}

/// Memory of the server's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident set, in bytes.
    pub(super) rss: u64,
    /// Proportional set, in bytes: shared pages divided among those who share them.
    pub(super) pss: u64,
}

impl Memory {
    /// Reads `/proc/PID/smaps_rollup` of each.
    ///
    /// # Errors
    /// A process that is gone or that this user may not look at.
    pub(super) fn read(pids: &[u32]) -> Result<Self, BenchError> {
        let mut memory = Self::default();
        for pid in pids {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = read(&path)?;
            let field = |name| kb_field_bytes(&text, name).ok_or_else(|| strange(&path));
            memory.rss += field("Rss")?;
            memory.pss += field("Pss")?;
        }
        Ok(memory)
    }
}

/// Memory of the kernel that connections take, on the whole host: both ends of a loopback connection are in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KernelMemory {
    /// All slab caches, in bytes.
    pub(super) slab: u64,
    /// The caches that sockets take from, in bytes; `None` where `/proc/slabinfo` may not be read.
    pub(super) socket_slab: Option<u64>,
    /// TCP sockets and their queued data.
    pub(super) sockets: Sockstat,
}

impl KernelMemory {
    /// Reads `/proc/meminfo`, `/proc/net/sockstat` and, where permitted, `/proc/slabinfo`.
    ///
    /// # Errors
    /// A host without them.
    pub(super) fn read() -> Result<Self, BenchError> {
        let meminfo = read("/proc/meminfo")?;
        let sockstat = read("/proc/net/sockstat")?;
        Ok(Self {
            slab: kb_field_bytes(&meminfo, "Slab").ok_or_else(|| strange("/proc/meminfo"))?,
            socket_slab: fs::read_to_string("/proc/slabinfo").ok().map(|text| socket_slab_bytes(&text)),
            sockets: sockstat_tcp(&sockstat).ok_or_else(|| strange("/proc/net/sockstat"))?,
        })
    }
}

/// Accept queues that overflowed and connections lost at listeners, on the whole host since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ListenLosses {
    /// `ListenOverflows`: the accept queue was full.
    pub(super) overflows: u64,
    /// `ListenDrops`: that, and every other reason.
    pub(super) drops: u64,
}

impl ListenLosses {
    /// Reads `/proc/net/netstat`.
    ///
    /// # Errors
    /// A host without it.
    pub(super) fn read() -> Result<Self, BenchError> {
        let path = "/proc/net/netstat";
        let text = read(path)?;
        let counter = |name| netstat_counter(&text, "TcpExt", name).ok_or_else(|| strange(path));
        Ok(Self { overflows: counter("ListenOverflows")?, drops: counter("ListenDrops")? })
    }
}

/// The kernel's release, for reports.
pub(super) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn read(path: &str) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(BenchError::io(format!("reading {path}")))
}

fn strange(path: &str) -> BenchError {
    BenchError::Usage(format!("{path} does not read as proc(5) describes it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_divided_as_the_ticks_are() {
        let earlier = Cpu { ns: 1_000_000, user_ticks: 10, system_ticks: 10 };
        let later = Cpu { ns: 5_000_000, user_ticks: 11, system_ticks: 13 };
        let spent = later.since(&earlier);
        assert_eq!((spent.total_us, spent.user_us, spent.system_us), (4000.0, 1000.0, 3000.0));
    }

    #[test]
    fn this_process_can_be_read() {
        let pids = [std::process::id()];
        assert!(Memory::read(&pids).unwrap().rss > 0);
        assert!(Cpu::read(&pids).unwrap().ns > 0);
        assert!(KernelMemory::read().unwrap().slab > 0);
        assert!(ListenLosses::read().is_ok());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_that_names_the_file() {
        let error = Memory::read(&[u32::MAX]).unwrap_err().to_string();
        assert!(error.contains("/proc/4294967295/smaps_rollup"), "{error}");
    }
}
