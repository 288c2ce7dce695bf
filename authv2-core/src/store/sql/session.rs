//! Sessions in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::{live, session_columns},
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::{SessionId, UserId},
    store::{
        ContextChange, NewSession, Opened, OpenedRecord, OverLimit, SessionRecord, SessionStore, StoreError, Touch,
        UserRecord,
    },
};

/// A session joined with its user; their columns have different names.
#[derive(sqlx::FromRow)]
pub(super) struct SessionAndUser {
    #[sqlx(flatten)]
    pub(super) session: SessionRecord,
    #[sqlx(flatten)]
    pub(super) user: UserRecord,
}

impl SessionAndUser {
    pub(super) fn into_pair(self) -> (SessionRecord, UserRecord) {
        (self.session, self.user)
    }
}

/// Notes the sign-in and locks the user's row, which is what makes limits hold under parallel sign-ins. Whoever has a
/// second factor by now signs in with one.
const NOTE_SIGN_IN: &str = "UPDATE users
    SET last_login_at = CASE WHEN $5 THEN last_login_at ELSE $2 END, password_hash = COALESCE($3, password_hash)
    WHERE id = $1 AND status = 'active' AND ($4 IS NULL OR password_hash = $4) AND ($6 OR NOT mfa_enabled)
    RETURNING *";

const COUNT_LIVE: &str = concat!("SELECT count(*) FROM sessions WHERE user_id = $1 AND ", live!("$2"));

const EVICT: &str = concat!(
    "UPDATE sessions SET revoked_at = $2 WHERE session_id IN (
        SELECT session_id FROM sessions
        WHERE user_id = $1 AND ",
    live!("$2"),
    " ORDER BY opened_at DESC, session_id DESC LIMIT 1000000 OFFSET $3)
    RETURNING session_id"
);

const INSERT: &str = "INSERT INTO sessions
    (session_id, user_id, transport, cookie_hash, opened_at, auth_time, last_seen_at, expires_at, idle_expires_at, ip,
     user_agent, amr, acr, org_id, store_id, risk, device, key_thumbprint, device_id, generation)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
        (SELECT counter FROM session_generation))
    RETURNING generation";

const REMEMBER_NETWORK: &str = "INSERT INTO known_networks (user_id, network, last_login_at) VALUES ($1, $2, $3)
    ON CONFLICT (user_id, network) DO UPDATE SET last_login_at = excluded.last_login_at";

const BY_ID: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", users.* FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.session_id = $1"
);

const OF_USER: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM sessions WHERE user_id = $1 AND ",
    live!("$2"),
    " ORDER BY opened_at DESC, session_id DESC"
);

const REVOKE: &str = concat!(
    "UPDATE sessions SET revoked_at = $3 WHERE session_id = $1 AND user_id = $2 AND ",
    live!("$3"),
    " RETURNING session_id"
);

const REVOKE_ALL: &str = concat!(
    "UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND ($3 IS NULL OR session_id <> $3) AND ",
    live!("$2"),
    " RETURNING session_id"
);

/// Once for each kind of change: what is noted already is not noted again.
const NOTE_CONTEXT: &str = concat!(
    "UPDATE sessions SET network_changed = (network_changed OR $3), device_changed = (device_changed OR $4),
        risk = CASE WHEN risk = 'high' OR ((network_changed OR $3) AND (device_changed OR $4)) THEN 'high'
            ELSE 'medium' END
    WHERE session_id = $1 AND user_id = $2 AND (($3 AND NOT network_changed) OR ($4 AND NOT device_changed)) AND ",
    live!("$5"),
    " RETURNING ",
    session_columns!()
);

macro_rules! touch {
    () => {
        "UPDATE sessions
        SET last_seen_at = CASE WHEN $2 > last_seen_at THEN $2 ELSE last_seen_at END,
            idle_expires_at = CASE WHEN $3 > idle_expires_at THEN $3 ELSE idle_expires_at END
        WHERE "
    };
}

