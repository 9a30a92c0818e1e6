//! Sums that are right by hand, and what must hold for all questions.

use super::polling::Way;
use super::*;

const MILLION: u64 = 1_000_000;

fn question(connections: u64) -> Question {
    Question {
        connections,
        rate: 0.1,
        bytes: 64,
        channels: Channels::Shared,
        freshness_ms: 10_000,
        ping_ms: 25_000,
        node_memory_bytes: 16 << 30,
        cores: 4,
        per_node: MILLION,
        nodes: None,
    }
}

#[test]
fn a_million_take_two_nodes_and_what_was_measured_of_each_connection() {
    let plan = estimate(question(MILLION));
    assert_eq!((plan.nodes, plan.nodes_needed, plan.node.connections), (Some(2), Some(2), MILLION));
    assert_eq!((plan.node_carries, plan.bound, plan.carried), (MILLION, Bound::PerNode, true));
    let memory = plan.node.memory;
    assert_eq!((memory.kernel, memory.waiting), (4_143e6, 4_096e6));
    assert_eq!(memory.needed, (4_143e6 + 80e6 + 4_096e6 + 10_380_902.0) * 1.25);
    // 100,000 deliveries of 11.1 µs, 40,000 pings of 12.9 µs.
    let cores = plan.node.cores;
    assert!((cores.deliveries - 1.11).abs() < 1e-9 && (cores.pings - 0.516).abs() < 1e-9, "{cores:?}");
    // A frame of 170 bytes in one packet of 222, acknowledged by one of 52; a ping of 54, a pong of 58, 52 more.
    let bandwidth = plan.node.bandwidth;
    assert_eq!(bandwidth.down, (100_000.0 * 222.0 + 40_000.0 * 106.0) * 8.0);
    assert_eq!(bandwidth.up, (100_000.0 * 52.0 + 40_000.0 * 58.0) * 8.0);
    assert!((plan.publication_s - 11.1 / 4.0).abs() < 1e-9);
}

#[test]
fn a_node_is_bounded_by_memory_by_cores_or_by_what_was_measured() {
    let bound = |question| (estimate(question).bound, estimate(question).node_carries);
    assert_eq!(bound(Question { node_memory_bytes: 1 << 30, ..question(MILLION) }), (Bound::Memory, 102_008));
    let busy = Question { rate: 1.0, ..question(MILLION) };
    assert_eq!(bound(busy), (Bound::Cores, 275_482));
    assert_eq!(bound(Question { node_memory_bytes: 1 << 26, rate: 9e4, cores: 1, ..busy }).1, 3);
    let none = estimate(Question { rate: 1e5, cores: 1, channels: Channels::Own, ..busy });
    assert_eq!((none.nodes, none.carried, none.node_carries), (None, false, 0));
}

#[test]
fn a_small_node_pays_less_for_a_delivery_than_a_large_one() {
    let of = |connections| delivery(Channels::Shared, connections).value;
    assert_eq!([1, 1000, 1001, 100_000, MILLION, 5 * MILLION].map(of), [2.35, 2.35, 3.51, 6.11, 11.1, 11.1]);
    assert_eq!(delivery(Channels::Own, 1).value, 10.23);
}

#[test]
fn a_message_is_framed_as_long_as_it_is_and_cut_into_packets() {
    assert_eq!([0, 23, 24].map(wire::frame), [104, 127, 130]);
    assert_eq!(wire::frame(65_434) - wire::message(65_434), 10);
    let [one, two, three] = [1342, 1343, 3000].map(wire::delivery);
    assert_eq!((one.down, one.up), (1448.0 + 52.0, 52.0));
    assert_eq!((two.down, two.up), (1449.0 + 104.0, 52.0));
    assert_eq!((three.down, three.up), (3106.0 + 156.0, 104.0));
}

