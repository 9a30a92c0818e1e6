//! Why a token is refused, one variant per distinct fault. Must never hold a byte of the token.

use crate::metrics::cause::TOKEN_CAUSES;
use std::fmt;

/// One reason why a token is worth nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is longer than [`crate::limits::TOKEN_BYTES_MAX`].
    TooLong,
    /// It is not three parts of base64url (RFC 7515 §3.1).
    Shape,
    /// Its header is no JSON object with an `alg`, or names a member twice (RFC 7515 §4).
    Header,
    /// Its header demands an extension, and there is none that the node knows (RFC 7515 §4.1.11).
    Critical,
    /// Its algorithm is not one of ours, or not the one that its key is for (RFC 8725 §3.1).
    Algorithm,
    /// No key of the node could have signed it. A key set may have grown since it was looked at.
    KeyUnknown,
    /// Its signature is not that of its key.
    Signature,
    /// What was signed is no JSON object, or names a claim twice.
    Claims,
    /// A claim that is there is not what it should be: its name.
    Claim(&'static str),
    /// A claim that must be there is not: its name.
    Missing(&'static str),
    /// Its time is over (RFC 7519 §4.1.4).
    Expired,
    /// Its time has not come (RFC 7519 §4.1.5).
    NotYet,
    /// Somebody else issued it than who should (RFC 7519 §4.1.1).
    Issuer,
    /// It is meant for somebody else (RFC 7519 §4.1.3).
    Audience,
    /// It allows more channels and prefixes than [`crate::limits::TOKEN_PATTERNS_MAX`].
    TooManyChannels,
    /// Its user was shut out after it was issued.
    Revoked,
}

impl Refusal {
    /// All reasons, a claim's name left out: for metrics.
    pub const LABELS: [&'static str; 16] = TOKEN_CAUSES;

    /// Its place in [`Refusal::LABELS`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::TooLong => 0,
            Self::Shape => 1,
            Self::Header => 2,
            Self::Critical => 3,
            Self::Algorithm => 4,
            Self::KeyUnknown => 5,
            Self::Signature => 6,
            Self::Claims => 7,
            Self::Claim(_) => 8,
            Self::Missing(_) => 9,
            Self::Expired => 10,
            Self::NotYet => 11,
            Self::Issuer => 12,
            Self::Audience => 13,
            Self::TooManyChannels => 14,
            Self::Revoked => 15,
        }
    }

    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }
}

impl fmt::Display for Refusal {
    /// A sentence for whoever sent the token; it names no key and no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the token is too long"),
            Self::Shape => f.write_str("the token is not three parts of base64url with a dot between them"),
            Self::Header => f.write_str("the token's header is not a JSON object with an `alg`"),
            Self::Critical => f.write_str("the token's header demands an extension that is not known here"),
            Self::Algorithm => f.write_str("the token's algorithm is not one that its key is for"),
            Self::KeyUnknown => f.write_str("the token's key is not known here"),
            Self::Signature => f.write_str("the token's signature is wrong"),
            Self::Claims => f.write_str("the token's claims are not a JSON object that has each claim once"),
            Self::Claim(name) => write!(f, "the token's `{name}` is not what it should be"),
            Self::Missing(name) => write!(f, "the token has no `{name}`"),
            Self::Expired => f.write_str("the token has expired"),
            Self::NotYet => f.write_str("the token is not valid yet"),
            Self::Issuer => f.write_str("the token was issued by somebody else"),
            Self::Audience => f.write_str("the token is meant for somebody else"),
            Self::TooManyChannels => f.write_str("the token allows too many channels"),
            Self::Revoked => f.write_str("the token was revoked"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let all = [
            Refusal::TooLong,
            Refusal::Shape,
            Refusal::Header,
            Refusal::Critical,
            Refusal::Algorithm,
            Refusal::KeyUnknown,
            Refusal::Signature,
            Refusal::Claims,
            Refusal::Claim("sub"),
            Refusal::Missing("exp"),
            Refusal::Expired,
            Refusal::NotYet,
            Refusal::Issuer,
            Refusal::Audience,
            Refusal::TooManyChannels,
            Refusal::Revoked,
        ];
        assert_eq!(all.map(Refusal::index), std::array::from_fn(|index| index));
        let mut labels = all.map(Refusal::label);
        labels.sort_unstable();
        assert!(labels.windows(2).all(|two| two[0] != two[1]), "{labels:?}");
    }
}
