//! Settings of the change feed.

use std::time::Duration;

use super::visitor::Visitor;

/// How a node follows what others change.
#[derive(Debug, Clone)]
pub struct ChangeConfig {
    /// How long a node decides on what it has in memory without having read what others changed; 5 s by default. It
    /// is the longest that a revocation made elsewhere can go unnoticed here, whatever fails; after it every request
    /// asks the store.
    pub max_staleness: Duration,
}

impl Default for ChangeConfig {
    fn default() -> Self {
        Self { max_staleness: Duration::from_secs(5) }
    }
}

impl ChangeConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.number(
            "changes.max_staleness",
            2..=60,
            "Seconds that a node decides on what it has in memory without having read what others changed.",
            &mut self.max_staleness,
        );
    }
}
