//! Where clients come from: explicit source addresses and ports, so that a host can open more connections to one
//! address than it has ports. The kernel's own search for a free port becomes slow past some 14,000 connections between
//! two addresses. Must never know what a client does.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::BenchError;

/// Source addresses and ports in a fixed order, handed out one at a time to any thread, each once until all are used up.
#[derive(Debug)]
pub(super) struct Sources {
    blocks: Vec<Block>,
    ports: RangeInclusive<u16>,
    /// Where in the order this run began, so that runs one after the other do not meet in `TIME_WAIT`.
    first: u64,
    taken: AtomicU64,
}

/// Consecutive addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: u32,
    count: u32,
}

impl Sources {
    /// Reads a comma-separated list of addresses and `address/prefix` networks (whose first and last address are left
    /// out), and a port range `first-last`. `seed` turns the order.
    ///
    /// # Errors
    /// An entry that is neither, an empty network, or a range that is none.
    pub(super) fn parse(addresses: &str, ports: &str, seed: u64) -> Result<Self, BenchError> {
        let blocks =
            addresses.split(',').map(|entry| Block::parse(entry.trim())).collect::<Result<_, _>>()?;
        let mut sources = Self { blocks, ports: parse_ports(ports)?, first: 0, taken: AtomicU64::new(0) };
        sources.first = seed % sources.capacity();
        Ok(sources)
    }

    /// Pairs of address and port.
    pub(super) fn capacity(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.count)).sum::<u64>() * self.ports_per_host()
    }

    /// The next pair that nobody has got; `None` once all were handed out.
    pub(super) fn next(&self) -> Option<SocketAddrV4> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        (taken < self.capacity()).then(|| self.at((self.first + taken) % self.capacity()))
    }

    /// Begins anew behind the pairs handed out so far.
    pub(super) fn renew(&mut self) {
        let taken = *self.taken.get_mut();
        self.first = (self.first + taken) % self.capacity();
        *self.taken.get_mut() = 0;
    }

    fn at(&self, index: u64) -> SocketAddrV4 {
        let (mut host, port) = (index / self.ports_per_host(), index % self.ports_per_host());
        for block in &self.blocks {
            if host < u64::from(block.count) {
                // Both sums stay below what the block and the range were checked to hold.
                let address = Ipv4Addr::from(block.first + host as u32);
                return SocketAddrV4::new(address, self.ports.start() + port as u16);
            }
            host -= u64::from(block.count);
        }
        unreachable!("an index below the capacity lies in a block")
    }

    fn ports_per_host(&self) -> u64 {
        u64::from(self.ports.end() - self.ports.start()) + 1
    }
}

impl Block {
    fn parse(entry: &str) -> Result<Self, BenchError> {
        let wrong = |why: &str| {
            BenchError::Usage(format!(
                "`{entry}` is no source address such as 10.0.0.5 or 127.1.0.0/16: {why}"
            ))
        };
        let (address, prefix) = entry.split_once('/').unwrap_or((entry, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| wrong("the address is not IPv4"))?;
        let prefix: u32 = prefix.parse().map_err(|_| wrong("the prefix is no number"))?;
        match prefix {
            1..=30 => {
                let size = 1 << (32 - prefix);
                Ok(Self { first: (u32::from(address) & !(size - 1)) + 1, count: size - 2 })
            }
            31 => Ok(Self { first: u32::from(address) & !1, count: 2 }),
            32 => Ok(Self { first: u32::from(address), count: 1 }),
            _ => Err(wrong("the prefix is not between 1 and 32")),
        }
    }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, BenchError> {
    let range =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match range {
        Some((first, last)) if first > 0 && first <= last => Ok(first..=last),
        _ => Err(BenchError::Usage(format!("`{text}` is no port range such as 10000-59999"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all(sources: &Sources) -> Vec<String> {
        std::iter::from_fn(|| sources.next()).map(|source| source.to_string()).collect()
    }

    #[test]
    fn each_port_of_each_address_is_handed_out_once() {
        let sources = Sources::parse("10.0.0.5, 127.1.0.0/30", "7-8", 0).unwrap();
        let expected =
            ["10.0.0.5:7", "10.0.0.5:8", "127.1.0.1:7", "127.1.0.1:8", "127.1.0.2:7", "127.1.0.2:8"];
        assert_eq!(all(&sources), expected);
        assert_eq!(sources.next(), None);
    }

    #[test]
    fn another_seed_begins_elsewhere_and_still_hands_out_all() {
        let turned = all(&Sources::parse("127.1.0.0/29", "10-19", 12_345).unwrap());
        let straight = all(&Sources::parse("127.1.0.0/29", "10-19", 0).unwrap());
        assert_ne!(turned, straight);
        assert_eq!(turned.into_iter().collect::<HashSet<_>>(), straight.into_iter().collect());
    }

    #[test]
    fn a_second_round_begins_behind_the_first() {
        let mut sources = Sources::parse("127.0.0.1", "1-10", 8).unwrap();
        let first: Vec<_> = (0..4).filter_map(|_| sources.next()).map(|source| source.port()).collect();
        sources.renew();
        let second: Vec<_> = std::iter::from_fn(|| sources.next()).map(|source| source.port()).collect();
        assert_eq!(first, [9, 10, 1, 2]);
        assert_eq!(second, [3, 4, 5, 6, 7, 8, 9, 10, 1, 2]);
    }

    #[test]
    fn the_widest_network_has_room_for_all_connections_there_can_be() {
        let sources = Sources::parse("127.0.0.0/8", "1-65535", u64::MAX).unwrap();
        assert_eq!(sources.capacity(), ((1 << 24) - 2) * 65_535);
        assert!(sources.next().is_some());
    }

    #[test]
    fn nonsense_is_named() {
        for (addresses, ports) in
            [("localhost", "1-2"), ("127.0.0.0/33", "1-2"), ("127.0.0.0/x", "1-2"), ("", "1-2")]
        {
            let error = Sources::parse(addresses, ports, 0).unwrap_err().to_string();
            assert!(error.contains("is no source address"), "{error}");
        }
        for ports in ["0-1", "5-4", "5", "a-b", "1-65536"] {
            let error = Sources::parse("127.0.0.1", ports, 0).unwrap_err().to_string();
            assert!(error.contains("is no port range"), "{error}");
        }
    }
}
