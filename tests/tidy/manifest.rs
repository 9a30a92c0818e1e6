//! The manifest: every dependency says why it is there.

use crate::Offence;

/// Dependency lines without a comment on the same line.
pub(crate) fn silent_dependencies(path: &str, text: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut within = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            within = line.trim_end_matches(']').ends_with("dependencies");
        } else if within && line.contains('=') && !line.starts_with('#') && !has_comment(line) {
            let name = line.split('=').next().unwrap_or_default().trim();
            offences.push(Offence::new(path, index + 1, format!("`{name}` does not say what it is for")));
        }
    }
    offences
}

/// Whether a `#` stands outside the strings of `line`, with words after it.
fn has_comment(line: &str) -> bool {
    let outside = line.split('"').step_by(2).collect::<String>();
    outside.split_once('#').is_some_and(|(_, comment)| !comment.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found_in_every_table() {
        for table in ["[dependencies]", "[dev-dependencies]", "[target.'cfg(unix)'.dependencies]"] {
            let text = format!(
                "name = \"x\"\n{table}\na = \"1\" # why\n# all\nb = {{ version = \"#\" }}\nc = \"1\" #\n[lints]\nd = 1\n"
            );
            let lines: Vec<usize> =
                silent_dependencies("Cargo.toml", &text).iter().map(|offence| offence.line).collect();
            assert_eq!(lines, [5, 6], "{table}");
        }
    }
}
