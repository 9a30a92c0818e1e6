//! `roost bench` against the bare floor: what is counted must be right, whatever the machine does to the times.

#[path = "../benches/raw/api.rs"]
mod api;
#[path = "../benches/raw/server.rs"]
mod server;
#[path = "../benches/raw/wire.rs"]
mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;
use server::{Buffers, Floor, Mode};
use tungstenite::Message;

/// Descriptors that a run may have where its number does not matter.
const LIMIT: u32 = 4096;

/// Runs `roost bench` in a process of its own with these arguments, in a shell that lowers the descriptor limit first. The
/// generator splits descriptor tables: within the process of the servers it would hold copies of their sockets.
fn bench_process(limit: u32, arguments: &str) -> Output {
    let roost = env!("CARGO_BIN_EXE_roost");
    let line = format!("ulimit -n {limit} && exec {roost} bench {arguments}");
    Command::new("sh").args(["-c", &line]).output().expect("sh runs")
}

/// The report of a run against servers in the process of the test. It may pass or fail, but not be impossible.
fn bench(arguments: &str) -> Value {
    let pid = std::process::id();
    let output = bench_process(LIMIT, &format!("{arguments} --server-pid {pid} --json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Why a run was impossible.
fn bench_error(arguments: &str) -> String {
    let output = bench_process(LIMIT, arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A floor that runs until the tests end, and where its triggers go.
fn floor(mode: Mode) -> (SocketAddr, SocketAddr) {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = server::listen(any_port, 1, Buffers::default()).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let triggers = TcpListener::bind(any_port).unwrap();
    let trigger_address = triggers.local_addr().unwrap();
    let (mailbox, mail) = server::mailbox().unwrap();
    api::serve(triggers, vec![mailbox]);
    thread::spawn(move || Floor::new(listener, mail, mode).unwrap().run());
    (address, trigger_address)
}

fn value(report: &Value, name: &str) -> f64 {
    report["server"][name].as_f64().unwrap_or_else(|| panic!("no figure {name} in {report:#}"))
}

fn passed(report: &Value) {
    assert_eq!(report["complaints"], Value::Array(Vec::new()), "{report:#}");
    assert_eq!(report["pass"], true, "{report:#}");
}

/// Options that make roost's defaults fit the floor.
const BARE: &str = "--confirmation= --publish-body \
    '{\"type\":\"notification\",\"channel\":\"{channel}\",\"data\":{data},\"offset\":{offset}}'";

#[test]
fn every_publication_is_counted_at_every_subscriber_once() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{address}/live --publish-url http://{triggers}/publish {BARE} \
         --connections 40 --count 10 --rate 0 --threads 2"
    ));
    passed(&report);
    for figure in ["lost", "duplicated", "reordered"] {
        assert_eq!(value(&report, figure), 0.0, "{figure}");
    }
    assert!(value(&report, "deliveries_per_s") > 0.0);
    passed(&report);
}

#[test]
fn a_burst_travels_in_one_request_and_arrives_as_single_messages() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{address}/live --publish-url http://{triggers}/publish {BARE} \
         --connections 10 --count 3 --burst 16 --rate 0"
    ));
    assert_eq!((value(&report, "lost"), value(&report, "duplicated")), (0.0, 0.0));
    passed(&report);
}

#[test]
fn a_server_that_publishes_what_a_client_says_is_published_to_by_a_client() {
    let (address, triggers) = floor(Mode::Fanout);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let publishing = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let mut trigger = TcpStream::connect(triggers).unwrap();
        while let Ok(message) = socket.read() {
            // Pongs come too.
            let Message::Text(said) = message else { continue };
            write!(trigger, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{said}", said.len()).unwrap();
            socket.send(Message::Ping(Vec::new().into())).unwrap();
        }
    });
    let report = bench(&format!(
        "fanout --url ws://{address}/live --publish-url ws://{publishing}/say {BARE} \
         --connections 10 --count 4 --burst 3 --rate 0"
    ));
    assert_eq!((value(&report, "lost"), value(&report, "duplicated")), (0.0, 0.0));
    passed(&report);
}

#[test]
fn echoes_come_back_at_both_depths() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    for depth in [1, 16] {
        let report = bench(&format!(
            "echo --url ws://{address}/echo --connections 10 --depth {depth} --seconds 0.2 --warm-up 0.05 \
             --no-echo-check"
        ));
        assert!(value(&report, "messages_per_s") > 0.0);
        assert!(value(&report, "latency_max_us") > 0.0);
        passed(&report);
    }
}

#[test]
fn echoes_at_a_pace_are_as_many_as_asked_for() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let report = bench(&format!(
        "echo --url ws://{address}/echo --connections 20 --rate 2000 --seconds 0.5 --warm-up 0.1 --no-echo-check"
    ));
    let found = value(&report, "messages_per_s");
    assert!((1000.0..3000.0).contains(&found), "{found}");
    passed(&report);
}

#[test]
fn an_echo_of_something_else_is_a_complaint_that_names_both() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let arguments = format!("echo --url ws://{address}/ --connections 2 --seconds 0.05 --warm-up 0");
    let report = bench(&arguments);
    assert_eq!(report["pass"], false);
    let complaint = |member: &str| report["complaints"][0][member].as_str().unwrap_or_default();
    assert!(complaint("expected").starts_with("\"0000000"), "{report:#}");
    assert!(complaint("came").starts_with("\"xxxx"), "{report:#}");
    assert!(complaint("source").starts_with("127."), "{report:#}");
}

