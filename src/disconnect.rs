//! Why a connection ends: one table of code, reason, whose fault, and whether the client may come back.
//! Must never know how the end is carried out.

/// Whose doing the end of a connection is. It decides the log level and the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody's: the connection ended as it should.
    Nobody,
    /// The peer broke the protocol or a policy.
    Peer,
    /// The network or the peer's machine went away.
    Network,
    /// The node itself, or whoever runs it.
    Node,
}

/// Every way a connection can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// The peer said goodbye with a close frame.
    PeerClosed,
    /// The peer ended the TCP stream without a close frame, or reset it.
    PeerGone,
    /// The upgrade was refused with an HTTP status.
    Refused,
    /// A plain HTTP answer was sent in full.
    Answered,
    /// The upgrade did not finish in time.
    HandshakeTimeout,
    /// The peer did not answer a close frame in time.
    CloseTimeout,
    /// The node shuts down or drains.
    GoingAway,
    /// It was connected for as long as the node lets clients be.
    TooOld,
    /// The peer broke RFC 6455.
    Protocol,
    /// A binary message on an endpoint that speaks JSON.
    Binary,
    /// Text that is not UTF-8, or a close reason that is not.
    BadUtf8,
    /// The peer kept sending faster than it may.
    RateLimited,
    /// A message larger than the limit.
    TooBig,
    /// A fault of ours that ended this connection only.
    Internal,
    /// The node has no room.
    TryLater,
    /// The peer did not read fast enough.
    SlowConsumer,
    /// Nothing was heard from the peer.
    Idle,
    /// The peer showed a token that is worth nothing here.
    Unauthorized,
    /// The time of the peer's token was over, and it did not show another one.
    TokenExpired,
    /// Whoever runs the node has ended it.
    Kicked,
}

impl Disconnect {
    /// All variants, in the order of the table: for metrics and for the reference page.
    pub const ALL: [Self; 20] = [
        Self::PeerClosed,
        Self::PeerGone,
        Self::Refused,
        Self::Answered,
        Self::HandshakeTimeout,
        Self::CloseTimeout,
        Self::GoingAway,
        Self::TooOld,
        Self::Protocol,
        Self::Binary,
        Self::BadUtf8,
        Self::RateLimited,
        Self::TooBig,
        Self::Internal,
        Self::TryLater,
        Self::SlowConsumer,
        Self::Idle,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::Kicked,
    ];

    /// The row of the table: close code (0 where no close frame is sent), reason, label, fault, may return.
    const fn row(self) -> (u16, &'static str, &'static str, Fault, bool) {
        match self {
            Self::PeerClosed => (1000, "", "peer_closed", Fault::Nobody, true),
            Self::PeerGone => (0, "", "peer_gone", Fault::Network, true),
            Self::Refused => (0, "", "refused", Fault::Peer, true),
            Self::Answered => (0, "", "answered", Fault::Nobody, true),
            Self::HandshakeTimeout => (0, "", "handshake_timeout", Fault::Peer, true),
            Self::CloseTimeout => (0, "", "close_timeout", Fault::Peer, true),
            Self::GoingAway => (1001, "going away", "going_away", Fault::Node, true),
            Self::TooOld => (1001, "going away", "max_age", Fault::Node, true),
            Self::Protocol => (1002, "protocol error", "protocol", Fault::Peer, false),
            Self::Binary => (1003, "binary is not accepted here", "binary", Fault::Peer, false),
            Self::BadUtf8 => (1007, "invalid UTF-8", "bad_utf8", Fault::Peer, false),
            Self::RateLimited => (1008, "too many messages", "rate_limited", Fault::Peer, true),
            Self::TooBig => (1009, "message too big", "too_big", Fault::Peer, false),
            Self::Internal => (1011, "internal error", "internal", Fault::Node, true),
            Self::TryLater => (1013, "try again later", "try_later", Fault::Node, true),
            Self::SlowConsumer => (4003, "slow consumer", "slow_consumer", Fault::Peer, true),
            Self::Idle => (4004, "idle", "idle", Fault::Network, true),
            Self::Unauthorized => (4001, "unauthorized", "unauthorized", Fault::Peer, true),
            Self::TokenExpired => (4002, "token expired", "token_expired", Fault::Nobody, true),
            Self::Kicked => (4006, "kicked", "kicked", Fault::Node, false),
        }
    }

    /// The WebSocket close code, or 0 where the connection ends without a close frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// The reason text of the close frame.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.row().1
    }

    /// The value of the `reason` label in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().2
    }

    /// Whose doing it is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        self.row().3
    }

    /// Whether a client should connect again.
    #[must_use]
    pub const fn may_return(self) -> bool {
        self.row().4
    }

    /// The place in [`Disconnect::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Which bound of what waits for clients a slow consumer was over when it was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// That of one connection, which holds at once.
    Hard,
    /// That of one connection, which may be exceeded for a time.
    Soft,
    /// That of all connections together.
    Total,
}

impl Bound {
    /// All variants, for metrics.
    pub const ALL: [Self; 3] = [Self::Hard, Self::Soft, Self::Total];

    /// The value of the `bound` label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Total => "total",
        }
    }

    /// The place in [`Bound::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disconnect_stands_at_its_index_with_a_label_of_its_own() {
        for (index, disconnect) in Disconnect::ALL.into_iter().enumerate() {
            assert_eq!(disconnect.index(), index);
            let same = Disconnect::ALL.iter().filter(|other| other.label() == disconnect.label());
            assert_eq!(same.count(), 1, "{disconnect:?}");
        }
        for (index, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!(bound.index(), index);
        }
    }
}
