//! What a counter says to one more attempt.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    store::{Attempts, BucketRule},
};

/// What one counter says to one more attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Those under way decide it.
    Queue,
    Refuse(Duration),
}

/// Judges one counter: a pure function of what is stored, what is under way, and the time.
pub(super) fn judge(rule: &BucketRule, stored: Option<&Attempts>, ahead: i64, now: Timestamp) -> Verdict {
    let stored = stored.filter(|stored| now < stored.window_start + rule.window || now < stored.blocked_until);
    let count = stored.map_or(0, |stored| stored.count);
    if let Some(stored) = stored.filter(|stored| now < stored.blocked_until) {
        return Verdict::Refuse(stored.blocked_until.since(now));
    }
    // Past the limit and its wait, one attempt at a time.
    let room = (rule.limit - count).max(1);
    if ahead < room { Verdict::Pass } else { Verdict::Queue }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_WAIT: Duration = Duration::from_secs(60);
    const LONGEST_WAIT: Duration = Duration::from_secs(900);

    fn rule(limit: i64) -> BucketRule {
        BucketRule {
            bucket: [0; 16],
            limit,
            window: Duration::from_secs(900),
            first_wait: FIRST_WAIT,
            longest_wait: LONGEST_WAIT,
        }
    }

    fn stored(count: i64, start: i64, blocked_until: i64) -> Attempts {
        Attempts {
            bucket: [0; 16],
            count,
            window_start: Timestamp::from_seconds(start),
            blocked_until: Timestamp::from_seconds(blocked_until),
        }
    }

    #[test]
    fn lets_as_many_through_at_once_as_may_still_fail() {
        let now = Timestamp::from_seconds(1_000);
        assert_eq!(judge(&rule(10), None, 9, now), Verdict::Pass);
        assert_eq!(judge(&rule(10), None, 10, now), Verdict::Queue);
        assert_eq!(judge(&rule(10), Some(&stored(9, 900, 0)), 0, now), Verdict::Pass);
        assert_eq!(judge(&rule(10), Some(&stored(9, 900, 0)), 1, now), Verdict::Queue);
    }

    #[test]
    fn refuses_until_the_wait_is_over_then_lets_one_through() {
        let blocked = stored(10, 900, 1_060);
        let at = |seconds| judge(&rule(10), Some(&blocked), 0, Timestamp::from_seconds(seconds));
        assert_eq!(at(1_000), Verdict::Refuse(Duration::from_secs(60)));
        assert_eq!(at(1_060), Verdict::Pass);
    }

    #[test]
    fn forgets_a_window_that_has_passed() {
        let now = Timestamp::from_seconds(2_000);
        assert_eq!(judge(&rule(10), Some(&stored(50, 900, 1_500)), 9, now), Verdict::Pass);
    }

    #[test]
    fn waits_grow_and_are_capped() {
        let waits: Vec<_> = (9..16).map(|count| rule(10).wait_after(count).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [None, Some(60), Some(120), Some(240), Some(480), Some(900), Some(900)]);
    }
}
