//! What a node remembers of its keys: sharded, bounded, and never more generous than the limit.
//!
//! A key takes 32 bytes, whatever its length: it is known by a keyed hash of 128 bits. A key that has its whole burst
//! again costs nothing to forget, so its place is the next newcomer's. When all places are taken by keys that are not
//! idle, the one that will be soonest makes room, and its shard keeps in mind until when: whoever is not remembered there
//! counts as having used up as much. So a flood of keys costs newcomers a part of their burst, and gives nobody more.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use smallvec::SmallVec;

use super::{
    AT_ONCE,
    fingerprint::{Fingerprints, KeyHash},
    gcra::{Decision, Rate, Tat, at},
};
use crate::clock::Timestamp;

/// A power of two.
const SHARDS: usize = 128;
/// How far from its home a key may be. In a table that is a little over half full, hardly one way in a million is longer.
const REACH: usize = 96;
/// The least number of homes in a shard that has any keys.
const FEWEST: usize = 16;

/// A request at a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) key: KeyHash,
    pub(crate) rate: &'a Rate,
    pub(crate) cost: u32,
}

/// The keys of a node.
pub(crate) struct Local {
    shards: Box<[Shard]>,
    fingerprints: Fingerprints,
    /// Homes in a shard, at most.
    most: usize,
}

/// A shard has its cache lines to itself.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Table>);

/// Open addressing without deletion: a key is at its home or up to [`REACH`] places after it, before the first place
/// that was never used. Idle keys are dead, and stay until a newcomer takes the place or the table is made anew.
#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    used: usize,
    /// The latest moment that was forgotten before it had come.
    floor: Tat,
}

/// None lies across two lines of the processor's cache.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    key: KeyHash,
    /// Its moment; zero in a place that was never used.
    micros: u64,
    part: u32,
    /// Whether Redis has said so.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "nobody else says anything"))]
    is_learnt: bool,
}

/// Where a key is or could be.
#[derive(Clone, Copy)]
enum Place {
    Found(usize),
    /// An idle key's.
    Dead(usize),
    Unused(usize),
    /// Nowhere; the key that would make room.
    Full(usize),
}

