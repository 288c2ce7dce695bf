//! Following what other nodes commit, and telling them of what this one commits. Ends with the last handle to the
//! service.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::Inner;
use crate::{
    changes::{Change, Follower, Listener},
    clock::Clock,
    store::{breaker::jittered, shared::SharedCache},
    telemetry,
};

/// How long after a failure the next attempt comes.
const RETRY: Duration = Duration::from_millis(500);
/// The same for the follower, which costs nothing while the breaker is open.
const PERSIST: Duration = Duration::from_millis(100);
/// How often a task that waits looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What wakes the follower of this node.
#[derive(Debug, Clone, Default)]
struct Wake {
    word: Arc<Notify>,
    /// The database tells us when there is something to read.
    is_told: Arc<AtomicBool>,
}

/// Keeps this node's memory right from now on, beginning where `follower` stands.
pub(super) fn start(inner: &Arc<Inner>, follower: Follower) {
    let wake = Wake::default();
    let word = Arc::clone(&wake.word);
    inner.shared.on_wake(move || word.notify_one());
    tokio::spawn(follow(Arc::downgrade(inner), follower, wake.clone()));
    tokio::spawn(listen(Arc::downgrade(inner), wake));
    tokio::spawn(announce(Arc::downgrade(inner)));
}

async fn follow(service: Weak<Inner>, mut follower: Follower, wake: Wake) {
    let mut is_failing = false;
    loop {
        if is_failing {
            // As soon as there is an answer again memory is trusted again, and the store is spared.
            sleep(jittered(PERSIST)).await;
        } else {
            Follower::wait(&wake.word, wake.is_told.load(Ordering::Relaxed)).await;
        }
        let Some(inner) = service.upgrade() else { return };
        let done = follower.read(|| inner.clock.now()).await;
        if let Some(lag) = inner.feed.health().lag {
            metrics::gauge!(telemetry::CHANGES_LAG).set(lag.as_secs_f64());
        }
        drop(inner);
        if let Err(error) = &done {
            if !is_failing {
                tracing::warn!(%error, "what other nodes changed cannot be read at present");
            }
        } else if is_failing {
            tracing::info!("what other nodes change is followed again");
        }
        is_failing = done.is_err();
    }
}

/// Hears what other nodes announce through the database.
async fn listen(service: Weak<Inner>, wake: Wake) {
    loop {
        let Some(inner) = service.upgrade() else { return };
        let words = inner.store.announcements().await;
        drop(inner);
        match words {
            // It tells nobody: the table is looked at instead.
            Ok(None) => return,
            Ok(Some(mut words)) => {
                wake.is_told.store(true, Ordering::Relaxed);
                loop {
                    match timeout(LOOK_UP, words.next()).await {
                        Ok(Some(())) => wake.word.notify_one(),
                        Ok(None) => break,
                        Err(_) if service.strong_count() == 0 => return,
                        Err(_) => {}
                    }
                }
                wake.is_told.store(false, Ordering::Relaxed);
                // What was said while nobody listened is looked for at once.
                wake.word.notify_one();
            }
            Err(error) => tracing::debug!(%error, "cannot listen to the database"),
        }
        sleep(jittered(RETRY)).await;
    }
}

/// Tells other nodes that this one has committed something: after the commit, and once for all that came meanwhile.
async fn announce(service: Weak<Inner>) {
    loop {
        let Some(inner) = service.upgrade() else { return };
        let feed = inner.feed.clone();
        drop(inner);
        if timeout(LOOK_UP, feed.published()).await.is_err() {
            continue;
        }
        let Some(inner) = service.upgrade() else { return };
        // Both ways, since a node may be cut off from either.
        let (_, announced) = tokio::join!(inner.shared.wake_others(), inner.store.announce());
        if let Err(error) = announced {
            tracing::debug!(%error, "other nodes were not told of a change: they find it by looking");
        }
    }
}

/// Takes what this node has changed out of the shared cache, beside the write that changed it: every node also judges
/// what it finds there by the changes that it has heard of.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) shared: SharedCache,
    pub(super) clock: Arc<dyn Clock>,
}

impl Listener for Burial {
    fn apply(&self, change: &Change) {
        if !self.shared.is_there() {
            return;
        }
        let (shared, change, now) = (self.shared.clone(), *change, self.clock.now());
        tokio::spawn(async move {
            match change {
                Change::SessionRevoked { session, .. } | Change::SessionChanged { session, .. } => {
                    shared.bury_session(session, now).await;
                }
                Change::MemberChanged { organization, member, revision } => {
                    shared.forget_member(organization, member, revision).await;
                }
                _ => {}
            }
        });
    }

    /// The node that made the change has done so.
    fn hear(&self, _: &Change) {}
}
