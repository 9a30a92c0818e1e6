//! `roost plan`: that its figures are those that were measured, that its bytes are those that a node sends, and what it says.

use std::fs;
use std::process::Command;

use roost::dialect::cursor::{Cursor, Epoch};
use roost::hub::publication::Publication;
use roost::sizing::measured::{self, Measured};
use roost::sizing::wire;
use serde_json::Value;

fn plan(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_roost")).arg("plan").args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json(args: &[&str]) -> Value {
    let (_, out, err) = plan(&[args, &["--json"]].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

fn page(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The number in a cell of the row that begins so; cells are counted from 0.
fn cell(page: &str, row: &str, column: usize) -> f64 {
    let line = page.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no row {row}"));
    let text = line.trim_matches('|').split('|').nth(column).unwrap_or_else(|| panic!("{line}"));
    let digits: String = text.chars().filter(|one| one.is_ascii_digit() || *one == '.').collect();
    digits.parse().unwrap_or_else(|_| panic!("{text} of {line}"))
}

/// A page may be measured anew without a change here, as long as it says the same within what runs differ by.
#[test]
fn every_figure_stands_on_the_page_that_it_names() {
    let [density, fanout, polling] =
        [measured::KERNEL, measured::DELIVERY_EACH, measured::POLL_KEPT].map(|one| page(one.source));
    let shared = "| 1,000,000 | one for all |";
    let mut figures: Vec<(Measured, f64)> = vec![
        (measured::KERNEL, cell(&density, shared, 5)),
        (measured::OWN_SHARED, cell(&density, shared, 2)),
        (measured::OWN_EACH, cell(&density, "| 1,000,000 | one each |", 2)),
        (measured::PING, cell(&density, shared, 6)),
        (measured::CONNECTIONS, cell(&density, shared, 0)),
        (measured::DELIVERY_EACH, cell(&fanout, "| 100,006 |", 1)),
        (measured::POLL_KEPT, cell(&polling, "| kept |", 1)),
        (measured::POLL_NEW, cell(&polling, "| new |", 1)),
        (measured::POLL_REQUEST, cell(&polling, "| kept |", 3)),
        (measured::POLL_ANSWER, cell(&polling, "| kept |", 4)),
    ];
    for (row, (_, figure)) in ["| 1,000 | 1 |", "| 10,000 | 1 |", "| 100,000 | 1 |", "| 1,000,000 | 1 |"]
        .iter()
        .zip(measured::DELIVERY)
    {
        figures.push((figure, cell(&fanout, row, 2)));
    }
    for (figure, found) in figures {
        let off = (figure.value / found - 1.0).abs();
        assert!(
            off < 0.1,
            "src/sizing/measured.rs says {} for {}, {} says {found}",
            figure.value,
            figure.what,
            figure.source
        );
    }
    let line = density.lines().find(|line| line.starts_with(shared)).unwrap();
    let start: f64 = line.split("% of ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((measured::START.value / (start * 1048576.0) - 1.0).abs() < 0.1, "{start} MiB");
    assert!(
        page(measured::WAITING.source).contains("9,500 clients that did not read 100 bytes took 9,475 pages")
    );
}

#[test]
fn a_frame_is_as_long_as_the_one_that_a_node_makes() {
    let channel = "c".repeat(wire::CHANNEL_BYTES as usize);
    for data_bytes in [2, 20, 24, 64, 1000, 65_000, 65_433, 65_536] {
        let data = format!("\"{}\"", "x".repeat(data_bytes - 2));
        let cursor = Cursor { epoch: Epoch(1), offset: 123_456 };
        let publication = Publication::new(channel.as_str().into(), cursor, &data, None, 1_700_000_000_123);
        assert_eq!(wire::frame(data_bytes as u64), publication.frame.len() as u64, "{data_bytes}");
    }
}

#[test]
fn a_plan_is_told_as_tables_with_what_it_rests_on() {
    let (code, out, err) = plan(&["--connections", "3000000", "--cores", "8"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in [
        "3,000,000 connections, 0.1 messages a second to each, 64 bytes of data, all on one channel\n",
        "4 nodes of 16GiB and 8 cores, one of them to spare.\n",
        "One carries 1,000,000 (--per-node bounds it), and has 1,000,000 while another one is away.\n",
        "  memory                 10.4 GB    31.2 GB  with a quarter to spare\n",
        "  requests an hour           0  1,080,000,000\n",
        "A WebSocket is the better choice here:\n",
        "benches/results/density.md\n",
        "no TLS",
    ] {
        assert!(out.contains(words), "{words:?} is missing in\n{out}");
    }
}

#[test]
fn nodes_that_are_too_few_are_exit_code_1_and_told_how_many_it_takes() {
    let (code, out, _) = plan(&["--connections", "3000000", "--nodes", "3"]);
    assert_eq!(code, 1);
    assert!(out.contains("NOT ENOUGH: one carries 1,000,000 (--per-node bounds it), and would have 1,500,000. It takes 4.\n"), "{out}");
    assert_eq!(plan(&["--connections", "3000000", "--nodes", "4"]).0, 0);
    let (code, out, _) = plan(&["--connections", "1000", "--nodes", "1"]);
    assert!(code == 0 && out.contains("none to spare"), "{out}");
    let (code, out, _) =
        plan(&["--connections", "10", "--rate", "100000", "--channels", "own", "--cores", "1"]);
    assert!(
        code == 1 && out.contains("carries even one of them") && out.contains("It takes larger nodes."),
        "{out}"
    );
}

#[test]
fn polling_is_named_where_it_is_the_better_choice() {
    let (_, out, _) = plan(&["--connections", "100000", "--rate", "0.001", "--freshness", "5m"]);
    assert!(out.contains("Polling is the better choice here:\n"), "{out}");
    assert!(out.contains("  requests an hour           0  1,200,000\n"), "{out}");
    let plan = json(&["--connections", "100000", "--rate", "0.001", "--freshness", "5m"]);
    assert_eq!((&plan["comparison"]["better"], &plan["nodes"]), (&"polling".into(), &2.into()));
}

#[test]
fn wrong_usage_is_exit_code_2_and_named() {
    for (args, words) in [
        (&[][..], "--connections"),
        (&["--connections", "0"], "--connections"),
        (&["--connections", "1", "--rate", "-1"], "a number from 0"),
        (&["--connections", "1", "--rate", "nan"], "a number from 0"),
        (&["--connections", "1", "--rate", "1e9"], "a number from 0"),
        (&["--connections", "1", "--bytes", "65537"], "--bytes is at most 64KiB"),
        (&["--connections", "1", "--bytes", "64kb"], "`64KiB`"),
        (&["--connections", "1", "--freshness", "0s"], "--freshness is from 1ms to 24h"),
        (&["--connections", "1", "--freshness", "10"], "`10s`"),
        (&["--connections", "1", "--ping-interval", "25h"], "--ping-interval is"),
        (&["--connections", "1", "--node-memory", "1MiB"], "--node-memory is from 64MiB"),
        (&["--connections", "1", "--cores", "0"], "--cores"),
        (&["--connections", "1", "--nodes", "0"], "--nodes"),
        (&["--connections", "1", "--channels", "some"], "shared, own"),
    ] {
        let (code, out, err) = plan(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}\n{err}");
        assert!(err.contains(words), "{words}\n{err}");
    }
}

/// What the README shows of a command is what it prints, but for lines that are left out.
#[test]
fn the_readme_shows_what_is_printed() {
    let readme = page("README.md");
    let block = readme.split("```text\n$ roost plan ").nth(1).expect("the README shows a plan");
    let (command, rest) = block.split_once('\n').unwrap();
    let args: Vec<&str> = command.split_whitespace().collect();
    let (_, out, _) = plan(&args);
    for line in rest.split("```").next().unwrap().lines().filter(|line| line.trim() != "…") {
        assert!(
            out.lines().any(|printed| printed == line),
            "{line:?} is not printed by roost plan {command}:\n{out}"
        );
    }
}

#[test]
fn the_capacity_examples_of_tuning_are_planned_so() {
    let page = page("tuning/README.md");
    for (connections, told, options) in [
        (100_000_u64, "100,000", &["--node-memory", "2GiB", "--cores", "2"][..]),
        (1_000_000, "1,000,000", &[]),
        (10_000_000, "10,000,000", &[]),
    ] {
        let count = connections.to_string();
        let plan = json(&[&["--connections", &count], options].concat());
        let memory = &plan["node"]["memory"];
        let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        let of = |name: &str| memory[name].as_f64().unwrap();
        let idle = of("kernel") + of("own");
        let nodes = plan["nodes"].as_u64().unwrap();
        let row = format!(
            "| {told} | {nodes} | {} | {} | {} |",
            gigabytes(idle),
            gigabytes(idle + of("waiting")),
            gigabytes(of("needed"))
        );
        assert!(page.contains(&row), "{row} is not in tuning/README.md");
    }
}
