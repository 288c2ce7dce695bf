//! Throttling of failed sign-ins by account and network. OWASP ASVS 6.3.1.
//!
//! The counters live in the store and count failures only. Attempts under way on this node are counted beside them,
//! so that parallel guesses cannot all slip through before the first of them is known to be wrong: an attempt that
//! would go over a limit, should those ahead of it fail, waits for them. Several nodes can exceed a limit by at most
//! the attempts that each has under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use tokio::{
    sync::{Notify, futures::Notified},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{
    client::Network,
    clock::Timestamp,
    config::ThrottleConfig,
    error::{Code, Error, RatePolicy, Result},
    store::{Attempts, Bucket, BucketRule, SharedStore, SignInFacts, SignInQuery},
};

/// The first wait at a limit, and the longest; it doubles with each further failure.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// Past the account's limit: the pace of networks never seen, each and all of them together.
const PACE_WINDOW: Duration = Duration::from_secs(60);
const PACE_EACH: i64 = 1;
const PACE_ALL: i64 = 20;

/// How long an attempt waits for those under way before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a waiting attempt looks again by itself.
const RECHECK: Duration = Duration::from_millis(50);

/// Judges attempts to sign in.
pub(super) struct Throttle {
    key: hmac::Key,
    config: ThrottleConfig,
    under_way: Arc<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    counts: Mutex<HashMap<Bucket, i64>>,
    freed: Notify,
}

/// An attempt that was let through. Dropping it says that it has ended.
pub(super) struct Attempt {
    /// What counts if it fails.
    pub(super) on_failure: Vec<BucketRule>,
    /// What a completed sign-in clears.
    pub(super) clear: Vec<Bucket>,
    /// How many attempts have failed before it in the window.
    pub(super) failures: Failures,
    _slot: Slot,
}

/// The failed attempts of an account in a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failures {
    /// From the network of this attempt.
    pub(super) of_pair: i64,
    /// From networks that the account is not known at.
    pub(super) of_account: i64,
}

/// Holds an attempt's places among those under way.
struct Slot {
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
    /// Takes a place on each bucket; how many were ahead on each.
    fn enter(self: &Arc<Self>, buckets: Vec<Bucket>) -> (Slot, Vec<i64>) {
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
    async fn wait(mut slot: Slot, freed: Notified<'_>) {
        slot.took_part = false;
        drop(slot);
        let _ = timeout(RECHECK, freed).await;
    }
}

/// What one counter says to one more attempt.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// Those under way decide it.
    Queue,
    Refuse(Duration),
}

/// Judges one counter: a pure function of what is stored, what is under way, and the time.
fn judge(rule: &BucketRule, stored: Option<&Attempts>, ahead: i64, now: Timestamp) -> Verdict {
    let stored = stored.filter(|stored| now < stored.window_start + rule.window || now < stored.blocked_until);
    let count = stored.map_or(0, |stored| stored.count);
    if let Some(stored) = stored.filter(|stored| now < stored.blocked_until) {
        return Verdict::Refuse(stored.blocked_until.since(now));
    }
    // Past the limit and its wait, one attempt at a time.
    let room = (rule.limit - count).max(1);
    if ahead < room { Verdict::Pass } else { Verdict::Queue }
}

