//! For tests: somebody who publishes a key set, over HTTP or HTTPS, and can be told to publish another one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server; it ends with the process.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    answer: Arc<Mutex<String>>,
    /// The heads of all requests.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Publishes over plain HTTP.
    pub(super) fn plain(answer: &str) -> Self {
        Self::start(answer, None)
    }

    /// Publishes over HTTPS, with a certificate for `name`. Returns the certificate of whoever signed that, in DER.
    pub(super) fn tls(answer: &str, name: &str) -> (Self, Vec<u8>) {
        let (config, root) = tls_config(name);
        (Self::start(answer, Some(Arc::new(config))), root)
    }

    /// Publishes something else from now on.
    pub(super) fn publish(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }

    /// How many have asked.
    pub(super) fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// What the last one said.
    pub(super) fn last_head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn start(answer: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let server = Self { addr, answer: answer.clone(), heads: heads.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.lock().unwrap().clone();
                // Noted before it is answered: who has an answer finds its request here.
                let note = |head| heads.lock().unwrap().push(head);
                match &tls {
                    None => serve(stream, &answer, note),
                    Some(config) => {
                        let conn = ServerConnection::new(config.clone()).unwrap();
                        serve(StreamOwned::new(conn, stream), &answer, note)
                    }
                };
            }
        });
        server
    }
}

/// An answer with this status line, header lines and body.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// Reads a request's head, notes it, and answers it. None where the peer goes away before that, as one does that trusts nobody.
fn serve(mut stream: impl Read + Write + Ended, answer: &str, note: impl FnOnce(String)) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    note(String::from_utf8(head).ok()?);
    // A peer that has read enough may be gone.
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.flush();
    stream.end();
    Some(())
}

/// A stream that says goodbye, so that nobody waits for more.
trait Ended {
    fn end(&mut self);
}

impl Ended for TcpStream {
    fn end(&mut self) {
        let _ = self.shutdown(std::net::Shutdown::Write);
    }
}

impl Ended for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        self.sock.end();
    }
}

fn tls_config(name: &str) -> (ServerConfig, Vec<u8>) {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_cert = root.self_signed(&root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(root, root_key);
    let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .unwrap();
    (config, root_cert.der().to_vec())
}
