//! Placeholder of the bare floor.
fn main() {}
