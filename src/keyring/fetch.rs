//! One look at a key set: over HTTPS, over HTTP on this host, or in a file. Bounded in time and bytes, and never led anywhere
//! else. Must never know what a key is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::schedule::keep_s;
use crate::config::KeySetAddr;
use crate::limits::{KEY_SET_BYTES_MAX, KEY_SET_HEAD_BYTES_MAX};

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The set, not read yet; one byte more than [`KEY_SET_BYTES_MAX`] at most.
    pub(super) text: Vec<u8>,
    /// How many seconds it may be kept, where the answer says.
    pub(super) keep_s: Option<u64>,
}

/// Why nothing was found.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The file cannot be read.
    File(io::Error),
    /// This host trusts nobody: there are no certificates.
    NoRoots,
    /// Nobody answered in time, or not as HTTP or TLS asks for.
    Web(Box<ureq::Error>),
    /// Another status than 200.
    Status(u16),
}

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Roots {
    /// Those that this host believes, looked up at each fetch: they may change.
    Host,
    /// These alone, in DER.
    Only(Vec<Vec<u8>>),
}

/// Looks at the set at `addr`, which takes no longer than `within`.
///
/// # Errors
/// Why there is none to be had.
pub(super) fn fetch(addr: &KeySetAddr, roots: &Roots, within: Duration) -> Result<Found, FetchError> {
    match addr {
        KeySetAddr::None => Ok(Found { text: Vec::new(), keep_s: None }),
        KeySetAddr::File(path) => {
            read_file(path).map(|text| Found { text, keep_s: None }).map_err(FetchError::File)
        }
        KeySetAddr::Web(url) => get(url, roots, within),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(KEY_SET_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn get(url: &str, roots: &Roots, within: Duration) -> Result<Found, FetchError> {
    // A connection that is kept would be one more that some shard's descriptor table knows of.
    let agent = agent(url, roots, within)?;
    let mut answer = agent.get(url).call().map_err(web)?;
    if answer.status() != 200 {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let header = answer.headers().get("Cache-Control").and_then(|value| value.to_str().ok());
    let keep_s = header.and_then(keep_s);
    let body = answer.body_mut().with_config().limit(KEY_SET_BYTES_MAX as u64);
    Ok(Found { text: body.read_to_vec().map_err(web)?, keep_s })
}

fn agent(url: &str, roots: &Roots, within: Duration) -> Result<Agent, FetchError> {
    let over_tls = url.starts_with("https:");
    let certificates = if over_tls { certificates(roots)? } else { Vec::new() };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(over_tls)
        // What does not leave this host needs no proxy.
        .proxy(Proxy::try_from_env().filter(|_| over_tls))
        .timeout_global(Some(within))
        .max_redirects(0)
        .http_status_as_error(false)
        .max_response_header_size(KEY_SET_HEAD_BYTES_MAX)
        .user_agent(concat!("roost/", env!("CARGO_PKG_VERSION")))
        .accept("application/jwk-set+json, application/json")
        .build();
    Ok(config.new_agent())
}

fn certificates(roots: &Roots) -> Result<Vec<Certificate<'static>>, FetchError> {
    let der: Vec<Vec<u8>> = match roots {
        // Some that cannot be read do not matter: another one may do.
        Roots::Host => {
            rustls_native_certs::load_native_certs().certs.iter().map(|one| one.to_vec()).collect()
        }
        Roots::Only(der) => der.clone(),
    };
    if der.is_empty() {
        return Err(FetchError::NoRoots);
    }
    Ok(der.iter().map(|one| Certificate::from_der(one).to_owned()).collect())
}

fn web(error: ureq::Error) -> FetchError {
    FetchError::Web(Box::new(error))
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::NoRoots => f.write_str(
                "this host has no certificates to believe: install ca-certificates, or name a file of them in SSL_CERT_FILE",
            ),
            Self::Web(error) => write!(f, "{error}"),
            Self::Status(status @ 300..=399) => {
                write!(f, "the answer is {status}, which leads elsewhere: give the address that it leads to")
            }
            Self::Status(status) => write!(f, "the answer is {status}"),
        }
    }
}
