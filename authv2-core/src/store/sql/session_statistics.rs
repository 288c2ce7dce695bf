//! Statistics of sessions in SQL.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::{live, not_ended},
    pool::{execute, read},
};
use crate::{
    clock::Timestamp,
    store::{LiveSessions, SessionPeak, SessionStatisticsStore, StoreError},
};

const LIVE: &str =
    concat!("SELECT device, org_id, COUNT(*) AS count FROM sessions WHERE ", live!("$1"), " GROUP BY device, org_id");

/// What ran out lasted until its last use. Each branch is a range of an index; none finds a session of another.
macro_rules! ended {
    () => {
        concat!(
            "WITH ended AS (
                SELECT revoked_at - opened_at AS duration FROM sessions WHERE revoked_at >= $1 AND revoked_at <= $2
                UNION ALL
                SELECT last_seen_at - opened_at FROM sessions
                WHERE idle_expires_at >= $1 AND idle_expires_at <= $2 AND idle_expires_at <= expires_at AND ",
            not_ended!(),
            " UNION ALL
                SELECT last_seen_at - opened_at FROM sessions
                WHERE expires_at >= $1 AND expires_at <= $2 AND expires_at < idle_expires_at AND ",
            not_ended!(),
            ")"
        )
    };
}

/// The lower of the two in the middle, where they are two.
const MEDIAN: &str = concat!(
    ended!(),
    " SELECT duration FROM ended ORDER BY duration LIMIT 1 OFFSET (SELECT (COUNT(*) - 1) / 2 FROM ended)"
);

const CLAIM: &str = "INSERT INTO session_samples (minute, active) VALUES ($1, NULL) ON CONFLICT (minute) DO NOTHING";

const FILL: &str = "UPDATE session_samples SET active = $2 WHERE minute = $1";

const LAST: &str = "SELECT active FROM session_samples WHERE active IS NOT NULL ORDER BY minute DESC LIMIT 1";

const PEAKS: &str = "SELECT minute / $2 * $2 AS start, MAX(active) AS active FROM session_samples
    WHERE minute >= $1 AND active IS NOT NULL GROUP BY 1 ORDER BY 1";

/// Those that must not read a whole table: the count of live sessions does, once a minute on one node, and the latest
/// sample begins to and ends at the first.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[MEDIAN, PEAKS];

#[async_trait]
impl SessionStatisticsStore for SqlStore {
    async fn live_sessions(&self, now: Timestamp) -> Result<Vec<LiveSessions>, StoreError> {
        read!(self, pool => sqlx::query_as(LIVE).bind(now).fetch_all(pool))
    }

    async fn median_session(&self, since: Timestamp, until: Timestamp) -> Result<Option<Duration>, StoreError> {
        let median: Option<(i64,)> =
            read!(self, pool => sqlx::query_as(MEDIAN).bind(since).bind(until).fetch_optional(pool))?;
        // Clocks differ: a session may have been used before it was opened.
        Ok(median.map(|(micros,)| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
    }

    async fn claim_session_sample(&self, minute: i64) -> Result<bool, StoreError> {
        self.write(move |tx| Box::pin(async move { Ok(execute!(tx, sqlx::query(CLAIM).bind(minute))? == 1) })).await
    }

    async fn note_session_sample(&self, minute: i64, active: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move { execute!(tx, sqlx::query(FILL).bind(minute).bind(active)).map(|_| ()) })
        })
        .await
    }

    async fn last_session_sample(&self) -> Result<Option<i64>, StoreError> {
        let last: Option<(i64,)> = read!(self, pool => sqlx::query_as(LAST).fetch_optional(pool))?;
        Ok(last.map(|(active,)| active))
    }

    async fn session_peaks(&self, since_minute: i64, width: u32) -> Result<Vec<SessionPeak>, StoreError> {
        read!(self, pool =>
            sqlx::query_as(PEAKS).bind(since_minute).bind(i64::from(width.max(1))).fetch_all(pool))
    }
}
