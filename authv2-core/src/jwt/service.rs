//! Minting and verifying access tokens with the deployment's keys.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    AccessClaims, ActiveKey, ClaimRules, Jwks, KeyError, KeyRingError, KeySet, MAX_TOKEN_BYTES, Signer, SignerError,
    TokenRefusal, jws::CompactJws, keyset::PrivateHalf, kid, signer::Held, verify_access_token,
};
use crate::{
    clock::Timestamp,
    error::Error,
    master_key::MasterKey,
    store::{SigningKeyRecord, breaker::BreakerHealth},
};

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
    /// The key is held elsewhere, and was not to be had.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The token would outlive the key: another key has come to sign since [`JwtService::token_life`] was asked.
    #[error("the token would outlive its key")]
    TooLong,
    /// The claims could not be written.
    #[error("the claims could not be written")]
    Claims(#[from] serde_json::Error),
    /// The token would be longer than [`MAX_TOKEN_BYTES`], and be refused everywhere.
    #[error("the token would be too large")]
    TooLarge,
}

/// Without a key that signs there are no tokens for anybody: an outage, as long as it lasts.
impl From<MintError> for Error {
    fn from(error: MintError) -> Self {
        match error {
            MintError::NoActiveKey | MintError::Signer(_) | MintError::TooLong => Self::unavailable(error),
            MintError::Signing(_) | MintError::Claims(_) | MintError::TooLarge => Self::internal(error),
        }
    }
}

/// Mints and verifies access tokens. It does no I/O but to ask a [`Signer`]: whoever owns it reads the records from the
/// store and calls [`JwtService::reload`] when the change feed says that keys changed.
#[derive(Debug)]
pub struct JwtService {
    keys: RwLock<Arc<KeySet>>,
    rules: ClaimRules,
    master: Arc<MasterKey>,
    signers: Vec<Held>,
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
            signers: Vec::new(),
        })
    }

    /// Judges `iat` and `nbf` with this leeway instead of [`CLOCK_LEEWAY`](super::CLOCK_LEEWAY).
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Signs with these where keys are held elsewhere.
    #[must_use]
    pub fn with_signers(mut self, signers: Vec<Arc<dyn Signer>>) -> Self {
        self.signers = signers.into_iter().map(Held::new).collect();
        self
    }

    /// The longest that a token minted at `now` may live: the key verifies no longer. Zero if no key signs.
    #[must_use]
    pub fn token_life(&self, now: Timestamp) -> Duration {
        self.keys().signer(now).map_or(Duration::ZERO, |key| key.token_life)
    }

    /// Whether there is a key that signs at `now`, and this node has what it takes.
    #[must_use]
    pub fn can_sign(&self, now: Timestamp) -> bool {
        self.keys().signer(now).is_some_and(|key| match key.private {
            PrivateHalf::Here(_) => true,
            PrivateHalf::Elsewhere(reference) => self.held(reference).is_some(),
        })
    }

    /// Whether tokens can be signed now: asks whoever holds the key, where it is held elsewhere, and waits for nothing
    /// where it is here. To be asked before something is used up that a token is given for.
    ///
    /// # Errors
    /// [`MintError`].
    pub async fn try_signing(&self, now: Timestamp) -> Result<(), MintError> {
        let keys = self.keys();
        let key = keys.signer(now).ok_or(MintError::NoActiveKey)?;
        match key.private {
            PrivateHalf::Here(_) => Ok(()),
            // No token: it has no dots and names no claims.
            PrivateHalf::Elsewhere(_) => self.sign(key, b"authv2 asks whether this key signs").await.map(drop),
        }
    }

    /// How the signer does that holds the key of `now`; `None` where that is held here.
    #[must_use]
    pub(crate) fn signer_health(&self, now: Timestamp) -> Option<BreakerHealth> {
        match self.keys().signer(now)?.private {
            PrivateHalf::Here(_) => None,
            PrivateHalf::Elsewhere(reference) => Some(self.held(reference)?.health()),
        }
    }

    /// Signs `claims` with the key that is active at `now`. They are taken as they are: what they say is the caller's
    /// responsibility. It waits only where the key is held elsewhere.
    ///
    /// # Errors
    /// [`MintError`].
    pub async fn mint(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, MintError> {
        let keys = self.keys();
        let key = keys.signer(now).ok_or(MintError::NoActiveKey)?;
        if claims.exp > now + key.token_life {
            return Err(MintError::TooLong);
        }
        let payload = serde_json::to_vec(claims)?;
        // Base64 takes 4 bytes for 3; the longest common signature, RSA's of 3072 bits, takes 512.
        let mut token = String::with_capacity(key.header.len() + payload.len() * 4 / 3 + 520);
        token.push_str(key.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
        let signature = self.sign(key, token.as_bytes()).await?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        if token.len() > MAX_TOKEN_BYTES { Err(MintError::TooLarge) } else { Ok(token) }
    }

    /// Signs a statement of this deployment that is no access token, under a `typ` of its own, so that neither is ever taken
    /// for the other. `None` where the key that is active at `now` is a secret: nobody else could verify it.
    ///
    /// # Errors
    /// [`MintError`].
    pub(crate) async fn sign_statement(
        &self,
        typ: &str,
        claims: &serde_json::Value,
        now: Timestamp,
    ) -> Result<Option<String>, MintError> {
        let keys = self.keys();
        let key = keys.signer(now).ok_or(MintError::NoActiveKey)?;
        let algorithm = key.verifying.algorithm();
        if algorithm.is_symmetric() {
            return Ok(None);
        }
        let header = serde_json::json!({"typ": typ, "alg": algorithm, "kid": key.kid}).to_string();
        let mut signed = URL_SAFE_NO_PAD.encode(header);
        signed.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut signed);
        let signature = self.sign(key, signed.as_bytes()).await?;
        signed.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut signed);
        Ok(Some(signed))
    }

    async fn sign(&self, key: ActiveKey<'_>, input: &[u8]) -> Result<Vec<u8>, MintError> {
        match key.private {
            PrivateHalf::Here(private) => Ok(private.sign(input)?),
            PrivateHalf::Elsewhere(reference) => {
                let held = self.held(reference).ok_or(SignerError::Absent)?;
                Ok(held.sign(input, key.verifying).await?)
            }
        }
    }

    fn held(&self, reference: &str) -> Option<&Held> {
        self.signers.iter().find(|held| held.reference() == reference)
    }

    /// Judges `token` by signature and claims. It says nothing about revocation.
    ///
    /// # Errors
    /// [`TokenRefusal`]. On [`TokenRefusal::UnknownKeyId`] the caller may read the keys again if
    /// [`JwtService::key_made_at`] says that it is worth it.
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

    /// When the key was made that `token` names: if that was after the keys were last read, another node has made it.
    /// `None` for every name that was not given here, so that made-up ones cost the store nothing.
    #[must_use]
    pub fn key_made_at(&self, token: &str) -> Option<Timestamp> {
        let header = CompactJws::split(token).and_then(|jws| jws.read_header()).ok()?;
        kid::made_at(&header.kid?, &self.master)
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
