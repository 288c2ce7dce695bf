//! Minting and verifying access tokens with the deployment's keys.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    AccessClaims, ClaimRules, Jwks, KeyError, KeyRingError, KeySet, MAX_TOKEN_BYTES, TokenRefusal, verify_access_token,
};
use crate::{clock::Timestamp, master_key::MasterKey, store::SigningKeyRecord};

/// How often an unknown `kid` may make a node read the keys again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A token could not be minted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// No key signs at this moment.
    #[error("there is no active signing key")]
    NoActiveKey,
    /// The key failed to sign.
    #[error("the token could not be signed")]
    Signing(#[from] KeyError),
    /// The claims could not be written.
    #[error("the claims could not be written")]
    Claims(#[from] serde_json::Error),
    /// The token would be longer than [`MAX_TOKEN_BYTES`], and be refused everywhere.
    #[error("the token would be too large")]
    TooLarge,
}

/// Mints and verifies access tokens. It does no I/O: whoever owns it reads the records from the store and calls
/// [`JwtService::reload`] when the change feed says that keys changed.
#[derive(Debug)]
pub struct JwtService {
    keys: RwLock<Arc<KeySet>>,
    rules: ClaimRules,
    master: Arc<MasterKey>,
    gate: ReloadGate,
}

impl JwtService {
    /// A service for tokens of `issuer` meant for `audience`, with the keys of `records`.
    ///
    /// # Errors
    /// [`KeyRingError`] if a record cannot be used.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        records: &[SigningKeyRecord],
        master: Arc<MasterKey>,
    ) -> Result<Self, KeyRingError> {
        Ok(Self {
            keys: RwLock::new(Arc::new(KeySet::open(records, &master)?)),
            rules: ClaimRules::access_token(issuer, audience),
            master,
            gate: ReloadGate::new(),
        })
    }

    /// Judges `iat` and `nbf` with this leeway instead of [`CLOCK_LEEWAY`](super::CLOCK_LEEWAY).
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Signs `claims` with the key that is active at `now`. They are taken as they are: what they say is the caller's
    /// responsibility.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, MintError> {
        let keys = self.keys();
        let signer = keys.signer(now).ok_or(MintError::NoActiveKey)?;
        let payload = serde_json::to_vec(claims)?;
        // Base64 takes 4 bytes for 3; the longest common signature, RSA's of 3072 bits, takes 512.
        let mut token = String::with_capacity(signer.header.len() + payload.len() * 4 / 3 + 520);
        token.push_str(signer.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
        let signature = signer.key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        if token.len() > MAX_TOKEN_BYTES { Err(MintError::TooLarge) } else { Ok(token) }
    }

    /// Judges `token` by signature and claims. It says nothing about revocation.
    ///
    /// # Errors
    /// [`TokenRefusal`]. On [`TokenRefusal::UnknownKeyId`] the caller may reload once if
    /// [`JwtService::may_reload`] allows it, and try again.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenRefusal> {
        verify_access_token(token, &self.keys(), &self.rules, now)
    }

    /// [`verify`](Self::verify), and until when the token is good: it expires then, or its key retires.
    pub(crate) fn verify_until(&self, token: &str, now: Timestamp) -> Result<(AccessClaims, Timestamp), TokenRefusal> {
        let keys = self.keys();
        let claims = verify_access_token(token, &keys, &self.rules, now)?;
        let until = keys.retires_at(token).map_or(claims.exp, |retires_at| retires_at.min(claims.exp));
        Ok((claims, until))
    }

    /// Whether an unknown `kid` is worth reading the keys again: at most once a second on each node, so that made-up
    /// names cost the store nothing. Asking takes the permission.
    #[must_use]
    pub fn may_reload(&self, now: Timestamp) -> bool {
        self.gate.pass(now)
    }

    /// Replaces the keys by those of `records`. Calls under way finish with the keys they began with.
    ///
    /// # Errors
    /// [`KeyRingError`] if a record cannot be used; the keys stay as they were.
    pub fn reload(&self, records: &[SigningKeyRecord]) -> Result<(), KeyRingError> {
        let keys = Arc::new(KeySet::open(records, &self.master)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The public keys to publish at `now`.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        self.keys().jwks(now)
    }

    /// The present keys. Nothing can panic while the lock is held, so a poisoned one is as good as any.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What every token must say to be accepted.
    #[must_use]
    pub fn rules(&self) -> &ClaimRules {
        &self.rules
    }
}

/// Lets one caller through in each [`RELOAD_INTERVAL`].
#[derive(Debug)]
struct ReloadGate(AtomicI64);

impl ReloadGate {
    fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    fn pass(&self, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        // A clock that was set back must not close the gate until it has caught up.
        let closed = last <= now.as_micros() && now.since(Timestamp::from_micros(last)) < RELOAD_INTERVAL;
        !closed && self.0.compare_exchange(last, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_opens_once_a_second_and_survives_a_clock_set_back() {
        let gate = ReloadGate::new();
        let at = |millis: i64| Timestamp::from_micros(1_700_000_000_000_000 + millis * 1000);
        let passes: Vec<_> = [0, 0, 999, 1000, 1001, -5000, -4500].map(|millis| gate.pass(at(millis))).into();
        assert_eq!(passes, [true, false, false, true, false, true, false]);
    }
}
