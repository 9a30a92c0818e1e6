//! The counters as text, which Prometheus scrapes: OpenMetrics for who asks for it, else the format that is older and read by
//! everything. Must never know how they were gathered.

use super::broker::Broker;
use super::cause::{Cause, TOKEN_CAUSES};
use super::ends::{Ends, transport_label};
use super::histogram::Histogram;
use super::host::{Kernel, Process};
use super::{Counters, PASS_SIZES, Transport};
use crate::disconnect::{Bound, Disconnect};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// Which of the two text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Plain,
}

impl Format {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What is known of the node at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Each shard's counters, in order; None where a shard did not answer in time.
    pub shards: Vec<Option<Box<Counters>>>,
    /// What waits in the mailbox of each shard, in bytes.
    pub mailbox_bytes: Vec<u64>,
    /// How long each shard took to answer, in milliseconds; None where it did not.
    pub answered_after_ms: Vec<Option<u64>>,
    /// What the kernel says of the process.
    pub process: Process,
    /// What it says of the host.
    pub kernel: Kernel,
    /// Connections that the node may hold.
    pub connections_max: u64,
    /// Bytes that may be queued to all connections.
    pub queued_bytes_max: u64,
    /// Calls to the API by now.
    pub api_requests: u64,
    /// Who watches the status page.
    pub status_watchers: u64,
    /// Looks at the node for it by now.
    pub status_looks: u64,
    /// Whether the node takes connections.
    pub ready: bool,
    /// The broker, where there is one.
    pub broker: Option<Broker>,
}

/// One family: name, help, and how to read it.
struct Family<T = u64>(&'static str, &'static str, fn(&Counters) -> T);

/// Counters summed over the shards; the text format adds `_total`.
const COUNTERS: &[Family] = &[
    Family("roost_accepts", "Connections accepted", |c| c.accepted),
    Family("roost_accepts_refused", "Connections refused for want of room or descriptors", |c| {
        c.accepts_refused
    }),
    Family("roost_upgrades", "Upgrades to WebSocket", |c| c.upgraded),
    Family("roost_streams", "Streams of events opened", |c| c.streams),
    Family("roost_polls", "Polls begun", |c| c.polls),
    Family("roost_received_bytes", "Bytes read from peers", |c| c.bytes_received),
    Family("roost_sent_bytes", "Bytes written to peers", |c| c.bytes_sent),
    Family("roost_messages_received", "Text and binary messages from peers", |c| c.messages_received),
    Family("roost_messages_published", "Publications numbered", |c| c.published),
    Family(
        "roost_messages_repeated",
        "Publications with the id of an earlier one: answered with its place, and sent to nobody",
        |c| c.repeated,
    ),
    Family(
        "roost_publish_ids_evicted",
        "Ids of publications forgotten before their time for want of room",
        |c| c.ids_evicted,
    ),
    Family(
        "roost_messages_overloaded",
        "Publications of clients refused because an owner had no room",
        |c| c.overloaded,
    ),
    Family("roost_messages_delivered", "Publications written or queued to subscribers", |c| c.delivered),
    Family("roost_presence_events", "Announcements of how many follow a channel", |c| c.presence_events),
    Family("roost_passes", "Walks over a subscriber list", |c| c.passes),
    Family(
        "roost_pass_publications",
        "Publications that walks carried: those of one walk share its writes",
        |c| c.pass_publications,
    ),
    Family("roost_short_writes", "Writes that a full socket cut short", |c| c.short_writes),
    Family("roost_pings", "Pings to WebSockets and comments on streams of events sent", |c| c.pings),
    Family("roost_gaps", "Gaps announced to clients", |c| c.gaps),
    Family("roost_gap_publications", "Publications that gaps told clients of", |c| c.gap_publications),
    Family("roost_paused", "Subscriptions put behind: their client reads slowly or is hidden", |c| c.paused),
    Family("roost_recovered", "Subscriptions of clients that came back and lost nothing", |c| c.recovered),
    Family("roost_replayed", "Publications that clients got when they came back", |c| c.replayed),
    Family("roost_drained_connections", "Clients that a drain has told to go", |c| c.drained),
    Family("roost_command_errors", "Commands answered with an error", |c| c.errors),
    Family("roost_panics", "Panics caught while serving one connection", |c| c.panics),
    Family("roost_turns", "Turns of the reactors", |c| c.turns),
];

