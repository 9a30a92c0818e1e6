//! A stream of events as it is written (the HTML standard, "Server-sent events"): lines of `field: value`, an empty line behind
//! each event. Must never know what an event says, nor who gets it.

/// The media type.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// A comment: it keeps the way open and means nothing.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// Appends one event. `put_id` appends what a client that comes back sends as `Last-Event-ID`: text without line ends.
///
/// A line end in `data` begins another `data` line, and the client joins them with LF: in JSON it can only stand between
/// tokens, where all white space means the same.
pub fn put_event(out: &mut Vec<u8>, kind: &str, data: &[u8], put_id: impl FnOnce(&mut Vec<u8>)) {
    out.reserve(data.len() + LINES_BYTES);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\nid: ");
    put_id(out);
    put_data(out, data);
    out.extend_from_slice(b"\n\n");
}

/// Appends an event that is no place to come back to.
pub fn put_passing_event(out: &mut Vec<u8>, kind: &str, data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    put_data(out, data);
    out.extend_from_slice(b"\n\n");
}

/// Appends the beginning: when to come back, and from where. There is no event in it, and yet the client remembers both.
pub fn put_opening(out: &mut Vec<u8>, retry_ms: u64, put_id: impl FnOnce(&mut Vec<u8>)) {
    put_retry_line(out, retry_ms);
    out.extend_from_slice(b"id: ");
    put_id(out);
    out.extend_from_slice(b"\n\n");
}

/// Appends only when to come back.
pub fn put_retry(out: &mut Vec<u8>, retry_ms: u64) {
    put_retry_line(out, retry_ms);
    out.push(b'\n');
}

fn put_retry_line(out: &mut Vec<u8>, retry_ms: u64) {
    out.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
}

fn put_data(out: &mut Vec<u8>, mut data: &[u8]) {
    loop {
        let end = data.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(data.len());
        let (line, rest) = data.split_at(end);
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
        match rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)) {
            Some(rest) => data = rest,
            None => return,
        }
    }
}

/// The longest kind, an id of one channel, and the names of the fields.
const LINES_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn id(out: &mut Vec<u8>) {
        out.extend_from_slice(b"E-1,F-2");
    }

    #[test]
    fn an_event_is_its_kind_its_place_and_its_data() {
        let event = text(|out| put_event(out, "gap", b"{}", id));
        assert_eq!(event, "event: gap\nid: E-1,F-2\ndata: {}\n\n");
        assert_eq!(text(|out| put_passing_event(out, "presence", b"{}")), "event: presence\ndata: {}\n\n");
    }

    #[test]
    fn every_line_end_in_the_data_begins_a_line_of_its_own() {
        for (data, lines) in [
            ("{\n}", "data: {\ndata: }"),
            ("{\r}", "data: {\ndata: }"),
            ("{\r\n}", "data: {\ndata: }"),
            ("{\n\r}", "data: {\ndata: \ndata: }"),
            ("{}\r\n", "data: {}\ndata: "),
            ("", "data: "),
        ] {
            let event = text(|out| put_passing_event(out, "k", data.as_bytes()));
            assert_eq!(event, format!("event: k\n{lines}\n\n"), "{data:?}");
        }
    }

    #[test]
    fn the_opening_holds_no_event() {
        assert_eq!(text(|out| put_opening(out, 1_500, id)), "retry: 1500\nid: E-1,F-2\n\n");
        assert_eq!(text(|out| put_retry(out, 20)), "retry: 20\n\n");
        assert_eq!(HEARTBEAT, b":\n\n");
    }
}
