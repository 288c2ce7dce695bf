//! Refresh tokens in SQL: one use each, whoever tries at the same time.

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::{live, not_ended, session_columns},
    pool::{execute, read, within},
    session::SessionAndUser,
    tx::Tx,
};
use crate::{
    audit::{Act, Actor, Outcome},
    changes::Change,
    clock::Timestamp,
    id::SessionId,
    secret::SecretHash,
    store::{RefreshStore, Rotated, Rotation, SessionRecord, StoreError, UserRecord, UserStatus},
};

const INSERT: &str = "INSERT INTO refresh_tokens (hash, session_id, issued_at) VALUES ($1, $2, $3)";

/// The token, whether its successor was used, its session and its user.
macro_rules! presented {
    () => {
        concat!(
            "SELECT token.consumed_at, token.salt, next.consumed_at AS successor_consumed_at, ",
            session_columns!(),
            ", users.*
    FROM refresh_tokens token
    JOIN sessions ON sessions.session_id = token.session_id
    JOIN users ON users.id = sessions.user_id
    LEFT JOIN refresh_tokens next ON next.hash = token.successor
    WHERE token.hash = $1"
        )
    };
}

#[cfg(feature = "sqlite")]
pub(super) const PRESENTED: &str = presented!();
/// The session is locked before its tokens, as it is where it goes with them.
#[cfg(feature = "postgres")]
pub(super) const PRESENTED_AND_LOCKED: &str = concat!(presented!(), " FOR UPDATE OF sessions");

const CONSUME: &str = "UPDATE refresh_tokens SET consumed_at = $2, salt = $3, successor = $4
    WHERE hash = $1 AND consumed_at IS NULL";

const EXTEND: &str = concat!(
    "UPDATE sessions SET idle_expires_at = $2, last_seen_at = $3
    WHERE session_id = $1 AND idle_expires_at < $2 AND ",
    live!("$3")
);

const REVOKE: &str =
    concat!("UPDATE sessions SET revoked_at = $2 WHERE session_id = $1 AND ", not_ended!(), " RETURNING session_id");

const BY_TOKEN: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", users.* FROM refresh_tokens token
    JOIN sessions ON sessions.session_id = token.session_id
    JOIN users ON users.id = sessions.user_id
    WHERE token.hash = $1"
);

#[derive(sqlx::FromRow)]
struct Presented {
    consumed_at: Option<Timestamp>,
    salt: Option<Vec<u8>>,
    successor_consumed_at: Option<Timestamp>,
    #[sqlx(flatten)]
    owner: SessionAndUser,
}

#[async_trait]
impl RefreshStore for SqlStore {
    async fn session_by_refresh(&self, token: SecretHash) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let found: Option<SessionAndUser> = read!(self, pool =>
            sqlx::query_as(BY_TOKEN).bind(token.as_bytes().as_slice()).fetch_optional(pool))?;
        Ok(found.map(SessionAndUser::into_pair))
    }

    async fn rotate_refresh(&self, rotation: Rotation, act: Act) -> Result<Rotated, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.rotate(&rotation, act).await })).await
    }
}

