//! Keys that are brought along: as PEM, as a JWK, as the raw bytes of a secret.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPairComponents, PublicKeyComponents},
    signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    Algorithm, Jwk, KeyError, SigningKey,
    jwk::curve_of,
    key::{Family, family},
    pem::{self, Wrapping},
};
use crate::secret::Secret;

/// The least length of an RSA key that is to sign here (NIST SP 800-57: 128 bits of strength).
const RSA_BITS_MIN: usize = 3072;

impl SigningKey {
    /// Reads a key from a file: PEM as in [`SigningKey::from_pem`], or for HMAC the raw bytes of the secret, all of
    /// them, a final line feed included.
    ///
    /// # Errors
    /// [`KeyError`] if it holds no key for `algorithm`, or one too weak for it.
    pub fn from_file(algorithm: Algorithm, contents: &[u8]) -> Result<Self, KeyError> {
        if algorithm.is_symmetric() {
            return Self::from_secret(algorithm, contents);
        }
        Self::from_pem(algorithm, std::str::from_utf8(contents).map_err(|_| KeyError::NotPem)?)
    }

    /// Reads an unencrypted private key in PEM: PKCS#8 as `openssl genpkey` writes it, SEC 1 for elliptic curves,
    /// PKCS#1 for RSA.
    ///
    /// # Errors
    /// [`KeyError`] if the text is no such file, or the key does not belong to `algorithm` (HMAC keys never do) or is an
    /// RSA key below 3072 bits.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let (wrapping, der) = pem::private_key_of(pem)?;
        let pkcs8 = match (wrapping, family(algorithm)) {
            (Wrapping::Pkcs8, Family::Ed25519 | Family::Ecdsa(..) | Family::Rsa(..)) => der,
            (Wrapping::Sec1, Family::Ecdsa(signing, _)) => {
                pkcs8_of_ecdsa(EcdsaKeyPair::from_private_key_der(signing, &der).ok())?
            }
            (Wrapping::Pkcs1, Family::Rsa(..)) => pkcs8_of_rsa(RsaKeyPair::from_der(&der).ok())?,
            _ => return Err(KeyError::Rejected),
        };
        strong_enough(Self::from_private_bytes(algorithm, &pkcs8)?)
    }

    /// Reads a private JWK (RFC 7517, RFC 7518 section 6, RFC 8037). Its `kid` is not kept.
    ///
    /// # Errors
    /// [`KeyError::NotPrivateJwk`] if it is none, or one for another use; else as [`SigningKey::from_pem`].
    pub fn from_private_jwk(algorithm: Algorithm, json: &[u8]) -> Result<Self, KeyError> {
        let no_key = |_| KeyError::NotPrivateJwk;
        let public: Jwk = serde_json::from_slice(json).map_err(no_key)?;
        let private: PrivateMembers = serde_json::from_slice(json).map_err(no_key)?;
        let signs = public.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "sign"));
        let is_for_this = public.alg.as_deref().is_none_or(|alg| alg == algorithm.as_str());
        if !signs || !is_for_this || public.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(KeyError::NotPrivateJwk);
        }
        let d = || bytes(private.d.as_ref());
        let own = |member: &Option<String>| member.as_deref().ok_or(KeyError::NotPrivateJwk).and_then(decode);
        let pkcs8 = match (family(algorithm), public.kty.as_str(), public.crv.as_deref()) {
            (Family::Hmac(_), "oct", _) => return Self::from_secret(algorithm, &bytes(public.k.as_ref())?),
            (Family::Ed25519, "OKP", Some("Ed25519")) => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&d()?, &own(&public.x)?);
                let document = pair.map_err(|_| KeyError::Rejected)?.to_pkcs8v1().map_err(|_| KeyError::Failed)?;
                Zeroizing::new(document.as_ref().to_vec())
            }
            (Family::Ecdsa(signing, _), "EC", Some(curve)) => {
                let (named, size) = curve_of(algorithm).ok_or(KeyError::Rejected)?;
                let (x, y, d) = (own(&public.x)?, own(&public.y)?, d()?);
                if curve != named || [&x, &y, &d].iter().any(|number| number.len() != size) {
                    return Err(KeyError::Rejected);
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                pkcs8_of_ecdsa(EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point).ok())?
            }
            (Family::Rsa(..), "RSA", _) => {
                let number = |member: &Option<String>| {
                    own(member).map(|bytes| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>())
                };
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents { n: number(&public.n)?, e: number(&public.e)? },
                    d: d()?,
                    p: bytes(private.p.as_ref())?,
                    q: bytes(private.q.as_ref())?,
                    dP: bytes(private.dp.as_ref())?,
                    dQ: bytes(private.dq.as_ref())?,
                    qInv: bytes(private.qi.as_ref())?,
                };
                pkcs8_of_rsa(RsaKeyPair::from_components(&components).ok())?
            }
            _ => return Err(KeyError::NotPrivateJwk),
        };
        strong_enough(Self::from_private_bytes(algorithm, &pkcs8)?)
    }
}

/// What of a JWK is nobody else's business.
#[derive(Deserialize)]
struct PrivateMembers {
    d: Option<Secret>,
    p: Option<Secret>,
    q: Option<Secret>,
    dp: Option<Secret>,
    dq: Option<Secret>,
    qi: Option<Secret>,
}

fn bytes(member: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    decode(member.ok_or(KeyError::NotPrivateJwk)?.expose())
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| KeyError::NotPrivateJwk)
}

