//! Second factors in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::{live, session_columns},
    pool::{execute, read, within},
    session::SessionAndUser,
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    id::UserId,
    mfa::{assurance, united},
    secret::SecretHash,
    store::{
        DeviceKind, MfaStore, Place, SecondFactor, SessionRecord, Spends, SteppedUp, SteppingUp, StoreError,
        TotpConfirmation, TotpRecord, UserRecord,
    },
};

const TOTP: &str = "SELECT sealed, confirmed_at, last_step,
        (SELECT count(*) FROM recovery_codes WHERE recovery_codes.user_id = totp.user_id) AS recovery_codes
    FROM totp WHERE user_id = $1";

const ENROL: &str = "INSERT INTO totp (user_id, sealed, created_at, confirmed_at, last_step)
    VALUES ($1, $2, $3, NULL, 0)
    ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0
    WHERE totp.confirmed_at IS NULL";

const CONFIRM: &str = "UPDATE totp SET confirmed_at = $3, last_step = $4
    WHERE user_id = $1 AND sealed = $2 AND confirmed_at IS NULL";

const SET_ENABLED: &str = "UPDATE users SET mfa_enabled = $2, version = version + 1, updated_at = $3 WHERE id = $1";

const REMOVE: &str = "DELETE FROM totp WHERE user_id = $1";

const ADD_CODE: &str = "INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)";

const DROP_CODES: &str = "DELETE FROM recovery_codes WHERE user_id = $1";

const OF_SESSION: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", users.* FROM sessions JOIN users ON users.id = sessions.user_id
    WHERE sessions.session_id = $1 AND sessions.user_id = $2 AND users.status = 'active' AND ",
    live!("$3")
);

/// A session that is held no longer goes on from where it is used now: from there it is compared with what comes.
const PROVE: &str = concat!(
    "UPDATE sessions SET auth_time = $3, amr = $4, acr = $5, cookie_hash = COALESCE($6, cookie_hash),
        ip = CASE WHEN $7 THEN COALESCE($8, ip) ELSE ip END,
        user_agent = CASE WHEN $7 THEN COALESCE($9, user_agent) ELSE user_agent END,
        device = CASE WHEN $7 THEN COALESCE($10, device) ELSE device END,
        network_changed = (network_changed AND NOT $7),
        device_changed = (device_changed AND NOT $7),
        risk = CASE WHEN $7 THEN 'low' ELSE risk END
    WHERE session_id = $1 AND user_id = $2
    RETURNING ",
    session_columns!()
);

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[TOTP, CONFIRM, SET_ENABLED, REMOVE, DROP_CODES, OF_SESSION, PROVE];

#[async_trait]
impl MfaStore for SqlStore {
    async fn totp(&self, user: UserId) -> Result<Option<TotpRecord>, StoreError> {
        read!(self, pool => sqlx::query_as(TOTP).bind(user).fetch_optional(pool))
    }

    async fn enrol_totp(&self, user: UserId, sealed: Vec<u8>, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if !tx.lock_user(user).await? {
                    return Ok(false);
                }
                let kept = execute!(tx, sqlx::query(ENROL).bind(user).bind(&sealed).bind(act.at))?;
                if kept == 1 {
                    tx.record(&act).await?;
                }
                Ok(kept == 1)
            })
        })
        .await
    }

    async fn confirm_totp(&self, confirmation: TotpConfirmation, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let TotpConfirmation { user, sealed, step, recovery_codes } = confirmation;
                tx.lock_user(user).await?;
                let confirmed = execute!(tx, sqlx::query(CONFIRM).bind(user).bind(&sealed).bind(act.at).bind(step))?;
                if confirmed == 0 {
                    return Ok(false);
                }
                tx.put_recovery_codes(user, &recovery_codes).await?;
                tx.set_mfa(user, true, &act).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn remove_mfa(&self, user: UserId, factor: SecondFactor, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if !tx.spend_factor(user, factor, &act).await? {
                    return Ok(false);
                }
                tx.drop_factors(user).await?;
                tx.set_mfa(user, false, &act).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn replace_recovery_codes(
        &self,
        user: UserId,
        factor: SecondFactor,
        codes: Vec<SecretHash>,
        act: Act,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if !tx.spend_factor(user, factor, &act).await? {
                    return Ok(false);
                }
                tx.put_recovery_codes(user, &codes).await?;
                tx.record(&act).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn step_up(&self, proven: SteppingUp, act: Act) -> Result<SteppedUp, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.step_up(proven, &act).await })).await
    }
}

