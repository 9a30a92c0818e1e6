//! `roost bench` against the bare floor: what is counted must be right, whatever the machine does to the times.

#[path = "../benches/raw/api.rs"]
mod api;
#[path = "../benches/raw/server.rs"]
mod server;
#[path = "../benches/raw/wire.rs"]
mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use clap::Parser;
use roost::bench::error::BenchError;
use roost::bench::options::BenchArgs;
use roost::bench::report::Report;
use roost::bench::run;
use roost::sys::fd_table::unshare_fd_table;
use server::{Buffers, Floor, Mode};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    bench: BenchArgs,
}

/// Runs `roost bench` with these arguments, separated by spaces, and the process of the test as the server's.
fn bench(arguments: &str) -> Result<Report, BenchError> {
    let pid = std::process::id().to_string();
    let arguments = ["bench"].into_iter().chain(arguments.split_whitespace());
    let arguments = arguments.chain(["--server-pid", &pid]);
    run(&CommandLine::try_parse_from(arguments).expect("the arguments are valid").bench)
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
    thread::spawn(move || {
        // Clients take copies of the process's descriptor table, and a copy of an accepted socket keeps it open.
        unshare_fd_table().unwrap();
        Floor::new(listener, mail, mode).unwrap().run()
    });
    (address, trigger_address)
}

fn value(report: &Report, name: &str) -> f64 {
    let row = report.rows.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("no figure {name}")).server
}

/// Options that make roost's defaults fit the floor.
const BARE: &str = "--confirmation= --publish-body \
    {\"type\":\"notification\",\"channel\":\"{channel}\",\"data\":{data},\"offset\":{offset}}";

#[test]
fn every_publication_is_counted_at_every_subscriber_once() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{address}/live --publish-url http://{triggers}/publish {BARE} \
         --connections 40 --count 10 --rate 0 --threads 2"
    ))
    .unwrap();
    assert_eq!(report.complaints, []);
    for figure in ["lost", "duplicated", "reordered"] {
        assert_eq!(value(&report, figure), 0.0, "{figure}");
    }
    assert!(value(&report, "deliveries_per_s") > 0.0);
    assert!(report.passed());
}

#[test]
fn a_burst_travels_in_one_request_and_arrives_as_single_messages() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{address}/live --publish-url http://{triggers}/publish {BARE} \
         --connections 10 --count 3 --burst 16 --rate 0"
    ))
    .unwrap();
    assert_eq!((value(&report, "lost"), value(&report, "duplicated")), (0.0, 0.0));
    assert!(report.passed());
}

#[test]
fn echoes_come_back_at_both_depths() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    for depth in [1, 16] {
        let report = bench(&format!(
            "echo --url ws://{address}/echo --connections 10 --depth {depth} --seconds 0.2 --warm-up 0.05 \
             --no-echo-check"
        ))
        .unwrap();
        assert!(value(&report, "messages_per_s") > 0.0);
        assert!(value(&report, "latency_max_us") > 0.0);
        assert!(report.passed());
    }
}

#[test]
fn an_echo_of_something_else_is_a_complaint_that_names_both() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let arguments = format!("echo --url ws://{address}/ --connections 2 --seconds 0.05 --warm-up 0");
    let report = bench(&arguments).unwrap();
    assert!(!report.passed());
    let complaint = &report.complaints[0];
    assert!(complaint.expected.starts_with("\"0000000"), "{complaint}");
    assert!(complaint.came.starts_with("\"xxxx"), "{complaint}");
    assert!(complaint.source.is_some());
}

#[test]
fn two_servers_are_measured_in_turn_and_compared() {
    let (server, server_triggers) = floor(Mode::Fanout);
    let (other, other_triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{server}/ --publish-url http://{server_triggers}/ {BARE} --floor-url ws://{other}/ \
         --floor-publish-url http://{other_triggers}/ --connections 5 --count 4 --rate 0 --rounds 2"
    ))
    .unwrap();
    assert!(report.passed());
    let deliveries = report.rows.iter().find(|row| row.name == "deliveries_per_s").unwrap();
    assert!(deliveries.ratio.is_some());
    assert_eq!(report.rows.iter().find(|row| row.name == "lost").unwrap().floor, Some(0.0));
}

#[test]
fn a_storm_counts_who_came_and_those_who_stay_miss_nothing_while_it_leaves() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "storm --url ws://{address}/live --publish-url http://{triggers}/publish {BARE} --connections 200 \
         --leave --stay 5 --newcomers 7 --rate 200 --seconds 0.1"
    ))
    .unwrap();
    assert_eq!(report.complaints, []);
    assert_eq!(value(&report, "failed"), 0.0);
    assert!(value(&report, "stay_gap_max_ms") > 0.0);
    assert!(value(&report, "newcomer_max_us") > 0.0);
    assert!(report.passed());
}

#[test]
fn idle_clients_answer_pings_and_their_sockets_are_counted() {
    let (address, _) = floor(Mode::IdlePing);
    let arguments = format!("idle --url ws://{address}/ --confirmation= --connections 1000 --seconds 1");
    let report = bench(&arguments).unwrap();
    assert!(report.passed());
    // Other tests open sockets meanwhile, but these are there too.
    assert!(value(&report, "pings_per_s") > 0.0);
    assert!(report.rows.iter().any(|row| row.name == "rss_bytes_per_connection"));
}

#[test]
fn clients_that_do_not_read_are_left_out_of_the_count() {
    let (address, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "slow --url ws://{address}/ --publish-url http://{triggers}/ {BARE} --connections 200 --count 5 --rate 0"
    ))
    .unwrap();
    assert_eq!(report.complaints, []);
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
    ))
    .unwrap();
    assert_eq!((value(&report, "slow_connections"), value(&report, "slow_closed")), (1.0, 1.0));
    assert_eq!(report.complaints, []);
}

#[test]
fn clients_of_threads_with_their_own_descriptor_tables_all_join() {
    let (address, _) = floor(Mode::Echo { size: 64 });
    let arguments =
        format!("idle --url ws://{address}/ --confirmation= --connections 64 --threads 8 --seconds 0");
    assert!(bench(&arguments).unwrap().passed());
}

#[test]
fn a_message_that_never_comes_is_lost_and_fails_the_run() {
    // A publisher that nobody listens to: the trigger of another floor.
    let (address, _) = floor(Mode::Fanout);
    let (_, triggers) = floor(Mode::Fanout);
    let report = bench(&format!(
        "fanout --url ws://{address}/ --publish-url http://{triggers}/ {BARE} --connections 3 --count 2 \
         --rate 1000 --patience 1"
    ))
    .unwrap();
    assert_eq!(value(&report, "lost"), 6.0);
    assert!(!report.passed());
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
    let error = bench(&format!("echo --url ws://{address}/ --connections 2")).unwrap_err().to_string();
    assert!(error.contains("0 of 2 clients joined"), "{error}");
    assert!(error.contains("status 404"), "{error}");
    assert!(error.contains("connection 0 (127.1."), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = bench(&format!("echo --url ws://{address}/ --connections 1")).unwrap_err().to_string();
    assert!(error.contains("expected a connection, came an error: Connection refused"), "{error}");
}
