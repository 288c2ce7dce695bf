//! Security events in SQL, and what the monitor knows of devices and networks.

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::live,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::{EventId, KeyId, OrgId, SessionId, UserId},
    store::{EventKind, EventQuery, KeyNetwork, SecurityEvent, SecurityStore, Severity, StoreError, StoredEvent},
};

const ADD: &str = "INSERT INTO security_events (event_id, at, kind, severity, user_id, org_id, ip, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (event_id) DO NOTHING";

macro_rules! columns {
    () => {
        "seq, event_id, at, kind, severity, user_id, org_id, ip, detail"
    };
}

/// A range of the index by time, whatever else is asked for.
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM security_events
    WHERE at >= $1 AND (at, seq) < ($2, $3) AND ($4 IS NULL OR kind = $4) AND ($5 IS NULL OR severity = $5)
    ORDER BY at DESC, seq DESC LIMIT $6"
);

const AFTER: &str = concat!("SELECT ", columns!(), " FROM security_events WHERE seq > $1 ORDER BY seq LIMIT $2");

const NUMBER: &str = "SELECT seq FROM security_events WHERE event_id = $1";

const LAST: &str = "SELECT COALESCE(MAX(seq), 0) FROM security_events";

pub(super) const PURGE: &str = "DELETE FROM security_events WHERE seq IN
    (SELECT seq FROM security_events WHERE at < $1 LIMIT 1000)";
pub(super) const PURGE_DEVICES: &str = "DELETE FROM known_devices WHERE (user_id, device) IN
    (SELECT user_id, device FROM known_devices WHERE last_login_at < $1 LIMIT 1000)";
pub(super) const PURGE_KEY_NETWORKS: &str = "DELETE FROM api_key_networks WHERE (key_id, network) IN
    (SELECT key_id, network FROM api_key_networks WHERE last_used_at < $1 LIMIT 1000)";

const REMEMBER_DEVICE: &str = "INSERT INTO known_devices (user_id, device, last_login_at) VALUES ($1, $2, $3)
    ON CONFLICT (user_id, device) DO UPDATE SET last_login_at = excluded.last_login_at";

const SEEN_THERE: &str =
    "UPDATE api_key_networks SET last_used_at = $3 WHERE key_id = $1 AND network = $2 RETURNING network";

const OTHER_NETWORK: &str = "SELECT network FROM api_key_networks WHERE key_id = $1 LIMIT 1";

/// A key that has gone meanwhile has no networks.
const REMEMBER_THERE: &str = "INSERT INTO api_key_networks (key_id, network, last_used_at)
    SELECT key_id, $2, $3 FROM api_key_homes WHERE key_id = $1
    ON CONFLICT (key_id, network) DO NOTHING";

const RAISE_RISK: &str = concat!(
    "UPDATE sessions SET risk = 'high' WHERE session_id = $1 AND user_id = $2 AND risk <> 'high' AND ",
    live!("$3"),
    " RETURNING session_id"
);

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    LIST,
    AFTER,
    NUMBER,
    PURGE,
    PURGE_DEVICES,
    PURGE_KEY_NETWORKS,
    SEEN_THERE,
    OTHER_NETWORK,
    REMEMBER_THERE,
    RAISE_RISK,
];

#[derive(sqlx::FromRow)]
struct EventRow {
    seq: i64,
    event_id: EventId,
    at: Timestamp,
    #[sqlx(try_from = "String")]
    kind: EventKind,
    #[sqlx(try_from = "String")]
    severity: Severity,
    user_id: Option<UserId>,
    org_id: Option<OrgId>,
    ip: Option<String>,
    detail: String,
}

impl TryFrom<EventRow> for StoredEvent {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let EventRow { seq, event_id: id, at, kind, severity, user_id, org_id: organization, ip, detail } = row;
        let detail =
            serde_json::from_str(&detail).map_err(|_| StoreError::corrupt("an event whose detail is no object"))?;
        let ip = ip.as_deref().and_then(|ip| ip.parse().ok());
        Ok(Self { seq, event: SecurityEvent { id, at, kind, severity, user_id, organization, ip, detail } })
    }
}

