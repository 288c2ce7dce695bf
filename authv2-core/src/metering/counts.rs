//! Counts of one key's requests. To count is to add to an atomic number: no lock, and no memory but for the first of its
//! class.

use std::sync::{
    OnceLock,
    atomic::{AtomicI64, Ordering},
};

use super::{Outcome, RouteClass};
use crate::{clock::Timestamp, store::Uses};

/// The hours of every time zone are made of these.
const QUARTER: i64 = 15 * 60;
/// How many classes a key's counts have room for at a time.
const SLOTS: usize = 4;
/// How often there is room for as many more; what comes then is counted with the others.
const CHUNKS: usize = 32;

/// The counts of one class: of this quarter, and of the one before until they are taken.
#[derive(Debug, Default)]
struct Slot {
    class: OnceLock<&'static str>,
    quarters: [[AtomicI64; 3]; 2],
}

/// Counts by class.
#[derive(Debug, Default)]
pub(super) struct Counts {
    slots: [Slot; SLOTS],
    more: OnceLock<Box<Counts>>,
}

impl Counts {
    /// Counts a request.
    #[inline]
    pub(super) fn count(&self, class: RouteClass, outcome: Outcome, now: Timestamp) {
        let slot = self.slot(class, CHUNKS).or_else(|| self.slot(RouteClass::OTHER, usize::MAX));
        let quarter = slot.and_then(|slot| slot.quarters.get(parity(quarter(now))));
        if let Some(count) = quarter.and_then(|counts| counts.get(outcome as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was counted: with each class, the quarter that it was counted in. To be called several times a quarter.
    pub(super) fn take(&self, now: Timestamp, mut each: impl FnMut(&'static str, Timestamp, Uses)) {
        let this = quarter(now);
        for slot in self.slots.iter().chain(self.rest()) {
            let Some(class) = slot.class.get() else { continue };
            for quarter in [this - 1, this] {
                let Some(counts) = slot.quarters.get(parity(quarter)) else { continue };
                let [allowed, denied, rate_limited] = counts.each_ref().map(|count| count.swap(0, Ordering::Relaxed));
                let uses = Uses { allowed, denied, rate_limited };
                if uses != Uses::default() {
                    each(class, Timestamp::from_seconds(quarter * QUARTER), uses);
                }
            }
        }
    }

    fn rest(&self) -> impl Iterator<Item = &Slot> {
        std::iter::successors(self.more.get(), |counts| counts.more.get()).flat_map(|counts| &counts.slots)
    }

    fn slot(&self, class: RouteClass, chunks: usize) -> Option<&Slot> {
        for slot in &self.slots {
            if *slot.class.get_or_init(|| class.as_str()) == class.as_str() {
                return Some(slot);
            }
        }
        let rest = chunks.checked_sub(1).filter(|rest| *rest > 0)?;
        self.more.get_or_init(Box::default).slot(class, rest)
    }
}

fn quarter(at: Timestamp) -> i64 {
    at.as_seconds().div_euclid(QUARTER)
}

fn parity(quarter: i64) -> usize {
    usize::from(quarter.rem_euclid(2) == 1)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread};

    use super::*;

    fn taken(counts: &Counts, seconds: i64) -> Vec<(&'static str, i64, Uses)> {
        let mut taken = Vec::new();
        counts.take(Timestamp::from_seconds(seconds), |class, quarter, uses| {
            taken.push((class, quarter.as_seconds(), uses));
        });
        taken
    }

    #[test]
    fn counts_by_class_outcome_and_quarter() {
        let counts = Counts::default();
        let at = Timestamp::from_seconds;
        counts.count(RouteClass::new("orders"), Outcome::Allowed, at(1_799));
        counts.count(RouteClass::new("orders"), Outcome::Allowed, at(1_800));
        counts.count(RouteClass::new("orders"), Outcome::Denied, at(1_801));
        counts.count(RouteClass::OTHER, Outcome::RateLimited, at(1_802));
        let orders = "orders";
        assert_eq!(
            taken(&counts, 1_803),
            [
                (orders, 900, Uses { allowed: 1, ..Uses::default() }),
                (orders, 1_800, Uses { allowed: 1, denied: 1, rate_limited: 0 }),
                ("other", 1_800, Uses { rate_limited: 1, ..Uses::default() }),
            ]
        );
        assert_eq!(taken(&counts, 1_803), []);
    }

    #[test]
    fn what_has_no_room_of_its_own_is_counted_with_the_others() {
        let counts = Counts::default();
        let classes: Vec<&'static str> =
            (0..300).map(|number| &*Box::leak(format!("class {number}").into_boxed_str())).collect();
        for class in &classes {
            counts.count(RouteClass::new(class), Outcome::Allowed, Timestamp::from_seconds(0));
        }
        let taken = taken(&counts, 0);
        assert_eq!(taken.iter().map(|(.., uses)| uses.allowed).sum::<i64>(), 300);
        let other = taken.iter().find(|(class, ..)| *class == "other").unwrap();
        assert_eq!(other.2.allowed, 300 - i64::try_from(SLOTS * CHUNKS).unwrap());
    }

    #[test]
    fn loses_nothing_while_it_is_taken() {
        const CLASSES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        const ROUNDS: i64 = 20_000;
        let counts = Counts::default();
        let mut sums = BTreeMap::<&str, i64>::new();
        thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for round in 0..ROUNDS {
                            let class = RouteClass::new(CLASSES[usize::try_from(round % 6).unwrap()]);
                            counts.count(class, Outcome::Allowed, Timestamp::from_seconds(round / 20));
                        }
                    })
                })
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                counts.take(Timestamp::from_seconds(900), |class, _, uses| {
                    *sums.entry(class).or_default() += uses.allowed;
                });
            }
        });
        counts.take(Timestamp::from_seconds(900), |class, _, uses| *sums.entry(class).or_default() += uses.allowed);
        assert_eq!(sums.values().sum::<i64>(), 4 * ROUNDS);
        assert_eq!(sums.len(), CLASSES.len());
    }
}
