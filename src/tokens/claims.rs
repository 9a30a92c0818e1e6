//! What a token says, once its signature is known to be right (RFC 7519 §4.1, and the claims of ours). Each claim is read by
//! itself, so that whoever made the token is told which one is wrong. Must never know a key.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::grant::Allowance;
use super::pattern::is_valid_pattern;
use super::refusal::Refusal;
use crate::limits::{MOMENT_S_MAX, TOKEN_PATTERNS_MAX, USER_BYTES_MAX};

/// The claims that are read, each as what it must be.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) user: String,
    /// Seconds since the Unix epoch, as all moments here.
    pub(super) expires_s: u64,
    pub(super) not_before_s: Option<u64>,
    pub(super) issued_s: Option<u64>,
    pub(super) issuer: Option<String>,
    /// None where the claim is not there.
    pub(super) audience: Option<Vec<String>>,
    pub(super) subscribe: Vec<String>,
    pub(super) publish: Vec<String>,
    pub(super) limits: Allowance,
}

impl Claims {
    /// Reads the second part of a token.
    ///
    /// # Errors
    /// [`Refusal::Claims`] where it is no JSON object with each claim once; else the claim that is wrong or missing.
    pub(super) fn read(part: &str) -> Result<Self, Refusal> {
        let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Claims)?;
        // The whole of it is text, also what nobody reads.
        let json = str::from_utf8(&json).map_err(|_| Refusal::Claims)?;
        let raw: Raw<'_> = serde_json::from_str(json).map_err(|_| Refusal::Claims)?;
        let claims = Self {
            user: user(raw.sub)?,
            expires_s: moment("exp", raw.exp)?.ok_or(Refusal::Missing("exp"))?,
            not_before_s: moment("nbf", raw.nbf)?,
            issued_s: moment("iat", raw.iat)?,
            issuer: optional("iss", raw.iss)?,
            audience: raw.aud.map(audience).transpose()?,
            subscribe: patterns("subscribe", raw.subscribe)?,
            publish: patterns("publish", raw.publish)?,
            limits: limits(raw.limits)?,
        };
        if claims.subscribe.len() + claims.publish.len() > TOKEN_PATTERNS_MAX {
            return Err(Refusal::TooManyChannels);
        }
        Ok(claims)
    }
}

/// Claims as they stand there. Those that are not here are passed over, each without recursion; one that is here twice is an
/// error of serde's; `null` counts as not there.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    #[serde(borrow)]
    exp: Option<&'a RawValue>,
    #[serde(borrow)]
    nbf: Option<&'a RawValue>,
    #[serde(borrow)]
    iat: Option<&'a RawValue>,
    #[serde(borrow)]
    iss: Option<&'a RawValue>,
    #[serde(borrow)]
    aud: Option<&'a RawValue>,
    #[serde(borrow)]
    subscribe: Option<&'a RawValue>,
    #[serde(borrow)]
    publish: Option<&'a RawValue>,
    #[serde(borrow)]
    limits: Option<&'a RawValue>,
}

