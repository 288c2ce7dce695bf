//! What the security monitor does, beside the requests that made it: each measure is an act with its audit entry.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    audit::{Act, Actor, Origin},
    clock::Clock,
    id::UserId,
    store::{BucketRule, EventKind, SharedStore, StoreError},
};

/// How many measures wait to be taken.
const QUEUE: usize = 256;

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
            if let Err(error) = take(measure, &store, &*clock).await {
                tracing::error!(%error, "a measure of the security monitor was not taken");
            }
        }
    });
    queue
}

async fn take(measure: Measure, store: &SharedStore, clock: &dyn Clock) -> Result<(), StoreError> {
    let now = clock.now();
    let act = |action, ip| Act::new(action, Actor::System, now, &Origin { ip, ..Origin::default() });
    match measure {
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
