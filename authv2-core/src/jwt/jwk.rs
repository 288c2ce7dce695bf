//! Public keys as JSON (RFC 7517, RFC 7518 section 6, RFC 8037): those we publish and those of issuers we trust.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, VerifyingKey, rsa_strength};
use crate::secret::Secret;

/// A JSON Web Key. Members that are not understood, private ones among them, are ignored and never written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Jwk {
    /// The key type: `OKP`, `EC`, `RSA` or `oct`.
    pub kty: String,
    /// `sig` for every key of ours.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// What the key may be used for, where its owner says it this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// The one algorithm the key is used with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// The name that tokens know the key by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The curve, for `OKP` and `EC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// The public key of `OKP`, the first coordinate of `EC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// The second coordinate of `EC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// The modulus of `RSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// The public exponent of `RSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// The secret of `oct`: read, never written.
    #[serde(skip_serializing)]
    pub k: Option<Secret>,
}

/// A JWK Set: what `/.well-known/jwks.json` answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// The JWK names no key that may verify signatures here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// `kty`, `crv` or `alg` is nothing spoken here, or they do not belong together.
    #[error("the key is of a type or algorithm that is not supported")]
    Unsupported,
    /// `use` or `key_ops` says that the key is not for verifying.
    #[error("the key is not for verifying signatures")]
    WrongUse,
    /// A member is missing or not canonical base64url of the right length.
    #[error("the key is malformed")]
    Malformed,
    /// The key itself is not acceptable.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Jwk {
    pub(super) fn of_ed25519(public: &[u8]) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: Some("Ed25519".to_owned()),
            x: Some(URL_SAFE_NO_PAD.encode(public)),
            ..Self::default()
        }
    }

    /// From an uncompressed point (SEC 1 section 2.3.3): `04`, then both coordinates.
    pub(super) fn of_ecdsa(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let (curve, size) = curve_of(algorithm)?;
        let (x, y) = point.strip_prefix(&[4])?.split_at_checked(size)?;
        Some(Self {
            kty: "EC".to_owned(),
            crv: Some(curve.to_owned()),
            x: Some(URL_SAFE_NO_PAD.encode(x)),
            y: Some(URL_SAFE_NO_PAD.encode(y)),
            ..Self::default()
        })
    }

    pub(super) fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            kty: "RSA".to_owned(),
            n: Some(URL_SAFE_NO_PAD.encode(modulus)),
            e: Some(URL_SAFE_NO_PAD.encode(exponent)),
            ..Self::default()
        }
    }

    pub(super) fn for_signing_with(self, algorithm: Algorithm, kid: &str) -> Self {
        Self {
            usage: Some("sig".to_owned()),
            alg: Some(algorithm.as_str().to_owned()),
            kid: Some(kid.to_owned()),
            ..self
        }
    }

    /// The same key with the numbers of RSA in their one form (RFC 7518 section 2), so that it has one thumbprint.
    pub(super) fn normalised(self) -> Result<Self, JwkError> {
        if self.kty != "RSA" {
            return Ok(self);
        }
        let number = |text| Ok::<_, JwkError>(Some(URL_SAFE_NO_PAD.encode(integer(text)?)));
        Ok(Self { n: number(&self.n)?, e: number(&self.e)?, ..self })
    }

    /// The length of the modulus of `RSA`.
    pub(super) fn rsa_bits(&self) -> Option<usize> {
        (self.kty == "RSA").then(|| integer(&self.n).ok()).flatten().map(|modulus| rsa_strength::bits(&modulus))
    }

    /// The algorithms this key may be used with: the one it names; else those of `allowed` that fit its type; else,
    /// with nothing allowed explicitly, the one that RFC 7518 section 3.1 requires or recommends for the type.
    ///
    /// # Errors
    /// [`JwkError::Unsupported`] if there is none.
    pub fn algorithms(&self, allowed: Option<&[Algorithm]>) -> Result<Vec<Algorithm>, JwkError> {
        let permitted = |algorithm: &Algorithm| allowed.is_none_or(|allowed| allowed.contains(algorithm));
        let candidates: Vec<Algorithm> = match (&self.alg, allowed) {
            (Some(name), _) => vec![name.parse().map_err(|_| JwkError::Unsupported)?],
            (None, Some(allowed)) => allowed.to_vec(),
            (None, None) => vec![
                Algorithm::EdDSA,
                Algorithm::ES256,
                Algorithm::ES384,
                Algorithm::ES512,
                Algorithm::RS256,
                Algorithm::HS256,
            ],
        };
        let fitting: Vec<_> = candidates.into_iter().filter(permitted).filter(|&alg| self.fits(alg)).collect();
        if fitting.is_empty() { Err(JwkError::Unsupported) } else { Ok(fitting) }
    }

    /// The key, for one algorithm.
    ///
    /// # Errors
    /// [`JwkError`] if it is not for verifying, not of this algorithm's type, malformed or weak.
    pub fn verifying_key(&self, algorithm: Algorithm) -> Result<VerifyingKey, JwkError> {
        if !self.fits(algorithm) || self.alg.as_deref().is_some_and(|own| own != algorithm.as_str()) {
            return Err(JwkError::Unsupported);
        }
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") || !verifies {
            return Err(JwkError::WrongUse);
        }
        let key = match self.kty.as_str() {
            "OKP" => VerifyingKey::from_point(algorithm, &member(&self.x)?),
            "EC" => {
                let (_, size) = curve_of(algorithm).ok_or(JwkError::Unsupported)?;
                let (x, y) = (member(&self.x)?, member(&self.y)?);
                // RFC 7518 section 6.2.1.2: the full size of a coordinate, leading zeros included.
                if x.len() != size || y.len() != size {
                    return Err(JwkError::Malformed);
                }
                VerifyingKey::from_point(algorithm, &[&[4], x.as_slice(), y.as_slice()].concat())
            }
            "RSA" => VerifyingKey::from_rsa(algorithm, &integer(&self.n)?, &integer(&self.e)?),
            "oct" => {
                let text = self.k.as_ref().ok_or(JwkError::Malformed)?.expose();
                let secret = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| JwkError::Malformed)?;
                VerifyingKey::from_secret(algorithm, &secret)
            }
            _ => return Err(JwkError::Unsupported),
        };
        Ok(key?)
    }

    /// The key's SHA-256 thumbprint (RFC 7638): its name where nobody has given it one, as in DPoP's `jkt`.
    ///
    /// # Errors
    /// [`JwkError`] if a required member is missing or the type is not a public one.
    pub fn thumbprint(&self) -> Result<String, JwkError> {
        // The required members in lexical order, without spaces (section 3.2). Values are base64url or fixed names
        // once checked, so that nothing needs escaping.
        let text = |member: &Option<String>| match member {
            Some(text) if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') => Ok(text.clone()),
            _ => Err(JwkError::Malformed),
        };
        let json = match self.kty.as_str() {
            "OKP" => format!(r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#, text(&self.crv)?, text(&self.x)?),
            "EC" => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                text(&self.crv)?,
                text(&self.x)?,
                text(&self.y)?
            ),
            "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(&self.e)?, text(&self.n)?),
            _ => return Err(JwkError::Unsupported),
        };
        Ok(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, json.as_bytes())))
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let crv = self.crv.as_deref();
        match algorithm {
            Algorithm::EdDSA => self.kty == "OKP" && crv == Some("Ed25519"),
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => {
                self.kty == "EC" && crv == curve_of(algorithm).map(|(name, _)| name)
            }
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => self.kty == "oct",
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => self.kty == "RSA",
        }
    }
}

