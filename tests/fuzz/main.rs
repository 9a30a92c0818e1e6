//! Bodies that must hold for any bytes, run here on thousands of seeded inputs. `README.md` says how to add one.

mod commands;
mod connection;
mod decoder;
mod head;
mod oracle;
mod requests;
mod rng;
mod streams;
