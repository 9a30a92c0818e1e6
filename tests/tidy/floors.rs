//! The floors of the house: which room stands on which, read from the paths that the code names.

use std::collections::{BTreeMap, BTreeSet};

use crate::Offence;
use crate::source::{Source, is_word};

/// Rooms that any floor may use and that use nothing but each other.
const LEAVES: [&str; 11] = [
    "capacity",
    "clock",
    "config",
    "disconnect",
    "doctor",
    "lag",
    "limits",
    "metrics",
    "sizing",
    "table",
    "assets",
];
/// The rooms of each floor, from the ground up, as in `src/README.md`.
const FLOORS: [&[&str]; 6] = [
    &["proto"],
    &["conn", "transport", "dialect", "tokens"],
    &["hub", "api"],
    &["shard"],
    &["reactor", "sys", "control", "cluster", "takeover", "bench", "keyring"],
    &["cli", "node", "main"],
];
/// The floors below this one run without socket, clock, thread, lock and randomness.
const PURE_FLOORS: usize = 4;
const PURITY: &str = "#![deny(clippy::disallowed_types, clippy::disallowed_methods)]";

/// Where a room stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Leaf,
    Floor(usize),
}

/// Imports that point up, or out of a leaf; and files that stand on no floor.
pub(crate) fn upward_imports(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources {
        let Some(room) = room_of(&source.path) else { continue };
        let Some(from) = level(room) else {
            let rule = format!("`{room}` stands on no floor: add it to FLOORS here and to src/README.md");
            offences.push(Offence::new(&source.path, 1, rule));
            continue;
        };
        for import in imports(source) {
            let allowed = match (from, level(&import.room)) {
                (_, None) => false,
                (Level::Leaf, Some(to)) => to == Level::Leaf,
                (Level::Floor(_), Some(Level::Leaf)) => true,
                (Level::Floor(here), Some(Level::Floor(there))) => there <= here,
            };
            if !allowed {
                let rule =
                    format!("`{room}` may not import `{}`: imports point down the floors", import.room);
                offences.push(Offence::new(&source.path, import.line, rule));
            }
        }
    }
    offences
}

/// Imports between rooms of one floor whose target leads back to where they came from.
pub(crate) fn sideways_circles(sources: &[Source]) -> Vec<Offence> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut places = Vec::new();
    for source in sources {
        let Some(room) = room_of(&source.path) else { continue };
        for import in imports(source) {
            let sideways = import.room != room && level(room).is_some() && level(room) == level(&import.room);
            if sideways {
                edges.entry(room.to_owned()).or_default().insert(import.room.clone());
                places.push((room, import.room, source.path.as_str(), import.line));
            }
        }
    }
    let circular = places.into_iter().filter(|(from, to, ..)| leads_to(&edges, to, from));
    circular
        .map(|(from, to, path, line)| {
            Offence::new(path, line, format!("`{from}` imports `{to}`, which leads back to `{from}`"))
        })
        .collect()
}

/// The `mod.rs` of a pure room that does not deny what pure rooms may not name.
pub(crate) fn missing_purity(source: &Source) -> Vec<Offence> {
    let Some(room) = source.path.strip_prefix("src/").and_then(|path| path.strip_suffix("/mod.rs")) else {
        return Vec::new();
    };
    let pure = matches!(level(room), Some(Level::Floor(floor)) if floor < PURE_FLOORS);
    let mut lines = source.text.lines();
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with("#![doc"));
    if !pure || first == Some(PURITY) {
        return Vec::new();
    }
    vec![Offence::new(&source.path, 1, format!("the first line after the header must be `{PURITY}`"))]
}

struct Import {
    room: String,
    line: usize,
}

/// The folder or file directly under `src/` that `path` belongs to; `None` for the crate root and outside `src/`.
fn room_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let room = inner.split('/').next()?;
    let room = room.strip_suffix(".rs").unwrap_or(room);
    (room != "lib").then_some(room)
}

fn level(room: &str) -> Option<Level> {
    if LEAVES.contains(&room) {
        return Some(Level::Leaf);
    }
    FLOORS.iter().position(|rooms| rooms.contains(&room)).map(Level::Floor)
}

