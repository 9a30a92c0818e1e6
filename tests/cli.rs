//! The binary as a shell sees it: words, exit codes, and the two clients against servers of a few lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tungstenite::{Message, WebSocket, accept_hdr};

fn roost(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roost"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit code, standard output, standard error.
fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(args: &[&str]) -> (i32, String, String) {
    outcome(&roost(args).output().unwrap())
}

/// A file of this test's own, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn path(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("roost-cli-{}-{name}", std::process::id())))
    }

    fn file(name: &str, text: &str) -> Self {
        let scratch = Self::path(name);
        std::fs::write(&scratch.0, text).unwrap();
        scratch
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn without_arguments_help_and_a_quick_start_are_printed() {
    let (code, out, err) = run(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in [
        "Usage: roost",
        "Quick start",
        "roost serve",
        "roost tail notifications",
        "roost publish notifications",
    ] {
        assert!(out.contains(words), "{words}\n{out}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = format!("roost {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]), (0, expected, String::new()));
}

#[test]
fn the_help_of_serve_names_an_option_its_variable_and_its_default() {
    let (code, out, _) = run(&["serve", "--help"]);
    assert_eq!(code, 0);
    for words in
        ["Usage: roost serve", "--ping-interval <TIME>", "[env: ROOST_PING_INTERVAL]", "[default: 25s]"]
    {
        assert!(out.contains(words), "{words}\n{out}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_names_the_nearest_valid_thing() {
    for (args, words) in [
        (&["serv"][..], "'serve'"),
        (&["serve", "--lisen", "1"], "'--listen'"),
        (&["serve", "--ping-interval", "10"], "`10s`"),
        (&["publish", "c"], "<JSON>"),
        (&["publish", "c", "hello"], "error: not JSON: expected value at line 1 column 1"),
        (&["tail"], "<CHANNEL>"),
        (&["tail", "c", "--url", "http://localhost"], "ws://127.0.0.1:8080/live"),
        (&["tail", "c", "--count", "0"], "--count"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}\n{err}");
        assert!(err.contains(words), "{words}\n{err}");
    }
}

#[test]
fn a_valid_configuration_is_exit_code_0_and_an_invalid_one_1_with_every_problem() {
    let good = Scratch::file(
        "good.toml",
        "ping_interval = \"10s\"\n[channels.\"chat:\"]\nclients_may_publish = true\n",
    );
    let (code, out, err) = run(&["serve", "--check", "--config", good.name()]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "the configuration is valid\n", ""));

    let bad = Scratch::file("bad.toml", "lisen = 1\nping_interval = 10\n");
    let (code, out, err) = run(&["serve", "--check", "--config", bad.name()]);
    assert_eq!((code, out.as_str()), (1, ""));
    let name = bad.name();
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert_eq!(lines[0], format!("error: {name}:1:1: unknown key `lisen`: did you mean `listen`?"));
    assert!(lines[1].starts_with(&format!("error: {name}:2:17: ping_interval: `10` is not a time")), "{err}");

    let (code, _, err) = run(&["serve", "--check", "--config", "/nowhere/roost.toml"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: /nowhere/roost.toml: cannot be read: "), "{err}");
}

#[test]
fn an_invalid_configuration_does_not_start_a_node() {
    let (code, _, err) = run(&["serve", "--api", "0.0.0.0:0"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: --api 0.0.0.0:0: the API has no keys"), "{err}");
}

#[test]
fn a_key_that_is_none_is_told_before_a_node_starts_and_no_secret_is_shown() {
    for arguments in
        [&["serve", "--check"][..], &["serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]]
    {
        let (code, out, err) = run(&[arguments, &["--token-key", "hs256/old:hunter2"]].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(
            err.starts_with("error: --token-key hs256/old:…: the secret has 7 bytes, HS256 needs 32"),
            "{err}"
        );
    }
}

#[test]
fn a_mistyped_variable_is_a_warning() {
    let output = roost(&["serve", "--check"]).env("ROOST_LISEN", "x").output().unwrap();
    let (code, _, err) = outcome(&output);
    assert_eq!((code, err.as_str()), (0, "warning: ROOST_LISEN sets nothing: did you mean ROOST_LISTEN?\n"));
}

#[test]
fn print_config_prints_toml_with_the_source_of_each_value_that_is_valid_again() {
    let file = Scratch::file("source.toml", "ping_interval = \"11s\"\nidle_timeout = \"2m\"\n");
    let mut command = roost(&["serve", "--print-config", "--config", file.name(), "--echo"]);
    let (code, out, err) = outcome(&command.env("ROOST_IDLE_TIMEOUT", "3m").output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        format!("ping_interval = \"11s\" # file {}:1:1", file.name()),
        "idle_timeout = \"3m\" # environment ROOST_IDLE_TIMEOUT".to_owned(),
        "echo = true # flag --echo".to_owned(),
        "max_message = \"64KiB\" # default".to_owned(),
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line}\n{out}");
    }
    let printed: toml::Table = out.parse().unwrap();
    let again = Scratch::file("again.toml", &out);
    let (code, out, _) = run(&["serve", "--print-config", "--config", again.name()]);
    assert_eq!(code, 0);
    assert_eq!(out.parse::<toml::Table>().unwrap(), printed);
}

/// Reads one HTTP request whole: its head in lower case, and its body.
fn read_request(stream: impl Read) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0);
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn answer(mut stream: impl Write, status: &str, body: &str) {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[test]
fn publish_posts_the_json_as_it_is_and_prints_the_cursor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let request = read_request(&stream);
        answer(&stream, "200 OK", r#"{"channel":"news","cursor":"e-1"}"#);
        request
    });
    assert_eq!(
        run(&["publish", "news", "{\"n\": 1.0}", "--api", &api]),
        (0, "e-1\n".to_owned(), String::new())
    );
    let (head, body) = server.join().unwrap();
    assert!(head.starts_with("post /publish http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {api}\r\n")), "{head}");
    assert_eq!(body, "{\"channel\":\"news\",\"data\":{\"n\": 1.0}}");
}

#[test]
fn publish_reads_standard_input_and_speaks_to_a_unix_socket_named_by_the_variable() {
    let socket = Scratch::path("api.sock");
    let listener = UnixListener::bind(&socket.0).unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let request = read_request(&stream);
        answer(&stream, "400 Bad Request", r#"{"error":{"code":"bad_channel","message":"no such name"}}"#);
        request.1
    });
    let mut command = roost(&["publish", "a b", "-"]);
    command.env("ROOST_API", format!("unix:{}", socket.name()));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[1,\n2]\n").unwrap();
    let (code, out, err) = outcome(&child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", "error: bad_channel: no such name\n"));
    assert_eq!(server.join().unwrap(), "{\"channel\":\"a b\",\"data\":[1,\n2]}");
}

#[test]
fn a_wrong_variable_of_a_client_is_refused_by_name_and_an_empty_one_is_not_set() {
    let with_url =
        |url: &str| outcome(&roost(&["tail", "c", "--once"]).env("ROOST_URL", url).output().unwrap());
    let (code, _, err) = with_url("localhost");
    assert_eq!(code, 1);
    assert!(err.starts_with("error: ROOST_URL: `localhost` is not the URL of a node"), "{err}");
    let output = roost(&["publish", "c", "x"]).env("ROOST_API", "").output().unwrap();
    assert!(outcome(&output).2.starts_with("error: not JSON"), "{output:?}");
}

#[test]
fn publish_without_a_node_says_where_it_looked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, _, err) = run(&["publish", "c", "1", "--api", &api]);
    assert_eq!(code, 1);
    assert!(err.starts_with(&format!("error: {api}: cannot connect: ")), "{err}");
}

#[test]
fn ctl_asks_the_api_and_says_whose_answer_it_does_not_understand() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut heads = Vec::new();
        for (status, body) in [
            ("200 OK", "{\"connections\":1}\n"),
            ("200 OK", "{\"connections\":1}\n"),
            ("404 Not Found", r#"{"error":{"code":"not_found","message":"no such path"}}"#),
        ] {
            let (stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0);
            }
            answer(&stream, status, body);
            heads.push(head);
        }
        heads
    });
    let ctl = |more: &[&str]| run(&[&["ctl", "density", "--api", &api], more].concat());
    assert_eq!(ctl(&["--json"]), (0, "{\"connections\":1}\n".to_owned(), String::new()));
    let strange =
        format!("error: {api}: the answer is not what this version knows; --json prints it as it is\n");
    assert_eq!(ctl(&[]), (1, String::new(), strange));
    assert_eq!(ctl(&[]), (1, String::new(), format!("error: {api}: not_found: no such path\n")));
    for head in server.join().unwrap() {
        assert!(head.starts_with("GET /debug/density HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Host: {api}\r\n")), "{head}");
    }
}

