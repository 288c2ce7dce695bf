//! Last use of sessions, written behind: a read never costs a write in line.
//!
//! What is lost in a crash is at most one interval of `last_seen_at`, a statistic. The idle deadline is a fact and
//! does not pass through here.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{clock::Timestamp, id::SessionId, store::Touch};

/// Uses not yet written. Bounded by the sessions that are live at all: one entry each.
#[derive(Debug, Default)]
pub(super) struct Touches(Mutex<HashMap<SessionId, Timestamp>>);

impl Touches {
    /// Notes a use.
    pub(super) fn note(&self, session: SessionId, at: Timestamp) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = pending.entry(session).or_insert(at);
        *seen = at.max(*seen);
    }

    /// Takes everything noted so far, to be written.
    pub(super) fn take(&self) -> Vec<Touch> {
        let pending = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        pending.into_iter().map(|(session, seen_at)| Touch { session, seen_at, idle_expires_at: None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_use_once_per_session() {
        let touches = Touches::default();
        let session = SessionId::new();
        for seconds in [5, 9, 7] {
            touches.note(session, Timestamp::from_seconds(seconds));
        }
        let latest = Touch { session, seen_at: Timestamp::from_seconds(9), idle_expires_at: None };
        assert_eq!(touches.take(), [latest]);
        assert_eq!(touches.take(), []);
    }
}
