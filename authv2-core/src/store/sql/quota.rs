//! Quotas of API keys in SQL.

use async_trait::async_trait;

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
    store::{QuotaBlock, QuotaDraw, QuotaPeriod, QuotaReturn, QuotaStore, StoreError},
};

/// Turns to the window given, unless the one that is there goes on, and locks the row. One that begins after the end of
/// the window given was begun by a clock that was far ahead, and does not go on.
const TURN: &str = "INSERT INTO key_quotas (org_id, key_id, period, window_start, window_end, drawn)
    VALUES ($1, $2, $3, $4, $5, 0)
    ON CONFLICT (org_id, key_id) DO UPDATE SET
        drawn = CASE WHEN key_quotas.period = excluded.period AND key_quotas.window_end > $6
                AND key_quotas.window_start <= excluded.window_end
            THEN key_quotas.drawn ELSE 0 END,
        window_start = CASE WHEN key_quotas.period = excluded.period AND key_quotas.window_end > $6
                AND key_quotas.window_start <= excluded.window_end
            THEN key_quotas.window_start ELSE excluded.window_start END,
        window_end = CASE WHEN key_quotas.period = excluded.period AND key_quotas.window_end > $6
                AND key_quotas.window_start <= excluded.window_end
            THEN key_quotas.window_end ELSE excluded.window_end END,
        period = excluded.period
    RETURNING window_start, window_end, drawn";

const DRAW: &str = "UPDATE key_quotas SET drawn = drawn + $3 WHERE org_id = $1 AND key_id = $2";

const RETURN: &str = "UPDATE key_quotas SET drawn = drawn - $5
    WHERE org_id = $1 AND key_id = $2 AND window_start = $3 AND window_end = $4 AND drawn >= $5";

/// The window that goes on, if nothing is left of it.
const USED_UP: &str = "SELECT window_start, window_end FROM key_quotas
    WHERE org_id = $1 AND key_id = $2 AND period = $3 AND drawn >= $4 AND window_start <= $5 AND window_end > $5";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[DRAW, RETURN, USED_UP];

#[async_trait]
impl QuotaStore for SqlStore {
    async fn draw_quota(&self, draw: QuotaDraw) -> Result<Option<QuotaBlock>, StoreError> {
        // Whoever goes on asking of a window that is used up must not cost a write each time.
        if let Some((start, end)) = self.used_up(&draw).await? {
            return Ok(Some(QuotaBlock { units: 0, window: Span { start, end } }));
        }
        self.write(move |tx| Box::pin(async move { tx.draw_quota(&draw).await })).await
    }

    async fn return_quota(&self, mut returns: Vec<QuotaReturn>) -> Result<(), StoreError> {
        // In one order, so that two nodes cannot block each other.
        returns.sort_unstable_by_key(|returned| (returned.organization, returned.key));
        self.write(move |tx| {
            Box::pin(async move {
                for returned in &returns {
                    tx.return_quota(returned).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl SqlStore {
    async fn used_up(&self, draw: &QuotaDraw) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let QuotaDraw { organization, key, quota, now, .. } = *draw;
        let requests = i64::try_from(quota.requests).unwrap_or(i64::MAX);
        read_within!(self, Scope::Organization(organization), conn => sqlx::query_as(USED_UP)
            .bind(organization)
            .bind(key)
            .bind(quota.period.as_str())
            .bind(requests)
            .bind(now)
            .fetch_optional(conn))
    }
}

impl Tx {
    /// The calendar of a key's organization; `None` if the key has gone. It stays until the transaction ends.
    pub(super) async fn keep_key(&mut self, organization: OrgId, key: KeyId) -> Result<Option<Calendar>, StoreError> {
        let sql = self.texts().keep_key;
        let kept: Option<(String,)> =
            within!(self, conn => sqlx::query_as(sql).bind(organization).bind(key).fetch_optional(conn))?;
        Ok(kept.map(|(zone,)| Calendar::of(&zone)))
    }

    async fn draw_quota(&mut self, draw: &QuotaDraw) -> Result<Option<QuotaBlock>, StoreError> {
        let QuotaDraw { organization, key, quota, wanted, now } = *draw;
        self.enter(Scope::Organization(organization)).await?;
        let Some(calendar) = self.keep_key(organization, key).await? else { return Ok(None) };
        let span = match quota.period {
            QuotaPeriod::Day => calendar.day(now),
            QuotaPeriod::Month => calendar.month(now),
        };
        let span = span.ok_or_else(|| StoreError::corrupt("a moment outside of every calendar"))?;
        let (start, end, drawn): (Timestamp, Timestamp, i64) = within!(self, conn => sqlx::query_as(TURN)
            .bind(organization)
            .bind(key)
            .bind(quota.period.as_str())
            .bind(span.start)
            .bind(span.end)
            .bind(now)
            .fetch_one(conn))?;
        let left = i64::try_from(quota.requests).unwrap_or(i64::MAX).saturating_sub(drawn);
        let units = QuotaBlock::units(u64::try_from(left).unwrap_or(0), wanted);
        if units > 0 {
            let drawn = i64::try_from(units).map_err(|_| StoreError::corrupt("a block beyond all numbers"))?;
            execute!(self, sqlx::query(DRAW).bind(organization).bind(key).bind(drawn))?;
        }
        Ok(Some(QuotaBlock { units, window: Span { start, end } }))
    }

    async fn return_quota(&mut self, returned: &QuotaReturn) -> Result<(), StoreError> {
        let QuotaReturn { organization, key, window, units } = *returned;
        self.enter(Scope::Organization(organization)).await?;
        execute!(
            self,
            sqlx::query(RETURN)
                .bind(organization)
                .bind(key)
                .bind(window.start)
                .bind(window.end)
                .bind(i64::try_from(units).unwrap_or(i64::MAX))
        )?;
        Ok(())
    }
}
