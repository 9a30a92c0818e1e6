//! The whole way of a key set: from whoever publishes it, over HTTPS, HTTP or a file, into force and out again.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Instant;

use super::scratch::Scratch;
use super::server::{Server, answer};
use super::*;
use crate::limits::{KEY_SET_BYTES_MAX, KEY_SET_PAUSE_MS};

const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"ec","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
/// Longer than anything here takes, to tell an answer from none.
const PATIENCE: Duration = Duration::from_secs(30);

fn set(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn good(keys: &[&str]) -> String {
    answer("200 OK", "Cache-Control: max-age=86400\r\n", &set(keys))
}

fn secret() -> Key {
    Key::from_secret(b"a secret of thirty-two bytes, or more").unwrap().named("fixed").unwrap()
}

fn web(url: impl Into<String>) -> KeySetAddr {
    let url: String = url.into();
    url.parse().unwrap()
}

fn names(keys: &Keys) -> Vec<&str> {
    keys.as_slice().iter().flat_map(Key::kid).collect()
}

/// What a look says of a set there.
fn complaint(addr: &KeySetAddr, roots: &Roots) -> String {
    find(addr, roots, b"").map(drop).unwrap_err().to_string()
}

#[test]
fn keys_of_the_configuration_and_of_the_set_are_in_force_together() {
    let server = Server::plain(&good(&[ED, r#"{"kty":"oct","k":"c2VjcmV0"}"#, EC]));
    let addr = web(format!("http://{}/keys?tenant=7", server.addr));
    let (keyring, asker) = Keyring::open(vec![secret()], addr, Roots::Host);
    assert_eq!(names(&keyring.keys()), ["fixed", "ed", "ec"]);
    assert_eq!(keyring.keys().version(), 1);
    assert_eq!(asker.looks(), (1, 0));
    let head = server.last_head();
    assert!(head.starts_with("GET /keys?tenant=7 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("application/jwk-set+json"), "{head}");
}

#[test]
fn without_a_set_the_keys_of_the_configuration_are_in_force() {
    let (keyring, asker) = Keyring::open(vec![secret()], KeySetAddr::None, Roots::Host);
    assert_eq!((names(&keyring.keys()), keyring.keys().version()), (vec!["fixed"], 0));
    keyring.watch(|_| panic!("nothing changes")).unwrap();
    asker.ask();
    assert_eq!(asker.looks(), (0, 0));
}

#[test]
fn a_set_that_says_the_same_changes_nothing_and_another_one_has_the_next_version() {
    let server = Server::plain(&good(&[ED]));
    let (mut keyring, _asker) = Keyring::open(vec![], web(format!("http://{}/", server.addr)), Roots::Host);
    let first = keyring.keys();
    assert!(!keyring.look());
    assert!(Arc::ptr_eq(&first, &keyring.keys()));
    server.publish(&good(&[EC]));
    assert!(keyring.look());
    assert_eq!((names(&keyring.keys()), keyring.keys().version()), (vec!["ec"], 2));
    assert_eq!(names(&first), ["ed"], "who has the old ones has them still");
}

#[test]
fn the_keys_of_before_stay_in_force_whatever_is_published_instead() {
    let server = Server::plain(&good(&[ED]));
    let addr = web(format!("http://{}/", server.addr));
    let (mut keyring, asker) = Keyring::open(vec![secret()], addr, Roots::Host);
    for (wrong, failed) in [
        answer("503 Service Unavailable", "", &set(&[EC])),
        answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
        answer("200 OK", "", "<html>maintenance</html>"),
        answer("200 OK", "", &set(&[])),
        answer("200 OK", "", &set(&[r#"{"kty":"oct","k":"c2VjcmV0"}"#])),
        answer("200 OK", "", ""),
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"keys\"".to_owned(),
        "SSH-2.0-OpenSSH\r\n".to_owned(),
        String::new(),
    ]
    .into_iter()
    .zip(1..)
    {
        server.publish(&wrong);
        assert!(!keyring.look(), "{wrong}");
        assert_eq!(names(&keyring.keys()), ["fixed", "ed"], "{wrong}");
        assert_eq!(asker.looks(), (1, failed), "{wrong}");
        assert!(keyring.schedule.wait_ms(keyring.now_ms()) > 0, "it is not tried again at once");
    }
    server.publish(&good(&[EC]));
    assert!(keyring.look());
    assert_eq!(names(&keyring.keys()), ["fixed", "ec"]);
}

#[test]
fn a_node_starts_although_its_set_is_not_to_be_had() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (keyring, asker) = Keyring::open(vec![secret()], web(format!("http://{nobody}/")), Roots::Host);
    assert_eq!((names(&keyring.keys()), asker.looks()), (vec!["fixed"], (0, 1)));
}

#[test]
fn over_https_only_who_has_a_certificate_for_the_name_from_somebody_trusted_is_believed() {
    let (server, root) = Server::tls(&good(&[ED]), "localhost");
    let trusting = Roots::Only(vec![root]);
    let addr = web(format!("https://localhost:{}/keys", server.addr.port()));
    let (keyring, _asker) = Keyring::open(vec![], addr.clone(), trusting.clone());
    assert_eq!(names(&keyring.keys()), ["ed"]);

    let (_, other_root) = Server::tls("", "localhost");
    let stranger = complaint(&addr, &Roots::Only(vec![other_root]));
    assert!(stranger.contains("invalid peer certificate"), "{stranger}");
    let other_name = complaint(&web(format!("https://127.0.0.1:{}/", server.addr.port())), &trusting);
    assert!(other_name.contains("not valid for name"), "{other_name}");
    let nobody = complaint(&addr, &Roots::Only(vec![]));
    assert!(nobody.contains("SSL_CERT_FILE"), "{nobody}");
    assert_eq!(server.asked(), 1, "who was not believed was asked nothing");
}

#[test]
fn an_answer_is_not_followed_elsewhere() {
    let server = Server::plain(&good(&[ED]));
    let leading = format!("Location: http://{}/\r\n", server.addr);
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let first = Server::plain(&answer(status, &leading, ""));
        let text = complaint(&web(format!("http://{}/", first.addr)), &Roots::Host);
        assert!(text.contains(&status[..3]) && text.contains("leads elsewhere"), "{text}");
    }
    assert_eq!(server.asked(), 0);
}

#[test]
fn an_answer_has_a_bound_in_bytes_and_in_time() {
    let padding = |bytes: usize| {
        let set = set(&[ED]);
        " ".repeat(bytes - set.len()) + &set
    };
    let server = Server::plain(&answer("200 OK", "", &padding(KEY_SET_BYTES_MAX)));
    let addr = web(format!("http://{}/", server.addr));
    assert!(find(&addr, &Roots::Host, b"").is_ok());
    server.publish(&answer("200 OK", "", &padding(KEY_SET_BYTES_MAX + 1)));
    assert!(find(&addr, &Roots::Host, b"").is_err());
    let long_head = format!("X: {}\r\n", "x".repeat(20_000));
    server.publish(&answer("200 OK", &long_head, &set(&[ED])));
    assert!(find(&addr, &Roots::Host, b"").is_err());

    // Nobody answers: the kernel takes the connection, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = web(format!("http://{}/", silent.local_addr().unwrap()));
    let began = Instant::now();
    let error = fetch(&addr, &Roots::Host, Duration::from_millis(50)).unwrap_err();
    assert!(began.elapsed() < PATIENCE, "{error}");
    assert!(error.to_string().contains("timeout"), "{error}");
}

#[test]
fn how_long_a_set_is_kept_is_what_its_answer_says() {
    let server = Server::plain(&answer("200 OK", "Cache-Control: public, max-age=3600\r\n", &set(&[ED])));
    let addr = web(format!("http://{}/", server.addr));
    assert_eq!(fetch(&addr, &Roots::Host, PATIENCE).unwrap().keep_s, Some(3600));
    server.publish(&answer("200 OK", "", &set(&[ED])));
    assert_eq!(fetch(&addr, &Roots::Host, PATIENCE).unwrap().keep_s, None);
}

#[test]
fn a_set_in_a_file_is_read_and_bounded_too() {
    let scratch = Scratch::new();
    let file = |name: &str, text: &str| KeySetAddr::File(scratch.file(name, text));
    let (keyring, _asker) = Keyring::open(vec![], file("keys.json", &set(&[ED, EC])), Roots::Host);
    assert_eq!(names(&keyring.keys()), ["ed", "ec"]);
    let missing = complaint(&KeySetAddr::File(scratch.path("none.json")), &Roots::Host);
    assert!(missing.contains("No such file"), "{missing}");
    let endless = complaint(&KeySetAddr::File("/dev/zero".into()), &Roots::Host);
    assert!(endless.contains("at most"), "{endless}");
}

#[test]
fn a_token_with_an_unknown_key_has_the_set_looked_at_and_a_thousand_do_so_once() {
    let server = Server::plain(&good(&[ED]));
    let (mut keyring, asker) =
        Keyring::open(vec![secret()], web(format!("http://{}/", server.addr)), Roots::Host);
    // The first look was a while ago, and the set may be kept for a day.
    keyring.started -= Duration::from_millis(2 * KEY_SET_PAUSE_MS);
    let (teller, told) = mpsc::channel();
    keyring.watch(move |keys| teller.send(keys).unwrap()).unwrap();
    assert_eq!(server.asked(), 1, "nobody has asked for a key");

    server.publish(&good(&[ED, EC]));
    (0..1000).for_each(|_| asker.ask());
    let keys = told.recv_timeout(PATIENCE).expect("other keys");
    assert_eq!((names(&keys), keys.version()), (vec!["fixed", "ed", "ec"], 2));
    (0..1000).for_each(|_| asker.ask());
    assert_eq!((server.asked(), asker.looks()), (2, (2, 0)), "within the pause nothing is looked at again");

    drop(asker);
    let ended = told.recv_timeout(PATIENCE);
    assert_eq!(
        ended.err(),
        Some(mpsc::RecvTimeoutError::Disconnected),
        "the thread ends with the last that can ask"
    );
}

#[test]
fn a_set_whose_time_is_over_is_looked_at_by_itself() {
    let scratch = Scratch::new();
    let addr = KeySetAddr::File(scratch.file("keys.json", &set(&[ED])));
    let (mut keyring, _asker) = Keyring::open(vec![], addr, Roots::Host);
    keyring.started -= Duration::from_secs(24 * 60 * 60);
    scratch.file("keys.json", &set(&[EC]));
    let (teller, told) = mpsc::channel();
    keyring.watch(move |keys| teller.send(keys).unwrap()).unwrap();
    assert_eq!(names(&told.recv_timeout(PATIENCE).expect("other keys")), ["ec"]);
}
