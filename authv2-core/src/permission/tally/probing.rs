//! Users and keys that are denied one thing after the other: somebody may be trying what a stolen account is good for.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{audit::Actor, clock::Timestamp, id::OrgId, security::Table};

/// How many of them are told apart at a time, in how many parts that do not wait for each other.
const ACTORS: usize = 8 * 1024;
const SHARDS: usize = 8;
/// How many bursts wait to be asked for.
const FOUND_MAX: usize = 256;

/// A burst of denials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) organization: OrgId,
    /// Who was denied: a user, or a key, whoever's rights bound it.
    pub(crate) actor: Actor,
}

/// Counts denials by organization and actor.
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
    /// `limit` denials of one actor within `window` are a burst.
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Table::new(ACTORS / SHARDS)));
        Self { limit, window, hasher: RandomState::new(), shards, found: Mutex::default() }
    }

    /// Counts a denial. A burst is found once in a window.
    pub(super) fn note(&self, organization: OrgId, actor: Actor, now: Timestamp) {
        let key = self.hasher.hash_one((organization, actor));
        let shard = usize::try_from(key >> 61).unwrap_or(0);
        let Some(shard) = self.shards.get(shard) else { return };
        let mut bursts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_burst = bursts.update(key, now, |burst| burst.add(now, self.window) == self.limit);
        drop(bursts);
        if is_burst {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.len() < FOUND_MAX {
                found.push(Probe { organization, actor });
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
    use crate::id::{KeyId, UserId};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_burst_is_found_once_in_a_window() {
        let probing = Probing::new(5, Duration::from_secs(60));
        let (organization, actor, other) = (OrgId::new(), Actor::User(UserId::new()), OrgId::new());
        for second in 0..20 {
            probing.note(organization, actor, at(second));
            probing.note(other, actor, at(second * 30));
        }
        assert_eq!(probing.take(), [Probe { organization, actor }]);
        assert_eq!(probing.take(), []);
        (60..65).for_each(|second| probing.note(organization, actor, at(second)));
        assert_eq!(probing.take().len(), 1);
    }

    #[test]
    fn what_a_key_is_denied_is_not_held_against_a_user() {
        let probing = Probing::new(5, Duration::from_secs(60));
        let (organization, user) = (OrgId::new(), Actor::User(UserId::new()));
        let key = Actor::ApiKey(KeyId::new());
        for second in 0..5 {
            probing.note(organization, key, at(second));
        }
        (0..4).for_each(|second| probing.note(organization, user, at(second)));
        assert_eq!(probing.take(), [Probe { organization, actor: key }]);
    }
}
