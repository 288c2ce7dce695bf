//! What API keys use: quotas that are drawn in blocks, and counts of requests.

use uuid::Uuid;

use super::KeyQuota;
use crate::{
    calendar::Span,
    clock::Timestamp,
    id::{KeyId, OrgId},
};

/// A node asks for requests of a key's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaDraw {
    /// Whose key.
    pub organization: OrgId,
    /// Which.
    pub key: KeyId,
    /// What the key has in each window.
    pub quota: KeyQuota,
    /// How many requests wait for it.
    pub wanted: u64,
    /// The moment.
    pub now: Timestamp,
}

/// What a node has drawn of a quota: so many requests it may serve, until the window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaBlock {
    /// Requests; none where nothing is left.
    pub units: u64,
    /// The window that they are of.
    pub window: Span,
}

impl QuotaBlock {
    /// How many requests a node gets when so many are left: a hundredth of them, or as many as wait for it. So the last
    /// ones come one by one, and no node has many of them while others are refused.
    #[must_use]
    pub fn units(left: u64, wanted: u64) -> u64 {
        (left / 100).max(wanted).max(1).min(left)
    }
}

/// What a node gives back of what it has drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaReturn {
    /// Whose key.
    pub organization: OrgId,
    /// Which.
    pub key: KeyId,
    /// The window that it was drawn of.
    pub window: Span,
    /// Requests that were not served.
    pub units: u64,
}

/// How often a key was used for one class of routes, in a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCount {
    /// Whose key.
    pub organization: OrgId,
    /// Which.
    pub key: KeyId,
    /// When the quarter began: hours and days of every time zone are made of quarters.
    pub quarter: Timestamp,
    /// The class of routes.
    pub route: &'static str,
    /// How often.
    pub uses: Uses,
}

/// Numbers of requests, by how they came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Uses {
    /// Served.
    pub allowed: i64,
    /// Refused for what the key may not do.
    pub denied: i64,
    /// Refused for how often it came.
    pub rate_limited: i64,
}

impl std::ops::AddAssign for Uses {
    fn add_assign(&mut self, other: Self) {
        self.allowed = self.allowed.saturating_add(other.allowed);
        self.denied = self.denied.saturating_add(other.denied);
        self.rate_limited = self.rate_limited.saturating_add(other.rate_limited);
    }
}

/// What a node counted, to be added once, however often it is sent.
#[derive(Debug, Clone)]
pub struct KeyUsageBatch {
    /// Which batch: under one id there must never be anything else.
    pub id: Uuid,
    /// When it was made.
    pub at: Timestamp,
    /// The counts.
    pub counts: Vec<KeyCount>,
}

/// How often a key was used in an hour, or in a day where that is all that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct KeyUsageRow {
    /// When it began.
    pub start: Timestamp,
    /// How often, over all routes.
    #[sqlx(flatten)]
    pub uses: Uses,
}

/// What [`tend_key_usage`](crate::store::KeyUsageStore::tend_key_usage) makes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsageBefore {
    /// Hours of days before this are added up by day.
    pub hours: Timestamp,
    /// Days before this are removed.
    pub days: Timestamp,
    /// Batches made before this are not sent again.
    pub batches: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_requests_of_a_quota_are_drawn_one_by_one() {
        for (left, wanted, units) in
            [(1_000_000, 1, 10_000), (200, 1, 2), (199, 1, 1), (1, 1, 1), (0, 1, 0), (50, 8, 8), (5, 8, 5), (9, 0, 1)]
        {
            assert_eq!(QuotaBlock::units(left, wanted), units, "{left} {wanted}");
        }
    }
}
