//! Following the table of changes: what other nodes and processes committed, applied to this node's memory.

use std::time::Duration;

use tokio::{sync::Notify, time::Instant};

use super::{Change, Feed, recent};
use crate::{
    clock::Timestamp,
    store::{Followed, Position, SharedStore, StoreError, breaker::jittered},
    telemetry,
};

/// How often the table is read where nobody says that it changed.
const POLL: Duration = Duration::from_millis(100);
/// The same where somebody does: a lost word costs this much, and nothing else.
const POLL_WHEN_WOKEN: Duration = Duration::from_secs(1);
/// What is written at about the same time is read at once.
const GATHER: Duration = Duration::from_millis(2);

/// Follows the table of changes for one node.
#[derive(Debug)]
pub(crate) struct Follower {
    store: SharedStore,
    feed: Feed,
    position: Position,
}

impl Follower {
    /// Begins at the table's present end, with what changed lately known: from here on memory may be filled.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn begin(store: SharedStore, feed: Feed, now: Timestamp) -> Result<Self, StoreError> {
        let begun = Instant::now();
        let position = match store.follow(None).await? {
            Followed::Changes { position, .. } | Followed::Lost { position } => position,
        };
        // Read after the position: together they leave nothing out.
        match store.recent_changes(now - recent::REMEMBERED).await? {
            Some(recent) => feed.hear(&recent),
            None => feed.hear(&[Change::Everything]),
        }
        feed.0.freshness.note(begun);
        Ok(Self { store, feed, position })
    }

    /// Applies everything that was committed since the last reading.
    ///
    /// # Errors
    /// The store's. Nothing is lost: the next reading begins where this one did.
    pub(crate) async fn read(&mut self, now: impl Fn() -> Timestamp) -> Result<(), StoreError> {
        let begun = Instant::now();
        match self.store.follow(Some(&self.position)).await? {
            Followed::Changes { changes, position } => {
                let news: Vec<Change> = changes.iter().map(|record| record.change).collect();
                self.feed.hear(&news);
                self.position = position;
                let now = now();
                for record in &changes {
                    telemetry::observe(telemetry::REVOCATION_LAG, now.since(record.at));
                }
            }
            Followed::Lost { position } => {
                tracing::warn!("changes were missed or taken back: everything in memory is read anew");
                // The signing keys are read again before their next use like everything else.
                self.feed.hear(&[Change::Everything]);
                self.position = position;
            }
        }
        self.feed.0.freshness.note(begun);
        Ok(())
    }

    /// How long to wait for a word before the next reading.
    pub(crate) async fn wait(wake: &Notify, is_woken: bool) {
        let pause = jittered(if is_woken { POLL_WHEN_WOKEN } else { POLL });
        if tokio::time::timeout(pause, wake.notified()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }
}
