//! Settings of what is kept of the use of API keys.

use std::time::Duration;

use super::{DAY, Problem, problem::Problems, visitor::Visitor};

/// How long the counts of key uses are kept.
#[derive(Debug, Clone)]
pub struct UsageConfig {
    /// How long they are kept by hour; 31 days by default. After that they are kept by day.
    pub keep_hours: Duration,
    /// How long they are kept at all; 400 days by default, at least `keep_hours`.
    pub keep_days: Duration,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self { keep_hours: Duration::from_secs(31 * DAY), keep_days: Duration::from_secs(400 * DAY) }
    }
}

impl UsageConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.number(
            "usage.keep_hours",
            DAY..=400 * DAY,
            "Seconds that the counts of key uses are kept by hour; after that by day.",
            &mut self.keep_hours,
        );
        visitor.number(
            "usage.keep_days",
            DAY..=4000 * DAY,
            "Seconds that the counts of key uses are kept at all.",
            &mut self.keep_days,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.keep_days < self.keep_hours {
            problems.report("usage.keep_days", Problem::Refused("must not be less than usage.keep_hours"));
        }
    }
}
