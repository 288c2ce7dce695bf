//! Metering of API keys: quotas, and what keys are used for.
//!
//! Each key has a meter on each node that it is used on. Its quota is drawn from the store in blocks, and what was
//! drawn is served from memory; what a node has drawn and not served when it dies is lost, so that a quota is never
//! exceeded. Uses are counted in memory and written every few seconds: what a crash loses is as much of the statistics.

mod allowance;
mod counts;
mod meter;
mod pending;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;

use self::pending::Pending;
pub(crate) use self::{allowance::Verdict, meter::Meter};
use crate::{
    changes::{Change, Feed, Listener},
    clock::Timestamp,
    id::{KeyId, NodeId, OrgId},
    store::{KeyQuota, KeyUsageBefore, QuotaDraw, QuotaReturn, SharedStore, StoreError},
};

/// Old uses are added up once in this time.
const TENDED: Duration = Duration::from_secs(23 * 3600);
/// The most keys whose quotas are given back in one write: it must not keep other writers waiting.
const RETURNED: usize = 100;
/// How long a batch is known that was added: longer than a node would send it again.
const SENT_AGAIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A class of routes that uses are counted by: one of a closed set, never what a caller sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteClass(&'static str);

impl RouteClass {
    /// What has no class of its own.
    pub const OTHER: Self = Self("other");

    /// The class of that name: the pattern of a route, or what an application calls a group of its routes.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// How a request by a key came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Allowed = 0,
    Denied = 1,
    RateLimited = 2,
}

impl Outcome {
    /// By what it was answered with.
    pub(crate) fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited,
            _ => Self::Allowed,
        }
    }
}

/// The meters of this node.
#[derive(Debug)]
pub(crate) struct Metering {
    store: SharedStore,
    node: NodeId,
    meters: Arc<Meters>,
    /// What was counted and is not written yet. Held while it is written: one writes at a time.
    pending: tokio::sync::Mutex<Pending>,
    /// When this node last tended to old uses, all the way.
    tended_at: Mutex<Option<Timestamp>>,
}

#[derive(Debug, Default)]
struct Meters {
    by_key: Mutex<HashMap<KeyId, Arc<Meter>>>,
    /// What is to be given back.
    returns: Mutex<Vec<QuotaReturn>>,
}

impl Metering {
    pub(crate) fn new(store: SharedStore, feed: &Feed) -> Self {
        let meters = Arc::<Meters>::default();
        feed.listen(Arc::clone(&meters) as _);
        Self { store, node: NodeId::new(), meters, pending: tokio::sync::Mutex::default(), tended_at: Mutex::default() }
    }

    /// The meter of a key: to be kept beside what is known of it, since this takes a lock.
    pub(crate) fn meter(&self, organization: OrgId, key: KeyId) -> Arc<Meter> {
        let meter = || Arc::new(Meter::new(organization, key));
        Arc::clone(lock(&self.meters.by_key).entry(key).or_insert_with(meter))
    }

    /// What becomes of a request whose quota is not [at hand](Meter::at_hand). Those who wait are drawn for together.
    ///
    /// # Errors
    /// The store's: an outage says nothing about the quota.
    pub(crate) async fn draw(
        &self,
        meter: &Arc<Meter>,
        quota: KeyQuota,
        now: Timestamp,
    ) -> Result<Verdict, StoreError> {
        let _waiting = meter.allowance.wait();
        loop {
            let turn = Arc::clone(&meter.allowance.drawing).lock_owned().await;
            if let Some(verdict) = meter.at_hand(quota, now) {
                return Ok(verdict);
            }
            let wanted = meter.allowance.wanted();
            let draw = QuotaDraw { organization: meter.organization, key: meter.key, quota, wanted, now };
            let (store, meter) = (Arc::clone(&self.store), Arc::clone(meter));
            // By itself, since a caller that goes away must not take what was drawn with it.
            let drawn = tokio::spawn(async move {
                let _turn = turn;
                if !meter.allowance.is_of(quota)
                    && let Some(returned) = meter.give_back()
                {
                    store.return_quota(vec![returned]).await?;
                }
                let block = store.draw_quota(draw).await?;
                if let Some(block) = block {
                    meter.allowance.add(quota, block, now);
                }
                Ok::<_, StoreError>(block.is_some())
            });
            let is_there = drawn.await.unwrap_or_else(|_| Err(StoreError::unavailable("the draw was given up")))?;
            if !is_there {
                return Ok(Verdict::Gone);
            }
        }
    }

