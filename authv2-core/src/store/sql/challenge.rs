//! Sign-ins that wait for their second factor, in SQL.

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
    id::{OrgId, StoreId, UserId},
    secret::SecretHash,
    store::{ChallengeRecord, ChallengeStore, Challenged, NewChallenge, Spends, StoreError, Transport},
};

/// Locks the user's row: a password that is changed beside it, either finds the challenge or makes it void.
const NOTE_FIRST_FACTOR: &str = "UPDATE users SET password_hash = COALESCE($2, password_hash)
    WHERE id = $1 AND status = 'active' AND mfa_enabled AND ($3 IS NULL OR password_hash = $3)
    RETURNING id";

const INSERT: &str = "INSERT INTO mfa_challenges
    (hash, user_id, transport, org_id, store_id, amr, key_thumbprint, signs, tries, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)";

const FIND: &str = "SELECT hash, user_id, transport, org_id, store_id, amr, key_thumbprint, signs, tries, expires_at
    FROM mfa_challenges WHERE hash = $1 AND expires_at > $2";

const COUNT_TRY: &str =
    "UPDATE mfa_challenges SET tries = tries + 1 WHERE hash = $1 AND expires_at > $2 AND tries < $3 RETURNING tries";

const DROP_OF_USER: &str = "DELETE FROM mfa_challenges WHERE user_id = $1";

pub(super) const PURGE: &str = "DELETE FROM mfa_challenges WHERE hash IN
    (SELECT hash FROM mfa_challenges WHERE expires_at < $1 LIMIT 1000)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[NOTE_FIRST_FACTOR, FIND, COUNT_TRY, DROP_OF_USER, PURGE];

#[derive(sqlx::FromRow)]
struct ChallengeRow {
    hash: Vec<u8>,
    user_id: UserId,
    #[sqlx(try_from = "String")]
    transport: Transport,
    org_id: Option<OrgId>,
    store_id: Option<StoreId>,
    amr: String,
    key_thumbprint: Option<Vec<u8>>,
    signs: String,
    tries: i64,
    expires_at: Timestamp,
}

impl TryFrom<ChallengeRow> for ChallengeRecord {
    type Error = StoreError;

    fn try_from(row: ChallengeRow) -> Result<Self, StoreError> {
        let ChallengeRow { hash, user_id, transport, org_id, store_id, amr, key_thumbprint, signs, tries, expires_at } =
            row;
        let hash = SecretHash::from_stored(&hash).ok_or_else(|| StoreError::corrupt("a hash of another length"))?;
        Ok(Self {
            hash,
            user: user_id,
            transport,
            organization: org_id,
            store: store_id,
            amr,
            key_thumbprint,
            signs,
            tries,
            expires_at,
        })
    }
}

#[async_trait]
impl ChallengeStore for SqlStore {
    async fn open_challenge(&self, new: NewChallenge, act: Act) -> Result<Challenged, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.open_challenge(new, &act).await })).await
    }

    async fn challenge(&self, token: SecretHash, now: Timestamp) -> Result<Option<ChallengeRecord>, StoreError> {
        let found: Option<ChallengeRow> = read!(self, pool =>
            sqlx::query_as(FIND).bind(token.as_bytes().as_slice()).bind(now).fetch_optional(pool))?;
        found.map(ChallengeRecord::try_from).transpose()
    }

    async fn count_try(&self, token: SecretHash, most: i64, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let counted: Option<(i64,)> = within!(tx, conn => sqlx::query_as(COUNT_TRY)
                    .bind(token.as_bytes().as_slice())
                    .bind(now)
                    .bind(most)
                    .fetch_optional(conn))?;
                Ok(counted.is_some())
            })
        })
        .await
    }
}

impl Tx {
    async fn open_challenge(&mut self, new: NewChallenge, act: &Act) -> Result<Challenged, StoreError> {
        let NewChallenge { record, verified_hash, rehashed, link, proof } = new;
        let user: Option<(UserId,)> = within!(self, conn => sqlx::query_as(NOTE_FIRST_FACTOR)
            .bind(record.user)
            .bind(&rehashed)
            .bind(&verified_hash)
            .fetch_optional(conn))?;
        if user.is_none() {
            return Ok(Challenged::Void);
        }
        if let Some(proof) = &proof
            && !self.use_proof(proof).await?
        {
            self.abandon();
            return Ok(Challenged::ProofUsed);
        }
        if !self.spend(record.user, &Spends { link, ..Spends::default() }, act.at).await? {
            self.abandon();
            return Ok(Challenged::Spent);
        }
        execute!(
            self,
            sqlx::query(INSERT)
                .bind(record.hash.as_bytes().as_slice())
                .bind(record.user)
                .bind(record.transport.as_str())
                .bind(record.organization)
                .bind(record.store)
                .bind(&record.amr)
                .bind(record.key_thumbprint.as_deref())
                .bind(&record.signs)
                .bind(act.at)
                .bind(record.expires_at)
        )?;
        if rehashed.is_some() {
            self.change(Change::UserChanged { user: record.user }, act.at).await?;
        }
        self.record(act).await?;
        Ok(Challenged::New)
    }

    /// Ends every sign-in of a user that waits for its second factor.
    pub(super) async fn drop_challenges(&mut self, user: UserId) -> Result<(), StoreError> {
        execute!(self, sqlx::query(DROP_OF_USER).bind(user)).map(|_| ())
    }
}