impl Local {
    /// With room for as many keys as fit into so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            fingerprints: Fingerprints::new(),
            most: (bytes / SHARDS / size_of::<Slot>()).saturating_sub(REACH).max(FEWEST),
        }
    }

    /// What a key is known by in this process.
    #[inline]
    pub(crate) fn hash<K: Hash + ?Sized>(&self, key: &K) -> KeyHash {
        self.fingerprints.of(key)
    }

    /// Decides, and remembers what passed.
    #[inline]
    pub(crate) fn take(&self, request: Request<'_>, now: Timestamp) -> Decision {
        let mut table = self.shard(shard_of(request.key));
        let place = table.find(request.key, now);
        let (decision, is_news) = table.decide_at(place, request, now);
        if is_news {
            table.remember_at(place, Slot::counted_here(request.key, decision.tat), now, self.most);
        }
        decision
    }

    /// Decides on several, each of another key, of which none passes unless all do. Calls `told` for each in turn.
    pub(crate) fn take_all<'a>(
        &self,
        requests: impl Iterator<Item = Request<'a>> + Clone,
        now: Timestamp,
        mut told: impl FnMut(Decision),
    ) {
        // Always from the first shard on, so that no two wait for each other.
        let (mut held, mut from) = (SmallVec::<[_; AT_ONCE]>::new(), Some(0));
        while let Some(start) = from {
            let next = requests.clone().map(|request| shard_of(request.key)).filter(|shard| *shard >= start).min();
            if let Some(shard) = next {
                held.push((shard, self.shard(shard)));
            }
            from = next.map(|shard| shard + 1);
        }
        let mut decided = SmallVec::<[_; AT_ONCE]>::new();
        let mut all_allowed = true;
        for request in requests {
            let Some(index) = held.iter().position(|(shard, _)| *shard == shard_of(request.key)) else { continue };
            let Some((_, table)) = held.get(index) else { continue };
            let (decision, is_news) = table.decide_at(table.find(request.key, now), request, now);
            all_allowed &= decision.allowed;
            decided.push((index, request.key, decision, is_news));
        }
        for (index, key, decision, is_news) in decided {
            if is_news
                && (all_allowed || !decision.allowed)
                && let Some((_, table)) = held.get_mut(index)
            {
                table.remember(Slot::counted_here(key, decision.tat), now, self.most);
            }
            told(decision);
        }
    }

    /// What Redis has said of a key, where nothing was counted here since.
    #[cfg(feature = "redis")]
    pub(crate) fn learnt(&self, key: KeyHash, now: Timestamp) -> Option<Tat> {
        let table = self.shard(shard_of(key));
        table.known(key, now).filter(|slot| slot.is_learnt).map(Slot::tat)
    }

    /// Remembers what Redis says of a key, unless a later moment is known: answers come in any order, and Redis may have
    /// forgotten. A moment that it does not know of is not taken for its own any more.
    #[cfg(feature = "redis")]
    pub(crate) fn learn(&self, key: KeyHash, tat: Tat, was_there: bool, now: Timestamp) {
        let mut table = self.shard(shard_of(key));
        let slot = match table.known(key, now) {
            Some(known) if known.tat() > tat => Slot { is_learnt: known.is_learnt && was_there, ..known },
            _ => Slot { is_learnt: true, ..Slot::counted_here(key, tat) },
        };
        table.remember(slot, now, self.most);
    }

    /// Gives back the memory of what is idle, where that is most of it.
    pub(crate) fn sweep(&self, now: Timestamp) {
        for shard in 0..SHARDS {
            let mut table = self.shard(shard);
            let live = table.live(now);
            if live * 4 < table.homes() {
                table.rebuild(now, self.most);
            }
        }
    }

    /// How many bytes it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let slots: usize = (0..SHARDS).map(|shard| self.shard(shard).slots.capacity()).sum();
        slots * size_of::<Slot>() + SHARDS * size_of::<Shard>()
    }

    #[inline]
    fn shard(&self, index: usize) -> MutexGuard<'_, Table> {
        #[expect(clippy::indexing_slicing, reason = "an index is taken modulo the number of shards")]
        let shard = &self.shards[index % SHARDS];
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By bits that do not choose the home.
#[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
#[inline]
const fn shard_of(key: KeyHash) -> usize {
    key.0 as usize % SHARDS
}

impl Slot {
    #[inline]
    fn counted_here(key: KeyHash, tat: Tat) -> Self {
        let tat = tat.max(Tat { micros: 1, part: 0 });
        Self { key, micros: tat.micros, part: tat.part, is_learnt: false }
    }

    #[inline]
    const fn tat(self) -> Tat {
        Tat { micros: self.micros, part: self.part }
    }
}

