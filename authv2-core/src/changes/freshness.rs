//! How old what is in memory may be at most.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// When the last successful reading of the changes was begun.
#[derive(Debug)]
pub(super) struct Freshness {
    max_staleness: Duration,
    began: Instant,
    /// In microseconds since `began`, plus one; 0 where nobody follows.
    read: AtomicU64,
}

impl Freshness {
    pub(super) fn new(max_staleness: Duration) -> Self {
        Self { max_staleness, began: Instant::now(), read: AtomicU64::new(0) }
    }

    /// Everything that was committed before `begun` has been applied.
    pub(super) fn note(&self, begun: Instant) {
        let read = u64::try_from(begun.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX - 1);
        self.read.fetch_max(read + 1, Ordering::Release);
    }

    /// How long ago that was; none where nobody follows.
    pub(super) fn lag(&self, now: Instant) -> Option<Duration> {
        let read = self.read.load(Ordering::Acquire).checked_sub(1)?;
        Some(now.saturating_duration_since(self.began).saturating_sub(Duration::from_micros(read)))
    }

    #[inline]
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.lag(now).is_some_and(|lag| lag > self.max_staleness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_beginning_of_the_last_reading() {
        let freshness = Freshness::new(Duration::from_secs(5));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!freshness.is_stale(after(1_000)), "nobody follows");
        freshness.note(start);
        assert!(!freshness.is_stale(after(4)));
        assert!(freshness.is_stale(after(6)));
        freshness.note(after(6));
        assert!(!freshness.is_stale(after(10)));
        freshness.note(start);
        assert!(!freshness.is_stale(after(10)), "an older reading that ends late takes nothing back");
    }
}
