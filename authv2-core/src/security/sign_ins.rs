//! What failed sign-ins add up to: stuffing, spraying, and the pressure that the deployment is under.
//!
//! Counted are accounts, not attempts: who mistypes a password ten times is one account. Only strangers count, and only
//! where far more of them fail than get in, so that a busy morning is no attack.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{Distinct, Table, Window};
use crate::clock::Timestamp;

/// How many networks and passwords are told apart.
const NETWORKS: usize = 4 * 1024;
const PASSWORDS: usize = 4 * 1024;
/// From how many networks an attack on the deployment comes at least: one alone is the throttle's.
const NETWORKS_MIN: usize = 5;
/// How many more accounts must fail than get in.
const FAR_MORE: usize = 2;
/// How far counting goes beyond what makes an attack: on a large deployment many get in as well.
const HEADROOM: usize = 16;

/// When failures are an attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) window: Duration,
    /// So many accounts from everywhere.
    pub(crate) accounts: usize,
    /// So many accounts from one network.
    pub(crate) of_network: usize,
    /// So many accounts with one password.
    pub(crate) of_password: usize,
    /// How long the deployment counts as attacked after the last sign of it.
    pub(crate) pressure: Duration,
}

/// An attempt by a stranger; everything by keyed hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    pub(crate) account: u64,
    pub(crate) network: u64,
    pub(crate) password: u64,
}

/// What was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Many accounts are tried from everywhere: the deployment is under attack.
    Stuffing { accounts: usize, networks: usize },
    /// It still is.
    StuffingGoesOn { refused: u64, judged: u64 },
    /// Many accounts are tried from the network of this attempt.
    StuffingFrom { accounts: usize },
    /// The password of this attempt is tried on many accounts.
    Spraying { accounts: usize, networks: usize },
}

/// An attack that is over, as this node saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) lasted: Duration,
    pub(crate) refused: u64,
    pub(crate) judged: u64,
}

/// The failures of this node.
#[derive(Debug)]
pub(crate) struct SignIns {
    rules: Rules,
    /// Until when the deployment counts as attacked, in microseconds.
    pressed_until: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failing: Distinct,
    passing: Distinct,
    networks: Distinct,
    by_network: Table<OfNetwork>,
    by_password: Table<OfPassword>,
    attack: Option<Attack>,
}

#[derive(Debug, Default)]
struct OfNetwork {
    failing: Distinct,
    passing: Distinct,
    told: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct OfPassword {
    accounts: Distinct,
    networks: Distinct,
    told: Option<Timestamp>,
}

/// An attack as it goes on.
#[derive(Debug, Clone, Copy)]
struct Attack {
    began: Timestamp,
    told: Timestamp,
    refused: u64,
    judged: u64,
}

impl SignIns {
    /// Whether so many networks are more than the throttle of each can deal with.
    pub(crate) fn is_wide(networks: usize) -> bool {
        networks >= NETWORKS_MIN
    }

    pub(crate) fn new(rules: Rules) -> Self {
        let state = State {
            failing: Distinct::default(),
            passing: Distinct::default(),
            networks: Distinct::default(),
            by_network: Table::new(NETWORKS),
            by_password: Table::new(PASSWORDS),
            attack: None,
        };
        Self { rules, pressed_until: AtomicI64::new(i64::MIN), state: Mutex::new(state) }
    }

    /// Whether the deployment counts as attacked.
    pub(crate) fn is_pressed(&self, now: Timestamp) -> bool {
        now.as_micros() < self.pressed_until.load(Ordering::Relaxed)
    }

    /// Another node found an attack.
    pub(crate) fn press(&self, until: Timestamp, now: Timestamp) {
        if self.pressed_until.fetch_max(until.as_micros(), Ordering::Relaxed) < until.as_micros() && until > now {
            self.lock().attack.get_or_insert(Attack::at(now));
        }
    }

    /// A stranger's password was looked at and was wrong.
    pub(crate) fn failed(&self, attempt: Try, now: Timestamp) -> Vec<Finding> {
        self.count(attempt, now, true)
    }

