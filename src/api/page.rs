//! `GET /`: the status page, one file that needs no other. Must never know what it shows: `GET /status/events` tells it.

use super::answers::Reply;

/// The page.
const PAGE: &str = include_str!("../assets/status.html");
/// What it may do (Content Security Policy Level 3): run its own script and style, which are named by their hashes, show its own
/// picture, and speak to the node that it came from. After a change of the page, `tests/protocol/status.rs` says the hashes.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-PTO4k6DzdU07lhRczvYLuuDPjF0xtuHotrVAbeugqaw='; \
    style-src 'sha256-3wrxgq2cQ0lhFS5G4rqkC85V4GCrwlROJIwke14d4Ro='; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer.
#[must_use]
pub fn page() -> Reply {
    let headers = [
        ("Content-Security-Policy", POLICY),
        // No browser takes it for anything else, nor tells others where it was.
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    ];
    Reply {
        status: 200,
        content_type: "text/html; charset=utf-8",
        body: PAGE.into(),
        headers: headers.map(|(name, value)| (name, value.into())).into(),
    }
}
