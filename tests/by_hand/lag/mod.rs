//! A client reads more slowly than is published, or nobody looks at it: what it hears, and what is kept for it.

mod hidden;
mod slow;
mod world;
