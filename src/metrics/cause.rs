//! Leaf: what kept a client out, and what a token was refused for: a table of causes each. Must never know what the client is told about it.

/// Which check a request did not pass, or what happened before there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No HTTP, or a header, parameter or body that is not what it should be.
    Malformed,
    /// The request or its body is too long.
    TooLarge,
    /// Another version of HTTP than the path asks for.
    HttpVersion,
    /// A method that the path does not take.
    Method,
    /// A path that serves nothing.
    Path,
    /// A WebSocket's path without the headers of an upgrade: often a proxy that does not pass them on.
    Upgrade,
    /// Another version of the WebSocket protocol than 13.
    Version,
    /// No `Sec-WebSocket-Key`, or a wrong one.
    Key,
    /// A body where none has a meaning.
    Body,
    /// A page that may not connect.
    Origin,
    /// A token that is worth nothing here, or none where one is asked for.
    Token,
    /// Channels or cursors that cannot be, or too many of them.
    Channels,
    /// Channels that the client may not follow.
    Forbidden,
    /// More messages than a connection may send.
    RateLimited,
    /// The node has no room, or no descriptor.
    Full,
    /// The node is going away.
    Draining,
    /// Whoever runs the node has ended the connection.
    Kicked,
    /// The request did not arrive in time.
    Timeout,
    /// The client left in the middle of its request.
    Left,
    /// A fault of ours.
    Internal,
}

impl Cause {
    /// All variants, in the order of the table: for metrics.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::TooLarge,
        Self::HttpVersion,
        Self::Method,
        Self::Path,
        Self::Upgrade,
        Self::Version,
        Self::Key,
        Self::Body,
        Self::Origin,
        Self::Token,
        Self::Channels,
        Self::Forbidden,
        Self::RateLimited,
        Self::Full,
        Self::Draining,
        Self::Kicked,
        Self::Timeout,
        Self::Left,
        Self::Internal,
    ];

    /// The value of the `cause` label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::HttpVersion => "http_version",
            Self::Method => "method",
            Self::Path => "path",
            Self::Upgrade => "upgrade",
            Self::Version => "version",
            Self::Key => "key",
            Self::Body => "body",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Channels => "channels",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Kicked => "kicked",
            Self::Timeout => "timeout",
            Self::Left => "left",
            Self::Internal => "internal",
        }
    }

    /// The place in [`Cause::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What tokens are refused for, as `crate::tokens::Refusal` tells it apart: the values of the `cause` label.
pub const TOKEN_CAUSES: [&str; 16] = [
    "too_long",
    "shape",
    "header",
    "critical",
    "algorithm",
    "key_unknown",
    "signature",
    "claims",
    "claim",
    "claim_missing",
    "expired",
    "not_yet",
    "issuer",
    "audience",
    "too_many_channels",
    "revoked",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_stands_at_its_index_with_a_label_of_its_own() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), index);
            assert_eq!(Cause::ALL.iter().filter(|other| other.label() == cause.label()).count(), 1);
        }
    }
}
