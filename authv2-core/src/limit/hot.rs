//! What a node knows of keys that are counted in Redis, so that it need not ask for each request.
//!
//! A refusal holds for up to [`REFUSAL`] without asking again: a key does not get back what it has used before its time,
//! unless another limit across the slots of a Cluster refused what it was used for. Where
//! `limits.leases` is on, a key that is asked for often gets several requests at once from Redis, and passes on them
//! here. What it got is counted there, but comes back there while it lies here: in any time, no more pass than the burst
//! and what the rate gives in that time and [`LEASE`]. What it does not use within that is lost to it. A lease is at most
//! a sixteenth of the burst, a node holds one at a time, and none is given once that would leave less than another one, or
//! after a refusal: the last requests are counted one by one.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{
    Asked, Inner, Outage, Policy, Rate, Take, Tat, Verdict, distinct, fingerprint::KeyHash, gcra, tighter, told,
};
use crate::{
    clock::Timestamp,
    config::LimitConfig,
    error::{Error, Result},
    store::{
        StoreError,
        shared::{Granted, LimitAnswer, LimitQuestion},
    },
    telemetry,
};

/// How long a lease lasts.
const LEASE: Duration = Duration::from_millis(500);
/// Over what time it is counted how often a key is asked for, and how often makes it hot. A lease is for half of it.
const WINDOW: Duration = Duration::from_secs(1);
const HOT: u32 = 10;
/// How long a refusal is repeated without asking, at most.
const REFUSAL: Duration = Duration::from_secs(1);
/// How long no lease is given after a refusal.
const STRICT: Duration = Duration::from_secs(1);
/// A lease is at most this part of a burst.
const PART: u32 = 16;
const SHARDS: usize = 64;
/// What one entry takes, its share of the map's room included.
const ENTRY_BYTES: usize = 200;
/// How often at most a full shard is looked through for room.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often at most it is told that Redis has forgotten.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long before its time a key may be gone from Redis without a word.
const SLACK: Duration = Duration::from_secs(1);

/// What is known of keys.
pub(super) struct Hot {
    leases: bool,
    shards: Box<[Mutex<Shard>]>,
    /// Keys in a shard, at most: of others nothing is known, and Redis is asked.
    most: usize,
    told_at: AtomicI64,
}

#[derive(Default)]
struct Shard {
    keys: HashMap<KeyHash, Known>,
    /// When it was looked through for room.
    looked_at: Option<Timestamp>,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// What is refused without asking.
    refused: Option<Refused>,
    /// What is left of the lease, and until when.
    left: u32,
    until: Timestamp,
    /// What Redis had left, and when it will have all, as of its last answer.
    remaining: u32,
    full_at: Timestamp,
    /// Until when there is no lease.
    strict_until: Timestamp,
    /// Until when somebody is drawing a lease.
    drawing_until: Timestamp,
    /// How often the key was asked for since when, and in the window before.
    seen: u32,
    since: Timestamp,
    seen_before: u32,
}

/// A refusal by Redis.
#[derive(Debug, Clone, Copy)]
struct Refused {
    /// Whoever asks for at least as much is refused.
    cost: u32,
    /// Until when that holds.
    until: Timestamp,
    /// Until when nobody asks.
    repeated_until: Timestamp,
}

impl Known {
    fn new(now: Timestamp) -> Self {
        Self {
            refused: None,
            left: 0,
            until: now,
            remaining: 0,
            full_at: now,
            strict_until: now,
            drawing_until: now,
            seen: 0,
            since: now,
            seen_before: 0,
        }
    }

    fn see(&mut self, now: Timestamp) {
        // After the clock was set back, what holds until later would hold for as long as that.
        if self.since.since(now) >= WINDOW {
            *self = Self::new(now);
        }
        if now.since(self.since) >= WINDOW || now < self.since {
            let is_next = now.since(self.since) < 2 * WINDOW;
            (self.seen_before, self.seen, self.since) = (if is_next { self.seen } else { 0 }, 0, now);
        }
        self.seen = self.seen.saturating_add(1);
    }