    /// Writes what was counted, and gives back what keys that are not used any more have of their quotas.
    ///
    /// # Errors
    /// The store's: what was counted is written the next time.
    pub(crate) async fn write_behind(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut pending = self.pending.lock().await;
        self.meters.drain(now, &mut pending);
        self.meters.give_back(&self.store).await;
        loop {
            match pending.take_uses() {
                uses if uses.is_empty() => break,
                uses => self.store.note_key_uses(uses).await?,
            }
        }
        while let Some(batch) = pending.next(now) {
            self.store.add_key_usage(batch).await?;
            pending.written();
        }
        Ok(())
    }

    /// Adds old hours up by day, and removes old days: after these times. Once a day, by whichever node comes first.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn tend(&self, now: Timestamp, (hours, days): (Duration, Duration)) -> Result<(), StoreError> {
        // Whoever holds the lease would get it anew each time.
        let is_recent = |at: Timestamp| at <= now && now.since(at) < TENDED;
        if lock(&self.tended_at).is_some_and(is_recent) {
            return Ok(());
        }
        if !self.store.take_lease("tend key usage", self.node, now, now + TENDED).await? {
            return Ok(());
        }
        let before = KeyUsageBefore { hours: now - hours, days: now - days, batches: now - SENT_AGAIN };
        let mut after = None;
        loop {
            after = self.store.tend_key_usage(after, before).await?;
            if after.is_none() {
                *lock(&self.tended_at) = Some(now);
                return Ok(());
            }
        }
    }

    /// Writes what was counted and gives back what was drawn: for the end, when nobody comes any more.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn close(&self, now: Timestamp) -> Result<(), StoreError> {
        self.meters.take_out_all();
        self.write_behind(now).await
    }
}

impl Meters {
    /// Moves what was counted to `pending`, and lets go of keys that nobody uses.
    fn drain(&self, now: Timestamp, pending: &mut Pending) {
        let mut returns = Vec::new();
        lock(&self.by_key).retain(|_, meter| {
            // Asked first: new handles are made under this lock alone, so that nobody counts on this one after it.
            let is_alone = Arc::get_mut(meter).is_some();
            meter.drain(now, pending);
            let is_idle = meter.is_idle(now);
            if is_idle {
                returns.extend(meter.give_back());
            }
            !(is_idle && is_alone)
        });
        lock(&self.returns).append(&mut returns);
    }

    fn take_out_all(&self) {
        let returns: Vec<_> = lock(&self.by_key).values().filter_map(|meter| meter.give_back()).collect();
        lock(&self.returns).extend(returns);
    }

    /// Each tried once: after a failure nobody knows whether it was done, and what is given back twice is served twice.
    /// What was not tried waits for the next time.
    async fn give_back(&self, store: &SharedStore) {
        loop {
            let batch = {
                let mut returns = lock(&self.returns);
                let rest = returns.len().saturating_sub(RETURNED);
                returns.split_off(rest)
            };
            if batch.is_empty() {
                return;
            }
            if let Err(error) = store.return_quota(batch).await {
                tracing::warn!(%error, "what was drawn of quotas and not served is lost");
                return;
            }
        }
    }
}

impl Listener for Meters {
    fn apply(&self, change: &Change) {
        // The store may be an older one, in which this was never drawn: it is lost.
        if *change == Change::Everything {
            for meter in lock(&self.by_key).values() {
                meter.allowance.take_out();
            }
            lock(&self.returns).clear();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod tests;
