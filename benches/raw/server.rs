//! The bare floor: accept, one read, a canned answer, then writes. One thread is one epoll set and one list of sockets.
//! Knows no protocol: it never parses, checks or queues anything. What a real server costs above this is its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, read, write};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with};
use socket2::{Domain, Socket, Type};

use super::wire;

const BACKLOG: i32 = 65_535;
const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 64 * 1024;
const PING_EVERY: Duration = Duration::from_secs(25);
const PING_TICK: Duration = Duration::from_millis(10);

/// What the floor does with a connection that has been upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers each masked frame of `size` payload bytes, told by the number of bytes alone, with a canned one.
    Echo {
        /// Payload bytes of each message.
        size: usize,
    },
    /// Writes what comes in the mail to every connection.
    Fanout,
    /// Writes a ping to every connection every 25 seconds, evenly spread, and reads the pong.
    IdlePing,
}

/// Where frames for all connections of one thread are put.
pub(crate) struct Mailbox {
    frames: Sender<Arc<[u8]>>,
    bell: Arc<OwnedFd>,
}

impl Mailbox {
    /// Hands over the bytes of one or more whole frames and wakes the thread.
    pub(crate) fn post(&self, frames: Arc<[u8]>) -> io::Result<()> {
        self.frames.send(frames).map_err(|_| io::ErrorKind::BrokenPipe)?;
        write(&self.bell, &1u64.to_ne_bytes())?;
        Ok(())
    }
}

/// One thread of the floor; everything it owns.
pub(crate) struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    bell: Arc<OwnedFd>,
    mail: Receiver<Arc<[u8]>>,
    mode: Mode,
    /// By descriptor number.
    slots: Vec<Slot>,
    /// All upgraded connections, dense, so that a fan-out is a plain loop.
    open: Vec<OwnedFd>,
    /// Where the next ping goes, and what is owed since the last one.
    hand: usize,
    pinged_at: Instant,
    canned: Canned,
    buffer: Vec<u8>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// Accepted, nothing read yet.
    New(OwnedFd),
    /// `index` in [`Floor::open`]; `rest` bytes of a frame that has not come whole.
    Open { index: u32, rest: u32 },
}

const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

impl Floor {
    /// A thread's share of the listening port, registered but not yet running. Call it in the thread that will run it
    /// when descriptor tables are private.
    pub(crate) fn new(listener: TcpListener, mail: Mail, mode: Mode) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &mail.bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            bell: mail.bell,
            mail: mail.frames,
            mode,
            slots: Vec::new(),
            open: Vec::new(),
            hand: 0,
            pinged_at: Instant::now(),
            canned: canned(mode),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// What `epoll_wait` or `accept` reported, apart from a full descriptor table, which ends accepting only.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let tick = Timespec { tv_sec: 0, tv_nsec: PING_TICK.as_nanos() as i64 };
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            // Without a connection it sleeps, and does not disturb the server that is measured in its place.
            let pings = self.mode == Mode::IdlePing && !self.open.is_empty();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), pings.then_some(&tick)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    BELL => self.fan_out()?,
                    fd => self.readable(fd as usize),
                }
            }
            if pings {
                self.ping();
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => {
                    let fd = socket.as_raw_fd() as usize;
                    epoll::add(
                        &self.epoll,
                        &socket,
                        epoll::EventData::new_u64(fd as u64),
                        // By edges: by level, the kernel looks at every socket again after it was reported.
                        epoll::EventFlags::IN | epoll::EventFlags::ET,
                    )?;
                    if fd >= self.slots.len() {
                        self.slots.resize_with(fd + 1, Slot::default);
                    }
                    self.slots[fd] = Slot::New(socket);
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::MFILE | Errno::NFILE) => {
                    eprintln!("raw: the descriptor table is full at {} connections", self.open.len());
                    epoll::delete(&self.epoll, &self.listener)?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn readable(&mut self, fd: usize) {
        match std::mem::take(&mut self.slots[fd]) {
            Slot::Empty => {}
            Slot::New(socket) => self.upgrade(fd, socket),
            Slot::Open { index, rest } => match receive(&self.open[index as usize], &mut self.buffer) {
                Ok(0) => self.close(index),
                Ok(bytes) => {
                    let rest = self.answer(index, rest as usize + bytes);
                    self.slots[fd] = Slot::Open { index, rest };
                }
                Err(Errno::AGAIN | Errno::INTR) => self.slots[fd] = Slot::Open { index, rest },
                Err(_) => self.close(index),
            },
        }
    }

    fn upgrade(&mut self, fd: usize, socket: OwnedFd) {
        // Whatever was read counts as a whole request; an end of stream or an error drops the socket here.
        if !matches!(receive(&socket, &mut self.buffer), Ok(bytes) if bytes > 0) {
            return;
        }
        if rustix::net::send(&socket, wire::SWITCHING, SendFlags::NOSIGNAL).is_err() {
            return;
        }
        if self.open.is_empty() {
            self.pinged_at = Instant::now();
        }
        self.slots[fd] = Slot::Open { index: self.open.len() as u32, rest: 0 };
        self.open.push(socket);
    }

    /// Answers `bytes` of masked frames and returns how many bytes were left over.
    fn answer(&mut self, index: u32, bytes: usize) -> u32 {
        if !matches!(self.mode, Mode::Echo { .. }) {
            return 0;
        }
        let canned = &self.canned;
        let count = bytes / canned.question_bytes;
        if count > 0 {
            send(self.open[index as usize].as_fd(), &canned.frames[..count * canned.answer_bytes]);
        }
        (bytes % canned.question_bytes) as u32
    }

    fn fan_out(&mut self) -> io::Result<()> {
        let mut rung = [0; 8];
        read(&self.bell, &mut rung[..])?;
        while let Ok(frames) = self.mail.try_recv() {
            for socket in &self.open {
                send(socket.as_fd(), &frames);
            }
        }
        Ok(())
    }

    /// Pings as many connections as the time since the last tick earns, so that a round takes [`PING_EVERY`].
    fn ping(&mut self) {
        let share = self.pinged_at.elapsed().as_secs_f64() / PING_EVERY.as_secs_f64();
        let due = (self.open.len() as f64 * share.min(1.0)) as usize;
        if due == 0 && !self.open.is_empty() {
            return;
        }
        self.pinged_at = Instant::now();
        for _ in 0..due {
            self.hand = (self.hand + 1) % self.open.len();
            send(self.open[self.hand].as_fd(), wire::PING);
        }
    }

    fn close(&mut self, index: u32) {
        self.open.swap_remove(index as usize);
        let Some(moved) = self.open.get(index as usize) else { return };
        if let Slot::Open { index: place, .. } = &mut self.slots[moved.as_raw_fd() as usize] {
            *place = index;
        }
    }
}

/// One read. `recv` and `send` are a little cheaper than `read` and `write`, which ask the file system first.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::net::recv(socket, buffer, RecvFlags::empty()).map(|(received, _)| received)
}

