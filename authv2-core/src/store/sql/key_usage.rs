//! What API keys are used for, in SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    SqlStore,
    pool::{execute, read_within, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    calendar::{Calendar, Span},
    clock::Timestamp,
    id::{KeyId, OrgId},
    store::{KeyCount, KeyUsageBatch, KeyUsageBefore, KeyUsageRow, KeyUsageStore, StoreError, Uses},
};

/// How many keys are tended in one write.
const PAGE: usize = 100;

const CLAIM: &str = "INSERT INTO key_usage_batches (batch_id, at) VALUES ($1, $2) ON CONFLICT (batch_id) DO NOTHING";

const ADD_TO_HOUR: &str = "INSERT INTO key_usage_hours
        (org_id, key_id, start, route, day, allowed, denied, rate_limited)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (org_id, key_id, start, route) DO UPDATE SET
        allowed = key_usage_hours.allowed + excluded.allowed,
        denied = key_usage_hours.denied + excluded.denied,
        rate_limited = key_usage_hours.rate_limited + excluded.rate_limited";

const ADD_TO_DAY: &str = "INSERT INTO key_usage_days
        (org_id, key_id, start, route, allowed, denied, rate_limited)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (org_id, key_id, start, route) DO UPDATE SET
        allowed = key_usage_days.allowed + excluded.allowed,
        denied = key_usage_days.denied + excluded.denied,
        rate_limited = key_usage_days.rate_limited + excluded.rate_limited";

/// PostgreSQL's sum is wider than what it sums.
const USAGE: &str = "SELECT start, CAST(SUM(allowed) AS BIGINT) AS allowed, CAST(SUM(denied) AS BIGINT) AS denied,
        CAST(SUM(rate_limited) AS BIGINT) AS rate_limited
    FROM (SELECT start, allowed, denied, rate_limited FROM key_usage_hours
            WHERE org_id = $1 AND key_id = $2 AND start >= $3 AND start < $4
        UNION ALL SELECT start, allowed, denied, rate_limited FROM key_usage_days
            WHERE org_id = $1 AND key_id = $2 AND start >= $3 AND start < $4) counted
    GROUP BY start ORDER BY start";

const TAKE_HOURS: &str = "DELETE FROM key_usage_hours WHERE org_id = $1 AND key_id = $2 AND day < $3
    RETURNING day, route, allowed, denied, rate_limited";

const REMOVE_DAYS: &str = "DELETE FROM key_usage_days WHERE org_id = $1 AND key_id = $2 AND start < $3";

/// A bounded number of keys, of whatever organization.
const KEYS: &str = "SELECT key_id, org_id FROM api_key_homes WHERE key_id > $1 ORDER BY key_id LIMIT $2";

const REMOVE_BATCHES: &str = "DELETE FROM key_usage_batches WHERE batch_id IN
    (SELECT batch_id FROM key_usage_batches WHERE at < $1 LIMIT 10000)";

/// How many of them that removes at most.
const REMOVED: u64 = 10_000;

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[USAGE, TAKE_HOURS, REMOVE_DAYS, KEYS, REMOVE_BATCHES];