/// Gauges of each shard.
const GAUGES: &[Family] = &[
    Family("roost_connections", "Connections", |c| c.connections),
    Family(
        "roost_queued_bytes",
        "Weight of what is queued to connections; bytes that several wait for count for each of them",
        |c| c.queued_bytes,
    ),
    Family("roost_queues", "Connections that have something queued", |c| c.queues),
    Family("roost_queue_largest_bytes", "Weight of the largest queue, rounded up to a power of two", |c| {
        c.queue_largest_bytes
    }),
    Family("roost_drain_left_connections", "Clients that a drain under way has still to tell", |c| {
        c.drain_left
    }),
    Family("roost_signed_in", "Connections that are signed in", |c| c.signed_in),
    Family("roost_subscriptions", "Subscriptions", |c| c.subscriptions),
    Family("roost_channels", "Channels that connections follow", |c| c.channels),
    Family("roost_channels_owned", "Channels numbered", |c| c.channels_owned),
    Family("roost_history_bytes", "Bytes of publications kept for clients that come back", |c| {
        c.history_bytes
    }),
    Family("roost_history_publications", "Publications kept for clients that come back", |c| {
        c.history_publications
    }),
    Family("roost_presence_channels", "Channels whose followers are counted", |c| c.presence_channels),
    Family("roost_publish_ids", "Ids of publications by which publishers may try again", |c| c.ids),
];

/// Histograms over all shards.
const TIMES: &[Family<Histogram>] = &[
    Family("roost_turn_seconds", "What turns of the reactors took", |c| c.turn_times),
    Family(
        "roost_pass_seconds",
        "What walks over subscriber lists took, from the publication to the end of the turn of the last write",
        |c| c.pass_times,
    ),
    Family(
        "roost_loop_lag_seconds",
        "How late turns of the reactors began that a moment had been set for",
        |c| c.lags,
    ),
];

/// Writes a snapshot as text.
#[must_use]
pub fn render(snapshot: Snapshot, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = encode(&mut text, &registry);
    match format {
        Format::OpenMetrics => text,
        Format::Plain => plain(&text),
    }
}

/// The older format calls a family of counters by the name of its samples, and has no end mark.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut lines = text.lines().filter(|line| *line != "# EOF").peekable();
    while let Some(line) = lines.next() {
        let kind = if line.starts_with("# HELP ") { lines.peek().copied() } else { Some(line) };
        let of_counters = kind.is_some_and(|kind| kind.starts_with("# TYPE ") && kind.ends_with(" counter"));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", word, name, rest] if of_counters => {
                plain.extend(["# ", word, " ", name, "_total ", rest]);
            }
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_node(&mut encoder)?;
        for Family(name, help, read) in COUNTERS {
            counter(&mut encoder, name, help, self.sum(read))?;
        }
        for Family(name, help, read) in GAUGES {
            self.encode_by_shard(&mut encoder, name, help, read)?;
        }
        self.encode_transports(&mut encoder)?;
        self.encode_pass_sizes(&mut encoder)?;
        self.encode_times(&mut encoder)?;
        self.encode_slow_consumers(&mut encoder)?;
        self.encode_disconnects(&mut encoder)?;
        self.encode_failures(&mut encoder)?;
        self.broker.iter().try_for_each(|broker| broker.encode(&mut encoder))?;
        self.process.encode(&mut encoder)?;
        self.kernel.encode(&mut encoder)
    }
}

