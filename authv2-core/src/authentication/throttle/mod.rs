//! Throttling of failed sign-ins by account and network, of wrong codes, and of mails asked for. OWASP ASVS 6.3.1.
//!
//! The counters live in the store and count failures only. Attempts under way on this node are counted beside them,
//! so that parallel guesses cannot all slip through before the first of them is known to be wrong: an attempt that
//! would go over a limit, should those ahead of it fail, waits for them. Several nodes can exceed a limit by at most
//! the attempts that each has under way.

mod names;
#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod tests;
mod under_way;
mod verdict;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::{
    names::{Names, name},
    under_way::{Slot, UnderWay},
    verdict::{Verdict, judge},
};
use crate::{
    audit::Origin,
    client::Network,
    clock::Timestamp,
    config::ThrottleConfig,
    error::{Code, Error, RatePolicy, Result},
    id::{DeviceId, UserId},
    mail::Kind,
    session::device::Device,
    store::{Bucket, BucketRule, SharedStore, SignInFacts, SignInQuery},
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

/// Codes and passwords asked again: a second factor has few values, so the count outlives the window of sign-ins, and
/// the longest wait is a day. What that leaves to guess with is reckoned in docs/security.md.
pub(super) const REASKED_LIMIT: u32 = 10;
pub(super) const REASKED_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
const REASKED_LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Mails that one address may be sent in a window, whoever asks.
const MAILS_EACH: i64 = 10;
const MAILS_WINDOW: Duration = Duration::from_secs(900);

/// Judges attempts to sign in.
pub(super) struct Throttle {
    key: hmac::Key,
    config: ThrottleConfig,
    under_way: Arc<UnderWay>,
}

/// From where somebody signs in.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) network: Option<Network>,
    /// What its `User-Agent` says it is, as devices are compared.
    pub(super) device: Option<String>,
    /// The device that its cookie names, whose signature was good.
    pub(super) presented: Option<DeviceId>,
}

