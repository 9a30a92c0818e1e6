//! Users that are shut out: their tokens of before a moment are worth nothing any more, whatever those say. Each is remembered
//! until the last such token has expired by itself. Must never know a connection: who is connected is for a shard to look up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::grant::Grant;
use super::refusal::Refusal;
use crate::clock::Now;
use crate::limits::{REVOCATION_KEEP_S, REVOCATIONS_MAX, TOKEN_LEEWAY_S};

/// The users that are shut out.
#[derive(Debug, Clone)]
pub struct Revocations {
    /// The moment that a token must be younger than, in seconds since the Unix epoch.
    moments: BTreeMap<Arc<str>, u64>,
    /// The longest life of a token that was ever seen here, in seconds.
    life_s: u64,
}

/// [`REVOCATIONS_MAX`] users are shut out already, none of whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Revocations {
    /// Nobody is shut out.
    #[must_use]
    pub const fn new() -> Self {
        Self { moments: BTreeMap::new(), life_s: REVOCATION_KEEP_S }
    }

    /// Shuts out `user` with every token issued at `moment_s` or before, in seconds since the Unix epoch. A user that is shut
    /// out already stays so for the later of the two moments. Whose time is over is forgotten.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed.
    pub fn revoke(&mut self, user: Arc<str>, moment_s: u64, now: Now) -> Result<(), Full> {
        if let Some(known) = self.moments.get_mut(&user) {
            *known = moment_s.max(*known);
            return Ok(());
        }
        if self.moments.len() >= REVOCATIONS_MAX {
            self.expire(now);
        }
        if self.moments.len() >= REVOCATIONS_MAX {
            return Err(Full);
        }
        self.moments.insert(user, moment_s);
        Ok(())
    }

    /// Takes note of a token that was shown, and says whether it is worth anything. One that does not say when it was issued
    /// may be older than the moment, so it counts as older.
    ///
    /// # Errors
    /// [`Refusal::Revoked`].
    pub fn admit(&mut self, grant: &Grant, now: Now) -> Result<(), Refusal> {
        let begun_s = grant.issued_s().unwrap_or(now.wall_ms / 1000);
        self.life_s = self.life_s.max(grant.expires_s().saturating_sub(begun_s));
        if self.is_revoked(grant) { Err(Refusal::Revoked) } else { Ok(()) }
    }

    /// Whether a grant that was admitted before is worth nothing any more.
    #[must_use]
    pub fn is_revoked(&self, grant: &Grant) -> bool {
        let moment = self.moments.get(grant.user());
        moment.is_some_and(|moment_s| grant.issued_s().is_none_or(|issued_s| issued_s <= *moment_s))
    }

    /// Forgets those whose tokens of before their moment have all expired. Looks at every user that is shut out.
    pub fn expire(&mut self, now: Now) {
        let keep_s = self.life_s.saturating_add(TOKEN_LEEWAY_S);
        self.moments.retain(|_, moment_s| moment_s.saturating_add(keep_s) > now.wall_ms / 1000);
    }

    /// How many users are shut out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{REVOCATIONS_MAX} users are shut out already: replace the key that their tokens are signed with"
        )
    }
}

impl std::error::Error for Full {}

#[cfg(test)]
mod tests {
    use super::super::claims::Claims;
    use super::super::forge::{NOW_S, at, encode};
    use super::*;

    /// A grant whose token was issued and ends so many seconds after [`NOW_S`].
    fn grant(user: &str, issued: Option<i64>, expires: i64) -> Grant {
        let moment = |later: i64| NOW_S.saturating_add_signed(later);
        let issued = issued.map_or(String::new(), |later| format!(r#","iat":{}"#, moment(later)));
        let claims = format!(r#"{{"sub":"{user}","exp":{}{issued}}}"#, moment(expires));
        Grant::new(&Claims::read(&encode(claims)).unwrap())
    }

    fn revoke(revocations: &mut Revocations, user: &str, later_s: i64) -> Result<(), Full> {
        revocations.revoke(user.into(), NOW_S.saturating_add_signed(later_s), at(later_s))
    }

    #[test]
    fn a_token_of_before_the_moment_is_refused_and_a_newer_one_and_other_users_are_not() {
        let mut revocations = Revocations::new();
        revoke(&mut revocations, "alice", 0).unwrap();
        for (user, issued, expected) in [
            ("alice", Some(-60), Err(Refusal::Revoked)),
            ("alice", Some(0), Err(Refusal::Revoked)),
            ("alice", None, Err(Refusal::Revoked)),
            ("alice", Some(1), Ok(())),
            ("Alice", Some(-60), Ok(())),
            ("bob", None, Ok(())),
        ] {
            assert_eq!(revocations.admit(&grant(user, issued, 3600), at(5)), expected, "{user} {issued:?}");
            assert_eq!(revocations.is_revoked(&grant(user, issued, 3600)), expected.is_err());
        }
    }

    #[test]
    fn the_later_moment_counts() {
        let mut revocations = Revocations::new();
        for later_s in [10, 0, 5] {
            revoke(&mut revocations, "alice", later_s).unwrap();
        }
        assert!(revocations.is_revoked(&grant("alice", Some(10), 60)));
        assert!(!revocations.is_revoked(&grant("alice", Some(11), 60)));
        assert_eq!(revocations.len(), 1);
    }

    #[test]
    fn a_user_stays_shut_out_for_a_day_and_then_is_forgotten() {
        let mut revocations = Revocations::new();
        revoke(&mut revocations, "alice", 0).unwrap();
        let day_s = REVOCATION_KEEP_S as i64;
        revocations.expire(at(day_s + TOKEN_LEEWAY_S as i64 - 1));
        assert_eq!(revocations.len(), 1);
        revocations.expire(at(day_s + TOKEN_LEEWAY_S as i64));
        assert!(revocations.is_empty());
    }

    #[test]
    fn a_user_stays_shut_out_for_as_long_as_a_token_seen_before_may_live() {
        let mut revocations = Revocations::new();
        let week_s = 7 * REVOCATION_KEEP_S as i64;
        let long = grant("bob", Some(0), week_s);
        revocations.admit(&long, at(0)).unwrap();
        revoke(&mut revocations, "bob", 0).unwrap();
        revocations.expire(at(week_s + TOKEN_LEEWAY_S as i64 - 1));
        assert!(revocations.is_revoked(&long));
        revocations.expire(at(week_s + TOKEN_LEEWAY_S as i64));
        assert!(!revocations.is_revoked(&long) && long.is_expired(at(week_s + TOKEN_LEEWAY_S as i64)));
    }

    #[test]
    fn where_there_is_no_room_whose_time_is_over_makes_some_and_nobody_else_does() {
        let mut revocations = Revocations::new();
        for number in 0..REVOCATIONS_MAX {
            revoke(&mut revocations, &number.to_string(), i64::from(number > 0) * 100).unwrap();
        }
        assert_eq!(revoke(&mut revocations, "late", 200), Err(Full));
        assert_eq!(revoke(&mut revocations, "7", 200), Ok(()), "who is shut out already needs no room");
        let day_s = (REVOCATION_KEEP_S + TOKEN_LEEWAY_S) as i64;
        assert_eq!(revoke(&mut revocations, "late", day_s), Ok(()), "the first one's time is over");
        assert_eq!(revocations.len(), REVOCATIONS_MAX);
        assert!(!revocations.is_revoked(&grant("0", Some(-1), 60)));
        assert!(revocations.is_revoked(&grant("1", Some(-1), 60)));
    }
}
