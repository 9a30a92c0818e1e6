//! Clients that were refused: they get 503 and the time to read it. Must never keep one for long, nor more than its bound.

use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::limits::{REFUSED_LINGER_MS, REFUSED_READS};
use crate::proto::answer::{Refusal, put_refusal};
use std::collections::VecDeque;
use std::io::ErrorKind;

/// Refused clients that may not have sent their request yet. Closing before they have makes the kernel send a reset
/// that can overtake the answer (RFC 9112 §9.6).
#[derive(Debug)]
pub struct Refused<S> {
    /// The one that has lingered longest comes first.
    lingering: VecDeque<Lingering<S>>,
    /// How many may linger.
    lingering_max: usize,
    /// When they are looked at next, in milliseconds since the node started. No poll knows them: it may be what there was
    /// no room in.
    look_ms: u64,
}

#[derive(Debug)]
struct Lingering<S> {
    socket: S,
    until_ms: u64,
}

/// Whether a client may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    Over,
}

impl<S: Socket> Refused<S> {
    /// Nobody yet; at most `lingering_max` at once.
    #[must_use]
    pub fn new(lingering_max: usize) -> Self {
        Self { lingering: VecDeque::new(), lingering_max, look_ms: 0 }
    }

    /// Whether nobody lingers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lingering.is_empty()
    }

    /// When it wants to look at them again, in milliseconds since the node started.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.look_ms)
    }

    /// Tells a client that there is no room, and lets it linger. Where too many do, the longest there goes.
    pub fn refuse(&mut self, now: Now, mut socket: S) {
        if answer(&mut socket) == Line::Over || self.lingering_max == 0 {
            return;
        }
        if self.lingering.len() >= self.lingering_max
            && let Some(mut first) = self.lingering.pop_front()
        {
            hear_out(&mut first.socket);
        }
        if self.is_empty() {
            self.look_ms = now.mono_ms + LOOK_MS;
        }
        self.lingering.push_back(Lingering { socket, until_ms: now.mono_ms + REFUSED_LINGER_MS });
    }

    /// Hears out who lingers, and lets those go that hung up or had their time.
    pub fn look(&mut self, now: Now) {
        if self.is_empty() || now.mono_ms < self.look_ms {
            return;
        }
        self.look_ms = now.mono_ms + LOOK_MS;
        self.lingering
            .retain_mut(|one| hear_out(&mut one.socket) == Line::Open && now.mono_ms < one.until_ms);
        if self.is_empty() {
            self.lingering = VecDeque::new();
        }
    }
}

/// Tells a client that there is no room, as well as it can be told without keeping it.
pub fn turn_away<S: Socket>(mut socket: S) {
    answer(&mut socket);
    hear_out(&mut socket);
}

/// The whole answer, and our end of the stream behind it.
fn answer(socket: &mut impl Socket) -> Line {
    let mut bytes = Vec::new();
    put_refusal(&mut bytes, &Refusal::unavailable());
    // An empty socket buffer takes so little at once. Whatever else fails, the client is gone already.
    let told = socket.write(&bytes).is_ok() && socket.shutdown_write().is_ok();
    if told { Line::Open } else { Line::Over }
}

/// Reads what has come, a bounded part of it.
fn hear_out(socket: &mut impl Socket) -> Line {
    let mut bytes = [0; 8 * 1024];
    for _ in 0..REFUSED_READS {
        match socket.read(&mut bytes) {
            Ok(0) => return Line::Over,
            Ok(count) if count < bytes.len() => return Line::Open,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Line::Open,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Line::Over,
        }
    }
    Line::Open
}

/// From one look to the next.
const LOOK_MS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LINGER_BYTES_MAX;
    use crate::reactor::fake::{Client, FakeStream, START, later};
    use std::rc::Rc;

    const REQUEST: &[u8] = b"GET /live HTTP/1.1\r\nHost: roost\r\n\r\n";

    fn client() -> (Rc<Client>, FakeStream) {
        let client = Rc::new(Client::default());
        (client.clone(), FakeStream(client))
    }

    #[test]
    fn a_request_that_comes_late_is_read_before_the_socket_is_closed() {
        let mut refused = Refused::new(8);
        let (slow, stream) = client();
        refused.refuse(START, stream);
        assert!(slow.is_refused() && !slow.closed.get());
        slow.sends.borrow_mut().extend(REQUEST);
        refused.look(later(START, LOOK_MS));
        assert!(slow.sends.borrow().is_empty() && !slow.closed.get(), "it was heard out, and may say more");
        slow.hung_up.set(true);
        refused.look(later(START, 2 * LOOK_MS));
        assert!(slow.closed.get() && refused.is_empty());
    }

    #[test]
    fn whoever_does_not_hang_up_is_gone_when_the_time_is_over_and_nothing_is_due_then() {
        let mut refused = Refused::new(8);
        assert_eq!(refused.due_ms(), None);
        let (silent, stream) = client();
        refused.refuse(START, stream);
        let mut now = START;
        while let Some(due_ms) = refused.due_ms() {
            assert!(due_ms > now.mono_ms, "it does not spin");
            assert!(!silent.closed.get());
            now.mono_ms = due_ms;
            refused.look(now);
        }
        assert!(silent.closed.get());
        assert_eq!(now.mono_ms - START.mono_ms, REFUSED_LINGER_MS);
    }

    #[test]
    fn more_than_the_bound_never_linger_and_the_longest_there_goes_first() {
        let mut refused = Refused::new(4);
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let (client, stream) = client();
                client.sends.borrow_mut().extend(REQUEST);
                refused.refuse(START, stream);
                client
            })
            .collect();
        let closed: Vec<bool> = clients.iter().map(|client| client.closed.get()).collect();
        assert_eq!(closed, [[true; 6].as_slice(), &[false; 4]].concat());
        assert!(clients.iter().all(|client| client.is_refused()));
        assert!(
            clients[..6].iter().all(|client| client.sends.borrow().is_empty()),
            "heard out before they go"
        );
    }

    #[test]
    fn without_a_place_to_linger_a_client_is_turned_away_at_once() {
        let (prompt, stream) = client();
        prompt.sends.borrow_mut().extend(REQUEST);
        turn_away(stream);
        assert!(prompt.is_refused() && prompt.closed.get() && prompt.sends.borrow().is_empty());
        let (none, stream) = client();
        let mut refused = Refused::new(0);
        refused.refuse(START, stream);
        assert!(none.is_refused() && none.closed.get() && refused.is_empty());
    }

    #[test]
    fn a_client_that_pours_without_end_is_read_within_bounds() {
        let mut refused = Refused::new(1);
        let (flood, stream) = client();
        refused.refuse(START, stream);
        let poured = 8 * LINGER_BYTES_MAX;
        flood.sends.borrow_mut().extend(std::iter::repeat_n(0, poured));
        let mut now = START;
        while let Some(due_ms) = refused.due_ms() {
            now.mono_ms = due_ms;
            refused.look(now);
        }
        let read = poured - flood.sends.borrow().len();
        assert!(flood.closed.get() && read <= 2 * LINGER_BYTES_MAX, "{read} bytes read");
    }
}
