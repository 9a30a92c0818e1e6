//! A JWK Set (RFC 7517 §5) as somebody publishes it: its public keys that tokens may be signed with. A key that is of no use
//! here is left out with the reason, so that one strange key does not take the others away. Must never know where a set came
//! from.

use std::borrow::Cow;
use std::fmt;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::{Algorithm, Key, KeyError};
use crate::limits::{KEY_ID_BYTES_MAX, KEY_SET_BYTES_MAX, KEYS_MAX};

/// What a set holds.
#[derive(Debug)]
pub struct KeySet {
    /// Keys in the order of the set; at least one.
    pub keys: Vec<Key>,
    /// The others.
    pub skipped: Vec<Skipped>,
}

/// A key that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the set, from 1.
    pub place: usize,
    /// Its name, where it has one that can be shown.
    pub kid: Option<String>,
    /// Why.
    pub reason: SkipReason,
}

/// Why a key of a set is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// No object, or members of the wrong types.
    Malformed,
    /// A type, curve or algorithm that is not one of ours.
    Foreign,
    /// A key for encryption (RFC 7517 §4.2, §4.3).
    NotForSignatures,
    /// A secret, which whoever can read the set would know.
    Symmetric,
    /// A private key, which whoever can read the set now has.
    Private,
    /// A key that is not what it says.
    Unfit(KeyError),
}

/// Why there is no set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetError {
    /// More than [`KEY_SET_BYTES_MAX`]: how many bytes.
    TooLong(usize),
    /// No JSON object with an array `keys`.
    Malformed,
    /// More than [`KEYS_MAX`] keys: how many.
    TooMany(usize),
    /// None of its keys is of any use.
    NoneOfUse(Vec<Skipped>),
}

/// Reads a set.
///
/// # Errors
/// Where there is no key in it that a token of ours could be signed with.
pub fn read(text: &[u8]) -> Result<KeySet, KeySetError> {
    if text.len() > KEY_SET_BYTES_MAX {
        return Err(KeySetError::TooLong(text.len()));
    }
    let text = str::from_utf8(text).map_err(|_| KeySetError::Malformed)?;
    let set: RawSet<'_> = serde_json::from_str(text).map_err(|_| KeySetError::Malformed)?;
    if set.keys.len() > KEYS_MAX {
        return Err(KeySetError::TooMany(set.keys.len()));
    }
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, raw) in set.keys.into_iter().enumerate() {
        let raw: Option<RawKey<'_>> = serde_json::from_str(raw.get()).ok();
        match raw.as_ref().map_or(Err(SkipReason::Malformed), key) {
            Ok(key) => keys.push(key),
            Err(reason) => {
                let kid = raw.and_then(|raw| raw.kid).filter(|kid| can_be_shown(kid)).map(Cow::into_owned);
                skipped.push(Skipped { place: index + 1, kid, reason });
            }
        }
    }
    if keys.is_empty() { Err(KeySetError::NoneOfUse(skipped)) } else { Ok(KeySet { keys, skipped }) }
}

#[derive(Deserialize)]
struct RawSet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members that matter (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). Others are passed over.
#[derive(Deserialize)]
struct RawKey<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow, rename = "use")]
    purpose: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_ops: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
    /// The private number of every type that has one.
    #[serde(borrow)]
    d: Option<&'a RawValue>,
}

/// Turns one member of the set into a key. Its algorithm is the one that it names or, where it names none, the one that its
/// type has here.
fn key(raw: &RawKey<'_>) -> Result<Key, SkipReason> {
    if raw.kty == "oct" {
        return Err(SkipReason::Symmetric);
    }
    if raw.d.is_some() {
        return Err(SkipReason::Private);
    }
    let verifies = raw.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|one| one == "verify"));
    if raw.purpose.as_ref().is_some_and(|purpose| purpose != "sig") || !verifies {
        return Err(SkipReason::NotForSignatures);
    }
    let algorithm = match (raw.kty.as_ref(), raw.crv.as_deref()) {
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return Err(SkipReason::Foreign),
    };
    if raw.alg.as_ref().is_some_and(|name| Algorithm::from_name(name) != Some(algorithm)) {
        return Err(SkipReason::Foreign);
    }
    let key = Key::from_public(algorithm, material(algorithm, raw)?).map_err(SkipReason::Unfit)?;
    match &raw.kid {
        Some(kid) => key.named(kid).map_err(SkipReason::Unfit),
        None => Ok(key),
    }
}

fn material(algorithm: Algorithm, raw: &RawKey<'_>) -> Result<DecodingKey, SkipReason> {
    let read = match (algorithm, &raw.n, &raw.e, &raw.x, &raw.y) {
        (Algorithm::Rs256, Some(n), Some(e), _, _) => DecodingKey::from_rsa_components(n, e),
        (Algorithm::Es256, _, _, Some(x), Some(y)) => DecodingKey::from_ec_components(x, y),
        (Algorithm::EdDsa, _, _, Some(x), _) => DecodingKey::from_ed_components(x),
        _ => return Err(SkipReason::Malformed),
    };
    read.map_err(|_| SkipReason::Malformed)
}

