//! Counters by key: fixed tables of atomics, one for each of a few groups of threads. Counting takes no lock and no
//! memory; what finds no room is not counted.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread::available_parallelism,
};

const SLOTS: usize = 2048;
/// How many slots are looked at for a key before it is given up.
const PROBES: usize = 16;
/// The most tables: beyond that threads share one.
const SHARDS_MAX: usize = 16;

/// The key of a free slot.
const FREE: u64 = 0;
/// The key of a slot that is being freed.
const CLOSED: u64 = u64::MAX;
/// A slot's count is in the lower bits of its word.
const COUNT: u64 = (1 << 40) - 1;
/// Its tenure, the rest, tells those who held it one after the other apart: whoever saw the key of the one before
/// cannot count on the next one's account.
const TENURE: u64 = COUNT + 1;

#[derive(Debug, Default)]
struct Slot {
    key: AtomicU64,
    word: AtomicU64,
}

/// On cache lines of its own: threads of different shards never wait for each other's.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    slots: Box<[Slot]>,
    visits: AtomicU64,
}

/// Counters by key.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Shard]>,
}

impl Table {
    pub(super) fn new() -> Self {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        Self::sized((2 * threads).clamp(1, SHARDS_MAX), SLOTS)
    }

    fn sized(shards: usize, slots: usize) -> Self {
        let shard = |_| Shard { slots: (0..slots).map(|_| Slot::default()).collect(), visits: AtomicU64::new(0) };
        Self { shards: (0..shards).map(shard).collect() }
    }

    /// Counts one of `key`. `introduce` is called first where the key may be new to the table. `false` if it found no
    /// room.
    #[inline]
    pub(super) fn count(&self, key: u64, introduce: impl FnOnce()) -> bool {
        let key = key.clamp(FREE + 1, CLOSED - 1);
        self.shard().is_some_and(|shard| shard.count(key, introduce))
    }

    /// Notes that somebody came, whatever for.
    #[inline]
    pub(super) fn visit(&self) {
        if let Some(shard) = self.shard() {
            shard.visits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many came since the last time this was asked.
    pub(super) fn take_visits(&self) -> u64 {
        self.shards.iter().map(|shard| shard.visits.swap(0, Ordering::Relaxed)).sum()
    }

    /// Takes all counts, and frees the slots of keys that were not counted since the last time. One at a time.
    pub(super) fn drain(&self, mut each: impl FnMut(u64, u64)) {
        for slot in self.shards.iter().flat_map(|shard| &shard.slots) {
            if let Some((key, count)) = slot.drain() {
                each(key, count);
            }
        }
    }

    fn shard(&self) -> Option<&Shard> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        self.shards.get(THREAD.with(|thread| *thread) % self.shards.len())
    }
}

impl Shard {
    #[inline]
    fn count(&self, key: u64, introduce: impl FnOnce()) -> bool {
        let mut introduce = Some(introduce);
        // Only the lower bits matter: it is a hash.
        #[allow(clippy::cast_possible_truncation, reason = "the lower bits are as good as any")]
        let start = key as usize % self.slots.len();
        for slot in self.slots.iter().cycle().skip(start).take(PROBES) {
            loop {
                // The word before the key: what is seen of the key then belongs to this tenure or a later one.
                let word = slot.word.load(Ordering::Acquire);
                let there = slot.key.load(Ordering::Acquire);
                if there == key {
                    let counted = slot.word.compare_exchange_weak(word, word + 1, Ordering::AcqRel, Ordering::Relaxed);
                    if counted.is_ok() {
                        return true;
                    }
                } else if there == FREE {
                    if let Some(introduce) = introduce.take() {
                        introduce();
                    }
                    // Another thread may be quicker; the next turn shows.
                    let _ = slot.key.compare_exchange(FREE, key, Ordering::AcqRel, Ordering::Relaxed);
                } else {
                    break;
                }
            }
        }
        false
    }
}

impl Slot {
    /// Its key and count, which starts anew; frees it where that is nothing.
    fn drain(&self) -> Option<(u64, u64)> {
        let key = self.key.load(Ordering::Acquire);
        if key == FREE {
            return None;
        }
        let word = self.word.load(Ordering::Acquire);
        let count = word & COUNT;
        if count > 0 {
            self.word.fetch_sub(count, Ordering::AcqRel);
            return Some((key, count));
        }
        self.key.store(CLOSED, Ordering::Release);
        let is_free = self.word.compare_exchange(word, word.wrapping_add(TENURE), Ordering::AcqRel, Ordering::Relaxed);
        // Somebody counted in the last moment: then it stays.
        self.key.store(if is_free.is_ok() { FREE } else { key }, Ordering::Release);
        is_free.is_err().then_some((key, 0))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicBool, AtomicU64},
        thread,
    };

    use super::*;

    fn drained(table: &Table) -> HashMap<u64, u64> {
        let mut counts = HashMap::new();
        table.drain(|key, count| *counts.entry(key).or_default() += count);
        counts
    }

    #[test]
    fn counts_by_key_and_starts_anew() {
        let table = Table::sized(2, 64);
        for key in [7, 9, 7] {
            assert!(table.count(key, || ()));
        }
        assert_eq!(drained(&table), HashMap::from([(7, 2), (9, 1)]));
        assert!(table.count(9, || panic!("it has a slot")));
        assert_eq!(drained(&table), HashMap::from([(9, 1)]), "7 was idle and is free");
        let mut introduced = false;
        assert!(table.count(7, || introduced = true));
        assert!(introduced);
    }

    #[test]
    fn what_finds_no_room_is_not_counted_until_others_go() {
        let table = Table::sized(1, PROBES);
        assert!((1..=16).all(|key| table.count(key, || ())));
        assert!(!table.count(17, || ()));
        drained(&table);
        drained(&table);
        assert!(table.count(17, || ()));
    }

    #[test]
    fn loses_and_confuses_nothing_while_it_is_drained() {
        const THREADS: u64 = 4;
        const ROUNDS: u64 = 50_000;
        // Few slots and more keys than are busy at a time: slots change hands all the time.
        let table = Table::sized(2, 32);
        let (refused, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut counts: HashMap<u64, u64> = HashMap::new();
        thread::scope(|scope| {
            let writers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (table, refused) = (&table, &refused);
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            // Each thread has keys of its own: a count on a wrong account shows.
                            let key = 1 + thread + THREADS * (round / 500 % 25);
                            if !table.count(key, || ()) {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            let drainer = scope.spawn(|| {
                let mut counts: HashMap<u64, u64> = HashMap::new();
                while !is_over.load(Ordering::Relaxed) {
                    table.drain(|key, count| *counts.entry(key).or_default() += count);
                }
                table.drain(|key, count| *counts.entry(key).or_default() += count);
                counts
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            is_over.store(true, Ordering::Relaxed);
            counts = drainer.join().unwrap();
        });
        let refused = refused.load(Ordering::Relaxed);
        assert_eq!(counts.values().sum::<u64>() + refused, THREADS * ROUNDS);
        if refused == 0 {
            assert!(counts.values().all(|count| *count == ROUNDS / 25), "{counts:?}");
        }
    }
}
