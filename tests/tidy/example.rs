//! The example configuration: every option of `roost serve` stands in it. Whether the node takes it is for `tests/tuning`.

use crate::Offence;

/// Options that have no line in the example.
pub(crate) fn missing_options(path: &str, example: &str, options: &str) -> Vec<Offence> {
    let missing = fields(options).filter(|field| *field != "channels" && !has_line(example, field));
    missing.map(|field| Offence::new(path, 1, format!("does not show the option `{field}`"))).collect()
}

/// The public fields of the struct `Options`.
fn fields(options: &str) -> impl Iterator<Item = &str> {
    let body = options.split_once("pub struct Options {").map_or("", |(_, rest)| rest);
    let lines = body.lines().take_while(|line| *line != "}");
    lines.filter_map(|line| line.strip_prefix("    pub ")?.split(':').next())
}

/// Whether the key is set in a line, or would be without the `#` before it.
fn has_line(example: &str, key: &str) -> bool {
    example.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_without_a_line_is_found() {
        let options = "pub struct Options {\n    /// Help\n    pub a: u8,\n    pub b: u8,\n    pub channels: u8,\n}\nimpl X {\n    pub c: u8,\n";
        assert_eq!(missing_options("x.toml", "#a = 1\nb = 2\n", options), []);
        assert_eq!(missing_options("x.toml", "# a is good\n#b = 2\n", options).len(), 1);
    }
}
