//! What a token costs whoever checks it: by algorithm, and the search of its channels.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group};
use jsonwebtoken::EncodingKey;
use roost::clock::Now;
use roost::limits::TOKEN_PATTERNS_MAX;
use roost::tokens::{Demands, Key, Keys, Token, key_set, verify};

const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";
const NOW: Now = Now { mono_ms: 0, wall_ms: 1_800_000_000_000 };

/// The keys of RFC 7515 (§A.2, §A.3) and RFC 8037 (§A.1).
const KEYS: &[u8] = br#"{"keys":[
    {"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
    {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// Name, header and signature of [`CLAIMS`] by each of them.
const SIGNED: [(&str, &str, &str); 3] = [
    (
        "RS256",
        r#"{"alg":"RS256"}"#,
        "mSoXSfp6qScJrPmt6pDoXLc4ckAX0QyCD8F39V5X7SLR60JiYnPflmA-ERsYIc0UCtCAIm2WcaGKnfmtuAU6YvOcfrAOWRM_jMyO\
    BpEynx6cIUiGvtSAJfsS4uh2zR6MJ7ckWpzRvJH_5QVE51O2UznyzEK-f3Btlfyj8mg1-g0LzumfRdm3nc82CXjn71EnGuzaTaDy\
    CbYuof9RTL97E7408Du0cHt5GaO8wOPZudwJ03lKlZ79LiIdSUWW_VoXb2qvDgXMYbmIYBbmwoaWhspQkKevO4DExqFelvGsF0l0\
    S5KuzZ0FPittCfMIIbnCceTPMl40V-TYHtGG3hWkCg",
    ),
    (
        "ES256",
        r#"{"alg":"ES256"}"#,
        "GZIYcxcmjjGMrkIwwYTSM7_KZ_FkVLl2pIKDmQQOMDq7VVUi0F7vNLNfngk-GLTpn7fpYCiHGzLt7JF46fj2XA",
    ),
    (
        "EdDSA",
        r#"{"alg":"EdDSA"}"#,
        "pewUJCLn-GQvNNwnkkRFzsBNYGNbJgAHQxgt2cF6G83KFYYxUO79EjF7yc-rez56HWuxZRem5FVf-gQsHlRsAw",
    ),
];
const CLAIMS: &str = r#"{"sub":"alice","exp":1900000000,"subscribe":["room:1","news:*"]}"#;

criterion_group!(tokens, secrets, public_keys, channels);

/// A token by HS256.
fn secrets(criterion: &mut Criterion) {
    let keys = Keys::new(1, vec![Key::from_secret(SECRET).expect("a good secret")]);
    bench(criterion, "HS256", &keys, &signed(CLAIMS));
}

/// Tokens by the other algorithms.
fn public_keys(criterion: &mut Criterion) {
    let keys = Keys::new(1, key_set::read(KEYS).expect("a good set").keys);
    for (name, header, signature) in SIGNED {
        let text = format!("{}.{}.{signature}", encode(header), encode(CLAIMS));
        bench(criterion, name, &keys, &text);
    }
}

fn bench(criterion: &mut Criterion, name: &str, keys: &Keys, right: &str) {
    criterion.bench_function(&format!("token/{name}"), |bencher| {
        let token = Token::new(right.as_bytes());
        assert!(verify(keys, &Demands::default(), token, NOW).is_ok(), "{name}");
        bencher.iter(|| verify(keys, &Demands::default(), black_box(token), NOW).is_ok());
    });
}

/// The last of as many channels as a token may name.
fn channels(criterion: &mut Criterion) {
    let keys = Keys::new(1, vec![Key::from_secret(SECRET).expect("a good secret")]);
    for count in [1, 16, TOKEN_PATTERNS_MAX] {
        let channels: Vec<String> = (0..count).map(|number| format!("\"room:{number}:*\"")).collect();
        let text = signed(&format!(r#"{{"sub":"a","exp":1900000000,"subscribe":[{}]}}"#, channels.join(",")));
        let grant =
            verify(&keys, &Demands::default(), Token::new(text.as_bytes()), NOW).expect("a good token");
        let last = format!("room:{}:7", count - 1);
        criterion.bench_function(&format!("token/channels/{count}"), |bencher| {
            bencher.iter(|| grant.allows_subscribe(black_box(&last)));
        });
    }
}

fn encode(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token by HS256 with these claims.
fn signed(claims: &str) -> String {
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims));
    let secret = EncodingKey::from_secret(SECRET).expect("a good secret");
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256);
    format!("{signed}.{}", signature.expect("a signature"))
}
