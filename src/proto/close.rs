//! Which close codes may stand in a close frame. Must never know why roost itself closes: that is `disconnect.rs`.

/// Whether a peer may send `code`: those of RFC 6455 §7.4.1 that travel on the wire, those that the IANA registry
/// "WebSocket Close Code Number" has added since (1012 to 1014), and 3000 to 4999, which belong to libraries and
/// applications (§7.4.2). 1004 is reserved; 1005, 1006 and 1015 are only ever reported to an application.
#[must_use]
pub const fn is_valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::coding::CloseCode;

    #[test]
    fn every_code_is_judged_as_tungstenite_does_but_for_bad_gateway() {
        for code in 0..=u16::MAX {
            // 1014 (bad gateway) was registered in 2016 and is unknown to tungstenite.
            let expected = code == 1014 || CloseCode::from(code).is_allowed();
            assert_eq!(is_valid_code(code), expected, "{code}");
        }
    }

    #[test]
    fn codes_that_are_only_reported_never_travel() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!is_valid_code(code), "{code}");
        }
    }
}