#[test]
fn ctl_without_a_question_is_wrong_usage_and_lists_them() {
    let (code, out, err) = run(&["ctl"]);
    assert_eq!((code, out.as_str()), (2, ""));
    for question in ["channels", "conns", "density", "drain", "kick"] {
        assert!(err.contains(question), "{err}");
    }
}

#[test]
fn ctl_kick_demands_one_selector_and_names_what_else_is_wrong() {
    for (args, words) in [
        (&[][..], "<--connection <ID>|--user <USER>|--ip <ADDR>|--channel <CHANNEL>>"),
        (&["--user", "ann", "--ip", "::1"], "cannot be used with"),
        (
            &["--user", "ann", "--code", "1000"],
            "a close code is 1001, 1008, 1012, 1013, or a number from 4000 to 4999",
        ),
        (&["--user", "ann", "--code", "70000"], "70000 is not in 0..=65535"),
        (&["--user", "ann", "--over", "10"], "such as `250ms` or `10s`"),
    ] {
        let (code, out, err) = run(&[&["ctl", "kick"][..], args].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn ctl_kick_posts_what_it_was_told_and_fails_where_nobody_was_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut bodies = Vec::new();
        for (status, body) in [
            ("200 OK", r#"{"disconnected":1200}"#),
            ("200 OK", r#"{"disconnected":0}"#),
            ("200 OK", r#"{"disconnected":0}"#),
            ("400 Bad Request", r#"{"error":{"code":"bad_request","message":"`over_ms` is too long"}}"#),
        ] {
            let (stream, _) = listener.accept().unwrap();
            let (head, body_sent) = read_request(&stream);
            assert!(head.starts_with("post /disconnect http/1.1\r\n"), "{head}");
            bodies.push(body_sent);
            answer(&stream, status, body);
        }
        bodies
    });
    let kick = |more: &[&str]| run(&[&["ctl", "kick", "--api", &api], more].concat());
    let spread = kick(&["--channel", "a\"b", "--code", "1012", "--over", "2m"]);
    assert_eq!(spread, (0, "1,200 connections end within 2m\n".to_owned(), String::new()));
    assert_eq!(kick(&["--user", "ann"]), (1, "0 connections end\n".to_owned(), String::new()));
    let json = kick(&["--ip", "::1", "--json"]);
    assert_eq!(json, (1, r#"{"disconnected":0}"#.to_owned(), String::new()));
    let refused = format!("error: {api}: bad_request: `over_ms` is too long\n");
    assert_eq!(kick(&["--connection", "0.1.2", "--over", "9h"]), (1, String::new(), refused));
    let expected = [
        r#"{"channel":"a\"b","code":1012,"over_ms":120000}"#,
        r#"{"user":"ann"}"#,
        r#"{"ip":"::1"}"#,
        r#"{"connection":"0.1.2","over_ms":32400000}"#,
    ];
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn ctl_conns_names_the_values_that_an_option_takes() {
    for (args, words) in [
        (["--top", "oldest"], "[possible values: lag, age, bytes]"),
        (["--limit", "0"], "0 is not in 1..=1000"),
        (["--limit", "1001"], "1001 is not in 1..=1000"),
        (["--limit", "many"], "invalid digit"),
        (["--api", "nowhere"], "nowhere"),
    ] {
        let (code, out, err) = run(&[&["ctl", "conns"][..], &args].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

/// Accepts one subscriber as `roost.v1`; the second value is the path with its query.
fn subscriber(listener: &TcpListener) -> (WebSocket<TcpStream>, String) {
    let (stream, _) = listener.accept().unwrap();
    let mut asked = String::new();
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let take = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        asked = request.uri().to_string();
        response.headers_mut().insert("sec-websocket-protocol", "roost.v1".parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr(stream, take).unwrap();
    say(&mut socket, r#"{"type":"welcome","session":"s","ping_ms":25000,"node":"n"}"#);
    (socket, asked)
}

fn say(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

fn notification(offset: u64) -> String {
    format!(
        r#"{{"type":"notification","channel":"news","data":{{"n":{offset}}},"timestamp":1,"offset":{offset}}}"#
    )
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn tail_prints_what_arrives_and_comes_back_where_it_was_after_a_break() {
    let (listener, url) = listen();
    let server = thread::spawn(move || {
        let (mut socket, first) = subscriber(&listener);
        say(&mut socket, r#"{"type":"subscribed","channel":"news","cursor":"x-4"}"#);
        say(&mut socket, &notification(5));
        drop(socket);
        let (mut socket, second) = subscriber(&listener);
        say(&mut socket, r#"{"type":"subscribed","channel":"news","cursor":"x-7","recovered":true}"#);
        say(&mut socket, r#"{"type":"gap","channel":"news","from":6,"to":6,"cursor":"x-6"}"#);
        say(&mut socket, r#"{"type":"gap","channel":"news","from":1,"to":0,"cursor":"y-0"}"#);
        say(&mut socket, &notification(1));
        let goodbye = socket.read().unwrap();
        (first, second, goodbye.is_close())
    });
    let (code, out, err) = run(&["tail", "news", "--url", &url, "--count", "2"]);
    let (first, second, said_goodbye) = server.join().unwrap();
    assert_eq!((code, out), (0, format!("{}\n{}\n", notification(5), notification(1))), "{err}");
    assert_eq!((first.as_str(), second.as_str()), ("/live?channel=news", "/live?channel=news&since=x-5"));
    assert!(said_goodbye);
    assert!(err.contains("tail: subscribed to news at x-4\n"), "{err}");
    assert!(err.contains("tail: gap in news: offsets 6 to 6 are lost\n"), "{err}");
    assert!(err.contains("tail: news begins a new numbering: what came before it may be lost\n"), "{err}");
}

#[test]
fn tail_prints_the_data_alone_and_with_once_ends_with_the_connection() {
    for (code_sent, reason, expected) in [
        (CloseCode::Away, "going away", 0),
        (CloseCode::Error, "internal error", 1),
        (CloseCode::Protocol, "no", 1),
    ] {
        let (listener, url) = listen();
        let server = thread::spawn(move || {
            let (mut socket, _) = subscriber(&listener);
            say(
                &mut socket,
                "{\"type\":\"notification\",\"channel\":\"news\",\"data\":[1,\n null],\"offset\":1}",
            );
            say(&mut socket, "{\"type\":\"notification\",\"channel\":\"news\",\"data\":null,\"offset\":2}");
            socket.close(Some(CloseFrame { code: code_sent, reason: reason.into() })).unwrap();
            while socket.read().is_ok() {}
        });
        let (code, out, err) = run(&["tail", "news", "--url", &url, "--data", "--once"]);
        server.join().unwrap();
        assert_eq!((code, out.as_str()), (expected, "[1,  null]\nnull\n"), "{err}");
        if expected == 1 {
            assert!(
                err.contains(&format!("error: closed by the node: {} {reason}", u16::from(code_sent))),
                "{err}"
            );
        }
    }
}

#[test]
fn tail_ends_when_the_node_refuses_it() {
    let (listener, url) = listen();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(&stream);
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0);
        }
        answer(&stream, "400 Bad Request", r#"{"error":{"code":"bad_channel","message":"no such name"}}"#);
    });
    let (code, out, err) = run(&["tail", "a b", "--url", &url]);
    server.join().unwrap();
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("error: the node answered 400"), "{err}");
    assert!(err.contains("bad_channel"), "{err}");
}

#[test]
fn tail_ends_well_on_an_interrupt() {
    let (listener, url) = listen();
    let mut command = roost(&["tail", "news", "--url", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut socket, _) = subscriber(&listener);
    say(&mut socket, &notification(1));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, notification(1) + "\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
