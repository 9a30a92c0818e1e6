//! A key that tokens may be signed with, as an operator writes it: `hs256:SECRET`, or `rs256:@FILE`. Must never show a secret: not in
//! an error, not in what is printed of a configuration.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::value::{nearest, text_in_toml};

/// One value of `--token-key`, not looked at yet: whatever reads it from a command line would show what it refuses.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(String);

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
    /// The algorithm, one of [`ALGORITHMS`], and the key.
    ///
    /// # Errors
    /// A sentence that says what is wrong and does not repeat it.
    pub fn read(&self) -> Result<(&'static str, Material), String> {
        let Some((typed, key)) = self.0.split_once(':') else {
            return Err(format!("is not ALGORITHM:KEY; write it as {FORMS}"));
        };
        let Some(algorithm) = ALGORITHMS.into_iter().find(|name| *name == typed) else {
            let hint =
                nearest(typed, ALGORITHMS).map_or(String::new(), |near| format!("did you mean `{near}`? "));
            return Err(format!("names no algorithm that there is: {hint}write it as {FORMS}"));
        };
        match key.strip_prefix('@') {
            Some("") => Err("names no file behind `@`".to_owned()),
            Some(file) => Ok((algorithm, Material::File(file.into()))),
            None if algorithm == "hs256" => Ok((algorithm, Material::Secret(Secret(key.to_owned())))),
            None => Err(format!("is a public key in a file: write it as {algorithm}:@FILE")),
        }
    }

    /// What may be shown of it: the file, or the algorithm alone.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.read() {
            Ok((_, Material::File(_))) => self.0.clone(),
            Ok((algorithm, Material::Secret(_))) => format!("{algorithm}:{HIDDEN}"),
            Err(_) => HIDDEN.to_owned(),
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
        let secret = Material::Secret(Secret("a:b@c".to_owned()));
        assert_eq!(key("hs256:a:b@c").read(), Ok(("hs256", secret)));
        for algorithm in ALGORITHMS {
            let file = Material::File("/etc/roost/key".into());
            assert_eq!(key(&format!("{algorithm}:@/etc/roost/key")).read(), Ok((algorithm, file)));
        }
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
