//! How the clients of a run behave once they are connected: what a profile tells the crowd. Must never know a socket.

use super::client::End;

/// The few bytes that each client has for its profile.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Note {
    /// A time in nanoseconds since the run began, or whatever else the profile keeps.
    pub(super) mark: u64,
    /// Messages in flight, or whatever else the profile keeps.
    pub(super) count: u16,
}

/// What a client's turn may use.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    /// Nanoseconds since the run began, read after the bytes came.
    pub(super) now_ns: u64,
    /// Whether latencies are recorded now, and not during warm-up.
    pub(super) recording: bool,
    /// Whole frames to be written to this client when its turn ends.
    pub(super) out: &'a mut Vec<u8>,
    /// Messages counted.
    pub(super) delivered: &'a mut u64,
    /// Clients that have nothing left to do.
    pub(super) finished: &'a mut u64,
}

/// What should have come and what did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// What should have come.
    pub(super) expected: String,
    /// What came.
    pub(super) came: String,
}

/// The part of one thread's clients in a profile. Every thread has its own value; they are added up afterwards.
pub(super) trait Conduct: Send + 'static {
    /// A client is connected, upgraded and, where it waits for an answer to its subscription, subscribed. `note.mark` is
    /// when its connect began.
    fn joined(&mut self, note: &mut Note, desk: &mut Desk<'_>) {
        let _ = desk;
        *note = Note::default();
    }

    /// The run begins for a client that has joined.
    fn open(&mut self, client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        let _ = (client, note, desk);
    }

    /// When the next client has a turn of its own, in nanoseconds since the run began; `None` where messages alone move
    /// them.
    fn due_ns(&self) -> Option<u64> {
        None
    }

    /// A client whose turn has come, if there is one.
    fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        let _ = now_ns;
        None
    }

    /// The turn of a client that [`Self::take_due`] named.
    fn turn(&mut self, client: u32, note: &mut Note, desk: &mut Desk<'_>) {
        let _ = (client, note, desk);
    }

    /// A message came for a client that has joined.
    ///
    /// # Errors
    /// It is not the one that should have come. The client stays.
    fn message(
        &mut self,
        client: u32,
        note: &mut Note,
        text: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), Mismatch>;

    /// The server pinged; the answer has been prepared.
    fn pinged(&mut self, desk: &mut Desk<'_>) {
        let _ = desk;
    }

    /// Whether this client reads during the run.
    fn reads(&self, client: u32) -> bool {
        let _ = client;
        true
    }

    /// A client that had joined hangs up, for the run is over.
    ///
    /// # Errors
    /// It did not get what it should have got.
    fn leaving(&self, client: u32, note: &Note) -> Result<(), Mismatch> {
        let _ = (client, note);
        Ok(())
    }

    /// A client that had joined lost its connection before the crowd left, in this way. `true`: that was to be expected.
    fn lost(&mut self, client: u32, note: &mut Note, end: &End, desk: &mut Desk<'_>) -> bool {
        let _ = (client, note, end, desk);
        false
    }
}
