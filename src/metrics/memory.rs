//! What the kernel and the allocator say of the process's memory, as plain numbers. Must never ask either of them.

/// The process's pages, in bytes (proc(5), `smaps_rollup`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Resident set.
    pub rss: u64,
    /// Proportional set, shared pages divided among those who share them; None where the kernel does not tell.
    pub pss: Option<u64>,
    /// Resident pages of the program file and of libraries: everything that is not anonymous.
    pub program: u64,
}

impl Process {
    /// Resident pages that belong to no file: heap, stacks and static data.
    #[must_use]
    pub fn anonymous(&self) -> u64 {
        self.rss.saturating_sub(self.program)
    }
}

/// The allocator's own books, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocator {
    /// Handed out, with headers and rounding.
    pub in_use: u64,
    /// Kept for later; not all of it need be resident.
    pub free: u64,
}

/// Objects that the kernel makes for an accepted TCP socket in an epoll set, and how large each is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketObjects {
    /// Whether the sizes are this kernel's own, from `/proc/slabinfo`, which takes root to read. Else they are those of
    /// Linux 6.18 on x86-64.
    pub measured: bool,
    /// Name of the slab cache, and bytes of one object with its part of what its slab leaves unused.
    pub objects: Vec<(&'static str, u64)>,
}

/// TCP on the whole host (proc(5), `/proc/net/sockstat`): both ends of a connection over loopback are in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Sockets of this network namespace, IPv4 and IPv6.
    pub sockets: u64,
    /// Data queued in sockets, sent and not acknowledged or received and not read, in bytes of whole pages. An idle
    /// connection has none.
    pub queued: u64,
}
