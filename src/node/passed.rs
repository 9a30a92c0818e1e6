//! What the sockets that systemd has passed are for, by their names, and why one is not taken. Must never touch a socket.

use super::NodeError;
use crate::sys::passed::{self, Kind, Passed};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// What came from systemd.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Where clients come in, in place of `--listen`; none where nothing of that kind came.
    pub(super) public: Vec<(OwnedFd, SocketAddr)>,
    /// Where the API is called, in place of `--api`.
    pub(super) api: Option<(OwnedFd, ApiSocket)>,
}

/// An API socket's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiSocket {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Why a descriptor is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// Its name says nothing.
    Unknown,
    /// It has no name of its own, and is not the only one.
    Ambiguous,
    /// It is no socket.
    NoSocket,
    /// It is a socket, but no stream.
    NoStream,
    /// It is a stream, but nobody can be accepted on it.
    NotListening,
    /// It is for clients, who come over TCP, and is something else.
    PublicNotTcp,
    /// It is for the API, and neither TCP nor a Unix socket.
    ApiNeither,
    /// It is for the API, and a Unix socket that is no file.
    ApiAbstract,
    /// It is for the API, and others than this host's programs can reach it.
    ApiReachable,
    /// There is one for the API already.
    ApiSecond,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "roost takes `public` and `api`: name it so with FileDescriptorName= in its .socket unit"
            }
            Self::Ambiguous => {
                "without a name of its own only a single one is taken, as `public`: \
                 set FileDescriptorName=public or FileDescriptorName=api in its .socket unit"
            }
            Self::NoSocket => "it is no socket: ListenStream= in a .socket unit makes one",
            Self::NoStream => "it is no stream: use ListenStream= in its .socket unit",
            Self::NotListening => "it does not listen: use ListenStream= with Accept=no in its .socket unit",
            Self::PublicNotTcp => {
                "clients come over TCP, and it is something else: use ListenStream=ADDRESS:PORT in its .socket unit"
            }
            Self::ApiNeither => {
                "it is neither TCP nor a Unix socket: \
                 use ListenStream=127.0.0.1:PORT or ListenStream=/PATH in its .socket unit"
            }
            Self::ApiAbstract => {
                "it is a Unix socket without a file, which nobody's rights guard: \
                 use ListenStream=/PATH in its .socket unit"
            }
            Self::ApiReachable => {
                "the API has no keys, and whoever reaches it may publish: \
                 use ListenStream=127.0.0.1:PORT or ListenStream=/PATH in its .socket unit"
            }
            Self::ApiSecond => {
                "there is one for the API already: leave one ListenStream= to FileDescriptorName=api"
            }
        })
    }
}

/// What a descriptor is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    Public(SocketAddr),
    Api(ApiSocket),
}

/// Takes what systemd has passed, if it has.
///
/// # Errors
/// The first descriptor that cannot be taken: a node that listens elsewhere than it was told to is worse than none.
pub(super) fn take() -> Result<Sockets, NodeError> {
    let told =
        |error| NodeError::System("LISTEN_FDS: the sockets that systemd is said to have passed", error);
    let taken = passed::take().map_err(told)?;
    let kinds = taken.iter().map(|one| passed::kind(&one.fd)).collect::<Result<Vec<_>, _>>().map_err(told)?;
    let labels: Vec<(RawFd, &str)> =
        taken.iter().map(|one| (one.fd.as_raw_fd(), one.name.as_str())).collect();
    let purposes = purposes(&labels, &kinds)?;
    let mut sockets = Sockets::default();
    for (Passed { fd, .. }, purpose) in taken.into_iter().zip(purposes) {
        match purpose {
            Purpose::Public(address) => sockets.public.push((fd, address)),
            Purpose::Api(place) => sockets.api = Some((fd, place)),
        }
    }
    Ok(sockets)
}

/// What descriptors with these numbers and names are for.
fn purposes(labels: &[(RawFd, &str)], kinds: &[Kind]) -> Result<Vec<Purpose>, NodeError> {
    let mut purposes = Vec::with_capacity(labels.len());
    for (&(number, name), kind) in labels.iter().zip(kinds) {
        let purpose = match name {
            PUBLIC => public(kind),
            API if purposes.iter().any(|one| matches!(one, Purpose::Api(_))) => Err(Misfit::ApiSecond),
            API => api(kind),
            name if !DEFAULTS.contains(&name) => Err(Misfit::Unknown),
            _ if labels.iter().any(|&other| is_public(other.1) && other.0 != number) => {
                Err(Misfit::Ambiguous)
            }
            _ => public(kind),
        };
        purposes.push(purpose.map_err(|misfit| NodeError::Passed(number, name.to_owned(), misfit))?);
    }
    Ok(purposes)
}

/// Whether a descriptor of this name is, or may be meant, for clients.
fn is_public(name: &str) -> bool {
    name == PUBLIC || DEFAULTS.contains(&name)
}

fn public(kind: &Kind) -> Result<Purpose, Misfit> {
    match kind {
        Kind::Tcp(address) => Ok(Purpose::Public(*address)),
        Kind::Unix(_) | Kind::Abstract | Kind::Other => Err(Misfit::PublicNotTcp),
        Kind::NoSocket | Kind::NoStream | Kind::NotListening => Err(unfit(kind)),
    }
}

