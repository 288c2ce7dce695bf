//! The meter of one key on this node: what it may still use, and what it has used.

use std::{
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{Outcome, RouteClass, Verdict, allowance::Allowance, counts::Counts, pending::Pending};
use crate::{
    clock::Timestamp,
    id::{KeyId, OrgId},
    store::{KeyQuota, QuotaReturn},
};

/// How long a last use stands for those after it, in microseconds.
const SAME_USE: i64 = 1_000_000;

/// How long a key that is not used keeps what was drawn for it, in microseconds.
const IDLE: i64 = 60_000_000;

/// The meter of one key.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(super) organization: OrgId,
    pub(super) key: KeyId,
    pub(super) allowance: Allowance,
    counts: Counts,
    used_at: AtomicI64,
    last_use: Mutex<Option<(Timestamp, Option<IpAddr>)>>,
}

impl Meter {
    pub(super) fn new(organization: OrgId, key: KeyId) -> Self {
        Self {
            organization,
            key,
            allowance: Allowance::new(),
            counts: Counts::default(),
            used_at: AtomicI64::new(i64::MIN),
            last_use: Mutex::default(),
        }
    }

    /// What becomes of a request by the key's quota, where that is known without asking anybody: no lock, no I/O, no
    /// memory. Else [`draw`](super::Metering::draw) tells. What is granted is used up.
    #[inline]
    pub(crate) fn at_hand(&self, quota: KeyQuota, now: Timestamp) -> Option<Verdict> {
        self.allowance.take(quota, now)
    }

    /// Counts a request.
    #[inline]
    pub(crate) fn count(&self, class: RouteClass, outcome: Outcome, now: Timestamp, ip: Option<IpAddr>) {
        self.counts.count(class, outcome, now);
        let seen = self.used_at.load(Ordering::Relaxed);
        if now.as_micros().saturating_sub(seen) >= SAME_USE
            && self.used_at.compare_exchange(seen, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            *self.last_use() = Some((now, ip));
        }
    }

    /// Moves what was counted to `pending`.
    pub(super) fn drain(&self, now: Timestamp, pending: &mut Pending) {
        self.counts.take(now, |route, quarter, uses| pending.count(self.organization, self.key, quarter, route, uses));
        if let Some((at, ip)) = self.last_use().take() {
            pending.used(self.organization, self.key, at, ip);
        }
    }

    /// Whether the key has not been used here for a while.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        let used_at = self.used_at.load(Ordering::Relaxed);
        if used_at == i64::MIN {
            // It is new.
            let _ = self.used_at.compare_exchange(used_at, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed);
            return false;
        }
        now.as_micros().saturating_sub(used_at) >= IDLE
    }

    /// Takes out what is left of what was drawn, to be given back.
    pub(super) fn give_back(&self) -> Option<QuotaReturn> {
        let (units, window) = self.allowance.take_out();
        (units > 0).then_some(QuotaReturn { organization: self.organization, key: self.key, window, units })
    }

    fn last_use(&self) -> MutexGuard<'_, Option<(Timestamp, Option<IpAddr>)>> {
        self.last_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
