//! Accepts, and knows what it means when that fails. Must never spin, never stop listening because a descriptor is missing,
//! and never know what becomes of a newcomer.

use super::complaint::Complaint;
use super::refused::turn_away;
use super::reserve::Reserve;
use super::sharing::Queue;
use crate::clock::Now;
use crate::conn::socket::Socket;
use crate::limits::ACCEPT_BUDGET;
use mio::net::{TcpListener, TcpStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::sync::Arc;

/// Where clients wait: a listening socket, or what a test puts in its place.
pub trait Accept {
    /// A client's socket.
    type Stream: Socket;

    /// The client that has waited longest.
    ///
    /// # Errors
    /// `WouldBlock` when nobody waits; the others are listed in accept(2).
    fn accept(&self) -> io::Result<Self::Stream>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn accept(&self) -> io::Result<TcpStream> {
        TcpListener::accept(self).map(|(stream, _)| stream)
    }
}

impl Queue for TcpListener {
    fn has_someone(&self) -> bool {
        let mut asked = [PollFd::new(self, PollFlags::IN)];
        // Where poll(2) itself fails, accept(2) tells.
        poll(&mut asked, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }
}

/// What became of the next client.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<S> {
    /// Here it is.
    Newcomer(S),
    /// There was no descriptor or memory to keep it; it has been told so.
    Refused,
    /// It went away while it waited.
    Gone,
    /// Nobody waits, or nobody can be accepted before [`Acceptor::due_ms`].
    Nobody,
}

/// What an error of accept(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Nobody waits.
    Empty,
    /// This client is gone; the next one may be there.
    Gone,
    /// A descriptor or memory is missing, and the client still waits.
    Short,
    /// Nothing that a client or a full host brings about.
    Broken,
}

/// Accepts from one listener, for one thread.
#[derive(Debug)]
pub struct Acceptor<A> {
    source: A,
    reserve: Arc<Reserve>,
    complaint: Arc<Complaint>,
    /// Clients may be waiting that the poll will not mention again: it is edge-triggered.
    more: bool,
    /// Not before this moment, in milliseconds since the node started.
    paused_until_ms: u64,
    /// Clients in a row that were gone.
    gone: usize,
}

impl<A: Accept> Acceptor<A> {
    /// For a listener whose edges the poll reports. Some may be waiting already.
    #[must_use]
    pub fn new(source: A, reserve: Arc<Reserve>, complaint: Arc<Complaint>) -> Self {
        Self { source, reserve, complaint, more: true, paused_until_ms: 0, gone: 0 }
    }

    /// The listener.
    #[must_use]
    pub fn source(&self) -> &A {
        &self.source
    }

    /// The listener, to register it.
    pub fn source_mut(&mut self) -> &mut A {
        &mut self.source
    }

    /// Accepts no more.
    #[must_use]
    pub fn into_source(self) -> A {
        self.source
    }

    /// Takes the spare descriptor, in the table of the thread that accepts.
    pub fn open_reserve(&self) {
        self.reserve.open();
    }

    /// The poll says that someone is waiting.
    pub fn ready(&mut self) {
        self.more = true;
    }

    /// When it wants to accept again, in milliseconds since the node started.
    #[must_use]
    pub fn due_ms(&self, now: Now) -> Option<u64> {
        self.more.then(|| self.paused_until_ms.max(now.mono_ms))
    }

    /// Somebody waits who is not to be accepted before this moment.
    pub fn put_off(&mut self, until_ms: u64) {
        self.paused_until_ms = until_ms;
    }

    /// Nobody waits: the poll will say when somebody does.
    pub fn rest(&mut self) {
        (self.more, self.gone) = (false, 0);
    }

    /// Looks for the next client. Goes on until it says [`Arrival::Nobody`], or the caller's budget is used up.
    pub fn next(&mut self, now: Now) -> Arrival<A::Stream> {
        if !self.more || now.mono_ms < self.paused_until_ms {
            return Arrival::Nobody;
        }
        match self.reserve.accept(|| self.source.accept()) {
            Ok(stream) => {
                self.gone = 0;
                Arrival::Newcomer(stream)
            }
            Err(error) => match Failure::of(&error) {
                Failure::Empty => self.nobody(),
                Failure::Gone => self.gone(now, &error),
                Failure::Short => self.refuse(now, &error),
                Failure::Broken => self.pause(now, &error),
            },
        }
    }

    /// Where the caller complains of newcomers that it refuses itself.
    #[must_use]
    pub fn complaint(&self) -> &Complaint {
        &self.complaint
    }

    /// Accepts a client in the place of the spare descriptor, which is free again when it has been turned away.
    fn refuse(&mut self, now: Now, error: &io::Error) -> Arrival<A::Stream> {
        match self.reserve.lend(|| self.source.accept().map(turn_away)) {
            Ok(()) => {
                self.gone = 0;
                self.complaint.refused(now, error);
                Arrival::Refused
            }
            Err(error) => match Failure::of(&error) {
                Failure::Empty => self.nobody(),
                Failure::Gone => self.gone(now, &error),
                // Not even that can be accepted: clients wait until something is free.
                Failure::Short | Failure::Broken => self.pause(now, &error),
            },
        }
    }

    fn nobody(&mut self) -> Arrival<A::Stream> {
        self.rest();
        Arrival::Nobody
    }

    fn gone(&mut self, now: Now, error: &io::Error) -> Arrival<A::Stream> {
        self.gone += 1;
        // So many in a row: the kernel does not mean clients.
        if self.gone > ACCEPT_BUDGET { self.pause(now, error) } else { Arrival::Gone }
    }

