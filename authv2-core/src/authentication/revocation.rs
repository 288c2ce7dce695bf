//! Access tokens revoked one by one: in the store for good, in memory for every request.

use tokio::time::Instant;

use super::AuthenticationService;
use crate::{
    audit::{Act, Actor, Origin},
    clock::Timestamp,
    error::Result,
    id::TokenId,
    jwt::{KEEP_EXPIRED, RevokedTokens, Verdict},
    store::{SharedStore, StoreError},
};

impl AuthenticationService {
    /// Revokes one access token, which expires at `expires_at`: at once here, on the other nodes within the bound of
    /// the change feed, restarts notwithstanding. Its session goes on. `false` if it was revoked already.
    ///
    /// Whoever may do this is for the caller to judge. To end all that somebody holds, end the session.
    ///
    /// # Errors
    /// An outage.
    pub async fn revoke_token(
        &self,
        token: TokenId,
        expires_at: Timestamp,
        actor: Actor,
        origin: &Origin,
    ) -> Result<bool> {
        let act = Act::new("token.revoked", actor, self.now(), origin).on(token);
        Ok(self.0.store.revoke_token(token, expires_at, act).await?)
    }

    /// Whether a token was revoked by itself. Waits for nothing where all that were are known.
    ///
    /// # Errors
    /// The store's: an outage says nothing about a token.
    pub(super) async fn is_token_revoked(&self, token: TokenId) -> Result<bool, StoreError> {
        if !self.0.feed.is_stale() {
            read_revoked(&self.0.store, &self.0.revoked, self.now()).await?;
            match self.0.revoked.judge(token) {
                Verdict::Revoked => return Ok(true),
                Verdict::Good => return Ok(false),
                Verdict::Unknown => {}
            }
        }
        self.0.store.is_token_revoked(token).await
    }

    /// Whether every token that is revoked is known in memory.
    pub(crate) fn knows_revoked_tokens(&self) -> bool {
        self.0.revoked.is_whole()
    }
}

/// Reads which tokens are revoked, if that is due and nobody else is at it.
///
/// # Errors
/// The store's.
pub(super) async fn read_revoked(
    store: &SharedStore,
    revoked: &RevokedTokens,
    now: Timestamp,
) -> Result<(), StoreError> {
    if revoked.is_whole() {
        return Ok(());
    }
    let Ok(_alone) = revoked.reading.try_lock() else { return Ok(()) };
    let Some(reading) = revoked.begin(Instant::now()) else { return Ok(()) };
    let stored = store.revoked_tokens(now - KEEP_EXPIRED, revoked.limit()).await?;
    revoked.finish(&reading, stored, Instant::now());
    Ok(())
}
