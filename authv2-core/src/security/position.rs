//! How far the events have been read, where a smaller number may be committed later.

use std::{collections::BTreeSet, time::Duration};

use crate::{clock::Timestamp, store::StoredEvent};

/// How long a number that is missing may still come: longer than a transaction takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many are read again, at most, while one is missing.
const OVERLAP_MAX: usize = 1_000;

/// A place in the sequence of events. Everything up to `low` was read; beyond it, what is in `seen`.
#[derive(Debug)]
pub(crate) struct Position {
    low: i64,
    seen: BTreeSet<i64>,
    /// Since when the number after `low` is missing.
    gap_since: Option<Timestamp>,
}

impl Position {
    /// Right after the event of that number.
    pub(crate) fn after(seq: i64) -> Self {
        Self { low: seq, seen: BTreeSet::new(), gap_since: None }
    }

    /// From where to read: some of what is found may have been read before.
    pub(crate) fn reading_from(&self) -> i64 {
        self.low
    }

    /// How much of what is found from there was read before.
    pub(crate) fn overlap(&self) -> u32 {
        u32::try_from(self.seen.len()).unwrap_or(u32::MAX)
    }

    /// What of a reading at `now` is new, in order.
    pub(crate) fn take(&mut self, read: Vec<StoredEvent>, now: Timestamp) -> Vec<StoredEvent> {
        let fresh: Vec<_> =
            read.into_iter().filter(|event| event.seq > self.low && self.seen.insert(event.seq)).collect();
        self.advance();
        if self.seen.is_empty() {
            self.gap_since = None;
        } else if now.since(*self.gap_since.get_or_insert(now)) >= PATIENCE || self.seen.len() > OVERLAP_MAX {
            // It was never committed.
            self.gap_since = None;
            if let Some(first) = self.seen.pop_first() {
                self.low = first;
                self.advance();
            }
        }
        fresh
    }

    fn advance(&mut self) {
        while self.seen.remove(&(self.low + 1)) {
            self.low += 1;
            self.gap_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::EventId,
        store::{EventKind, SecurityEvent, Severity},
    };

    fn events(numbers: &[i64]) -> Vec<StoredEvent> {
        let event = |seq: &i64| StoredEvent {
            seq: *seq,
            event: SecurityEvent {
                id: EventId::new(),
                at: at(0),
                kind: EventKind::NewDevice,
                severity: Severity::Info,
                user_id: None,
                organization: None,
                ip: None,
                detail: serde_json::Map::new(),
            },
        };
        numbers.iter().map(event).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn taken(position: &mut Position, numbers: &[i64], second: i64) -> Vec<i64> {
        position.take(events(numbers), at(second)).iter().map(|event| event.seq).collect()
    }

    #[test]
    fn each_event_is_taken_once_also_one_that_is_committed_late() {
        let mut position = Position::after(4);
        assert_eq!(taken(&mut position, &[5, 6, 8], 0), [5, 6, 8]);
        assert_eq!((position.reading_from(), position.overlap()), (6, 1));
        assert_eq!(taken(&mut position, &[7, 8, 9], 1), [7, 9]);
        assert_eq!(position.reading_from(), 9);
        assert_eq!(taken(&mut position, &[], 2), [0_i64; 0]);
    }

    #[test]
    fn a_number_that_never_comes_is_waited_for_a_while() {
        let mut position = Position::after(0);
        assert_eq!(taken(&mut position, &[2, 3, 5], 0), [2, 3, 5]);
        assert_eq!(taken(&mut position, &[2, 3, 5], 14), [0_i64; 0]);
        assert_eq!(position.reading_from(), 0);
        taken(&mut position, &[2, 3, 5], 15);
        assert_eq!(position.reading_from(), 3);
        assert_eq!(taken(&mut position, &[4, 5], 16), [4]);
        assert_eq!(position.reading_from(), 5);
    }
}