/// One write. A full socket loses the whole message, for the floor queues nothing; a short write would tear a frame, so
/// it is worth a line on standard error.
fn send(socket: BorrowedFd<'_>, bytes: &[u8]) {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) if sent < bytes.len() => eprintln!("raw: a frame was torn: {sent} of {} bytes", bytes.len()),
        // A socket that is full or gone: its own event tells.
        Ok(_) | Err(_) => {}
    }
}

/// As many answers as one read, and what was left over from the one before, can hold questions.
fn canned(mode: Mode) -> Canned {
    let Mode::Echo { size } = mode else { return Canned::default() };
    let mut frame = Vec::new();
    wire::put_text(&mut frame, &vec![b'x'; size]);
    let question_bytes = wire::masked_frame_bytes(size);
    Canned {
        frames: frame.repeat(READ_BYTES / question_bytes + 1),
        question_bytes,
        answer_bytes: frame.len(),
    }
}

#[derive(Default)]
struct Canned {
    frames: Vec<u8>,
    question_bytes: usize,
    answer_bytes: usize,
}

/// The receiving end of a [`Mailbox`].
pub(crate) struct Mail {
    frames: Receiver<Arc<[u8]>>,
    bell: Arc<OwnedFd>,
}

/// A mailbox and its receiving end. Made before descriptor tables part, so that the bell exists in both.
pub(crate) fn mailbox() -> io::Result<(Mailbox, Mail)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let (sender, receiver) = channel();
    Ok((Mailbox { frames: sender, bell: Arc::clone(&bell) }, Mail { frames: receiver, bell }))
}

/// Kernel buffers of each connection, in bytes; 0 leaves them to the kernel, which then adapts them as it goes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Buffers {
    /// `SO_SNDBUF`.
    pub(crate) send: usize,
    /// `SO_RCVBUF`.
    pub(crate) receive: usize,
}

/// `count` listeners that share one port (`SO_REUSEPORT`); port 0 takes a free one for all of them.
pub(crate) fn listen(address: SocketAddr, count: usize, buffers: Buffers) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit these, so they cost no system call per connection.
        socket.set_tcp_nodelay(true)?;
        if buffers.send > 0 {
            socket.set_send_buffer_size(buffers.send)?;
        }
        if buffers.receive > 0 {
            socket.set_recv_buffer_size(buffers.receive)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener: TcpListener = socket.into();
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}
