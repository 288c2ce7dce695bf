//! API keys in SQL.

use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    SqlStore,
    pool::{execute, read, read_at_once, read_within, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::{KeyId, MemberId, OrgId, StoreId},
    secret::SecretHash,
    store::{
        ApiKeyPage, ApiKeyRecord, ApiKeyStore, AtRevision, KeyCreation, KeyQuota, KeyRateLimit, KeyRotation, KeySecret,
        KeyUse, MemberKind, NewApiKey, PresentedKey, QuotaPeriod, Revised, SECRETS_IN_GRACE, StoreError, UserStatus,
    },
};

const COUNT: &str = "SELECT count(*) FROM api_keys WHERE org_id = $1";

const INSERT: &str =
    "INSERT INTO api_keys (key_id, org_id, member_id, store_id, name, environment, scopes, allowed_ips,
        rate_limit, quota, metadata, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

const INSERT_HOME: &str = "INSERT INTO api_key_homes (key_id, org_id) VALUES ($1, $2)";

const INSERT_SECRET: &str = "INSERT INTO api_key_secrets (hash, org_id, key_id, created_at) VALUES ($1, $2, $3, $4)";

/// Keys with the members that bound them.
macro_rules! keys {
    ($which:literal) => {
        concat!(
            "SELECT api_keys.*, members.kind, users.status, users.email
            FROM api_keys
            JOIN members ON members.org_id = api_keys.org_id AND members.member_id = api_keys.member_id
            LEFT JOIN users ON users.id = members.user_id
            WHERE api_keys.org_id = $1 AND ",
            $which
        )
    };
}

const ONE: &str = keys!("api_keys.key_id = $2");

const PAGE: &str = keys!(
    "(api_keys.created_at, api_keys.key_id) > ($2, $3)
    ORDER BY api_keys.created_at, api_keys.key_id LIMIT $4"
);

const PAGE_OF_STORE: &str = keys!(
    "api_keys.store_id = $5 AND (api_keys.created_at, api_keys.key_id) > ($2, $3)
    ORDER BY api_keys.created_at, api_keys.key_id LIMIT $4"
);

const HOME: &str = "SELECT org_id FROM api_key_homes WHERE key_id = $1";

const SECRETS: &str = "SELECT hash, expires_at FROM api_key_secrets
    WHERE org_id = $1 AND key_id = $2 AND (expires_at IS NULL OR expires_at > $3)
    ORDER BY created_at DESC, hash";

const REBIND: &str = "UPDATE api_keys SET member_id = $3 WHERE org_id = $1 AND key_id = $2 RETURNING key_id";

const END_SECRETS: &str = "UPDATE api_key_secrets SET expires_at = $3
    WHERE org_id = $1 AND key_id = $2 AND (expires_at IS NULL OR expires_at > $3)";

/// Those that have ended, and of the others all but the newest.
const DROP_SECRETS: &str = "DELETE FROM api_key_secrets
    WHERE org_id = $1 AND key_id = $2 AND (expires_at <= $3 OR hash NOT IN (
        SELECT hash FROM api_key_secrets WHERE org_id = $1 AND key_id = $2
        ORDER BY created_at DESC, hash LIMIT $4))";

const DELETE: &str = "DELETE FROM api_keys WHERE org_id = $1 AND key_id = $2 RETURNING key_id";

macro_rules! note_use {
    ($key:literal) => {
        concat!(
            "UPDATE api_keys SET last_used_at = $3, last_used_ip = $4
            WHERE org_id = $1 AND (last_used_at IS NULL OR last_used_at < $3) AND key_id = ",
            $key
        )
    };
}

pub(super) const NOTE_USE: &str = note_use!("$2");
#[cfg(feature = "postgres")]
pub(super) const NOTE_USE_IF_FREE: &str =
    note_use!("(SELECT key_id FROM api_keys WHERE org_id = $1 AND key_id = $2 FOR UPDATE SKIP LOCKED)");

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[COUNT, ONE, PAGE, PAGE_OF_STORE, HOME, SECRETS, REBIND, END_SECRETS, DROP_SECRETS, DELETE, NOTE_USE];

#[derive(sqlx::FromRow)]
struct KeyRow {
    key_id: KeyId,
    org_id: OrgId,
    member_id: MemberId,
    store_id: Option<StoreId>,
    name: String,
    environment: String,
    scopes: String,
    allowed_ips: String,
    rate_limit: Option<String>,
    quota: Option<String>,
    metadata: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    last_used_ip: Option<String>,
    #[sqlx(try_from = "String")]
    kind: MemberKind,
    status: Option<String>,
    email: Option<String>,
}

/// A rate limit as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredRate {
    requests: u32,
    per_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

/// A quota as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredQuota {
    requests: u64,
    per: String,
}

