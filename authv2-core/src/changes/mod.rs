//! The change feed: every security-relevant change, in the order this node learns of it.
//!
//! A change is a row of the `changes` table, written in the transaction of what it tells. This room holds what a
//! change is and the form of the feed inside one process: a store publishes what it committed, listeners apply it to
//! their memory before the write is answered, and subscribers (live sockets) are woken.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::broadcast;

use crate::id::{MemberId, OrgId, SessionId, UserId};

/// How many changes a slow subscriber may fall behind before it is told to start over.
const SUBSCRIBER_BUFFER: usize = 1024;

/// One security-relevant change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// A session was ended.
    SessionRevoked {
        /// Which.
        session: SessionId,
        /// Whose it was.
        user: UserId,
    },
    /// Every session of an older generation was ended: in one organization, or all there are.
    SessionsRevoked {
        /// The organization that they were in; everywhere if there is none.
        organization: Option<OrgId>,
        /// The least generation that lives there from then on.
        generation: i64,
    },
    /// A session's row changed otherwise: it acts in another tenant, or looks riskier. Of sessions in an organization
    /// that was removed, the organization's own change tells.
    SessionChanged {
        /// Which.
        session: SessionId,
        /// Whose it is.
        user: UserId,
    },
    /// A user's record changed: its profile or its password, or it was disabled, enabled or removed. When it last
    /// signed in is not told of.
    UserChanged {
        /// Who.
        user: UserId,
    },
    /// A signing key was added or changed its state.
    SigningKeysChanged,
    /// An organization was removed, or what its decisions are compiled from changed: roles, resource types, stores,
    /// its time zone.
    OrganizationChanged {
        /// Which.
        organization: OrgId,
        /// Its revision from then on.
        revision: i64,
    },
    /// A member was added, removed, or given other roles.
    MemberChanged {
        /// Where.
        organization: OrgId,
        /// Which.
        member: MemberId,
        /// The organization's revision from then on.
        revision: i64,
    },
}

/// Something that keeps its memory right by the feed.
pub trait Listener: Send + Sync {
    /// Applies a change. Must be quick and must not block: the write that made the change waits for it.
    fn apply(&self, change: &Change);
}

/// The feed inside this process. A cheap clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    listeners: RwLock<Vec<Arc<dyn Listener>>>,
    subscribers: broadcast::Sender<Change>,
}

impl Feed {
    /// A feed that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        let (subscribers, _) = broadcast::channel(SUBSCRIBER_BUFFER);
        Self(Arc::new(Inner { listeners: RwLock::default(), subscribers }))
    }

    /// Applies every later change to `listener`.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.0.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Every later change. A subscriber that lags behind gets [`broadcast::error::RecvError::Lagged`] and must look
    /// at the store again instead of assuming that nothing happened.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.subscribers.subscribe()
    }

    /// Applies committed changes to this node: first the listeners, then the subscribers. Stores call it after their
    /// commit and before they answer.
    pub fn publish(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let listeners = self.0.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            for listener in listeners.iter() {
                // A defect in one listener must not take the writer down with it.
                if catch_unwind(AssertUnwindSafe(|| listener.apply(change))).is_err() {
                    tracing::error!("a listener of the change feed panicked");
                }
            }
            // An error means that nobody subscribes at the moment.
            let _ = self.0.subscribers.send(*change);
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<Change>>);

    impl Listener for Seen {
        fn apply(&self, change: &Change) {
            self.0.lock().unwrap().push(*change);
        }
    }

    #[test]
    fn applies_to_listeners_before_it_wakes_subscribers() {
        let feed = Feed::new();
        let seen = Arc::new(Seen::default());
        feed.listen(seen.clone());
        let mut subscriber = feed.subscribe();
        let change = Change::UserChanged { user: UserId::new() };
        feed.publish(&[change]);
        assert_eq!(*seen.0.lock().unwrap(), [change]);
        assert_eq!(subscriber.try_recv(), Ok(change));
    }
}
