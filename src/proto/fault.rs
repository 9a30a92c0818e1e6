//! What a peer's frames can do wrong, one variant per distinct fault, and how the connection ends for it.
//! Must never know how a fault was found.

use crate::disconnect::Disconnect;

/// One way in which a peer's bytes break RFC 6455 or a limit of ours. Every fault ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A reserved bit is set although no extension was agreed on (§5.2).
    ReservedBits,
    /// An opcode that the RFC keeps for later (§5.2).
    ReservedOpcode,
    /// A client's frame without a mask (§5.1).
    Unmasked,
    /// A server's frame with a mask (§5.1).
    Masked,
    /// A payload length that fits a shorter form (§5.2: "the minimal number of bytes MUST be used").
    LengthNotMinimal,
    /// A 64-bit payload length with its most significant bit set (§5.2).
    LengthTopBit,
    /// A control frame announcing more than 125 bytes (§5.5).
    ControlTooLong,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// A continuation frame where no message was begun (§5.4).
    ContinuationWithoutStart,
    /// A new data message before the one in fragments has ended (§5.4).
    DataInsideMessage,
    /// A message that would be longer than the limit, told from what its frames announce (§10.4).
    TooBig,
    /// More fragments than a message of this size may have (§10.4).
    TooManyFragments,
    /// A text message or a close reason that is not UTF-8 (§5.6, §5.5.1, §8.1).
    InvalidUtf8,
    /// A close frame with a payload of one byte (§5.5.1).
    CloseTooShort,
    /// A close frame with a code that must not be sent (§7.4).
    CloseCode(u16),
}

impl Fault {
    /// How the connection ends: 1007 for text that is not UTF-8, 1009 for what is too big, else 1002.
    #[must_use]
    pub const fn disconnect(self) -> Disconnect {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::ContinuationWithoutStart
            | Self::DataInsideMessage
            | Self::CloseTooShort
            | Self::CloseCode(_) => Disconnect::Protocol,
            // The RFC sets no number of fragments: the peer broke our limit, not the protocol.
            Self::TooBig | Self::TooManyFragments => Disconnect::TooBig,
            Self::InvalidUtf8 => Disconnect::BadUtf8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_ends_the_connection_with_the_code_of_the_rfc() {
        assert_eq!(Fault::LengthNotMinimal.disconnect().code(), 1002);
        assert_eq!(Fault::CloseCode(1005).disconnect().code(), 1002);
        assert_eq!(Fault::InvalidUtf8.disconnect().code(), 1007);
        assert_eq!(Fault::TooBig.disconnect().code(), 1009);
        assert_eq!(Fault::TooManyFragments.disconnect().code(), 1009);
    }
}
