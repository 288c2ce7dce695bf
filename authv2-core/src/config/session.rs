//! Settings of sessions and refresh tokens.

use std::time::Duration;

use super::{DAY, Problem, problem::Problems, setting::choice, visitor::Visitor};
use crate::store::OverLimit;

choice!(OverLimit, "one of `evict_oldest`, `reject`");

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
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.idle_ttl > self.absolute_ttl {
            problems.report("session.idle_ttl", Problem::Refused("must not be longer than session.absolute_ttl"));
        }
    }
}
