//! What the kernel tells of this process and of its host, for `/metrics`. Must never be asked on a path that a byte takes, nor list
//! what grows with the connections.

use super::memory;
use super::proc_text::{
    file_nr, netstat_counter, sockstat_tcp, sockstat6_tcp, stat_start_ticks, stat_ticks, statm_pages,
};
use crate::metrics::host::{Kernel, Process};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

/// This process. `own_tables` says whether each shard's thread has a descriptor table of its own.
#[must_use]
pub fn process(own_tables: bool) -> Process {
    let (page_bytes, ticks) = (page_size() as u64, clock_ticks_per_second() as f64);
    let stat = read("/proc/self/stat").unwrap_or_default();
    let pages = read("/proc/self/statm").and_then(|statm| statm_pages(&statm));
    let size = read("/proc/self/statm").and_then(|statm| first(&statm));
    let tables = tables(own_tables);
    let limit = rlimit::Resource::NOFILE.get_soft().ok();
    Process {
        cpu_s: stat_ticks(&stat).map(|(user, system)| (user + system) as f64 / ticks),
        started_s: started_s(&stat, ticks),
        resident_bytes: pages.map(|(resident, _)| resident * page_bytes),
        virtual_bytes: size.map(|pages| pages * page_bytes),
        memory_max_bytes: u64::try_from(memory::total_bytes()).ok().filter(|&bytes| bytes < u64::MAX),
        threads: fs::read_dir("/proc/self/task").ok().map(|tasks| tasks.count() as u64),
        open_fds: tables.iter().map(|table| open_in(table)).sum(),
        max_fds: limit.map(|limit| limit.saturating_mul(tables.len() as u64)),
    }
}

/// Its host.
#[must_use]
pub fn kernel() -> Kernel {
    let page_bytes = page_size() as u64;
    let netstat = read("/proc/self/net/netstat").unwrap_or_default();
    let tcp_ext = |name| netstat_counter(&netstat, "TcpExt", name);
    let sockstat = read("/proc/self/net/sockstat").and_then(|text| sockstat_tcp(&text));
    // A host without IPv6 has no such file.
    let ipv6 = read("/proc/self/net/sockstat6").and_then(|text| sockstat6_tcp(&text)).unwrap_or(0);
    let files = read("/proc/sys/fs/file-nr").and_then(|text| file_nr(&text));
    let number = |path: &str| read(path).and_then(|text| first(&text));
    Kernel {
        listen_overflows: tcp_ext("ListenOverflows"),
        listen_drops: tcp_ext("ListenDrops"),
        syncookies_sent: tcp_ext("SyncookiesSent"),
        memory_pressures: tcp_ext("TCPMemoryPressures"),
        tcp_memory_bytes: sockstat.map(|tcp| tcp.mem_pages * page_bytes),
        tcp_memory_max_bytes: read("/proc/sys/net/ipv4/tcp_mem")
            .and_then(|text| text.split_ascii_whitespace().nth(2)?.parse::<u64>().ok())
            .map(|pages| pages.saturating_mul(page_bytes)),
        tcp_sockets: sockstat.map(|tcp| tcp.in_use + ipv6),
        tcp_orphans: sockstat.map(|tcp| tcp.orphans),
        tcp_orphans_max: number("/proc/sys/net/ipv4/tcp_max_orphans"),
        tcp_time_wait: sockstat.map(|tcp| tcp.time_wait),
        tcp_time_wait_max: number("/proc/sys/net/ipv4/tcp_max_tw_buckets"),
        conntrack_entries: number("/proc/sys/net/netfilter/nf_conntrack_count"),
        conntrack_entries_max: number("/proc/sys/net/netfilter/nf_conntrack_max"),
        open_files: files.map(|files| files.open),
        open_files_max: files.map(|files| files.max),
    }
}

/// Where each descriptor table of this process shows: that of all threads, and where shards have their own, those too.
fn tables(own_tables: bool) -> Vec<String> {
    let mut tables = vec!["/proc/self/fd".to_owned()];
    if own_tables && let Ok(tasks) = fs::read_dir("/proc/self/task") {
        let of_shard = |task: &Path| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(SHARD_THREADS))
        };
        let shards = tasks.flatten().map(|task| task.path()).filter(|task| of_shard(task));
        tables.extend(shards.map(|task| task.join("fd").display().to_string()));
    }
    tables
}

