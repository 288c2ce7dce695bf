//! Access tokens revoked one by one: in the store for good, in memory for every request.

use tokio::time::Instant;

use super::AuthenticationService;
use crate::{
    audit::{Act, Actor, Origin},
    clock::Timestamp,
    error::{Code, Result},
    id::{TokenId, UserId},
    jwt::{KEEP_EXPIRED, RevokedTokens, Verdict},
    principal::Principal,
    session::REFRESH_PREFIX,
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

    /// Ends the session that an access or a refresh token belongs to, with all its tokens (RFC 7009). Holding one of them
    /// suffices. A client's own token is revoked alone, by `client`. A token that is not good, or not any longer, ends
    /// nothing.
    ///
    /// # Errors
    /// [`Code::InvalidClient`] for an access token that is a client's own: only that client may revoke it.
    /// [`Code::UnsupportedTokenType`] for one of an issuer elsewhere, which only that can revoke. Else an outage: the
    /// session may go on.
    pub(crate) async fn end_session_of(&self, token: &str, client: Option<&Principal>, origin: &Origin) -> Result<()> {
        if token.starts_with(REFRESH_PREFIX) {
            return match self.logout_by_refresh_token(token, origin).await {
                Err(error) if error.code() == Code::InvalidRefreshToken => Ok(()),
                other => other,
            };
        }
        #[cfg(feature = "issuers")]
        if self.issuers().of(token).is_some() {
            return Err(crate::error::Error::new(Code::UnsupportedTokenType, "its issuer alone can revoke it"));
        }
        let Ok((claims, _)) = self.verify(token).await? else { return Ok(()) };
        let Some(session) = claims.sid else { return self.revoke_for_client(client, &claims, origin).await };
        if let Ok(user) = claims.sub.parse::<UserId>() {
            self.0.sessions.revoke(user, session, origin).await?;
        }
        Ok(())
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
