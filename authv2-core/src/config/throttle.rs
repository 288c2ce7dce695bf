//! Settings of the throttle on failed sign-ins.

use std::time::Duration;

use super::{DAY, Problem, problem::Problems, visitor::Visitor};

/// How many sign-ins may fail before further ones wait (ASVS 6.3.1). A network is an IPv4 address or an IPv6 /64.
#[derive(Debug, Clone)]
pub struct ThrottleConfig {
    /// Failures of one account from one network in a window; 10 by default.
    pub pair_limit: u32,
    /// Failures of one account from everywhere in a window; 50 by default, at least `pair_limit`. Beyond it only
    /// networks that the account has used get in.
    pub account_limit: u32,
    /// Failures from one network in a window; 100 by default, at least `pair_limit`. It stops one machine from trying
    /// one password on every account.
    pub network_limit: u32,
    /// The window; 15 minutes by default.
    pub window: Duration,
    /// How long a network counts as known to an account that has signed in from it; 30 days by default.
    pub known_network_ttl: Duration,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            pair_limit: 10,
            account_limit: 50,
            network_limit: 100,
            window: Duration::from_secs(900),
            known_network_ttl: Duration::from_secs(30 * DAY),
        }
    }
}

impl ThrottleConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.number(
            "throttle.pair_limit",
            1..=1_000_000,
            "Failed sign-ins of one account from one network in a window.",
            &mut self.pair_limit,
        );
        visitor.number(
            "throttle.account_limit",
            1..=1_000_000,
            "Failed sign-ins of one account from everywhere in a window.",
            &mut self.account_limit,
        );
        visitor.number(
            "throttle.network_limit",
            1..=1_000_000,
            "Failed sign-ins from one network in a window.",
            &mut self.network_limit,
        );
        visitor.number("throttle.window", 1..=DAY, "The window, in seconds.", &mut self.window);
        visitor.number(
            "throttle.known_network_ttl",
            0..=400 * DAY,
            "Seconds that a network counts as known to an account after a sign-in from it.",
            &mut self.known_network_ttl,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        for (setting, limit) in
            [("throttle.account_limit", self.account_limit), ("throttle.network_limit", self.network_limit)]
        {
            if limit < self.pair_limit {
                problems.report(setting, Problem::Refused("must not be less than throttle.pair_limit"));
            }
        }
    }
}
