//! Floor 1: what one peer says, and how it is answered. Must never know who else is subscribed.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod cursor;
pub mod native;
