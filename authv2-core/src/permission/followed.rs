//! How far this node has followed the changes of one organization.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

/// How many changes may be noted that came before one they follow upon.
const EARLY_MAX: usize = 64;

/// From which revision on, and up to which one, every change of an organization was applied to this node's memory
/// without a gap: what was read in between and is still there, holds up to the end of it.
///
/// Revisions rise by one with every write, but the feed may bring them a little out of order. After a gap that is not
/// filled it begins anew with the next reading: that costs reading again, nothing else.
#[derive(Debug)]
pub(super) struct Followed {
    from: AtomicI64,
    until: AtomicI64,
    /// Changes that came before one they follow upon.
    early: Mutex<Vec<i64>>,
}

/// A [`Followed`] as it was at one moment: facts of that moment never become wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    from: i64,
    until: i64,
}

impl Followed {
    /// Nothing is known yet, but changes are noted from now on.
    pub(super) fn new() -> Self {
        let Reach { from, until } = Reach::NOTHING;
        Self { from: AtomicI64::new(from), until: AtomicI64::new(until), early: Mutex::default() }
    }

    /// Begins at a revision that was read just now, unless it has begun.
    pub(super) fn begin(&self, revision: i64) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if self.from.load(Ordering::Relaxed) == i64::MAX {
            self.advance(revision, &mut early);
            self.from.store(revision, Ordering::Release);
        }
    }

    /// Notes that the change that led to `revision` was applied.
    pub(super) fn applied(&self, revision: i64) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let until = self.until.load(Ordering::Relaxed);
        if revision == until.saturating_add(1) {
            self.advance(revision, &mut early);
        } else if early.len() == EARLY_MAX {
            self.from.store(i64::MAX, Ordering::Release);
            self.until.store(i64::MIN, Ordering::Release);
            early.clear();
        } else if revision > until && !early.contains(&revision) {
            early.push(revision);
        }
    }

    fn advance(&self, revision: i64, early: &mut Vec<i64>) {
        let mut until = revision;
        while early.contains(&until.saturating_add(1)) {
            until += 1;
        }
        early.retain(|revision| *revision > until);
        self.until.store(until, Ordering::Release);
    }

    /// As it is now.
    pub(super) fn reach(&self) -> Reach {
        // The end is read first: it never covers more than what was noted since a beginning read later.
        let until = self.until.load(Ordering::Acquire);
        Reach { from: self.from.load(Ordering::Acquire), until }
    }
}

impl Reach {
    pub(super) const NOTHING: Self = Self { from: i64::MAX, until: i64::MIN };

    /// Whether every change up to `revision` was applied.
    pub(super) fn covers(self, revision: i64) -> bool {
        self.until >= revision
    }

    /// The revision up to which something holds that was read at `revision` and is still in memory.
    pub(super) fn extends(self, revision: i64) -> i64 {
        if revision >= self.from { revision.max(self.until) } else { revision }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_changes_without_a_gap() {
        let followed = Followed::new();
        followed.begin(5);
        assert_eq!(followed.reach().extends(5), 5);
        followed.applied(6);
        followed.applied(8);
        assert_eq!(followed.reach().extends(5), 6, "7 has not come");
        followed.applied(7);
        assert_eq!(followed.reach().extends(5), 8);
        followed.applied(6);
        assert_eq!(followed.reach().extends(5), 8, "an old change takes nothing back");
    }

    #[test]
    fn changes_before_the_beginning_count_once_it_has_begun() {
        let followed = Followed::new();
        for revision in [4, 6, 7, 9] {
            followed.applied(revision);
        }
        assert_eq!(followed.reach().extends(9), 9, "nothing is known");
        followed.begin(5);
        assert_eq!(followed.reach().extends(5), 7);
    }

    #[test]
    fn says_nothing_of_what_was_read_before_it_began() {
        let followed = Followed::new();
        followed.begin(5);
        followed.applied(6);
        assert_eq!(followed.reach().extends(4), 4);
        followed.begin(3);
        assert_eq!(followed.reach().extends(4), 4, "it has begun already");
    }

    #[test]
    fn begins_anew_after_a_gap_that_stays() {
        let followed = Followed::new();
        followed.begin(0);
        (2..=100).for_each(|revision| followed.applied(revision));
        assert!(followed.early.lock().unwrap().len() <= EARLY_MAX);
        assert_eq!(followed.reach().extends(0), 0);
        followed.begin(100);
        followed.applied(101);
        assert_eq!(followed.reach().extends(100), 101);
        assert_eq!(followed.reach().extends(99), 99);
    }
}
