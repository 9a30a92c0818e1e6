//! Listening sockets with every option set once: accepted sockets inherit them, so that a connection costs no
//! further system call. Must never accept.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What accepted sockets inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// `SO_SNDBUF` in bytes; the kernel doubles it for its own book-keeping (socket(7)).
    pub send_buffer: usize,
    /// `SO_RCVBUF` in bytes, doubled likewise.
    pub receive_buffer: usize,
    /// `TCP_NOTSENT_LOWAT` in bytes: how much unsent data the kernel takes before it says that it is full.
    pub notsent_lowat: u32,
    /// `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged before the connection is given up.
    pub user_timeout: Duration,
}

/// Clients that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`. mio's and std's own `bind` fix it
/// at 128: in a reconnect storm clients beyond that believe that they are connected, and nobody knows them.
const BACKLOG: i32 = 65_535;
/// Keepalive is only the safety net under the pings: first probe, pause, and number of probes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(120), Duration::from_secs(30), 4);

/// One listener for each shard, all on the same address; the kernel spreads clients over them (`SO_REUSEPORT`).
///
/// # Errors
/// `AddrInUse` when anyone else listens there, another node included.
pub fn listen_sharded(
    address: SocketAddr,
    count: usize,
    options: SocketOptions,
) -> io::Result<Vec<TcpListener>> {
    // With SO_REUSEPORT alone a second node would silently take half of the first one's clients.
    drop(bind(address, false)?);
    let mut listeners = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = bind(address, true)?;
        configure(&socket, options)?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        // Port 0 is the kernel's choice; the others follow the first.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// One listener for the API.
///
/// # Errors
/// `AddrInUse` when anyone else listens there.
pub fn listen_single(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address, false)?;
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a public listener of a socket that somebody else has bound, as one of our own would be.
///
/// # Errors
/// When the kernel refuses one of the options.
pub fn adopt_public(socket: OwnedFd, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    configure(&socket, options)?;
    // Once more: the backlog is ours from then on, and who waits already goes on waiting.
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a listener for the API, over TCP or a Unix socket, of a socket that somebody else has bound.
///
/// # Errors
/// When the kernel refuses.
pub fn adopt_single<L: From<OwnedFd>>(socket: OwnedFd) -> io::Result<L> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    if socket.domain()? != Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
    }
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn configure(socket: &Socket, options: SocketOptions) -> io::Result<()> {
    let (time, interval, retries) = KEEPALIVE;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(options.notsent_lowat)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    socket.set_send_buffer_size(options.send_buffer)?;
    socket.set_recv_buffer_size(options.receive_buffer)?;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::os::unix::net::UnixListener;

    const OPTIONS: SocketOptions = SocketOptions {
        send_buffer: 64 * 1024,
        receive_buffer: 32 * 1024,
        notsent_lowat: 16 * 1024,
        user_timeout: Duration::from_secs(30),
    };

    fn loopback() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[test]
    fn accepted_sockets_inherit_every_option() {
        inherits(&listen_sharded(loopback(), 1, OPTIONS).unwrap()[0]);
    }

    #[test]
    fn a_socket_of_somebody_else_gets_every_option_and_loses_nobody_who_waits() {
        let foreign = TcpListener::bind(loopback()).unwrap();
        let address = foreign.local_addr().unwrap();
        let early = TcpStream::connect(address).unwrap();
        let adopted = adopt_public(foreign.into(), OPTIONS).unwrap();
        let (_, peer) = adopted.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
        assert_eq!(adopted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        inherits(&adopted);
    }

    #[test]
    fn the_api_gets_a_socket_of_somebody_else_over_tcp_or_a_file() {
        let adopted: TcpListener = adopt_single(TcpListener::bind(loopback()).unwrap().into()).unwrap();
        assert_eq!(adopted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(SockRef::from(&adopted).tcp_nodelay().unwrap());
        let path = std::env::temp_dir().join(format!("roost-adopted-{}.sock", std::process::id()));
        let adopted: UnixListener = adopt_single(UnixListener::bind(&path).unwrap().into()).unwrap();
        assert_eq!(adopted.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        std::fs::remove_file(&path).unwrap();
    }

    fn inherits(listener: &TcpListener) {
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 16 * 1024);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        assert_eq!(accepted.send_buffer_size().unwrap(), 2 * 64 * 1024);
        assert_eq!(accepted.recv_buffer_size().unwrap(), 2 * 32 * 1024);
    }

    #[test]
    fn shards_share_a_port_but_not_with_another_node() {
        let listeners = listen_sharded(loopback(), 3, OPTIONS).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        let second = listen_sharded(address, 3, OPTIONS).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }
}
