//! A key that tokens may be signed with, as an operator writes it: `hs256:SECRET`, or `rs256:@FILE`, or with its name, `rs256/NAME:@FILE`.
//! Must never show a secret: not in an error, not in what is printed of a configuration.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::value::{nearest, text_in_toml};

/// One value of `--token-key`, not looked at yet: whatever reads it from a command line would show what it refuses.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(String);

/// What a [`TokenKey`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One of [`ALGORITHMS`].
    pub algorithm: &'static str,
    /// What tokens call the key, where it has a name.
    pub kid: Option<String>,
    /// The key.
    pub material: Material,
}

/// What a key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// The secret itself.
    Secret(Secret),
    /// The file that holds it, or a public key.
    File(PathBuf),
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl TokenKey {
    /// What it says.
    ///
    /// # Errors
    /// A sentence that says what is wrong and does not repeat it.
    pub fn read(&self) -> Result<Entry, String> {
        let Some((front, key)) = self.0.split_once(':') else {
            return Err(format!("is not ALGORITHM:KEY; write it as {FORMS}"));
        };
        let (typed, kid) = front.split_once('/').map_or((front, None), |(typed, kid)| (typed, Some(kid)));
        let Some(algorithm) = ALGORITHMS.into_iter().find(|name| *name == typed) else {
            let hint =
                nearest(typed, ALGORITHMS).map_or(String::new(), |near| format!("did you mean `{near}`? "));
            return Err(format!("names no algorithm that there is: {hint}write it as {FORMS}"));
        };
        if kid == Some("") {
            return Err("names no key behind `/`".to_owned());
        }
        let material = match key.strip_prefix('@') {
            Some("") => return Err("names no file behind `@`".to_owned()),
            Some(file) => Material::File(file.into()),
            None if algorithm != "hs256" => {
                return Err(format!("is a public key in a file: write it as {algorithm}:@FILE"));
            }
            None if key == HIDDEN => {
                return Err("was printed without its secret: write that here, or hs256:@FILE".to_owned());
            }
            None => Material::Secret(Secret(key.to_owned())),
        };
        Ok(Entry { algorithm, kid: kid.map(str::to_owned), material })
    }

    /// What may be shown of it: all but a secret. What says nothing may be one.
    #[must_use]
    pub fn shown(&self) -> String {
        self.read().map_or_else(|_| HIDDEN.to_owned(), |entry| entry.to_string())
    }
}

impl fmt::Display for Entry {
    /// As it is written, but for a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm)?;
        if let Some(kid) = &self.kid {
            write!(f, "/{kid}")?;
        }
        match &self.material {
            Material::Secret(_) => write!(f, ":{HIDDEN}"),
            Material::File(file) => write!(f, ":@{}", file.display()),
        }
    }
}

/// Reads one key or a list of them. The library's own words for what is neither would show it.
///
/// # Errors
/// What is no text, or a list that holds something else.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TokenKey>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
        Other(IgnoredAny),
    }
    match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(key) => Ok(vec![TokenKey(key)]),
        OneOrMany::Many(keys) => Ok(keys.into_iter().map(TokenKey).collect()),
        OneOrMany::Other(_) => {
            Err(D::Error::custom(format!("it is neither a text nor a list of texts; write each as {FORMS}")))
        }
    }
}

impl FromStr for TokenKey {
    type Err = Infallible;

    fn from_str(typed: &str) -> Result<Self, Infallible> {
        Ok(Self(typed.to_owned()))
    }
}

/// As it is written, so that a file which holds it reads back; [`TokenKey::shown`] is for people.
impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_in_toml!(TokenKey);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.shown())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The algorithms, as they are written in front of a key.
pub const ALGORITHMS: [&str; 4] = ["hs256", "rs256", "es256", "eddsa"];
const FORMS: &str = "hs256:SECRET, hs256:@FILE, rs256:@FILE, es256:@FILE or eddsa:@FILE";
const HIDDEN: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> TokenKey {
        text.parse().unwrap()
    }

    #[test]
    fn a_secret_stands_in_the_value_or_in_a_file_and_a_public_key_in_a_file() {
        let secret = Material::Secret(Secret("a:b@c/d".to_owned()));
        let entry = |algorithm, material| Ok(Entry { algorithm, kid: None, material });
        assert_eq!(key("hs256:a:b@c/d").read(), entry("hs256", secret));
        for algorithm in ALGORITHMS {
            let file = Material::File("/etc/roost/key".into());
            assert_eq!(key(&format!("{algorithm}:@/etc/roost/key")).read(), entry(algorithm, file));
        }
    }

    #[test]
    fn a_key_may_have_the_name_that_tokens_give_it() {
        let read = key("rs256/2026/01:@/a:b").read().unwrap();
        assert_eq!((read.algorithm, read.kid.as_deref()), ("rs256", Some("2026/01")));
        assert_eq!(read.material, Material::File("/a:b".into()));
        assert_eq!(key("hs256/a:hunter2").shown(), "hs256/a:…");
    }

    #[test]
    fn what_was_printed_without_its_secret_is_no_key() {
        let message = key(&key("hs256:hunter2").shown()).read().unwrap_err();
        assert!(message.contains("without its secret"), "{message}");
    }

    #[test]
    fn what_is_wrong_is_told_and_not_repeated() {
        for (text, word) in [
            ("hunter2", "ALGORITHM:KEY"),
            ("hs265:hunter2", "did you mean `hs256`?"),
            ("HS256:hunter2", "hs256:SECRET"),
            ("none:hunter2", "no algorithm"),
            ("rs256:hunter2", "rs256:@FILE"),
            ("es256:@", "no file"),
            ("hs256/:hunter2", "no key behind"),
            ("hunter2/hs256:hunter2", "no algorithm"),
        ] {
            let message = key(text).read().unwrap_err();
            assert!(message.contains(word) && !message.contains("hunter2"), "{text}: {message}");
            assert!(!key(text).shown().contains("hunter2"));
        }
    }

    #[test]
    fn nothing_shows_a_secret_but_what_is_read_back() {
        let secret = key("hs256:hunter2");
        assert_eq!((secret.shown().as_str(), secret.to_string().as_str()), ("hs256:…", "hs256:hunter2"));
        let shown = format!("{secret:?} {:?}", secret.read());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(key("rs256:@/a").shown(), "rs256:@/a");
    }
}