impl Place {
    /// Where a request comes from, with the device that it shows to be.
    pub(super) fn of(origin: &Origin, presented: Option<DeviceId>) -> Self {
        let agent = origin.user_agent.as_deref().filter(|agent| !agent.is_empty());
        let device = agent.map(|agent| Device::of(agent).name());
        Self { network: origin.ip.map(Network::of), device, presented }
    }
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

/// A mail that may be asked for. Dropping it says that the asking has been counted, or has come to nothing.
pub(super) struct Asking {
    /// Whether the mail is sent: its address may have been sent enough.
    pub(super) goes_out: bool,
    /// What counts either way.
    pub(super) count: Vec<BucketRule>,
    _slot: Slot,
}

/// The failed attempts of an account, or of whatever else is counted, in a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failures {
    /// From the network of this attempt.
    pub(super) of_pair: i64,
    /// From networks that the account is not known at.
    pub(super) of_account: i64,
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
        place: Place,
        now: impl Fn() -> Timestamp,
    ) -> Result<(SignInFacts, Attempt)> {
        let Place { network, device, presented } = place;
        let names = Names::new(&self.key, email_key, network, presented);
        let admitted = timeout(PATIENCE, async {
            loop {
                let freed = self.under_way.freed();
                // A sign-in clears the counter of passwords asked again; it takes no place there.
                let entered: Vec<Bucket> =
                    names.all.iter().copied().filter(|name| !names.reasked.contains(name)).collect();
                let (slot, ahead) = self.under_way.enter(entered.clone());
                let facts = store
                    .sign_in_facts(SignInQuery {
                        email_key: email_key.to_owned(),
                        network: network.map(|network| network.to_string()),
                        device: device.clone(),
                        presented,
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

    /// What is known of where a sign-in comes from that no limit stops here (a link in a mail, a second factor whose first
    /// one was let through before), and the counters that it clears once it is complete.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn facts(
        &self,
        store: &SharedStore,
        email_key: &str,
        place: Place,
        now: Timestamp,
    ) -> Result<(SignInFacts, Vec<Bucket>)> {
        let Place { network, device, presented } = place;
        let names = Names::new(&self.key, email_key, network, presented);
        let query = SignInQuery {
            email_key: email_key.to_owned(),
            network: network.map(|network| network.to_string()),
            device,
            presented,
            known_since: now - self.config.known_network_ttl,
            buckets: names.all.clone(),
        };
        let facts = store.sign_in_facts(query).await?;
        let clear = names.cleared(&facts);
        Ok((facts, clear))
    }

    /// Lets a code, or a password asked again, be judged, or refuses it: these count per account alone, across tokens and
    /// networks, until a sign-in is completed. On a device that the user is known on they count by themselves: whoever
    /// guesses elsewhere does not keep the owner out.
    ///
    /// # Errors
    /// As [`Throttle::admit`].
    pub(super) async fn admit_reasked(
        &self,
        store: &SharedStore,
        email_key: &str,
        known_device: Option<DeviceId>,
        now: impl Fn() -> Timestamp,
    ) -> Result<Attempt> {
        let rule = BucketRule {
            window: REASKED_WINDOW,
            longest_wait: REASKED_LONGEST_WAIT,
            ..self.rule(names::reasked(&self.key, email_key, known_device), REASKED_LIMIT)
        };
        self.admit_one(store, rule, now).await
    }

    /// Lets a mail to an address be asked for, or refuses it: askings count per network and per address, whether or not
    /// somebody has the address. An address that has been sent enough is no reason to refuse, since whoever asks may be
    /// a stranger to it: then nothing goes out. Each kind counts by itself, so that nobody keeps an owner from one by
    /// asking for another; what the `owner` asks for, signed in, counts for it alone.
    ///
    /// # Errors
    /// As [`Throttle::admit`], for the network.
    pub(super) async fn admit_mail(
        &self,
        store: &SharedStore,
        (kind, email_key): (Kind, &str),
        owner: Option<UserId>,
        network: Option<Network>,
        now: impl Fn() -> Timestamp,
    ) -> Result<Asking> {
        // No longer than a link in it lives, or there would be times without one.
        let window = MAILS_WINDOW.min(kind.life());
        let bucket = match owner {
            Some(user) => name(&self.key, "mails for", &[kind.as_str(), &user.to_string()]),
            None => name(&self.key, "mails to", &[kind.as_str(), email_key]),
        };
        let address = BucketRule { bucket, limit: MAILS_EACH, window, first_wait: window, longest_wait: window };
        let networks = if owner.is_some() { Vec::new() } else { names::mail_networks(&self.key, kind, network) };
        let mut rules: Vec<_> =
            networks.into_iter().map(|bucket| self.rule(bucket, self.config.network_limit)).collect();
        rules.push(address);
        let admitted = timeout(PATIENCE, async {
            loop {
                let freed = self.under_way.freed();
                let buckets: Vec<Bucket> = rules.iter().map(|rule| rule.bucket).collect();
                let (slot, ahead) = self.under_way.enter(buckets.clone());
                let stored = store.attempts(&buckets).await?;
                let (mut goes_out, mut queues) = (true, false);
                for (rule, ahead) in rules.iter().zip(ahead) {
                    let stored = stored.iter().find(|stored| stored.bucket == rule.bucket);
                    match judge(rule, stored, ahead, now()) {
                        Verdict::Pass => {}
                        Verdict::Queue => queues = true,
                        Verdict::Refuse(_) if rule.bucket == address.bucket => goes_out = false,
                        Verdict::Refuse(wait) => return Err(refusal(rule, wait)),
                    }
                }
                if queues {
                    UnderWay::wait(slot, freed).await;
                    continue;
                }
                // Asking on and on must not keep the address from its mails for ever.
                let counts = |rule: &BucketRule| goes_out || rule.bucket != address.bucket;
                let count = rules.iter().copied().filter(counts).collect();
                return Ok(Asking { goes_out, count, _slot: slot });
            }
        });
        admitted.await.unwrap_or_else(|_| Err(overloaded()))
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
        let rule = self.rule(name(&self.key, "registration", &[&network]), self.config.network_limit);
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
        let rule = self.rule(name(&self.key, "lookup", &[caller]), self.config.network_limit);
        self.admit_one(store, rule, now).await
    }

    async fn admit_one(&self, store: &SharedStore, rule: BucketRule, now: impl Fn() -> Timestamp) -> Result<Attempt> {
        let admitted = timeout(PATIENCE, async {
            loop {
                let freed = self.under_way.freed();
                let (slot, ahead) = self.under_way.enter(vec![rule.bucket]);
                let stored = store.attempts(&[rule.bucket]).await?;
                let before = stored.first().filter(|stored| now() < stored.window_start + rule.window);
                match judge(&rule, stored.first(), ahead.first().copied().unwrap_or_default(), now()) {
                    Verdict::Refuse(wait) => return Err(refusal(&rule, wait)),
                    Verdict::Pass => {
                        let of_account = before.map_or(0, |stored| stored.count);
                        let (clear, failures) = (Vec::new(), Failures { of_account, ..Failures::default() });
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
        // A browser that the user is known on answers for itself alone, wherever it is: nobody's attack locks it out.
        if let Some(name) = names.device.filter(|_| facts.known_device.is_some()) {
            return vec![self.rule(name, self.config.pair_limit)];
        }
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
        let bucket = name(&self.key, "network", &[&network]);
        BucketRule { limit: 1, first_wait: wait, longest_wait: wait, ..self.rule(bucket, 1) }
    }

    fn failures(&self, names: &Names, facts: &SignInFacts, now: Timestamp) -> Failures {
        let pair = match names.device.filter(|_| facts.known_device.is_some()) {
            Some(device) => Some(device),
            None if facts.known_network => Some(names.known_pair),
            None => names.pairs.first().copied(),
        };
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