#[async_trait]
impl KeyUsageStore for SqlStore {
    async fn add_key_usage(&self, batch: KeyUsageBatch) -> Result<(), StoreError> {
        let (id, at) = (batch.id, batch.at);
        let keys = by_key(batch);
        self.write(move |tx| {
            Box::pin(async move {
                // Whoever sends it again while this is under way waits here for its end.
                if execute!(tx, sqlx::query(CLAIM).bind(id).bind(at))? == 0 {
                    return Ok(());
                }
                for ((organization, key), counts) in &keys {
                    tx.add_uses(*organization, *key, counts).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn key_usage(&self, organization: OrgId, key: KeyId, span: Span) -> Result<Vec<KeyUsageRow>, StoreError> {
        read_within!(self, Scope::Organization(organization), conn => sqlx::query_as(USAGE)
            .bind(organization)
            .bind(key)
            .bind(span.start)
            .bind(span.end)
            .fetch_all(conn))
    }

    async fn tend_key_usage(&self, after: Option<KeyId>, before: KeyUsageBefore) -> Result<Option<KeyId>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let after = after.unwrap_or_else(|| KeyId::from(Uuid::nil()));
                let page = i64::try_from(PAGE).unwrap_or(i64::MAX);
                let keys: Vec<(KeyId, OrgId)> =
                    within!(tx, conn => sqlx::query_as(KEYS).bind(after).bind(page).fetch_all(conn))?;
                for (key, organization) in &keys {
                    tx.tend_usage(*organization, *key, before).await?;
                }
                let last = keys.last().map_or(after, |(key, _)| *key);
                if keys.len() == PAGE {
                    return Ok(Some(last));
                }
                let removed = execute!(tx, sqlx::query(REMOVE_BATCHES).bind(before.batches))?;
                // There may be more of them: on from where no key is left.
                Ok((removed >= REMOVED).then_some(last))
            })
        })
        .await
    }
}

/// By organization and key: two nodes that write at the same time lock the same rows one after the other.
fn by_key(batch: KeyUsageBatch) -> BTreeMap<(OrgId, KeyId), Vec<KeyCount>> {
    let mut keys = BTreeMap::<_, Vec<KeyCount>>::new();
    for count in batch.counts {
        keys.entry((count.organization, count.key)).or_default().push(count);
    }
    for counts in keys.values_mut() {
        counts.sort_unstable_by_key(|count| (count.quarter, count.route));
    }
    keys
}

/// The hour of a count, and its day.
fn place(calendar: &Calendar, quarter: Timestamp) -> Result<(Timestamp, Timestamp), StoreError> {
    let placed = calendar.hour(quarter).zip(calendar.day(quarter));
    let (hour, day) = placed.ok_or_else(|| StoreError::corrupt("a moment outside of every calendar"))?;
    // Where clocks were set back by less than an hour at midnight, the hour has begun on the day before.
    Ok((hour.max(day.start), day.start))
}

impl Tx {
    async fn add_uses(&mut self, organization: OrgId, key: KeyId, counts: &[KeyCount]) -> Result<(), StoreError> {
        self.enter(Scope::Organization(organization)).await?;
        let Some(calendar) = self.keep_key(organization, key).await? else { return Ok(()) };
        for count in counts {
            let (hour, day) = place(&calendar, count.quarter)?;
            let Uses { allowed, denied, rate_limited } = count.uses;
            execute!(
                self,
                sqlx::query(ADD_TO_HOUR)
                    .bind(organization)
                    .bind(key)
                    .bind(hour)
                    .bind(count.route)
                    .bind(day)
                    .bind(allowed)
                    .bind(denied)
                    .bind(rate_limited)
            )?;
        }
        Ok(())
    }

    async fn tend_usage(&mut self, organization: OrgId, key: KeyId, before: KeyUsageBefore) -> Result<(), StoreError> {
        self.enter(Scope::Organization(organization)).await?;
        if self.keep_key(organization, key).await?.is_none() {
            return Ok(());
        }
        let hours: Vec<(Timestamp, String, i64, i64, i64)> = within!(self, conn => sqlx::query_as(TAKE_HOURS)
            .bind(organization)
            .bind(key)
            .bind(before.hours)
            .fetch_all(conn))?;
        let mut days = BTreeMap::<(Timestamp, String), Uses>::new();
        for (day, route, allowed, denied, rate_limited) in hours {
            *days.entry((day, route)).or_default() += Uses { allowed, denied, rate_limited };
        }
        for ((day, route), Uses { allowed, denied, rate_limited }) in days {
            execute!(
                self,
                sqlx::query(ADD_TO_DAY)
                    .bind(organization)
                    .bind(key)
                    .bind(day)
                    .bind(route)
                    .bind(allowed)
                    .bind(denied)
                    .bind(rate_limited)
            )?;
        }
        execute!(self, sqlx::query(REMOVE_DAYS).bind(organization).bind(key).bind(before.days))?;
        Ok(())
    }
}
