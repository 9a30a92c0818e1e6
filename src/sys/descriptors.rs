//! How many descriptors this process may have. Must never lower a limit.

use std::fs;
use std::io;

/// What the limit was and what it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The soft limit as the process found it.
    pub from: u64,
    /// The soft limit in force.
    pub to: u64,
    /// The hard limit in force.
    pub hard: u64,
}

/// Raises the soft limit to the hard one, and the hard one to `fs.nr_open` where that is permitted
/// (getrlimit(2): it takes `CAP_SYS_RESOURCE`).
///
/// # Errors
/// When the limits cannot even be read.
pub fn raise() -> io::Result<Raised> {
    let (soft, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE)?;
    let host = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let wanted = host.unwrap_or(hard).max(hard);
    let permitted = rlimit::setrlimit(rlimit::Resource::NOFILE, wanted, wanted).is_ok();
    if !permitted {
        // Without the privilege the hard limit stays; up to it anyone may go.
        let _ = rlimit::setrlimit(rlimit::Resource::NOFILE, hard, hard);
    }
    let (to, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE)?;
    Ok(Raised { from: soft, to, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_ends_at_the_hard_one() {
        let raised = raise().unwrap();
        assert_eq!(raised.to, raised.hard);
        assert!(raised.to >= raised.from);
    }
}
