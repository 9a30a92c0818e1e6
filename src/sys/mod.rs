//! Floor 4: the few system calls that no well-kept crate names safely. The only folder that may say `unsafe`; it knows
//! nothing of connections, channels or protocols.

pub mod fd_table;