    fn pause(&mut self, now: Now, error: &io::Error) -> Arrival<A::Stream> {
        self.complaint.waiting(now, error);
        self.paused_until_ms = now.mono_ms + ACCEPT_PAUSE_MS;
        self.gone = 0;
        Arrival::Nobody
    }
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::Empty,
            // accept(2): what the network has to say about this client, "should be treated like EAGAIN by retrying".
            Some(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH,
            ) => Self::Gone,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => Self::Short,
            // EPERM among them: a security module refuses before it takes the client off the queue.
            Some(_) | None => Self::Broken,
        }
    }
}

/// How long nobody is accepted once not even a client to be refused can be.
const ACCEPT_PAUSE_MS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::fake::{START, Script, later};
    use std::rc::Rc;

    const SHORT: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];

    fn acceptor() -> (Acceptor<Rc<Script>>, Rc<Script>) {
        let script = Rc::new(Script::default());
        (Acceptor::new(script.clone(), Arc::default(), Arc::default()), script)
    }

    #[test]
    fn every_error_of_accept_has_its_meaning() {
        let of = |errno: Errno| Failure::of(&errno.into());
        assert_eq!(of(Errno::AGAIN), Failure::Empty);
        assert_eq!(of(Errno::WOULDBLOCK), Failure::Empty);
        for errno in [Errno::INTR, Errno::CONNABORTED, Errno::PROTO, Errno::HOSTUNREACH, Errno::NETDOWN] {
            assert_eq!(of(errno), Failure::Gone, "{errno}");
        }
        for errno in SHORT {
            assert_eq!(of(errno), Failure::Short, "{errno}");
        }
        for errno in [Errno::PERM, Errno::ACCESS, Errno::BADF, Errno::INVAL, Errno::NOSYS] {
            assert_eq!(of(errno), Failure::Broken, "{errno}");
        }
        assert_eq!(Failure::of(&io::Error::other("no number")), Failure::Broken);
    }

    #[test]
    fn a_client_that_no_descriptor_is_left_for_is_told_so_and_the_next_one_may_come_in() {
        for errno in SHORT {
            let (mut acceptor, script) = acceptor();
            script.fails(errno);
            let refused = script.knocks();
            let welcome = script.knocks();
            assert_eq!(acceptor.next(START), Arrival::Refused, "{errno}");
            assert!(refused.is_refused() && refused.closed.get(), "{errno}: {refused:?}");
            assert_eq!(acceptor.due_ms(START), Some(START.mono_ms), "others may wait: no edge will say so");
            let Arrival::Newcomer(stream) = acceptor.next(START) else { panic!("{errno}: nobody came in") };
            assert!(Rc::ptr_eq(&stream.0, &welcome) && !welcome.closed.get());
            assert_eq!(acceptor.next(START), Arrival::Nobody);
            assert_eq!(acceptor.due_ms(START), None, "the next edge wakes it");
        }
    }

    #[test]
    fn where_not_even_a_client_to_refuse_can_be_accepted_it_pauses_and_tries_again_by_itself() {
        for (first, second) in
            [(Errno::MFILE, Errno::MFILE), (Errno::NOMEM, Errno::NFILE), (Errno::MFILE, Errno::PERM)]
        {
            let (mut acceptor, script) = acceptor();
            script.fails(first);
            script.fails(second);
            let patient = script.knocks();
            assert_eq!(acceptor.next(START), Arrival::Nobody);
            let due = later(START, ACCEPT_PAUSE_MS);
            assert_eq!(acceptor.due_ms(START), Some(due.mono_ms));
            let asked = script.asked.get();
            acceptor.ready();
            assert_eq!(acceptor.next(later(START, ACCEPT_PAUSE_MS - 1)), Arrival::Nobody);
            assert_eq!(script.asked.get(), asked, "a pause is a pause, also when more clients come");
            let Arrival::Newcomer(stream) = acceptor.next(due) else { panic!("nobody came in") };
            assert!(Rc::ptr_eq(&stream.0, &patient));
        }
    }

    #[test]
    fn a_listener_that_fails_for_no_known_reason_is_asked_once_a_pause() {
        let (mut acceptor, script) = acceptor();
        (0..100).for_each(|_| script.fails(Errno::PERM));
        for ms in 0..1000 {
            acceptor.next(later(START, ms));
        }
        assert_eq!(script.asked.get() as u64, 1000 / ACCEPT_PAUSE_MS);
    }

    #[test]
    fn clients_that_are_gone_are_passed_over_but_not_without_end() {
        let (mut acceptor, script) = acceptor();
        script.fails(Errno::CONNABORTED);
        script.fails(Errno::INTR);
        let client = script.knocks();
        assert_eq!((acceptor.next(START), acceptor.next(START)), (Arrival::Gone, Arrival::Gone));
        let Arrival::Newcomer(stream) = acceptor.next(START) else { panic!("nobody came in") };
        assert!(Rc::ptr_eq(&stream.0, &client));
        (0..=ACCEPT_BUDGET).for_each(|_| script.fails(Errno::CONNABORTED));
        let gone = (0..=ACCEPT_BUDGET).filter(|_| acceptor.next(START) == Arrival::Gone).count();
        assert_eq!(gone, ACCEPT_BUDGET);
        assert_eq!(acceptor.due_ms(START), Some(START.mono_ms + ACCEPT_PAUSE_MS));
    }

    #[test]
    fn a_client_that_left_before_it_could_be_refused_is_nobody() {
        let (mut acceptor, script) = acceptor();
        script.fails(Errno::MFILE);
        assert_eq!((acceptor.next(START), acceptor.due_ms(START)), (Arrival::Nobody, None));
        acceptor.ready();
        script.fails(Errno::MFILE);
        script.fails(Errno::CONNABORTED);
        assert_eq!(acceptor.next(START), Arrival::Gone);
    }
}
