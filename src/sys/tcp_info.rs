//! What the kernel knows of a TCP connection (tcp(7), `TCP_INFO`). Must never know whose connection it is.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd};

/// Bytes and time, as the kernel counted and measured them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// Payload bytes that the peer has acknowledged (Linux 4.1).
    pub acked_bytes: u64,
    /// Payload bytes that came from the peer (Linux 4.1).
    pub received_bytes: u64,
    /// Smoothed round-trip time, in microseconds.
    pub rtt_us: u32,
}

/// Asks the kernel: one system call.
///
/// # Errors
/// When `socket` is no TCP socket, or the kernel is older than the figures.
pub fn tcp_info(socket: &impl AsFd) -> io::Result<TcpInfo> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `info`, which has as many, and to `length` how many it wrote.
    // Both live until the call returns, and so does the descriptor, which is borrowed.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = offset_of!(libc::tcp_info, tcpi_bytes_received) + size_of::<u64>();
    if (length as usize) < wanted {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: the structure is made of integers, every value of which is one; what the kernel did not write is zero.
    let info = unsafe { info.assume_init() };
    Ok(TcpInfo {
        acked_bytes: info.tcpi_bytes_acked,
        received_bytes: info.tcpi_bytes_received,
        rtt_us: info.tcpi_rtt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn the_kernel_counts_payload_in_both_directions() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = tcp_info(&server).unwrap();
        assert_eq!((before.acked_bytes, before.received_bytes), (0, 0));
        server.write_all(&[1; 3000]).unwrap();
        client.read_exact(&mut [0; 3000]).unwrap();
        client.write_all(&[2; 50]).unwrap();
        server.read_exact(&mut [0; 50]).unwrap();
        let after = tcp_info(&server).unwrap();
        // The client's bytes carried its acknowledgement along.
        assert_eq!((after.acked_bytes, after.received_bytes), (3000, 50));
        assert!(after.rtt_us < 10_000_000, "{after:?}");
    }

    #[test]
    fn another_socket_has_none() {
        assert!(tcp_info(&UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
    }
}