#[test]
fn two_servers_are_measured_in_turn_and_compared() {
    let (server, server_triggers) = floor(Mode::Fanout);
    let (other, other_triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{server}/ --publish-url http://{server_triggers}/ {BARE} --floor-url ws://{other}/ \
         --floor-publish-url http://{other_triggers}/ --connections 5 --count 4 --rate 0 --rounds 2"
    ));
    passed(&report);
    assert!(report["ratio"]["deliveries_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(report["floor"]["lost"], 0.0);
}

#[test]
fn a_storm_counts_who_came_and_those_who_stay_miss_nothing_while_it_leaves() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "storm --url ws://{address}/live --publish-url http://{triggers}/publish {BARE} --connections 200 \
         --leave --stay 5 --newcomers 7 --rate 200 --seconds 0.1"
    ));
    passed(&report);
    assert_eq!(value(&report, "failed"), 0.0);
    assert!(value(&report, "stay_gap_max_ms") > 0.0);
    assert!(value(&report, "newcomer_max_us") > 0.0);
    passed(&report);
}

#[test]
fn idle_clients_answer_pings_and_their_sockets_are_counted() {
    let (address, _) = floor(Mode::IdlePing);
    let arguments = format!("idle --url ws://{address}/ --confirmation= --connections 1000 --seconds 1");
    let report = bench(&arguments);
    passed(&report);
    // Other tests open sockets meanwhile, but these are there too.
    assert!(value(&report, "pings_per_s") > 0.0);
    assert!(report["server"]["rss_bytes_per_connection"].is_number());
}

#[test]
fn clients_that_do_not_read_are_left_out_of_the_count() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "slow --url ws://{address}/ --publish-url http://{triggers}/ {BARE} --connections 200 --count 5 --rate 0"
    ));
    passed(&report);
    assert_eq!((value(&report, "slow_connections"), value(&report, "slow_closed")), (20.0, 0.0));
    assert_eq!(value(&report, "lost"), 0.0);
}

#[test]
fn a_client_that_does_not_read_notices_afterwards_that_it_was_cut() {
    let (_, triggers) = floor(Mode::Fanout);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        stream.write_all(wire::SWITCHING).unwrap();
        // More than the client's buffer holds, so that the end comes only behind what it has to read first.
        stream.write_all(&[wire::PING, wire::PING].concat().repeat(20_000)).unwrap();
    });
    let report = bench(&format!(
        "slow --url ws://{address}/ --publish-url http://{triggers}/ {BARE} --connections 1 --slow-percent 99 \
         --count 1 --rate 0"
    ));
    assert_eq!((value(&report, "slow_connections"), value(&report, "slow_closed")), (1.0, 1.0));
    passed(&report);
}

#[test]
fn clients_beyond_the_descriptor_limit_are_held_in_several_tables() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let arguments =
        format!("idle --url ws://{address}/ --confirmation= --connections 1500 --seconds 0 --json");
    let output = bench_process(600, &arguments);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["pass"], true);
    assert!(report["server"]["join_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_exit_code_tells_a_broken_budget_from_a_run_that_could_not_be_made() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let path = std::env::temp_dir().join(format!("roost-budget-{}.toml", std::process::id()));
    let code_with = |budget: &str| {
        std::fs::write(&path, budget).unwrap();
        let budget = path.display();
        let load = "--connections 2 --seconds 0.05 --warm-up 0 --no-echo-check";
        let output = bench_process(1000, &format!("echo --url ws://{address}/ {load} --budget {budget}"));
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let kept = code_with("[echo]\nmessages_per_s_min = 1");
    assert_eq!(kept.0, Some(0), "{kept:?}");
    assert!(kept.1.contains("messages_per_s_min 1 PASS"), "{kept:?}");
    let broken = code_with("[echo]\nlatency_max_us_max = 0");
    assert_eq!(broken.0, Some(1), "{broken:?}");
    assert!(broken.1.contains("latency_max_us_max 0 FAIL"), "{broken:?}");
    let unknown = code_with("[echo]\nmesages_per_s_min = 1");
    assert_eq!(unknown.0, Some(2), "{unknown:?}");
    assert!(unknown.2.contains("did you mean `messages_per_s_min`"), "{unknown:?}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn clients_of_threads_with_their_own_descriptor_tables_all_join() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let arguments =
        format!("idle --url ws://{address}/ --confirmation= --connections 64 --threads 8 --seconds 0");
    passed(&bench(&arguments));
}

#[test]
fn a_message_that_never_comes_is_lost_and_fails_the_run() {
    // A publisher that nobody listens to: the trigger of another floor.
    let (address, _) = floor(Mode::Fanout);
    let (_, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{address}/ --publish-url http://{triggers}/ {BARE} --connections 3 --count 2 \
         --rate 1000 --patience 1"
    ));
    assert_eq!(value(&report, "lost"), 6.0);
    assert_eq!(report["pass"], false);
}

#[test]
fn a_server_that_refuses_the_upgrade_is_named_with_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            // Refusing is all that it does; a client that has gone is no matter.
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let error = bench_error(&format!("echo --url ws://{address}/ --connections 2"));
    assert!(error.contains("0 of 2 clients joined"), "{error}");
    assert!(error.contains("status 404"), "{error}");
    assert!(error.contains("connection 0 (127.1."), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = bench_error(&format!("echo --url ws://{address}/ --connections 1"));
    assert!(error.contains("expected a connection, came an error: Connection refused"), "{error}");
}
