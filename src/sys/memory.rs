//! What the host has to give: memory and open files. Must never be asked on a path that a byte takes.

use super::cgroup;
use super::proc_text::{file_nr, kb_field_bytes};
use std::fs;

/// Bytes of memory: the host's, or the control group's when that is less.
#[must_use]
pub fn total_bytes() -> usize {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kb_field_bytes(&text, "MemTotal"));
    let host = host.map(|bytes| bytes as usize);
    // A host that does not say is taken at its word that there is no limit.
    host.into_iter().chain(cgroup::memory_bytes()).min().unwrap_or(usize::MAX)
}

/// Files that may be open on the host at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// How many more may be opened.
    pub left: usize,
    /// How many there may be: `fs.file-max`.
    pub max: usize,
}

/// What `fs.file-max` allows, as the kernel counts it.
#[must_use]
pub fn open_files() -> OpenFiles {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
    let files = file_nr(&text);
    files.map_or(OpenFiles { left: usize::MAX, max: usize::MAX }, |files| OpenFiles {
        left: files.max.saturating_sub(files.open) as usize,
        max: files.max as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_texts_are_read() {
        assert!(total_bytes() > 0);
        assert!(open_files().left > 0);
    }
}
