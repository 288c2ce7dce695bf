//! An issuer's keys at hand. One task fetches them; requests only wait for it, and seldom.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::source::{Found, Source};
use crate::{
    config::IssuerConfig,
    jwt::TrustedKeys,
    principal::Trust,
    store::breaker::{Breaker, Circuit, Rules, jittered},
    telemetry,
};

/// After how much of their life keys are fetched anew.
const AHEAD: f64 = 0.6;
/// How long after a failure the next attempt comes by itself, at first and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// When requests that wait for keys make nobody ask any longer.
const RULES: Rules = Rules { failures: 3, pause: RETRY, pause_max: RETRY_MAX };

/// Whether tokens of an issuer can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Its keys are at hand.
    Fresh,
    /// They should have been fetched anew by now. They verify for a while yet.
    Stale,
    /// There are none: its tokens can be neither accepted nor refused.
    Missing,
}

/// What is known of an issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerHealth {
    /// Whether its tokens can be judged.
    pub keys: KeyState,
    /// How long ago it last said which its keys are.
    pub last_success: Option<Duration>,
    /// Whether it is asked.
    pub circuit: Circuit,
}

/// Whether there are newer keys than those that a token was tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newer {
    /// Worth another try.
    Maybe,
    /// The issuer was asked a moment ago.
    No,
    /// The issuer does not answer.
    NobodyKnows,
}

/// The keys at hand, and who waits for others.
#[derive(Debug)]
pub(super) struct Keys {
    name: Arc<str>,
    held: RwLock<Option<Held>>,
    pulse: watch::Sender<Pulse>,
    breaker: Breaker,
    stale_if_error: Duration,
    unknown_key_interval: Duration,
    /// When a key that was not known last made somebody ask.
    asked_for_unknown: Mutex<Option<Instant>>,
}

/// Keys that may be used, until then, and for as long as the issuer has no others.
#[derive(Debug, Clone)]
pub(super) struct Usable {
    pub(super) keys: Arc<TrustedKeys>,
    pub(super) until: Instant,
    pub(super) trust: Trust,
}

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<TrustedKeys>,
    trust: Trust,
    since: Instant,
    fresh_until: Instant,
    usable_until: Instant,
}

/// How many attempts there were, and are to be.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    done: u64,
    /// More than were: one is under way, or to be made.
    wanted: u64,
    /// Whether the last one succeeded.
    is_good: bool,
}

impl Keys {
    /// Begins to fetch keys, for as long as the answer lives.
    pub(super) fn follow(name: Arc<str>, source: Source, config: &IssuerConfig) -> Arc<Self> {
        let pulse = watch::Sender::new(Pulse { done: 0, wanted: 1, is_good: false });
        let changes = pulse.subscribe();
        let keys = Arc::new(Self {
            name,
            held: RwLock::new(None),
            pulse,
            breaker: Breaker::new(RULES),
            stale_if_error: config.stale_if_error,
            unknown_key_interval: config.unknown_key_interval,
            asked_for_unknown: Mutex::new(None),
        });
        tokio::spawn(follow(Arc::downgrade(&keys), source, changes));
        keys
    }

    /// How many attempts there were: what is looked at after this is at least as new.
    pub(super) fn seen(&self) -> u64 {
        self.pulse.borrow().done
    }