fn leads_to(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, target: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(room) = waiting.pop() {
        if room == target {
            return true;
        }
        if seen.insert(room) {
            waiting.extend(edges.get(room).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

/// Every room that a file names: `crate::room`, `crate::{room, room::x}`, `roost::room` and `super::super::room`.
fn imports(source: &Source) -> Vec<Import> {
    let own = room_of(&source.path).unwrap_or_default();
    let mut found = Vec::new();
    for root in ["crate::", "roost::", "super::super::"] {
        for (at, _) in source.code.match_indices(root) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|one| is_word(one) || one == ':') {
                continue;
            }
            let rest = source.code[at + root.len()..].trim_start_matches("super::");
            let names =
                if let Some(group) = rest.strip_prefix('{') { group_heads(group) } else { vec![head(rest)] };
            let relative = root.starts_with("super");
            for name in names {
                let is_macro = rest.starts_with(&format!("{name}!"));
                // A relative path may end in a module of the own room that is called like another room's neighbour.
                let is_room = if relative { level(&name).is_some() } else { !name.is_empty() };
                if name != own && is_room && !is_macro {
                    found.push(Import { room: name, line: source.line_of(at) });
                }
            }
        }
    }
    found
}

/// The first name of each element of a `{…}` group whose opening brace has been taken off.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut element = String::new();
    for one in group.chars() {
        match one {
            '}' if depth == 0 => break,
            ',' if depth == 0 => heads.push(head(&std::mem::take(&mut element))),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => element.push(one),
        }
    }
    heads.push(head(&element));
    heads.retain(|name| !name.is_empty());
    heads
}

fn head(path: &str) -> String {
    path.trim_start().chars().take_while(|&one| is_word(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upward(path: &str, text: &str) -> Vec<usize> {
        upward_imports(&[Source::new(path, text)]).iter().map(|offence| offence.line).collect()
    }

    #[test]
    fn an_import_that_points_up_is_found_in_every_way_to_write_it() {
        let samples = [
            "use crate::hub::Hub;",
            "use crate::{limits, hub::Hub};",
            "use crate::{\n    proto::{a, b},\n    shard,\n};",
            "fn f(x: &crate::shard::Shard) {}",
            "use super::super::hub;",
            "use crate::nowhere::X;",
        ];
        for sample in samples {
            assert_eq!(upward("src/conn/mod.rs", sample), [1], "{sample}");
        }
        assert_eq!(upward("src/limits.rs", "\nuse crate::proto::x;"), [2], "a leaf imports no floor");
        assert_eq!(upward("src/attic/mod.rs", ""), [1], "a room needs a floor");
    }

    #[test]
    fn an_import_that_points_down_or_to_a_leaf_is_left_alone() {
        let good = "use crate::limits::X;\nuse crate::{proto::frame, dialect};\nuse crate::conn::Y;\n// crate::hub\nuse std::net;";
        assert_eq!(upward("src/conn/mod.rs", good), []);
        assert_eq!(upward("src/main.rs", "fn main() { roost::cli::run(); }"), []);
        assert_eq!(upward("src/conn/x.rs", "fn f() { crate::conn_check!(true); }"), []);
        assert_eq!(upward("src/clock.rs", "use crate::limits::X;"), []);
    }

    #[test]
    fn two_rooms_of_one_floor_may_import_one_way_only() {
        let there = Source::new("src/conn/mod.rs", "use crate::dialect::X;");
        let back = Source::new("src/dialect/native.rs", "\nuse crate::conn::Y;");
        assert_eq!(sideways_circles(&[Source::new("src/conn/mod.rs", "use crate::dialect::X;")]), []);
        let found: Vec<usize> = sideways_circles(&[there, back]).iter().map(|offence| offence.line).collect();
        assert_eq!(found, [1, 2]);
    }

    #[test]
    fn a_pure_room_without_the_denial_is_found() {
        let good = format!("//! Room.\n{PURITY}\nmod x;");
        assert_eq!(missing_purity(&Source::new("src/hub/mod.rs", &good)), []);
        assert_eq!(missing_purity(&Source::new("src/hub/mod.rs", "//! Room.\nmod x;")).len(), 1);
        let late = format!("//! Room.\nmod x;\n{PURITY}");
        assert_eq!(missing_purity(&Source::new("src/hub/mod.rs", &late)).len(), 1);
        assert_eq!(missing_purity(&Source::new("src/reactor/mod.rs", "//! Room.\nmod x;")), []);
    }
}
