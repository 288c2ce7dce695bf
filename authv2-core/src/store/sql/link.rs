//! The links in mails in SQL: each token used once.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::{Act, Actor},
    changes::Change,
    clock::Timestamp,
    id::UserId,
    mail::Purpose,
    secret::SecretHash,
    store::{LinkStore, StoreError, UserRecord},
};

const LINKED: &str = "SELECT users.* FROM mail_tokens JOIN users ON users.id = mail_tokens.user_id
    WHERE hash = $1 AND purpose = $2 AND expires_at > $3 AND status = 'active'";

const USE: &str = "DELETE FROM mail_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3 AND user_id = $4";

const VERIFY: &str = "UPDATE users SET email_verified = TRUE, version = version + 1, updated_at = $2
    WHERE id = $1 AND status = 'active' RETURNING *";

/// Administrators are made by operators, who know whose the address is.
const PROVE: &str = "UPDATE users SET email_verified = TRUE,
        password_hash = CASE WHEN platform_admin THEN password_hash END,
        mfa_enabled = (mfa_enabled AND platform_admin), version = version + 1, updated_at = $2
    WHERE id = $1 AND NOT email_verified RETURNING *";

const RESET: &str = "UPDATE users
    SET password_hash = $3, email_verified = TRUE, version = version + 1, updated_at = $2
    WHERE id = $1 AND status = 'active' RETURNING *";

const VOID_PASSWORD: &str = "UPDATE users
    SET password_hash = NULL, display_name = NULL, version = version + 1, updated_at = $2
    WHERE id = $1 AND NOT email_verified AND NOT platform_admin AND last_login_at IS NULL AND password_hash = $3
    RETURNING id";

const REMOVE_TOKENS: &str = "DELETE FROM mail_tokens WHERE user_id = $1";

pub(super) const PURGE: &str = "DELETE FROM mail_tokens WHERE hash IN
    (SELECT hash FROM mail_tokens WHERE expires_at < $1 LIMIT 1000)";

#[cfg(all(test, feature = "sqlite"))]
pub(super) const STATEMENTS: &[&str] = &[LINKED, USE, VERIFY, PROVE, RESET, VOID_PASSWORD, REMOVE_TOKENS, PURGE];

#[async_trait]
impl LinkStore for SqlStore {
    async fn linked_user(
        &self,
        token: SecretHash,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Option<UserRecord>, StoreError> {
        read!(self, pool => sqlx::query_as(LINKED)
            .bind(token.as_bytes().as_slice())
            .bind(purpose.as_str())
            .bind(now)
            .fetch_optional(pool))
    }

    async fn verify_email(&self, token: SecretHash, act: Act) -> Result<Option<UserRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(user) = tx.use_token(&token, Purpose::VerifyEmail, act.at).await? else { return Ok(None) };
                let verified: Option<UserRecord> = within!(tx, conn =>
                    sqlx::query_as(VERIFY).bind(user).bind(act.at).fetch_optional(conn))?;
                tx.settle(user, verified, act).await
            })
        })
        .await
    }

    async fn reset_password(&self, token: SecretHash, new: String, act: Act) -> Result<Option<UserRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(user) = tx.use_token(&token, Purpose::ResetPassword, act.at).await? else { return Ok(None) };
                tx.prove_mailbox(user, act.at).await?;
                let reset: Option<UserRecord> = within!(tx, conn =>
                    sqlx::query_as(RESET).bind(user).bind(act.at).bind(&new).fetch_optional(conn))?;
                if reset.is_some() {
                    tx.revoke_all(user, None, act.at).await?;
                    tx.forget_devices(user, None).await?;
                    tx.void_proofs(user).await?;
                }
                tx.settle(user, reset, act).await
            })
        })
        .await
    }

    async fn void_password(&self, user: UserId, current: String, act: Act) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let voided: Option<(UserId,)> = within!(tx, conn => sqlx::query_as(VOID_PASSWORD)
                    .bind(user)
                    .bind(act.at)
                    .bind(&current)
                    .fetch_optional(conn))?;
                if voided.is_some() {
                    tx.revoke_all(user, None, act.at).await?;
                    tx.forget_devices(user, None).await?;
                    // Before the act, whose mail has a link again.
                    tx.void_proofs(user).await?;
                    tx.change(Change::UserChanged { user }, act.at).await?;
                }
                tx.record(&act).await
            })
        })
        .await
    }
}

impl Tx {
    /// Uses a token up, under the lock of its user's row; whose it was. None if it does not live.
    async fn use_token(
        &mut self,
        token: &SecretHash,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let linked: Option<UserRecord> = within!(self, conn => sqlx::query_as(LINKED)
            .bind(token.as_bytes().as_slice())
            .bind(purpose.as_str())
            .bind(at)
            .fetch_optional(conn))?;
        // Known before it is locked: the user's row comes first in every verb, so that no two wait for each other.
        let Some(UserRecord { id: user, .. }) = linked else { return Ok(None) };
        let lives = self.lock_user(user).await? && self.use_token_of(user, token, purpose, at).await?;
        Ok(lives.then_some(user))
    }

    /// Uses a token of a user up, under the lock of its row. `false` if it does not live, or is somebody else's.
    pub(super) async fn use_token_of(
        &mut self,
        user: UserId,
        token: &SecretHash,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let used = execute!(
            self,
            sqlx::query(USE).bind(token.as_bytes().as_slice()).bind(purpose.as_str()).bind(at).bind(user)
        )?;
        // The mail with this token may be in the outbox still, should nobody have noted that it went: it must not
        // make the token live again.
        self.remove_older_links(user, purpose, at).await?;
        Ok(used == 1)
    }

    /// Notes that whoever reads the mailbox has come. Where nobody had shown before that it is theirs, what was set up
    /// until then ends, the second factor too: a stranger may have registered the address and laid the account in wait.
    /// Under the lock of the user's row, before anything of the owner's own is written. The user, if it was that.
    pub(super) async fn prove_mailbox(
        &mut self,
        user: UserId,
        at: Timestamp,
    ) -> Result<Option<UserRecord>, StoreError> {
        let proven: Option<UserRecord> =
            within!(self, conn => sqlx::query_as(PROVE).bind(user).bind(at).fetch_optional(conn))?;
        if proven.as_ref().is_some_and(|user| !user.platform_admin) {
            self.revoke_all(user, None, at).await?;
            self.forget_devices(user, None).await?;
            self.drop_factors(user).await?;
        }
        Ok(proven)
    }

    /// Ends what was begun for an account as it was: the links in its mails, sent or not, and sign-ins that wait for
    /// their second factor. Under the lock of the user's row.
    pub(super) async fn void_proofs(&mut self, user: UserId) -> Result<(), StoreError> {
        execute!(self, sqlx::query(REMOVE_TOKENS).bind(user))?;
        self.drop_challenges(user).await?;
        self.remove_waiting_links(user).await
    }

    /// Tells of a user who changed by a link of its own; nothing happened where it did not.
    async fn settle(
        &mut self,
        user: UserId,
        changed: Option<UserRecord>,
        act: Act,
    ) -> Result<Option<UserRecord>, StoreError> {
        if changed.is_none() {
            self.abandon();
            return Ok(None);
        }
        self.change(Change::UserChanged { user }, act.at).await?;
        self.record(&Act { actor: Actor::User(user), ..act }.on(user)).await?;
        Ok(changed)
    }
}
