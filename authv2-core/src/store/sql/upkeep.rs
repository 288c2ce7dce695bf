//! Care of the database, and reading the feed's table and the audit trail.

use async_trait::async_trait;

use super::{
    SqlStore, Writes, challenge, device, link, mail,
    pool::{Readers, execute, read},
    security,
    tx::Tx,
};
use crate::{
    clock::Timestamp,
    store::{AuditRecord, PurgeBefore, StoreError, Upkeep},
};

/// One purge removes a bounded number of rows of a kind, which bounds how long it holds the writer. So the tokens of a
/// dead session go first, by themselves, and the session once it has none: a cascade knows no bound.
macro_rules! purge_sessions {
    ($dead:literal) => {
        [
            concat!(
                "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens
                 JOIN sessions ON sessions.session_id = refresh_tokens.session_id WHERE ",
                $dead,
                " LIMIT 1000)"
            ),
            concat!(
                "DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions WHERE ",
                $dead,
                " AND NOT EXISTS (SELECT 1 FROM refresh_tokens
                    WHERE refresh_tokens.session_id = sessions.session_id) LIMIT 1000)"
            ),
        ]
    };
}

const PURGE_SESSIONS: [[&str; 2]; 3] = [
    purge_sessions!("sessions.idle_expires_at < $1"),
    purge_sessions!("sessions.expires_at < $1"),
    purge_sessions!("sessions.revoked_at < $1"),
];
const PURGE_NETWORKS: &str = "DELETE FROM known_networks WHERE (user_id, network) IN
    (SELECT user_id, network FROM known_networks WHERE last_login_at < $1 LIMIT 1000)";
macro_rules! purge_counters {
    ($busy:literal) => {
        concat!(
            "DELETE FROM login_throttle WHERE bucket IN
            (SELECT bucket FROM login_throttle WHERE touched_at < $1 AND blocked_until < $1 AND ends_at < $1
                LIMIT 1000",
            $busy,
            ")"
        )
    };
}

#[cfg(feature = "sqlite")]
pub(super) const PURGE_COUNTERS: &str = purge_counters!("");
/// Leaves a counter that somebody is at: whoever counts locks several, in an order that this one does not keep.
#[cfg(feature = "postgres")]
pub(super) const PURGE_FREE_COUNTERS: &str = purge_counters!(" FOR UPDATE SKIP LOCKED");
const PURGE_PROOFS: &str = "DELETE FROM used_proofs WHERE proof IN
    (SELECT proof FROM used_proofs WHERE expires_at < $1 LIMIT 1000)";
const PURGE_SAMPLES: &str = "DELETE FROM session_samples WHERE minute IN
    (SELECT minute FROM session_samples WHERE minute < $1 / 60000000 LIMIT 1000)";

const PURGE_TOKENS: &str = "DELETE FROM revoked_tokens WHERE token_id IN
    (SELECT token_id FROM revoked_tokens WHERE expires_at < $1 LIMIT 1000)";

const RECENT_AUDIT: &str = "SELECT at, action, outcome, actor_kind, actor_id, org_id, target, ip, request_id, reason
    FROM audit ORDER BY seq DESC LIMIT $1";

#[async_trait]
impl Upkeep for SqlStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        match &self.readers {
            #[cfg(feature = "sqlite")]
            Readers::Sqlite(_) => Ok(crate::clock::SystemClock::wall()),
            #[cfg(feature = "postgres")]
            Readers::Postgres(_) => {
                let (micros,): (i64,) = read!(self, pool => sqlx::query_as(
                    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
                ).fetch_one(pool))?;
                Ok(Timestamp::from_micros(micros))
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let _: (String,) = read!(self, pool =>
            sqlx::query_as("SELECT COALESCE((SELECT value FROM deployment LIMIT 1), '')").fetch_one(pool))?;
        Ok(())
    }

    async fn purge(&self, before: PurgeBefore) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut gone = 0;
                for sql in PURGE_SESSIONS.as_flattened() {
                    gone += tx.affected(sql, before.sessions).await?;
                }
                for (sql, before) in [
                    (PURGE_NETWORKS, before.networks),
                    (security::PURGE_DEVICES, before.networks),
                    (device::PURGE, before.devices),
                    (security::PURGE_KEY_NETWORKS, before.networks),
                    (security::PURGE, before.events),
                    (tx.texts().purge_counters, before.counters),
                    (PURGE_SAMPLES, before.samples),
                    (PURGE_TOKENS, before.tokens),
                    (link::PURGE, before.tokens),
                    (mail::PURGE, before.tokens),
                    (PURGE_PROOFS, before.proofs),
                    (challenge::PURGE, before.challenges),
                ] {
                    gone += tx.affected(sql, before).await?;
                }
                gone += tx.trim_changes(before.changes).await?;
                Ok(gone)
            })
        })
        .await
    }

    async fn recent_audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        read!(self, pool => sqlx::query_as(RECENT_AUDIT).bind(i64::from(limit)).fetch_all(pool))
    }

    async fn close(&self) {
        match &self.writes {
            #[cfg(feature = "sqlite")]
            Writes::Queue(queue) => {
                queue.close().await;
                self.writer.close().await;
            }
            #[cfg(feature = "postgres")]
            Writes::Pool(_) => {}
        }
        for readers in [&self.readers, &self.lookout] {
            match readers {
                #[cfg(feature = "sqlite")]
                Readers::Sqlite(pool) => pool.close().await,
                #[cfg(feature = "postgres")]
                Readers::Postgres(leases) => leases.close().await,
            }
        }
    }
}

impl Tx {
    async fn affected(&mut self, sql: &'static str, before: Timestamp) -> Result<u64, StoreError> {
        execute!(self, sqlx::query(sql).bind(before))
    }
}
