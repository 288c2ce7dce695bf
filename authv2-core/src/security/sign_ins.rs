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
/// How many more accounts must fail than get in.
const FAR_MORE: usize = 2;
/// How far counting goes beyond what makes an attack, before it is of a sample: on a large deployment many get in too.
const HEADROOM: usize = 16;
const HEADROOM_OF_NETWORK: usize = 4;
/// From how many networks an attack on the deployment comes at least: one alone is the throttle's.
const SEVERAL: usize = 5;
/// How often the part of accounts that is counted is halved at most.
const HALVINGS_MAX: u32 = 16;

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
    /// Whether strangers are slowed while it does, for stuffing.
    pub(crate) slows: bool,
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
    /// The password of this attempt is tried on many accounts, from so many networks.
    Spraying { accounts: usize, networks: usize },
}

impl Finding {
    /// Whether so many networks are the work of more than one place.
    pub(crate) fn is_from_several(networks: usize) -> bool {
        networks >= SEVERAL
    }
}

/// Why the deployment counts as attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Another node found stuffing, and has told of it.
    Stuffing,
    /// A password is sprayed, and that is to slow strangers.
    Spraying,
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
    /// Until when strangers are slowed for it.
    slowed_until: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    accounts: Balance,
    networks: Distinct,
    by_network: Table<OfNetwork>,
    by_password: Table<OfPassword>,
    attack: Option<Attack>,
}

#[derive(Debug, Default)]
struct OfNetwork {
    accounts: Balance,
    told: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct OfPassword {
    accounts: Distinct,
    networks: Distinct,
    told: Option<Timestamp>,
    told_of_several: Option<Timestamp>,
}

/// Accounts that fail, against those that get in. Where there are more than there is room for, a sample is counted, the
/// same of both.
#[derive(Debug, Default)]
struct Balance {
    failing: Distinct,
    passing: Distinct,
    /// One account in two to the power of this is counted.
    halvings: u32,
}

impl Balance {
    /// Notes an account that fails; how many fail, where those are far more than get in.
    fn failed(&mut self, account: u64, now: Timestamp, window: Window) -> Option<usize> {
        self.make_room(now, window);
        if self.is_counted(account) {
            self.failing.note(account, now, window);
        }
        let (failing, passing) = (self.failing.count(now, window), self.passing.count(now, window));
        (failing >= FAR_MORE * passing).then(|| failing.saturating_mul(1 << self.halvings))
    }

    /// Notes an account that gets in: that it failed before was a slip.
    fn passed(&mut self, account: u64, now: Timestamp, window: Window) {
        self.make_room(now, window);
        self.failing.forget(account);
        if self.is_counted(account) {
            self.passing.note(account, now, window);
        }
    }