#[async_trait]
impl SecurityStore for SqlStore {
    async fn add_security_events(&self, events: Vec<SecurityEvent>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                for event in &events {
                    tx.add_security_event(event).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn security_events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let latest = (Timestamp::from_micros(i64::MAX), i64::MAX);
        let to = query.to.map_or(latest, |to| (to, i64::MIN));
        let (at, seq) = query.before.map_or(to, |before| before.min(to));
        let rows: Vec<EventRow> = read!(self, pool => sqlx::query_as(LIST)
            .bind(query.from.unwrap_or(Timestamp::from_micros(i64::MIN)))
            .bind(at)
            .bind(seq)
            .bind(query.kind.map(EventKind::as_str))
            .bind(query.severity.map(Severity::as_str))
            .bind(i64::from(query.limit))
            .fetch_all(pool))?;
        rows.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn security_events_after(&self, seq: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventRow> =
            read!(self, pool => sqlx::query_as(AFTER).bind(seq).bind(i64::from(limit)).fetch_all(pool))?;
        rows.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn security_event_number(&self, event: EventId) -> Result<Option<i64>, StoreError> {
        let found: Option<(i64,)> = read!(self, pool => sqlx::query_as(NUMBER).bind(event).fetch_optional(pool))?;
        Ok(found.map(|(seq,)| seq))
    }

    async fn last_security_event(&self) -> Result<i64, StoreError> {
        let (seq,): (i64,) = read!(self, pool => sqlx::query_as(LAST).fetch_one(pool))?;
        Ok(seq)
    }

    async fn note_key_network(&self, key: KeyId, network: String, at: Timestamp) -> Result<KeyNetwork, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.note_key_network(key, &network, at).await })).await
    }

    async fn raise_risk(&self, user: UserId, session: SessionId, act: Act) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let raised: Option<(SessionId,)> = within!(tx, conn => sqlx::query_as(RAISE_RISK)
                    .bind(session)
                    .bind(user)
                    .bind(act.at)
                    .fetch_optional(conn))?;
                if raised.is_none() {
                    return Ok(false);
                }
                tx.change(Change::SessionChanged { session, user }, act.at).await?;
                tx.record(&act).await?;
                Ok(true)
            })
        })
        .await
    }
}

impl Tx {
    async fn add_security_event(&mut self, event: &SecurityEvent) -> Result<(), StoreError> {
        let detail = serde_json::to_string(&event.detail)
            .map_err(|_| StoreError::corrupt("an event's detail that cannot be written"))?;
        execute!(
            self,
            sqlx::query(ADD)
                .bind(event.id)
                .bind(event.at)
                .bind(event.kind.as_str())
                .bind(event.severity.as_str())
                .bind(event.user_id)
                .bind(event.organization)
                .bind(event.ip.map(|ip| ip.to_string()))
                .bind(detail)
        )
        .map(|_| ())
    }

    async fn note_key_network(&mut self, key: KeyId, network: &str, at: Timestamp) -> Result<KeyNetwork, StoreError> {
        let known: Option<(String,)> = within!(self, conn =>
            sqlx::query_as(SEEN_THERE).bind(key).bind(network).bind(at).fetch_optional(conn))?;
        if known.is_some() {
            return Ok(KeyNetwork::Known);
        }
        let other: Option<(String,)> =
            within!(self, conn => sqlx::query_as(OTHER_NETWORK).bind(key).fetch_optional(conn))?;
        let added = execute!(self, sqlx::query(REMEMBER_THERE).bind(key).bind(network).bind(at))?;
        Ok(match (added, other) {
            // Another node was first, or the key has gone.
            (0, _) => KeyNetwork::Known,
            (_, None) => KeyNetwork::First,
            (_, Some(_)) => KeyNetwork::New,
        })
    }

    /// Remembers on what a user signs in.
    pub(super) async fn remember_device(
        &mut self,
        user: UserId,
        device: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        execute!(self, sqlx::query(REMEMBER_DEVICE).bind(user).bind(device).bind(at)).map(|_| ())
    }
}
