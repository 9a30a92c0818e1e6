//! Leaf: what the kernel says of this process and of its host, for `/metrics`. Must never ask it.

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;

/// This process, under the names that all exporters have for it. What the kernel does not tell is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// User and system time of all threads, in seconds.
    pub cpu_s: Option<f64>,
    /// When it began, in seconds since the Unix epoch.
    pub started_s: Option<f64>,
    /// Resident set, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Memory that it may take: the host's or the control group's, whichever is less, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors of all its descriptor tables together.
    pub open_fds: Option<u64>,
    /// Descriptors that those tables may hold together.
    pub max_fds: Option<u64>,
}

/// Its host, or the network namespace that it is in. What is hidden from the process is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Connections that found the accept queue of a listener full (`TcpExt: ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// Connections that a listener lost, for that or another want (`TcpExt: ListenDrops`).
    pub listen_drops: Option<u64>,
    /// Answers to SYNs that a full queue had to send as cookies (`TcpExt: SyncookiesSent`).
    pub syncookies_sent: Option<u64>,
    /// Times that TCP came under memory pressure (`TcpExt: TCPMemoryPressures`).
    pub memory_pressures: Option<u64>,
    /// Data queued in TCP sockets of the whole host, in bytes of whole pages.
    pub tcp_memory_bytes: Option<u64>,
    /// How much that may be: the third number of `tcp_mem`, in bytes.
    pub tcp_memory_max_bytes: Option<u64>,
    /// TCP sockets in use, IPv4 and IPv6.
    pub tcp_sockets: Option<u64>,
    /// Sockets that no process holds any more.
    pub tcp_orphans: Option<u64>,
    /// How many of those there may be: `tcp_max_orphans`.
    pub tcp_orphans_max: Option<u64>,
    /// Sockets in TIME_WAIT.
    pub tcp_time_wait: Option<u64>,
    /// How many of those there may be: `tcp_max_tw_buckets`.
    pub tcp_time_wait_max: Option<u64>,
    /// Connections that are tracked (`nf_conntrack_count`).
    pub conntrack_entries: Option<u64>,
    /// How many of those there may be: `nf_conntrack_max`.
    pub conntrack_entries_max: Option<u64>,
    /// Open files of the whole host.
    pub open_files: Option<u64>,
    /// How many of those there may be: `fs.file-max`.
    pub open_files_max: Option<u64>,
}

impl Process {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = self.cpu_s {
            let help = "User and system time of all threads";
            let mut family =
                encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            family.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        if let Some(seconds) = self.started_s {
            let (name, help) = ("process_start_time_seconds", "When the process began, since the Unix epoch");
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&seconds)?;
        }
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident set", self.resident_bytes),
            ("process_virtual_memory_bytes", "Address space", self.virtual_bytes),
            ("roost_memory_max_bytes", "What the host or the control group allows", self.memory_max_bytes),
            ("process_threads", "Threads", self.threads),
            ("process_open_fds", "Open descriptors of all descriptor tables", self.open_fds),
            ("process_max_fds", "Descriptors that all descriptor tables may hold", self.max_fds),
        ] {
            gauge(encoder, name, help, value)?;
        }
        Ok(())
    }
}

impl Kernel {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in self.counters() {
            if let Some(value) = value {
                let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                family.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        for (name, help, value) in self.gauges() {
            gauge(encoder, name, help, value)?;
        }
        Ok(())
    }

    fn counters(&self) -> [Family; 4] {
        [
            (
                "roost_kernel_listen_overflows",
                "Connections that found the accept queue of a listener full",
                self.listen_overflows,
            ),
            ("roost_kernel_listen_drops", "Connections that a listener lost", self.listen_drops),
            (
                "roost_kernel_syncookies_sent",
                "SYNs answered with a cookie for want of room",
                self.syncookies_sent,
            ),
            (
                "roost_kernel_tcp_memory_pressures",
                "Times that TCP came under memory pressure",
                self.memory_pressures,
            ),
        ]
    }

    fn gauges(&self) -> [Family; 11] {
        [
            (
                "roost_kernel_tcp_memory_bytes",
                "Data queued in TCP sockets of the whole host",
                self.tcp_memory_bytes,
            ),
            ("roost_kernel_tcp_memory_max_bytes", "What tcp_mem allows of that", self.tcp_memory_max_bytes),
            ("roost_kernel_tcp_sockets", "TCP sockets in use", self.tcp_sockets),
            ("roost_kernel_tcp_orphans", "TCP sockets that no process holds", self.tcp_orphans),
            ("roost_kernel_tcp_orphans_max", "What tcp_max_orphans allows of those", self.tcp_orphans_max),
            ("roost_kernel_tcp_time_wait", "TCP sockets in TIME_WAIT", self.tcp_time_wait),
            (
                "roost_kernel_tcp_time_wait_max",
                "What tcp_max_tw_buckets allows of those",
                self.tcp_time_wait_max,
            ),
            ("roost_kernel_conntrack_entries", "Connections that are tracked", self.conntrack_entries),
            (
                "roost_kernel_conntrack_entries_max",
                "What nf_conntrack_max allows of those",
                self.conntrack_entries_max,
            ),
            ("roost_kernel_open_files", "Open files of the whole host", self.open_files),
            ("roost_kernel_open_files_max", "What fs.file-max allows of those", self.open_files_max),
        ]
    }
}

/// Name, help, and the value where there is one.
type Family = (&'static str, &'static str, Option<u64>);

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}
