//! Where a node listens. Must never accept.

use super::NodeError;
use super::passed::ApiSocket;
use crate::capacity::Plan;
use crate::config::{ApiAddr, Config};
use crate::control::Listener;
use crate::reactor::sharing::{Share, Sharing};
use crate::sys::listen::{SocketOptions, adopt_public, adopt_single, listen_sharded, listen_single};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

/// Where clients come in.
#[derive(Debug)]
pub(super) struct Public {
    /// What each shard listens on.
    pub(super) doors: Vec<Vec<(TcpListener, Option<Share>)>>,
    /// Where, each address once.
    pub(super) addresses: Vec<SocketAddr>,
}

/// Listens on what systemd has passed, or else where `--listen` says.
pub(super) fn listen_public(
    config: &Config,
    plan: Plan,
    passed: Vec<(OwnedFd, SocketAddr)>,
) -> Result<Public, NodeError> {
    let options = SocketOptions {
        send_buffer: config.send_buffer_bytes,
        receive_buffer: config.receive_buffer_bytes,
        notsent_lowat: config.notsent_lowat_bytes as u32,
        user_timeout: config.user_timeout,
    };
    if !passed.is_empty() {
        return share_out(passed, plan.shards, options);
    }
    let listeners = listen_sharded(config.listen, plan.shards, options)
        .map_err(|error| refused("--listen", config.listen.to_string(), error))?;
    let addresses = vec![local(&listeners[0], "--listen")?];
    Ok(Public { doors: listeners.into_iter().map(|one| vec![(one, None)]).collect(), addresses })
}

/// Gives each shard its part of the sockets that systemd has passed, by descriptors of its own, as its table may become its own.
fn share_out(
    passed: Vec<(OwnedFd, SocketAddr)>,
    shards: usize,
    options: SocketOptions,
) -> Result<Public, NodeError> {
    let mut public = Public { doors: (0..shards).map(|_| Vec::new()).collect(), addresses: Vec::new() };
    for (_, address) in &passed {
        if public.addresses.contains(address) {
            continue;
        }
        public.addresses.push(*address);
        let fault = |error| NodeError::Listen(FROM_SYSTEMD, address.to_string(), error);
        let there: Vec<&OwnedFd> = passed.iter().filter(|one| one.1 == *address).map(|one| &one.0).collect();
        if shards > there.len() && !shards.is_multiple_of(there.len()) {
            tracing::warn!(
                %address,
                shards,
                sockets = there.len(),
                "shards share the sockets from systemd unevenly: pass one, or as many as divide the number of shards"
            );
        }
        for (place, fd) in there.iter().enumerate() {
            let members: Vec<usize> =
                (0..shards).filter(|&shard| meet(place, there.len(), shard, shards)).collect();
            let sharing = Sharing::new(members.len());
            let listener = fd.try_clone().and_then(|fd| adopt_public(fd, options)).map_err(fault)?;
            for shard in members {
                let own = listener.try_clone().map_err(fault)?;
                public.doors[shard].push((own, Some(Share::of(&sharing))));
            }
        }
    }
    Ok(public)
}

/// Whether one of `sockets` sockets of one address is one of those that one of `shards` shards accepts from: each shard has one, or
/// several where there are more of them than shards; none is left out.
fn meet(socket: usize, sockets: usize, shard: usize, shards: usize) -> bool {
    shard % sockets == socket % shards
}

/// The API's listener and its address: what systemd has passed, or else where `--api` says.
pub(super) fn listen_api(
    config: &Config,
    passed: Option<(OwnedFd, ApiSocket)>,
) -> Result<(Listener, String), NodeError> {
    match passed {
        Some((fd, ApiSocket::Tcp(address))) => {
            let adopted = adopt_single(fd);
            let listener =
                adopted.map_err(|error| NodeError::Listen(FROM_SYSTEMD, address.to_string(), error))?;
            Ok((Listener::Tcp(mio::net::TcpListener::from_std(listener)), address.to_string()))
        }
        Some((fd, ApiSocket::Unix(path))) => {
            let address = format!("unix:{}", path.display());
            let adopted = adopt_single(fd);
            let listener =
                adopted.map_err(|error| NodeError::Listen(FROM_SYSTEMD, address.clone(), error))?;
            // Its file is systemd's, and stays.
            Ok((Listener::Unix(mio::net::UnixListener::from_std(listener), None), address))
        }
        None => listen_api_at(&config.api),
    }
}

fn listen_api_at(api: &ApiAddr) -> Result<(Listener, String), NodeError> {
    match api {
        ApiAddr::Tcp(address) => {
            let listener =
                listen_single(*address).map_err(|error| refused("--api", address.to_string(), error))?;
            let local = local(&listener, "--api")?.to_string();
            Ok((Listener::Tcp(mio::net::TcpListener::from_std(listener)), local))
        }
        ApiAddr::Unix(path) => {
            let address = format!("unix:{}", path.display());
            let listener = Listener::unix(path).map_err(|error| refused("--api", address.clone(), error))?;
            Ok((listener, address))
        }
    }
}

fn refused(option: &'static str, address: String, error: io::Error) -> NodeError {
    match error.kind() {
        io::ErrorKind::AddrInUse => NodeError::Taken(option, address),
        _ => NodeError::Listen(option, address, error),
    }
}

fn local(listener: &TcpListener, option: &'static str) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|error| NodeError::Listen(option, String::new(), error))
}

/// In place of the option that names an address.
const FROM_SYSTEMD: &str = "the socket from systemd at";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_a_socket_and_every_socket_a_shard_however_many_there_are() {
        for (shards, sockets) in (1..20).flat_map(|shards| (1..20).map(move |sockets| (shards, sockets))) {
            let met: Vec<Vec<bool>> = (0..shards)
                .map(|shard| (0..sockets).map(|socket| meet(socket, sockets, shard, shards)).collect())
                .collect();
            let of_shard = |shard: usize| met[shard].iter().filter(|&&one| one).count();
            let of_socket = |socket: usize| met.iter().filter(|row| row[socket]).count();
            let (least, most) = (sockets / shards, sockets.div_ceil(shards));
            assert!((0..shards).all(|shard| (least.max(1)..=most).contains(&of_shard(shard))));
            let (least, most) = (shards / sockets, shards.div_ceil(sockets));
            assert!((0..sockets).all(|socket| (least.max(1)..=most).contains(&of_socket(socket))));
        }
    }

    #[test]
    fn shards_share_one_socket_of_each_address_by_descriptors_of_their_own() {
        let options = SocketOptions {
            send_buffer: 65536,
            receive_buffer: 65536,
            notsent_lowat: 16384,
            user_timeout: std::time::Duration::from_secs(30),
        };
        let sockets = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| TcpListener::bind(address).unwrap());
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let passed = sockets.into_iter().map(OwnedFd::from).zip(addresses).collect();
        let public = share_out(passed, 3, options).unwrap();
        assert_eq!(public.addresses, addresses);
        assert_eq!(public.doors.len(), 3);
        for doors in &public.doors {
            let met: Vec<SocketAddr> = doors.iter().map(|(socket, _)| socket.local_addr().unwrap()).collect();
            assert_eq!(met, addresses);
            assert!(doors.iter().all(|(_, share)| share.is_some()));
        }
        let _client = std::net::TcpStream::connect(addresses[1]).unwrap();
        let accepted = public.doors.iter().flatten().filter(|(socket, _)| socket.accept().is_ok()).count();
        assert_eq!(accepted, 1);
    }
}
