//! Steers newcomers within a group of listeners that share a port (`SO_REUSEPORT`): those whose shard is full get none.
//! Closing a full shard's listener instead would reset the clients that wait in its queue. Must never know why.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Lets the kernel choose by chance among the listeners of `open`: places in the order in which they began to listen.
/// One call to any listener of the group is in force for all of it, at once.
///
/// The program is classic BPF, which needs no privilege: socket(7), `SO_ATTACH_REUSEPORT_CBPF`.
///
/// # Errors
/// When the kernel refuses; `InvalidInput` when `open` is empty.
pub fn steer(listener: &impl AsFd, open: &[u16]) -> io::Result<()> {
    let program = program(open).ok_or(io::ErrorKind::InvalidInput)?;
    let fprog = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    set(listener, libc::SO_ATTACH_REUSEPORT_CBPF, &fprog)
}

/// Lets the kernel spread newcomers over all listeners again, by the hash of their addresses.
///
/// # Errors
/// When the kernel refuses, also when there was nothing to take back.
pub fn spread(listener: &impl AsFd) -> io::Result<()> {
    set(listener, SO_DETACH_REUSEPORT_BPF, &0i32)
}

fn set<T>(listener: &impl AsFd, option: i32, value: &T) -> io::Result<()> {
    let fd = listener.as_fd().as_raw_fd();
    let (pointer, length) = (std::ptr::from_ref(value).cast(), size_of::<T>() as u32);
    // SAFETY: `pointer` is valid for reads of `length` bytes for the whole call, and so is the program that a
    // `sock_fprog` points to, which the caller keeps alive; the kernel copies both and writes to neither.
    match unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, pointer, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `A = random mod count; return open[A]`, the table written out as comparisons.
fn program(open: &[u16]) -> Option<Vec<libc::sock_filter>> {
    let count = u32::try_from(open.len()).ok().filter(|&count| count > 0)?;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let mut program = vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, random),
        step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, count),
    ];
    for (index, &place) in (0..count).zip(open) {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, index));
        program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, place.into()));
    }
    // Not reached; a program has to end in a return.
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, open[0].into()));
    Some(program)
}

/// asm-generic/socket.h; the libc crate lacks it for some targets.
const SO_DETACH_REUSEPORT_BPF: i32 = 68;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listen::{SocketOptions, listen_sharded};
    use std::net::TcpStream;
    use std::time::Duration;

    #[test]
    fn only_open_listeners_get_newcomers_and_waiting_clients_stay_where_they_are() {
        let options = SocketOptions {
            send_buffer: 65536,
            receive_buffer: 65536,
            notsent_lowat: 16384,
            user_timeout: Duration::from_secs(30),
        };
        let listeners = listen_sharded(([127, 0, 0, 1], 0).into(), 3, options).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let clients =
            |count: usize| -> Vec<_> { (0..count).map(|_| TcpStream::connect(address).unwrap()).collect() };
        let accepted = || -> Vec<usize> {
            listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect()
        };
        let _waiting = clients(30);
        steer(&listeners[0], &[1]).unwrap();
        let _steered = clients(60);
        let counts = accepted();
        assert_eq!(counts.iter().sum::<usize>(), 90, "nobody is lost");
        assert!(counts[1] >= 60, "{counts:?}");
        steer(&listeners[2], &[0, 2]).unwrap();
        let _steered = clients(60);
        let counts = accepted();
        assert!(counts[0] > 5 && counts[1] == 0 && counts[2] > 5, "{counts:?}");
        spread(&listeners[0]).unwrap();
        let _spread = clients(90);
        assert!(accepted().iter().all(|&count| count > 5));
        assert!(steer(&listeners[0], &[]).is_err());
    }
}
