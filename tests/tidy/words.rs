//! Words that may not stand in the tree.

use crate::Offence;
use crate::source::Source;

/// Code that is not finished, not run, or was left from debugging. Written so that this file does not offend.
const UNFINISHED: [&str; 6] =
    ["#[ignore", "#[should_panic", "todo!", "unimplemented!", "dbg!", "#![allow(dead_code"];
/// Places that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = ["/work/", "/root/", "/home/", "/tmp/bash_jobs"];
/// Hosts of package registries: which one is used is the user's affair.
const REGISTRY_HOSTS: [&str; 5] =
    ["registry.npmjs", "pypi.org", "pythonhosted.org", "deb.debian.org", "static.crates.io"];
/// The file that must name what it forbids.
const THIS_FILE: &str = "tests/tidy/words.rs";

/// Unfinished or ignored code.
pub(crate) fn unfinished(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (line, code) in source.code_lines() {
        for word in UNFINISHED.iter().filter(|word| code.contains(**word)) {
            offences.push(Offence::new(&source.path, line, format!("`{word}` may not stand in the tree")));
        }
    }
    offences
}

/// Waiting by the clock instead of for an event. Benchmarks may: they measure time; a command may before it tries again; and
/// the scheduler's file, where a shard gives the processor away.
pub(crate) fn sleeps(source: &Source) -> Vec<Offence> {
    let may = ["benches/", "src/bench/", "src/cli/", "src/sys/scheduler.rs"]
        .iter()
        .any(|place| source.path.starts_with(place));
    let sleeping = source.code_lines().filter(|(_, code)| !may && code.contains("thread::sleep"));
    sleeping.map(|(line, _)| Offence::new(&source.path, line, "wait for an event, not for a time")).collect()
}

/// Paths of one machine and hosts of package registries.
pub(crate) fn foreign_places(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (index, line) in source.text.lines().enumerate().filter(|_| source.path != THIS_FILE) {
        let paths = MACHINE_PATHS.iter().filter(|path| has_absolute(line, path));
        let hosts = REGISTRY_HOSTS.iter().filter(|host| line.contains(**host));
        for place in paths.chain(hosts) {
            offences.push(Offence::new(&source.path, index + 1, format!("names `{place}`")));
        }
    }
    offences
}

/// Whether `path` stands in `line` as the beginning of a path, not in the middle of one (`$dir/root/`).
fn has_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|one| one.is_alphanumeric() || "_-.})~*".contains(one))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unfinished_word_is_found_in_code_and_none_in_comments() {
        for word in UNFINISHED {
            assert_eq!(unfinished(&Source::new("src/x.rs", &format!("\n    {word}"))).len(), 1, "{word}");
            assert_eq!(unfinished(&Source::new("src/x.rs", &format!("// {word}"))), []);
        }
    }

    #[test]
    fn a_sleep_is_found_where_it_stands_for_an_event() {
        let text = "fn f() { std::thread::sleep(d); }";
        assert_eq!(sleeps(&Source::new("tests/x.rs", text)).len(), 1);
        assert_eq!(sleeps(&Source::new("benches/x.rs", text)), []);
    }

    #[test]
    fn every_foreign_place_is_found_and_relative_paths_are_left_alone() {
        for place in MACHINE_PATHS.iter().chain(&REGISTRY_HOSTS) {
            let offences = foreign_places(&Source::new("README.md", &format!("fine\nsee {place} there")));
            assert_eq!(offences.iter().map(|offence| offence.line).collect::<Vec<_>>(), [2], "{place}");
        }
        let relative = "tests/.work/log ${dir}/root/usr $dir/root/lib ~/work/x the network/work/home";
        assert_eq!(foreign_places(&Source::new("README.md", relative)), []);
    }
}
