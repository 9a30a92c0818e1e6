//! Stands in for the node until it is built.

/// Why a node ended other than as asked.
#[derive(Debug)]
pub enum NodeError {}

impl std::fmt::Display for NodeError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

/// Runs a node until it is told to end.
///
/// # Errors
/// Whatever keeps it from running.
pub fn run(_: crate::config::Config) -> Result<(), NodeError> {
    Ok(())
}
