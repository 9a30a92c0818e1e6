//! Micro-benchmarks of the pure floors, each fast path beside its naive twin. `README.md` says how to run them.

mod frames;
mod tokens;

criterion::criterion_main!(frames::frames, tokens::tokens);
