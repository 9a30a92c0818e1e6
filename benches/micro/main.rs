//! Placeholder of the micro-benchmarks.
fn main() {}
