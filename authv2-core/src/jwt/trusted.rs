//! The keys of an issuer we trust, from its JWK Set.

use std::collections::HashSet;

use super::{Algorithm, Jwk, JwkError, TokenRefusal, VerifyingKey, jws::JoseHeader};

/// The most keys a set may have: what bounds the work for a token that names none.
pub const MAX_TRUSTED_KEYS: usize = 64;

/// The JWK Set as a whole cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It has no array of `keys`.
    #[error("not a JWK Set")]
    NotASet,
    /// It has more than [`MAX_TRUSTED_KEYS`] keys.
    #[error("the set has too many keys")]
    TooMany,
    /// Two keys have the same `kid`: which one a token means would be a guess.
    #[error("two keys have the same kid")]
    DuplicateKeyId,
    /// It mixes secrets and public keys, which is how a public key comes to be taken for a secret.
    #[error("the set mixes symmetric and asymmetric keys")]
    MixedKeys,
}

impl TrustError {
    /// A stable name for logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotASet => "not_a_key_set",
            Self::TooMany => "too_many_keys",
            Self::DuplicateKeyId => "duplicate_key_id",
            Self::MixedKeys => "mixed_keys",
        }
    }
}

/// The verifying keys of a trusted issuer. A key that must not be used stays in the set as such, so that tokens that
/// name it are refused for that reason.
#[derive(Debug, Clone)]
pub struct TrustedKeys(Vec<TrustedKey>);

#[derive(Debug, Clone)]
struct TrustedKey {
    kid: Option<String>,
    /// One for each algorithm the key may be used with; none if it must not be used.
    verifying: Vec<VerifyingKey>,
}

impl TrustedKeys {
    /// Takes the keys of a JWK Set (RFC 7517 section 5), for the algorithms `allowed`, or, with `None`, for those
    /// that the keys name.
    ///
    /// # Errors
    /// [`TrustError`] if the set is ambiguous. Single keys that are weak, malformed or for other purposes do not make
    /// it so: no token passes by them.
    pub fn from_jwks(jwks: &serde_json::Value, allowed: Option<&[Algorithm]>) -> Result<Self, TrustError> {
        let keys = jwks.get("keys").and_then(serde_json::Value::as_array).ok_or(TrustError::NotASet)?;
        if keys.len() > MAX_TRUSTED_KEYS {
            return Err(TrustError::TooMany);
        }
        let text = |key: &serde_json::Value, name: &str| key.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let mut kids = HashSet::new();
        let mut trusted = Vec::with_capacity(keys.len());
        for key in keys {
            let kid = text(key, "kid");
            if kid.as_ref().is_some_and(|kid| !kids.insert(kid.clone())) {
                return Err(TrustError::DuplicateKeyId);
            }
            trusted.push(TrustedKey { kid, verifying: usable(key, allowed).unwrap_or_default() });
        }
        let symmetric = keys.iter().filter(|key| text(key, "kty").as_deref() == Some("oct")).count();
        if symmetric != 0 && symmetric != keys.len() {
            return Err(TrustError::MixedKeys);
        }
        Ok(Self(trusted))
    }

    /// Whether there is any key that may be used.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        self.0.iter().any(|key| !key.verifying.is_empty())
    }

    /// Whether a key of this set made `signature`. A `kid` is only ever compared; a token without one may be of any
    /// key that has its algorithm.
    pub(super) fn verify(&self, header: &JoseHeader, message: &[u8], signature: &[u8]) -> Result<(), TokenRefusal> {
        let candidates: Vec<&TrustedKey> = match &header.kid {
            Some(kid) => self.0.iter().filter(|key| key.kid.as_ref() == Some(kid)).collect(),
            None => self.0.iter().collect(),
        };
        if candidates.is_empty() {
            return Err(TokenRefusal::UnknownKeyId);
        }
        let usable: Vec<_> = candidates.into_iter().flat_map(|key| &key.verifying).collect();
        if usable.is_empty() {
            return Err(TokenRefusal::UnusableKey);
        }
        let mut fitting = usable.into_iter().filter(|key| key.algorithm() == header.algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(TokenRefusal::AlgorithmMismatch);
        }
        if fitting.any(|key| key.verifies(message, signature)) { Ok(()) } else { Err(TokenRefusal::BadSignature) }
    }
}

fn usable(key: &serde_json::Value, allowed: Option<&[Algorithm]>) -> Result<Vec<VerifyingKey>, JwkError> {
    let jwk: Jwk = serde::Deserialize::deserialize(key).map_err(|_| JwkError::Malformed)?;
    jwk.algorithms(allowed)?.into_iter().map(|algorithm| jwk.verifying_key(algorithm)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refuses_ambiguous_sets() {
        let oct = json!({"kty": "oct", "k": "AAAA", "kid": "a"});
        let ec = json!({"kty": "EC", "crv": "P-256", "kid": "b"});
        let set = |keys: serde_json::Value| TrustedKeys::from_jwks(&json!({"keys": keys}), None);
        assert!(matches!(set(json!([oct, ec])), Err(TrustError::MixedKeys)));
        assert!(matches!(set(json!([ec, ec])), Err(TrustError::DuplicateKeyId)));
        assert!(matches!(set(json!({})), Err(TrustError::NotASet)));
        assert!(matches!(set(vec![json!({}); 65].into()), Err(TrustError::TooMany)));
        assert!(set(json!([ec, {"kty": "unknown"}, 1])).is_ok());
    }
}
