//! What was read from a store, at hand: bounded by bytes, each entry for a limited time, and kept right by whoever
//! hears of changes.
//!
//! A reading is kept only if its entry was not [forgotten](Cached::forget) since it began: a change removes the entry,
//! or the place that is held for it while it is read, and then the value is refused. Those who ask meanwhile wait for
//! the same reading. Only what exists is kept: absence goes to all who waited and is then forgotten, like a failure.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{
    DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::time::Instant;

use super::{StoreError, breaker::jittered};

/// After this long an entry is read again, whatever was heard: a defect in what keeps it right must not last.
const LIFE: Duration = Duration::from_secs(600);

/// What an entry takes of the memory. It must not change while the entry is kept.
pub(crate) trait Weigh {
    /// In bytes, its place in the cache included.
    fn bytes(&self) -> u64;
}

/// Why there is nothing at hand.
#[derive(Debug, Clone)]
pub(crate) enum Missing<E = StoreError> {
    /// It does not exist.
    Absent,
    /// The reading failed.
    Failed(E),
}

/// What was read, or why it could not be.
pub(crate) type Found<T, E = StoreError> = Result<Arc<T>, Missing<E>>;

/// Readings of one kind, by key.
#[derive(Debug)]
pub(crate) struct Cached<K, T, E = StoreError> {
    entries: Cache<K, Entry<T, E>, Bytes>,
    /// How many were read since the last time somebody asked.
    read: AtomicU64,
}

#[derive(Debug)]
struct Entry<T, E> {
    found: Found<T, E>,
    until: Instant,
}

impl<T, E: Clone> Clone for Entry<T, E> {
    fn clone(&self) -> Self {
        Self { found: self.found.clone(), until: self.until }
    }
}

impl<K, T, E> Cached<K, T, E>
where
    K: Eq + Hash + Clone,
    T: Weigh,
    E: Clone,
{
    /// Room for about `capacity` bytes, in entries of about `typical` bytes. With few `shards` a large entry fits into
    /// one.
    pub(crate) fn new(capacity: usize, typical: usize, shards: Option<usize>) -> Self {
        let (items, capacity) = ((capacity / typical.max(1)).max(1), bytes(capacity));
        let make = |most| {
            let mut options = OptionsBuilder::new();
            options.estimated_items_capacity(items).weight_capacity(capacity);
            if let Some(shards) = shards {
                options.shards(shards);
            }
            let hasher = DefaultHashBuilder::default();
            match options.build() {
                Ok(options) => Cache::with_options(options, Bytes { most }, hasher, DefaultLifecycle::default()),
                // Both things that a cache wants were said above; this one is bounded by them too.
                Err(_) => Cache::with(items, capacity, Bytes { most }, hasher, DefaultLifecycle::default()),
            }
        };
        let trial: Cache<K, Entry<T, E>, Bytes> = make(1);
        Self { entries: make(trial.shard_capacity() / 2), read: AtomicU64::new(0) }
    }

    /// The entry of `key`, if it is at hand.
    #[inline]
    pub(crate) fn at_hand<Q>(&self, key: &Q, now: Instant) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let Entry { found, until } = self.entries.get(key)?;
        found.ok().filter(|_| now < until)
    }

    /// The entry of `key`: the one at hand, or the one that somebody is reading already, or the one that `read` brings.
    /// A failure goes to all who wait for this reading, so that an outage is not waited for by one after the other.
    pub(crate) async fn find(&self, key: K, read: impl Future<Output = Result<T, Missing<E>>>) -> Found<T, E> {
        let now = Instant::now();
        loop {
            match self.entries.get_value_or_guard_async(&key).await {
                Ok(Entry { found, until }) if found.is_err() || now < until => return found,
                Ok(Entry { until, .. }) => drop(self.entries.remove_if(&key, |there| there.until == until)),
                Err(place) => {
                    self.read.fetch_add(1, Ordering::Relaxed);
                    let found = read.await.map(Arc::new);
                    // Refused if a change came meanwhile: then only those get it who asked before that.
                    let _ = place.insert(Entry { found: found.clone(), until: now + jittered(LIFE) });
                    if found.is_err() {
                        self.entries.remove_if(&key, |there| there.found.is_err());
                    }
                    return found;
                }
            }
        }
    }

    /// Keeps what its owner judges by itself before each use, whatever has changed since it was read.
    pub(crate) fn keep(&self, key: K, value: Arc<T>) {
        self.entries.insert(key, Entry { found: Ok(value), until: Instant::now() + jittered(LIFE) });
    }

    /// Whether just this reading is at hand.
    pub(crate) fn holds(&self, key: &K, value: &Arc<T>) -> bool {
        self.entries.peek(key).is_some_and(|there| is(&there, value))
    }

    /// Forgets the entry of `key`, also where it is being read: the next one to ask reads it anew.
    pub(crate) fn forget(&self, key: &K) {
        self.entries.remove(key);
    }

    /// Forgets exactly this reading.
    pub(crate) fn forget_exactly(&self, key: &K, value: &Arc<T>) {
        self.entries.remove_if(key, |there| is(there, value));
    }

    /// Forgets all that `keep` does not want, or that has been at hand too long.
    pub(crate) fn sweep(&self, keep: impl Fn(&T) -> bool) {
        let now = Instant::now();
        self.entries.retain(|_, there| now < there.until && there.found.as_ref().is_ok_and(|found| keep(found)));
    }

    /// Forgets everything, also what is being read.
    pub(crate) fn forget_everything(&self) {
        self.entries.clear();
    }

    /// How many entries were read from the store since the last time.
    pub(crate) fn take_read(&self) -> u64 {
        self.read.swap(0, Ordering::Relaxed)
    }
}