/// Whether a name that somebody else chose may stand in a line of a log.
fn can_be_shown(kid: &str) -> bool {
    kid.len() <= KEY_ID_BYTES_MAX && !kid.contains(char::is_control)
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.place)?;
        if let Some(kid) = &self.kid {
            write!(f, " (`{kid}`)")?;
        }
        match self.reason {
            SkipReason::Malformed => f.write_str(" is not a JSON Web Key"),
            SkipReason::Foreign => f.write_str(" is not for RS256, ES256 or EdDSA"),
            SkipReason::NotForSignatures => f.write_str(" is not for signatures"),
            SkipReason::Symmetric => f.write_str(" is a secret that everybody can read"),
            SkipReason::Private => f.write_str(" is a private key that everybody can read"),
            SkipReason::Unfit(error) => write!(f, ": {error}"),
        }
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => {
                write!(f, "the key set has {bytes} bytes, at most {KEY_SET_BYTES_MAX} are read")
            }
            Self::Malformed => {
                f.write_str("it is no key set: a JSON object with an array `keys` (RFC 7517 §5)")
            }
            Self::TooMany(count) => write!(f, "the key set has {count} keys, at most {KEYS_MAX} are kept"),
            Self::NoneOfUse(skipped) => {
                f.write_str("no key of the set is of use")?;
                skipped.iter().try_for_each(|one| write!(f, "; {one}"))
            }
        }
    }
}

