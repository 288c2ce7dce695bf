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
    store::{Created, DeploymentStore, NewUser, SigningKeyRecord, StoreError},
};

const KEEP: &str = "INSERT INTO deployment (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

/// Locks a row of ours, making it if need be: what is founded once is founded under it.
const LOCK: &str = "INSERT INTO deployment (name, value) VALUES ($1, '')
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

const KEYS: &str = "SELECT * FROM signing_keys ORDER BY created_at, kid";

const ADMIN: &str = "SELECT version FROM users WHERE platform_admin LIMIT 1";

const INSERT_KEY: &str = "INSERT INTO signing_keys (kid, alg, state, sealed, created_at, activates_at, retires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

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

    async fn found_signing_keys(&self, key: SigningKeyRecord, act: Act) -> Result<Vec<SigningKeyRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.lock("signing_keys").await?;
                let keys: Vec<SigningKeyRecord> = within!(tx, conn => sqlx::query_as(KEYS).fetch_all(conn))?;
                if !keys.is_empty() {
                    return Ok(keys);
                }
                execute!(
                    tx,
                    sqlx::query(INSERT_KEY)
                        .bind(&key.kid)
                        .bind(&key.alg)
                        .bind(key.state.as_str())
                        .bind(&key.sealed)
                        .bind(key.created_at)
                        .bind(key.activates_at)
                        .bind(key.retires_at)
                )?;
                tx.change(Change::SigningKeysChanged, act.at).await?;
                tx.record(&act).await?;
                Ok(vec![key])
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
    async fn lock(&mut self, name: &'static str) -> Result<(), StoreError> {
        execute!(self, sqlx::query(LOCK).bind(name)).map(|_| ())
    }
}