impl Tx {
    /// Uses a second factor up, under the lock of its user's row; where that cannot be, undoes all.
    async fn spend_factor(&mut self, user: UserId, factor: SecondFactor, act: &Act) -> Result<bool, StoreError> {
        self.lock_user(user).await?;
        let spends = Spends { factor: Some(factor), ..Spends::default() };
        let is_spent = self.spend(user, &spends, act.at).await?;
        if !is_spent {
            self.abandon();
        }
        Ok(is_spent)
    }

    /// Removes the second factor of a user, and the sign-ins that wait for it; the mark on the account is the caller's.
    pub(super) async fn drop_factors(&mut self, user: UserId) -> Result<(), StoreError> {
        execute!(self, sqlx::query(REMOVE).bind(user))?;
        execute!(self, sqlx::query(DROP_CODES).bind(user))?;
        self.drop_challenges(user).await
    }

    /// Puts these recovery codes in the place of those there are.
    async fn put_recovery_codes(&mut self, user: UserId, codes: &[SecretHash]) -> Result<(), StoreError> {
        execute!(self, sqlx::query(DROP_CODES).bind(user))?;
        for code in codes {
            execute!(self, sqlx::query(ADD_CODE).bind(user).bind(code.as_bytes().as_slice()))?;
        }
        Ok(())
    }

    async fn set_mfa(&mut self, user: UserId, enabled: bool, act: &Act) -> Result<(), StoreError> {
        execute!(self, sqlx::query(SET_ENABLED).bind(user).bind(enabled).bind(act.at))?;
        self.change(Change::UserChanged { user }, act.at).await?;
        self.record(act).await
    }

    async fn step_up(&mut self, proven: SteppingUp, act: &Act) -> Result<SteppedUp, StoreError> {
        let SteppingUp { user, session, methods, factor, verified_hash, cookie, release } = proven;
        self.lock_user(user).await?;
        let found: Option<SessionAndUser> = within!(self, conn =>
            sqlx::query_as(OF_SESSION).bind(session).bind(user).bind(act.at).fetch_optional(conn))?;
        let Some((before, owner)) = found.map(SessionAndUser::into_pair) else { return Ok(SteppedUp::Ended) };
        let is_current = |(own, _): &(SecretHash, SecretHash)| before.cookie_hash.as_deref() == Some(own.as_bytes());
        if !cookie.as_ref().is_none_or(is_current) || !is_still(verified_hash.as_ref(), &owner) {
            return Ok(SteppedUp::Ended);
        }
        let spends = Spends { factor, ..Spends::default() };
        if !self.spend(user, &spends, act.at).await? {
            self.abandon();
            return Ok(SteppedUp::Spent);
        }
        let amr = united(&before.amr, &methods);
        let acr = assurance(&amr.split(' ').collect::<Vec<_>>());
        let is_released = release.is_some();
        let Place { ip, user_agent, device } = release.unwrap_or_default();
        let after: SessionRecord = within!(self, conn => sqlx::query_as(PROVE)
            .bind(session)
            .bind(user)
            .bind(act.at)
            .bind(&amr)
            .bind(acr)
            .bind(cookie.as_ref().map(|(_, new)| new.as_bytes().as_slice()))
            .bind(is_released)
            .bind(&ip)
            .bind(&user_agent)
            .bind(device.map(DeviceKind::as_str))
            .fetch_one(conn))?;
        self.change(Change::SessionChanged { session, user }, act.at).await?;
        self.record(act).await?;
        Ok(SteppedUp::Done(after, owner))
    }
}

/// Whether a password hash that was verified is still the account's.
fn is_still(verified: Option<&crate::store::PasswordHashText>, user: &UserRecord) -> bool {
    verified.is_none_or(|verified| user.password_hash.as_ref() == Some(verified))
}
