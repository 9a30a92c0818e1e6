//! One key that tokens may be signed with, and the one algorithm that it is for. A key is never used with another algorithm,
//! whatever a token says, so a public RSA key is never taken for the secret of an HMAC (RFC 8725 §2.1). Must never show what a
//! key is made of.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};

use crate::limits::{HS256_SECRET_BYTES_MIN, KEY_BYTES_MAX, KEY_ID_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// The algorithms that a token may be signed with (RFC 7518 §3, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: signer and node share a secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// The algorithm that a header or a key set calls by this name, letter by letter. `Ed25519` is the newer name of what
    /// `EdDSA` means here (RFC 9864 §2.2).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Self::EdDsa),
            _ => Self::ALL.into_iter().find(|algorithm| algorithm.name() == name),
        }
    }

    /// Its name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    const fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key with its algorithm and, where it has one, its name. `Debug` shows no more than these two.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    material: DecodingKey,
}

impl Key {
    /// A key for [`Algorithm::Hs256`].
    ///
    /// # Errors
    /// [`KeyError::WeakSecret`] where it is shorter than the hash (RFC 7518 §3.2); [`KeyError::PublicSecret`] where it is a
    /// PEM file; [`KeyError::TooLong`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        if pem_label(secret).is_some() {
            return Err(KeyError::PublicSecret);
        }
        if secret.len() < HS256_SECRET_BYTES_MIN {
            return Err(KeyError::WeakSecret(secret.len()));
        }
        let material = DecodingKey::from_secret(secret).map_err(|_| KeyError::WeakSecret(secret.len()))?;
        Ok(Self { algorithm: Algorithm::Hs256, kid: None, material })
    }

    /// A public key for `algorithm` from a PEM file: `PUBLIC KEY` (RFC 7468 §13), or `RSA PUBLIC KEY` (RFC 8017 §A.1.1).
    ///
    /// # Errors
    /// Whatever keeps the file from being such a key; for [`Algorithm::Hs256`], which has none, always.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        if pem.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        match pem_label(pem) {
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {}
            Some("CERTIFICATE") => return Err(KeyError::Certificate),
            Some(label) if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
            Some(_) | None => return Err(KeyError::NoPem),
        }
        let read = match algorithm {
            Algorithm::Hs256 => return Err(KeyError::Unfit(algorithm)),
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
        };
        Self::from_public(algorithm, read.map_err(|_| KeyError::Unfit(algorithm))?)
    }

    /// A public key that is read already. The library takes its form for granted until a signature is checked; here it is
    /// looked at once, while somebody is there to read the answer.
    pub(super) fn from_public(algorithm: Algorithm, material: DecodingKey) -> Result<Self, KeyError> {
        let unfit = |_| KeyError::Unfit(algorithm);
        match (algorithm, material.family()) {
            (Algorithm::Rs256, AlgorithmFamily::Rsa) => check_rsa(&material)?,
            (Algorithm::Es256, AlgorithmFamily::Ec) => {
                let point = material.try_get_as_bytes().map_err(unfit)?;
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .map_err(|_| KeyError::Unfit(algorithm))?;
            }
            (Algorithm::EdDsa, AlgorithmFamily::Ed) => {
                let point = material.try_get_as_bytes().map_err(unfit)?;
                ParsedPublicKey::new(&ED25519, point).map_err(|_| KeyError::Unfit(algorithm))?;
            }
            (Algorithm::Hs256 | Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa, _) => {
                return Err(KeyError::Unfit(algorithm));
            }
        }
        Ok(Self { algorithm, kid: None, material })
    }

    /// The same key under a name. It is then for tokens that name it, and for those that name none.
    ///
    /// # Errors
    /// [`KeyError::Name`] where the name is empty, longer than [`KEY_ID_BYTES_MAX`], or holds control characters.
    pub fn named(self, kid: &str) -> Result<Self, KeyError> {
        if kid.is_empty() || kid.len() > KEY_ID_BYTES_MAX || kid.contains(char::is_control) {
            return Err(KeyError::Name);
        }
        Ok(Self { kid: Some(kid.into()), ..self })
    }

    /// The algorithm that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its name, where it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether `signature`, as it is written in a token, is this key's of `signed`.
    pub(super) fn has_signed(&self, signed: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.of_library();
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.material, algorithm).unwrap_or(false)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Why something is no key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// More than [`KEY_BYTES_MAX`].
    TooLong,
    /// A secret with fewer bytes than its hash has: how many.
    WeakSecret(usize),
    /// A PEM file in the place of a secret: most of them everybody may know.
    PublicSecret,
    /// No PEM file of a public key.
    NoPem,
    /// The private half.
    Private,
    /// A certificate instead of the key in it.
    Certificate,
    /// A key of another kind or curve than the algorithm's, or a damaged one.
    Unfit(Algorithm),
    /// An RSA key with too few or too many bits: how many.
    RsaBits(usize),
    /// A name that no key may have.
    Name,
}