/// A claim of type `T`, where it is there.
fn optional<'a, T: Deserialize<'a>>(
    name: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, Refusal> {
    raw.map(|raw| serde_json::from_str(raw.get()).map_err(|_| Refusal::Claim(name))).transpose()
}

fn user(raw: Option<&RawValue>) -> Result<String, Refusal> {
    let user: String = optional("sub", raw)?.ok_or(Refusal::Missing("sub"))?;
    let fits = (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains(char::is_control);
    if fits { Ok(user) } else { Err(Refusal::Claim("sub")) }
}

/// A NumericDate (RFC 7519 §2): seconds, maybe with a fraction, which is dropped. A number so large that it must be
/// milliseconds is refused: taken for seconds it would mean a token for ever.
fn moment(name: &'static str, raw: Option<&RawValue>) -> Result<Option<u64>, Refusal> {
    let Some(number) = optional::<Number>(name, raw)? else { return Ok(None) };
    let seconds = number
        .as_u64()
        .or_else(|| number.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64));
    seconds.filter(|seconds| *seconds <= MOMENT_S_MAX).map(Some).ok_or(Refusal::Claim(name))
}

/// One audience or several (RFC 7519 §4.1.3).
fn audience(raw: &RawValue) -> Result<Vec<String>, Refusal> {
    let wrong = |_| Refusal::Claim("aud");
    if raw.get().starts_with('[') {
        return serde_json::from_str(raw.get()).map_err(wrong);
    }
    serde_json::from_str(raw.get()).map(|one| vec![one]).map_err(wrong)
}

fn patterns(name: &'static str, raw: Option<&RawValue>) -> Result<Vec<String>, Refusal> {
    let patterns: Vec<Cow<'_, str>> = optional(name, raw)?.unwrap_or_default();
    if patterns.len() > TOKEN_PATTERNS_MAX {
        return Err(Refusal::TooManyChannels);
    }
    if patterns.iter().any(|pattern| !is_valid_pattern(pattern)) {
        return Err(Refusal::Claim(name));
    }
    Ok(patterns.into_iter().map(Cow::into_owned).collect())
}

fn limits(raw: Option<&RawValue>) -> Result<Allowance, Refusal> {
    let limits: RawLimits = optional("limits", raw)?.unwrap_or_default();
    if limits.messages_per_second == Some(0) {
        return Err(Refusal::Claim("limits"));
    }
    let channels = limits.channels.map(|channels| u16::try_from(channels).unwrap_or(u16::MAX));
    Ok(Allowance { channels, messages_per_second: limits.messages_per_second })
}

/// A member that is not here is refused: a limit that was misspelt would be none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    channels: Option<u32>,
    messages_per_second: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::super::forge::encode;
    use super::*;

    /// Reads claims that are good but for `more`.
    fn read(more: &str) -> Result<Claims, Refusal> {
        Claims::read(&encode(format!(r#"{{"sub":"a","exp":1900000000,{more}}}"#)))
    }

    #[test]
    fn channels_are_names_and_beginnings_of_names() {
        let claims = read(r#""subscribe":["room:1","news:*"],"publish":["*"]"#).unwrap();
        assert_eq!(claims.subscribe, ["room:1", "news:*"]);
        assert_eq!(claims.publish, ["*"]);
        let claims = read(r#""subscribe":[],"publish":null"#).unwrap();
        assert_eq!((claims.subscribe.len(), claims.publish.len()), (0, 0), "nothing said is nothing allowed");
    }

    #[test]
    fn a_channel_that_cannot_exist_is_refused_and_not_passed_over() {
        for wrong in [
            r#""room:1""#,
            r#"[""]"#,
            r#"["a b"]"#,
            r#"["a*b"]"#,
            r#"["*:1"]"#,
            r#"["a","größe"]"#,
            r#"[5]"#,
            r#"[null]"#,
            r#"{"a":true}"#,
            r#"true"#,
        ] {
            for name in ["subscribe", "publish"] {
                let refusal = read(&format!(r#""{name}":{wrong}"#)).unwrap_err();
                assert_eq!(refusal, Refusal::Claim(name), "{wrong}");
            }
        }
    }

    #[test]
    fn the_channels_of_both_lists_are_counted_together() {
        let list = |count: usize| format!("[{}]", vec![r#""a""#; count].join(","));
        let both =
            |one, other| read(&format!(r#""subscribe":{},"publish":{}"#, list(one), list(other))).map(drop);
        assert_eq!(both(TOKEN_PATTERNS_MAX, 0), Ok(()));
        assert_eq!(both(TOKEN_PATTERNS_MAX - 1, 1), Ok(()));
        assert_eq!(both(TOKEN_PATTERNS_MAX, 1), Err(Refusal::TooManyChannels));
        assert_eq!(both(0, TOKEN_PATTERNS_MAX + 1), Err(Refusal::TooManyChannels));
    }

    #[test]
    fn limits_are_known_ones_and_leave_something() {
        let limits = |limits: &str| read(&format!(r#""limits":{limits}"#)).map(|claims| claims.limits);
        let allowance = |channels, messages_per_second| Ok(Allowance { channels, messages_per_second });
        assert_eq!(limits(r#"{"channels":8,"messages_per_second":5}"#), allowance(Some(8), Some(5)));
        assert_eq!(limits(r#"{"channels":0}"#), allowance(Some(0), None));
        assert_eq!(limits(r#"{"channels":70000}"#), allowance(Some(u16::MAX), None));
        assert_eq!(limits("{}"), allowance(None, None));
        assert_eq!(limits("null"), allowance(None, None));
        for wrong in [
            r#"{"messages_per_second":0}"#,
            r#"{"channels":-1}"#,
            r#"{"channels":"8"}"#,
            r#"{"channels":1.5}"#,
            r#"{"chanels":8}"#,
            r#"{"channels":8,"channels":9}"#,
            "[]",
            "8",
        ] {
            assert_eq!(limits(wrong), Err(Refusal::Claim("limits")), "{wrong}");
        }
    }

    #[test]
    fn a_user_has_one_byte_at_least_and_fits_into_a_line() {
        let user = |user: &str| Claims::read(&encode(format!(r#"{{"sub":"{user}","exp":1900000000}}"#)));
        for good in ["a", "auth0|5f7", "größe 5", &"u".repeat(USER_BYTES_MAX)] {
            assert_eq!(user(good).map(|claims| claims.user).as_deref(), Ok(good));
        }
        for wrong in ["", r"a\nb", r"\u0000", r"\u009b1m", &"u".repeat(USER_BYTES_MAX + 1)] {
            assert_eq!(user(wrong).map(drop), Err(Refusal::Claim("sub")), "{wrong}");
        }
    }

    #[test]
    fn moments_are_seconds_whose_fraction_is_dropped() {
        let claims = Claims::read(&encode(r#"{"sub":"a","exp":253402300799,"nbf":1.9,"iat":0}"#)).unwrap();
        assert_eq!(
            (claims.expires_s, claims.not_before_s, claims.issued_s),
            (MOMENT_S_MAX, Some(1), Some(0))
        );
    }
}
