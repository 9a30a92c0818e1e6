//! Holds the shape of the house: what a machine can check about the tree, no reviewer has to.
//! Must never know what the code does; it reads text. Every check is itself tried on a bad sample.

mod example;
mod floors;
mod manifest;
mod readmes;
mod shape;
mod source;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use source::{Source, rust_sources, text_files};

/// One place where the tree breaks one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    path: String,
    /// Counted from 1.
    line: usize,
    rule: String,
}

impl Offence {
    fn new(path: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Applies `check` to every Rust file of the tree.
fn in_rust(check: impl Fn(&Source) -> Vec<Offence>) -> Vec<Offence> {
    let sources = rust_sources(&root());
    assert!(!sources.is_empty(), "found no Rust file to check");
    sources.iter().flat_map(check).collect()
}

fn demand_none(mut offences: Vec<Offence>) {
    offences.sort();
    let list: Vec<String> = offences.iter().map(Offence::to_string).collect();
    assert!(offences.is_empty(), "{} offences:\n{}\n", list.len(), list.join("\n"));
}

#[test]
fn imports_point_down_the_floors_only() {
    demand_none(floors::upward_imports(&rust_sources(&root())));
}

#[test]
fn rooms_of_one_floor_do_not_import_each_other_in_a_circle() {
    demand_none(floors::sideways_circles(&rust_sources(&root())));
}

#[test]
fn every_room_of_the_pure_floors_denies_what_they_may_not_name() {
    demand_none(in_rust(floors::missing_purity));
}

#[test]
fn files_stay_under_five_hundred_lines_above_their_tests() {
    demand_none(in_rust(shape::long_file));
}

#[test]
fn functions_stay_under_seventy_lines() {
    demand_none(in_rust(shape::long_functions));
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    demand_none(in_rust(shape::missing_header));
}

#[test]
fn unsafe_lives_in_sys_and_says_why_it_is_sound() {
    demand_none(in_rust(shape::unsafe_code));
}

#[test]
fn nothing_is_ignored_unfinished_or_left_from_debugging() {
    demand_none(in_rust(words::unfinished));
}

#[test]
fn no_test_and_no_shard_sleeps() {
    demand_none(in_rust(words::sleeps));
}

#[test]
fn no_file_names_a_path_of_one_machine_or_a_registry_host() {
    let files = text_files(&root());
    assert!(!files.is_empty(), "found no file to check");
    demand_none(files.iter().flat_map(words::foreign_places).collect());
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let path = root().join("Cargo.toml");
    let text = std::fs::read_to_string(&path).expect("Cargo.toml is readable");
    demand_none(manifest::silent_dependencies("Cargo.toml", &text));
}

#[test]
fn the_example_configuration_shows_every_option() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("both files are readable");
    let example = read("tuning/roost.toml");
    demand_none(example::missing_options("tuning/roost.toml", &example, &read("src/config/options.rs")));
}

#[test]
fn every_folder_has_a_readme_that_names_its_files_and_no_others() {
    let mut offences = Vec::new();
    for top in ["src", "tests", "benches", "tuning"] {
        let folder = root().join(top);
        if folder.is_dir() {
            offences.extend(readmes::check_tree(&root(), Path::new(top)));
        }
    }
    demand_none(offences);
}