    fn is_of_use(&self, now: Timestamp) -> bool {
        let holds = self.refused.is_some_and(|refused| now < refused.repeated_until)
            || now < self.until
            || now < self.strict_until
            || now.since(self.since) < 2 * WINDOW;
        holds && self.since.since(now) < WINDOW
    }

    fn verdict(&self, policy: Policy, retry_after: Option<Duration>, now: Timestamp) -> Verdict {
        let allowed = retry_after.is_none();
        let remaining = if allowed { self.remaining.saturating_add(self.left) } else { self.remaining };
        Verdict { allowed, policy, remaining, reset_after: self.full_at.since(now), retry_after }
    }
}

impl Hot {
    pub(super) fn new(config: &LimitConfig) -> Self {
        Self {
            leases: config.leases,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most: (config.memory_bytes / 2 / SHARDS / ENTRY_BYTES).max(1),
            told_at: AtomicI64::new(0),
        }
    }

    /// Refused, or passed on a lease; nothing where Redis is to be asked.
    fn take(&self, key: KeyHash, policy: Policy, cost: u32, now: Timestamp) -> Option<Verdict> {
        let mut shard = self.shard(key);
        let known = shard.keys.get_mut(&key)?;
        known.see(now);
        if let Some(refused) = known.refused
            && now < refused.repeated_until
            && cost >= refused.cost
        {
            return Some(known.verdict(policy, Some(refused.until.since(now)), now));
        }
        if now < known.until && known.left >= cost && cost > 0 {
            known.left -= cost;
            return Some(known.verdict(policy, None, now));
        }
        None
    }

    /// Undoes a [`take`](Self::take) that passed.
    fn give_back(&self, key: KeyHash, cost: u32) {
        if let Some(known) = self.shard(key).keys.get_mut(&key) {
            known.left = known.left.saturating_add(cost);
        }
    }

    /// How much more than it needs is asked of Redis for a key.
    fn wish(&self, key: KeyHash, rate: &Rate, now: Timestamp) -> u32 {
        let mut shard = self.shard(key);
        if shard.keys.len() >= self.most && !shard.keys.contains_key(&key) {
            let was_just_looked_at = shard.looked_at.is_some_and(|at| at <= now && now.since(at) < LOOK_EVERY);
            if !was_just_looked_at {
                shard.keys.retain(|_, known| known.is_of_use(now));
                shard.looked_at = Some(now);
            }
        }
        let has_room = shard.keys.len() < self.most;
        let known = match shard.keys.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) if has_room => place.insert(Known::new(now)),
            Entry::Vacant(_) => return 0,
        };
        // One draws for all who ask at the same time; the others take for themselves.
        let often = known.seen.max(known.seen_before);
        let has_one = now < known.drawing_until || (now < known.until && known.left > 0);
        if !self.leases || often < HOT || has_one || now < known.strict_until {
            return 0;
        }
        known.drawing_until = now + WINDOW;
        (rate.burst() / PART).min(often / 2)
    }

    /// Keeps what Redis answered to a question that was asked at `began`.
    fn learn(&self, asked: &Asked, lease: u32, answer: &LimitAnswer, passed: bool, began: Timestamp) -> Verdict {
        let rate = asked.policy.rate();
        let decision = rate.decide(Tat::from(answer.tat), answer.now, if passed { 0 } else { asked.cost });
        let mut shard = self.shard(asked.key);
        let mut scratch = Known::new(began);
        let known = shard.keys.get_mut(&asked.key).unwrap_or(&mut scratch);
        known.remaining = decision.remaining;
        known.full_at = began + decision.reset_after;
        if lease > 0 {
            known.drawing_until = began;
        }
        match answer.granted {
            Granted::WithLease if passed => {
                known.left = if began < known.until { known.left.saturating_add(lease) } else { lease };
                known.until = began + LEASE;
            }
            Granted::Alone if passed && lease > 0 => known.strict_until = began + STRICT,
            Granted::Refused => {
                // Counted from before the question: then it ends no later than it does there.
                known.refused = decision.retry_after.map(|wait| Refused {
                    cost: asked.cost,
                    until: began + wait,
                    repeated_until: began + wait.min(REFUSAL),
                });
                known.strict_until = began + STRICT;
            }
            Granted::WithLease | Granted::Alone => {}
        }
        let allowed = answer.granted != Granted::Refused;
        Verdict {
            allowed,
            policy: asked.policy,
            remaining: decision.remaining,
            reset_after: decision.reset_after,
            retry_after: decision.retry_after,
        }
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.keys.retain(|_, known| known.is_of_use(now));
            shard.keys.shrink_to(64);
        }
    }

    fn shard(&self, key: KeyHash) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "an index is taken modulo the number of shards")]
        let shard = &self.shards[key.spread() % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that Redis has lost what it counted: once in a while, not once a key.
    fn tell_of_loss(&self, now: Timestamp) {
        metrics::counter!(telemetry::LIMIT_STATE_LOSSES).increment(1);
        let last = self.told_at.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(Timestamp::from_micros(last)) >= TELL_EVERY;
        let told = || self.told_at.compare_exchange(last, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed);
        if is_due && told().is_ok() {
            tracing::warn!("Redis has lost the state of rate limits: each key may have passed a burst too many");
        }
    }
}