impl std::error::Error for KeySetError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RSA: &str = r#""kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ""#;
    const EC: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
    const ED: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn set(keys: &[&str]) -> String {
        let keys: Vec<String> = keys.iter().map(|members| format!("{{{members}}}")).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// Why the one key of a set is left out; None where it is not.
    fn reason(members: &str) -> Option<SkipReason> {
        match read(set(&[members]).as_bytes()) {
            Ok(set) => {
                assert_eq!((set.keys.len(), set.skipped.len()), (1, 0));
                None
            }
            Err(KeySetError::NoneOfUse(skipped)) => {
                assert_eq!(skipped.len(), 1);
                Some(skipped[0].reason)
            }
            Err(other) => panic!("{members}: {other:?}"),
        }
    }

    #[test]
    fn a_key_is_for_the_algorithm_that_it_names_or_that_its_type_has() {
        let text = set(&[
            &format!(r#"{RSA},"kid":"r","use":"sig","alg":"RS256","key_ops":["verify"]"#),
            &format!(r#"{EC},"kid":"e","alg":"ES256","x5c":["MIIB"],"x5t#S256":"AA","ext":true"#),
            &format!(r#"{ED},"alg":"Ed25519""#),
            RSA,
        ]);
        let set = read(text.as_bytes()).unwrap();
        assert_eq!(set.skipped, []);
        let keys: Vec<_> = set.keys.iter().map(|key| (key.algorithm(), key.kid())).collect();
        let expected = [
            (Algorithm::Rs256, Some("r")),
            (Algorithm::Es256, Some("e")),
            (Algorithm::EdDsa, None),
            (Algorithm::Rs256, None),
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn one_strange_key_does_not_take_the_others_away() {
        let text = set(&[
            r#""kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0","kid":"s""#,
            &format!(r#"{RSA},"kid":"r""#),
            r#""kty":5"#,
            r#""kty":"AKP","alg":"ML-DSA-44","kid":"\u001b[31m","pub":"AA""#,
        ]);
        let text = text.replace("]}", r#",null,[],"x"]}"#);
        let set = read(text.as_bytes()).unwrap();
        assert_eq!(set.keys.iter().map(Key::kid).collect::<Vec<_>>(), [Some("r")]);
        let skipped: Vec<_> =
            set.skipped.iter().map(|one| (one.place, one.kid.as_deref(), one.reason)).collect();
        let expected = [
            (1, Some("s"), SkipReason::Symmetric),
            (3, None, SkipReason::Malformed),
            (4, None, SkipReason::Foreign),
            (5, None, SkipReason::Malformed),
            (6, None, SkipReason::Malformed),
            (7, None, SkipReason::Malformed),
        ];
        assert_eq!(skipped, expected, "a name that would colour somebody's terminal is not shown");
        assert_eq!(set.skipped[0].to_string(), "key 1 (`s`) is a secret that everybody can read");
    }

    #[test]
    fn a_key_of_no_use_is_left_out_with_the_reason() {
        for (members, expected) in [
            (format!(r#"{RSA},"use":"enc""#), SkipReason::NotForSignatures),
            (format!(r#"{RSA},"use":"SIG""#), SkipReason::NotForSignatures),
            (format!(r#"{RSA},"key_ops":["sign","encrypt"]"#), SkipReason::NotForSignatures),
            (format!(r#"{RSA},"key_ops":[]"#), SkipReason::NotForSignatures),
            (format!(r#"{RSA},"alg":"RS512""#), SkipReason::Foreign),
            (format!(r#"{RSA},"alg":"PS256""#), SkipReason::Foreign),
            (format!(r#"{RSA},"alg":"HS256""#), SkipReason::Foreign),
            (format!(r#"{RSA},"alg":"none""#), SkipReason::Foreign),
            (format!(r#"{EC},"alg":"EdDSA""#), SkipReason::Foreign),
            (format!(r#"{EC},"d":"AA""#), SkipReason::Private),
            (format!(r#"{ED},"d":5"#), SkipReason::Private),
            (r#""kty":"EC","crv":"P-384","x":"AA","y":"AA""#.to_owned(), SkipReason::Foreign),
            (r#""kty":"OKP","crv":"X25519","x":"AA""#.to_owned(), SkipReason::Foreign),
            (r#""kty":"rsa","n":"AA","e":"AQAB""#.to_owned(), SkipReason::Foreign),
            (r#""kty":"RSA","e":"AQAB""#.to_owned(), SkipReason::Malformed),
            (r#""kty":"RSA","e":"AQAB","n":"!""#.to_owned(), SkipReason::Malformed),
            (r#""kty":"EC","crv":"P-256","x":"AA""#.to_owned(), SkipReason::Malformed),
            (r#""n":"AA""#.to_owned(), SkipReason::Malformed),
            (format!("{RSA},{RSA}"), SkipReason::Malformed),
            (r#""kty":"RSA","e":"AQAB","n":"AAEC""#.to_owned(), SkipReason::Unfit(KeyError::RsaBits(9))),
            (r#""kty":"RSA","e":"AQAB","n":"""#.to_owned(), SkipReason::Unfit(KeyError::RsaBits(0))),
            (EC.replace("f83", "f84"), SkipReason::Unfit(KeyError::Unfit(Algorithm::Es256))),
            (ED.replace("11qY", ""), SkipReason::Unfit(KeyError::Unfit(Algorithm::EdDsa))),
            (format!(r#"{ED},"kid":"""#), SkipReason::Unfit(KeyError::Name)),
        ] {
            assert_eq!(reason(&members), Some(expected), "{members}");
        }
        assert_eq!(reason(&format!(r#"{RSA},"use":null,"alg":null,"kid":null"#)), None);
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused() {
        for text in
            ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>", r#"{"keys":[]} x"#]
        {
            assert_eq!(read(text.as_bytes()).unwrap_err(), KeySetError::Malformed, "{text}");
        }
        assert_eq!(read(br#"{"keys":[]}"#).unwrap_err(), KeySetError::NoneOfUse(vec![]));
        let twice = format!(r#"{{"keys":[{{{ED}}}],"keys":[]}}"#);
        assert_eq!(read(twice.as_bytes()).unwrap_err(), KeySetError::Malformed);
        let deep = format!(r#"{{"keys":[{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(read(deep.as_bytes()), Err(KeySetError::NoneOfUse(_))));
    }

    #[test]
    fn a_set_has_a_bound_in_bytes_and_in_keys() {
        let padded = |bytes: usize| {
            let text = set(&[ED]);
            " ".repeat(bytes - text.len()) + &text
        };
        assert!(read(padded(KEY_SET_BYTES_MAX).as_bytes()).is_ok());
        let longer = read(padded(KEY_SET_BYTES_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(longer, KeySetError::TooLong(KEY_SET_BYTES_MAX + 1));
        assert_eq!(read(set(&[ED; KEYS_MAX]).as_bytes()).unwrap().keys.len(), KEYS_MAX);
        assert_eq!(
            read(set(&[ED; KEYS_MAX + 1]).as_bytes()).unwrap_err(),
            KeySetError::TooMany(KEYS_MAX + 1)
        );
    }

    proptest! {
        #[test]
        fn whatever_somebody_publishes_nothing_breaks(
            text in "\\{\"keys\":\\[(\\{(\"(kty|crv|alg|use|x|y|n|e|d|kid)\":(\"(RSA|EC|OKP|oct|P-256|Ed25519|AQAB|A{0,90})\"|1|null|\\[\\]),?){0,6}\\},?){0,3}\\]\\}",
        ) {
            drop(read(text.as_bytes()));
        }

        #[test]
        fn bytes_that_nobody_meant_as_a_set_are_none(text in any::<Vec<u8>>()) {
            prop_assert!(read(&text).is_err());
        }
    }
}
