//! The outbox in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::Act,
    clock::Timestamp,
    id::{ClaimId, MailId, UserId},
    mail::{Kind, NewMail, Purpose, Recipient},
    store::{MailClaim, MailStore, NewLink, StoreError, WaitingMail},
};

const POST: &str = "INSERT INTO mails
    (mail_id, kind, recipient, user_id, address, language, details, salt, created_at, expires_at, attempts, due_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $9)";

const IS_ANY_DUE: &str = "SELECT mail_id FROM mails WHERE due_at <= $1 LIMIT 1";

#[cfg(feature = "sqlite")]
pub(super) const CLAIM: &str = "UPDATE mails SET claim = $1, due_at = $2, attempts = attempts + 1
    WHERE mail_id IN (SELECT mail_id FROM mails WHERE due_at <= $3 ORDER BY due_at LIMIT $4)
    RETURNING mail_id, kind, recipient, user_id, address, language, details, salt, created_at, expires_at, attempts";
/// Leaves those that another node is taking at this moment. They are chosen once, or each row would lock others.
#[cfg(feature = "postgres")]
pub(super) const CLAIM_IF_FREE: &str = "WITH due AS MATERIALIZED
        (SELECT mail_id FROM mails WHERE due_at <= $3 ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
    UPDATE mails SET claim = $1, due_at = $2, attempts = mails.attempts + 1 FROM due
    WHERE mails.mail_id = due.mail_id
    RETURNING mails.mail_id, kind, recipient, user_id, address, language, details, salt, created_at, expires_at, attempts";

const KEEP: &str = "UPDATE mails SET due_at = $3 WHERE mail_id = $1 AND claim = $2";
const PUT_OFF: &str = "UPDATE mails SET due_at = $3, claim = NULL WHERE mail_id = $1 AND claim = $2";
const REMOVE: &str = "DELETE FROM mails WHERE mail_id = $1 AND claim = $2";
const IS_HELD: &str = "SELECT mail_id FROM mails WHERE mail_id = $1 AND claim = $2";

macro_rules! of_user {
    ($user:literal) => {
        concat!("(user_id = ", $user, " OR address = (SELECT email_key FROM users WHERE id = ", $user, "))")
    };
}

const REMOVE_OLDER: &str = concat!("DELETE FROM mails WHERE created_at < $2 AND kind IN ($3, $4) AND ", of_user!("$1"));
const REMOVE_LINKS: &str = concat!(
    "DELETE FROM mails WHERE kind IN ('registration', 'verify_email', 'reset_password', 'sign_in_link') AND ",
    of_user!("$1")
);

const SUPERSEDE: &str = "DELETE FROM mail_tokens WHERE user_id = $1 AND purpose = $2 AND created_at <= $3";
const READY: &str = "INSERT INTO mail_tokens (hash, user_id, purpose, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// Where nobody sends mails any more, they must not stay for ever.
pub(super) const PURGE: &str = "DELETE FROM mails WHERE mail_id IN
    (SELECT mail_id FROM mails WHERE expires_at < $1 LIMIT 1000)";

#[cfg(all(test, feature = "sqlite"))]
pub(super) const STATEMENTS: &[&str] =
    &[IS_ANY_DUE, CLAIM, KEEP, PUT_OFF, REMOVE, IS_HELD, REMOVE_OLDER, REMOVE_LINKS, SUPERSEDE, PURGE];

#[async_trait]
impl MailStore for SqlStore {
    async fn claim_mails(&self, claim: MailClaim, limit: u32) -> Result<Vec<WaitingMail>, StoreError> {
        // Mostly there is none: that must not cost a write.
        let due: Option<(MailId,)> =
            read!(self, pool => sqlx::query_as(IS_ANY_DUE).bind(claim.now).fetch_optional(pool))?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        self.write(move |tx| {
            Box::pin(async move {
                let sql = tx.texts().claim_mails;
                let mut claimed: Vec<WaitingMail> = within!(tx, conn => sqlx::query_as(sql)
                    .bind(claim.id)
                    .bind(claim.until)
                    .bind(claim.now)
                    .bind(i64::from(limit))
                    .fetch_all(conn))?;
                claimed.sort_by_key(|mail| mail.created_at);
                Ok(claimed)
            })
        })
        .await
    }

    async fn keep_mail(&self, mail: MailId, claim: ClaimId, until: Timestamp) -> Result<bool, StoreError> {
        self.move_mail(KEEP, mail, claim, until).await
    }

    async fn put_mail_off(&self, mail: MailId, claim: ClaimId, due_at: Timestamp) -> Result<bool, StoreError> {
        self.move_mail(PUT_OFF, mail, claim, due_at).await
    }

    async fn remove_mail(&self, mail: MailId, claim: ClaimId, act: Option<Act>) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if execute!(tx, sqlx::query(REMOVE).bind(mail).bind(claim))? == 0 {
                    return Ok(false);
                }
                if let Some(act) = act {
                    tx.record(&act).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    async fn ready_link(&self, link: NewLink) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                // Whatever overtakes a mail removes it under this lock.
                if !tx.lock_user(link.user).await? {
                    return Ok(false);
                }
                let held: Option<(MailId,)> = within!(tx, conn =>
                    sqlx::query_as(IS_HELD).bind(link.mail).bind(link.claim).fetch_optional(conn))?;
                if held.is_none() {
                    return Ok(false);
                }
                let (user, purpose, created_at) = (link.user, link.purpose.as_str(), link.created_at);
                execute!(tx, sqlx::query(SUPERSEDE).bind(user).bind(purpose).bind(created_at))?;
                let lives = execute!(
                    tx,
                    sqlx::query(READY)
                        .bind(link.hash.as_bytes().as_slice())
                        .bind(user)
                        .bind(purpose)
                        .bind(created_at)
                        .bind(link.expires_at)
                )?;
                if lives == 0 {
                    tx.abandon();
                    return Ok(false);
                }
                tx.remove_older_links(user, link.purpose, created_at).await?;
                Ok(true)
            })
        })
        .await
    }
}

