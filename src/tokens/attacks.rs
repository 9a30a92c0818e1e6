//! Tokens made to get in without a key, each after one that somebody fell for elsewhere, and what becomes of them here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;

use super::forge::{RSA_PUBLIC, SECRET, claims, encode, forge, good, key, parts, sign, verdict, verdict_by};
use super::key::{Algorithm, Key};
use super::keys::Keys;
use super::refusal::Refusal;

#[test]
fn a_token_that_a_good_library_made_gets_in() {
    for algorithm in Algorithm::ALL {
        assert_eq!(verdict(good(algorithm, claims(""))).as_deref(), Ok("alice"), "{algorithm}");
    }
}

#[test]
fn no_algorithm_is_no_signature_in_whatever_letters() {
    for name in
        ["none", "None", "NONE", "nOnE", "", "null", "HS256 ", "hs256", "HS384", "RS512", "PS256", "ES384"]
    {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        let signed = forge(Algorithm::Hs256, &header, claims(""));
        assert_eq!(verdict(&signed), Err(Refusal::Algorithm), "{name}");
        let [header, claims, _] = parts(&signed);
        assert_eq!(verdict(format!("{header}.{claims}.")), Err(Refusal::Shape), "{name}");
        assert_eq!(verdict(format!("{header}.{claims}.AA")), Err(Refusal::Algorithm), "{name}");
    }
}

/// CVE-2015-9235 and its many sisters: the public key of RS256, taken for the secret of HS256.
#[test]
fn a_public_key_is_never_the_secret_of_another_algorithm() {
    let pem = RSA_PUBLIC.to_vec();
    let text = String::from_utf8(pem.clone()).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    for secret in [pem.clone(), pem[..pem.len() - 1].to_vec(), [pem, b"\n".to_vec()].concat(), der] {
        for kid in ["", r#","kid":"a""#] {
            let header = format!(r#"{{"alg":"HS256"{kid}}}"#);
            let signed = format!("{}.{}", encode(header), encode(claims("")));
            let secret = EncodingKey::from_secret(&secret).unwrap();
            let signature =
                jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256);
            let forged = format!("{signed}.{}", signature.unwrap());
            assert_eq!(
                verdict_by(&Keys::new(1, vec![key(Algorithm::Rs256)]), &forged),
                Err(Refusal::KeyUnknown)
            );
            assert_eq!(verdict(&forged), Err(Refusal::Signature), "beside a secret of its own");
            let named = Keys::new(1, vec![key(Algorithm::Rs256).named("a").unwrap()]);
            let expected = if kid.is_empty() { Refusal::KeyUnknown } else { Refusal::Algorithm };
            assert_eq!(verdict_by(&named, &forged), Err(expected));
        }
    }
}

