//! Settings of sessions and refresh tokens.

use std::time::Duration;

use super::{DAY, Problem, problem::Problems, setting::choice, visitor::Visitor};
use crate::store::OverLimit;

choice!(OverLimit, "one of `evict_oldest`, `reject`");
choice!(OnChange, "one of `ignore`, `notify`, `step_up`, `revoke`");

/// What happens to a session that is used from elsewhere than it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// Nothing.
    Ignore,
    /// Its risk is raised, which conditions can judge, and the audit trail tells of it.
    Notify,
    /// That, and until the user has proved again who it is, nothing is done with it but ending it.
    StepUp,
    /// It ends.
    Revoke,
}

/// How many sessions a user has, and how long they last.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The most sessions of one user, at least 1; 10 by default. It bounds what stolen passwords can leave behind.
    pub max_per_user: u32,
    /// What happens beyond that; by default the oldest session ends. `Reject` lets whoever has the password keep the
    /// owner out by filling the places.
    pub over_limit: OverLimit,
    /// How long a session lasts unused; 14 days by default. The shorter, the less a forgotten device is worth.
    pub idle_ttl: Duration,
    /// How long a session lasts at all; 30 days by default, at least `idle_ttl`.
    pub absolute_ttl: Duration,
    /// How long a used refresh token is answered with the same successor, for lost responses, at most 60 s; 10 s by
    /// default. Later it counts as stolen and ends its session (RFC 9700 section 4.14.2).
    pub refresh_grace: Duration,
    /// About how many bytes the sessions at hand may take on this node; 64 MiB by default, about 1 KiB each. One that is
    /// not at hand is read from the store when it is next used.
    pub cache_bytes: usize,
    /// What happens when a session is used from another network (IPv4 /24, IPv6 /48) than it was opened from;
    /// `Notify` by default. Phones change networks all day: `Revoke` is for desks.
    pub on_network_change: OnChange,
    /// What happens when a session is used on another device (system, browser and kind by the `User-Agent`, whatever
    /// the versions) than it was opened on; `Notify` by default. A thief can send the same header.
    pub on_device_change: OnChange,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            max_per_user: 10,
            over_limit: OverLimit::EvictOldest,
            idle_ttl: Duration::from_secs(14 * DAY),
            absolute_ttl: Duration::from_secs(30 * DAY),
            refresh_grace: Duration::from_secs(10),
            cache_bytes: 64 * 1024 * 1024,
            on_network_change: OnChange::Notify,
            on_device_change: OnChange::Notify,
        }
    }
}

impl SessionConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.number("session.max_per_user", 1..=10_000, "The most sessions of one user.", &mut self.max_per_user);
        visitor.setting("session.over_limit", "What happens to a sign-in beyond that.", &mut self.over_limit);
        visitor.number(
            "session.idle_ttl",
            1..=400 * DAY,
            "Seconds that a session lasts unused; at most session.absolute_ttl.",
            &mut self.idle_ttl,
        );
        visitor.number(
            "session.absolute_ttl",
            1..=400 * DAY,
            "Seconds that a session lasts at all.",
            &mut self.absolute_ttl,
        );
        visitor.number(
            "session.refresh_grace",
            0..=60,
            "Seconds in which a used refresh token is answered with the same successor; later it counts as stolen.",
            &mut self.refresh_grace,
        );
        visitor.number(
            "session.cache_bytes",
            1024 * 1024..=1 << 40,
            "About how many bytes the sessions at hand may take.",
            &mut self.cache_bytes,
        );
        visitor.setting(
            "session.on_network_change",
            "What happens to a session used from another network than it was opened from.",
            &mut self.on_network_change,
        );
        visitor.setting(
            "session.on_device_change",
            "What happens to a session used on another device than it was opened on.",
            &mut self.on_device_change,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.idle_ttl > self.absolute_ttl {
            problems.report("session.idle_ttl", Problem::Refused("must not be longer than session.absolute_ttl"));
        }
    }
}
