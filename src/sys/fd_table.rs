//! A file-descriptor table of its own for a thread: `RLIMIT_NOFILE` bounds a table, not a process, so a process with
//! several tables holds a multiple of the limit. Must never know what the descriptors are for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

/// Gives the calling thread a private copy of its descriptor table; needs no privilege.
///
/// Descriptors opened before the call are open in both tables under the same number, and each table closes its own
/// copy: a socket or pipe is gone for its peer, and for an epoll set, only when the last copy is. So split before those that
/// come and go are opened. Descriptors opened afterwards, by either side, exist only in the table of the thread that opened them: the
/// number means nothing, or another file, elsewhere. So whatever a thread opens after this call, a `Poll` or a socket,
/// must stay in that thread and be dropped there.
///
/// Source: close_range(2), `CLOSE_RANGE_UNSHARE` (Linux 5.9), and for older kernels unshare(2), `CLONE_FILES`.
///
/// # Errors
/// What `unshare` reported when the kernel, or a system-call filter, refuses both calls; `EMFILE` or `ENOMEM` when the
/// copy itself fails.
pub fn unshare_fd_table() -> io::Result<()> {
    if close_nothing_in_a_private_table() {
        return Ok(());
    }
    // SAFETY: unshare takes no pointer. It replaces this thread's reference to the table by a copy in which every
    // descriptor that is open keeps its number, so all existing owners stay valid.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes copies that came along when the calling thread's table was split off, and that it has no use for: while any
/// table holds a listener's copy, the listener lives.
///
/// The caller's table must be its own by now, or the originals must have no owner in it any more; otherwise a
/// descriptor is closed under its owner.
pub fn close_copies(copies: &[RawFd]) {
    for &fd in copies {
        // SAFETY: close takes no pointer. The number names a copy in this thread's own table; the object that owns the
        // original lives in a thread with another table and closes its own. An error means that it is gone already.
        let _ = unsafe { libc::close(fd) };
    }
}

/// Whether the kernel lets a thread have a table of its own. Tried in a thread that ends with it.
#[must_use]
pub fn is_separable() -> bool {
    std::thread::spawn(unshare_fd_table).join().is_ok_and(|outcome| outcome.is_ok())
}

/// Asks `close_range` to close an empty range of descriptors, which it does in a private copy of the table.
fn close_nothing_in_a_private_table() -> bool {
    let (first, last) = (u32::MAX, u32::MAX);
    // SAFETY: close_range takes no pointer. No descriptor can have the number u32::MAX, so nothing is closed and all
    // existing owners stay valid; the flag only makes the calling thread's table private first. The raw system call is
    // used because C libraries older than the kernel call lack its wrapper.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_UNSHARE) == 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::{io, thread};

    use super::unshare_fd_table;

    #[test]
    fn a_file_opened_after_the_split_is_unknown_to_the_other_table() -> io::Result<()> {
        // The numbers are looked up through /proc/self/task/TID/fd, which shows the table of one thread.
        let before = File::open("/dev/null")?;
        let (own, other) = thread::spawn(move || -> io::Result<(bool, bool)> {
            unshare_fd_table()?;
            let after = File::open("/proc/version")?;
            let seen = |task: &str| {
                let link: PathBuf = format!("/proc/{task}/fd/{}", after.as_raw_fd()).into();
                std::fs::read_link(link).is_ok_and(|path| path.ends_with("version"))
            };
            drop(before);
            Ok((seen("thread-self"), seen("self")))
        })
        .join()
        .expect("the thread does not panic")?;
        assert!(own, "the thread that opened the file sees it");
        assert!(!other, "the table of the main thread does not hold it");
        Ok(())
    }
}
