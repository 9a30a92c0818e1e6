//! Each folder's README: it names what lies in the folder and nothing that does not.

use std::fs;
use std::path::Path;

use crate::Offence;
use crate::source::entries;

/// Endings that make a word of a README a file name.
const ENDINGS: [&str; 11] = ["rs", "md", "py", "js", "ts", "json", "toml", "txt", "html", "conf", "yml"];
/// What a README need not name: itself, and the crate root, whose page it is.
const UNNAMED: [&str; 2] = ["README.md", "lib.rs"];

/// Checks `folder` of the tree and every folder in it.
pub(crate) fn check_tree(root: &Path, folder: &Path) -> Vec<Offence> {
    let names = entries(&root.join(folder));
    let path = folder.join("README.md").to_string_lossy().into_owned();
    let mut offences = match fs::read_to_string(root.join(&path)) {
        Ok(text) => check_text(&path, &text, &names, |name| {
            root.join(folder).join(name).exists() || root.join(name).exists()
        }),
        Err(_) => vec![Offence::new(&path, 1, "a folder has a README.md that names its files")],
    };
    for inner in names.iter().filter_map(|name| name.strip_suffix('/')) {
        offences.extend(check_tree(root, &folder.join(inner)));
    }
    offences
}

/// Names that are missing from `text`, and file names in the first cells of its tables that `exists` denies.
fn check_text(path: &str, text: &str, names: &[String], exists: impl Fn(&str) -> bool) -> Vec<Offence> {
    let mut offences = Vec::new();
    for name in names.iter().filter(|name| !UNNAMED.contains(&name.as_str()) && !name.starts_with('.')) {
        if !is_named(text, name) {
            offences.push(Offence::new(path, 1, format!("does not name `{name}`")));
        }
    }
    for (index, line) in text.lines().enumerate() {
        for name in first_cell_names(line).filter(|name| !exists(name)) {
            offences.push(Offence::new(path, index + 1, format!("names `{name}`, which does not exist")));
        }
    }
    offences
}

/// Whether `text` names this file or folder. A name without an ending is a word like any other: it needs backticks.
fn is_named(text: &str, name: &str) -> bool {
    if !name.contains(['.', '/']) {
        return text.contains(&format!("`{name}`"));
    }
    text.match_indices(name).any(|(at, _)| {
        let part = |one: char| one.is_alphanumeric() || "_-.".contains(one);
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(part) && (name.ends_with('/') || !after.is_some_and(|one| one.is_alphanumeric()))
    })
}

/// What stands in backticks in the first cell of a table row and looks like a file or a folder.
fn first_cell_names(line: &str) -> impl Iterator<Item = &str> {
    let cell = line.strip_prefix('|').and_then(|rest| rest.split('|').next()).unwrap_or_default();
    cell.split('`').skip(1).step_by(2).filter(|word| {
        let plain = word.chars().all(|one| one.is_alphanumeric() || "_-./".contains(one));
        let file = word.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending));
        plain && !word.starts_with('/') && (file || word.ends_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let offences = check_text("README.md", text, &names, |name| names.iter().any(|one| one == name));
        offences.into_iter().map(|offence| offence.rule).collect()
    }

    #[test]
    fn a_file_or_folder_that_the_readme_does_not_name_is_found() {
        let names = ["frame.rs", "run", "sim/"];
        assert_eq!(check("| `frame.rs` | x |\n| `run` | x |\n| `sim/` | x |", &names), [""; 0]);
        assert_eq!(check("a_frame.rs frame.rsx run sim", &names).len(), 3);
    }

    #[test]
    fn a_name_in_the_table_that_does_not_exist_is_found() {
        let text = "| `gone.rs` | `x.rs` |\n| `gone/` | x |\n| `/live` | x |\n| `--flag` `a b.rs` | x |\n";
        assert_eq!(
            check(text, &[]),
            ["names `gone.rs`, which does not exist", "names `gone/`, which does not exist"]
        );
    }
}
