//! How glibc's allocator is set up for a node, and how it gives memory back. Must never keep a shard waiting.

#![allow(unsafe_code)]

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Tells the allocator how a node uses it: one arena a core, however many shards there are, so that what is free in one
/// serves them all; and bounds for what it keeps that do not rise by themselves (mallopt(3): by default they follow the
/// largest block that was ever freed). To be called before any thread is started.
pub fn configure(cores: usize) {
    for (option, value) in [
        (libc::M_ARENA_MAX, cores),
        (libc::M_TRIM_THRESHOLD, ARENA_KEPT_BYTES),
        (libc::M_MMAP_THRESHOLD, OWN_MAPPING_BYTES),
    ] {
        // SAFETY: mallopt(3) takes two numbers; one that it does not like it refuses, and then its default stays.
        let _ = unsafe { libc::mallopt(option, value as libc::c_int) };
    }
}

/// Gives what the calling thread freed back to the host, soon: the work, some milliseconds after a large crowd, is done by
/// a thread of its own.
pub fn give_back() {
    let blocks = thread_cache();
    let mut returning = returning();
    if let Some(waiting) = &mut *returning {
        return waiting.extend(blocks);
    }
    *returning = Some(blocks);
    // Where no thread can be had the memory stays with the process, which is no fault.
    if spawn(return_all).is_err() {
        *returning = None;
    }
}

/// Blocks that glibc keeps for the calling thread: up to seven of each of 64 small sizes. They pin the pages they lie in,
/// and no call gives them up but the end of a thread; so they are taken out of its hands.
fn thread_cache() -> Blocks {
    let sizes = (0..64).map(|class| 24 + 16 * class);
    sizes.flat_map(|size| (0..7).map(move |_| Vec::with_capacity(size))).collect()
}

/// Frees what waits and gives free pages back, until nothing waits any more.
fn return_all() {
    loop {
        let blocks = {
            let mut returning = returning();
            match returning.as_mut().map(std::mem::take) {
                Some(blocks) if !blocks.is_empty() => blocks,
                Some(_) | None => return *returning = None,
            }
        };
        // By a thread that ends at once, and with it its own cache.
        if let Ok(thread) = spawn(move || drop(blocks)) {
            let _ = thread.join();
        }
        // SAFETY: malloc_trim(3) takes no pointer, is safe to call from any thread, and touches only pages that hold nothing.
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("give-back".into()).stack_size(STACK_BYTES).spawn(work)
}

fn returning() -> MutexGuard<'static, Option<Blocks>> {
    RETURNING.lock().unwrap_or_else(PoisonError::into_inner)
}

type Blocks = Vec<Vec<u8>>;
/// What waits to be freed; None while no thread is at it.
static RETURNING: Mutex<Option<Blocks>> = Mutex::new(None);
const STACK_BYTES: usize = 64 * 1024;
/// What an arena keeps at its end for the next allocations.
const ARENA_KEPT_BYTES: usize = 128 * 1024;
/// Blocks from this size on, the tables of a busy shard, get a mapping of their own, which grows without a copy and goes
/// back to the host when freed.
const OWN_MAPPING_BYTES: usize = 128 * 1024;
