//! Tokens and keys that others have published, and what is to be made of them: RFC 7515 §A.1 to §A.3, RFC 8037 §A.

use super::forge::{self, at};
use super::key::{Algorithm, Key};
use super::key_set;
use super::keys::Keys;
use super::refusal::Refusal;
use super::token::Token;
use super::verify::{Demands, verify};
use crate::clock::Now;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The claims of all examples of RFC 7515: the issuer `joe`, an `exp`, and no `sub`.
const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const JOE_EXPIRES_S: u64 = 1_300_819_380;

/// Algorithm, header, signature.
const EXAMPLES: [(Algorithm, &str, &str); 3] = [
    (
        Algorithm::Hs256,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        Algorithm::Rs256,
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7\
         t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j\
         zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ\
         Ge77Rw",
    ),
    (
        Algorithm::Es256,
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

/// The secret of §A.1: 64 bytes.
const JOE_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

/// The keys of the RFCs as a set that an identity provider publishes, each under a name.
const PUBLISHED: &str = r#"{"keys":[
    {"kty":"RSA","kid":"a2","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
    {"kty":"EC","kid":"a3","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"OKP","kid":"8037","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn joe_key(algorithm: Algorithm) -> Key {
    match algorithm {
        Algorithm::Hs256 => Key::from_secret(&URL_SAFE_NO_PAD.decode(JOE_SECRET).unwrap()).unwrap(),
        Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => forge::key(algorithm),
    }
}

#[test]
fn the_signatures_of_the_rfc_are_right_and_another_bit_makes_each_wrong() {
    let before = Now { mono_ms: 0, wall_ms: (JOE_EXPIRES_S - 1) * 1000 };
    for (algorithm, header, signature) in EXAMPLES {
        let keys = Keys::new(1, vec![joe_key(algorithm)]);
        let text = format!("{header}.{JOE}.{signature}");
        let verdict = |text: &str, now| {
            verify(&keys, &Demands::default(), Token::new(text.as_bytes()), now).unwrap_err()
        };
        // Joe has no `sub`. That is looked at behind the signature and before the times.
        assert_eq!(verdict(&text, before), Refusal::Missing("sub"), "{algorithm}");
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        let other = format!("{header}.{JOE}.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(verdict(&other, before), Refusal::Signature, "{algorithm}");
    }
}

#[test]
fn the_signature_of_ed25519_in_the_rfc_is_right() {
    let key = forge::key(Algorithm::EdDsa);
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(key.has_signed(signed, signature));
    assert!(!key.has_signed(&signed[1..], signature));
}

#[test]
fn keys_from_a_set_verify_what_keys_from_a_file_do() {
    let set = key_set::read(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(set.skipped, []);
    let published = Keys::new(1, set.keys);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let text = forge::good(algorithm, forge::claims(""));
        let verdict = verify(&published, &Demands::default(), Token::new(text.as_bytes()), at(0));
        assert_eq!(verdict.map(|grant| grant.user().to_owned()), Ok("alice".to_owned()), "{algorithm}");
    }
}

#[test]
fn the_newer_name_of_ed25519_is_known() {
    let text = forge::forge(Algorithm::EdDsa, r#"{"alg":"Ed25519"}"#, forge::claims(""));
    assert!(verify(&forge::all_keys(), &Demands::default(), Token::new(text.as_bytes()), at(0)).is_ok());
}

#[test]
fn a_key_whose_point_is_compressed_is_the_same_key() {
    let pem = "-----BEGIN PUBLIC KEY-----\n\
        MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
        6e8Tus9uPHvRVEU=\n\
        -----END PUBLIC KEY-----\n";
    let key = Key::from_pem(Algorithm::Es256, pem.as_bytes()).unwrap();
    let signature = forge::sign(Algorithm::Es256, "a.b");
    assert!(key.has_signed("a.b", &signature));
}
