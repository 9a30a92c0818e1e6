//! The whole way from a token to what it allows: shape, header, key, signature, times, issuer, audience, rights. Nothing that a
//! token says is believed before its signature is right. Must never ask a clock.

use super::claims::Claims;
use super::grant::{Grant, is_over};
use super::header::Header;
use super::keys::Keys;
use super::refusal::Refusal;
use super::token::Token;
use crate::clock::Now;
use crate::limits::TOKEN_LEEWAY_S;

/// What the operator demands of every token beside a right signature and a time that has come and is not over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// Who may issue tokens; with none given, everybody who has a key.
    pub issuers: Vec<String>,
    /// What the node is called in `aud`. With none given, a token that has an `aud` is meant for somebody else (RFC 7519
    /// §4.1.3).
    pub audiences: Vec<String>,
}

/// What `token` allows at the moment `now`.
///
/// # Errors
/// The first reason against it.
pub fn verify(keys: &Keys, demands: &Demands, token: Token<'_>, now: Now) -> Result<Grant, Refusal> {
    let parts = token.parts()?;
    let header = Header::read(parts.header)?;
    let is_signed = keys.candidates(&header)?.any(|key| key.has_signed(parts.signed, parts.signature));
    if !is_signed {
        return Err(Refusal::Signature);
    }
    let claims = Claims::read(parts.claims)?;
    check_times(&claims, now)?;
    check_issuer(&claims, &demands.issuers)?;
    check_audience(&claims, &demands.audiences)?;
    Ok(Grant::new(&claims))
}

fn check_times(claims: &Claims, now: Now) -> Result<(), Refusal> {
    if is_over(claims.expires_s, now) {
        return Err(Refusal::Expired);
    }
    let begins_s = claims.not_before_s.unwrap_or(0);
    if now.wall_ms / 1000 + TOKEN_LEEWAY_S < begins_s {
        return Err(Refusal::NotYet);
    }
    Ok(())
}

fn check_issuer(claims: &Claims, issuers: &[String]) -> Result<(), Refusal> {
    if issuers.is_empty() {
        return Ok(());
    }
    let issuer = claims.issuer.as_ref().ok_or(Refusal::Missing("iss"))?;
    if issuers.contains(issuer) { Ok(()) } else { Err(Refusal::Issuer) }
}

fn check_audience(claims: &Claims, audiences: &[String]) -> Result<(), Refusal> {
    match &claims.audience {
        None if audiences.is_empty() => Ok(()),
        None => Err(Refusal::Missing("aud")),
        Some(meant) if meant.iter().any(|one| audiences.contains(one)) => Ok(()),
        Some(_) => Err(Refusal::Audience),
    }
}
