//! Figures from the texts of `/proc`, which are arguments here: the node reads its own, `roost bench` those of a server.
//! Must never open a file.
//! Source of each format: proc(5) and the kernel's Documentation/filesystems/proc.rst.

/// User and system time of `/proc/PID/stat`, in clock ticks of all threads, ended ones included.
#[must_use]
pub fn stat_ticks(stat: &str) -> Option<(u64, u64)> {
    // The command's name may hold spaces and brackets; the fields after its last bracket are plain. `utime` is field 14
    // of the line, so the 12th after the name.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// When a process began, from `/proc/PID/stat`, in clock ticks since the host did: field 22 of the line.
#[must_use]
pub fn stat_start_ticks(stat: &str) -> Option<u64> {
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Nanoseconds on a processor, from `/proc/PID/task/TID/schedstat`.
#[must_use]
pub fn schedstat_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// The value of `name` in a text of `Name: value kB` lines (`meminfo`, `smaps_rollup`), in bytes.
#[must_use]
pub fn kb_field_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// `TCP` of `/proc/net/sockstat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// Sockets that have a hash slot.
    pub in_use: u64,
    /// Sockets that no process holds any more.
    pub orphans: u64,
    /// Sockets in TIME_WAIT.
    pub time_wait: u64,
    /// Sockets allocated, in whatever state.
    pub allocated: u64,
    /// Pages of queued data, the unit of `tcp_mem`.
    pub mem_pages: u64,
}

/// The TCP line of `/proc/net/sockstat`.
#[must_use]
pub fn sockstat_tcp(text: &str) -> Option<Sockstat> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let value = |name| words.chunks_exact(2).find(|pair| pair[0] == name)?[1].parse().ok();
    Some(Sockstat {
        in_use: value("inuse")?,
        orphans: value("orphan")?,
        time_wait: value("tw")?,
        allocated: value("alloc")?,
        mem_pages: value("mem")?,
    })
}

/// IPv6 sockets of `/proc/net/sockstat6` that have a hash slot; [`Sockstat::in_use`] counts those of IPv4 alone.
#[must_use]
pub fn sockstat6_tcp(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP6:"))?;
    line.trim().strip_prefix("inuse")?.trim().parse().ok()
}

/// Files open on a host, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// Those in use.
    pub open: u64,
    /// The most: `fs.file-max`.
    pub max: u64,
}

/// The three numbers of `/proc/sys/fs/file-nr`: open, free of those allotted (0 since Linux 2.6), and the limit (proc(5)).
#[must_use]
pub fn file_nr(text: &str) -> Option<Files> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (open, free, max) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Files { open: open.saturating_sub(free), max })
}

/// Resident pages of `/proc/PID/statm`: all of them, and those of files.
#[must_use]
pub fn statm_pages(statm: &str) -> Option<(u64, u64)> {
    let mut fields = statm.split_ascii_whitespace().skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A counter of `/proc/net/netstat`, which has the names and the values of a group in two lines with one prefix.
#[must_use]
pub fn netstat_counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_ascii_whitespace().position(|found| found == name)?;
    values.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// One line of `/proc/slabinfo`: a cache of kernel objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlabCache<'a> {
    /// Its name.
    pub name: &'a str,
    /// Objects in use.
    pub active: u64,
    /// Bytes of an object.
    pub object_bytes: u64,
    /// Objects that one slab holds.
    pub objects_per_slab: u64,
    /// Pages of one slab; what the objects leave of them is unused.
    pub pages_per_slab: u64,
}

/// The caches of `/proc/slabinfo`, version 2.1.
pub fn slab_caches(slabinfo: &str) -> impl Iterator<Item = SlabCache<'_>> {
    slabinfo.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (active, _total, object_bytes) = (number()?, number()?, number()?);
        let (objects_per_slab, pages_per_slab) = (number()?, number()?);
        Some(SlabCache { name, active, object_bytes, objects_per_slab, pages_per_slab })
    })
}

/// Bytes in use in the caches that a connection takes something from, by `/proc/slabinfo`.
#[must_use]
pub fn socket_slab_bytes(slabinfo: &str) -> u64 {
    let caches =
        slab_caches(slabinfo).filter(|cache| SOCKET_CACHES.iter().any(|(name, _)| *name == cache.name));
    caches.map(|cache| cache.active * cache.object_bytes).sum()
}

