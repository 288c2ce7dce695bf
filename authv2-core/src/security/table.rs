//! A bounded table of what was seen lately: whoever was seen longest ago makes room.

use crate::clock::Timestamp;

/// How many places a key can lie in. What is evicted was seen longer ago than the others in them.
const WAYS: usize = 8;

/// Values by keyed hash. It never holds more than its capacity, and finding a place costs the same however full it is.
#[derive(Debug)]
pub(crate) struct Table<V> {
    sets: Vec<Vec<Slot<V>>>,
}

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    seen: Timestamp,
    value: V,
}

impl<V: Default> Table<V> {
    /// Room for about `capacity` values. Memory is taken as it is filled.
    pub(crate) fn new(capacity: usize) -> Self {
        let sets = (capacity / WAYS).max(1).next_power_of_two();
        Self { sets: std::iter::repeat_with(Vec::new).take(sets).collect() }
    }

    /// What is there under `key`.
    pub(crate) fn find(&self, key: u64) -> Option<&V> {
        self.sets.get(self.set_of(key))?.iter().find(|slot| slot.key == key).map(|slot| &slot.value)
    }

    /// What is there under `key`, or a default that is put there, seen at `now`; whatever `change` makes of it.
    pub(crate) fn update<T>(&mut self, key: u64, now: Timestamp, change: impl FnOnce(&mut V) -> T) -> T {
        let set = self.set_of(key);
        let Some(slots) = self.sets.get_mut(set) else { return change(&mut V::default()) };
        if let Some(slot) = slots.iter_mut().find(|slot| slot.key == key) {
            slot.seen = now;
            return change(&mut slot.value);
        }
        let mut value = V::default();
        let changed = change(&mut value);
        let slot = Slot { key, seen: now, value };
        if slots.len() < WAYS {
            slots.push(slot);
        } else if let Some(oldest) = slots.iter_mut().min_by_key(|slot| slot.seen) {
            *oldest = slot;
        }
        changed
    }

    /// Forgets what is there under `key`.
    pub(crate) fn remove(&mut self, key: u64) {
        let set = self.set_of(key);
        if let Some(slots) = self.sets.get_mut(set) {
            slots.retain(|slot| slot.key != key);
        }
    }

    fn set_of(&self, key: u64) -> usize {
        // A power of two: what remains is less than the number of sets.
        usize::try_from(key & (self.sets.len() as u64 - 1)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn whoever_was_seen_longest_ago_makes_room() {
        let mut table = Table::<u32>::new(WAYS);
        for key in 0..8 {
            table.update(key, at(i64::try_from(key).unwrap()), |value| *value = 1);
        }
        table.update(0, at(100), |value| *value += 1);
        table.update(8, at(101), |value| *value = 9);
        assert_eq!((table.find(0), table.find(1), table.find(8)), (Some(&2), None, Some(&9)));
        table.remove(8);
        assert_eq!(table.find(8), None);
    }

    proptest! {
        #[test]
        fn holds_no_more_than_its_capacity_and_always_the_latest(keys in proptest::collection::vec(any::<u64>(), 1..500)) {
            let mut table = Table::<u64>::new(64);
            for (second, key) in (0..).zip(&keys) {
                table.update(*key, at(second), |value| *value = *key);
                prop_assert_eq!(table.find(*key), Some(key));
            }
            prop_assert!(table.sets.iter().map(Vec::len).sum::<usize>() <= 64);
        }
    }
}
