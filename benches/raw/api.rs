//! The trigger of the floor's fan-out: any HTTP request with a body. The body's bytes become the payload of one text
//! frame; a body of `application/x-ndjson` becomes one frame a line, all in one write. Knows no subscriber.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::server::Mailbox;
use super::wire;

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// Serves triggers until the process ends: one thread a connection, for there is one publisher.
pub(crate) fn serve(listener: TcpListener, mailboxes: Vec<Mailbox>) {
    let mailboxes = Arc::new(mailboxes);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mailboxes = Arc::clone(&mailboxes);
            // A publisher that goes away in the middle of a request ends its own thread only.
            thread::spawn(move || answer_all(&stream, &mailboxes));
        }
    });
}

fn answer_all(stream: &TcpStream, mailboxes: &[Mailbox]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream);
    let mut output = stream;
    while let Some(request) = read_request(&mut input)? {
        let frames: Arc<[u8]> = request.frames().into();
        for mailbox in mailboxes {
            mailbox.post(Arc::clone(&frames))?;
        }
        output.write_all(OK)?;
    }
    Ok(())
}

struct Request {
    body: Vec<u8>,
    lines: bool,
}

impl Request {
    fn frames(&self) -> Vec<u8> {
        let mut frames = Vec::with_capacity(self.body.len() + 64);
        if !self.lines {
            wire::put_text(&mut frames, &self.body);
            return frames;
        }
        for line in self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            wire::put_text(&mut frames, line);
        }
        frames
    }
}

fn read_request(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let (mut body_bytes, mut lines) = (0, false);
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let header = line.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            body_bytes = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        lines |= header.starts_with("content-type:") && header.contains("x-ndjson");
    }
    if body_bytes > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; body_bytes];
    input.read_exact(&mut body)?;
    Ok(Some(Request { body, lines }))
}