    /// A stranger was turned away before its password was looked at: while an attack is on, that tells as much.
    pub(crate) fn turned_away(&self, attempt: Try, now: Timestamp) -> Vec<Finding> {
        self.count(attempt, now, false)
    }

    fn count(&self, attempt: Try, now: Timestamp, was_judged: bool) -> Vec<Finding> {
        let Rules { window: length, accounts, of_network, of_password, pressure } = self.rules;
        let window = |most: usize| Window { length, most };
        let wide = window(accounts.saturating_mul(HEADROOM));
        let mut findings = Vec::new();
        let mut state = self.lock();
        let State { failing, passing, networks, by_network, by_password, attack } = &mut *state;

        let (failed, passed) = (failing.note(attempt.account, now, wide), passing.count(now, wide));
        let from = networks.note(attempt.network, now, wide);
        if failed >= accounts && failed >= FAR_MORE * passed && Self::is_wide(from) {
            self.pressed_until.fetch_max((now + pressure).as_micros(), Ordering::Relaxed);
            if attack.is_none() {
                findings.push(Finding::Stuffing { accounts: failed, networks: from });
            }
            attack.get_or_insert(Attack::at(now));
        }
        if let Some(attack) = attack {
            *(if was_judged { &mut attack.judged } else { &mut attack.refused }) += 1;
            if now.since(attack.told) >= pressure / 2 && self.is_pressed(now) {
                attack.told = now;
                findings.push(Finding::StuffingGoesOn { refused: attack.refused, judged: attack.judged });
            }
        }
        if was_judged {
            let narrow = window(of_network.saturating_mul(FAR_MORE));
            findings.extend(by_network.update(attempt.network, now, |of| {
                let (failed, passed) = (of.failing.note(attempt.account, now, narrow), of.passing.count(now, narrow));
                let is_one = failed >= of_network && failed >= FAR_MORE * passed;
                (is_one && is_due(&mut of.told, now, length)).then_some(Finding::StuffingFrom { accounts: failed })
            }));
        }
        findings.extend(by_password.update(attempt.password, now, |of| {
            let tried = of.accounts.note(attempt.account, now, window(of_password));
            let networks = of.networks.note(attempt.network, now, window(of_password));
            let is_told = tried >= of_password && is_due(&mut of.told, now, length);
            is_told.then_some(Finding::Spraying { accounts: tried, networks })
        }));
        findings
    }

    /// A stranger got in.
    pub(crate) fn passed(&self, attempt: Try, now: Timestamp) {
        let Rules { window: length, accounts, of_network, .. } = self.rules;
        let mut state = self.lock();
        state.passing.note(attempt.account, now, Window { length, most: accounts.saturating_mul(HEADROOM) });
        let narrow = Window { length, most: of_network.saturating_mul(FAR_MORE) };
        state.by_network.update(attempt.network, now, |of| of.passing.note(attempt.account, now, narrow));
    }

