//! Users in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::{Act, Outcome},
    changes::Change,
    id::{SessionId, UserId},
    store::{AtRevision, Created, NewUser, ProfileChange, StoreError, Updated, UserRecord, UserStatus, UserStore},
};

const INSERT: &str = "INSERT INTO users
    (id, external_id, email, email_key, email_verified, display_name, status, password_hash, platform_admin,
     mfa_enabled, metadata, version, created_at, updated_at, last_login_at)
    VALUES ($1, NULL, $2, $3, FALSE, $4, 'active', $5, $6, FALSE, '{}', 1, $7, $7, NULL)
    ON CONFLICT (email_key) DO NOTHING
    RETURNING *";

const UPDATE_PROFILE: &str = "UPDATE users
    SET display_name = CASE WHEN $2 THEN $3 ELSE display_name END, version = version + 1, updated_at = $4
    WHERE id = $1 AND ($5 IS NULL OR version = $5)
    RETURNING *";

const CHANGE_PASSWORD: &str = "UPDATE users
    SET password_hash = $2, version = version + 1, updated_at = $3
    WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $4
    RETURNING id";

const SET_STATUS: &str = "UPDATE users
    SET status = $2, version = version + 1, updated_at = $3
    WHERE id = $1 AND ($4 IS NULL OR version = $4)
    RETURNING *";

#[async_trait]
impl UserStore for SqlStore {
    async fn create_user(&self, user: NewUser, act: Act) -> Result<Created, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.insert_user(&user, act).await })).await
    }

    async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        read!(self, pool => sqlx::query_as("SELECT * FROM users WHERE id = $1").bind(id).fetch_optional(pool))
    }

    async fn user_by_email(&self, email_key: &str) -> Result<Option<UserRecord>, StoreError> {
        read!(self, pool =>
            sqlx::query_as("SELECT * FROM users WHERE email_key = $1").bind(email_key).fetch_optional(pool))
    }

    async fn update_profile(
        &self,
        id: UserId,
        profile: ProfileChange,
        expected: Option<i64>,
        act: Act,
    ) -> Result<Updated<UserRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let changes_name = profile.display_name.is_some();
                let updated = within!(tx, conn => sqlx::query_as(UPDATE_PROFILE)
                    .bind(id)
                    .bind(changes_name)
                    .bind(profile.display_name.as_ref().and_then(Option::as_deref))
                    .bind(act.at)
                    .bind(expected)
                    .fetch_optional(conn))?;
                let Some(user) = updated else { return tx.why_not(id).await };
                tx.change(Change::UserChanged { user: id }, act.at).await?;
                tx.record(&act).await?;
                Ok(Updated::Done(user))
            })
        })
        .await
    }

    async fn change_password(
        &self,
        id: UserId,
        current: Option<String>,
        new: String,
        keep: Option<SessionId>,
        act: Act,
    ) -> Result<Updated<()>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let updated: Option<(UserId,)> = within!(tx, conn => sqlx::query_as(CHANGE_PASSWORD)
                    .bind(id)
                    .bind(&new)
                    .bind(act.at)
                    .bind(&current)
                    .fetch_optional(conn))?;
                if updated.is_none() {
                    return tx.why_not(id).await;
                }
                tx.revoke_all(id, keep, act.at).await?;
                tx.forget_devices(id, keep).await?;
                tx.void_proofs(id).await?;
                tx.change(Change::UserChanged { user: id }, act.at).await?;
                tx.record(&act).await?;
                Ok(Updated::Done(()))
            })
        })
        .await
    }

    async fn set_status(
        &self,
        id: UserId,
        status: UserStatus,
        expected: Option<i64>,
        act: Act,
    ) -> Result<Updated<UserRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let updated = within!(tx, conn => sqlx::query_as(SET_STATUS)
                    .bind(id)
                    .bind(status.as_str())
                    .bind(act.at)
                    .bind(expected)
                    .fetch_optional(conn))?;
                let Some(user) = updated else { return tx.why_not(id).await };
                if status != UserStatus::Active {
                    tx.revoke_all(id, None, act.at).await?;
                    tx.forget_devices(id, None).await?;
                }
                tx.void_proofs(id).await?;
                tx.change(Change::UserChanged { user: id }, act.at).await?;
                tx.record(&act).await?;
                Ok(Updated::Done(user))
            })
        })
        .await
    }

    async fn user_by_external_id(&self, external_id: &str) -> Result<Option<UserRecord>, StoreError> {
        read!(self, pool =>
            sqlx::query_as("SELECT * FROM users WHERE external_id = $1").bind(external_id).fetch_optional(pool))
    }

    async fn delete_user(&self, id: UserId, memberships: Vec<AtRevision>, act: Act) -> Result<Updated<()>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                // The lock on the user's row comes first, as in every verb: two of them cannot wait for each other.
                if !tx.lock_user(id).await? {
                    return Ok(Updated::Missing);
                }
                if !tx.leave_all(id, memberships, act.at).await? {
                    return Ok(Updated::Stale);
                }
                // Sessions are revoked before they go with the user, so that the feed tells of each.
                tx.revoke_all(id, None, act.at).await?;
                execute!(tx, sqlx::query("DELETE FROM users WHERE id = $1").bind(id))?;
                tx.change(Change::UserChanged { user: id }, act.at).await?;
                tx.record(&act).await?;
                Ok(Updated::Done(()))
            })
        })
        .await
    }
}

impl Tx {
    /// Adds a user unless the e-mail is taken, and records which of the two happened.
    pub(super) async fn insert_user(&mut self, user: &NewUser, act: Act) -> Result<Created, StoreError> {
        let inserted: Option<UserRecord> = within!(self, conn => sqlx::query_as(INSERT)
            .bind(user.id)
            .bind(&user.email)
            .bind(&user.email_key)
            .bind(&user.display_name)
            .bind(&user.password_hash)
            .bind(user.platform_admin)
            .bind(act.at)
            .fetch_optional(conn))?;
        match inserted {
            Some(user) => {
                self.record(&act).await?;
                Ok(Created::New(user))
            }
            None => {
                self.count_attempts(&user.count_if_taken, act.at).await?;
                // What the act would have told concerns an account that there is not.
                let act = Act { target: None, mails: Vec::new(), ..act };
                self.record(&act.ended(Outcome::Failure, "email_taken")).await?;
                Ok(Created::EmailTaken)
            }
        }
    }

    /// Why a conditional update of a user touched nothing.
    async fn why_not<T>(&mut self, id: UserId) -> Result<Updated<T>, StoreError> {
        let there: Option<(UserId,)> = within!(self, conn =>
            sqlx::query_as("SELECT id FROM users WHERE id = $1").bind(id).fetch_optional(conn))?;
        Ok(if there.is_some() { Updated::Stale } else { Updated::Missing })
    }
}
