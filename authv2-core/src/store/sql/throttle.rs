//! Counters of failed sign-ins in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    dialect::LISTED,
    pool::{execute, read, within},
    tx::Tx,
};
use crate::{
    audit::Act,
    clock::Timestamp,
    id::DeviceId,
    store::{Attempts, Bucket, BucketRule, SignInFacts, SignInQuery, StoreError, ThrottleStore, UserRecord},
};

const USER_AND_PLACE: &str = "SELECT users.*, known.last_login_at AS known_at, device.last_login_at AS device_at,
        (SELECT MAX(last_login_at) FROM known_devices WHERE user_id = users.id) AS devices_at,
        devices.device_id AS known_device
    FROM users
    LEFT JOIN known_networks known
        ON known.user_id = users.id AND known.network = $2 AND known.last_login_at > $3
    LEFT JOIN known_devices device
        ON device.user_id = users.id AND device.device = $4 AND device.last_login_at > $3
    LEFT JOIN devices ON devices.device_id = $5 AND devices.user_id = users.id
    WHERE users.email_key = $1";

const ATTEMPTS: &str = "SELECT bucket, count, window_start, blocked_until FROM login_throttle
    WHERE bucket IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

const CLEAR: &str = "DELETE FROM login_throttle WHERE bucket = $1";

const COUNT: &str = "INSERT INTO login_throttle (bucket, count, window_start, blocked_until, touched_at, ends_at)
    VALUES ($1, 1, $2, 0, $2, $2 + $3)
    ON CONFLICT (bucket) DO UPDATE SET
        count = CASE WHEN login_throttle.window_start + $3 <= $2 THEN 1 ELSE login_throttle.count + 1 END,
        window_start = CASE WHEN login_throttle.window_start + $3 <= $2 THEN $2 ELSE login_throttle.window_start END,
        touched_at = $2, ends_at = $2 + $3
    RETURNING count";

const BLOCK: &str = "UPDATE login_throttle SET blocked_until = $2 WHERE bucket = $1 AND blocked_until < $2";

#[derive(sqlx::FromRow)]
struct AttemptsRow {
    bucket: Vec<u8>,
    count: i64,
    window_start: Timestamp,
    blocked_until: Timestamp,
}

impl TryFrom<AttemptsRow> for Attempts {
    type Error = StoreError;

    fn try_from(row: AttemptsRow) -> Result<Self, StoreError> {
        let AttemptsRow { bucket, count, window_start, blocked_until } = row;
        let bucket = bucket.try_into().map_err(|_| StoreError::corrupt("a counter's name has another length"))?;
        Ok(Self { bucket, count, window_start, blocked_until })
    }
}

#[derive(sqlx::FromRow)]
struct UserAndPlace {
    #[sqlx(flatten)]
    user: UserRecord,
    known_at: Option<Timestamp>,
    device_at: Option<Timestamp>,
    devices_at: Option<Timestamp>,
    known_device: Option<DeviceId>,
}

/// Cuts `buckets` into lists as long as the statements' placeholders; the last is filled up with its first member.
fn listed(buckets: &[Bucket]) -> impl Iterator<Item = [Bucket; LISTED]> {
    buckets.chunks(LISTED).filter_map(|chunk| {
        let mut list = [*chunk.first()?; LISTED];
        for (place, bucket) in list.iter_mut().zip(chunk) {
            *place = *bucket;
        }
        Some(list)
    })
}

#[async_trait]
impl ThrottleStore for SqlStore {
    async fn sign_in_facts(&self, query: SignInQuery) -> Result<SignInFacts, StoreError> {
        let found: Option<UserAndPlace> = read!(self, pool => sqlx::query_as(USER_AND_PLACE)
            .bind(&query.email_key)
            .bind(query.network.as_deref().unwrap_or_default())
            .bind(query.known_since)
            .bind(query.device.as_deref().unwrap_or_default())
            .bind(query.presented)
            .fetch_optional(pool))?;
        let attempts = self.attempts(&query.buckets).await?;
        let Some(UserAndPlace { user, known_at, device_at, devices_at, known_device }) = found else {
            let (known_network, new_device) = (false, false);
            return Ok(SignInFacts { user: None, known_network, new_device, known_device: None, attempts });
        };
        // Where no device is known, none is news.
        let new_device = query.device.is_some() && device_at.is_none() && devices_at.is_some();
        Ok(SignInFacts { user: Some(user), known_network: known_at.is_some(), new_device, known_device, attempts })
    }

    async fn attempts(&self, buckets: &[Bucket]) -> Result<Vec<Attempts>, StoreError> {
        let mut attempts = Vec::new();
        for list in listed(buckets) {
            let rows: Vec<AttemptsRow> = read!(self, pool => {
                let mut query = sqlx::query_as(ATTEMPTS);
                for bucket in &list {
                    query = query.bind(bucket.as_slice());
                }
                query.fetch_all(pool)
            })?;
            for row in rows {
                attempts.push(row.try_into()?);
            }
        }
        Ok(attempts)
    }

    async fn count_failure(&self, buckets: Vec<BucketRule>, act: Act) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.count_attempts(&buckets, act.at).await?;
                tx.record(&act).await
            })
        })
        .await
    }
}

impl Tx {
    /// Counts an attempt on each counter, in one order everywhere, so that two nodes cannot block each other.
    pub(super) async fn count_attempts(&mut self, rules: &[BucketRule], at: Timestamp) -> Result<(), StoreError> {
        let mut rules: Vec<&BucketRule> = rules.iter().collect();
        rules.sort_unstable_by_key(|rule| rule.bucket);
        for rule in rules {
            self.count_attempt(rule, at).await?;
        }
        Ok(())
    }

    async fn count_attempt(&mut self, rule: &BucketRule, at: Timestamp) -> Result<(), StoreError> {
        let window = i64::try_from(rule.window.as_micros()).unwrap_or(i64::MAX);
        let (count,): (i64,) = within!(self, conn => sqlx::query_as(COUNT)
            .bind(rule.bucket.as_slice())
            .bind(at)
            .bind(window)
            .fetch_one(conn))?;
        let Some(wait) = rule.wait_after(count) else { return Ok(()) };
        execute!(self, sqlx::query(BLOCK).bind(rule.bucket.as_slice()).bind(at + wait)).map(|_| ())
    }

    /// Removes counters, in the same order.
    pub(super) async fn clear_attempts(&mut self, buckets: &[Bucket]) -> Result<(), StoreError> {
        let mut buckets = buckets.to_vec();
        buckets.sort_unstable();
        for bucket in buckets {
            execute!(self, sqlx::query(CLEAR).bind(bucket.as_slice()))?;
        }
        Ok(())
    }
}
