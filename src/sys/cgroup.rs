//! What the control group of this process may use. Must never change it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that the group of this process may use, or one that it lies in: `memory.max` of cgroup v2,
/// `memory.limit_in_bytes` of v1. None where no group has a bound.
#[must_use]
pub fn memory_bytes() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    least(&groups, |file| fs::read_to_string(file).ok())
}

/// A kind of bound, and where the kernel keeps it (cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/pids.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The file of cgroup v2.
    v2: &'static str,
    /// The controller and the file of v1; none where v1 has no such bound.
    v1: Option<(&'static str, &'static str)>,
}

/// Above which the group's processes are killed.
pub const MEMORY: Bound = Bound { v2: "memory.max", v1: Some(("memory", "memory.limit_in_bytes")) };
/// Above which they are slowed down.
pub const MEMORY_HIGH: Bound = Bound { v2: "memory.high", v1: None };
/// Above which they get no further thread.
pub const TASKS: Bound = Bound { v2: "pids.max", v1: Some(("pids", "pids.max")) };

impl Bound {
    /// Every file that may hold such a bound for a process in `groups`, the text of its `/proc/PID/cgroup`: from its own
    /// group up to the root.
    pub fn files(self, groups: &str) -> impl Iterator<Item = PathBuf> {
        groups.lines().filter_map(move |line| self.files_of(line)).flatten()
    }

    /// Of one line, `ID:CONTROLLERS:PATH` (cgroups(7)): v2 is the line without controllers.
    fn files_of(self, line: &str) -> Option<impl Iterator<Item = PathBuf> + use<>> {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match self.v1 {
            _ if controllers.is_empty() => (PathBuf::from(ROOT), self.v2),
            Some((controller, file)) if controllers.split(',').any(|name| name == controller) => {
                (Path::new(ROOT).join(controller), file)
            }
            _ => return None,
        };
        let path = path.trim_start_matches('/').to_owned();
        let ancestors: Vec<PathBuf> = Path::new(&path).ancestors().map(Path::to_owned).collect();
        Some(ancestors.into_iter().map(move |group| root.join(group).join(file)))
    }
}

/// The least of all bounds of memory that hold for a process in `groups`, the text of `/proc/self/cgroup`.
fn least(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    // A container may see its own group as the root, and its path as the host has it: what is not there has no bound.
    MEMORY.files(groups).filter_map(|file| read(&file)?.trim().parse().ok()).min()
}

const ROOT: &str = "/sys/fs/cgroup";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn found(groups: &str, files: &[(&str, &str)]) -> Option<usize> {
        let files: BTreeMap<&Path, &str> =
            files.iter().map(|&(file, text)| (Path::new(file), text)).collect();
        least(groups, |file| files.get(file).map(|&text| text.to_owned()))
    }

    #[test]
    fn the_bound_of_a_unit_is_found_and_so_is_that_of_the_slice_it_lies_in() {
        let unit = "/sys/fs/cgroup/system.slice/roost.service/memory.max";
        let slice = "/sys/fs/cgroup/system.slice/memory.max";
        let groups = "0::/system.slice/roost.service\n";
        assert_eq!(found(groups, &[(unit, "2147483648\n"), (slice, "max\n")]), Some(2 << 30));
        assert_eq!(found(groups, &[(unit, "max\n"), (slice, "1073741824\n")]), Some(1 << 30));
        assert_eq!(found(groups, &[(unit, "max\n")]), None);
    }

    #[test]
    fn a_container_that_is_its_own_root_is_found_whatever_path_it_is_told() {
        assert_eq!(found("0::/\n", &[("/sys/fs/cgroup/memory.max", "4096\n")]), Some(4096));
        assert_eq!(found("0::/../x\n", &[("/sys/fs/cgroup/memory.max", "4096\n")]), Some(4096));
        let v1 = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(found("4:memory:/docker/0123\n3:cpuset:/\n", &[(v1, "4096\n")]), Some(4096));
    }

    #[test]
    fn of_version_1_the_memory_controller_alone_is_asked() {
        let groups = "9:name=systemd:/a\n4:memory,hugetlb:/a\n3:cpuset:/a\n0::/\n";
        let asked: Vec<PathBuf> = MEMORY.files(groups).collect();
        let expected = [
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(asked, expected.map(PathBuf::from));
        let asked: Vec<PathBuf> = TASKS.files("4:memory,pids:/a\n").collect();
        assert_eq!(
            asked,
            ["/sys/fs/cgroup/pids/a/pids.max", "/sys/fs/cgroup/pids/pids.max"].map(PathBuf::from)
        );
        assert_eq!(MEMORY_HIGH.files("4:memory:/a\n").count(), 0);
        assert_eq!(found("", &[]), None);
        assert_eq!(found("nonsense\n1\n:\n::::\n", &[]), None);
    }
}
