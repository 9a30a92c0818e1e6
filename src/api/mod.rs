//! Floor 2: what HTTP answers on the API listener. Requests become calls, gathered outcomes become JSON. Must never
//! know a socket, a thread or where a shard is.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod answers;
pub mod channels;
pub mod connections;
pub mod density;
pub mod disconnect;
pub mod drain;
pub mod pace;
pub mod page;
pub mod publish;
pub mod route;
pub mod status;

pub use answers::Reply;
pub use route::Route;
