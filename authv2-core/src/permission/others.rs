//! What other nodes and processes changed: looked for in the store again and again, until nodes follow the feed's table.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::cache::Caches;
use crate::{
    changes::Change,
    clock::Timestamp,
    store::{SharedStore, StoreError},
};

/// How far back each look goes. A change bears the moment of its act; a write that takes several times the store's
/// patience (5 s, unless it is set to more) is undone, so that none is committed later than this.
const LOOK_BACK: Duration = Duration::from_secs(120);

/// After this long without having looked, what is at hand is trusted no longer.
const STALENESS_MAX: Duration = Duration::from_secs(5);

/// Applies the changes of others to this node's memory.
#[derive(Debug)]
pub(super) struct Others {
    /// The changes of the last look, which the next one finds again.
    seen: Mutex<HashSet<Change>>,
    began: Instant,
    /// When the last look that worked was begun, in milliseconds since `began`; 0 where nobody looks.
    looked: AtomicU64,
}

impl Others {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::default(), began: Instant::now(), looked: AtomicU64::new(0) }
    }

    /// From now on somebody looks.
    pub(super) fn begin(&self) {
        self.looked.store(self.elapsed().max(1), Ordering::Release);
    }

    /// Looks once, and tells `caches` of everything new.
    ///
    /// # Errors
    /// The store's; the next look finds what this one missed.
    pub(super) async fn look(&self, store: &SharedStore, now: Timestamp, caches: &Caches) -> Result<(), StoreError> {
        let begun = self.elapsed();
        let found: HashSet<Change> = store.tenancy_changes(now - LOOK_BACK).await?.into_iter().collect();
        let before = std::mem::replace(&mut *self.seen(), found.clone());
        for change in found.difference(&before) {
            caches.hear(change);
        }
        self.looked.store(begun.max(1), Ordering::Release);
        Ok(())
    }

    /// Whether the last look is so long ago that others may have changed what is at hand. Never where nobody looks.
    pub(super) fn is_stale(&self) -> bool {
        let looked = self.looked.load(Ordering::Acquire);
        looked != 0
            && self.elapsed().saturating_sub(looked) > u64::try_from(STALENESS_MAX.as_millis()).unwrap_or(u64::MAX)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashSet<Change>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
