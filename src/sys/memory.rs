//! What the host has to give: memory and open files. Must never be asked on a path that a byte takes.

use super::cgroup;
use super::proc_text::kb_field_bytes;
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
    file_nr(&text).unwrap_or(OpenFiles { left: usize::MAX, max: usize::MAX })
}

/// Three numbers: open, free of those allotted (0 since Linux 2.6), and the limit (proc(5)).
fn file_nr(text: &str) -> Option<OpenFiles> {
    let mut numbers = text.split_whitespace().map(|word| word.parse::<usize>().ok());
    let (open, free, max) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(OpenFiles { left: max.saturating_sub(open.saturating_sub(free)), max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_texts_are_read() {
        assert_eq!(file_nr("1184\t0\t2466170\n"), Some(OpenFiles { left: 2_464_986, max: 2_466_170 }));
        assert!(total_bytes() > 0);
        assert!(open_files().left > 0);
    }
}
