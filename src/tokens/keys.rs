//! All keys that are in force at one moment, and which of them may have signed a token. A set never changes: another one
//! takes its place, and its version tells which is newer. Must never know where keys come from.

use super::header::Header;
use super::key::Key;
use super::refusal::Refusal;
use crate::limits::{KEYS_MAX, TOKEN_KEYS_TRIED_MAX};

/// The keys of a node. Shards share one set.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    version: u64,
    keys: Vec<Key>,
}

impl Keys {
    /// The set of these keys. Behind the first [`KEYS_MAX`] none is kept.
    #[must_use]
    pub fn new(version: u64, mut keys: Vec<Key>) -> Self {
        keys.truncate(KEYS_MAX);
        keys.shrink_to_fit();
        Self { version, keys }
    }

    /// Which set it is: a newer one has a larger number.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The keys, in the order in which they are tried.
    #[must_use]
    pub fn as_slice(&self) -> &[Key] {
        &self.keys
    }

    /// The keys that may have signed a token with this header. A token that names its key is for keys of that name, or, where
    /// none has it, for those without a name; one that names none may be any key's. Those of another algorithm are left out
    /// last, so that no token can choose another key by naming another algorithm.
    ///
    /// # Errors
    /// [`Refusal::KeyUnknown`] where there is no such key, [`Refusal::Algorithm`] where those that there are have another
    /// algorithm.
    pub(super) fn candidates(&self, header: &Header) -> Result<impl Iterator<Item = &Key>, Refusal> {
        let kid = header.kid.as_deref();
        let is_known = kid.is_some_and(|kid| self.keys.iter().any(|key| key.kid() == Some(kid)));
        let is_meant = move |key: &&Key| match (is_known, kid) {
            (true, _) => key.kid() == kid,
            (false, Some(_)) => key.kid().is_none(),
            (false, None) => true,
        };
        let algorithm = header.algorithm;
        let fits = move |key: &&Key| is_meant(key) && key.algorithm() == algorithm;
        if self.keys.iter().any(|key| fits(&key)) {
            return Ok(self.keys.iter().filter(fits).take(TOKEN_KEYS_TRIED_MAX));
        }
        Err(if is_known { Refusal::Algorithm } else { Refusal::KeyUnknown })
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Algorithm;
    use super::*;

    fn secret(number: usize, kid: Option<&str>) -> Key {
        let key = Key::from_secret(format!("{number:032}").as_bytes()).unwrap();
        match kid {
            Some(kid) => key.named(kid).unwrap(),
            None => key,
        }
    }

    /// The places of the candidates for a token with this algorithm and name.
    fn chosen(keys: &Keys, algorithm: Algorithm, kid: Option<&str>) -> Result<Vec<usize>, Refusal> {
        let header = Header { algorithm, kid: kid.map(str::to_owned) };
        let place = |key: &Key| keys.as_slice().iter().position(|one| std::ptr::eq(one, key)).unwrap();
        keys.candidates(&header).map(|keys| keys.map(place).collect())
    }

    #[test]
    fn a_token_that_names_its_key_is_for_that_key_alone() {
        let keys = Keys::new(
            1,
            vec![secret(0, None), secret(1, Some("a")), secret(2, Some("b")), secret(3, Some("a"))],
        );
        assert_eq!(chosen(&keys, Algorithm::Hs256, Some("b")), Ok(vec![2]));
        assert_eq!(chosen(&keys, Algorithm::Hs256, Some("a")), Ok(vec![1, 3]), "two may share a name");
        assert_eq!(
            chosen(&keys, Algorithm::Hs256, Some("c")),
            Ok(vec![0]),
            "a key without a name takes what is left"
        );
        assert_eq!(chosen(&keys, Algorithm::Hs256, Some("")), Ok(vec![0]));
        assert_eq!(
            chosen(&keys, Algorithm::Hs256, Some("A")),
            Ok(vec![0]),
            "names are compared letter by letter"
        );
    }

    #[test]
    fn a_token_that_names_no_key_is_tried_with_the_first_few_of_its_algorithm() {
        let keys = Keys::new(1, (0..9).map(|number| secret(number, Some("x"))).collect());
        assert_eq!(chosen(&keys, Algorithm::Hs256, None), Ok((0..TOKEN_KEYS_TRIED_MAX).collect()));
    }

    #[test]
    fn a_key_that_is_not_there_and_a_key_for_another_algorithm_are_told_apart() {
        let named = Keys::new(1, vec![secret(0, Some("a"))]);
        assert_eq!(chosen(&named, Algorithm::Hs256, Some("b")), Err(Refusal::KeyUnknown));
        assert_eq!(chosen(&named, Algorithm::Rs256, Some("a")), Err(Refusal::Algorithm));
        assert_eq!(chosen(&named, Algorithm::Rs256, None), Err(Refusal::KeyUnknown));
        assert_eq!(chosen(&Keys::default(), Algorithm::Hs256, None), Err(Refusal::KeyUnknown));
    }

    #[test]
    fn a_set_keeps_no_more_keys_than_its_bound() {
        let keys = Keys::new(1, (0..=KEYS_MAX).map(|number| secret(number, None)).collect());
        assert_eq!(keys.as_slice().len(), KEYS_MAX);
    }
}