impl Snapshot {
    fn encode_node(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        let mut family =
            encoder.encode_descriptor("roost_build_info", "What runs", None, MetricType::Gauge)?;
        family.encode_family(&build)?.encode_gauge(&1u64)?;
        gauge(encoder, "roost_ready", "Whether the node takes connections", u64::from(self.ready))?;
        gauge(encoder, "roost_connections_max", "Connections it may hold", self.connections_max)?;
        let help = "Weight of what may be queued to all connections";
        gauge(encoder, "roost_queued_bytes_max", help, self.queued_bytes_max)?;
        counter(encoder, "roost_api_requests", "Calls to the API", self.api_requests)?;
        gauge(encoder, "roost_status_watchers", "Streams of the status page", self.status_watchers)?;
        counter(encoder, "roost_status_looks", "Looks at the node for the status page", self.status_looks)?;
        let mut family = encoder.encode_descriptor(
            "roost_shard_up",
            "Whether a shard answered",
            None,
            MetricType::Gauge,
        )?;
        for (shard, counters) in self.shards.iter().enumerate() {
            family
                .encode_family(&[("shard", shard.to_string())])?
                .encode_gauge(&u64::from(counters.is_some()))?;
        }
        let help = "How long a shard took to get to the question of this scrape";
        let mut family =
            encoder.encode_descriptor("roost_shard_answer_seconds", help, None, MetricType::Gauge)?;
        for (shard, after_ms) in self.answered_after_ms.iter().enumerate() {
            if let Some(after_ms) = after_ms {
                let seconds = *after_ms as f64 / 1e3;
                family.encode_family(&[("shard", shard.to_string())])?.encode_gauge(&seconds)?;
            }
        }
        let help = "Weight of the mail that waits for a shard";
        let mut family = encoder.encode_descriptor("roost_mailbox_bytes", help, None, MetricType::Gauge)?;
        for (shard, bytes) in self.mailbox_bytes.iter().enumerate() {
            family.encode_family(&[("shard", shard.to_string())])?.encode_gauge(bytes)?;
        }
        Ok(())
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for Family(name, help, read) in TIMES {
            let mut all = Histogram::default();
            self.shards.iter().flatten().for_each(|counters| all += read(counters));
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            family.encode_histogram::<NoLabelSet>(all.sum_s(), all.count(), &all.buckets(), None)?;
        }
        let help = "Time that a shard was at work and not waiting";
        let mut family =
            encoder.encode_descriptor("roost_shard_busy_seconds", help, None, MetricType::Counter)?;
        for (shard, counters) in self.shards.iter().enumerate() {
            if let Some(counters) = counters {
                let labels = [("shard", shard.to_string())];
                let seconds = counters.turn_times.sum_s();
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
            }
        }
        Ok(())
    }

    fn encode_by_shard(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        read: &fn(&Counters) -> u64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (shard, counters) in self.shards.iter().enumerate() {
            if let Some(counters) = counters {
                family.encode_family(&[("shard", shard.to_string())])?.encode_gauge(&read(counters))?;
            }
        }
        Ok(())
    }

    fn encode_pass_sizes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = (0..PASS_SIZES)
            .map(|size| {
                let most = if size + 1 < PASS_SIZES { f64::from(1u32 << size) } else { f64::INFINITY };
                (most, self.sum(|counters| counters.pass_sizes[size]))
            })
            .collect();
        let (publications, passes) = (self.sum(|c| c.pass_publications) as f64, self.sum(|c| c.passes));
        let help = "Publications that a walk over a subscriber list carried";
        let mut family = encoder.encode_descriptor("roost_pass_size", help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(publications, passes, &buckets, None)
    }

    fn encode_transports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Clients by how they are connected; one between two polls counts as polling";
        let mut family = encoder.encode_descriptor("roost_clients", help, None, MetricType::Gauge)?;
        for transport in Transport::ALL {
            let sum = self.sum(|counters| counters.transports[transport.index()]);
            let labels = [("transport", transport.label())];
            family.encode_family(&labels)?.encode_gauge(&sum)?;
        }
        Ok(())
    }

    fn encode_slow_consumers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Slow consumers cut, by the bound that they were over: of one connection, of one for a time, of all";
        let bounds = Bound::ALL.map(|bound| {
            ([("bound", bound.label())], self.sum(|counters| counters.slow_consumers[bound.index()]))
        });
        counters(encoder, "roost_slow_consumers", help, bounds)
    }

    fn encode_disconnects(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Ends of connections by reason, close code (0: no close frame) and how the client was connected";
        let ends = Disconnect::ALL.into_iter().flat_map(|disconnect| {
            Ends::TRANSPORTS.map(|transport| {
                let labels = [
                    ("reason", disconnect.label().to_owned()),
                    ("code", disconnect.code().to_string()),
                    ("transport", transport_label(transport).to_owned()),
                ];
                (labels, self.sum(|counters| counters.disconnects.over(disconnect, transport)))
            })
        });
        counters(encoder, "roost_disconnects", help, ends)
    }

    fn encode_failures(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests refused and clients turned away, by the check that was not passed";
        let failures = Cause::ALL.map(|cause| {
            ([("cause", cause.label())], self.sum(|counters| counters.handshake_failures[cause.index()]))
        });
        counters(encoder, "roost_handshake_failures", help, failures)?;
        let help = "Tokens refused, in requests and in messages, by the reason against them";
        let refusals = TOKEN_CAUSES.iter().enumerate();
        let refusals =
            refusals.map(|(index, label)| ([("cause", *label)], self.sum(|c| c.token_refusals[index])));
        counters(encoder, "roost_token_refusals", help, refusals)
    }

    fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.shards.iter().flatten().map(|counters| read(counters)).sum()
    }
}

