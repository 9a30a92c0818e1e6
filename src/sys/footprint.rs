//! What this process takes of memory: its own pages, the allocator's books, the kernel's objects for its sockets.
//! Must never be asked on a path that a byte takes: each question reads a text of the kernel's or locks the allocator.

#![allow(unsafe_code)]

use super::proc_text::{
    SOCKET_CACHES, SlabCache, kb_field_bytes, slab_caches, sockstat_tcp, sockstat6_tcp, statm_pages,
};
use crate::metrics::memory::{Allocator, Process, SocketObjects, Tcp};
use std::fs;

/// This process's pages. The kernel walks its page tables, a millisecond for some hundred MiB; where it was built without
/// `smaps_rollup`, it gives a coarser figure. None without `/proc`.
#[must_use]
pub fn process() -> Option<Process> {
    let rollup = read("/proc/self/smaps_rollup").and_then(|text| rollup(&text));
    rollup.or_else(|| statm(&read("/proc/self/statm")?, rustix::param::page_size() as u64))
}

/// The allocator's books; None where it keeps none that can be read.
///
/// Walks the free pieces of each arena under its lock: 10 to 30 ms for a million of them, in which a shard that
/// allocates from that arena waits.
#[must_use]
pub fn allocator() -> Option<Allocator> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallinfo2(3) takes no pointer and only reads, each arena under its lock. It is marked as unsafe beside
        // a first allocation and beside mallopt(3): threads are running, so there were allocations, and nobody calls it.
        let info = unsafe { libc::mallinfo2() };
        let in_use = info.uordblks + info.hblkhd;
        Some(Allocator { in_use: in_use as u64, free: info.fordblks as u64 })
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// What the kernel makes for each accepted socket, IPv6 or not: on a host whose `/proc/slabinfo` may not be read, or that
/// keeps such objects in caches of another name, what Linux 6.18 takes on x86-64.
#[must_use]
pub fn socket_objects(ipv6: bool) -> SocketObjects {
    let text = read("/proc/slabinfo");
    let page_bytes = rustix::param::page_size() as u64;
    let measured = text.is_some();
    SocketObjects { measured, objects: objects(&text.unwrap_or_default(), ipv6, page_bytes) }
}

/// TCP on the host; None without `/proc`.
#[must_use]
pub fn tcp() -> Option<Tcp> {
    let sockstat = sockstat_tcp(&read("/proc/net/sockstat")?)?;
    // A host without IPv6 has no such file.
    let ipv6 = read("/proc/net/sockstat6").and_then(|text| sockstat6_tcp(&text)).unwrap_or(0);
    let queued = sockstat.mem_pages * rustix::param::page_size() as u64;
    Some(Tcp { sockets: sockstat.in_use + ipv6, queued })
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn rollup(text: &str) -> Option<Process> {
    let rss = kb_field_bytes(text, "Rss")?;
    let anonymous = kb_field_bytes(text, "Anonymous")?;
    Some(Process { rss, pss: kb_field_bytes(text, "Pss"), program: rss.saturating_sub(anonymous) })
}

fn statm(text: &str, page_bytes: u64) -> Option<Process> {
    let (resident, of_files) = statm_pages(text)?;
    Some(Process { rss: resident * page_bytes, pss: None, program: of_files * page_bytes })
}

fn objects(slabinfo: &str, ipv6: bool, page_bytes: u64) -> Vec<(&'static str, u64)> {
    let of_other_family = if ipv6 { "TCP" } else { "TCPv6" };
    let wanted = SOCKET_CACHES.iter().filter(|(name, _)| *name != of_other_family);
    let measured = |name| slab_caches(slabinfo).find(|cache| cache.name == name);
    wanted
        .map(|&(name, bytes)| (name, measured(name).map_or(bytes, |cache| share(&cache, page_bytes))))
        .collect()
}

/// One object's part of the pages of its slab.
fn share(cache: &SlabCache<'_>, page_bytes: u64) -> u64 {
    cache.pages_per_slab * page_bytes / cache.objects_per_slab.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_files_are_told_from_the_others() {
        let text = "7f00-7fff ---p 00000000 00:00 0 [rollup]\nRss: 1000 kB\nPss: 900 kB\nAnonymous: 600 kB\n";
        let expected = Process { rss: 1_024_000, pss: Some(921_600), program: 409_600 };
        assert_eq!(rollup(text), Some(expected));
        assert_eq!(expected.anonymous(), 614_400);
        assert_eq!(rollup("Rss: 1 kB\n"), None);
        let coarser = Process { rss: 40_960, pss: None, program: 12_288 };
        assert_eq!(statm("99 10 3 1 0 9 0\n", 4096), Some(coarser));
    }

    #[test]
    fn an_object_takes_its_part_of_its_slab_and_a_cache_that_is_missing_what_is_known_of_it() {
        let text = "TCP 10 13 2368 13 8 : tunables 0 0 0\nTCPv6 0 0 2496 13 8 : x\nfilp 2 4 256 16 1 : x\n";
        let found = objects(text, false, 4096);
        assert_eq!(found.len(), SOCKET_CACHES.len() - 1);
        assert!(found.contains(&("TCP", 2520)) && found.contains(&("filp", 256)), "{found:?}");
        assert!(found.contains(&("sock_inode_cache", 862)), "{found:?}");
        assert!(objects("", true, 4096).iter().any(|(name, _)| *name == "TCPv6"));
    }

    #[test]
    fn this_process_and_its_host_are_read() {
        let process = process().unwrap();
        assert!(process.rss > process.program && process.program > 0, "{process:?}");
        let objects = socket_objects(false).objects;
        let bytes: u64 = objects.iter().map(|(_, bytes)| bytes).sum();
        assert!((3_000..6_000).contains(&bytes), "{objects:?}");
        assert!(tcp().is_some());
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn what_is_allocated_is_in_use_by_the_allocators_books() {
        // Never written to, and far more than other tests allocate or free meanwhile.
        let before = allocator().unwrap();
        let bytes = std::hint::black_box(Vec::<u8>::with_capacity(4 << 30));
        let after = allocator().unwrap();
        assert!(after.in_use >= before.in_use + (3 << 30), "{before:?} {after:?}");
        drop(bytes);
    }
}
