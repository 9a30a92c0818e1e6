//! Tokens made by hand, for tests: any header, any claims, and signatures by keys that everybody knows, those of RFC 7515
//! (§A.1 to §A.3) and RFC 8037 (§A.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;

use super::key::{Algorithm, Key};
use super::keys::Keys;
use super::refusal::Refusal;
use super::token::Token;
use super::verify::{Demands, verify};
use crate::clock::Now;

/// The moment at which all forged tokens are looked at, in seconds since the Unix epoch.
pub(super) const NOW_S: u64 = 1_800_000_000;

/// [`NOW_S`] and so many seconds.
pub(super) fn at(later_s: i64) -> Now {
    Now { mono_ms: 0, wall_ms: NOW_S.saturating_add_signed(later_s) * 1000 }
}

/// Claims that are good for an hour and allow nothing, with `more` behind them.
pub(super) fn claims(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"sub":"alice","exp":{},"iat":{}{comma}{more}}}"#, NOW_S + 3600, NOW_S - 60)
}

/// A token with this header and these claims, signed as `algorithm` signs.
pub(super) fn forge(algorithm: Algorithm, header: &str, claims: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(algorithm, &signed);
    format!("{signed}.{signature}")
}

/// A token that a good library would have made.
pub(super) fn good(algorithm: Algorithm, claims: impl AsRef<[u8]>) -> String {
    forge(algorithm, &format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#), claims)
}

pub(super) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// The signature of `signed`, by the private half of [`key`].
pub(super) fn sign(algorithm: Algorithm, signed: &str) -> String {
    let (key, name) = match algorithm {
        Algorithm::Hs256 => (EncodingKey::from_secret(SECRET), jsonwebtoken::Algorithm::HS256),
        Algorithm::Rs256 => (EncodingKey::from_rsa_pem(RSA_PRIVATE), jsonwebtoken::Algorithm::RS256),
        Algorithm::Es256 => (EncodingKey::from_ec_pem(EC_PRIVATE), jsonwebtoken::Algorithm::ES256),
        Algorithm::EdDsa => (EncodingKey::from_ed_pem(ED_PRIVATE), jsonwebtoken::Algorithm::EdDSA),
    };
    jsonwebtoken::crypto::sign(signed.as_bytes(), &key.unwrap(), name).unwrap()
}

/// The half of a key that a node has.
pub(super) fn key(algorithm: Algorithm) -> Key {
    let key = match algorithm {
        Algorithm::Hs256 => Key::from_secret(SECRET),
        Algorithm::Rs256 => Key::from_pem(algorithm, RSA_PUBLIC),
        Algorithm::Es256 => Key::from_pem(algorithm, EC_PUBLIC),
        Algorithm::EdDsa => Key::from_pem(algorithm, ED_PUBLIC),
    };
    key.unwrap()
}

/// All four, without names.
pub(super) fn all_keys() -> Keys {
    Keys::new(1, Algorithm::ALL.map(key).into())
}

/// The user that a token gets in as, by these keys.
pub(super) fn verdict_by(keys: &Keys, text: impl AsRef<[u8]>) -> Result<String, Refusal> {
    let verdict = verify(keys, &Demands::default(), Token::new(text.as_ref()), at(0));
    verdict.map(|grant| grant.user().to_owned())
}

/// The user that a token gets in as, by one key of each algorithm.
pub(super) fn verdict(text: impl AsRef<[u8]>) -> Result<String, Refusal> {
    verdict_by(&all_keys(), text)
}

/// The three parts of a token, to be put together otherwise.
pub(super) fn parts(text: &str) -> [&str; 3] {
    let parts: Vec<&str> = text.split('.').collect();
    parts.try_into().unwrap()
}

pub(super) const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";

pub(super) const RSA_PRIVATE: &[u8] = b"\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXO
jS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSXxbbqY913EeZ8dCn5VrD7io8ImtxL
aYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNn
juygxmj3AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5
ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKjlnAqH2QbgtPr8jkiGUkf
toaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHg
VFbK5emhAgMBAAECggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyW
PEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe46sui395IW/G
O+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzj
kn439X0M/V51gfpRLI9JYanrC4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6
XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneufuBiB
4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0K
pLttoLhyt3SmqdEf/kgHePDdtzEafpAu+cS191R2JiuoF2yzWXnwFDcqGigp5BNr
0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqE
lMGAg+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6
kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7vMVgePsLq6XtON4tB5kP9jAP
rq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNw
kgMTP1FZ1wKBgAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp
5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgwo59dkpN75gJLVds2
9+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/
evpitUf+4JYbLpvNXWcY052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcG
yoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+CCoRjaZj
OYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2
tOgrjbcrfvtQJipd+DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3
ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56
03k2+ZQwVK0JKSHuLFkuQ3U=
-----END PRIVATE KEY-----
";

pub(super) const RSA_PUBLIC: &[u8] = b"\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj
NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz
P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo
9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB
EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX
FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp
oQIDAQAB
-----END PUBLIC KEY-----
";

pub(super) const EC_PRIVATE: &[u8] = b"\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff
H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp
7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt
-----END PRIVATE KEY-----
";

pub(super) const EC_PUBLIC: &[u8] = b"\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
";

pub(super) const ED_PRIVATE: &[u8] = b"\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

pub(super) const ED_PUBLIC: &[u8] = b"\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";
