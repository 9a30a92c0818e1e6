//! `roost ctl density`: where the bytes of a connection are, as a table. Must never measure or add up anything itself.

use clap::{ArgMatches, Command};

use super::Failure;
use super::ctl::{look, with_options};
use crate::api::density::{Density, Figure, Sizes};
use crate::bench::report::{align, number};

pub(super) fn command() -> Command {
    with_options(Command::new("density"))
        .about("Bytes of memory by connection and by what they are for, against the resident set")
        .after_help(NOTES)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    look(matches, "/debug/density", |answer| serde_json::from_slice(&answer.body).ok().as_ref().map(table))
}

fn table(density: &Density) -> String {
    let of_all = |bytes: Option<u64>| bytes.map(|bytes| Figure::new(bytes as i64, density.connections));
    let mut rows: Vec<(&str, Option<Figure>, String)> = Vec::new();
    rows.extend(density.parts.list().map(|(name, figure, words)| (name, figure, words.to_owned())));
    rows.push(("slack", density.slack, "freed, kept by the allocator for later, and resident".to_owned()));
    rows.push(("sum", Some(density.sum), "all of the above".to_owned()));
    rows.push(("unexplained", density.unexplained, "RSS less the sum".to_owned()));
    rows.push(("rss", of_all(density.rss_bytes), "resident set of the process".to_owned()));
    let parts = rows.len();
    let start = density.rss_at_start_bytes.map_or("unknown".to_owned(), |bytes| number(bytes as f64));
    rows.push(("grown", density.grown, format!("RSS less {start}, its size when the node began to serve")));
    rows.push(("pss", of_all(density.pss_bytes), "RSS with shared pages divided among processes".to_owned()));
    let reserved = of_all(Some(density.reserved_bytes));
    rows.push(("reserved", reserved, "ends of large tables and buffers: addresses, no memory".to_owned()));
    rows.push(("kernel", Some(density.kernel.figure), kernel_words(density)));

    let mut cells = vec![vec!["part".to_owned(), "bytes".to_owned(), "B/connection".to_owned()]];
    cells.extend(rows.into_iter().map(|(name, figure, words)| line(name, figure, words)));
    cells.insert(1 + parts, Vec::new());
    let connections = number(density.connections as f64);
    format!("{connections} connections in {} shards\n\n{}", density.shards, align(&cells))
}

fn line(name: &str, figure: Option<Figure>, words: String) -> Vec<String> {
    let bytes = figure.map_or("unknown".to_owned(), |figure| number(figure.bytes as f64));
    let of_one = figure.and_then(|figure| figure.bytes_per_connection);
    vec![name.to_owned(), bytes, of_one.map_or("-".to_owned(), |bytes| format!("{bytes:.1}")), words]
}

fn kernel_words(density: &Density) -> String {
    let kernel = &density.kernel;
    let of_one = number(kernel.objects.values().sum::<u64>() as f64);
    let source = match kernel.sizes {
        Sizes::Slabinfo => "sizes of /proc/slabinfo",
        Sizes::Documented => "sizes of Linux 6.18; a node that runs as root knows its own kernel's",
    };
    let queued = kernel.tcp_queued_bytes.map_or("unknown".to_owned(), |bytes| number(bytes as f64));
    format!("{of_one} a socket, {source}; on top, {queued} queued in TCP sockets of the whole host")
}

const NOTES: &str = "\
Parts are bytes that the shards asked the allocator for. What several hold, such as a publication in many queues,
is counted once. Unexplained are stacks and static data; below 0 it is memory that counts as in use and is not
resident. A node that works moves while it is looked at.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::density::Measured;
    use crate::metrics::heap::Heap;
    use crate::metrics::memory::{Process, SocketObjects, Tcp};

    fn measured() -> Measured {
        Measured {
            shards: 2,
            connections: 1000,
            heap: Heap { slab: 64_000, channels: 12_345, reserved: 4096, ..Heap::default() },
            process: Some(Process { rss: 1_000_000, pss: None, program: 900_000 }),
            rss_at_start: Some(910_000),
            allocator: None,
            socket: SocketObjects { measured: false, objects: vec![("TCP", 2520), ("filp", 195)] },
            tcp: Some(Tcp { sockets: 1000, queued: 40_960 }),
        }
    }

    #[test]
    fn the_table_is_aligned_and_what_is_unknown_says_so() {
        let text = table(&Density::new(&measured()));
        let expected = "\
1,000 connections in 2 shards

  part                bytes  B/connection
  slab               64,000          64.0  one slot for each connection
";
        assert!(text.starts_with(expected), "{text}");
        for line in [
            "  channels           12,345          12.3  followed channels: table and names\n",
            "  overhead          unknown             -  the allocator's headers",
            "  unexplained        23,655          23.7  RSS less the sum\n",
            "  rss             1,000,000        1000.0  resident set of the process\n\n  grown",
            "  grown              90,000          90.0  RSS less 910,000, its size",
            "  kernel          2,715,000        2715.0  2,715 a socket, sizes of Linux 6.18",
            "on top, 40,960 queued in TCP sockets of the whole host\n",
        ] {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
    }

    #[test]
    fn a_node_without_connections_has_no_bytes_by_connection() {
        let text = table(&Density::new(&Measured { connections: 0, ..measured() }));
        assert!(text.contains("  slab               64,000             -  one slot"), "{text}");
    }
}