/// The kinds of mail with a link of this purpose.
const fn kinds(purpose: Purpose) -> [Kind; 2] {
    match purpose {
        Purpose::VerifyEmail => [Kind::VerifyEmail, Kind::Registration],
        Purpose::ResetPassword => [Kind::ResetPassword; 2],
        Purpose::SignIn => [Kind::SignInLink; 2],
    }
}

impl SqlStore {
    async fn move_mail(
        &self,
        sql: &'static str,
        mail: MailId,
        claim: ClaimId,
        to: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move { Ok(execute!(tx, sqlx::query(sql).bind(mail).bind(claim).bind(to))? == 1) })
        })
        .await
    }
}

impl Tx {
    /// Writes a mail to the outbox.
    pub(super) async fn post(&mut self, mail: &NewMail) -> Result<(), StoreError> {
        let (recipient, user, address) = match &mail.to {
            Recipient::User(user) => ("user", Some(*user), None),
            Recipient::Owner(key) => ("owner", None, Some(key)),
            Recipient::Address(address) => ("address", None, Some(address)),
        };
        let details = serde_json::to_string(&mail.details).map_err(|_| StoreError::corrupt("details without text"))?;
        execute!(
            self,
            sqlx::query(POST)
                .bind(mail.id)
                .bind(mail.kind.as_str())
                .bind(recipient)
                .bind(user)
                .bind(address)
                .bind(&mail.language)
                .bind(details)
                .bind(mail.salt.as_slice())
                .bind(mail.at)
                .bind(mail.at + mail.kind.life())
        )?;
        self.posted = true;
        Ok(())
    }

    /// Removes the mails with links that wait for a user: what they were asked for has changed. Under the lock of the
    /// user's row, so that none of them gets ready meanwhile.
    pub(super) async fn remove_waiting_links(&mut self, user: UserId) -> Result<(), StoreError> {
        execute!(self, sqlx::query(REMOVE_LINKS).bind(user)).map(drop)
    }

    /// Likewise those of one purpose that were asked for before.
    pub(super) async fn remove_older_links(
        &mut self,
        user: UserId,
        purpose: Purpose,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let [one, other] = kinds(purpose).map(Kind::as_str);
        execute!(self, sqlx::query(REMOVE_OLDER).bind(user).bind(before).bind(one).bind(other)).map(drop)
    }
}