impl Throttle {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>, config: ThrottleConfig) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), config, under_way: Arc::default() }
    }

    /// Lets an attempt to sign in through, together with everything it is judged by, or refuses it.
    ///
    /// # Errors
    /// [`Code::TooManyAttempts`] with the time to wait; otherwise the store's.
    pub(super) async fn admit(
        &self,
        store: &SharedStore,
        email_key: &str,
        (network, device): (Option<Network>, Option<String>),
        now: impl Fn() -> Timestamp,
    ) -> Result<(SignInFacts, Attempt)> {
        let names = Names::new(self, email_key, network);
        let admitted = timeout(PATIENCE, async {
            loop {
                let freed = self.under_way.freed.notified();
                // A sign-in clears the counter of passwords asked again; it takes no place there.
                let entered: Vec<Bucket> = names.all.iter().copied().filter(|name| *name != names.reasked).collect();
                let (slot, ahead) = self.under_way.enter(entered.clone());
                let facts = store
                    .sign_in_facts(SignInQuery {
                        email_key: email_key.to_owned(),
                        network: network.map(|network| network.to_string()),
                        device: device.clone(),
                        known_since: now() - self.config.known_network_ttl,
                        buckets: names.all.clone(),
                    })
                    .await?;
                let ahead_on = |bucket: Bucket| {
                    let found = entered.iter().zip(&ahead).find(|(name, _)| **name == bucket);
                    found.map_or(0, |(_, ahead)| *ahead)
                };
                let rules = self.rules(&names, &facts, ahead_on(names.account), now());
                let mut verdict = Verdict::Pass;
                for rule in &rules {
                    let stored = facts.attempts.iter().find(|stored| stored.bucket == rule.bucket);
                    match judge(rule, stored, ahead_on(rule.bucket), now()) {
                        Verdict::Refuse(wait) => return Err(refusal(rule, wait)),
                        Verdict::Queue => verdict = Verdict::Queue,
                        Verdict::Pass => {}
                    }
                }
                if verdict == Verdict::Pass {
                    let (clear, failures) = (names.cleared(&facts), self.failures(&names, &facts, now()));
                    return Ok((facts, Attempt { on_failure: rules, clear, failures, _slot: slot }));
                }
                UnderWay::wait(slot, freed).await;
            }
        });
        admitted.await.unwrap_or_else(|_| Err(overloaded()))
    }

    /// What is known of where a sign-in goes on from whose first factor was let through before, and the counters that it
    /// clears once it is complete.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn look_again(
        &self,
        store: &SharedStore,
        email_key: &str,
        (network, device): (Option<Network>, Option<String>),
        now: Timestamp,
    ) -> Result<(SignInFacts, Vec<Bucket>)> {
        let names = Names::new(self, email_key, network);
        let query = SignInQuery {
            email_key: email_key.to_owned(),
            network: network.map(|network| network.to_string()),
            device,
            known_since: now - self.config.known_network_ttl,
            buckets: names.all.clone(),
        };
        let facts = store.sign_in_facts(query).await?;
        let clear = names.cleared(&facts);
        Ok((facts, clear))
    }

    /// Lets a password asked again through, or refuses it: these count per account alone.
    ///
    /// # Errors
    /// As [`Throttle::admit`].
    pub(super) async fn admit_reasked(
        &self,
        store: &SharedStore,
        email_key: &str,
        now: impl Fn() -> Timestamp,
    ) -> Result<Attempt> {
        let rule = self.rule(self.name("reasked", &[email_key]), self.config.pair_limit);
        self.admit_one(store, rule, now).await
    }

    /// Lets a registration through, or refuses it: finding e-mails taken counts per network, so that addresses
    /// cannot be tried out in bulk.
    ///
    /// # Errors
    /// As [`Throttle::admit`].
    pub(super) async fn admit_registration(
        &self,
        store: &SharedStore,
        network: Option<Network>,
        now: impl Fn() -> Timestamp,
    ) -> Result<Attempt> {
        let network = network.map(|network| network.to_string()).unwrap_or_default();
        let rule = self.rule(self.name("registration", &[&network]), self.config.network_limit);
        self.admit_one(store, rule, now).await
    }

    /// Lets a caller ask for a user by e-mail or id, or refuses it: naming unknown ones counts per caller.
    ///
    /// # Errors
    /// As [`Throttle::admit`].
    pub(super) async fn admit_lookup(
        &self,
        store: &SharedStore,
        caller: &str,
        now: impl Fn() -> Timestamp,
    ) -> Result<Attempt> {
        let rule = self.rule(self.name("lookup", &[caller]), self.config.network_limit);
        self.admit_one(store, rule, now).await
    }

    async fn admit_one(&self, store: &SharedStore, rule: BucketRule, now: impl Fn() -> Timestamp) -> Result<Attempt> {
        let admitted = timeout(PATIENCE, async {
            loop {
                let freed = self.under_way.freed.notified();
                let (slot, ahead) = self.under_way.enter(vec![rule.bucket]);
                let stored = store.attempts(&[rule.bucket]).await?;
                match judge(&rule, stored.first(), ahead.first().copied().unwrap_or_default(), now()) {
                    Verdict::Refuse(wait) => return Err(refusal(&rule, wait)),
                    Verdict::Pass => {
                        let (clear, failures) = (Vec::new(), Failures::default());
                        return Ok(Attempt { on_failure: vec![rule], clear, failures, _slot: slot });
                    }
                    Verdict::Queue => UnderWay::wait(slot, freed).await,
                }
            }
        });
        admitted.await.unwrap_or_else(|_| Err(overloaded()))
    }

    /// The rules that apply to this attempt, and that count if it fails.
    fn rules(&self, names: &Names, facts: &SignInFacts, ahead: i64, now: Timestamp) -> Vec<BucketRule> {
        // A pair that signed in lately answers for itself alone: nobody's attack locks out an office.
        if facts.known_network {
            return vec![self.rule(names.known_pair, self.config.pair_limit)];
        }
        let mut rules: Vec<_> = names.pairs.iter().map(|name| self.rule(*name, self.config.pair_limit)).collect();
        rules.extend(names.networks.iter().map(|name| self.rule(*name, self.config.network_limit)));
        let account = BucketRule {
            // Reaching it blocks nobody: it only slows strangers down.
            first_wait: Duration::ZERO,
            ..self.rule(names.account, self.config.account_limit)
        };
        let failures = self.failures_on(names.account, facts, now);
        // Those under way may all fail: strangers that come together are slowed down like those that come in a row.
        if failures.saturating_add(ahead) >= account.limit {
            rules.push(pace(names.pace_each, PACE_EACH));
            rules.push(pace(names.pace_all, PACE_ALL));
        }
        rules.push(BucketRule { limit: i64::MAX, ..account });
        rules
    }

    /// The rule under which a network waits, whatever account it tries; for how long is given.
    pub(super) fn blocking(&self, network: Option<Network>, wait: Duration) -> BucketRule {
        let network = network.map(|network| network.to_string()).unwrap_or_default();
        let bucket = self.name("network", &[&network]);
        BucketRule { limit: 1, first_wait: wait, longest_wait: wait, ..self.rule(bucket, 1) }
    }

    fn failures(&self, names: &Names, facts: &SignInFacts, now: Timestamp) -> Failures {
        let pair = if facts.known_network { Some(names.known_pair) } else { names.pairs.first().copied() };
        Failures {
            of_pair: pair.map_or(0, |pair| self.failures_on(pair, facts, now)),
            of_account: self.failures_on(names.account, facts, now),
        }
    }

    fn failures_on(&self, bucket: Bucket, facts: &SignInFacts, now: Timestamp) -> i64 {
        let stored = facts.attempts.iter().find(|stored| stored.bucket == bucket);
        stored.filter(|stored| now < stored.window_start + self.config.window).map_or(0, |stored| stored.count)
    }

    fn rule(&self, bucket: Bucket, limit: u32) -> BucketRule {
        BucketRule {
            bucket,
            limit: i64::from(limit),
            window: self.config.window,
            first_wait: FIRST_WAIT,
            longest_wait: LONGEST_WAIT,
        }
    }

    /// The name of a counter: a keyed hash, so that the table tells no e-mail and no address.
    fn name(&self, kind: &str, parts: &[&str]) -> Bucket {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(&kind).chain(parts) {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut name = Bucket::default();
        for (to, from) in name.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        name
    }
}

