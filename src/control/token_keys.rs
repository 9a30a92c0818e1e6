//! The keys that tokens may be signed with, from the values and files that the operator named. Must never show what a key is made
//! of.

use crate::config::Config;
use crate::config::token_key::{Material, Secret};
use crate::limits::KEY_BYTES_MAX;
use crate::tokens::{Algorithm, Demands, Key, Keys};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads all keys of a configuration.
///
/// # Errors
/// A sentence that names the key and says what is wrong with it.
pub fn read(config: &Config) -> Result<Keys, String> {
    let keys = config.token_keys.iter().map(|(algorithm, material)| read_key(algorithm, material));
    keys.collect::<Result<_, _>>().map(|keys| Keys::new(1, keys))
}

/// What a configuration asks of a token beside its signature.
#[must_use]
pub fn demands(config: &Config) -> Demands {
    Demands { issuers: config.token_issuers.clone(), audiences: config.token_audiences.clone() }
}

fn read_key(name: &str, material: &Material) -> Result<Key, String> {
    let algorithm = algorithm(name);
    match material {
        Material::Secret(Secret(secret)) => {
            Key::from_secret(secret.as_bytes()).map_err(|error| format!("{name}:…: {error}"))
        }
        Material::File(path) => {
            let told = |error: String| format!("{name}:@{}: {error}", path.display());
            let bytes = read_file(path).map_err(|error| told(error.to_string()))?;
            let key = match algorithm {
                Algorithm::Hs256 => Key::from_secret(bytes.trim_ascii_end()),
                _ => Key::from_pem(algorithm, &bytes),
            };
            key.map_err(|error| told(error.to_string()))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::token_key::ALGORITHMS;

    fn config(material: Material) -> Config {
        Config { token_keys: vec![("hs256", material)], ..Config::default() }
    }

    #[test]
    fn every_algorithm_that_can_be_written_is_one_that_there_is() {
        let found: Vec<_> = ALGORITHMS.into_iter().map(algorithm).collect();
        assert_eq!(found, Algorithm::ALL);
    }

    #[test]
    fn a_secret_in_a_file_may_have_a_line_end_behind_it() {
        let file = std::env::temp_dir().join(format!("roost-token-key-{}", std::process::id()));
        std::fs::write(&file, format!("{}\n", "s".repeat(32))).unwrap();
        let keys = read(&config(Material::File(file.clone())));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(keys.unwrap().as_slice().len(), 1);
        let short = config(Material::Secret(Secret("hunter2".to_owned())));
        let message = read(&short).unwrap_err();
        assert!(message.starts_with("hs256:…: ") && !message.contains("hunter2"), "{message}");
        let message = read(&config(Material::File("/does/not/exist".into()))).unwrap_err();
        assert!(message.contains("/does/not/exist"), "{message}");
    }
}
