//! Where a node listens. Must never accept.

use super::NodeError;
use crate::capacity::Plan;
use crate::config::{ApiAddr, Config};
use crate::control::Listener;
use crate::sys::listen::{SocketOptions, listen_sharded, listen_single};
use std::io;
use std::net::{SocketAddr, TcpListener};

pub(super) fn listen_public(config: &Config, plan: Plan) -> Result<Vec<TcpListener>, NodeError> {
    let options = SocketOptions {
        send_buffer: config.send_buffer_bytes,
        receive_buffer: config.receive_buffer_bytes,
        notsent_lowat: config.notsent_lowat_bytes as u32,
        user_timeout: config.user_timeout,
    };
    listen_sharded(config.listen, plan.shards, options)
        .map_err(|error| refused("--listen", config.listen.to_string(), error))
}

pub(super) fn listen_api(config: &Config) -> Result<(Listener, String), NodeError> {
    match &config.api {
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

pub(super) fn local(listener: &TcpListener, option: &'static str) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|error| NodeError::Listen(option, String::new(), error))
}
