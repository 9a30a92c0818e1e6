//! Where the node listens: the two listeners' addresses as text. Must never know how a socket is made.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::value::{ValueError, text_in_toml};
use crate::limits::UNIX_PATH_BYTES_MAX;

/// The address of the public listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(pub SocketAddr);

impl FromStr for ListenAddr {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        typed.parse().map(Self).map_err(|_| ValueError {
            typed: typed.to_owned(),
            wanted: "an address",
            nearest: nearest_socket(typed, 8080, "0.0.0.0"),
            valid: "IP:PORT, such as `0.0.0.0:8080` or `[::]:8080`",
        })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_in_toml!(ListenAddr);

/// The address of the API listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAddr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket, of 1 to [`UNIX_PATH_BYTES_MAX`] bytes.
    Unix(PathBuf),
}

impl FromStr for ApiAddr {
    type Err = ValueError;

    fn from_str(typed: &str) -> Result<Self, ValueError> {
        let parsed = match typed.strip_prefix("unix:") {
            Some(path) => is_unix_path(path).then(|| Self::Unix(path.into())),
            None => typed.parse().ok().map(Self::Tcp),
        };
        parsed.ok_or_else(|| ValueError {
            typed: typed.to_owned(),
            wanted: "an address",
            nearest: nearest_api(typed),
            valid: "IP:PORT, such as `127.0.0.1:8081`, or unix:PATH with a path of 1 to 107 bytes",
        })
    }
}

impl fmt::Display for ApiAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

text_in_toml!(ApiAddr);

fn is_unix_path(path: &str) -> bool {
    (1..=UNIX_PATH_BYTES_MAX).contains(&path.len()) && !path.contains('\0') && !path.starts_with("//")
}

fn nearest_api(typed: &str) -> Option<String> {
    if let Some(path) = typed.strip_prefix("unix://").or(typed.starts_with('/').then_some(typed)) {
        let path = format!("/{}", path.trim_start_matches('/'));
        return (path.len() > 1 && is_unix_path(&path)).then(|| format!("unix:{path}"));
    }
    let typed = typed.strip_prefix("http://").unwrap_or(typed);
    nearest_socket(typed.trim_end_matches('/'), 8081, "127.0.0.1")
}

/// The address that was meant by a port alone, a host alone, or a name for this host.
fn nearest_socket(typed: &str, port: u16, host: &str) -> Option<String> {
    if let Ok(ip) = typed.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port).to_string());
    }
    let (name, port) = match typed.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()?),
        None => typed.parse().map_or((typed, port), |port| ("", port)),
    };
    let host = match name {
        "" => host,
        "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        name => name,
    };
    let addr: SocketAddr = format!("{host}:{port}").parse().ok()?;
    Some(addr.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_address_is_tcp_or_a_unix_socket_and_reads_back_as_written() {
        let tcp: ApiAddr = "127.0.0.1:8081".parse().unwrap();
        assert_eq!(tcp, ApiAddr::Tcp("127.0.0.1:8081".parse().unwrap()));
        let unix: ApiAddr = "unix:/run/roost/api.sock".parse().unwrap();
        assert_eq!(unix, ApiAddr::Unix("/run/roost/api.sock".into()));
        for addr in [tcp, unix, "[::1]:1".parse().unwrap(), "unix:relative".parse().unwrap()] {
            assert_eq!(addr.to_string().parse(), Ok(addr));
        }
    }

    #[test]
    fn a_unix_path_ends_where_the_kernel_ends_it() {
        let path = |bytes: usize| format!("unix:{}", "p".repeat(bytes)).parse::<ApiAddr>();
        assert!(path(0).is_err());
        assert!(path(UNIX_PATH_BYTES_MAX).is_ok());
        assert!(path(UNIX_PATH_BYTES_MAX + 1).is_err());
        assert!("unix:a\0b".parse::<ApiAddr>().is_err());
    }

    #[test]
    fn a_wrong_address_names_the_nearest_valid_one() {
        let listen = |typed: &str| typed.parse::<ListenAddr>().unwrap_err().nearest;
        let api = |typed: &str| typed.parse::<ApiAddr>().unwrap_err().nearest;
        for (typed, meant) in [
            (":9000", "0.0.0.0:9000"),
            ("9000", "0.0.0.0:9000"),
            ("*:9000", "0.0.0.0:9000"),
            ("localhost:9000", "127.0.0.1:9000"),
            ("localhost", "127.0.0.1:8080"),
            ("10.0.0.1", "10.0.0.1:8080"),
            ("::1", "[::1]:8080"),
        ] {
            assert_eq!(listen(typed).as_deref(), Some(meant), "{typed}");
        }
        for (typed, meant) in [
            (":9000", "127.0.0.1:9000"),
            ("/run/api.sock", "unix:/run/api.sock"),
            ("unix:///run/api.sock", "unix:/run/api.sock"),
            ("http://localhost:9000/", "127.0.0.1:9000"),
        ] {
            assert_eq!(api(typed).as_deref(), Some(meant), "{typed}");
        }
        for hopeless in ["example.org:80", "1.2.3.4:70000", "unix:", "unix://"] {
            assert_eq!(api(hopeless), None, "{hopeless}");
        }
    }
}