/// A family of counters that labels tell apart, each of them there from the start.
fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    family.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let mut counters = Counters { accepted: 3, connections: 2, ..Counters::default() };
        (0..4).for_each(|_| counters.disconnects.count(Disconnect::SlowConsumer, Some(Transport::Sse)));
        counters.handshake_failures[Cause::Origin.index()] = 5;
        counters.token_refusals[10] = 1;
        counters.slow_consumers[Bound::Total.index()] = 3;
        [1, 3, 5000].into_iter().for_each(|size| counters.count_pass(size));
        counters.turn_times.observe(20);
        counters.pass_times.observe(3_000_000);
        Snapshot {
            shards: vec![Some(Box::new(counters.clone())), None, Some(Box::new(counters))],
            mailbox_bytes: vec![0, 88, 0],
            answered_after_ms: vec![Some(0), None, Some(3)],
            process: Process { cpu_s: Some(1.5), ..Process::default() },
            kernel: Kernel { listen_drops: Some(7), tcp_orphans: Some(8), ..Kernel::default() },
            connections_max: 9,
            queued_bytes_max: 7,
            api_requests: 1,
            status_watchers: 2,
            status_looks: 5,
            ready: true,
            broker: None,
        }
    }

    #[test]
    fn shards_are_summed_and_a_silent_one_is_named() {
        let text = render(snapshot(), Format::OpenMetrics);
        for line in [
            "roost_accepts_total 6",
            "roost_connections{shard=\"2\"} 2",
            "roost_shard_up{shard=\"1\"} 0",
            "roost_shard_answer_seconds{shard=\"2\"} 0.003",
            "roost_mailbox_bytes{shard=\"1\"} 88",
            "roost_connections_max 9",
            "roost_queued_bytes_max 7",
            "roost_status_watchers 2",
            "roost_status_looks_total 5",
            "roost_slow_consumers_total{bound=\"total\"} 6",
            "roost_pass_size_bucket{le=\"1.0\"} 2",
            "roost_pass_size_bucket{le=\"4.0\"} 4",
            "roost_pass_size_bucket{le=\"1024.0\"} 4",
            "roost_pass_size_bucket{le=\"+Inf\"} 6",
            "roost_pass_size_sum 10008.0",
            "roost_pass_size_count 6",
            "roost_turn_seconds_bucket{le=\"0.00001\"} 0",
            "roost_turn_seconds_bucket{le=\"0.000025\"} 2",
            "roost_pass_seconds_bucket{le=\"2.5\"} 0",
            "roost_pass_seconds_bucket{le=\"5.0\"} 2",
            "roost_pass_seconds_sum 6.0",
            "roost_loop_lag_seconds_count 0",
            "roost_shard_busy_seconds_total{shard=\"2\"} 0.00002",
            "roost_disconnects_total{reason=\"slow_consumer\",code=\"4003\",transport=\"sse\"} 8",
            "roost_disconnects_total{reason=\"slow_consumer\",code=\"4003\",transport=\"websocket\"} 0",
            "roost_handshake_failures_total{cause=\"origin\"} 10",
            "roost_handshake_failures_total{cause=\"key\"} 0",
            "roost_token_refusals_total{cause=\"expired\"} 2",
            "process_cpu_seconds_total 1.5",
            "roost_kernel_listen_drops_total 7",
            "roost_kernel_tcp_orphans 8",
            "# TYPE roost_accepts counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
        for hidden in ["roost_connections{shard=\"1\"}", "roost_kernel_conntrack", "process_open_fds"] {
            assert!(!text.contains(hidden), "{hidden}");
        }
    }

    #[test]
    fn the_older_format_has_the_same_samples_and_calls_families_by_their_names() {
        let [open, plain] = [Format::OpenMetrics, Format::Plain].map(|format| render(snapshot(), format));
        let samples = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&open), samples(&plain));
        for line in [
            "# HELP roost_accepts_total Connections accepted",
            "# TYPE roost_accepts_total counter",
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE roost_pass_size histogram",
            "# HELP roost_connections Connections",
        ] {
            assert!(plain.lines().any(|other| other == line), "{line} is missing in\n{plain}");
        }
        assert!(!plain.contains("# EOF") && plain.ends_with('\n'));
    }
}
