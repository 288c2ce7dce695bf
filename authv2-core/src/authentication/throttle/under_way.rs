//! Attempts under way on this node, counted beside those that have failed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::timeout,
};

use crate::store::Bucket;

/// How often a waiting attempt looks again by itself.
const RECHECK: Duration = Duration::from_millis(50);

/// Counts the attempts that have not ended, by counter.
#[derive(Default)]
pub(super) struct UnderWay {
    counts: Mutex<HashMap<Bucket, i64>>,
    freed: Notify,
}

/// Holds an attempt's places among those under way. Dropping it says that it has ended.
pub(super) struct Slot {
    buckets: Vec<Bucket>,
    under_way: Arc<UnderWay>,
    /// Whether leaving is news to those that wait: an attempt that only looked is not.
    took_part: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.under_way.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for bucket in &self.buckets {
            if let Some(count) = counts.get_mut(bucket) {
                *count -= 1;
                if *count <= 0 {
                    counts.remove(bucket);
                }
            }
        }
        drop(counts);
        if self.took_part {
            self.under_way.freed.notify_waiters();
        }
    }
}

impl UnderWay {
    /// Is told when an attempt has ended: to be made before the look at the counters that it waits upon.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Takes a place on each bucket; how many were ahead on each.
    pub(super) fn enter(self: &Arc<Self>, buckets: Vec<Bucket>) -> (Slot, Vec<i64>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = buckets
            .iter()
            .map(|bucket| {
                let count = counts.entry(*bucket).or_default();
                *count += 1;
                *count - 1
            })
            .collect();
        drop(counts);
        (Slot { buckets, under_way: Arc::clone(self), took_part: true }, ahead)
    }

    /// Waits until an attempt under way has ended, or a moment has passed: those who merely looked may have been
    /// counted as ahead.
    pub(super) async fn wait(mut slot: Slot, freed: Notified<'_>) {
        slot.took_part = false;
        drop(slot);
        let _ = timeout(RECHECK, freed).await;
    }
}
