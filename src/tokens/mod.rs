//! Floor 1: who a client is and what it may do, by a token that somebody else has signed (RFC 7519).
//! Must never ask a clock, open a file or fetch a key: keys, token and moment are arguments.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod claims;
pub mod grant;
mod header;
pub mod key;
pub mod key_set;
pub mod keys;
pub mod pattern;
pub mod refusal;
pub mod revocations;
pub mod rights;
pub mod token;
pub mod verify;

pub use grant::Grant;
pub use key::{Algorithm, Key, KeyError};
pub use keys::Keys;
pub use refusal::Refusal;
pub use token::Token;
pub use verify::{Demands, verify};

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod vectors;