/// The limit itself said no.
fn refusal(rule: &BucketRule, wait: Duration) -> Error {
    let policy =
        RatePolicy { name: "sign-in", quota: u64::try_from(rule.limit).unwrap_or(u64::MAX), window: rule.window };
    Error::new(Code::TooManyAttempts, "wait before the next attempt").with_retry_after(wait).with_policy(policy)
}

/// Those ahead did not come to an end in time: that says nothing about the caller.
fn overloaded() -> Error {
    Error::new(Code::Unavailable, "try again in a moment")
}

fn pace(bucket: Bucket, limit: i64) -> BucketRule {
    BucketRule { bucket, limit, window: PACE_WINDOW, first_wait: PACE_WINDOW, longest_wait: PACE_WINDOW }
}

/// The names of all counters that an attempt may touch.
struct Names {
    /// The account with the network, and with the wider networks around it.
    pairs: Vec<Bucket>,
    /// The network and the wider ones around it.
    networks: Vec<Bucket>,
    account: Bucket,
    known_pair: Bucket,
    reasked: Bucket,
    pace_each: Bucket,
    pace_all: Bucket,
    all: Vec<Bucket>,
}

impl Names {
    fn new(throttle: &Throttle, email_key: &str, network: Option<Network>) -> Self {
        let widths: Vec<String> = match network {
            Some(network) => {
                std::iter::once(network).chain(network.wider()).map(|network| network.to_string()).collect()
            }
            None => vec![String::new()],
        };
        let nearest = widths.first().map(String::as_str).unwrap_or_default();
        let mut names = Self {
            pairs: widths.iter().map(|network| throttle.name("pair", &[email_key, network])).collect(),
            networks: widths.iter().map(|network| throttle.name("network", &[network])).collect(),
            account: throttle.name("account", &[email_key]),
            known_pair: throttle.name("known", &[email_key, nearest]),
            reasked: throttle.name("reasked", &[email_key]),
            pace_each: throttle.name("pace", &[email_key, nearest]),
            pace_all: throttle.name("pace", &[email_key]),
            all: Vec::new(),
        };
        names.all = [names.account, names.known_pair, names.reasked, names.pace_each, names.pace_all].into();
        names.all.extend(names.pairs.iter().chain(&names.networks));
        names
    }

