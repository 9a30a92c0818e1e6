//! Whether a client may do something in a channel: the channel's policy and what the client's token allows, together.
//! Must never know how an answer is told to the client.

use super::grant::Grant;
use crate::config::policy::{Auth, Policy};

/// Why a client may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It has not said who it is: with a token it may be allowed.
    Unauthorized,
    /// It may not, or nobody may.
    Forbidden,
}

/// Whether a client may follow a channel, and see who else does.
///
/// # Errors
/// Why not.
pub fn may_subscribe(policy: &Policy, grant: Option<&Grant>, channel: &str) -> Result<(), Denial> {
    match policy.auth {
        Auth::Public => Ok(()),
        Auth::Token => demand(grant, |grant| grant.allows_subscribe(channel)),
    }
}

/// Whether a client may publish to a channel over its own connection. What the policy keeps from clients no token gives them.
///
/// # Errors
/// Why not.
pub fn may_publish(policy: &Policy, grant: Option<&Grant>, channel: &str) -> Result<(), Denial> {
    match policy.auth {
        _ if !policy.clients_may_publish => Err(Denial::Forbidden),
        Auth::Public => Ok(()),
        Auth::Token => demand(grant, |grant| grant.allows_publish(channel)),
    }
}

fn demand(grant: Option<&Grant>, allows: impl FnOnce(&Grant) -> bool) -> Result<(), Denial> {
    match grant {
        None => Err(Denial::Unauthorized),
        Some(grant) if allows(grant) => Ok(()),
        Some(_) => Err(Denial::Forbidden),
    }
}

#[cfg(test)]
mod tests {
    use super::super::claims::Claims;
    use super::super::forge::{claims, encode};
    use super::*;

    fn policy(auth: Auth, clients_may_publish: bool) -> Policy {
        Policy { auth, clients_may_publish, ..Policy::default() }
    }

    fn alice() -> Grant {
        let rights = r#""subscribe":["room:*"],"publish":["room:1"]"#;
        Grant::new(&Claims::read(&encode(claims(rights))).unwrap())
    }

    #[test]
    fn a_public_channel_is_open_to_everybody_whatever_a_token_says() {
        let open = policy(Auth::Public, true);
        for grant in [None, Some(&alice())] {
            assert_eq!(may_subscribe(&open, grant, "news"), Ok(()));
            assert_eq!(may_publish(&open, grant, "news"), Ok(()));
        }
    }

    #[test]
    fn a_channel_with_tokens_is_open_to_those_whose_token_names_it() {
        let closed = policy(Auth::Token, true);
        assert_eq!(may_subscribe(&closed, Some(&alice()), "room:2"), Ok(()));
        assert_eq!(may_subscribe(&closed, Some(&alice()), "news"), Err(Denial::Forbidden));
        assert_eq!(may_subscribe(&closed, None, "room:2"), Err(Denial::Unauthorized));
        assert_eq!(may_publish(&closed, Some(&alice()), "room:1"), Ok(()));
        assert_eq!(may_publish(&closed, Some(&alice()), "room:2"), Err(Denial::Forbidden));
        assert_eq!(may_publish(&closed, None, "room:1"), Err(Denial::Unauthorized));
    }

    #[test]
    fn where_clients_may_not_publish_no_token_lets_them() {
        for auth in Auth::ALL {
            for grant in [None, Some(&alice())] {
                assert_eq!(
                    may_publish(&policy(auth, false), grant, "room:1"),
                    Err(Denial::Forbidden),
                    "{auth}"
                );
            }
        }
    }
}