#[async_trait]
impl ApiKeyStore for SqlStore {
    async fn create_api_key(
        &self,
        at: AtRevision,
        new: NewApiKey,
        act: Act,
    ) -> Result<Revised<KeyCreation>, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.add_key(at, new, &act).await })).await
    }

    async fn api_key(&self, organization: OrgId, key: KeyId) -> Result<Option<(ApiKeyRecord, MemberKind)>, StoreError> {
        let row: Option<KeyRow> = read_within!(self, Scope::Organization(organization), conn =>
            sqlx::query_as(ONE).bind(organization).bind(key).fetch_optional(conn))?;
        row.map(KeyRow::into_listed).transpose()
    }

    async fn api_keys(
        &self,
        organization: OrgId,
        page: ApiKeyPage,
    ) -> Result<Vec<(ApiKeyRecord, MemberKind)>, StoreError> {
        // Before all of them: nothing was made at the smallest moment, and no id is nil.
        let first = (Timestamp::from_micros(i64::MIN), KeyId::from(Uuid::nil()));
        let (created_at, id) = page.after.unwrap_or(first);
        let rows: Vec<KeyRow> = read_within!(self, Scope::Organization(organization), conn => {
            let sql = if page.store.is_some() { PAGE_OF_STORE } else { PAGE };
            let query = sqlx::query_as(sql).bind(organization).bind(created_at).bind(id).bind(i64::from(page.limit));
            if let Some(store) = page.store { query.bind(store) } else { query }.fetch_all(conn)
        })?;
        rows.into_iter().map(KeyRow::into_listed).collect()
    }

    async fn presented_key(&self, key: KeyId, now: Timestamp) -> Result<Option<PresentedKey>, StoreError> {
        let home: Option<(OrgId,)> = read!(self, pool => sqlx::query_as(HOME).bind(key).fetch_optional(pool))?;
        let Some((organization,)) = home else { return Ok(None) };
        let found: Option<(KeyRow, Vec<SecretRow>)> = read_at_once!(self, Scope::Organization(organization), conn => async {
            let row = sqlx::query_as(ONE).bind(organization).bind(key).fetch_optional(&mut *conn).await?;
            let Some(row) = row else { return Ok(None) };
            let secrets =
                sqlx::query_as(SECRETS).bind(organization).bind(key).bind(now).fetch_all(&mut *conn).await?;
            Ok::<_, sqlx::Error>(Some((row, secrets)))
        })?;
        found.map(|(row, secrets)| row.into_presented(secrets)).transpose()
    }

    async fn rotate_api_key(
        &self,
        at: AtRevision,
        rotation: KeyRotation,
        act: Act,
    ) -> Result<Revised<ApiKeyRecord>, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.rotate_key(at, &rotation, &act).await })).await
    }

    async fn delete_api_key(&self, at: AtRevision, key: KeyId, act: Act) -> Result<Revised<()>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let organization = at.organization;
                tx.enter(Scope::Organization(organization)).await?;
                let revision = match tx.raise(at).await? {
                    Ok(revision) => revision,
                    Err(refused) => return Ok(refused),
                };
                let deleted: Option<(KeyId,)> = within!(tx, conn =>
                    sqlx::query_as(DELETE).bind(organization).bind(key).fetch_optional(conn))?;
                if deleted.is_none() {
                    tx.abandon();
                    return Ok(Revised::Missing);
                }
                tx.change(Change::ApiKeyChanged { organization, key, revision }, act.at).await?;
                tx.record(&act).await?;
                Ok(Revised::Done { revision, value: () })
            })
        })
        .await
    }

    async fn note_key_uses(&self, mut uses: Vec<KeyUse>) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        uses.sort_unstable_by_key(|used| (used.organization, used.key));
        self.write(move |tx| {
            Box::pin(async move {
                let (sql, mut entered) = (tx.texts().note_key_use, None);
                for used in &uses {
                    if entered != Some(used.organization) {
                        tx.enter(Scope::Organization(used.organization)).await?;
                        entered = Some(used.organization);
                    }
                    let KeyUse { organization, key, used_at, ip } = used;
                    execute!(tx, sqlx::query(sql).bind(organization).bind(key).bind(used_at).bind(ip))?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl Tx {
    async fn add_key(&mut self, at: AtRevision, new: NewApiKey, act: &Act) -> Result<Revised<KeyCreation>, StoreError> {
        let NewApiKey { key, secret, max_per_organization } = new;
        let organization = at.organization;
        self.enter(Scope::Organization(organization)).await?;
        let revision = match self.raise(at).await? {
            Ok(revision) => revision,
            Err(refused) => return Ok(refused),
        };
        let (count,): (i64,) = within!(self, conn => sqlx::query_as(COUNT).bind(organization).fetch_one(conn))?;
        if count >= i64::from(max_per_organization) {
            self.abandon();
            return Ok(Revised::Done { revision: at.revision, value: KeyCreation::TooMany });
        }
        self.insert_key(organization, &key).await?;
        execute!(self, sqlx::query(INSERT_HOME).bind(key.id).bind(organization))?;
        self.insert_secret(organization, key.id, &secret, act.at).await?;
        self.change(Change::ApiKeyChanged { organization, key: key.id, revision }, act.at).await?;
        self.record(act).await?;
        Ok(Revised::Done { revision, value: KeyCreation::Done })
    }

    async fn insert_key(&mut self, organization: OrgId, key: &ApiKeyRecord) -> Result<(), StoreError> {
        let rate = key.rate_limit.map(|KeyRateLimit { requests, per, burst }| StoredRate {
            requests,
            per_seconds: per.as_secs(),
            burst,
        });
        let quota =
            key.quota.map(|KeyQuota { requests, period }| StoredQuota { requests, per: period.as_str().to_owned() });
        let (rate, quota) = (rate.as_ref().map(written).transpose()?, quota.as_ref().map(written).transpose()?);
        let (scopes, allowed_ips, metadata) =
            (written(&key.scopes)?, written(&key.allowed_ips)?, written(&key.metadata)?);
        execute!(
            self,
            sqlx::query(INSERT)
                .bind(key.id)
                .bind(organization)
                .bind(key.member)
                .bind(key.store)
                .bind(&key.name)
                .bind(&key.environment)
                .bind(&scopes)
                .bind(&allowed_ips)
                .bind(&rate)
                .bind(&quota)
                .bind(&metadata)
                .bind(key.created_at)
                .bind(key.expires_at)
        )?;
        Ok(())
    }

    async fn insert_secret(
        &mut self,
        organization: OrgId,
        key: KeyId,
        secret: &SecretHash,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let hash = secret.as_bytes().as_slice();
        execute!(self, sqlx::query(INSERT_SECRET).bind(hash).bind(organization).bind(key).bind(at))?;
        Ok(())
    }

    async fn rotate_key(
        &mut self,
        at: AtRevision,
        rotation: &KeyRotation,
        act: &Act,
    ) -> Result<Revised<ApiKeyRecord>, StoreError> {
        let KeyRotation { key, secret, grace_until, member } = *rotation;
        let organization = at.organization;
        self.enter(Scope::Organization(organization)).await?;
        let revision = match self.raise(at).await? {
            Ok(revision) => revision,
            Err(refused) => return Ok(refused),
        };
        let there: Option<(KeyId,)> = within!(self, conn =>
            sqlx::query_as(REBIND).bind(organization).bind(key).bind(member).fetch_optional(conn))?;
        if there.is_none() {
            self.abandon();
            return Ok(Revised::Missing);
        }
        execute!(self, sqlx::query(END_SECRETS).bind(organization).bind(key).bind(grace_until))?;
        let newest = i64::from(SECRETS_IN_GRACE);
        execute!(self, sqlx::query(DROP_SECRETS).bind(organization).bind(key).bind(act.at).bind(newest))?;
        self.insert_secret(organization, key, &secret, act.at).await?;
        let row: KeyRow = within!(self, conn => sqlx::query_as(ONE).bind(organization).bind(key).fetch_one(conn))?;
        self.change(Change::ApiKeyChanged { organization, key, revision }, act.at).await?;
        self.record(act).await?;
        Ok(Revised::Done { revision, value: row.into_listed()?.0 })
    }
}

/// The hash, and its end.
type SecretRow = (Vec<u8>, Option<Timestamp>);

impl KeyRow {
    fn into_listed(self) -> Result<(ApiKeyRecord, MemberKind), StoreError> {
        let kind = self.kind;
        Ok((self.into_record()?, kind))
    }

    fn into_presented(mut self, secrets: Vec<SecretRow>) -> Result<PresentedKey, StoreError> {
        let user = match (self.status.take(), self.email.take()) {
            (Some(status), Some(email)) => Some((UserStatus::try_from(status)?, email)),
            _ => None,
        };
        let read = |(hash, expires_at): SecretRow| {
            let hash = SecretHash::from_stored(&hash).ok_or_else(|| StoreError::corrupt("a secret that is no hash"))?;
            Ok(KeySecret { hash, expires_at })
        };
        let secrets = secrets.into_iter().map(read).collect::<Result<_, StoreError>>()?;
        let (key, member_kind) = self.into_listed()?;
        Ok(PresentedKey { key, secrets, member_kind, user })
    }

    fn into_record(self) -> Result<ApiKeyRecord, StoreError> {
        let allowed_ips: Vec<IpNet> = stored(&self.allowed_ips)?;
        let rate: Option<StoredRate> = self.rate_limit.as_deref().map(stored).transpose()?;
        let quota: Option<StoredQuota> = self.quota.as_deref().map(stored).transpose()?;
        Ok(ApiKeyRecord {
            id: self.key_id,
            organization: self.org_id,
            member: self.member_id,
            store: self.store_id,
            name: self.name,
            environment: self.environment,
            scopes: stored(&self.scopes)?,
            allowed_ips,
            rate_limit: rate.map(|StoredRate { requests, per_seconds, burst }| KeyRateLimit {
                requests,
                per: Duration::from_secs(per_seconds),
                burst,
            }),
            quota: quota
                .map(|StoredQuota { requests, per }| {
                    Ok::<_, StoreError>(KeyQuota { requests, period: QuotaPeriod::try_from(per)? })
                })
                .transpose()?,
            metadata: stored(&self.metadata)?,
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            last_used_ip: self.last_used_ip,
        })
    }
}

fn written(value: &(impl Serialize + ?Sized)) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::corrupt("a part of a key cannot be written"))
}

fn stored<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::corrupt("a part of a key cannot be read"))
}
