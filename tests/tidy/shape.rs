//! The shape of one Rust file: its length, its functions, its header, and where `unsafe` may stand.

use crate::Offence;
use crate::source::{Source, words_at};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const README_AS_PAGE: &str = "#![doc = include_str!(\"README.md\")]";

/// A file with too many lines above its tests.
pub(crate) fn long_file(source: &Source) -> Vec<Offence> {
    let lines = source.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let rule = format!("{lines} lines above the tests, at most {FILE_LINES_MAX}: split along a noun");
    vec![Offence::new(&source.path, FILE_LINES_MAX + 1, rule)]
}

/// Functions with too many lines, from `fn` to the closing brace.
pub(crate) fn long_functions(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for at in words_at(&source.code, "fn") {
        let Some(end) = body_end(&source.code[at..]) else { continue };
        let first = source.line_of(at);
        let lines = source.line_of(at + end) - first + 1;
        if lines > FUNCTION_LINES_MAX {
            let rule = format!("a function of {lines} lines, at most {FUNCTION_LINES_MAX}");
            offences.push(Offence::new(&source.path, first, rule));
        }
    }
    offences
}

/// A file whose first line is not its header.
pub(crate) fn missing_header(source: &Source) -> Vec<Offence> {
    let first = source.text.lines().next().unwrap_or_default();
    // A folder may show its README as its page.
    let is_folder = source.path == "src/lib.rs" || source.path.ends_with("/mod.rs");
    if first.starts_with("//! ") || (is_folder && first == README_AS_PAGE) {
        return Vec::new();
    }
    vec![Offence::new(&source.path, 1, "the first line must be `//! ` and say what the file is for")]
}

/// `unsafe` outside `src/sys`, or without the reason why it is sound.
pub(crate) fn unsafe_code(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for at in words_at(&source.code, "unsafe") {
        let line = source.line_of(at);
        if !source.path.starts_with("src/sys/") {
            offences.push(Offence::new(&source.path, line, "`unsafe` stands in src/sys only"));
        } else if !explained(&source.text, line) {
            offences.push(Offence::new(
                &source.path,
                line,
                "`unsafe` needs a `// SAFETY:` comment right above it",
            ));
        }
    }
    offences
}

/// Whether the comment lines directly above line `line` (counted from 1) contain the reason.
fn explained(text: &str, line: usize) -> bool {
    let above: Vec<&str> = text.lines().take(line - 1).map(str::trim).collect();
    let comments = above.iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["));
    comments.into_iter().any(|line| line.starts_with("// SAFETY:"))
}

/// Offset of the brace that closes the body of the function that `code` begins with; `None` where it has no body.
fn body_end(code: &str) -> Option<usize> {
    let named = code["fn".len()..].trim_start().starts_with(|one: char| one.is_alphabetic() || one == '_');
    let mut brackets = 0_i32;
    let mut braces = 0_i32;
    for (at, one) in code.char_indices().filter(|_| named) {
        match one {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_measured_above_its_tests() {
        let fits = "x\n".repeat(FILE_LINES_MAX);
        let tests = format!("{fits}#[cfg(test)]\nmod tests {{}}\n");
        assert_eq!(long_file(&Source::new("src/x.rs", &tests)), []);
        assert_eq!(long_file(&Source::new("src/x.rs", &format!("x\n{tests}"))).len(), 1);
    }

    #[test]
    fn a_function_is_measured_to_its_closing_brace() {
        let function =
            |inner: usize| format!("\nfn f(a: [u8; 2]) -> u8 {{\n{}}}\n", "    g('}');\n".repeat(inner));
        assert_eq!(long_functions(&Source::new("src/x.rs", &function(FUNCTION_LINES_MAX - 2))), []);
        let found = long_functions(&Source::new("src/x.rs", &function(FUNCTION_LINES_MAX - 1)));
        assert_eq!(found.iter().map(|offence| offence.line).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_function_without_a_body_is_not_measured() {
        let text = format!("trait T {{\n    fn f(a: [u8; 2]);\n{}}}\ntype F = fn(u8);\n", "\n".repeat(100));
        assert_eq!(long_functions(&Source::new("src/x.rs", &text)), []);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(missing_header(&Source::new("tests/x.rs", "//! Says.\n")), []);
        assert_eq!(missing_header(&Source::new("src/lib.rs", README_AS_PAGE)), []);
        assert_eq!(missing_header(&Source::new("src/hub/mod.rs", README_AS_PAGE)), []);
        for bad in [README_AS_PAGE, "", "use x;\n//! late", "// no doc", "//!"] {
            assert_eq!(missing_header(&Source::new("src/x.rs", bad)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn unsafe_is_found_outside_sys_and_without_a_reason() {
        let silent = "fn f() {\n    unsafe { g() }\n}\n";
        let spoken =
            "fn f() {\n    // SAFETY: g has no precondition\n    // whatsoever.\n    unsafe { g() }\n}\n";
        assert_eq!(unsafe_code(&Source::new("src/sys/x.rs", spoken)), []);
        assert_eq!(unsafe_code(&Source::new("src/sys/x.rs", silent)).len(), 1);
        assert_eq!(unsafe_code(&Source::new("src/hub/x.rs", spoken)).len(), 1);
        assert_eq!(unsafe_code(&Source::new("src/hub/x.rs", "// unsafe\n#![deny(unsafe_code)]")), []);
    }
}