pub(super) const TOUCH: &str = concat!(touch!(), live!("$2"), " AND session_id = $1");
#[cfg(feature = "postgres")]
pub(super) const TOUCH_IF_FREE: &str = concat!(
    touch!(),
    live!("$2"),
    " AND session_id = (SELECT session_id FROM sessions WHERE session_id = $1 FOR UPDATE SKIP LOCKED)"
);

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[COUNT_LIVE, EVICT, BY_ID, OF_USER, REVOKE, REVOKE_ALL, NOTE_CONTEXT, TOUCH];

#[async_trait]
impl SessionStore for SqlStore {
    async fn open_session(&self, session: NewSession, act: Act) -> Result<Opened, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.open_session(&session, &act).await })).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let found: Option<SessionAndUser> = read!(self, pool => sqlx::query_as(BY_ID).bind(id).fetch_optional(pool))?;
        Ok(found.map(SessionAndUser::into_pair))
    }

    async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        read!(self, pool => sqlx::query_as(OF_USER).bind(user).bind(now).fetch_all(pool))
    }

    async fn revoke_session(&self, user: UserId, session: SessionId, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let ended: Option<(SessionId,)> = within!(tx, conn => sqlx::query_as(REVOKE)
                    .bind(session)
                    .bind(user)
                    .bind(act.at)
                    .fetch_optional(conn))?;
                if ended.is_none() {
                    return Ok(false);
                }
                tx.change(Change::SessionRevoked { session, user }, act.at).await?;
                tx.record(&act).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn revoke_sessions(&self, user: UserId, keep: Option<SessionId>, act: Act) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.lock_user(user).await?;
                let ended = tx.revoke_all(user, keep, act.at).await?;
                tx.record(&act).await?;
                Ok(ended)
            })
        })
        .await
    }

    async fn note_context(
        &self,
        user: UserId,
        session: SessionId,
        change: ContextChange,
        act: Act,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let noted: Option<SessionRecord> = within!(tx, conn => sqlx::query_as(NOTE_CONTEXT)
                    .bind(session)
                    .bind(user)
                    .bind(change.network)
                    .bind(change.device)
                    .bind(act.at)
                    .fetch_optional(conn))?;
                if noted.is_some() {
                    tx.change(Change::SessionChanged { session, user }, act.at).await?;
                    tx.record(&act).await?;
                }
                Ok(noted)
            })
        })
        .await
    }

    async fn touch_sessions(&self, touches: Vec<Touch>) -> Result<(), StoreError> {
        if touches.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                // One alone may wait for its row. Many must not: they hold the rows before it meanwhile, and what they
                // say is statistics, told again at the next use.
                let sql = if touches.len() == 1 { TOUCH } else { tx.texts().touch_if_free };
                for touch in &touches {
                    execute!(tx, sqlx::query(sql).bind(touch.session).bind(touch.seen_at).bind(touch.idle_expires_at))?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl Tx {
    async fn open_session(&mut self, new: &NewSession, act: &Act) -> Result<Opened, StoreError> {
        let session = &new.record;
        let user: Option<UserRecord> = within!(self, conn => sqlx::query_as(NOTE_SIGN_IN)
            .bind(session.user_id)
            .bind(act.at)
            .bind(&new.rehashed)
            .bind(&new.verified_hash)
            .bind(new.is_held)
            .bind(new.spends.factor.is_some())
            .fetch_optional(conn))?;
        let Some(mut user) = user else { return Ok(Opened::Void) };
        if let Some(proof) = &new.proof
            && !self.use_proof(proof).await?
        {
            self.abandon();
            return Ok(Opened::ProofUsed);
        }
        if !self.spend(session.user_id, &new.spends, act.at).await? {
            self.abandon();
            return Ok(Opened::Spent);
        }
        // Not where a second factor is asked for first: a link alone neither passes by that nor removes it.
        if new.spends.link.is_some()
            && let Some(proven) = self.prove_mailbox(session.user_id, act.at).await?
        {
            self.change(Change::UserChanged { user: user.id }, act.at).await?;
            user = proven;
        }
        if !self.make_room(new, act.at).await? {
            self.abandon();
            return Ok(Opened::TooMany);
        }
        let device = self.know_device(new).await?;
        let (generation,): (i64,) = within!(self, conn =>
            sqlx::query_as(INSERT)
                .bind(session.id)
                .bind(session.user_id)
                .bind(session.transport.as_str())
                .bind(session.cookie_hash.as_deref())
                .bind(session.created_at)
                .bind(session.auth_time)
                .bind(session.last_seen_at)
                .bind(session.expires_at)
                .bind(session.idle_expires_at)
                .bind(&session.ip)
                .bind(&session.user_agent)
                .bind(&session.amr)
                .bind(&session.acr)
                .bind(session.organization)
                .bind(session.store)
                .bind(session.risk.as_str())
                .bind(session.device.as_str())
                .bind(session.key_thumbprint.as_deref())
                .bind(device.map(|(id, _)| id))
                .fetch_one(conn)
        )?;
        if let Some(refresh) = &new.refresh {
            self.insert_refresh(refresh, session.id, act.at).await?;
        }
        // The same password a second time proves no more than the first time.
        if let Some(network) = new.network.as_ref().filter(|_| !new.is_held) {
            execute!(self, sqlx::query(REMEMBER_NETWORK).bind(session.user_id).bind(network).bind(act.at))?;
        }
        if let Some(name) = new.device.as_ref().filter(|_| !new.is_held) {
            self.remember_device(session.user_id, name, act.at).await?;
        }
        self.clear_attempts(&new.clear).await?;
        if new.rehashed.is_some() {
            self.change(Change::UserChanged { user: user.id }, act.at).await?;
        }
        if let (Some((_, false)), Some(notice)) = (device, new.browser.as_ref().and_then(|new| new.notice.as_ref())) {
            self.post(notice).await?;
        }
        self.record(act).await?;
        let device = device.map(|(id, _)| id);
        Ok(Opened::New(Box::new(OpenedRecord { user, generation, device })))
    }

    /// Keeps the limit of live sessions, the new one counted in. `false` if the policy is to refuse.
    async fn make_room(&mut self, new: &NewSession, at: Timestamp) -> Result<bool, StoreError> {
        let user = new.record.user_id;
        match new.over_limit {
            OverLimit::Reject => {
                let (live,): (i64,) = within!(self, conn =>
                    sqlx::query_as(COUNT_LIVE).bind(user).bind(at).fetch_one(conn))?;
                Ok(live < i64::from(new.max_per_user))
            }
            OverLimit::EvictOldest => {
                let room = i64::from(new.max_per_user.saturating_sub(1));
                let evicted: Vec<(SessionId,)> = within!(self, conn =>
                    sqlx::query_as(EVICT).bind(user).bind(at).bind(room).fetch_all(conn))?;
                for (session,) in evicted {
                    self.change(Change::SessionRevoked { session, user }, at).await?;
                }
                Ok(true)
            }
        }
    }

    /// Locks a user's row. Verbs that touch several sessions of a user do so under it, or under an update of the row,
    /// so that two of them cannot wait for each other.
    /// `false` if there is no such user.
    pub(super) async fn lock_user(&mut self, user: UserId) -> Result<bool, StoreError> {
        let sql = self.texts().lock_user;
        let locked: Option<(UserId,)> = within!(self, conn => sqlx::query_as(sql).bind(user).fetch_optional(conn))?;
        Ok(locked.is_some())
    }

    /// Ends every live session of `user` but `keep`; how many. Under the lock of the user's row.
    pub(super) async fn revoke_all(
        &mut self,
        user: UserId,
        keep: Option<SessionId>,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let ended: Vec<(SessionId,)> = within!(self, conn =>
            sqlx::query_as(REVOKE_ALL).bind(user).bind(at).bind(keep).fetch_all(conn))?;
        let mut count = 0;
        for (session,) in ended {
            self.change(Change::SessionRevoked { session, user }, at).await?;
            count += 1;
        }
        Ok(count)
    }
}
