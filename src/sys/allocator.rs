//! How glibc's allocator is set up for a node, and how it gives memory back. Must never keep a shard waiting.

#![allow(unsafe_code)]

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Where glibc reads its settings, once, before the program's first line (`ld.so(8)`).
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Sets the allocator up for a node on `cores` cores. What glibc offers for this is read when a process starts, so the process
/// executes its own program once more, as the same process with the same arguments and descriptors. It goes on as it is where
/// that fails, and where somebody has chosen already, such as the systemd unit.
///
/// - One arena a core, however many shards there are: what is free in one serves them all.
/// - No blocks kept for each thread: up to 7 of each of 64 sizes, in every shard, pin the pages that they lie in.
/// - Bounds for what is kept, which otherwise follow the largest block that was ever freed.
pub fn set_up(cores: usize) {
    let inherited = env::var(TUNABLES).unwrap_or_default();
    if inherited.contains(THREAD_CACHE) {
        return;
    }
    let ours = format!(
        "{THREAD_CACHE}=0:glibc.malloc.arena_max={cores}:glibc.malloc.trim_threshold={ARENA_KEPT_BYTES}\
         :glibc.malloc.mmap_threshold={OWN_MAPPING_BYTES}"
    );
    let tunables = if inherited.is_empty() { ours } else { format!("{inherited}:{ours}") };
    let mut arguments = env::args_os();
    let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) else { return };
    let error = Command::new(program).arg0(name).args(arguments).env(TUNABLES, tunables).exec();
    // Nothing depends on it but some bytes for each connection that has left.
    tracing::debug!(%error, "the allocator stays as it is");
}

/// Gives what was freed back to the host, soon: the work, some milliseconds after a large crowd, is done by a thread of its
/// own.
pub fn give_back() {
    if WAITING.fetch_add(1, Ordering::AcqRel) > 0 {
        // A thread is at it, and will begin again.
        return;
    }
    // Where no thread can be had the memory stays with the process, which is no fault.
    if thread::Builder::new().name("give-back".into()).stack_size(STACK_BYTES).spawn(trim).is_err() {
        WAITING.store(0, Ordering::Release);
    }
}

fn trim() {
    let mut seen = 0;
    // Whoever came while it ran may have freed more.
    while WAITING.fetch_sub(seen, Ordering::AcqRel) > seen {
        seen = WAITING.load(Ordering::Acquire);
        // SAFETY: malloc_trim(3) takes no pointer, is safe to call from any thread, and touches only pages that hold nothing.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

/// Askers since the thread that gives back last was done.
static WAITING: AtomicUsize = AtomicUsize::new(0);
const STACK_BYTES: usize = 64 * 1024;
/// How many blocks of each small size are kept for a thread; 7 unless told otherwise.
const THREAD_CACHE: &str = "glibc.malloc.tcache_count";
/// What an arena keeps at its end for the next allocations.
const ARENA_KEPT_BYTES: usize = 128 * 1024;
/// Blocks from this size on, the tables of a busy shard, get a mapping of their own, which grows without a copy and goes
/// back to the host when freed.
const OWN_MAPPING_BYTES: usize = 128 * 1024;