impl Table {
    #[inline]
    fn homes(&self) -> usize {
        self.slots.len().saturating_sub(REACH)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is less than the number of homes")]
    #[inline]
    fn home(&self, key: KeyHash) -> usize {
        ((u128::from(key.0) * self.homes() as u128) >> 64) as usize
    }

    /// Where a key may be: from its home on.
    #[inline]
    fn way(&self, home: usize) -> &[Slot] {
        // There are as many places after the last home.
        self.slots.get(home..home + REACH).unwrap_or_default()
    }

    #[inline]
    fn find(&self, key: KeyHash, now: Timestamp) -> Place {
        let home = self.home(key);
        for (index, slot) in (home..).zip(self.way(home)) {
            if slot.micros == 0 {
                break;
            }
            if slot.key == key {
                return Place::Found(index);
            }
        }
        self.find_place(home, now)
    }

    /// Where a key that is not there could be.
    fn find_place(&self, home: usize, now: Timestamp) -> Place {
        let now = at(now);
        let (mut dead, mut soonest) = (None, (home, Tat { micros: u64::MAX, part: 0 }));
        for (index, slot) in (home..).zip(self.way(home)) {
            let tat = slot.tat();
            if slot.micros == 0 {
                return dead.map_or(Place::Unused(index), Place::Dead);
            }
            if tat <= now && dead.is_none() {
                dead = Some(index);
            }
            if tat < soonest.1 {
                soonest = (index, tat);
            }
        }
        dead.map_or(Place::Full(soonest.0), Place::Dead)
    }

    #[cfg(feature = "redis")]
    fn known(&self, key: KeyHash, now: Timestamp) -> Option<Slot> {
        match self.find(key, now) {
            Place::Found(index) => self.slots.get(index).copied(),
            Place::Dead(_) | Place::Unused(_) | Place::Full(_) => None,
        }
    }

    /// Decides, and says whether its moment is to be remembered: if it may pass, and where what was remembered of it
    /// cannot be. Nor can a key that was forgotten have been further ahead than its own burst takes, whatever the floor
    /// is for slower rates.
    #[inline]
    fn decide_at(&self, place: Place, request: Request<'_>, now: Timestamp) -> (Decision, bool) {
        let rate = request.rate;
        let tat = match place {
            Place::Found(index) => self.slots.get(index).map_or(self.floor, |slot| slot.tat()),
            Place::Dead(_) | Place::Unused(_) | Place::Full(_) => self.floor,
        };
        let corrected = rate.corrected(tat, now);
        let decision = rate.decide(corrected.unwrap_or(tat), now, request.cost);
        (decision, corrected.is_some() || (decision.allowed && request.cost > 0))
    }

    fn remember(&mut self, slot: Slot, now: Timestamp, most: usize) {
        self.remember_at(self.find(slot.key, now), slot, now, most);
    }

    /// Remembers what was [found](Self::find) there.
    #[inline]
    fn remember_at(&mut self, place: Place, slot: Slot, now: Timestamp, most: usize) {
        if let Place::Found(index) = place
            && let Some(place) = self.slots.get_mut(index)
        {
            *place = slot;
            return;
        }
        self.make_room_for(place, slot, now, most);
    }

    fn make_room_for(&mut self, place: Place, slot: Slot, now: Timestamp, most: usize) {
        let mut place = if self.slots.is_empty() { None } else { Some(place) };
        let wants_room = match place {
            None | Some(Place::Full(_)) => true,
            // Fuller than that, ways get long.
            Some(Place::Unused(_)) => self.used * 10 >= self.homes() * 7,
            Some(Place::Found(_) | Place::Dead(_)) => false,
        };
        if wants_room && self.homes() < most {
            self.rebuild(now, most);
            place = Some(self.find(slot.key, now));
        }
        self.put(place, slot);
    }

    fn put(&mut self, place: Option<Place>, slot: Slot) {
        let index = match place {
            Some(Place::Found(index) | Place::Dead(index)) => index,
            Some(Place::Unused(index)) => {
                self.used += 1;
                index
            }
            Some(Place::Full(index)) => {
                let forgotten = self.slots.get(index).map_or(slot.tat(), |forgotten| forgotten.tat());
                self.floor = self.floor.max(forgotten);
                index
            }
            // There is a place after every rebuild; without one, nobody gets more than it should.
            None => {
                self.floor = self.floor.max(slot.tat());
                return;
            }
        };
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
        }
    }

    fn live(&self, now: Timestamp) -> usize {
        let now = at(now);
        self.slots.iter().filter(|slot| slot.tat() > now).count()
    }