impl fmt::Display for KeyError {
    /// What is wrong, and what to do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a key has at most {KEY_BYTES_MAX} bytes"),
            Self::WeakSecret(bytes) => write!(
                f,
                "the secret has {bytes} bytes, HS256 needs {HS256_SECRET_BYTES_MIN} at least (RFC 7518 §3.2): \
                 `openssl rand -hex 32` makes one"
            ),
            Self::PublicSecret => f.write_str(
                "a PEM file is no secret: a public key is for rs256, es256 or eddsa, and who knows it could sign for hs256",
            ),
            Self::NoPem => f.write_str("it has no line `-----BEGIN PUBLIC KEY-----`: a public key in PEM is wanted"),
            Self::Private => f.write_str(
                "it holds a private key, which is for the one who signs: `openssl pkey -in FILE -pubout` gives the \
                 public half, which is for the node",
            ),
            Self::Certificate => f.write_str(
                "it holds a certificate: `openssl x509 -in FILE -pubkey -noout` gives the public key in it",
            ),
            Self::Unfit(algorithm) => write!(f, "it is not a public key for {algorithm}: {}", wanted(*algorithm)),
            Self::RsaBits(bits) => {
                write!(f, "the RSA key has {bits} bits, {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken (RFC 7518 §3.3)")
            }
            Self::Name => {
                write!(f, "the name of a key has 1 to {KEY_ID_BYTES_MAX} bytes and no control characters")
            }
        }
    }
}

impl std::error::Error for KeyError {}

const fn wanted(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hs256 => "there is none, both sides share a secret",
        Algorithm::Rs256 => "an RSA key is wanted",
        Algorithm::Es256 => "a key on the curve P-256 (prime256v1) is wanted",
        Algorithm::EdDsa => "an Ed25519 key is wanted",
    }
}

/// The label of the first PEM block, `PUBLIC KEY` for one that begins with `-----BEGIN PUBLIC KEY-----`.
fn pem_label(text: &[u8]) -> Option<&str> {
    let text = str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    rest.split_once("-----").map(|(label, _)| label)
}

/// Whether the modulus of an RSA key is long enough, and not so long that the library would not verify with it.
fn check_rsa(material: &DecodingKey) -> Result<(), KeyError> {
    let jwk = Jwk::from_decoding_key(material, None).map_err(|_| KeyError::Unfit(Algorithm::Rs256))?;
    let AlgorithmParameters::RSA(rsa) = jwk.algorithm else { return Err(KeyError::Unfit(Algorithm::Rs256)) };
    let modulus = URL_SAFE_NO_PAD.decode(rsa.n).map_err(|_| KeyError::Unfit(Algorithm::Rs256))?;
    let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
    let first = modulus.get(zeros).map_or(8, |byte| byte.leading_zeros() as usize);
    let bits = ((modulus.len() - zeros) * 8).saturating_sub(first);
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) { Ok(()) } else { Err(KeyError::RsaBits(bits)) }
}

#[cfg(test)]
mod tests {
    use super::super::forge::{
        EC_PRIVATE, EC_PUBLIC, ED_PRIVATE, ED_PUBLIC, RSA_PRIVATE, RSA_PUBLIC, SECRET, key,
    };
    use super::*;

    /// A point of secp256k1, of as many bytes as one of P-256.
    const FOREIGN_CURVE: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
        MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE0Apz6HIYuo1/a4h0XlI1Gha6mlxPfLD1\n\
        K0GfHdMUCONsq7zD2v770ShAFrX06cP1/TGK/SOlolHOCV5nUb4xVg==\n-----END PUBLIC KEY-----\n";
    const P384: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEdB6Cgi6iNY5FGl6V8De/upa6ehdhL6UH\n\
        ygTCzazbuKvKbCbiCAE0Ey2EzDOzk/56UUPU6KZj/VZ5GXDSv95aNgm51NF4z4Hw\n\
        nZrziIc4pM5r9Edz3ZzD44tZnNlmPP15\n-----END PUBLIC KEY-----\n";
    const RSA_1024: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDC5D4EXpMPk9jcxGXZeAzBVXrj\n\
        oY9RzopHGTGHr9AvL+omfFKsR1AWs3BhxtkvuvKP+0StcpiajMGw/W+XkNhViEuy\n\
        tjFyr5fYQDed6IC3ryWVZzXUoaqGEDNrlTRuEgbl2j+OSsnlv4EnPnR7YbJcoW8W\n\
        pMXTLIsVPCHsEU16uQIDAQAB\n-----END PUBLIC KEY-----\n";

    fn error(algorithm: Algorithm, pem: &[u8]) -> KeyError {
        Key::from_pem(algorithm, pem).unwrap_err()
    }

