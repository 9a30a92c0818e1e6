//! A stream of events as a browser reads it (the HTML standard, "Interpreting an event stream"), said the slow way: it is not
//! the node's own.

/// What has come of a stream.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The line that is not whole yet.
    line: Vec<u8>,
    /// A CR ended the last line: a LF right behind it belongs to that.
    after_cr: bool,
    block: Block,
    /// The buffers of the standard. The last `id` outlives its block.
    kind: String,
    data: String,
}

/// What stands between two empty lines.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) retry_ms: Option<u64>,
    pub(crate) event: Option<Event>,
    pub(crate) comments: usize,
    /// Bytes on the wire.
    pub(crate) length: usize,
}

/// What a page's listener gets.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl Events {
    /// Reads on; returns the blocks that are whole now.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Block> {
        bytes.iter().filter_map(|&byte| self.byte(byte)).collect()
    }

    /// Whether a block has begun. What never gets its empty line is thrown away.
    pub(crate) fn is_within(&self) -> bool {
        self.block.length > 0
    }

    fn byte(&mut self, byte: u8) -> Option<Block> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        if after_cr && byte == b'\n' {
            return None;
        }
        self.block.length += 1;
        if byte != b'\r' && byte != b'\n' {
            self.line.push(byte);
            return None;
        }
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("a stream is UTF-8");
        if line.is_empty() {
            return Some(self.dispatch());
        }
        self.field(&line);
        None
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.block.comments += 1,
            "event" => self.kind = value.to_owned(),
            "data" => self.data += &format!("{value}\n"),
            "id" if !value.contains('\0') => self.block.id = Some(value.to_owned()),
            "retry" => self.block.retry_ms = Some(value.parse().expect("a number of milliseconds")),
            _ => panic!("no browser knows the field {line:?}"),
        }
    }

    fn dispatch(&mut self) -> Block {
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        let mut block = std::mem::take(&mut self.block);
        if data.pop().is_some() {
            block.event = Some(Event { kind, data });
        }
        block
    }
}