/// What is asked of Redis: the cost, and if there is plenty, so much more.
fn question(asked: &Asked, lease: u32) -> LimitQuestion<'_> {
    let rate = asked.policy.rate();
    let span = |cost: u32| (cost <= rate.burst()).then(|| rate.span(cost).into());
    let with_lease = |times: u32| span(asked.cost.saturating_add(lease.saturating_mul(times)));
    LimitQuestion {
        name: &asked.name,
        requests: rate.requests(),
        tolerance: rate.tolerance().into(),
        cost: span(asked.cost),
        lease: with_lease(1).zip(with_lease(2)).filter(|_| lease > 0),
    }
}

impl Inner {
    /// By refusals that hold and by leases; nothing where one of the limits takes a question.
    pub(super) fn take_at_hand(&self, takes: &[Take<'_>], now: Timestamp) -> Option<Verdict> {
        let mut tightest = None;
        for (place, take) in distinct(takes).enumerate() {
            let verdict = self.hot.take(self.hash(take), take.policy, take.cost, now);
            if !verdict.is_some_and(|verdict| verdict.allowed) {
                for passed in distinct(takes).take(place) {
                    self.hot.give_back(self.hash(passed), passed.cost);
                }
                return verdict.map(|verdict| told(Some(verdict)));
            }
            tightest = verdict.map_or(tightest, |verdict| tighter(tightest, verdict));
        }
        Some(told(tightest))
    }

    /// By the count that all nodes share.
    pub(super) async fn take_together(&self, asked: &[Asked], outage: Outage) -> Result<Verdict> {
        let began = self.clock.now();
        let leases: Vec<u32> = asked.iter().map(|asked| self.hot.wish(asked.key, asked.policy.rate(), began)).collect();
        let before: Vec<Option<Tat>> = asked.iter().map(|asked| self.local.learnt(asked.key, began)).collect();
        let questions: Vec<LimitQuestion<'_>> =
            asked.iter().zip(&leases).map(|(asked, lease)| question(asked, *lease)).collect();
        let Some(answers) = self.shared.take_limits(&questions).await else {
            return self.take_without(asked, outage);
        };
        let passed = answers.iter().flatten().all(|answer| answer.granted != Granted::Refused);
        let mut tightest = None;
        for (((asked, lease), before), answer) in asked.iter().zip(leases).zip(before).zip(&answers) {
            let Some(answer) = answer else { continue };
            if !answer.was_there && before.is_some_and(|before| before > gcra::at(answer.now + SLACK)) {
                self.hot.tell_of_loss(began);
            }
            // What was granted and given back is not what the key has.
            if passed || answer.granted == Granted::Refused {
                self.local.learn(asked.key, Tat::from(answer.tat), answer.was_there, answer.now);
            }
            tightest = tighter(tightest, self.hot.learn(asked, lease, answer, passed, began));
        }
        Ok(told(tightest))
    }

    /// As it is declared for when Redis does not answer.
    fn take_without(&self, asked: &[Asked], outage: Outage) -> Result<Verdict> {
        match outage {
            Outage::LocalShare => {
                telemetry::count(telemetry::LIMIT_OUTAGES, "outcome", "local_share");
                let share = |asked: &Asked| asked.policy.with_rate(asked.policy.rate().percent(self.local_share));
                let shares: Vec<Policy> = asked.iter().map(share).collect();
                Ok(self.take_here(shares.iter().zip(asked).map(|(share, asked)| (share, asked.key, asked.cost))))
            }
            Outage::Refuse => {
                telemetry::count(telemetry::LIMIT_OUTAGES, "outcome", "refused");
                Err(Error::from(StoreError::unavailable("Redis does not answer, and this limit is kept nowhere else")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limit::local::Local, store::shared::LimitName};

    const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);

    fn hot() -> Hot {
        Hot::new(&LimitConfig { leases: true, ..LimitConfig::default() })
    }

    fn asked() -> Asked {
        let policy = Policy::new("p", Rate::new(1_600, Duration::from_secs(3_600), None).unwrap());
        let name = LimitName { tag: "tag".into(), key: "key".into() };
        Asked { policy, cost: 1, key: Local::new(0).hash("key"), name }
    }

    fn answer(asked: &Asked, granted: Granted) -> LimitAnswer {
        let full = gcra::at(NOW + asked.policy.rate().per());
        LimitAnswer { granted, tat: full.into(), was_there: true, now: NOW }
    }

    #[test]
    fn a_node_draws_one_lease_at_a_time() {
        let (hot, asked) = (hot(), asked());
        let rate = asked.policy.rate();
        assert_eq!(hot.wish(asked.key, rate, NOW), 0, "not asked for often");
        for _ in 0..40 {
            assert!(hot.take(asked.key, asked.policy, 1, NOW).is_none());
        }
        assert_eq!(hot.wish(asked.key, rate, NOW), 20);
        assert_eq!(hot.wish(asked.key, rate, NOW), 0, "one is on its way");
        hot.learn(&asked, 0, &answer(&asked, Granted::Alone), true, NOW);
        assert_eq!(hot.wish(asked.key, rate, NOW), 0, "another one's answer ends nothing");
        hot.learn(&asked, 20, &answer(&asked, Granted::WithLease), true, NOW);
        for _ in 0..20 {
            assert_eq!(hot.wish(asked.key, rate, NOW), 0, "there is something left");
            assert!(hot.take(asked.key, asked.policy, 1, NOW).unwrap().allowed);
        }
        assert!(hot.take(asked.key, asked.policy, 1, NOW).is_none());
        assert!(hot.wish(asked.key, rate, NOW) > 0);
    }

    #[test]
    fn a_clock_that_is_set_back_ends_a_refusal() {
        let (hot, asked) = (hot(), asked());
        assert_eq!(hot.wish(asked.key, asked.policy.rate(), NOW), 0);
        hot.learn(&asked, 0, &answer(&asked, Granted::Refused), false, NOW);
        assert!(!hot.take(asked.key, asked.policy, 1, NOW).unwrap().allowed);
        let before = NOW - Duration::from_secs(3_600);
        assert!(hot.take(asked.key, asked.policy, 1, before).is_none(), "Redis is asked");
    }
}
