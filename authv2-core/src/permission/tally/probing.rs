//! Members that are denied one thing after the other: somebody may be trying what a stolen account is good for.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    clock::Timestamp,
    id::{MemberId, OrgId},
    security::Table,
};

/// How many members are told apart at a time, in how many parts that do not wait for each other.
const MEMBERS: usize = 8 * 1024;
const SHARDS: usize = 8;
/// How many bursts wait to be asked for.
const FOUND_MAX: usize = 256;

/// A burst of denials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) organization: OrgId,
    pub(crate) member: MemberId,
    /// When the last of them was.
    pub(crate) at: Timestamp,
}

/// Counts denials by member.
#[derive(Debug)]
pub(super) struct Probing {
    limit: u32,
    window: Duration,
    hasher: RandomState,
    shards: [Mutex<Table<Burst>>; SHARDS],
    found: Mutex<Vec<Probe>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Burst {
    since: Option<Timestamp>,
    count: u32,
}

impl Probing {
    /// `limit` denials of one member within `window` are a burst.
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Table::new(MEMBERS / SHARDS)));
        Self { limit, window, hasher: RandomState::new(), shards, found: Mutex::default() }
    }

    /// Counts a denial. A burst is found once in a window.
    pub(super) fn note(&self, organization: OrgId, member: MemberId, now: Timestamp) {
        let key = self.hasher.hash_one((organization, member));
        let shard = usize::try_from(key >> 61).unwrap_or(0);
        let Some(shard) = self.shards.get(shard) else { return };
        let mut bursts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_burst = bursts.update(key, now, |burst| burst.add(now, self.window) == self.limit);
        drop(bursts);
        if is_burst {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.len() < FOUND_MAX {
                found.push(Probe { organization, member, at: now });
            }
        }
    }

    /// The bursts found since the last time.
    pub(super) fn take(&self) -> Vec<Probe> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Burst {
    /// Counts one more; how many there are in its window.
    fn add(&mut self, now: Timestamp, window: Duration) -> u32 {
        if self.since.is_none_or(|since| now.since(since) >= window) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_burst_is_found_once_in_a_window() {
        let probing = Probing::new(5, Duration::from_secs(60));
        let (organization, member, other) = (OrgId::new(), MemberId::from(uuid::Uuid::now_v7()), OrgId::new());
        for second in 0..20 {
            probing.note(organization, member, at(second));
            probing.note(other, member, at(second * 30));
        }
        assert_eq!(probing.take(), [Probe { organization, member, at: at(4) }]);
        assert_eq!(probing.take(), []);
        (60..65).for_each(|second| probing.note(organization, member, at(second)));
        assert_eq!(probing.take().len(), 1);
    }
}