/// Weighs entries, the heaviest as half a shard: what would not fit at all would be read again for every decision.
#[derive(Debug, Clone, Copy)]
struct Bytes {
    most: u64,
}

impl<K, T: Weigh, E> Weighter<K, Entry<T, E>> for Bytes {
    fn weight(&self, _: &K, entry: &Entry<T, E>) -> u64 {
        entry.found.as_ref().map_or(1, |there| there.bytes().min(self.most))
    }
}

/// A count of bytes as caches take it.
pub(crate) fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn is<T, E>(there: &Entry<T, E>, wanted: &Arc<T>) -> bool {
    there.found.as_ref().is_ok_and(|there| Arc::ptr_eq(there, wanted))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Number(u32);

    impl Weigh for Number {
        fn bytes(&self) -> u64 {
            64
        }
    }

    fn cache() -> Arc<Cached<u8, Number>> {
        Arc::new(Cached::new(64 * 1024, 64, None))
    }

    async fn find(cache: &Cached<u8, Number>, number: u32) -> u32 {
        cache.find(1, ready(Ok(Number(number)))).await.unwrap().0
    }

    #[tokio::test]
    async fn keeps_nothing_that_changed_while_it_was_read() {
        for forget in [Cached::forget_everything, |cache: &Cached<u8, Number>| cache.forget(&1)] {
            let cache = cache();
            let (answer, waits) = oneshot::channel();
            let slow = {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move { cache.find(1, async { Ok(Number(waits.await.unwrap())) }).await.unwrap().0 })
            };
            tokio::task::yield_now().await;
            forget(&cache);
            assert_eq!(find(&cache, 2).await, 2, "asked after the change: does not wait for what is older");
            answer.send(1).unwrap();
            assert_eq!(slow.await.unwrap(), 1);
            assert_eq!(find(&cache, 3).await, 2, "the late reading did not take the place of the newer one");
        }
    }

    #[tokio::test]
    async fn reads_once_for_all_who_ask_at_the_same_time() {
        let cache = cache();
        let (answer, waits) = oneshot::channel();
        let first = {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.find(1, async { Ok(Number(waits.await.unwrap())) }).await.unwrap().0 })
        };
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..10)
            .map(|_| {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move { find(&cache, 2).await })
            })
            .collect();
        tokio::task::yield_now().await;
        answer.send(1).unwrap();
        assert_eq!(first.await.unwrap(), 1);
        for other in others {
            assert_eq!(other.await.unwrap(), 1);
        }
        assert_eq!(cache.take_read(), 1);
    }

    #[tokio::test]
    async fn keeps_neither_failures_nor_absence() {
        let cache = cache();
        for missing in [Missing::Absent, Missing::Failed(StoreError::unavailable("the test says so"))] {
            assert!(cache.find(1, ready(Err(missing))).await.is_err());
        }
        assert_eq!(find(&cache, 1).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_entry_lives_for_ever() {
        let cache = cache();
        assert_eq!(find(&cache, 1).await, 1);
        assert!(cache.at_hand(&1, Instant::now()).is_some());
        tokio::time::advance(LIFE * 2).await;
        assert!(cache.at_hand(&1, Instant::now()).is_none());
        assert_eq!(find(&cache, 2).await, 2);
    }

    #[tokio::test]
    async fn forgets_just_the_reading_that_is_named() {
        let cache = cache();
        let old = cache.find(1, ready(Ok(Number(1)))).await.unwrap();
        cache.forget_exactly(&1, &old);
        let new = cache.find(1, ready(Ok(Number(2)))).await.unwrap();
        cache.forget_exactly(&1, &old);
        assert!(cache.holds(&1, &new) && !cache.holds(&1, &old));
    }
}
