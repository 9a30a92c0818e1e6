//! Leaf: how connections ended, by reason and by how their clients were connected. Must never know how an end is carried out.

use super::Transport;
use crate::disconnect::Disconnect;

/// Counts of ends: a row for each reason, and in it a column for each transport and one for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends([[u64; COLUMNS]; Disconnect::ALL.len()]);

impl Ends {
    /// Every way of being connected that is told apart; None is a client that had not come so far.
    pub const TRANSPORTS: [Option<Transport>; COLUMNS] =
        [Some(Transport::WebSocket), Some(Transport::Sse), Some(Transport::Poll), None];

    /// Counts an end.
    pub fn count(&mut self, disconnect: Disconnect, transport: Option<Transport>) {
        self.0[disconnect.index()][column(transport)] += 1;
    }

    /// Ends for one reason, whatever the transport.
    #[must_use]
    pub fn of(&self, disconnect: Disconnect) -> u64 {
        self.0[disconnect.index()].iter().sum()
    }

    /// Ends for one reason over one transport.
    #[must_use]
    pub fn over(&self, disconnect: Disconnect, transport: Option<Transport>) -> u64 {
        self.0[disconnect.index()][column(transport)]
    }

    /// All ends.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().flatten().sum()
    }
}

/// The value of the `transport` label in metrics.
#[must_use]
pub const fn transport_label(transport: Option<Transport>) -> &'static str {
    match transport {
        Some(transport) => transport.label(),
        None => "none",
    }
}

const fn column(transport: Option<Transport>) -> usize {
    match transport {
        Some(transport) => transport.index(),
        None => Transport::ALL.len(),
    }
}

const COLUMNS: usize = Transport::ALL.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_counts_once_under_its_reason_and_its_transport() {
        let mut ends = Ends::default();
        for (index, transport) in Ends::TRANSPORTS.into_iter().enumerate() {
            assert_eq!(column(transport), index);
            (0..=index).for_each(|_| ends.count(Disconnect::Idle, transport));
        }
        ends.count(Disconnect::PeerGone, None);
        let idle = Ends::TRANSPORTS.map(|transport| ends.over(Disconnect::Idle, transport));
        assert_eq!((idle, ends.of(Disconnect::Idle), ends.sum()), ([1, 2, 3, 4], 10, 11));
    }
}
