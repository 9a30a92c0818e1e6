//! The keys that tokens may be signed with, from the values and files that the operator named. Must never show what a key is made
//! of.

use crate::config::Config;
use crate::config::token_key::{Entry, Material, Secret};
use crate::limits::KEY_BYTES_MAX;
use crate::tokens::{Algorithm, Demands, Key, Keys};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads all keys of a configuration.
///
/// # Errors
/// A sentence that names the key and says what is wrong with it.
pub fn read(config: &Config) -> Result<Keys, String> {
    let keys = config.token_keys.iter().map(read_key);
    keys.collect::<Result<_, _>>().map(|keys| Keys::new(1, keys))
}

/// What a configuration asks of a token beside its signature.
#[must_use]
pub fn demands(config: &Config) -> Demands {
    Demands { issuers: config.token_issuers.clone(), audiences: config.token_audiences.clone() }
}

fn read_key(entry: &Entry) -> Result<Key, String> {
    let told = |error: &dyn Display| format!("{entry}: {error}");
    let algorithm = algorithm(entry.algorithm);
    let key = match &entry.material {
        Material::Secret(Secret(secret)) => Key::from_secret(secret.as_bytes()),
        Material::File(path) => {
            let bytes = read_file(path).map_err(|error| told(&error))?;
            match algorithm {
                Algorithm::Hs256 => Key::from_secret(without_line_end(&bytes)),
                Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => Key::from_pem(algorithm, &bytes),
            }
        }
    };
    let named = |key: Key| match &entry.kid {
        Some(kid) => key.named(kid),
        None => Ok(key),
    };
    key.and_then(named).map_err(|error| told(&error))
}

/// The algorithm that [`crate::config::token_key::ALGORITHMS`] calls by this name.
fn algorithm(name: &str) -> Algorithm {
    let is_called = |algorithm: &Algorithm| algorithm.name().eq_ignore_ascii_case(name);
    Algorithm::ALL.into_iter().find(is_called).unwrap_or(Algorithm::Hs256)
}

/// Reads no more of a file than shows that it is too large.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(KEY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A secret without the line end that editors and `echo` put behind it. Where the file is no text, its last byte is the
/// secret's own.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let is_text = str::from_utf8(line).is_ok_and(|line| !line.contains(char::is_control));
    if is_text { line } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::token_key::{ALGORITHMS, TokenKey};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SECRET: &str = "a secret of thirty-two bytes, or more";
    const ED: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

    fn read_typed(typed: &str) -> Result<Key, String> {
        let entry = typed.parse::<TokenKey>().unwrap().read().unwrap();
        let keys = read(&Config { token_keys: vec![entry], ..Config::default() })?;
        Ok(keys.as_slice()[0].clone())
    }

    /// Reads a key from a file that holds `text`, whose name begins with `front`.
    fn read_from(front: &str, text: &str) -> Result<Key, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("roost-token-key-{}-{number}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let key = read_typed(&format!("{front}:@{}", file.display()));
        std::fs::remove_file(&file).unwrap();
        key
    }

    #[test]
    fn every_algorithm_that_can_be_written_is_one_that_there_is() {
        let found: Vec<_> = ALGORITHMS.into_iter().map(algorithm).collect();
        assert_eq!(found, Algorithm::ALL);
    }

    #[test]
    fn keys_are_read_from_the_configuration_and_from_files() {
        let told = |key: Result<Key, String>| key.map(|key| (key.algorithm(), key.kid().map(str::to_owned)));
        assert_eq!(told(read_typed(&format!("hs256:{SECRET}"))), Ok((Algorithm::Hs256, None)));
        assert_eq!(told(read_from("hs256/old", SECRET)), Ok((Algorithm::Hs256, Some("old".to_owned()))));
        assert_eq!(told(read_from("eddsa/new", ED)), Ok((Algorithm::EdDsa, Some("new".to_owned()))));
    }

    #[test]
    fn a_key_that_is_none_is_named_with_what_to_do() {
        for (key, words) in [
            (read_typed("hs256:hunter2"), ["hs256:…: the secret has 7 bytes", "openssl rand"]),
            (read_from("hs256", "hunter2\n"), ["the secret has 7 bytes", "openssl rand"]),
            (read_from("hs256", ED), ["hs256:@", "a PEM file is no secret"]),
            (read_from("rs256", ED), ["rs256:@", "an RSA key is wanted"]),
            (read_from("eddsa", ED_PRIVATE), ["private key", "openssl pkey -in FILE -pubout"]),
            (read_typed("rs256:@/does/not/exist"), ["rs256:@/does/not/exist: ", "No such file"]),
            (read_typed("es256:@/"), ["es256:@/: ", "directory"]),
            (read_typed("eddsa:@/dev/zero"), ["eddsa:@/dev/zero: ", "at most"]),
        ] {
            let message = key.unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn the_line_end_behind_a_secret_is_not_a_part_of_it_and_the_last_byte_of_no_text_is() {
        for (file, secret) in [
            (&b"secret\n"[..], &b"secret"[..]),
            (b"secret\r\n", b"secret"),
            (b"secret", b"secret"),
            (b"secret ", b"secret "),
            (b"\x01\xff\n", b"\x01\xff\n"),
            (b"\n", b""),
            (b"", b""),
        ] {
            assert_eq!(without_line_end(file), secret, "{file:?}");
        }
    }
}