    /// Tells once of an attack that is over.
    pub(crate) fn take_ended(&self, now: Timestamp) -> Option<Ended> {
        if self.is_pressed(now) {
            return None;
        }
        let Attack { began, refused, judged, .. } = self.lock().attack.take()?;
        Some(Ended { lasted: now.since(began), refused, judged })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attack {
    fn at(now: Timestamp) -> Self {
        Self { began: now, told: now, refused: 0, judged: 0 }
    }
}

/// Whether what goes on is to be told of again: once in a window.
fn is_due(told: &mut Option<Timestamp>, now: Timestamp, window: Duration) -> bool {
    let is_due = told.is_none_or(|told| now.since(told) >= window);
    if is_due {
        *told = Some(now);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        window: Duration::from_secs(300),
        accounts: 100,
        of_network: 20,
        of_password: 10,
        pressure: Duration::from_secs(600),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    fn one(account: u64, network: u64, password: u64) -> Try {
        Try { account, network, password }
    }

    #[test]
    fn many_accounts_that_fail_from_many_networks_are_an_attack() {
        let sign_ins = SignIns::new(RULES);
        for account in 0..99 {
            assert_eq!(sign_ins.failed(one(account, account, account), at(0)), []);
        }
        assert!(!sign_ins.is_pressed(at(0)));
        let found = sign_ins.failed(one(99, 99, 99), at(1));
        assert_eq!(found, [Finding::Stuffing { accounts: 100, networks: 100 }]);
        assert!(sign_ins.is_pressed(at(600)) && !sign_ins.is_pressed(at(601)));
        assert_eq!(sign_ins.take_ended(at(600)), None);
        let ended = Ended { lasted: Duration::from_secs(600), refused: 0, judged: 1 };
        assert_eq!(sign_ins.take_ended(at(601)), Some(ended));
        assert_eq!(sign_ins.take_ended(at(602)), None);
    }

    #[test]
    fn one_account_that_fails_for_ever_is_none() {
        let sign_ins = SignIns::new(RULES);
        for attempt in 0..10_000 {
            assert_eq!(sign_ins.failed(one(1, attempt, attempt), at(0)), []);
        }
    }

    #[test]
    fn a_busy_morning_is_none() {
        let sign_ins = SignIns::new(RULES);
        for account in 0..1_000 {
            sign_ins.passed(one(account, account, account), at(0));
            if account % 3 == 0 {
                assert_eq!(sign_ins.failed(one(account, account, account), at(0)), []);
            }
        }
    }

    #[test]
    fn one_network_alone_is_no_attack_on_the_deployment() {
        let sign_ins = SignIns::new(RULES);
        for account in 0..1_000 {
            sign_ins.failed(one(account, account % 4, account), at(0));
        }
        assert!(!sign_ins.is_pressed(at(0)));
        let found = sign_ins.failed(one(1_000, 4, 1_000), at(0));
        assert!(matches!(found[..], [Finding::Stuffing { networks: 5, .. }]), "{found:?}");
    }

    #[test]
    fn slow_failures_are_none() {
        let sign_ins = SignIns::new(RULES);
        for account in 0..1_000 {
            let now = at(i64::try_from(account).unwrap() * 10);
            assert_eq!(sign_ins.failed(one(account, account, account), now), []);
        }
    }

    #[test]
    fn an_attack_that_is_turned_away_still_presses() {
        let sign_ins = SignIns::new(RULES);
        for account in 0..100 {
            sign_ins.failed(one(account, account, account), at(0));
        }
        for second in 0..1_000_u64 {
            let now = at(i64::try_from(second).unwrap());
            sign_ins.turned_away(one(1_000 + second, second, second), now);
        }
        assert!(sign_ins.is_pressed(at(1_500)));
    }

    #[test]
    fn a_network_that_tries_many_accounts_is_told_of_once_and_an_office_not_at_all() {
        let sign_ins = SignIns::new(RULES);
        let found: Vec<_> = (0..60).flat_map(|account| sign_ins.failed(one(account, 7, account), at(0))).collect();
        assert_eq!(found, [Finding::StuffingFrom { accounts: 20 }]);
        for account in 0..60 {
            sign_ins.passed(one(account, 8, account), at(0));
            let found = if account % 2 == 0 { sign_ins.failed(one(account, 8, account), at(0)) } else { Vec::new() };
            assert!(!found.contains(&Finding::StuffingFrom { accounts: 20 }), "{account}");
        }
    }

    #[test]
    fn one_password_on_many_accounts_is_spraying() {
        let sign_ins = SignIns::new(RULES);
        let found: Vec<_> = (0..20).flat_map(|account| sign_ins.failed(one(account, account, 7), at(0))).collect();
        assert_eq!(found, [Finding::Spraying { accounts: 10, networks: 10 }]);
    }

    #[test]
    fn what_another_node_found_presses_here() {
        let sign_ins = SignIns::new(RULES);
        sign_ins.press(at(60), at(0));
        assert!(sign_ins.is_pressed(at(59)));
        assert!(sign_ins.take_ended(at(60)).is_some());
    }
}
