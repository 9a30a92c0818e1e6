//! Reads the tree: which files there are, and their text with comments and literals blanked out.
//! Must never know a rule.

use std::fs;
use std::path::Path;

/// Folders that hold what programs make, not what people write.
const GENERATED: [&str; 4] = ["target", "node_modules", "__pycache__", ".work"];
/// Folders that hold Rust of ours.
const RUST_FOLDERS: [&str; 3] = ["src", "tests", "benches"];
/// A file with one of these endings is no text.
const BINARY_ENDINGS: [&str; 8] = ["png", "jpg", "gif", "ico", "gz", "zip", "woff2", "bin"];

/// One file of the tree.
pub(crate) struct Source {
    /// From the root of the tree, with `/` between the parts.
    pub(crate) path: String,
    /// As it stands on the disk.
    pub(crate) text: String,
    /// The same lines, with every comment, string and character literal replaced by spaces.
    pub(crate) code: String,
}

impl Source {
    /// A file with this path and text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// Its lines of code with their numbers, counted from 1.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The line, counted from 1, in which the byte at `offset` of [`Source::code`] stands.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }
}

/// Every Rust file of the package, sorted by path.
pub(crate) fn rust_sources(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in RUST_FOLDERS {
        walk(root, folder, &mut paths);
    }
    paths.retain(|path| path.ends_with(".rs"));
    read_all(root, &paths)
}

/// Every text file of the tree but the lock file, which cargo writes.
pub(crate) fn text_files(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(root, "", &mut paths);
    paths.retain(|path| {
        let ending = path.rsplit('.').next().unwrap_or_default();
        path != "Cargo.lock" && !BINARY_ENDINGS.contains(&ending)
    });
    read_all(root, &paths)
}

/// The names in a folder that people wrote, sorted; folders end in `/`.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() { name + "/" } else { name }
        })
        .filter(|name| !GENERATED.contains(&name.trim_end_matches('/')) && name != ".git/" && name != ".git")
        .collect();
    names.sort();
    names
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) {
    for name in entries(&root.join(folder)) {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match path.strip_suffix('/') {
            Some(inner) => walk(root, inner, paths),
            None => paths.push(path),
        }
    }
}

fn read_all(root: &Path, paths: &[String]) -> Vec<Source> {
    let read = |path: &String| {
        let bytes = fs::read(root.join(path)).ok()?;
        Some(Source::new(path, &String::from_utf8_lossy(&bytes)))
    };
    paths.iter().filter_map(read).collect()
}

/// What the characters at hand belong to.
enum Within {
    Code,
    LineComment,
    /// Block comments nest.
    BlockComment(usize),
    Text,
    /// Ended by a quote and this many `#`.
    RawText(usize),
}

/// Replaces comments, strings and character literals of Rust by spaces; line ends stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut within = Within::Code;
    let mut at = 0;
    while at < chars.len() {
        let (taken, keep, next) = step(&chars, at, within);
        for &one in &chars[at..(at + taken).min(chars.len())] {
            code.push(if keep || one == '\n' { one } else { ' ' });
        }
        at += taken;
        within = next;
    }
    code
}

/// How many characters to take, whether they are code, and what follows them.
fn step(chars: &[char], at: usize, within: Within) -> (usize, bool, Within) {
    let two = (chars[at], chars.get(at + 1).copied().unwrap_or('\0'));
    match within {
        Within::Code => step_code(chars, at),
        Within::LineComment if two.0 == '\n' => (1, true, Within::Code),
        Within::LineComment => (1, false, Within::LineComment),
        Within::BlockComment(depth) => match two {
            ('/', '*') => (2, false, Within::BlockComment(depth + 1)),
            ('*', '/') if depth == 1 => (2, false, Within::Code),
            ('*', '/') => (2, false, Within::BlockComment(depth - 1)),
            _ => (1, false, Within::BlockComment(depth)),
        },
        Within::Text => match two.0 {
            '\\' => (2, false, Within::Text),
            '"' => (1, false, Within::Code),
            _ => (1, false, Within::Text),
        },
        Within::RawText(hashes) if two.0 == '"' && hashes_at(chars, at + 1) >= hashes => {
            (1 + hashes, false, Within::Code)
        }
        Within::RawText(hashes) => (1, false, Within::RawText(hashes)),
    }
}

fn step_code(chars: &[char], at: usize) -> (usize, bool, Within) {
    let next = chars.get(at + 1).copied().unwrap_or('\0');
    let starts_word = at == 0 || !is_word(chars[at - 1]);
    match chars[at] {
        '/' if next == '/' => (2, false, Within::LineComment),
        '/' if next == '*' => (2, false, Within::BlockComment(1)),
        '"' => (1, false, Within::Text),
        '\'' => match char_literal(chars, at) {
            Some(length) => (length, false, Within::Code),
            None => (1, true, Within::Code),
        },
        'r' | 'b' | 'c' if starts_word => match raw_opening(chars, at) {
            Some((length, hashes)) => (length, false, Within::RawText(hashes)),
            None => (1, true, Within::Code),
        },
        _ => (1, true, Within::Code),
    }
}

/// Length of the character literal at `at`, or `None` where the quote starts a lifetime.
fn char_literal(chars: &[char], at: usize) -> Option<usize> {
    match (chars.get(at + 1)?, chars.get(at + 2)?) {
        ('\\', _) => {
            let closing = chars[at + 3..].iter().position(|&one| one == '\'')?;
            Some(closing + 4)
        }
        (_, '\'') => Some(3),
        _ => None,
    }
}

/// Length and number of `#` of the opening of a raw string (`r"`, `br#"`) at `at`, if there is one.
fn raw_opening(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let prefix = usize::from(chars[at] != 'r');
    if chars.get(at + prefix) != Some(&'r') {
        return None;
    }
    let hashes = hashes_at(chars, at + prefix + 1);
    let length = prefix + 1 + hashes;
    (chars.get(at + length) == Some(&'"')).then_some((length + 1, hashes))
}

fn hashes_at(chars: &[char], at: usize) -> usize {
    chars[at.min(chars.len())..].iter().take_while(|&&one| one == '#').count()
}

/// Whether `one` may stand in a name.
pub(crate) fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

/// Byte offsets at which `word` stands in `text` as a word of its own.
pub(crate) fn words_at<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let after = text[at + word.len()..].chars().next().is_some_and(is_word);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_and_lines_stay() {
        let cases = [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("unsafe \" {", 1)"#, r"f(             , 1)"),
            (r##"f(r#"a " b"#, 1)"##, r"f(          , 1)"),
            (r"'{' 'a '\'' x", r"    'a      x"),
            (r"br'x'", r"br   "),
        ];
        for (text, code) in cases {
            assert_eq!(blank(text), code, "{text}");
        }
    }

    #[test]
    fn a_word_is_found_only_where_it_stands_alone() {
        let found: Vec<usize> = words_at("unsafe unsafe_code (unsafe)", "unsafe").collect();
        assert_eq!(found, [0, 20]);
    }
}