fn api(kind: &Kind) -> Result<Purpose, Misfit> {
    match kind {
        Kind::Tcp(address) if !address.ip().is_loopback() => Err(Misfit::ApiReachable),
        Kind::Tcp(address) => Ok(Purpose::Api(ApiSocket::Tcp(*address))),
        Kind::Unix(path) => Ok(Purpose::Api(ApiSocket::Unix(path.clone()))),
        Kind::Abstract => Err(Misfit::ApiAbstract),
        Kind::Other => Err(Misfit::ApiNeither),
        Kind::NoSocket | Kind::NoStream | Kind::NotListening => Err(unfit(kind)),
    }
}

/// What is wrong with a descriptor whatever it is for.
fn unfit(kind: &Kind) -> Misfit {
    match kind {
        Kind::NoSocket => Misfit::NoSocket,
        Kind::NoStream => Misfit::NoStream,
        Kind::NotListening | Kind::Tcp(_) | Kind::Unix(_) | Kind::Abstract | Kind::Other => {
            Misfit::NotListening
        }
    }
}

const PUBLIC: &str = "public";
const API: &str = "api";
/// The names of a descriptor whose unit gives it none: that of the unit (systemd.socket(5)), and what stands where no names are
/// passed (sd_listen_fds(3)).
const DEFAULTS: [&str; 3] = ["roost.socket", "unknown", ""];

#[cfg(test)]
mod tests {
    use super::*;

    /// Descriptors by name and kind, from number 3 on.
    type Found<'a> = [(&'a str, Kind)];

    fn tcp(address: &str) -> Kind {
        Kind::Tcp(address.parse().unwrap())
    }

    fn of(found: &Found) -> Result<Vec<Purpose>, (RawFd, Misfit)> {
        let labels: Vec<(RawFd, &str)> =
            (3..).zip(found).map(|(number, (name, _))| (number, *name)).collect();
        let kinds: Vec<Kind> = found.iter().map(|(_, kind)| kind.clone()).collect();
        purposes(&labels, &kinds).map_err(|error| match error {
            NodeError::Passed(number, name, misfit) => {
                assert_eq!(name, found[number as usize - 3].0);
                (number, misfit)
            }
            other => panic!("{other}"),
        })
    }

    fn purpose_of_public(address: &str) -> Purpose {
        Purpose::Public(address.parse().unwrap())
    }

    #[test]
    fn names_say_what_descriptors_are_for_and_a_single_one_needs_none() {
        let one = purpose_of_public("0.0.0.0:80");
        for name in ["public", "roost.socket", "unknown", ""] {
            assert_eq!(of(&[(name, tcp("0.0.0.0:80"))]), Ok(vec![one.clone()]), "{name}");
        }
        let two = purpose_of_public("[::]:80");
        let passed = [("public", tcp("0.0.0.0:80")), ("public", tcp("[::]:80"))];
        assert_eq!(of(&passed), Ok(vec![one.clone(), two]));
        let file = Purpose::Api(ApiSocket::Unix("/run/roost/api.sock".into()));
        let passed = [("api", Kind::Unix("/run/roost/api.sock".into())), ("roost.socket", tcp("0.0.0.0:80"))];
        assert_eq!(of(&passed), Ok(vec![file, one]));
        let loopback = Purpose::Api(ApiSocket::Tcp("[::1]:8081".parse().unwrap()));
        assert_eq!(of(&[("api", tcp("[::1]:8081"))]), Ok(vec![loopback]));
        assert_eq!(of(&[]), Ok(vec![]));
    }

    #[test]
    fn each_wrong_descriptor_is_named_with_what_is_wrong() {
        let public = || ("public", tcp("0.0.0.0:80"));
        let api = || ("api", tcp("127.0.0.1:8081"));
        let cases: [(&Found, RawFd, Misfit); 14] = [
            (&[("edge.socket", tcp("0.0.0.0:80"))], 3, Misfit::Unknown),
            (&[public(), ("metrics", tcp("0.0.0.0:81"))], 4, Misfit::Unknown),
            (&[("unknown", tcp("0.0.0.0:80")), ("unknown", tcp("0.0.0.0:81"))], 3, Misfit::Ambiguous),
            (&[public(), ("roost.socket", tcp("0.0.0.0:81"))], 4, Misfit::Ambiguous),
            (&[("public", Kind::NoSocket)], 3, Misfit::NoSocket),
            (&[public(), ("api", Kind::NoSocket)], 4, Misfit::NoSocket),
            (&[("public", Kind::NoStream)], 3, Misfit::NoStream),
            (&[("api", Kind::NotListening)], 3, Misfit::NotListening),
            (&[("public", Kind::Unix("/run/x".into()))], 3, Misfit::PublicNotTcp),
            (&[("", Kind::Abstract)], 3, Misfit::PublicNotTcp),
            (&[("api", Kind::Other)], 3, Misfit::ApiNeither),
            (&[("api", Kind::Abstract)], 3, Misfit::ApiAbstract),
            (&[public(), ("api", tcp("10.0.0.1:8081"))], 4, Misfit::ApiReachable),
            (&[api(), public(), api()], 5, Misfit::ApiSecond),
        ];
        for (found, number, misfit) in cases {
            assert_eq!(of(found), Err((number, misfit)), "{found:?}");
        }
    }

    #[test]
    fn an_error_names_the_descriptor_by_number_and_name_and_the_line_of_the_unit_that_helps() {
        let error = NodeError::Passed(4, "metrics".into(), Misfit::Unknown).to_string();
        assert_eq!(
            error,
            "descriptor 4 (`metrics`) from systemd: roost takes `public` and `api`: \
             name it so with FileDescriptorName= in its .socket unit"
        );
    }
}
