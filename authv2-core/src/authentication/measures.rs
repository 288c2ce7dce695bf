//! What the security monitor does, beside the requests that made it: each measure is an act with its audit entry.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use crate::{
    audit::{Act, Actor, Origin},
    clock::Clock,
    id::UserId,
    store::{BucketRule, EventKind, SharedStore, StoreError},
};

/// How many measures wait to be taken.
const QUEUE: usize = 1024;
/// The pauses between tries, at first and at most, and how many tries there are: about a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const TRIES: u32 = 12;

/// Something to be done.
#[derive(Debug)]
pub(super) enum Measure {
    /// A counter says no from now on, for a time.
    Block { rule: BucketRule, ip: Option<IpAddr> },
    /// All sessions of a user end.
    EndSessions { user: UserId, reason: EventKind },
    /// The sessions of a user do nothing but end, until it has proved again who it is.
    HoldSessions { user: UserId },
}

/// Takes measures until the sender is dropped.
pub(super) fn start(store: SharedStore, clock: Arc<dyn Clock>) -> mpsc::Sender<Measure> {
    let (queue, mut measures) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(measure) = measures.recv().await {
            take_at_last(&measure, &store, &*clock).await;
        }
    });
    queue
}

/// Tries until it is taken, for as long as an event is tried to be written. A block that was counted twice lasts no longer.
async fn take_at_last(measure: &Measure, store: &SharedStore, clock: &dyn Clock) {
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        match take(measure, store, clock).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "a measure of the security monitor will be taken again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tracing::error!("a measure of the security monitor was not taken");
}

async fn take(measure: &Measure, store: &SharedStore, clock: &dyn Clock) -> Result<(), StoreError> {
    let now = clock.now();
    let act = |action, ip| Act::new(action, Actor::System, now, &Origin { ip, ..Origin::default() });
    match *measure {
        Measure::Block { rule, ip } => store.count_failure(vec![rule], act("security.network_blocked", ip)).await,
        Measure::EndSessions { user, reason } => {
            let act = Act { reason: Some(reason.as_str().into()), ..act("session.revoked_all", None).on(user) };
            store.revoke_sessions(user, None, act).await.map(|_| ())
        }
        Measure::HoldSessions { user } => {
            for session in store.sessions_of(user, now).await? {
                store.raise_risk(user, session.id, act("session.risk_raised", None).on(session.id)).await?;
            }
            Ok(())
        }
    }
}