    #[test]
    fn a_secret_has_as_many_bytes_as_its_hash() {
        let secret = |bytes: usize| Key::from_secret(&vec![b's'; bytes]).map(|key| key.algorithm());
        assert_eq!(secret(0), Err(KeyError::WeakSecret(0)));
        assert_eq!(secret(HS256_SECRET_BYTES_MIN - 1), Err(KeyError::WeakSecret(31)));
        assert_eq!(secret(HS256_SECRET_BYTES_MIN), Ok(Algorithm::Hs256));
        assert_eq!(secret(KEY_BYTES_MAX), Ok(Algorithm::Hs256));
        assert_eq!(secret(KEY_BYTES_MAX + 1), Err(KeyError::TooLong));
    }

    #[test]
    fn a_key_that_everybody_may_know_is_no_secret() {
        for pem in [RSA_PUBLIC, EC_PUBLIC, ED_PUBLIC, RSA_PRIVATE] {
            assert_eq!(Key::from_secret(pem).err(), Some(KeyError::PublicSecret));
        }
    }

    #[test]
    fn a_public_key_is_for_its_own_algorithm_only() {
        let fitting =
            [(Algorithm::Rs256, RSA_PUBLIC), (Algorithm::Es256, EC_PUBLIC), (Algorithm::EdDsa, ED_PUBLIC)];
        for algorithm in Algorithm::ALL {
            for (own, pem) in fitting {
                let key = Key::from_pem(algorithm, pem).map(|key| key.algorithm());
                let expected = if own == algorithm { Ok(own) } else { Err(KeyError::Unfit(algorithm)) };
                assert_eq!(key, expected, "{algorithm} {own}");
            }
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_what_it_is() {
        for (algorithm, pem) in
            [(Algorithm::Rs256, RSA_PRIVATE), (Algorithm::Es256, EC_PRIVATE), (Algorithm::EdDsa, ED_PRIVATE)]
        {
            assert_eq!(error(algorithm, pem), KeyError::Private);
        }
        assert_eq!(error(Algorithm::Rs256, b"-----BEGIN RSA PRIVATE KEY-----\n"), KeyError::Private);
        assert_eq!(error(Algorithm::Es256, b"-----BEGIN EC PRIVATE KEY-----\n"), KeyError::Private);
        assert_eq!(error(Algorithm::Rs256, b"-----BEGIN CERTIFICATE-----\nAAAA"), KeyError::Certificate);
        for no_pem in [
            b"".as_slice(),
            SECRET,
            b"ssh-ed25519 AAAA",
            b"-----BEGIN ",
            b"\xff",
            b"-----BEGIN X509 CRL-----",
        ] {
            assert_eq!(error(Algorithm::EdDsa, no_pem), KeyError::NoPem);
        }
        let damaged = String::from_utf8(RSA_PUBLIC.to_vec()).unwrap().replace("MIIB", "MIIC");
        assert_eq!(error(Algorithm::Rs256, damaged.as_bytes()), KeyError::Unfit(Algorithm::Rs256));
        assert_eq!(error(Algorithm::Rs256, &vec![b' '; KEY_BYTES_MAX + 1]), KeyError::TooLong);
    }

    #[test]
    fn a_key_that_is_too_small_or_on_another_curve_is_refused_when_it_is_read() {
        assert_eq!(error(Algorithm::Rs256, RSA_1024), KeyError::RsaBits(1024));
        assert_eq!(error(Algorithm::Es256, FOREIGN_CURVE), KeyError::Unfit(Algorithm::Es256));
        assert_eq!(error(Algorithm::Es256, P384), KeyError::Unfit(Algorithm::Es256));
    }

    #[test]
    fn the_name_of_a_key_fits_into_a_line() {
        let named = |kid: &str| key(Algorithm::Hs256).named(kid).map(|key| key.kid().map(str::to_owned));
        assert_eq!(named("2026-01/ä"), Ok(Some("2026-01/ä".to_owned())));
        for kid in ["", "a\nb", &"k".repeat(KEY_ID_BYTES_MAX + 1)] {
            assert_eq!(named(kid), Err(KeyError::Name), "{kid}");
        }
    }

    #[test]
    fn what_is_printed_of_a_key_is_its_algorithm_and_its_name() {
        let shown = format!("{:?}", key(Algorithm::Hs256).named("a").unwrap());
        assert_eq!(shown, "Key { algorithm: Hs256, kid: Some(\"a\"), .. }");
    }

    #[test]
    fn an_error_says_what_to_do_and_nothing_of_the_key() {
        let secret = b"hunter2hunter2";
        let words = Key::from_secret(secret).unwrap_err().to_string();
        assert!(words.contains("14 bytes") && words.contains("openssl rand -hex 32"), "{words}");
        assert!(!words.contains("hunter2"), "{words}");
        assert!(error(Algorithm::Rs256, RSA_PRIVATE).to_string().contains("openssl pkey -in FILE -pubout"));
    }
}