/// What an accepted TCP socket in an epoll set consists of, and what each takes of Linux 6.18 on x86-64, its part of what a
/// slab leaves unused included: the socket, its inode, file and directory entry, the label of security modules; its place
/// in the epoll set, its entry in the wait queue, the list of epoll sets that it is in.
pub const SOCKET_CACHES: [(&str, u64); 9] = [
    ("TCP", 2520),
    ("TCPv6", 2520),
    ("sock_inode_cache", 862),
    ("filp", 195),
    ("dentry", 195),
    ("lsm_inode_cache", 32),
    ("eventpoll_epi", 128),
    ("eventpoll_pwq", 64),
    ("ep_head", 16),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "42 (a) b (c)) S 1 2 3 4 -1 4194560 10 0 0 0 123 45 6 7 20 0 3 0 99 1000 200";
        assert_eq!(stat_ticks(stat), Some((123, 45)));
        assert_eq!(stat_start_ticks(stat), Some(99));
        assert_eq!(stat_ticks("42 (x) S 1"), None);
        assert_eq!(stat_start_ticks("42 (x) S 1"), None);
        assert_eq!(stat_ticks(""), None);
    }

    #[test]
    fn time_on_a_processor_is_the_first_number() {
        assert_eq!(schedstat_ns("987654321 53377 12\n"), Some(987_654_321));
        assert_eq!(schedstat_ns(""), None);
    }

    #[test]
    fn memory_fields_are_bytes_and_matched_whole() {
        let text =
            "7f00-7fff ---p 00000000 00:00 0 [rollup]\nRss:    1832 kB\nPss_Dirty:  1 kB\nPss:     912 kB\n";
        assert_eq!(kb_field_bytes(text, "Rss"), Some(1832 * 1024));
        assert_eq!(kb_field_bytes(text, "Pss"), Some(912 * 1024));
        assert_eq!(kb_field_bytes(text, "Swap"), None);
        assert_eq!(kb_field_bytes("HugePages_Total:  0\n", "HugePages_Total"), None);
    }

    #[test]
    fn the_tcp_line_is_read_by_names() {
        let text = "sockets: used 13\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 122\nUDP: inuse 0 mem 9\n";
        assert_eq!(
            sockstat_tcp(text),
            Some(Sockstat { in_use: 1, orphans: 2, time_wait: 3, allocated: 4, mem_pages: 122 })
        );
        assert_eq!(sockstat_tcp("TCP: inuse\n"), None);
        assert_eq!(sockstat6_tcp("TCP6: inuse 17\nUDP6: inuse 1\n"), Some(17));
        assert_eq!(sockstat6_tcp("UDP6: inuse 1\n"), None);
    }

    #[test]
    fn open_files_are_those_allotted_and_not_free() {
        assert_eq!(file_nr("1184\t0\t2466170\n"), Some(Files { open: 1184, max: 2_466_170 }));
        assert_eq!(file_nr("10 4 99"), Some(Files { open: 6, max: 99 }));
        assert_eq!(file_nr("10 4"), None);
    }

    #[test]
    fn resident_pages_are_the_second_and_third_number() {
        assert_eq!(statm_pages("1234 431 402 10 0 99 0\n"), Some((431, 402)));
        assert_eq!(statm_pages("1234 431"), None);
    }

    #[test]
    fn a_counter_is_found_under_its_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: ListenDrops\nIpExt: 4\n";
        assert_eq!(netstat_counter(text, "TcpExt", "ListenOverflows"), Some(22));
        assert_eq!(netstat_counter(text, "TcpExt", "ListenDrops"), Some(333));
        assert_eq!(netstat_counter(text, "IpExt", "ListenDrops"), Some(4));
        assert_eq!(netstat_counter(text, "TcpExt", "Absent"), None);
        assert_eq!(netstat_counter("TcpExt: A\n", "TcpExt", "A"), None);
    }

    #[test]
    fn only_caches_of_connections_count() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
                    TCP 10 13 2368 13 8 : tunables 0 0 0\nfilp 2 4 192 21 1 : x\nkmalloc-64 99 99 64 64 1 : x\n";
        assert_eq!(socket_slab_bytes(text), 10 * 2368 + 2 * 192);
        let names: Vec<&str> = slab_caches(text).map(|cache| cache.name).collect();
        assert_eq!(names, ["TCP", "filp", "kmalloc-64"]);
        let tcp = SlabCache {
            name: "TCP",
            active: 10,
            object_bytes: 2368,
            objects_per_slab: 13,
            pages_per_slab: 8,
        };
        assert_eq!(slab_caches(text).next(), Some(tcp));
    }
}
