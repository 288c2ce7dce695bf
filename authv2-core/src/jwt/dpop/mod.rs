//! Proofs of possession (DPoP, RFC 9449): a small JWT with which a client shows, request by request, that it holds a key.
//!
//! # Rules
//! 1. A proof is as strict a JWS as any token: bounded before it is decoded, one reading only, no `crit`.
//! 2. `typ` is exactly `dpop+jwt`, `alg` an asymmetric one, and the key in `jwk` a public one that fits it.
//! 3. It names the very request: `htm` its method, `htu` its address without query, and `ath` the access token that
//!    comes with it.
//! 4. It is young: `iat` lies in a window around the present.
//!
//! # What it does not do
//! [`verify_proof`] is a function of the proof and the request. That a proof is used once, that its nonce is ours and
//! that its key is the one a session is bound to is judged by whoever calls.

mod refusal;
mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::{refusal::ProofRefusal, target::Base};
use super::{Algorithm, Jwk, JwkError, NumericDate, TokenRefusal, VerifyingKey, jws::CompactJws, strict_json};
use crate::{clock::Timestamp, secret::SecretHash, store::Proof};

/// The `typ` of a proof (RFC 9449 section 4.2).
pub const PROOF_TYPE: &str = "dpop+jwt";

/// Members of a JWK that no public key has (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The algorithms that a proof may be signed with: all of ours but those with a shared secret.
pub fn proof_algorithms() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_symmetric())
}

/// What a proof is judged by.
#[derive(Debug, Clone, Copy)]
pub struct ProofRules<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's path, as it arrived here.
    pub path: &'a str,
    /// Where clients reach this service.
    pub bases: &'a [Base],
    /// The access token that comes with it, if one does.
    pub access_token: Option<&'a str>,
    /// How old it may be.
    pub max_age: Duration,
    /// How far the client's clock may be off, either way.
    pub leeway: Duration,
}

/// A proof that is good for its request, and the nonce that it carries, which the caller judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// What is used up.
    pub proof: Proof,
    /// The nonce.
    pub nonce: Option<String>,
}

/// Judges a proof for a request.
///
/// # Errors
/// [`ProofRefusal`], the first rule that failed.
pub fn verify_proof(proof: &str, rules: &ProofRules<'_>, now: Timestamp) -> Result<Proven, ProofRefusal> {
    let jws = CompactJws::split(proof)?;
    let key = key_of(&jws)?;
    if !key.verifying.verifies(jws.signing_input.as_bytes(), &jws.signature()?) {
        return Err(TokenRefusal::BadSignature.into());
    }
    let claims = Claims::read(&jws.payload()?)?;
    let jti = claims.check(rules, now)?;
    let id = SecretHash::of(&[key.thumbprint.as_slice(), jti.as_bytes()].concat());
    let expires_at = claims.iat()? + rules.max_age + rules.leeway;
    Ok(Proven { proof: Proof { key: key.thumbprint, id, expires_at }, nonce: claims.nonce })
}

/// How a key is named in `cnf.jkt`.
#[must_use]
pub fn jkt(thumbprint: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(thumbprint)
}

/// The key that a proof brings along.
struct ProofKey {
    verifying: VerifyingKey,
    thumbprint: [u8; 32],
}

fn key_of(jws: &CompactJws<'_>) -> Result<ProofKey, ProofRefusal> {
    // Every name is known to stand once, at every depth, from here on.
    let header = jws.read_header()?;
    if header.typ.as_deref() != Some(PROOF_TYPE) {
        return Err(TokenRefusal::WrongType.into());
    }
    if header.algorithm.is_symmetric() {
        return Err(TokenRefusal::UnsupportedAlgorithm.into());
    }
    let members: Map<String, Value> =
        serde_json::from_slice(&jws.header_bytes()?).map_err(|_| TokenRefusal::BadHeader)?;
    let jwk = members.get("jwk").ok_or(ProofRefusal::MissingKey)?;
    if PRIVATE.iter().any(|name| jwk.get(name).is_some()) {
        return Err(ProofRefusal::PrivateKey);
    }
    let jwk = Jwk::deserialize(jwk).map_err(|_| TokenRefusal::UnusableKey)?;
    let verifying = jwk.verifying_key(header.algorithm).map_err(|error| match error {
        JwkError::Unsupported => TokenRefusal::AlgorithmMismatch,
        _ => TokenRefusal::UnusableKey,
    })?;
    let thumbprint = jwk.thumbprint().ok().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok());
    Ok(ProofKey { verifying, thumbprint: thumbprint.ok_or(TokenRefusal::UnusableKey)? })
}

/// The claims as they came.
#[derive(Deserialize)]
struct Claims {
    jti: Option<String>,
    htm: Option<String>,
    htu: Option<String>,
    iat: Option<NumericDate>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Claims {
    fn read(json: &[u8]) -> Result<Self, TokenRefusal> {
        strict_json::check(json, TokenRefusal::BadPayload, TokenRefusal::DuplicateClaim)?;
        let members: Map<String, Value> = serde_json::from_slice(json).map_err(|_| TokenRefusal::BadPayload)?;
        Self::deserialize(Value::Object(members)).map_err(|_| TokenRefusal::MalformedClaim)
    }

    fn iat(&self) -> Result<Timestamp, TokenRefusal> {
        self.iat.map(|iat| iat.0).ok_or(TokenRefusal::MissingClaim)
    }

    /// Judges what does not concern the key; the proof's own name.
    fn check(&self, rules: &ProofRules<'_>, now: Timestamp) -> Result<&str, ProofRefusal> {
        let (jti, method, target) = (required(&self.jti)?, required(&self.htm)?, required(&self.htu)?);
        let iat = self.iat()?;
        // Methods are case-sensitive (RFC 9110 section 9.1).
        if method != rules.method {
            return Err(ProofRefusal::WrongMethod);
        }
        if !target::leads_to(target, rules.path, rules.bases) {
            return Err(ProofRefusal::WrongTarget);
        }
        let horizon = now + rules.leeway;
        if iat > horizon {
            return Err(TokenRefusal::IssuedInFuture.into());
        }
        if iat + rules.max_age + rules.leeway < now {
            return Err(ProofRefusal::TooOld);
        }
        // Nobody has to send these two; who does means them.
        if self.exp.is_some_and(|exp| now >= exp.0 + rules.leeway) {
            return Err(TokenRefusal::Expired.into());
        }
        if self.nbf.is_some_and(|nbf| nbf.0 > horizon) {
            return Err(TokenRefusal::NotYetValid.into());
        }
        match rules.access_token {
            Some(token) if required(&self.ath)? != URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())) => {
                Err(ProofRefusal::WrongToken)
            }
            _ => Ok(jti),
        }
    }
}

fn required(claim: &Option<String>) -> Result<&str, TokenRefusal> {
    match claim.as_deref() {
        None => Err(TokenRefusal::MissingClaim),
        Some("") => Err(TokenRefusal::EmptyClaim),
        Some(text) => Ok(text),
    }
}
