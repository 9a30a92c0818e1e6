//! Who waits for the outcome of a publication. Must never know what became of it.

use super::conn_key::ConnKey;

/// The `id` of a request, to be echoed: the client's JSON.
pub type RequestId = Option<Box<str>>;

/// Who waits for the outcome of a publication.
#[derive(Debug)]
pub enum Publisher {
    /// A client.
    Conn(ConnKey, RequestId),
    /// A call of the API: its ticket, and which of the call's publications this is.
    Call {
        /// The call.
        ticket: u64,
        /// Counted from 0.
        index: u32,
        /// By which a second one of the channel is taken for the same. A client has none: the `id` of its request only comes
        /// back.
        id: Option<Box<str>>,
    },
}

impl Publisher {
    /// Bytes on the heap: what it sent along.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let (Self::Conn(_, id) | Self::Call { id, .. }) = self;
        id.as_ref().map_or(0, |id| id.len())
    }

    /// Takes out what a second attempt is known by.
    pub fn take_id(&mut self) -> Option<Box<str>> {
        match self {
            Self::Conn(..) => None,
            Self::Call { id, .. } => id.take(),
        }
    }
}