    fn make_room(&mut self, now: Timestamp, window: Window) {
        let most = self.failing.count(now, window).max(self.passing.count(now, window));
        if most >= window.most && self.halvings < HALVINGS_MAX {
            self.halvings += 1;
            let halvings = self.halvings;
            self.failing.keep(|account| is_in_sample(account, halvings));
            self.passing.keep(|account| is_in_sample(account, halvings));
        } else if most < window.most / 4 {
            // What was left out meanwhile is missing for a window, of both alike.
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    fn is_counted(&self, account: u64) -> bool {
        is_in_sample(account, self.halvings)
    }
}

fn is_in_sample(account: u64, halvings: u32) -> bool {
    account.trailing_zeros() >= halvings
}

/// An attack as it goes on.
#[derive(Debug, Clone, Copy)]
struct Attack {
    began: Timestamp,
    told: Timestamp,
    /// Whether it was told that stuffing has begun.
    is_told: bool,
    refused: u64,
    judged: u64,
}

impl SignIns {
    pub(crate) fn new(rules: Rules) -> Self {
        let state = State {
            accounts: Balance::default(),
            networks: Distinct::default(),
            by_network: Table::new(NETWORKS),
            by_password: Table::new(PASSWORDS),
            attack: None,
        };
        let (pressed_until, slowed_until) = (AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN));
        Self { rules, pressed_until, slowed_until, state: Mutex::new(state) }
    }

    /// Whether the deployment counts as attacked.
    pub(crate) fn is_pressed(&self, now: Timestamp) -> bool {
        self.is_before(&self.pressed_until, now)
    }

    /// Whether strangers are slowed for that.
    pub(crate) fn is_slowed(&self, now: Timestamp) -> bool {
        self.is_before(&self.slowed_until, now)
    }

    /// From now on the deployment counts as attacked.
    pub(crate) fn press(&self, cause: Cause, until: Timestamp, now: Timestamp) {
        if cause == Cause::Spraying || self.rules.slows {
            self.slowed_until.fetch_max(until.as_micros(), Ordering::Relaxed);
        }
        if self.pressed_until.fetch_max(until.as_micros(), Ordering::Relaxed) < until.as_micros() && until > now {
            let mut state = self.lock();
            state.attack.get_or_insert(Attack::at(now)).is_told |= cause == Cause::Stuffing;
        }
    }

    /// Whether it is before `until`, which never is further away than an attack presses: the clock may have been ahead.
    fn is_before(&self, until: &AtomicI64, now: Timestamp) -> bool {
        let furthest = (now + self.rules.pressure).as_micros();
        now.as_micros() < until.fetch_min(furthest, Ordering::Relaxed)
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
        let Rules { window: length, accounts: enough, of_network, of_password, pressure, slows } = self.rules;
        let window = |most: usize| Window { length, most };
        let wide = window(enough.saturating_mul(HEADROOM));
        let mut findings = Vec::new();
        let mut state = self.lock();
        let State { accounts, networks, by_network, by_password, attack } = &mut *state;

        let from = networks.note(attempt.network, now, wide);
        let is_attack = |failing: &usize| *failing >= enough && Finding::is_from_several(from);
        let failing = accounts.failed(attempt.account, now, wide).filter(is_attack);
        if failing.is_some() {
            let until = (now + pressure).as_micros();
            self.pressed_until.fetch_max(until, Ordering::Relaxed);
            if slows {
                self.slowed_until.fetch_max(until, Ordering::Relaxed);
            }
            attack.get_or_insert(Attack::at(now));
        }
        if let Some(attack) = attack {
            *(if was_judged { &mut attack.judged } else { &mut attack.refused }) += 1;
            // Other nodes count as attacked for as long as they are told: only what is one now is told of.
            if let Some(failing) = failing {
                if !attack.is_told {
                    (attack.is_told, attack.told) = (true, now);
                    findings.push(Finding::Stuffing { accounts: failing, networks: from });
                } else if now.since(attack.told) >= pressure / 2 {
                    attack.told = now;
                    findings.push(Finding::StuffingGoesOn { refused: attack.refused, judged: attack.judged });
                }
            }
        }
        if was_judged {
            let narrow = window(of_network.saturating_mul(HEADROOM_OF_NETWORK));
            findings.extend(by_network.update(attempt.network, now, |of| {
                let failing = of.accounts.failed(attempt.account, now, narrow);
                let failing = failing.filter(|failing| *failing >= of_network)?;
                is_due(&mut of.told, now, length).then_some(Finding::StuffingFrom { accounts: failing })
            }));
        }
        findings.extend(by_password.update(attempt.password, now, |of| {
            let tried = of.accounts.note(attempt.account, now, window(of_password));
            let networks = of.networks.note(attempt.network, now, window(of_password.max(SEVERAL)));
            let is_from_several = Finding::is_from_several(networks);
            let told = if is_from_several { &mut of.told_of_several } else { &mut of.told };
            let is_one = tried >= of_password && is_due(told, now, length);
            is_one.then_some(Finding::Spraying { accounts: tried, networks })
        }));
        findings
    }

    /// A stranger got in.
    pub(crate) fn passed(&self, attempt: Try, now: Timestamp) {
        let Rules { window: length, accounts, of_network, .. } = self.rules;
        let mut state = self.lock();
        state.accounts.passed(attempt.account, now, Window { length, most: accounts.saturating_mul(HEADROOM) });
        let narrow = Window { length, most: of_network.saturating_mul(HEADROOM_OF_NETWORK) };
        state.by_network.update(attempt.network, now, |of| of.accounts.passed(attempt.account, now, narrow));
    }

    /// Tells once of an attack that is over, if it was told that it began.
    pub(crate) fn take_ended(&self, now: Timestamp) -> Option<Ended> {
        if self.is_pressed(now) {
            return None;
        }
        let Attack { began, is_told, refused, judged, .. } = self.lock().attack.take()?;
        is_told.then(|| Ended { lasted: now.since(began), refused, judged })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attack {
    fn at(now: Timestamp) -> Self {
        Self { began: now, told: now, is_told: false, refused: 0, judged: 0 }
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
        slows: true,
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
    fn one_password_from_one_place_is_told_apart_from_one_from_several() {
        let sign_ins = SignIns::new(RULES);
        let found: Vec<_> = (0..15).flat_map(|account| sign_ins.failed(one(account, 1, 7), at(0))).collect();
        assert_eq!(found, [Finding::Spraying { accounts: 10, networks: 1 }]);
        let found: Vec<_> = (2..6).flat_map(|network| sign_ins.failed(one(0, network, 7), at(1))).collect();
        assert_eq!(found, [Finding::Spraying { accounts: 10, networks: 5 }]);
        assert_eq!([1, 5].map(Finding::is_from_several), [false, true]);
    }

    #[test]
    fn an_attack_ends_though_strangers_go_on_to_come() {
        let sign_ins = SignIns::new(RULES);
        for account in 0..200 {
            sign_ins.failed(one(account, account, account), at(0));
        }
        for stranger in 1..10_u64 {
            let now = at(i64::try_from(stranger).unwrap() * 360);
            let found = sign_ins.turned_away(one(1_000 + stranger, stranger, stranger), now);
            assert_eq!(found, [], "{stranger}");
        }
        assert!(!sign_ins.is_pressed(at(601)));
    }

    #[test]
    fn who_was_turned_away_and_gets_in_does_not_count_as_failing() {
        let sign_ins = SignIns::new(RULES);
        sign_ins.press(Cause::Stuffing, at(600), at(0));
        for account in 0..1_000 {
            let attempt = one(account, account, account);
            assert_eq!(sign_ins.turned_away(attempt, at(0)), []);
            sign_ins.passed(attempt, at(10));
        }
        assert!(!sign_ins.is_pressed(at(600)));
    }

    #[test]
    fn an_attack_is_found_among_many_who_get_in() {
        let sign_ins = SignIns::new(RULES);
        let hashed = |account: u64| account.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
        for account in 0..2_000 {
            sign_ins.passed(one(hashed(account), account, account), at(0));
        }
        let fail = |account| sign_ins.failed(one(hashed(account), account, account), at(0));
        let found: Vec<_> = (2_000..22_000).flat_map(fail).collect();
        assert!(matches!(found[..], [Finding::Stuffing { .. }]), "{found:?}");

        let sign_ins = SignIns::new(RULES);
        for account in 0..30 {
            sign_ins.passed(one(hashed(account), 7, account), at(0));
        }
        let found: Vec<_> =
            (30..530).flat_map(|account| sign_ins.failed(one(hashed(account), 7, account), at(0))).collect();
        assert!(found.iter().any(|found| matches!(found, Finding::StuffingFrom { .. })), "{found:?}");
    }

    #[test]
    fn stuffing_is_told_of_where_spraying_has_pressed_already() {
        let sign_ins = SignIns::new(RULES);
        sign_ins.press(Cause::Spraying, at(600), at(0));
        let fail = |account| sign_ins.failed(one(account, account, account), at(1));
        let found: Vec<_> = (0..100).flat_map(fail).collect();
        assert_eq!(found, [Finding::Stuffing { accounts: 100, networks: 100 }]);
    }

    #[test]
    fn an_attack_slows_nobody_where_that_is_not_wanted() {
        let sign_ins = SignIns::new(Rules { slows: false, ..RULES });
        for account in 0..100 {
            sign_ins.failed(one(account, account, account), at(0));
        }
        assert!(sign_ins.is_pressed(at(1)) && !sign_ins.is_slowed(at(1)));
        sign_ins.press(Cause::Spraying, at(600), at(1));
        assert!(sign_ins.is_slowed(at(2)));
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_press_for_longer() {
        let sign_ins = SignIns::new(RULES);
        sign_ins.press(Cause::Stuffing, at(1_000_000), at(999_999));
        assert!(sign_ins.is_pressed(at(0)) && !sign_ins.is_pressed(at(600)));
    }

    #[test]
    fn what_another_node_found_presses_here() {
        let sign_ins = SignIns::new(RULES);
        sign_ins.press(Cause::Stuffing, at(60), at(0));
        assert!(sign_ins.is_pressed(at(59)) && sign_ins.is_slowed(at(59)));
        assert!(sign_ins.take_ended(at(60)).is_some());
    }
}