#[test]
fn a_signature_is_worth_nothing_under_another_algorithms_name() {
    for signer in Algorithm::ALL {
        for named in Algorithm::ALL.into_iter().filter(|named| *named != signer) {
            let forged = forge(signer, &format!(r#"{{"alg":"{named}"}}"#), claims(""));
            assert_eq!(verdict(forged), Err(Refusal::Signature), "{signer} as {named}");
        }
    }
}

#[test]
fn the_name_of_a_key_is_compared_and_never_followed() {
    let keys = Keys::new(1, vec![key(Algorithm::Hs256).named("2026").unwrap()]);
    for kid in [
        "/dev/null",
        "../../../../dev/null",
        "file:///dev/null",
        "http://127.0.0.1/key",
        "x' UNION SELECT 'secret' -- ",
        "2026' OR '1'='1",
        "2026\\u0000",
        "2026/../2026",
        " 2026",
        "*",
        "; cat /etc/passwd",
    ] {
        let forged = forge(Algorithm::Hs256, &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), claims(""));
        assert_eq!(verdict_by(&keys, forged), Err(Refusal::KeyUnknown), "{kid}");
    }
    let escaped = forge(Algorithm::Hs256, r#"{"\u0061lg":"HS256","kid":"\u0032026"}"#, claims(""));
    assert_eq!(verdict_by(&keys, escaped).as_deref(), Ok("alice"), "the same name in other letters of JSON");
}

/// CVE-2018-0114: a token that brings the key along by which it is to be checked.
#[test]
fn a_key_that_a_token_brings_along_is_not_looked_at() {
    let attacker = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let own = Key::from_pem(Algorithm::Es256, super::forge::EC_PUBLIC).unwrap();
    let keys = Keys::new(1, vec![own, key(Algorithm::Rs256)]);
    for member in [
        format!(r#""jwk":{attacker}"#),
        format!(r#""jwk":{attacker},"kid":"x""#),
        r#""jku":"https://attacker.example/keys""#.to_owned(),
        r#""x5u":"https://attacker.example/cert","x5t":"AA""#.to_owned(),
        r#""x5c":["MIIB"],"kid":"x""#.to_owned(),
    ] {
        let forged = forge(Algorithm::EdDsa, &format!(r#"{{"alg":"EdDSA",{member}}}"#), claims(""));
        assert_eq!(verdict_by(&keys, &forged), Err(Refusal::KeyUnknown), "{member}");
        // Beside a key that fits, such members neither help nor harm.
        let harmless = forge(Algorithm::Hs256, &format!(r#"{{"alg":"HS256",{member}}}"#), claims(""));
        assert_eq!(verdict(harmless).as_deref(), Ok("alice"), "{member}");
    }
}

/// CVE-2025-59420 and others: an extension that must be understood, passed over.
#[test]
fn an_extension_that_must_be_understood_is_not_passed_over() {
    for member in
        [r#""crit":["b64"],"b64":false"#, r#""crit":["exp"],"exp":1"#, r#""crit":["x"]"#, r#""crit":[]"#]
    {
        let forged = forge(Algorithm::Hs256, &format!(r#"{{"alg":"HS256",{member}}}"#), claims(""));
        assert_eq!(verdict(forged), Err(Refusal::Critical), "{member}");
    }
}

/// CVE-2022-21449 first: zeros, which a careless library takes for a signature of everything.
#[test]
fn numbers_that_no_signature_holds_are_no_signature() {
    let order = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let order = [
        &order[..],
        &[0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51],
    ]
    .concat();
    let (zero, one) = ([0; 32].to_vec(), [vec![0; 31], vec![1]].concat());
    let numbers = [zero, one, order, vec![0xff; 32]];
    let signed = format!("{}.{}", encode(r#"{"alg":"ES256"}"#), encode(claims("")));
    for (r, s) in numbers.iter().flat_map(|r| numbers.iter().map(move |s| (r, s))) {
        let forged = format!("{signed}.{}", encode([r.as_slice(), s].concat()));
        assert_eq!(verdict(forged), Err(Refusal::Signature), "{r:x?} {s:x?}");
    }
    for algorithm in Algorithm::ALL {
        let signed = format!("{}.{}", encode(format!(r#"{{"alg":"{algorithm}"}}"#)), encode(claims("")));
        for bytes in [1, 31, 32, 33, 63, 64, 65, 72, 255, 256, 257, 512] {
            for filling in [0, 0xff] {
                let forged = format!("{signed}.{}", encode(vec![filling; bytes]));
                assert_eq!(verdict(forged), Err(Refusal::Signature), "{algorithm} {bytes} {filling}");
            }
        }
    }
}

#[test]
fn a_part_of_a_signature_or_one_in_another_form_is_none() {
    for algorithm in Algorithm::ALL {
        let text = good(algorithm, claims(""));
        let [header, claims, signature] = parts(&text);
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for length in [1, bytes.len() / 2, bytes.len() - 1] {
            let forged = format!("{header}.{claims}.{}", encode(&bytes[..length]));
            assert_eq!(verdict(forged), Err(Refusal::Signature), "{algorithm} {length}");
        }
        let longer = format!("{header}.{claims}.{}", encode([&bytes[..], &[0]].concat()));
        assert_eq!(verdict(longer), Err(Refusal::Signature), "{algorithm}");
    }
    // ECDSA as ASN.1, the form of TLS and of certificates (RFC 7518 §3.4 has two plain numbers).
    let text = good(Algorithm::Es256, claims(""));
    let [header, claims, signature] = parts(&text);
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let integer = |number: &[u8]| [&[0x02, 33, 0], number].concat();
    let body = [integer(&bytes[..32]), integer(&bytes[32..])].concat();
    let asn1 = [&[0x30, body.len() as u8], &body[..]].concat();
    assert_eq!(verdict(format!("{header}.{claims}.{}", encode(asn1))), Err(Refusal::Signature));
}

/// The second number of an Ed25519 signature, larger by the order of the curve: the same to a careless library (RFC 8032
/// §5.1.7 refuses it).
#[test]
fn a_signature_with_a_number_beyond_the_order_is_another_one() {
    let order: [u8; 32] = {
        let low =
            [0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14];
        let mut order = [0; 32];
        order[..16].copy_from_slice(&low);
        order[31] = 0x10;
        order
    };
    let text = good(Algorithm::EdDsa, claims(""));
    let [header, claims, signature] = parts(&text);
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0;
    for (byte, more) in bytes[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "it still fits");
    assert_eq!(verdict(format!("{header}.{claims}.{}", encode(bytes))), Err(Refusal::Signature));
}

#[test]
fn what_was_signed_cannot_be_exchanged() {
    for algorithm in Algorithm::ALL {
        let (mine, other) =
            (good(algorithm, claims("")), good(algorithm, r#"{"sub":"root","exp":1900000000}"#));
        let ([header, mine, signature], [_, other, _]) = (parts(&mine), parts(&other));
        assert_eq!(verdict(format!("{header}.{other}.{signature}")), Err(Refusal::Signature), "{algorithm}");
        let named = encode(format!(r#"{{"alg":"{algorithm}","kid":"a"}}"#));
        assert_eq!(verdict(format!("{named}.{mine}.{signature}")), Err(Refusal::Signature), "{algorithm}");
        // The dot is a part of what is signed: it cannot be moved.
        let (moved, rest) = mine.split_at(4);
        assert_ne!(
            verdict(format!("{header}{moved}.{rest}.{signature}")).as_deref(),
            Ok("alice"),
            "{algorithm}"
        );
    }
}

#[test]
fn a_secret_that_was_guessed_is_not_ours() {
    for guess in
        ["", "secret", "a secret of thirty-two bytes, or mor", "a secret of thirty-two bytes, or more\0"]
    {
        let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims("")));
        let Ok(guess) = EncodingKey::from_secret(guess.as_bytes()) else { continue };
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &guess, jsonwebtoken::Algorithm::HS256).unwrap();
        // HMAC fills a short key up with zeros: the last guess is the secret as HMAC sees it.
        let expected = if guess.as_bytes().starts_with(SECRET) {
            Ok("alice".to_owned())
        } else {
            Err(Refusal::Signature)
        };
        assert_eq!(verdict(format!("{signed}.{signature}")), expected);
    }
}

#[test]
fn no_reason_for_a_refusal_says_anything_of_the_token() {
    let secret = "c2VjcmV0";
    for text in [
        secret.to_owned(),
        format!("{secret}.{secret}.{secret}"),
        good(Algorithm::Hs256, format!(r#"{{"sub":"{secret}","exp":1}}"#)),
        good(Algorithm::Hs256, claims(&format!(r#""subscribe":["{secret} "]"#))),
        forge(Algorithm::Hs256, &format!(r#"{{"alg":"{secret}"}}"#), claims("")),
    ] {
        let refusal = verdict(&text).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains(secret), "{refusal}");
    }
}

#[test]
fn a_signature_by_another_key_of_the_same_algorithm_is_wrong_also_where_it_names_ours() {
    let other = Key::from_secret(b"another secret of thirty-two bytes").unwrap();
    let keys = Keys::new(1, vec![other.named("a").unwrap(), key(Algorithm::Hs256).named("b").unwrap()]);
    let by = |kid: &str| forge(Algorithm::Hs256, &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), claims(""));
    assert_eq!(verdict_by(&keys, by("a")), Err(Refusal::Signature));
    assert_eq!(verdict_by(&keys, by("b")).as_deref(), Ok("alice"));
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims("")));
    let nameless = format!("{signed}.{}", sign(Algorithm::Hs256, &signed));
    assert_eq!(verdict_by(&keys, nameless).as_deref(), Ok("alice"), "who names none is tried with both");
}
