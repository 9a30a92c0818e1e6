//! Tokens by the right key that are not what they should be: spelt otherwise, too long, too deep, at odds with themselves, for
//! another time or for somebody else.

use proptest::prelude::*;

use super::forge::{NOW_S, all_keys, at, claims, encode, forge, good, parts, verdict};
use super::key::Algorithm;
use super::refusal::Refusal;
use super::token::Token;
use super::verify::{Demands, verify};
use crate::limits::TOKEN_BYTES_MAX;

#[test]
fn who_says_two_things_at_once_is_refused() {
    for header in [
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"a"}"#,
    ] {
        assert_eq!(verdict(forge(Algorithm::Hs256, header, claims(""))), Err(Refusal::Header), "{header}");
    }
    for twice in [
        r#""sub":"bob""#,
        r#""exp":1"#,
        r#""aud":"a","aud":"a""#,
        r#""subscribe":[],"subscribe":["*"]"#,
        r#""\u0073ub":"bob""#,
    ] {
        assert_eq!(verdict(good(Algorithm::Hs256, claims(twice))), Err(Refusal::Claims), "{twice}");
    }
}

/// CVE-2026-25537: an `exp` of another type, taken for none.
#[test]
fn a_time_that_is_no_number_of_seconds_is_refused() {
    for (name, value) in ["exp", "nbf", "iat"].iter().flat_map(|name| NO_MOMENTS.map(|value| (*name, value)))
    {
        let other = if name == "exp" { String::new() } else { format!(r#","exp":{}"#, NOW_S + 60) };
        let text = good(Algorithm::Hs256, format!(r#"{{"sub":"a","{name}":{value}{other}}}"#));
        assert_eq!(verdict(text), Err(Refusal::Claim(name)), "{name} {value}");
    }
    for none in [r#"{"sub":"a"}"#, r#"{"sub":"a","exp":null}"#, r#"{"sub":"a","EXP":9999999999}"#] {
        assert_eq!(verdict(good(Algorithm::Hs256, none)), Err(Refusal::Missing("exp")), "{none}");
    }
}

/// What JSON can write where a moment should stand. The last ones are milliseconds, and more than a number holds.
const NO_MOMENTS: [&str; 11] = [
    r#""1900000000""#,
    "true",
    "[1900000000]",
    r#"{"$date":1900000000}"#,
    "-1",
    "-0.5",
    "1900000000000",
    "18446744073709551615",
    "18446744073709551616",
    "1e300",
    "1e400",
];

#[test]
fn a_token_ends_and_begins_at_its_moments_give_or_take_ten_seconds() {
    let at_second = |claims: &str, later_s| {
        let text = good(Algorithm::Hs256, claims);
        verify(&all_keys(), &Demands::default(), Token::new(text.as_bytes()), at(later_s)).map(drop)
    };
    for exp in [NOW_S.to_string(), format!("{NOW_S}.9"), format!("{NOW_S}e0")] {
        let ends = format!(r#"{{"sub":"a","exp":{exp}}}"#);
        assert_eq!(at_second(&ends, 9), Ok(()), "{exp}");
        assert_eq!(at_second(&ends, 10), Err(Refusal::Expired), "{exp}");
    }
    let begins = format!(r#"{{"sub":"a","exp":{},"nbf":{NOW_S}}}"#, NOW_S + 60);
    assert_eq!(at_second(&begins, -10), Ok(()));
    assert_eq!(at_second(&begins, -11), Err(Refusal::NotYet));
    assert_eq!(at_second(r#"{"sub":"a","exp":0}"#, -(NOW_S as i64)), Ok(()), "a clock that was never set");
}

#[test]
fn a_token_for_others_is_refused_in_whatever_form_it_says_so() {
    let ours = Demands { issuers: vec![], audiences: vec!["roost".to_owned(), "edge".to_owned()] };
    let verdict = |demands: &Demands, aud: &str| {
        let text = good(Algorithm::Hs256, claims(aud));
        verify(&all_keys(), demands, Token::new(text.as_bytes()), at(0)).map(drop)
    };
    for aud in
        [r#""aud":"roost""#, r#""aud":["roost"]"#, r#""aud":["other","edge"]"#, r#""aud":["roost","roost"]"#]
    {
        assert_eq!(verdict(&ours, aud), Ok(()), "{aud}");
        assert_eq!(
            verdict(&Demands::default(), aud),
            Err(Refusal::Audience),
            "nobody said what we are called"
        );
    }
    for aud in [
        r#""aud":"other""#,
        r#""aud":"Roost""#,
        r#""aud":"roost ""#,
        r#""aud":"roost,edge""#,
        r#""aud":"""#,
        r#""aud":[]"#,
        r#""aud":["other"]"#,
        r#""aud":["ro","ost"]"#,
    ] {
        assert_eq!(verdict(&ours, aud), Err(Refusal::Audience), "{aud}");
    }
    for aud in [
        r#""aud":5"#,
        r#""aud":["roost",5]"#,
        r#""aud":[["roost"]]"#,
        r#""aud":{"roost":true}"#,
        r#""aud":true"#,
    ] {
        assert_eq!(verdict(&ours, aud), Err(Refusal::Claim("aud")), "{aud}");
    }
    assert_eq!(verdict(&ours, ""), Err(Refusal::Missing("aud")));
    assert_eq!(verdict(&ours, r#""aud":null"#), Err(Refusal::Missing("aud")));
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let ours = Demands { issuers: vec!["https://id.example/".to_owned()], audiences: vec![] };
    for (iss, expected) in [
        (r#""iss":"https://id.example/""#, Ok(())),
        (r#""iss":"https://id.example""#, Err(Refusal::Issuer)),
        (r#""iss":"https://id.example/.evil.example""#, Err(Refusal::Issuer)),
        (r#""iss":["https://id.example/"]"#, Err(Refusal::Claim("iss"))),
        (r#""iss":5"#, Err(Refusal::Claim("iss"))),
        (r#""iss":null"#, Err(Refusal::Missing("iss"))),
        ("", Err(Refusal::Missing("iss"))),
    ] {
        let text = good(Algorithm::Hs256, claims(iss));
        let verdict = verify(&all_keys(), &ours, Token::new(text.as_bytes()), at(0)).map(drop);
        assert_eq!(verdict, expected, "{iss}");
    }
}

#[test]
fn a_huge_token_is_refused_before_it_is_read() {
    let filler = format!(r#""x":"{}""#, "x".repeat(TOKEN_BYTES_MAX));
    assert_eq!(verdict(good(Algorithm::Hs256, claims(&filler))), Err(Refusal::TooLong));
    assert_eq!(verdict(vec![b'A'; 64 * 1024 * 1024]), Err(Refusal::TooLong));
    assert_eq!(verdict(format!("{}.A.A", "A".repeat(TOKEN_BYTES_MAX - 4))), Err(Refusal::Header));
}

#[test]
fn one_token_has_one_spelling() {
    let text = good(Algorithm::Rs256, claims(""));
    let [header, claims, signature] = parts(&text);
    for other in [
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}.{signature}=="),
        format!(" {text}"),
        format!("{text} "),
        format!("{text}\n"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.{claims}.{}", signature.replace('_', "/").replace('-', "+") + "/"),
        format!("{text}."),
        format!(".{text}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.\0{signature}"),
        format!("{header}.key.iv.{claims}.{signature}"),
        format!(r#"{{"payload":"{claims}","protected":"{header}","signature":"{signature}"}}"#),
    ] {
        assert_eq!(verdict(&other), Err(Refusal::Shape), "{other}");
    }
    // 256 bytes leave four bits of the last letter unused; other letters with the same bits in use are other spellings.
    for last in ["x", "y", "z", "A"] {
        let other = format!("{header}.{claims}.{}{last}", &signature[..signature.len() - 1]);
        assert_eq!(verdict(other), Err(Refusal::Signature), "{last}");
    }
}

#[test]
fn claims_that_are_no_object_of_text_are_refused() {
    for text in [
        "",
        " ",
        "null",
        "[]",
        "\"sub\"",
        "5",
        "{",
        "{}{}",
        r#"{"sub":"a""#,
        r#"{'sub':'a'}"#,
        r#"{sub:"a"}"#,
    ] {
        let expected = if text.is_empty() { Refusal::Shape } else { Refusal::Claims };
        assert_eq!(verdict(good(Algorithm::Hs256, text)), Err(expected), "{text}");
    }
    let mut bytes = claims(r#""x":"?""#).into_bytes();
    let question = bytes.iter().position(|&byte| byte == b'?').unwrap();
    for not_utf8 in [0xff, 0xc0, 0x80] {
        bytes[question] = not_utf8;
        assert!(verdict(good(Algorithm::Hs256, &bytes)).is_err(), "in a claim that nobody reads");
    }
    for sub in [r#""\ud800""#, "\"\u{1}\"", r#""a\nb""#, r#""\u0000""#, r#""""#, "5", "true", "[\"a\"]", "{}"]
    {
        let text = good(Algorithm::Hs256, format!(r#"{{"sub":{sub},"exp":1900000000}}"#));
        assert!(matches!(verdict(text), Err(Refusal::Claim("sub") | Refusal::Claims)), "{sub}");
    }
}

#[test]
fn nothing_is_so_deep_that_it_takes_the_stack() {
    let deep = |opening: &str, closing: &str, count| opening.repeat(count) + &closing.repeat(count);
    for (opening, closing) in [("[", "]"), (r#"{"a":"#, "}")] {
        let inner = if opening == "[" { "" } else { "1" };
        let nested = opening.repeat(700) + inner + &closing.repeat(700);
        for name in ["x", "aud", "sub", "exp", "subscribe", "limits"] {
            let verdict = verdict(good(
                Algorithm::Hs256,
                format!(r#"{{"{name}":{nested},"sub":"a","exp":1900000000}}"#),
            ));
            assert_eq!(verdict.is_ok(), name == "x", "{name}: {verdict:?}");
        }
        let header = format!(r#"{{"alg":"HS256","x":{nested}}}"#);
        assert_eq!(verdict(forge(Algorithm::Hs256, &header, claims(""))).as_deref(), Ok("alice"));
        let named = format!(r#"{{"alg":"HS256","kid":{nested}}}"#);
        assert_eq!(verdict(forge(Algorithm::Hs256, &named, claims(""))), Err(Refusal::Header));
    }
    assert!(verdict(good(Algorithm::Hs256, deep("[", "]", 1500))).is_err());
}

proptest! {
    #[test]
    fn whatever_is_sent_nobody_gets_in_and_nothing_breaks(text in any::<Vec<u8>>()) {
        prop_assert!(verdict(text).is_err());
    }

    #[test]
    fn whatever_stands_in_three_parts_nobody_gets_in(
        header in "\\{?(\"(alg|kid|crit|x)\":(\"(none|HS256|a)\"|[0-9]|\\[\\]),?){0,4}\\}?",
        claims in "\\{?(\"(sub|exp|aud|subscribe|x)\":(\"[a-z*]{0,3}\"|1900000000|\\[\"a\"\\]|null),?){0,5}\\}?",
        signature in any::<Vec<u8>>(),
    ) {
        let text = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        prop_assert!(verdict(text).is_err());
    }

    #[test]
    fn whatever_is_signed_nothing_breaks(
        header in "\\{\"alg\":\"HS256\",?(\"(kid|x|crit|typ)\":(\"a\"|1|\\[\\]|null),?){0,3}\\}",
        claims in "\\{(\"(sub|exp|nbf|iat|iss|aud|subscribe|publish|limits|x)\":(\"[a-z*]{0,3}\"|1900000000|-?[0-9]{1,30}(\\.[0-9])?(e[0-9]{1,3})?|\\[(\"a\"|1)\\]|null|\\{\"channels\":[0-9]{1,9}\\}),?){0,9}\\}",
    ) {
        let _ = verdict(forge(Algorithm::Hs256, &header, claims));
    }

    #[test]
    fn a_token_with_one_byte_changed_is_another_one(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
    ) {
        let mut text = good(algorithm, claims(r#""subscribe":["a"]"#)).into_bytes();
        let at = at.index(text.len());
        prop_assume!(text[at] != byte);
        text[at] = byte;
        prop_assert!(verdict(text).is_err());
    }
}
