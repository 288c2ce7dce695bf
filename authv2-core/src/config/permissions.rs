//! Settings of decisions: what is kept at hand, what is counted, what is told of.

use super::visitor::Visitor;

/// How much of decisions' data is kept in memory, and what becomes of their statistics.
#[derive(Debug, Clone)]
pub struct PermissionConfig {
    /// About how many bytes compiled organizations and members' roles may take on this node; 64 MiB by default. One
    /// half is for either. What does not fit is read again when it is next asked for, so too little costs queries.
    pub cache_bytes: usize,
    /// How many denials a minute this node writes to the audit log; 60 by default, 0 for none. All of them are
    /// counted; a limit keeps a client that asks in a loop from filling the log.
    pub audit_denials_per_minute: u32,
    /// How many days back analytics look; 90 by default. A member counts as stale, and a grant as never used, after
    /// that long without use.
    pub stale_after_days: u32,
}

impl Default for PermissionConfig {
    fn default() -> Self {
        Self { cache_bytes: 64 * 1024 * 1024, audit_denials_per_minute: 60, stale_after_days: 90 }
    }
}

impl PermissionConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.number(
            "permissions.cache_bytes",
            1024 * 1024..=1 << 40,
            "About how many bytes compiled organizations and members' roles may take.",
            &mut self.cache_bytes,
        );
        visitor.number(
            "permissions.audit_denials_per_minute",
            0..=100_000,
            "How many denials a minute a node writes to the audit log.",
            &mut self.audit_denials_per_minute,
        );
        visitor.number(
            "permissions.stale_after_days",
            1..=3650,
            "How many days back analytics of permissions look.",
            &mut self.stale_after_days,
        );
    }
}
