//! How many different ones were seen lately: a sliding window over keyed hashes.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::FixedState;

use crate::clock::Timestamp;

/// How finely a window slides: it spans between four fifths of its length and all of it.
const SLICES: i64 = 5;

/// A window, and how many it tells apart at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) length: Duration,
    pub(crate) most: usize,
}

impl Window {
    fn slice(self, now: Timestamp) -> i64 {
        let length = i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX);
        now.as_micros().div_euclid((length / SLICES).max(1))
    }
}

/// The different keys seen in a window. Beyond what the window tells apart it counts no further, until some have left.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    /// The slice of time in which each was last seen.
    seen: HashMap<u64, i64, FixedState>,
    slice: i64,
}

impl Distinct {
    /// Notes a key; how many different ones there are with it.
    pub(crate) fn note(&mut self, key: u64, now: Timestamp, window: Window) -> usize {
        let count = self.count(now, window);
        match self.seen.get_mut(&key) {
            Some(last) => *last = self.slice,
            None if count < window.most => drop(self.seen.insert(key, self.slice)),
            None => {}
        }
        self.seen.len()
    }

    /// How many different ones there are.
    pub(crate) fn count(&mut self, now: Timestamp, window: Window) -> usize {
        let slice = window.slice(now);
        if self.slice.saturating_sub(slice) > SLICES {
            // The clock was far ahead: when they were seen nobody knows.
            self.seen.clear();
            self.slice = slice;
        }
        if slice > self.slice {
            self.slice = slice;
            self.seen.retain(|_, last| slice - *last < SLICES);
        }
        self.seen.len()
    }

    /// Forgets a key.
    pub(crate) fn forget(&mut self, key: u64) {
        self.seen.remove(&key);
    }

    /// Forgets all keys but these.
    pub(crate) fn keep(&mut self, kept: impl Fn(u64) -> bool) {
        self.seen.retain(|key, _| kept(*key));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window { length: Duration::from_secs(50), most: 1_000 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn counts_each_once_and_forgets_it_with_its_window() {
        let mut distinct = Distinct::default();
        assert_eq!([1, 2, 1].map(|key| distinct.note(key, at(100), WINDOW)), [1, 2, 2]);
        assert_eq!(distinct.note(1, at(130), WINDOW), 2);
        assert_eq!(distinct.count(at(155), WINDOW), 1, "the one that was seen again is still there");
        assert_eq!(distinct.count(at(185), WINDOW), 0);
    }

    #[test]
    fn a_flood_takes_no_more_room_than_the_window_tells_apart() {
        let (mut distinct, window) = (Distinct::default(), Window { most: 10, ..WINDOW });
        for key in 0..1_000 {
            assert!(distinct.note(key, at(100), window) <= 10);
        }
        assert_eq!(distinct.note(5_000, at(200), window), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_forgets_nothing_and_one_that_was_far_ahead_everything() {
        let mut distinct = Distinct::default();
        distinct.note(1, at(100), WINDOW);
        assert_eq!(distinct.note(2, at(60), WINDOW), 2);
        assert_eq!(distinct.note(3, at(1_000_000), WINDOW), 1);
        assert_eq!(distinct.note(4, at(100), WINDOW), 1);
        assert_eq!(distinct.count(at(160), WINDOW), 0);
    }

    proptest! {
        /// Against a list of everything: never less than what four fifths of the window held, never more than all of it.
        #[test]
        fn stays_between_the_shorter_window_and_the_longer(steps in proptest::collection::vec((0_u64..20, 0_i64..15), 1..200)) {
            let (mut distinct, mut last, mut now) = (Distinct::default(), BTreeMap::new(), 1_000);
            for (key, later) in steps {
                now += later;
                last.insert(key, now);
                let counted = distinct.note(key, at(now), WINDOW);
                let within = |seconds: i64| last.values().filter(|seen| now - **seen < seconds).count();
                prop_assert!((within(40)..=within(50)).contains(&counted), "{counted}");
            }
        }
    }
}
