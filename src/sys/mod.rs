//! Floor 4: the kernel's own matters: descriptors, listening sockets, signals. The only folder where `unsafe` may stand.
//! Must never know a connection, a channel or a protocol.

#[cfg(target_env = "gnu")]
pub mod allocator;
pub mod cgroup;
pub mod descriptors;
pub mod fd_table;
pub mod footprint;
pub mod host;
pub mod listen;
pub mod memory;
pub mod observe;
pub mod passed;
pub mod proc_text;
pub mod reuseport;
pub mod scheduler;
pub mod signals;
pub mod tcp_info;

/// Another allocator is left as it is.
#[cfg(not(target_env = "gnu"))]
pub mod allocator {
    /// Sets nothing up.
    pub fn set_up(_cores: usize) {}
    /// Leaves it to the allocator.
    pub fn give_back() {}
}
