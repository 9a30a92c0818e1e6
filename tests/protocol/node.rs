//! Starts the real binary on ports of its own, learns their addresses from it, and ends it by its process id.
//! Must never know a scenario.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::fallback::{Poller, Stream};
use crate::wire::{Response, Wire};

/// Longer than anything here may take: a drain is over after 10 s by default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running node. It ends with the value; [`Node::end`] also demands that it ends well.
pub(crate) struct Node {
    child: Child,
    /// `host:port` of the public listener.
    pub(crate) public: String,
    /// `host:port` of the API.
    pub(crate) api: String,
    /// Kept open, so that a word of the node does not end it.
    _stdout: BufReader<ChildStdout>,
    /// A handle on each connection, to hang up at the end.
    streams: RefCell<Vec<TcpStream>>,
    /// Everything on standard error, once the node has ended.
    stderr: Receiver<String>,
    config: Option<PathBuf>,
}

impl Node {
    /// A node with these options, on free ports of the loopback.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, None, None)
    }

    /// A node whose descriptor tables hold no more than `descriptors`, unless it has the privilege to raise that.
    pub(crate) fn with_descriptors(descriptors: usize, options: &[&str]) -> Self {
        Self::start_with(options, None, Some(descriptors))
    }

    /// A node with this `roost.toml`.
    pub(crate) fn with_config(text: &str, options: &[&str]) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roost-protocol-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let path_text = path.to_str().unwrap().to_owned();
        Self::start_with(&[options, &["--config", &path_text]].concat(), Some(path), None)
    }

    fn start_with(options: &[&str], config: Option<PathBuf>, descriptors: Option<usize>) -> Self {
        let mut words = options.to_vec();
        for listener in ["--listen", "--api"].into_iter().filter(|listener| !options.contains(listener)) {
            words.extend([listener, "127.0.0.1:0"]);
        }
        let mut child = serve(&words, descriptors);
        let stderr = collect(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = |listener: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            match line.trim_end().split_once(' ') {
                Some((name, address)) if name == listener => address.to_owned(),
                _ => {
                    panic!("expected `{listener} ADDRESS`, got {line:?}: {:?}", stderr.recv_timeout(PATIENCE))
                }
            }
        };
        let (public, api) = (address("public"), address("api"));
        Self { child, public, api, _stdout: stdout, streams: RefCell::default(), stderr, config }
    }

    /// A client on `/live`.
    pub(crate) fn client(&self) -> Client {
        self.client_at("/live", None)
    }

    /// A client with this path and query, which offers this subprotocol.
    pub(crate) fn client_at(&self, path: &str, protocol: Option<&str>) -> Client {
        Client::open(self.dial(), &format!("ws://{}{path}", self.public), protocol)
    }

    /// A client that follows `channels`.
    pub(crate) fn subscriber(&self, channels: &[&str]) -> Client {
        let mut client = self.client();
        for channel in channels {
            client.subscribe(channel);
        }
        client
    }

    /// A bare connection to the public listener.
    pub(crate) fn wire(&self) -> Wire {
        self.dial().into()
    }

    /// A stream of events with this query.
    pub(crate) fn stream(&self, query: &str) -> Stream {
        self.stream_with(query, &[])
    }

    /// The same, with these headers.
    pub(crate) fn stream_with(&self, query: &str, headers: &[&str]) -> Stream {
        Stream::open(self.wire(), query, headers)
    }

    /// A client that polls, on one connection.
    pub(crate) fn poller(&self) -> Poller {
        Poller::from(self.wire())
    }

    /// A bare connection whose kernel keeps no more than a few KiB for us until we read.
    pub(crate) fn narrow_wire(&self) -> Wire {
        self.narrow_wire_to(&self.public)
    }

    /// The same, to the listener with this address.
    pub(crate) fn narrow_wire_to(&self, address: &str) -> Wire {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        // What it has sent the node has read, but for a little: the kernel would take megabytes.
        socket.set_send_buffer_size(4096).unwrap();
        socket.connect(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
        self.keep(socket.into()).into()
    }

    fn dial(&self) -> TcpStream {
        self.keep(TcpStream::connect(&self.public).unwrap())
    }

    fn keep(&self, stream: TcpStream) -> TcpStream {
        self.streams.borrow_mut().push(stream.try_clone().unwrap());
        stream
    }

    /// What the API answers to a GET.
    pub(crate) fn get(&self, path: &str) -> Response {
        let mut wire = Wire::connect(&self.api);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.api).as_bytes());
        wire.response()
    }

    /// What the API answers to another method, with or without a body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let mut wire = Wire::connect(&self.api);
        let (host, length) = (&self.api, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        wire.send((head + body).as_bytes());
        wire.response()
    }

    /// What the API answers to `POST /publish`.
    pub(crate) fn post(&self, body: &str) -> Response {
        self.ask("POST", "/publish", body)
    }

    /// Publishes everything in one call, in order; returns the last cursor.
    pub(crate) fn publish_all(&self, channel: &str, data: impl IntoIterator<Item = Value>) -> String {
        let line = |data| serde_json::json!({ "channel": channel, "data": data }).to_string() + "\n";
        let body: String = data.into_iter().map(line).collect();
        let mut wire = Wire::connect(&self.api);
        let (kind, length) = ("application/x-ndjson", body.len());
        let head = format!(
            "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        wire.send((head + &body).as_bytes());
        let answer = wire.response();
        let last: Value = serde_json::from_str(answer.body.lines().last().unwrap()).unwrap();
        last["cursor"].as_str().unwrap_or_else(|| panic!("{last}")).to_owned()
    }

    /// Publishes through the API; returns the cursor.
    pub(crate) fn publish(&self, channel: &str, data: &Value) -> String {
        let response = self.post(&serde_json::json!({ "channel": channel, "data": data }).to_string());
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["cursor"].as_str().unwrap().to_owned()
    }

    /// The sum of a metric over all its labels that contain `label`.
    pub(crate) fn metric_of(&self, name: &str, label: &str) -> u64 {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200);
        let values = response.body.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, labels) = series.split_once('{').unwrap_or((series, ""));
            (found == name && labels.contains(label)).then(|| value.parse::<u64>().unwrap())
        });
        values.sum()
    }

    /// The sum of a metric over all its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metric_of(name, "")
    }

    /// Asks for a metric until it has a value: the node may not have seen yet what a client did.
    pub(crate) fn await_metric(&self, name: &str, value: u64) {
        self.await_metric_of(name, "", value);
    }

    /// The same of those of its series whose labels contain `label`.
    pub(crate) fn await_metric_of(&self, name: &str, label: &str, value: u64) {
        let began = Instant::now();
        while self.metric_of(name, label) != value {
            let found = self.metric_of(name, label);
            assert!(began.elapsed() < PATIENCE, "{name}{{{label}}} is {found}, not {value}");
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process; its exit status and its log.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let log = self.stderr.recv_timeout(PATIENCE).expect("the node ends");
        (self.child.wait().unwrap(), log)
    }

    /// Hangs up every connection, ends the node as an operator would, and demands exit code 0 and no panic.
    pub(crate) fn end(mut self) {
        for stream in self.streams.take() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already, unless the scenario failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(config) = &self.config {
            let _ = std::fs::remove_file(config);
        }
    }
}

/// Exit code and standard error of a `roost serve` that is expected not to start.
pub(crate) fn refused(options: &[&str]) -> (i32, String) {
    let mut child = serve(options, None);
    let stderr = collect(child.stderr.take().unwrap());
    let Ok(words) = stderr.recv_timeout(PATIENCE) else {
        child.kill().unwrap();
        panic!("a node started with {options:?}");
    };
    (child.wait().unwrap().code().unwrap(), words)
}

fn serve(options: &[&str], descriptors: Option<usize>) -> Child {
    let roost = env!("CARGO_BIN_EXE_roost");
    let mut command = match descriptors {
        None => Command::new(roost),
        Some(limit) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\""), roost]);
            shell
        }
    };
    command.arg("serve").args(options);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROOST_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads to the end, so that a full pipe never stops the node; the end tells that it is gone.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
