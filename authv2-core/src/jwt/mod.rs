//! Access tokens: JWTs per RFC 9068, and the keys that sign them.
//!
//! # Rules
//! 1. The algorithm belongs to the key. A token's `alg` is compared with it and chooses nothing (RFC 8725 section 3.1);
//!    `none` does not exist.
//! 2. A token is bounded in size before any of it is decoded, and in depth while it is parsed.
//! 3. Nothing is read two ways: canonical base64url only, no duplicate members at any depth, no `crit`, no `b64`.
//! 4. Keys come from the key set alone: `kid` is compared with its names; `jwk`, `jku`, `x5u` and `x5c` are ignored.
//! 5. Every refusal has a name of its own ([`TokenRefusal`]) for logs and metrics; clients get one answer for all.
//! 6. Private keys are sealed at rest ([`crate::master_key`]), bound to their name and algorithm; or they are held
//!    elsewhere and never seen ([`Signer`]).
//! 7. A key is published, signs, verifies on, and is gone; each step comes later than any verifier's copy of the keys and
//!    any live token demand ([`KeyRing`]).
//!
//! # What it does not do
//! [`JwtService::verify`] judges signature and claims. Whether the session lives, the user is enabled or the token was
//! revoked is asked elsewhere; a token bound to a DPoP key (`cnf`) still needs its proof, which [`verify_proof`] judges.

mod algorithm;
mod claims;
mod dpop;
mod foreign;
mod import;
mod jwk;
mod jws;
mod key;
mod keyring;
mod keyset;
mod kid;
mod pem;
mod record;
mod refusal;
mod revocation;
mod rotation;
mod rsa_strength;
mod service;
mod signer;
mod strict_json;
mod trusted;
mod verify;

pub(crate) use self::rotation::jwks_lag;
pub use self::{
    algorithm::{Algorithm, UnknownAlgorithm},
    claims::{AccessClaims, Audience, Confirmation, NumericDate},
    dpop::{Base, PROOF_TYPE, ProofRefusal, ProofRules, Proven, jkt, proof_algorithms, verify_proof},
    foreign::{OpenedToken, claimed_issuer, open_token},
    jwk::{Jwk, JwkError, Jwks},
    jws::MAX_TOKEN_BYTES,
    key::{KeyError, SigningKey, VerifyingKey},
    keyring::{KeyChangeError, KeyRing, KeyStatus},
    keyset::{ActiveKey, KeyRingError, KeySet},
    record::{new_key_record, pending_key_record, seal_key},
    refusal::TokenRefusal,
    rotation::{KeyPolicy, Rotation},
    service::{JwtService, MintError},
    signer::{Signer, SignerError},
    trusted::{MAX_TRUSTED_KEYS, TrustError, TrustedKeys},
    verify::{ACCESS_TOKEN_TYPE, CLOCK_LEEWAY, ClaimRules, verify_access_token, verify_jws, verify_jwt},
};

pub(crate) use self::revocation::{KEEP_EXPIRED, RevokedTokens, Verdict};

#[cfg(test)]
mod tests;