/// The curve of an ECDSA algorithm and the bytes of a coordinate on it.
pub(super) fn curve_of(algorithm: Algorithm) -> Option<(&'static str, usize)> {
    match algorithm {
        Algorithm::ES256 => Some(("P-256", 32)),
        Algorithm::ES384 => Some(("P-384", 48)),
        Algorithm::ES512 => Some(("P-521", 66)),
        _ => None,
    }
}

fn member(text: &Option<String>) -> Result<Vec<u8>, JwkError> {
    text.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(JwkError::Malformed)
}

/// An unsigned integer without its leading zeros, which some issuers write against RFC 7518 section 2.
fn integer(text: &Option<String>) -> Result<Vec<u8>, JwkError> {
    Ok(member(text)?.into_iter().skip_while(|&byte| byte == 0).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jwt::SigningKey;

    fn jwk(value: serde_json::Value) -> Jwk {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn published_keys_read_back_as_verifying_keys() {
        for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::RS256] {
            let key = SigningKey::generate(algorithm).unwrap();
            let published = serde_json::to_value(key.public_jwk("the-kid").unwrap()).unwrap();
            assert_eq!(published["use"], "sig");
            assert_eq!(published["alg"], algorithm.as_str());
            assert_eq!(published["kid"], "the-kid");
            let read = jwk(published);
            assert_eq!(read.algorithms(None).unwrap(), [algorithm]);
            let signature = key.sign(b"message").unwrap();
            assert!(read.verifying_key(algorithm).unwrap().verifies(b"message", &signature), "{algorithm}");
        }
    }

    #[test]
    fn nothing_private_is_ever_written() {
        let secret = jwk(json!({"kty": "oct", "k": "c2VjcmV0", "d": "x"}));
        assert_eq!(serde_json::to_value(&secret).unwrap(), json!({"kty": "oct"}));
        assert!(!format!("{secret:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn has_the_thumbprint_of_rfc_8037_appendix_a3() {
        let key = jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
        assert_eq!(key.thumbprint().unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn has_the_thumbprint_of_rfc_7638_section_3_1() {
        let key = jwk(json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n\
                  3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0\
                  zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-\
                  csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"
        }));
        assert_eq!(key.thumbprint().unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.verifying_key(Algorithm::RS256).unwrap().algorithm(), Algorithm::RS256);
    }

    #[test]
    fn refuses_keys_for_other_uses_other_curves_and_off_the_curve() {
        let good =
            serde_json::to_value(SigningKey::generate(Algorithm::ES256).unwrap().public_jwk("k").unwrap()).unwrap();
        let with = |name: &str, value: serde_json::Value| {
            let mut changed = good.clone();
            changed[name] = value;
            jwk(changed).verifying_key(Algorithm::ES256).err()
        };
        assert_eq!(with("kid", json!("other")), None);
        assert_eq!(with("use", json!("enc")), Some(JwkError::WrongUse));
        assert_eq!(with("key_ops", json!(["sign"])), Some(JwkError::WrongUse));
        assert_eq!(with("crv", json!("P-384")), Some(JwkError::Unsupported));
        assert_eq!(with("kty", json!("RSA")), Some(JwkError::Unsupported));
        assert_eq!(with("alg", json!("ES384")), Some(JwkError::Unsupported));
        assert_eq!(with("x", json!("AAAA")), Some(JwkError::Malformed));
        assert_eq!(with("x", good["y"].clone()), Some(JwkError::Key(KeyError::Rejected)));
    }
}