#[test]
fn polling_is_said_to_be_better_where_it_is() {
    let asked = |connections, rate, freshness_ms| Question { rate, freshness_ms, ..question(connections) };
    for (question, better, words) in [
        (asked(MILLION, 0.1, 1000), Way::WebSocket, "times the bytes"),
        (asked(MILLION, 0.001, 3_600_000), Way::Polling, "fewer bytes"),
        (asked(100_000, 0.01, 300_000), Way::Polling, "rarer than once a minute"),
        (asked(100_000, 5.0, 300_000), Way::Polling, "fewer bytes"),
        (asked(20, 1.0, 2000), Way::Polling, "no load"),
        (asked(20, 1.0, 100), Way::WebSocket, "old at worst"),
        (asked(MILLION, 0.001, 3_600_000), Way::Polling, "CDN"),
    ] {
        let comparison = estimate(question).comparison;
        assert_eq!(comparison.better, better, "{question:?}: {comparison:?}");
        assert!(comparison.why.iter().any(|why| why.contains(words)), "{words}: {comparison:?}");
    }
    let own = Question { channels: Channels::Own, ..asked(MILLION, 0.001, 3_600_000) };
    assert!(!estimate(own).comparison.why.iter().any(|why| why.contains("CDN")), "answers differ");
}

#[test]
fn a_poll_keeps_its_connection_as_long_as_the_node_does() {
    let polling = |freshness_ms| estimate(Question { freshness_ms, ..question(1000) }).comparison.polling;
    assert_eq!(polling(75_000).connections, 1000.0);
    assert_eq!(polling(75_001).connections, 0.0);
    assert_eq!(polling(36_000).requests_per_hour, 100_000.0);
    assert!(polling(75_001).bytes_per_month > polling(75_000).bytes_per_month, "each opens and closes one");
}

#[test]
fn the_nodes_of_a_plan_carry_everybody_without_one_of_them_and_one_fewer_does_not() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut bounds = [0; 3];
    for _ in 0..5_000 {
        let asked = Question {
            connections: 1 << rng.u32(..30),
            rate: rng.f64() * [0.01, 1.0, 100.0][rng.usize(..3)],
            bytes: rng.u64(..65_537),
            channels: if rng.bool() { Channels::Shared } else { Channels::Own },
            freshness_ms: rng.u64(1..86_400_001),
            ping_ms: rng.u64(1000..600_000),
            node_memory_bytes: rng.u64(1 << 26..64 << 30),
            cores: rng.u64(1..65),
            per_node: rng.u64(1000..4_000_000),
            nodes: None,
        };
        let plan = estimate(asked);
        let told = format!("{asked:?}: {plan:?}");
        let Some(nodes) = plan.nodes else {
            assert!(plan.node_carries == 0 && !plan.carried, "{told}");
            continue;
        };
        bounds[plan.bound as usize] += 1;
        assert!(plan.carried && (nodes - 1) * plan.node_carries >= asked.connections, "{told}");
        assert!(plan.node.memory.needed <= asked.node_memory_bytes as f64, "{told}");
        assert!(plan.node.cores.needed <= asked.cores as f64, "{told}");
        assert_eq!(
            estimate(Question { nodes: Some(nodes), ..asked }),
            Estimate { question: Question { nodes: Some(nodes), ..asked }, ..plan.clone() }
        );
        if nodes > 2 {
            assert!(!estimate(Question { nodes: Some(nodes - 1), ..asked }).carried, "{told}");
        }
        let larger =
            Question { node_memory_bytes: 2 * asked.node_memory_bytes, cores: 2 * asked.cores, ..asked };
        assert!(estimate(larger).nodes <= Some(nodes), "{told}");
        for cost in [plan.comparison.websocket, plan.comparison.polling] {
            assert!(
                cost.bytes_per_month.is_finite() && cost.bytes_per_month > 0.0 && cost.cores > 0.0,
                "{told}"
            );
        }
    }
    assert!(bounds.iter().all(|&count| count > 100), "{bounds:?}");
}
