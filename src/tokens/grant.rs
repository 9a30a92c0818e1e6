//! What one token allows its bearer: held for every connection that is signed in, so it is small. Must never know a key, nor
//! hold a byte of the token itself.

use std::fmt;

use super::claims::Claims;
use super::pattern::covers;
use crate::clock::Now;
use crate::limits::TOKEN_LEEWAY_S;

/// Who the bearer is, what it may do, and how long. The texts lie in one block:
///
/// ```text
///   alice room:1 news:* room:1
///   user  └subscribe──┘ publish     lists are parted by a space, which no channel name holds
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The user, the list of what it may subscribe to, the list of what it may publish to.
    text: Box<str>,
    expires_s: u64,
    /// 0 where the token does not say.
    issued_s: u64,
    messages_per_second: u32,
    /// Where the user ends.
    user_end: u16,
    /// Where the first list ends.
    subscribe_end: u16,
    channels: u16,
}

/// The limits that a token sets its bearer. They only ever narrow those of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Channels that a connection may be subscribed to.
    pub(super) channels: Option<u16>,
    /// Messages of a connection per second; not 0.
    pub(super) messages_per_second: Option<u32>,
}

impl Grant {
    pub(super) fn new(claims: &Claims) -> Self {
        let (subscribe, publish) = (claims.subscribe.join(" "), claims.publish.join(" "));
        let text = [claims.user.as_str(), &subscribe, &publish].concat().into_boxed_str();
        let user_end = claims.user.len();
        Self {
            text,
            expires_s: claims.expires_s,
            issued_s: claims.issued_s.unwrap_or(0),
            messages_per_second: claims.limits.messages_per_second.unwrap_or(u32::MAX),
            // Both come from a token, whose bytes fit into 16 bits.
            user_end: user_end as u16,
            subscribe_end: (user_end + subscribe.len()) as u16,
            channels: claims.limits.channels.unwrap_or(u16::MAX),
        }
    }

    /// The bearer. Two tokens of one user say the same here.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.text[..usize::from(self.user_end)]
    }

    /// Whether the bearer may follow a channel whose policy asks for a token.
    #[must_use]
    pub fn allows_subscribe(&self, channel: &str) -> bool {
        any_covers(self.subscribe_list(), channel)
    }

    /// Whether the bearer may publish to a channel whose policy asks for a token.
    #[must_use]
    pub fn allows_publish(&self, channel: &str) -> bool {
        any_covers(self.publish_list(), channel)
    }

    /// When it ends, in seconds since the Unix epoch, as the token says.
    #[must_use]
    pub const fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// When the token was issued, in seconds since the Unix epoch, where it says so.
    #[must_use]
    pub fn issued_s(&self) -> Option<u64> {
        Some(self.issued_s).filter(|issued| *issued != 0)
    }

    /// Whether its time is over, [`TOKEN_LEEWAY_S`] included: the same answer as for a token that is shown at this moment.
    #[must_use]
    pub const fn is_expired(&self, now: Now) -> bool {
        is_over(self.expires_s, now)
    }

    /// How many channels a connection may be subscribed to, where the node allows so many.
    #[must_use]
    pub fn channels_max(&self, node: usize) -> usize {
        if self.channels == u16::MAX { node } else { node.min(usize::from(self.channels)) }
    }

    /// How many messages per second a connection may send, where the node allows so many.
    #[must_use]
    pub fn messages_per_second(&self, node: u32) -> u32 {
        node.min(self.messages_per_second)
    }

    /// Bytes on the heap beside the grant itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.text.len()
    }

    fn subscribe_list(&self) -> &str {
        &self.text[usize::from(self.user_end)..usize::from(self.subscribe_end)]
    }

    fn publish_list(&self) -> &str {
        &self.text[usize::from(self.subscribe_end)..]
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("user", &self.user())
            .field("subscribe", &self.subscribe_list())
            .field("publish", &self.publish_list())
            .field("expires_s", &self.expires_s)
            .finish_non_exhaustive()
    }
}

/// Whether a token that ends then is over now.
pub(super) const fn is_over(expires_s: u64, now: Now) -> bool {
    now.wall_ms / 1000 >= expires_s + TOKEN_LEEWAY_S
}

