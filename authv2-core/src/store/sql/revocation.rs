//! Revoked access tokens in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read},
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::TokenId,
    store::{RevocationStore, StoreError},
};

const REVOKE: &str =
    "INSERT INTO revoked_tokens (token_id, expires_at) VALUES ($1, $2) ON CONFLICT (token_id) DO NOTHING";

const REVOKED: &str = "SELECT token_id, expires_at FROM revoked_tokens WHERE expires_at > $1 LIMIT $2";

const IS_REVOKED: &str = "SELECT expires_at FROM revoked_tokens WHERE token_id = $1";

#[async_trait]
impl RevocationStore for SqlStore {
    async fn revoke_token(&self, token: TokenId, expires_at: Timestamp, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if execute!(tx, sqlx::query(REVOKE).bind(token).bind(expires_at))? == 0 {
                    tx.abandon();
                    return Ok(false);
                }
                tx.change(Change::TokenRevoked { token, expires_at }, act.at).await?;
                tx.record(&act).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn revoked_tokens(&self, after: Timestamp, limit: u32) -> Result<Vec<(TokenId, Timestamp)>, StoreError> {
        read!(self, pool => sqlx::query_as(REVOKED).bind(after).bind(i64::from(limit)).fetch_all(pool))
    }

    async fn is_token_revoked(&self, token: TokenId) -> Result<bool, StoreError> {
        let found: Option<(Timestamp,)> =
            read!(self, pool => sqlx::query_as(IS_REVOKED).bind(token).fetch_optional(pool))?;
        Ok(found.is_some())
    }
}
