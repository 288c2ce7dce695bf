//! What all nodes of one deployment share, in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::NodeId,
    store::{Created, DeploymentStore, KeyChange, KeysChanged, NewUser, SigningKeyRecord, StoreError},
};

const KEEP: &str = "INSERT INTO deployment (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

/// Locks a row of ours, making it if need be: what is founded once is founded under it.
const LOCK: &str = "INSERT INTO deployment (name, value) VALUES ($1, '')
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

const KEYS: &str = "SELECT * FROM signing_keys ORDER BY created_at, kid";

const ADMIN: &str = "SELECT version FROM users WHERE platform_admin LIMIT 1";

const PUT_KEY: &str = "INSERT INTO signing_keys (kid, alg, state, sealed, created_at, activates_at, retires_at,
        fingerprint, reference, imported, token_life, jwks_max_age, revoked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (kid) DO UPDATE SET state = excluded.state, sealed = excluded.sealed,
        activates_at = excluded.activates_at, retires_at = excluded.retires_at, fingerprint = excluded.fingerprint,
        token_life = excluded.token_life, jwks_max_age = excluded.jwks_max_age, revoked_at = excluded.revoked_at";

const REFUSED: &str = "SELECT refused_at FROM refused_key_material WHERE fingerprint = $1";

const REFUSE: &str = "INSERT INTO refused_key_material (fingerprint, refused_at) VALUES ($1, $2)
    ON CONFLICT (fingerprint) DO NOTHING";

/// Only the holder's own row, or one whose time is over, is taken.
const TAKE_LEASE: &str = "INSERT INTO leases (name, holder, held_until) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE leases.holder = excluded.holder OR leases.held_until <= $4";

#[async_trait]
impl DeploymentStore for SqlStore {
    async fn keep_value(&self, name: &'static str, value: String) -> Result<String, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                execute!(tx, sqlx::query(KEEP).bind(name).bind(value))?;
                let (kept,): (String,) = within!(tx, conn =>
                    sqlx::query_as("SELECT value FROM deployment WHERE name = $1").bind(name).fetch_one(conn))?;
                Ok(kept)
            })
        })
        .await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        read!(self, pool => sqlx::query_as(KEYS).fetch_all(pool))
    }

    async fn change_signing_keys(&self, change: KeyChange, act: Act) -> Result<KeysChanged, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.lock("signing_keys").await?;
                let keys: Vec<SigningKeyRecord> = within!(tx, conn => sqlx::query_as(KEYS).fetch_all(conn))?;
                if keys != change.seen {
                    return Ok(KeysChanged::Stale);
                }
                for key in change.put.iter().filter(|key| keys.iter().all(|known| known.kid != key.kid)) {
                    let refused: Option<(Timestamp,)> = within!(tx, conn =>
                        sqlx::query_as(REFUSED).bind(&key.fingerprint).fetch_optional(conn))?;
                    if refused.is_some() {
                        return Ok(KeysChanged::RefusedMaterial);
                    }
                }
                for kid in &change.remove {
                    execute!(tx, sqlx::query("DELETE FROM signing_keys WHERE kid = $1").bind(kid))?;
                }
                for key in &change.put {
                    tx.put_signing_key(key).await?;
                }
                for fingerprint in &change.refuse {
                    execute!(tx, sqlx::query(REFUSE).bind(fingerprint).bind(act.at))?;
                }
                tx.change(Change::SigningKeysChanged, act.at).await?;
                tx.record(&act).await?;
                let keys = within!(tx, conn => sqlx::query_as(KEYS).fetch_all(conn))?;
                Ok(KeysChanged::Done(keys))
            })
        })
        .await
    }

    async fn take_lease(
        &self,
        name: &'static str,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let taken = execute!(tx, sqlx::query(TAKE_LEASE).bind(name).bind(holder).bind(until).bind(now))?;
                Ok(taken > 0)
            })
        })
        .await
    }

    async fn has_admin(&self) -> Result<bool, StoreError> {
        let admin: Option<(i64,)> = read!(self, pool => sqlx::query_as(ADMIN).fetch_optional(pool))?;
        Ok(admin.is_some())
    }

    async fn found_admin(&self, user: NewUser, act: Act) -> Result<Created, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.lock("platform_admin").await?;
                let admin: Option<(i64,)> = within!(tx, conn =>
                    sqlx::query_as(ADMIN).fetch_optional(conn))?;
                if admin.is_some() {
                    return Ok(Created::AlreadyFounded);
                }
                tx.insert_user(&NewUser { platform_admin: true, ..user }, act).await
            })
        })
        .await
    }
}

impl Tx {
    async fn put_signing_key(&mut self, key: &SigningKeyRecord) -> Result<(), StoreError> {
        execute!(
            self,
            sqlx::query(PUT_KEY)
                .bind(&key.kid)
                .bind(&key.alg)
                .bind(key.state.as_str())
                .bind(&key.sealed)
                .bind(key.created_at)
                .bind(key.activates_at)
                .bind(key.retires_at)
                .bind(&key.fingerprint)
                .bind(&key.reference)
                .bind(key.imported)
                .bind(key.token_life)
                .bind(key.jwks_max_age)
                .bind(key.revoked_at)
        )
        .map(|_| ())
    }

    async fn lock(&mut self, name: &'static str) -> Result<(), StoreError> {
        execute!(self, sqlx::query(LOCK).bind(name)).map(|_| ())
    }
}