fn any_covers(list: &str, channel: &str) -> bool {
    !list.is_empty() && list.split(' ').any(|pattern| covers(pattern, channel))
}

const _: () = assert!(size_of::<Grant>() <= 48);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::forge::at;
    use super::*;

    fn grant(claims: &str) -> Grant {
        Grant::new(&Claims::read(&super::super::forge::encode(super::super::forge::claims(claims))).unwrap())
    }

    #[test]
    fn who_is_allowed_what_is_read_back() {
        let grant = grant(r#""subscribe":["room:1","news:*"],"publish":["room:1"]"#);
        assert_eq!(grant.user(), "alice");
        for channel in ["room:1", "news:", "news:eu:1"] {
            assert!(grant.allows_subscribe(channel), "{channel}");
        }
        for channel in ["room:2", "room:11", "room", "news", "alice", "room:1room:1", "*"] {
            assert!(!grant.allows_subscribe(channel), "{channel}");
        }
        assert!(grant.allows_publish("room:1"));
        assert!(!grant.allows_publish("news:1"), "who may follow may not publish for that");
    }

    #[test]
    fn what_a_token_does_not_name_it_does_not_allow() {
        let nothing = grant("");
        assert!(!nothing.allows_subscribe("a") && !nothing.allows_publish("a"));
        let publisher = grant(r#""publish":["*"]"#);
        assert!(!publisher.allows_subscribe("a") && publisher.allows_publish("a"));
    }

    #[test]
    fn limits_narrow_those_of_the_node_and_never_widen_them() {
        let narrow = grant(r#""limits":{"channels":8,"messages_per_second":5}"#);
        assert_eq!((narrow.channels_max(128), narrow.messages_per_second(50)), (8, 5));
        assert_eq!((narrow.channels_max(4), narrow.messages_per_second(2)), (4, 2));
        let silent = grant("");
        assert_eq!((silent.channels_max(1 << 20), silent.messages_per_second(50)), (1 << 20, 50));
        assert_eq!(grant(r#""limits":{"channels":0}"#).channels_max(128), 0);
    }

    #[test]
    fn a_grant_ends_with_its_token() {
        let grant = grant("");
        assert_eq!(grant.expires_s(), super::super::forge::NOW_S + 3600);
        assert!(!grant.is_expired(at(3609)));
        assert!(grant.is_expired(at(3610)));
    }

    #[test]
    fn a_grant_weighs_what_it_says() {
        let claims = r#""subscribe":["room:1","news:*"],"publish":["room:1"]"#;
        let mut held = None;
        let measured = allocation_counter::measure(|| held = Some(Box::new(grant(claims))));
        let grant = held.take().unwrap();
        assert_eq!(grant.heap_bytes(), "aliceroom:1 news:*room:1".len());
        assert_eq!(measured.bytes_current as usize, size_of::<Grant>() + grant.heap_bytes());
    }

    proptest! {
        /// The naive twin keeps the lists as they came.
        #[test]
        fn what_is_allowed_agrees_with_trying_every_pattern(
            user in "[a-z*: ]{1,5}",
            subscribe in prop::collection::vec("[ab:]{0,3}\\*|[ab:]{1,4}", 0..9),
            publish in prop::collection::vec("[ab:]{0,3}\\*|[ab:]{1,4}", 0..9),
            channels in prop::collection::vec("[ab:]{1,5}", 1..24),
        ) {
            let claims = serde_json::json!({ "sub": user, "exp": 1, "subscribe": subscribe, "publish": publish });
            let grant = Grant::new(&Claims::read(&super::super::forge::encode(claims.to_string())).unwrap());
            let naive = |list: &[String], channel: &str| {
                list.iter().any(|pattern| match pattern.split_once('*') {
                    Some((prefix, _)) => channel.len() >= prefix.len() && channel[..prefix.len()] == *prefix,
                    None => pattern == channel,
                })
            };
            prop_assert_eq!(grant.user(), user);
            for channel in &channels {
                prop_assert_eq!(grant.allows_subscribe(channel), naive(&subscribe, channel), "{}", channel);
                prop_assert_eq!(grant.allows_publish(channel), naive(&publish, channel), "{}", channel);
            }
        }
    }
}