    /// Made anew without what is idle, a little over half full.
    fn rebuild(&mut self, now: Timestamp, most: usize) {
        let live = self.live(now);
        let homes = (live * 20 / 11 + 1).clamp(FEWEST.min(most), most);
        let old = std::mem::take(&mut self.slots);
        let mut slots = Vec::new();
        slots.reserve_exact(homes + REACH);
        slots.resize(homes + REACH, Slot::default());
        (self.slots, self.used) = (slots, 0);
        for slot in old.into_iter().filter(|slot| slot.tat() > at(now)) {
            let place = self.find(slot.key, now);
            self.put(Some(place), slot);
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicU32, Ordering},
        thread,
        time::Duration,
    };

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);

    fn rate(requests: u32, seconds: u64) -> Rate {
        Rate::new(requests, Duration::from_secs(seconds), None).unwrap()
    }

    fn take(local: &Local, key: &str, rate: &Rate, now: Timestamp) -> bool {
        local.take(Request { key: local.hash(key), rate, cost: 1 }, now).allowed
    }

    #[test]
    fn exactly_as_many_pass_as_may_under_64_callers() {
        let (local, rate) = (Local::new(1 << 20), rate(1_000, 3_600));
        let passed = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        passed.fetch_add(u32::from(take(&local, "key", &rate, NOW)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1_000);
    }

    #[test]
    fn several_limits_pass_all_or_none_under_64_callers() {
        let local = Local::new(1 << 20);
        let (wide, narrow) = (rate(300, 3_600), rate(100, 3_600));
        let passed: [AtomicU32; 4] = std::array::from_fn(|_| AtomicU32::new(0));
        thread::scope(|scope| {
            for caller in 0..64 {
                let (local, passed) = (&local, &passed);
                scope.spawn(move || {
                    let user = caller % 4;
                    let keys = [(local.hash(&("user", user)), &narrow), (local.hash("organization"), &wide)];
                    // In either order, so that whoever locked as they are named would lock for ever.
                    let keys = if caller % 2 == 0 { keys } else { [keys[1], keys[0]] };
                    for _ in 0..20 {
                        let requests = keys.iter().map(|(key, rate)| Request { key: *key, rate, cost: 1 });
                        let mut all = true;
                        local.take_all(requests, NOW, |decision| all &= decision.allowed);
                        passed[user].fetch_add(u32::from(all), Ordering::Relaxed);
                    }
                });
            }
        });
        let passed = passed.map(AtomicU32::into_inner);
        assert_eq!(passed.iter().sum::<u32>(), 300);
        for (user, passed) in passed.into_iter().enumerate() {
            assert!(passed <= 100);
            let left = local.take(Request { key: local.hash(&("user", user)), rate: &narrow, cost: 0 }, NOW).remaining;
            assert_eq!(left, 100 - passed, "what was refused by the one cost nothing at the other");
        }
    }

    #[test]
    fn many_keys_take_little_and_are_forgotten_when_idle() {
        const KEYS: u32 = 300_000;
        let (local, rate) = (Local::new(1 << 30), rate(10, 10));
        for key in 0..KEYS {
            assert!(local.take(Request { key: local.hash(&key), rate: &rate, cost: 10 }, NOW).allowed);
        }
        let refused =
            (0..KEYS).filter(|key| !local.take(Request { key: local.hash(key), rate: &rate, cost: 1 }, NOW).allowed);
        assert_eq!(refused.count(), KEYS as usize, "all of them are remembered");
        assert!(local.bytes() <= 64 * KEYS as usize, "{} bytes", local.bytes());
        local.sweep(NOW + Duration::from_secs(11));
        assert!(local.bytes() <= 1 << 20, "{} bytes", local.bytes());
    }

    #[test]
    fn a_flood_of_keys_stays_within_the_bound_and_lets_nobody_through_twice() {
        let bound = 256 * 1024;
        let (local, rate) = (Local::new(bound), rate(1, 60));
        assert!(take(&local, "victim", &rate, NOW));
        let through = (0..50_000).filter(|key| take(&local, &format!("flood {key}"), &rate, NOW)).count();
        assert!(local.bytes() <= bound + SHARDS * size_of::<Shard>() + SHARDS * (FEWEST + REACH) * size_of::<Slot>());
        assert!(!take(&local, "victim", &rate, NOW));
        let again = (0..50_000).filter(|key| take(&local, &format!("flood {key}"), &rate, NOW)).count();
        assert!(through > 1_000 && again == 0, "{through} then {again}");
        assert!(take(&local, "newcomer", &rate, NOW + Duration::from_secs(61)), "it ends by itself");
    }

    #[test]
    fn an_old_rate_or_a_clock_that_was_set_back_locks_nobody_out() {
        let local = Local::new(1 << 20);
        assert!(local.take(Request { key: local.hash("key"), rate: &rate(1, 86_400), cost: 1 }, NOW).allowed);
        assert!(!take(&local, "key", &rate(1, 10), NOW));
        assert!(take(&local, "key", &rate(1, 10), NOW + Duration::from_secs(10)));
        let before = NOW - Duration::from_secs(86_400);
        assert!(!take(&local, "key", &rate(1, 10), before));
        assert!(take(&local, "key", &rate(1, 10), before + Duration::from_secs(10)));
    }

    #[test]
    fn a_flood_at_a_slow_limit_takes_from_newcomers_at_a_fast_one_no_more_than_their_burst() {
        let (local, slow, fast) = (Local::new(0), rate(5, 86_400), rate(60, 60));
        let request = |number: u64, rate| {
            // All in one shard.
            let key = KeyHash(number.wrapping_mul(0x9e37_79b9_7f4a_7c00), number + 1);
            Request { key, rate, cost: 1 }
        };
        for number in 0..1_000 {
            local.take(request(number, &slow), NOW);
        }
        let newcomer = request(5_000, &fast);
        assert_eq!(local.take(newcomer, NOW).retry_after, Some(Duration::from_secs(1)));
        assert!(local.take(newcomer, NOW + Duration::from_secs(1)).allowed);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn keeps_the_latest_that_redis_has_said_apart_from_what_was_counted_here() {
        let (local, rate) = (Local::new(1 << 20), rate(10, 1_000));
        let key = local.hash("key");
        let ahead = |seconds| at(NOW + Duration::from_secs(seconds));
        local.learn(key, ahead(300), true, NOW);
        local.learn(key, ahead(200), true, NOW);
        assert_eq!(local.learnt(key, NOW), Some(ahead(300)), "an answer that was overtaken");
        let request = Request { key, rate: &rate, cost: 1 };
        assert_eq!(local.take(request, NOW).remaining, 6);
        assert_eq!(local.learnt(key, NOW), None, "counted here since");
        local.learn(key, ahead(500), true, NOW);
        assert_eq!(local.learnt(key, NOW), Some(ahead(500)));
        // Redis has forgotten it: that is noticed once, and what was used stays used.
        local.learn(key, ahead(100), false, NOW);
        assert_eq!(local.learnt(key, NOW), None);
        assert_eq!(local.take(Request { cost: 0, ..request }, NOW).remaining, 5);
    }

    proptest! {
        /// However few places there are, no key passes more often than by itself, nor waits longer than for its burst.
        #[test]
        fn is_never_more_generous_than_the_limit(
            steps in proptest::collection::vec((0_u16..600, 0_u64..400, 1_u32..4), 1..600),
        ) {
            let local = Local::new(0);
            let rates = [rate(5, 1), rate(3, 60), rate(1, 7)];
            let (mut now, mut tats) = (NOW, HashMap::new());
            for (number, wait, cost) in steps {
                now = now + Duration::from_millis(wait / 40);
                let rate = &rates[usize::from(number) % rates.len()];
                // All in one shard.
                let key = KeyHash(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c00), u64::from(number) + 1);
                let allowed = local.take(Request { key, rate, cost }, now);
                let tat = tats.entry(number).or_default();
                let alone = rate.decide(*tat, now, cost);
                prop_assert!(alone.allowed || !allowed.allowed);
                prop_assert!(allowed.reset_after <= rate.per() + Duration::from_micros(Rate::AHEAD + 1));
                if allowed.allowed {
                    *tat = alone.tat;
                }
            }
        }
    }
}
