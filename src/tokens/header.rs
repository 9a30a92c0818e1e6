//! The header of a token (RFC 7515 §4): which algorithm and which key it claims to be signed with. Nothing else in it is read,
//! so a key, an address of one or a certificate that it brings along (`jwk`, `jku`, `x5u`, `x5c`) is never looked at.
//! Must never choose a key.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::key::Algorithm;
use super::refusal::Refusal;

/// What a token says of its signature. None of it is true before the signature is checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    /// The name of the key, where it names one.
    pub(super) kid: Option<String>,
}

impl Header {
    /// Reads the first part of a token.
    ///
    /// # Errors
    /// [`Refusal::Header`] where it is no such object; [`Refusal::Critical`] where it demands an extension;
    /// [`Refusal::Algorithm`] for `none` in any spelling and everything else that is not ours.
    pub(super) fn read(part: &str) -> Result<Self, Refusal> {
        let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Header)?;
        // The whole of it is text, also what nobody reads.
        let json = str::from_utf8(&json).map_err(|_| Refusal::Header)?;
        let raw: Raw<'_> = serde_json::from_str(json).map_err(|_| Refusal::Header)?;
        if raw.crit || raw.b64 {
            return Err(Refusal::Critical);
        }
        let algorithm = Algorithm::from_name(&raw.alg).ok_or(Refusal::Algorithm)?;
        Ok(Self { algorithm, kid: raw.kid.map(Cow::into_owned) })
    }
}

/// Members that are not here are passed over, each without recursion; one that is here twice is an error of serde's.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
    /// Says that what was signed is another text than is written (RFC 7797).
    #[serde(default, deserialize_with = "is_there")]
    b64: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: impl AsRef<[u8]>) -> Result<Header, Refusal> {
        Header::read(&URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn the_algorithm_and_the_name_of_the_key_are_read_and_the_rest_is_passed_over() {
        let header = |algorithm, kid: Option<&str>| Ok(Header { algorithm, kid: kid.map(str::to_owned) });
        assert_eq!(read(r#"{"alg":"HS256"}"#), header(Algorithm::Hs256, None));
        assert_eq!(read(r#"{"typ":"JWT","alg":"EdDSA","kid":"a"}"#), header(Algorithm::EdDsa, Some("a")));
        assert_eq!(read(r#"{"alg":"ES256","kid":null}"#), header(Algorithm::Es256, None));
        let foreign = r#"{"jwk":{"kty":5},"jku":"http://a","x5u":[],"x5c":"x","alg":"RS256","cty":1}"#;
        assert_eq!(read(foreign), header(Algorithm::Rs256, None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for json in [
            "",
            "{",
            "null",
            "5",
            "\"alg\"",
            "{}",
            r#"{"alg":5}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256"} x"#,
            r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"HS256","kid":7}"#,
            r#"{"alg":"HS256","kid":{}}"#,
        ] {
            assert_eq!(read(json), Err(Refusal::Header), "{json}");
        }
        for name in ["kid", "x"] {
            let not_utf8 = [br#"{"alg":"HS256",""#, name.as_bytes(), b"\":\"\xff\"}"].concat();
            assert_eq!(read(not_utf8), Err(Refusal::Header), "{name}");
        }
        assert_eq!(Header::read("e30=").err(), Some(Refusal::Header), "padded");
        assert_eq!(Header::read("e3").err(), Some(Refusal::Header), "cut off");
    }

    #[test]
    fn an_extension_that_must_be_understood_is_refused_whatever_its_form() {
        for member in
            [r#""crit":["exp"]"#, r#""crit":[]"#, r#""crit":null"#, r#""crit":"b64""#, r#""b64":false"#]
        {
            assert_eq!(read(format!(r#"{{"alg":"HS256",{member}}}"#)), Err(Refusal::Critical), "{member}");
        }
    }
}
