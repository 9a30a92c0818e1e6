//! A token as its bearer sent it (RFC 7515 §3.1): its text, its three parts, and where it stands in a request.
//! Must never show any of it: whoever reads a token in a log can use it.

use std::fmt;

use super::refusal::Refusal;
use crate::limits::TOKEN_BYTES_MAX;

/// The text of a token. What is printed of it is its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a>(&'a [u8]);

/// The three parts of a token, as they are written: base64url without padding.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) header: &'a str,
    pub(super) claims: &'a str,
    pub(super) signature: &'a str,
    /// What the signature is of: header and claims with the dot between them.
    pub(super) signed: &'a str,
}

impl<'a> Token<'a> {
    /// A token from wherever a client may put it; nothing about it is known yet.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The token of an `Authorization` header (RFC 6750 §2.1), or nothing where that holds another kind of credentials.
    #[must_use]
    pub fn from_authorization(value: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(BEARER.len())?;
        let token = rest.trim_ascii_start();
        // The space is a part of the scheme's end: `BearerX` is another scheme.
        let is_bearer = scheme.eq_ignore_ascii_case(BEARER) && token.len() < rest.len();
        is_bearer.then(|| Self(token.trim_ascii_end()))
    }

    /// Its parts, none of them read yet.
    ///
    /// # Errors
    /// [`Refusal::TooLong`]; [`Refusal::Shape`] where it is not three parts of base64url.
    pub(super) fn parts(self) -> Result<Parts<'a>, Refusal> {
        if self.0.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let plain = self.0.iter().all(|&byte| byte == b'.' || is_base64url(byte));
        let text = str::from_utf8(self.0).ok().filter(|_| plain).ok_or(Refusal::Shape)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Shape)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Shape)?;
        let complete = !header.is_empty() && !claims.is_empty() && !signature.is_empty();
        if !complete || claims.contains('.') {
            return Err(Refusal::Shape);
        }
        Ok(Parts { header, claims, signature, signed })
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

const BEARER: &[u8] = b"Bearer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts_of_base64url_and_nothing_else() {
        let parts = Token::new(b"aA0.b-_.c").parts().unwrap();
        assert_eq!(
            (parts.header, parts.claims, parts.signature, parts.signed),
            ("aA0", "b-_", "c", "aA0.b-_")
        );
        for text in [
            "",
            ".",
            "..",
            "a",
            "a.b",
            "a.b.",
            "a..c",
            ".b.c",
            "a.b.c.d",
            "a.b.c.d.e",
            "a.b.c=",
            "a=.b.c",
            "a.b.c ",
            " a.b.c",
            "a.b.c\n",
            "a.b\0.c",
            "a+.b.c",
            "a/.b.c",
            "ä.b.c",
        ] {
            assert_eq!(Token::new(text.as_bytes()).parts().err(), Some(Refusal::Shape), "{text:?}");
        }
        assert_eq!(Token::new(b"a.b\xff.c").parts().err(), Some(Refusal::Shape));
    }

    #[test]
    fn a_token_of_the_limit_is_looked_at_and_a_longer_one_is_not() {
        let text = format!("a.b.{}", "c".repeat(TOKEN_BYTES_MAX - 4));
        assert!(Token::new(text.as_bytes()).parts().is_ok());
        let longer = format!("{text}c");
        assert_eq!(Token::new(longer.as_bytes()).parts().err(), Some(Refusal::TooLong));
    }

    #[test]
    fn the_header_of_a_request_holds_a_token_behind_the_word_bearer() {
        let token = |value: &'static str| Token::from_authorization(value.as_bytes());
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c ", "Bearer\ta.b.c"] {
            assert_eq!(token(value), Some(Token::new(b"a.b.c")), "{value:?}");
        }
        for value in ["", "Bearer", "Bearera.b.c", "Basic a.b.c", "a.b.c", " Bearer a.b.c"] {
            assert_eq!(token(value), None, "{value:?}");
        }
        assert_eq!(token("Bearer "), Some(Token::new(b"")), "a token that is none");
    }

    #[test]
    fn what_is_printed_of_a_token_is_its_length() {
        assert_eq!(format!("{:?}", Token::new(b"secret.secret.secret")), "Token(20 bytes)");
    }
}