impl Tx {
    pub(super) async fn insert_refresh(
        &mut self,
        token: &SecretHash,
        session: SessionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, sqlx::query(INSERT).bind(token.as_bytes().as_slice()).bind(session).bind(at)).map(|_| ())
    }

    pub(super) async fn rotate(&mut self, rotation: &Rotation, act: Act) -> Result<Rotated, StoreError> {
        let Some(token) = self.presented(rotation).await? else { return Ok(Rotated::Invalid) };
        if !usable(&token, act.at) {
            return Ok(Rotated::Invalid);
        }
        // Whoever cannot prove the key can do nothing with the token: not even end its session by showing an old one.
        if !is_proven(&token.owner.session, rotation) {
            return Ok(Rotated::Unproven);
        }
        if let Some(proof) = &rotation.proof
            && !self.use_proof(proof).await?
        {
            return Ok(Rotated::ProofUsed);
        }
        if token.consumed_at.is_some() {
            return self.judge_used(token, rotation, act).await;
        }
        let consumed = execute!(
            self,
            sqlx::query(CONSUME)
                .bind(rotation.presented.as_bytes().as_slice())
                .bind(act.at)
                .bind(rotation.salt.as_slice())
                .bind(rotation.successor.as_bytes().as_slice())
        )?;
        if consumed == 0 {
            // Another node used it between our two statements: now it is a used one.
            let Some(token) = self.presented(rotation).await? else { return Ok(Rotated::Invalid) };
            return self.judge_used(token, rotation, act).await;
        }
        let (mut session, user) = token.owner.into_pair();
        let act = Act { actor: Actor::User(user.id), ..act };
        self.insert_refresh(&rotation.successor, session.id, act.at).await?;
        self.extend(&mut session, rotation, act.at).await?;
        self.record(&act.on(session.id)).await?;
        Ok(Rotated::Fresh(session, user))
    }

    async fn presented(&mut self, rotation: &Rotation) -> Result<Option<Presented>, StoreError> {
        let sql = self.texts().presented;
        within!(self, conn => sqlx::query_as(sql)
            .bind(rotation.presented.as_bytes().as_slice())
            .fetch_optional(conn))
    }

    /// A token that was used before: a lost answer, or a theft.
    async fn judge_used(&mut self, token: Presented, rotation: &Rotation, act: Act) -> Result<Rotated, StoreError> {
        let (Some(consumed_at), Some(salt)) = (token.consumed_at, token.salt) else {
            return Err(StoreError::corrupt("a used refresh token without its salt"));
        };
        let (session, user) = token.owner.into_pair();
        let act = Act { actor: Actor::User(user.id), ..act };
        if act.at.since(consumed_at) <= rotation.grace {
            if token.successor_consumed_at.is_some() {
                return Ok(Rotated::Invalid);
            }
            let salt = salt.try_into().map_err(|_| StoreError::corrupt("a refresh token's salt has another length"))?;
            self.record(&act.on(session.id)).await?;
            return Ok(Rotated::Again(session, user, salt));
        }
        let revoked: Option<(SessionId,)> = within!(self, conn =>
            sqlx::query_as(REVOKE).bind(session.id).bind(act.at).fetch_optional(conn))?;
        if revoked.is_none() {
            return Ok(Rotated::Invalid);
        }
        self.change(Change::SessionRevoked { session: session.id, user: user.id }, act.at).await?;
        let at = act.at;
        self.record(&act.on(session.id).ended(Outcome::Denied, "refresh_token_reused")).await?;
        Ok(Rotated::Reused(SessionRecord { revoked_at: Some(at), ..session }))
    }

    /// Moves the idle deadline, once a tenth of its window has passed: a refresh rarely costs this write.
    async fn extend(
        &mut self,
        session: &mut SessionRecord,
        rotation: &Rotation,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let deadline = (at + rotation.idle_ttl).min(session.expires_at);
        let gain = deadline.since(session.idle_expires_at);
        // The last step, to the absolute end, may be a short one.
        if gain.is_zero() || (gain < rotation.idle_ttl / 10 && deadline < session.expires_at) {
            return Ok(());
        }
        execute!(self, sqlx::query(EXTEND).bind(session.id).bind(deadline).bind(at))?;
        session.idle_expires_at = deadline;
        session.last_seen_at = at;
        Ok(())
    }
}

/// Whether the key that the session is bound to was proven, if it is bound to one.
fn is_proven(session: &SessionRecord, rotation: &Rotation) -> bool {
    session.key_thumbprint.as_deref().is_none_or(|key| rotation.proof.is_some_and(|proof| proof.key == key))
}

fn usable(token: &Presented, at: Timestamp) -> bool {
    token.owner.session.is_live(at) && token.owner.user.status == UserStatus::Active
}