/// How many descriptors a table holds. Since Linux 6.2 the directory tells by its size (proc(5)); before, only a listing
/// would, which takes a second and a hundred megabytes of the kernel's memory for a hundred thousand.
fn open_in(table: &str) -> Option<u64> {
    fs::metadata(table).ok().map(|directory| directory.len()).filter(|&open| open > 0)
}

/// The same of all tables, by a listing: for a node that has not begun to serve.
#[must_use]
pub fn list_open(own_tables: bool) -> u64 {
    let listings = tables(own_tables).into_iter().filter_map(|table| fs::read_dir(table).ok());
    listings.map(|listing| listing.count() as u64).sum()
}

/// When this process began, by its `stat`, in seconds since the Unix epoch. Worked out once: two clocks are read one behind the other,
/// and one of them may be set, so a second answer would be another one, which is how Prometheus knows of a restart.
fn started_s(stat: &str, ticks: f64) -> Option<f64> {
    static ONCE: OnceLock<Option<f64>> = OnceLock::new();
    *ONCE.get_or_init(|| stat_start_ticks(stat).and_then(|after_boot| began_s(after_boot as f64 / ticks)))
}

/// When something began that long after the host, in seconds since the Unix epoch.
fn began_s(after_boot_s: f64) -> Option<f64> {
    let up = clock_gettime(ClockId::Boottime);
    let up_s = up.tv_sec as f64 + up.tv_nsec as f64 / 1e9;
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now_s - up_s + after_boot_s)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn first(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// How the names of the shards' threads begin.
const SHARD_THREADS: &str = "shard-";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn this_process_is_told_of() {
        let began = Instant::now();
        let first = process(false);
        // The kernel counts in steps of 10 ms; however busy this host is, some work makes one.
        let mut process = first;
        while process.cpu_s == first.cpu_s && began.elapsed().as_secs() < 20 {
            process = super::process(false);
        }
        let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.cpu_s > first.cpu_s, "{process:?}");
        let age_s = process.started_s.map(|started_s| now_s - started_s);
        assert!(age_s.is_some_and(|age_s| (0.0..86_400.0).contains(&age_s)), "{process:?}");
        assert!(process.resident_bytes > Some(1 << 20), "{process:?}");
        assert!(process.virtual_bytes > process.resident_bytes, "{process:?}");
        assert!(process.memory_max_bytes > process.resident_bytes, "{process:?}");
        assert!(process.threads > Some(0), "{process:?}");
        assert!(process.max_fds > Some(0), "{process:?}");
        // Nothing where the kernel is older than 6.2. What other tests open meanwhile counts as well.
        let listed = list_open(false);
        assert!(process.open_fds.is_none_or(|open| open.abs_diff(listed) < 100), "{process:?} {listed}");
        assert!(process.open_fds.is_none_or(|open| Some(open) < process.max_fds), "{process:?}");
    }

    #[test]
    fn a_process_that_goes_on_is_not_taken_for_one_that_started_anew() {
        let first = process(false).started_s;
        assert!(first.is_some());
        assert!((0..2_000).all(|_| process(false).started_s == first));
    }

    #[test]
    fn a_table_of_its_own_counts_beside_that_of_all() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let shard = std::thread::Builder::new().name("shard-0".into()).spawn(move || {
            super::super::fd_table::unshare_fd_table().unwrap();
            tell.send(()).unwrap();
            let _ = held.recv();
        });
        told.recv().unwrap();
        // Other tests of this process have threads of that name, or not.
        let (one, several) = (process(false), process(true));
        drop(hold);
        shard.unwrap().join().unwrap();
        assert!(several.max_fds >= one.max_fds.map(|most| 2 * most), "{one:?} {several:?}");
    }

    #[test]
    fn this_host_is_told_of() {
        let kernel = kernel();
        assert!(kernel.listen_overflows.is_some() && kernel.listen_drops.is_some(), "{kernel:?}");
        assert!(kernel.tcp_sockets.is_some() && kernel.tcp_memory_bytes.is_some(), "{kernel:?}");
        assert!(kernel.open_files > Some(0) && kernel.open_files_max >= kernel.open_files, "{kernel:?}");
    }
}