    /// The keys, while they may be used.
    pub(super) fn usable(&self) -> Option<Usable> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let Held { keys, trust, usable_until, .. } = held.as_ref().filter(|held| Instant::now() < held.usable_until)?;
        Some(Usable { keys: Arc::clone(keys), until: *usable_until, trust: trust.clone() })
    }

    /// Waits for keys where there were none after `seen` attempts; whether there may be some now.
    pub(super) async fn await_any(&self, seen: u64) -> bool {
        let mut target = 0;
        self.pulse.send_modify(|pulse| {
            target = seen + 1;
            pulse.wanted = pulse.wanted.max(target);
        });
        self.reached(target).await && self.usable().is_some()
    }

    /// Waits for keys that are newer than those after `seen` attempts, unless the issuer was asked too lately.
    pub(super) async fn await_newer(&self, seen: u64) -> Newer {
        let (mut target, mut is_good) = (None, false);
        self.pulse.send_modify(|pulse| {
            is_good = pulse.is_good;
            if pulse.done > seen || pulse.wanted > pulse.done {
                // Somebody was or is at it.
                target = Some(seen + 1);
            } else if self.may_ask_for_unknown() {
                pulse.wanted = pulse.done + 1;
                target = Some(pulse.wanted);
            }
        });
        match target {
            Some(target) if self.reached(target).await => Newer::Maybe,
            None if is_good => Newer::No,
            Some(_) | None => Newer::NobodyKnows,
        }
    }

    /// Whether the attempt of this number was made, and it or one after it was good.
    async fn reached(&self, target: u64) -> bool {
        let mut changes = self.pulse.subscribe();
        // The sender is this very one: it does not go while somebody waits.
        changes.wait_for(|pulse| pulse.done >= target).await.is_ok_and(|pulse| pulse.is_good)
    }

    /// Once in an interval. Asking takes the permission.
    fn may_ask_for_unknown(&self) -> bool {
        let mut last = self.asked_for_unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= self.unknown_key_interval);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    pub(super) fn health(&self) -> IssuerHealth {
        let now = Instant::now();
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let keys = match held.as_ref() {
            Some(held) if now < held.fresh_until => KeyState::Fresh,
            Some(held) if now < held.usable_until => KeyState::Stale,
            _ => KeyState::Missing,
        };
        let last_success = held.as_ref().map(|held| now.saturating_duration_since(held.since));
        IssuerHealth { keys, last_success, circuit: self.breaker.health().circuit }
    }

    /// One attempt; how long until the next, if it was good.
    async fn attempt(&self, source: &mut Source) -> Option<Duration> {
        let Ok(pass) = self.breaker.admit() else {
            telemetry::count_issuer_fetch(&self.name, "not_asked");
            return None;
        };
        match source.fetch().await {
            Ok(Found { keys, lifetime, is_new }) => {
                pass.succeeded();
                telemetry::count_issuer_fetch(&self.name, if is_new { "fetched" } else { "unchanged" });
                self.hold(keys, lifetime);
                Some(lifetime)
            }
            Err(error) => {
                pass.failed();
                telemetry::count_issuer_fetch(&self.name, error.outcome());
                tracing::warn!(issuer = &*self.name, %error, "the issuer's keys cannot be fetched at present");
                None
            }
        }
    }

    /// Takes keys in place of those before. What these vouched for they do no longer, unless they are the same.
    fn hold(&self, keys: Arc<TrustedKeys>, lifetime: Duration) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let trust = match held.as_ref() {
            Some(before) if Arc::ptr_eq(&before.keys, &keys) => before.trust.clone(),
            before => {
                before.inspect(|before| before.trust.end());
                Trust::new()
            }
        };
        let since = Instant::now();
        let fresh_until = since + lifetime;
        *held = Some(Held { keys, trust, since, fresh_until, usable_until: fresh_until + self.stale_if_error });
    }

    fn attempted(&self, is_good: bool) {
        if let Some(age) = self.health().last_success {
            telemetry::issuer_keys_age(&self.name, age);
        }
        self.pulse.send_modify(|pulse| {
            pulse.done += 1;
            pulse.wanted = pulse.wanted.max(pulse.done);
            pulse.is_good = is_good;
        });
    }
}

/// Fetches keys ahead of their end, after failures, and when somebody waits for some. Ends with the last who could ask.
async fn follow(keys: Weak<Keys>, mut source: Source, mut changes: watch::Receiver<Pulse>) {
    let (mut due, mut failures) = (Instant::now(), 0_u32);
    loop {
        let is_wanted = |pulse: &Pulse| pulse.wanted > pulse.done;
        let wanted = async { changes.wait_for(is_wanted).await.map(drop) };
        tokio::select! {
            wanted = wanted => if wanted.is_err() { return },
            () = sleep_until(due) => {}
        }
        let Some(keys) = keys.upgrade() else { return };
        // Whoever wants keys from here on waits for these.
        keys.pulse.send_modify(|pulse| pulse.wanted = pulse.wanted.max(pulse.done + 1));
        let lifetime = keys.attempt(&mut source).await;
        failures = if lifetime.is_some() { 0 } else { failures.saturating_add(1) };
        let pause = match lifetime {
            Some(lifetime) => lifetime.mul_f64(AHEAD),
            None => RETRY.saturating_mul(1 << failures.min(6).saturating_sub(1)).min(RETRY_MAX),
        };
        due = Instant::now() + jittered(pause);
        keys.attempted(lifetime.is_some());
    }
}
