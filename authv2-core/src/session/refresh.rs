//! Refresh tokens: one use each, in families that end with their session.
//!
//! The successor of a token is derived, not stored: HMAC-SHA256 over the presented token and a salt kept in the
//! consumed row, under a key of the deployment. So a client whose answer was lost gets the very same successor again,
//! and somebody with a copy of the database, or with one stolen token, cannot walk the chain. RFC 9700 section 4.14.

use aws_lc_rs::hmac;

use super::{SessionService, service::Inner};
use crate::{
    audit::{Act, Actor, Origin},
    error::{Code, Error},
    id::{SessionId, UserId},
    secret::{NoRandomness, Secret, SecretHash, random_bytes, token_from},
    store::{Proof, Rotated, Rotation, SessionRecord, StoreError, UserRecord},
};

/// What every refresh token starts with, for secret scanners.
pub(crate) const REFRESH_PREFIX: &str = "avr_";

/// `REFRESH_PREFIX` and 256 bits in base64url.
const LENGTH: usize = REFRESH_PREFIX.len() + 43;

/// A refresh that worked.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The session.
    pub session: SessionRecord,
    /// Its user.
    pub user: UserRecord,
    /// The next refresh token.
    pub refresh_token: Secret,
}

/// Why a refresh did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// Unknown, expired, of an ended session, or its successor is in use.
    #[error("the refresh token is not valid")]
    Invalid,
    /// It was used before; its session has been ended.
    #[error("the refresh token was used before")]
    Reused {
        /// Whose session it was.
        user: UserId,
        /// The session.
        session: SessionId,
    },
    /// Its session is bound to a key, and no proof of any came with it.
    #[error("there is no proof of the session's key")]
    Unproven,
    /// The proof of possession was used before.
    #[error("the proof of possession was used before")]
    ProofUsed,
    /// The system gave no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RefreshError> for Error {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Self::new(Code::InvalidRefreshToken, "sign in again"),
            RefreshError::Reused { .. } => {
                Self::new(Code::RefreshTokenReused, "its session has been ended, to be safe; sign in again")
            }
            RefreshError::Unproven => Self::new(Code::InvalidDpopProof, "the session is bound to a key: prove it"),
            RefreshError::ProofUsed => Self::new(Code::InvalidDpopProof, "it was used before"),
            RefreshError::NoRandomness(error) => error.into(),
            RefreshError::Store(error) => error.into(),
        }
    }
}

impl SessionService {
    /// Uses a refresh token up, and the `proof` that came with it, and gives its successor.
    ///
    /// # Errors
    /// [`RefreshError::Invalid`], for another key than the session's too; [`RefreshError::Reused`] (the session is then
    /// over), [`RefreshError::Unproven`], [`RefreshError::ProofUsed`], or an outage.
    pub async fn refresh(&self, token: &str, proof: Option<Proof>, origin: &Origin) -> Result<Refreshed, RefreshError> {
        if !looks_right(token) {
            return Err(RefreshError::Invalid);
        }
        let Inner { store, clock, config, .. } = &*self.0;
        let salt = random_bytes()?;
        let fresh = self.successor(token, &salt);
        let rotation = Rotation {
            presented: SecretHash::of(token.as_bytes()),
            salt,
            successor: SecretHash::of(fresh.expose().as_bytes()),
            grace: config.refresh_grace,
            idle_ttl: config.idle_ttl,
            proof,
        };
        let act = Act::new("session.refreshed", Actor::Anonymous, clock.now(), origin);
        match store.rotate_refresh(rotation, act).await? {
            Rotated::Fresh(session, user) => Ok(Refreshed { session, user, refresh_token: fresh }),
            Rotated::Again(session, user, salt) => {
                Ok(Refreshed { session, user, refresh_token: self.successor(token, &salt) })
            }
            Rotated::Invalid => Err(RefreshError::Invalid),
            Rotated::Reused(session) => Err(RefreshError::Reused { user: session.user_id, session: session.id }),
            Rotated::Unproven if proof.is_none() => Err(RefreshError::Unproven),
            Rotated::Unproven => Err(RefreshError::Invalid),
            Rotated::ProofUsed => Err(RefreshError::ProofUsed),
        }
    }

    /// The session that a refresh token belongs to, used or not, ended or not: who holds a token of a session may
    /// end it (RFC 7009).
    ///
    /// # Errors
    /// [`RefreshError::Invalid`] if it belongs to none, or an outage.
    pub async fn of_refresh_token(&self, token: &str) -> Result<SessionRecord, RefreshError> {
        if !looks_right(token) {
            return Err(RefreshError::Invalid);
        }
        let found = self.0.store.session_by_refresh(SecretHash::of(token.as_bytes())).await?;
        found.map(|(session, _)| session).ok_or(RefreshError::Invalid)
    }

    fn successor(&self, token: &str, salt: &[u8; 16]) -> Secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.refresh_key.as_slice());
        let mut context = hmac::Context::with_key(&key);
        context.update(token.as_bytes());
        context.update(salt);
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        bytes.copy_from_slice(context.sign().as_ref());
        token_from(REFRESH_PREFIX, &bytes)
    }
}

/// Spares the store what cannot be a refresh token.
fn looks_right(token: &str) -> bool {
    token.len() == LENGTH && token.starts_with(REFRESH_PREFIX)
}
