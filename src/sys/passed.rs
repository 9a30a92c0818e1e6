//! Sockets that systemd has opened and passed to this process (sd_listen_fds(3)). Must never know what they are for.
#![allow(unsafe_code)]

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::{env, process};

/// One descriptor, under the name that its unit gives it (`FileDescriptorName=`).
#[derive(Debug)]
pub struct Passed {
    /// The descriptor, which no program that this process executes will inherit.
    pub fd: OwnedFd,
    /// Its name; `unknown` where whoever passed it gave none.
    pub name: String,
}

/// What a descriptor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Something else than a socket.
    NoSocket,
    /// A socket of datagrams or packets.
    NoStream,
    /// A stream on which nobody can be accepted.
    NotListening,
    /// Listens for TCP at this address.
    Tcp(SocketAddr),
    /// Listens on a Unix socket that is a file.
    Unix(PathBuf),
    /// Listens on a Unix socket that is none: its name is abstract, or it has none (unix(7)).
    Abstract,
    /// Listens for something that roost does not speak.
    Other,
}

/// Takes what was passed to this very process, which is nothing where nobody did. Asked a second time it has nothing: what
/// told of them is taken out of the environment.
///
/// To be called before the process has other threads, and before it opens descriptors of its own.
///
/// # Errors
/// When the environment contradicts itself, or names descriptors that are not open.
pub fn take() -> io::Result<Vec<Passed>> {
    // Looked at here: sd_notify holds the names against the number also where both are another process's.
    if env::var("LISTEN_PID").ok() != Some(process::id().to_string()) {
        return Ok(Vec::new());
    }
    // SAFETY: the environment is changed while this is the only thread: `node::run` calls this first of all.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }?;
    let own = |(fd, name)| {
        // SAFETY: the descriptor is open, or the call above had failed. By the protocol it belongs to the process whose id stands
        // beside it in the environment, this one, and to nobody in it yet.
        Passed { fd: unsafe { OwnedFd::from_raw_fd(fd) }, name }
    };
    Ok(passed.map(own).collect())
}

/// What a descriptor is, as the kernel says.
///
/// # Errors
/// When the kernel does not say.
pub fn kind(fd: &OwnedFd) -> io::Result<Kind> {
    let socket = SockRef::from(fd);
    match socket.r#type() {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => return Ok(Kind::NoSocket),
        Err(error) => return Err(error),
        Ok(kind) if kind != Type::STREAM => return Ok(Kind::NoStream),
        Ok(_) if !socket.is_listener()? => return Ok(Kind::NotListening),
        Ok(_) => {}
    }
    let address = socket.local_addr()?;
    let is_tcp = matches!(socket.protocol()?, Some(Protocol::TCP | Protocol::MPTCP));
    Ok(match address.as_socket() {
        Some(address) if is_tcp => Kind::Tcp(address),
        _ if address.domain() == Domain::UNIX => unix(&address),
        _ => Kind::Other,
    })
}

fn unix(address: &SockAddr) -> Kind {
    address.as_pathname().map_or(Kind::Abstract, |path| Kind::Unix(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::Socket;
    use std::fs::File;
    use std::net::{TcpListener, UdpSocket};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    fn kind_of(fd: impl Into<OwnedFd>) -> Kind {
        kind(&fd.into()).unwrap()
    }

    #[test]
    fn every_kind_of_descriptor_is_told_from_the_others() {
        assert_eq!(kind_of(File::open("/dev/null").unwrap()), Kind::NoSocket);
        assert_eq!(kind_of(UdpSocket::bind("127.0.0.1:0").unwrap()), Kind::NoStream);
        assert_eq!(kind_of(UnixDatagram::unbound().unwrap()), Kind::NoStream);
        assert_eq!(kind_of(UnixStream::pair().unwrap().0), Kind::NotListening);
        let silent = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        assert_eq!(kind_of(silent), Kind::NotListening);
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        assert_eq!(kind_of(tcp), Kind::Tcp(address));
    }

    #[test]
    fn a_unix_socket_is_told_by_its_path_and_one_without_a_path_as_abstract() {
        let path = std::env::temp_dir().join(format!("roost-passed-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(kind_of(listener), Kind::Unix(path.clone()));
        std::fs::remove_file(&path).unwrap();
        let name = format!("roost-passed-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        assert_eq!(kind_of(UnixListener::bind_addr(&address).unwrap()), Kind::Abstract);
    }
}