fn pkcs8_of_ecdsa(pair: Option<EcdsaKeyPair>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let document = pair.ok_or(KeyError::Rejected)?.to_pkcs8v1().map_err(|_| KeyError::Failed)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

fn pkcs8_of_rsa(pair: Option<RsaKeyPair>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let document = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair.ok_or(KeyError::Rejected)?).map_err(|_| KeyError::Failed)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

fn strong_enough(key: SigningKey) -> Result<SigningKey, KeyError> {
    long_enough(key.rsa_bits())?;
    Ok(key)
}

/// Whether an RSA key of so many bits may sign here, wherever it is held.
pub(super) fn long_enough(rsa_bits: Option<usize>) -> Result<(), KeyError> {
    match rsa_bits {
        Some(bits) if bits < RSA_BITS_MIN => Err(KeyError::RsaSize { bits }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;

    /// The key of RFC 8410 section 10.3, and its public half.
    const ED25519_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const ED25519_X: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";
    /// Appendix A.2 of RFC 8037.
    const RFC_8037: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// Appendix A.3.1 of RFC 7515.
    const RFC_7515_P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn x_of(key: &SigningKey) -> String {
        key.public_jwk("k").unwrap().x.unwrap()
    }

    #[test]
    fn a_file_holds_pem_or_for_hmac_the_secret_itself() {
        let key = SigningKey::from_file(Algorithm::EdDSA, ED25519_PEM.as_bytes()).unwrap();
        assert_eq!(x_of(&key), ED25519_X);
        assert!(SigningKey::from_file(Algorithm::HS256, &[0xff; 32]).is_ok());
        for (algorithm, contents, refusal) in [
            (Algorithm::HS256, &[0xff; 31][..], KeyError::TooShort { needed: 32 }),
            (Algorithm::EdDSA, &[0xff; 32][..], KeyError::NotPem),
            (Algorithm::ES256, ED25519_PEM.as_bytes(), KeyError::Rejected),
        ] {
            assert_eq!(SigningKey::from_file(algorithm, contents).unwrap_err(), refusal, "{algorithm}");
        }
        assert_eq!(SigningKey::from_pem(Algorithm::HS256, ED25519_PEM).unwrap_err(), KeyError::Rejected);
    }

    #[test]
    fn reads_the_older_wrappings_of_elliptic_curves_and_of_rsa() {
        let ec = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let sec1 = AsDer::<aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_>>::as_der(&ec.private_key()).unwrap();
        let text = pem("EC PRIVATE KEY", sec1.as_ref());
        let read = SigningKey::from_pem(Algorithm::ES256, &text).unwrap();
        let whole = SigningKey::from_private_bytes(Algorithm::ES256, ec.to_pkcs8v1().unwrap().as_ref()).unwrap();
        assert_eq!(x_of(&read), x_of(&whole));
        for other in [Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256] {
            assert_eq!(SigningKey::from_pem(other, &text).unwrap_err(), KeyError::Rejected, "{other}");
        }
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        // PKCS#8 wraps PKCS#1: 26 bytes come before it at this size.
        let pkcs1 = pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]);
        for text in [pkcs1, pem("PRIVATE KEY", pkcs8.as_ref())] {
            let short = SigningKey::from_pem(Algorithm::PS256, &text).unwrap_err();
            assert_eq!(short, KeyError::RsaSize { bits: 2048 }, "read, and too short to sign with");
        }
    }

    #[test]
    fn reads_private_jwks() {
        let key = SigningKey::from_private_jwk(Algorithm::EdDSA, RFC_8037.as_bytes()).unwrap();
        let signed = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
        let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(signed), expected, "RFC 8037 appendix A.4");
        let key = SigningKey::from_private_jwk(Algorithm::ES256, RFC_7515_P256.as_bytes()).unwrap();
        assert_eq!(x_of(&key), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
        let secret = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32])}).to_string();
        assert!(SigningKey::from_private_jwk(Algorithm::HS256, secret.as_bytes()).is_ok());
    }

    #[test]
    fn refuses_jwks_that_are_public_broken_or_for_something_else() {
        let refusal = |algorithm, change: &dyn Fn(&mut Value)| {
            let mut jwk: Value = serde_json::from_str(RFC_7515_P256).unwrap();
            change(&mut jwk);
            SigningKey::from_private_jwk(algorithm, jwk.to_string().as_bytes()).unwrap_err()
        };
        let with = |name: &'static str, value: Value| refusal(Algorithm::ES256, &move |jwk| jwk[name] = value.clone());
        assert_eq!(refusal(Algorithm::EdDSA, &|_| {}), KeyError::NotPrivateJwk);
        assert_eq!(refusal(Algorithm::ES384, &|_| {}), KeyError::Rejected);
        assert_eq!(with("d", Value::Null), KeyError::NotPrivateJwk);
        assert_eq!(with("d", json!("?")), KeyError::NotPrivateJwk);
        assert_eq!(with("d", json!("jpsQ")), KeyError::Rejected);
        assert_eq!(with("x", json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")), KeyError::Rejected);
        assert_eq!(with("alg", json!("ES384")), KeyError::NotPrivateJwk);
        assert_eq!(with("use", json!("enc")), KeyError::NotPrivateJwk);
        assert_eq!(with("key_ops", json!(["verify"])), KeyError::NotPrivateJwk);
        let other_half = RFC_8037.replace("11qY", "11qX");
        assert!(SigningKey::from_private_jwk(Algorithm::EdDSA, other_half.as_bytes()).is_err());
        assert!(SigningKey::from_private_jwk(Algorithm::EdDSA, b"[]").is_err());
    }
}
