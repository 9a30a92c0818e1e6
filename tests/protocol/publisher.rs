//! Publishes at a steady pace while a scenario goes on. Must never know the scenario.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::wire::Wire;

/// A thread that publishes to some channels, to each the offset as data.
pub(crate) struct Publisher {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Publisher {
    /// Begins: so many publications a second to each channel.
    pub(crate) fn start(node: &Node, channels: &[&str], rate: u64) -> Self {
        let (stop, stopped) = channel::<()>();
        let (api, channels) =
            (node.api.clone(), channels.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let publish = move || {
            let (mut wire, began, mut published) = (Wire::connect(&api), Instant::now(), 0);
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                let due = began.elapsed().as_millis() as u64 * rate / 1000;
                let mut body = String::new();
                for number in published + 1..=due {
                    for name in &channels {
                        body += &format!("{{\"channel\":\"{name}\",\"data\":{number}}}\n");
                    }
                }
                if body.is_empty() {
                    continue;
                }
                let length = body.len();
                let head = format!(
                    "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
                );
                wire.send((head + &body).as_bytes());
                assert_eq!(wire.response().status, 200);
                published = due;
            }
            published
        };
        Self { stop, thread: thread::spawn(publish) }
    }

    /// Ends; returns how many there were in each channel.
    pub(crate) fn stop(self) -> u64 {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}