    /// What a completed sign-in clears: the account's own counters, as far as there are any. A network's stay.
    fn cleared(&self, facts: &SignInFacts) -> Vec<Bucket> {
        let own = |name: &Bucket| !self.networks.contains(name);
        facts.attempts.iter().map(|stored| stored.bucket).filter(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(limit: i64) -> BucketRule {
        BucketRule {
            bucket: [0; 16],
            limit,
            window: Duration::from_secs(900),
            first_wait: FIRST_WAIT,
            longest_wait: LONGEST_WAIT,
        }
    }

    fn stored(count: i64, start: i64, blocked_until: i64) -> Attempts {
        Attempts {
            bucket: [0; 16],
            count,
            window_start: Timestamp::from_seconds(start),
            blocked_until: Timestamp::from_seconds(blocked_until),
        }
    }

    #[test]
    fn lets_as_many_through_at_once_as_may_still_fail() {
        let now = Timestamp::from_seconds(1_000);
        assert_eq!(judge(&rule(10), None, 9, now), Verdict::Pass);
        assert_eq!(judge(&rule(10), None, 10, now), Verdict::Queue);
        assert_eq!(judge(&rule(10), Some(&stored(9, 900, 0)), 0, now), Verdict::Pass);
        assert_eq!(judge(&rule(10), Some(&stored(9, 900, 0)), 1, now), Verdict::Queue);
    }

    #[test]
    fn refuses_until_the_wait_is_over_then_lets_one_through() {
        let blocked = stored(10, 900, 1_060);
        let at = |seconds| judge(&rule(10), Some(&blocked), 0, Timestamp::from_seconds(seconds));
        assert_eq!(at(1_000), Verdict::Refuse(Duration::from_secs(60)));
        assert_eq!(at(1_060), Verdict::Pass);
    }

    #[test]
    fn forgets_a_window_that_has_passed() {
        let now = Timestamp::from_seconds(2_000);
        assert_eq!(judge(&rule(10), Some(&stored(50, 900, 1_500)), 9, now), Verdict::Pass);
    }

    #[test]
    fn waits_grow_and_are_capped() {
        let waits: Vec<_> = (9..16).map(|count| rule(10).wait_after(count).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [None, Some(60), Some(120), Some(240), Some(480), Some(900), Some(900)]);
    }
}
