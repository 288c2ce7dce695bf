//! The change feed: every security-relevant change, in the order this node learns of it.
//!
//! A change is a row of the `changes` table, written in the transaction of what it tells. Here stands what a change is,
//! and the form of the feed inside one process: a store publishes what it committed, listeners apply it to their memory
//! before the write is answered, and subscribers (live sockets) are woken. What other nodes and processes committed
//! comes from the table, through `follower`.

mod follower;
mod freshness;
mod marks;
mod recent;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, broadcast},
    time::Instant,
};

pub(crate) use self::{
    follower::Follower,
    marks::{Mark, Since},
    recent::Subject,
};
use self::{freshness::Freshness, marks::Marks, recent::Recent};
use crate::{
    clock::Timestamp,
    id::{KeyId, MemberId, OrgId, SessionId, TokenId, UserId},
};

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
    /// One access token was revoked, its session or not.
    TokenRevoked {
        /// Which.
        token: TokenId,
        /// When it would have expired: from then on nobody needs to know.
        expires_at: Timestamp,
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
    /// An API key was made, rotated or deleted.
    ApiKeyChanged {
        /// Whose.
        organization: OrgId,
        /// Which.
        key: KeyId,
        /// The organization's revision from then on.
        revision: i64,
    },
    /// Changes may have been missed, or taken back (a restored database): nothing in memory is to be relied on.
    Everything,
}

/// Something that keeps its memory right by the feed.
pub trait Listener: Send + Sync {
    /// Applies a change that this node has just committed. Must be quick and must not block: the write that made the
    /// change waits for it.
    fn apply(&self, change: &Change);

    /// Applies a change that was read from the table: of another node, or of this one and applied before.
    fn hear(&self, change: &Change) {
        self.apply(change);
    }
}

/// The feed inside this process. A cheap clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    listeners: RwLock<Vec<Arc<dyn Listener>>>,
    subscribers: broadcast::Sender<Change>,
    freshness: Freshness,
    recent: Recent,
    marks: Marks,
    /// This node has committed something that others have yet to hear of.
    published: Notify,
    /// This node has committed a mail that waits to be sent.
    posted: Notify,
}

/// How far the following of the table has come.
#[derive(Debug, Clone, Copy)]
pub struct FeedHealth {
    /// How long ago the last successful reading was begun: what is in memory is at least as new as that. None where
    /// nobody follows.
    pub lag: Option<Duration>,
    /// Whether that is so long ago that memory is trusted no longer.
    pub is_stale: bool,
}

impl Feed {
    /// A feed that nobody listens to yet. What is in memory is trusted for five seconds after the last reading of the
    /// table, once somebody follows it.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_staleness(Duration::from_secs(5))
    }

    /// A feed that trusts memory for `max_staleness` after the last reading of the table.
    ///
    /// It is the bound within which a revocation made on another node is refused here, whatever fails.
    #[must_use]
    pub fn with_max_staleness(max_staleness: Duration) -> Self {
        let (subscribers, _) = broadcast::channel(SUBSCRIBER_BUFFER);
        Self(Arc::new(Inner {
            listeners: RwLock::default(),
            subscribers,
            freshness: Freshness::new(max_staleness),
            recent: Recent::default(),
            marks: Marks::new(),
            published: Notify::new(),
            posted: Notify::new(),
        }))
    }

    /// Applies every later change to `listener`.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.0.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Every later change. A subscriber that lags behind gets [`broadcast::error::RecvError::Lagged`] and must look
    /// at the store again instead of assuming that nothing happened, as after [`Change::Everything`].
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
        self.tell(changes, |listener, change| listener.apply(change));
        self.0.published.notify_one();
    }

    /// Applies changes that were read from the table.
    pub(crate) fn hear(&self, changes: &[Change]) {
        self.tell(changes, |listener, change| listener.hear(change));
    }

    fn tell(&self, changes: &[Change], apply: fn(&dyn Listener, &Change)) {
        let listeners = self.0.listeners.read().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for change in changes {
            // Before any listener: what is filled from a shared cache after this is judged by it.
            self.0.recent.note(change, now);
            for listener in listeners.iter() {
                // A defect in one listener must not take the writer down with it.
                if catch_unwind(AssertUnwindSafe(|| apply(&**listener, change))).is_err() {
                    tracing::error!("a listener of the change feed panicked");
                }
            }
            // After every listener: whoever reads from their memory now reads what knows the change.
            self.0.marks.note(change);
            // An error means that nobody subscribes at the moment.
            let _ = self.0.subscribers.send(*change);
        }
    }

    /// Whether other nodes may have changed what is in memory without this one knowing: the store must be asked then.
    /// Never where nobody follows the table.
    #[inline]
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale_at(Instant::now())
    }

    /// [`is_stale`](Self::is_stale), for one who has asked what time it is already.
    #[inline]
    pub(crate) fn is_stale_at(&self, now: Instant) -> bool {
        self.0.freshness.is_stale(now)
    }

    /// How far the following of the table has come.
    #[must_use]
    pub fn health(&self) -> FeedHealth {
        let now = Instant::now();
        FeedHealth { lag: self.0.freshness.lag(now), is_stale: self.0.freshness.is_stale(now) }
    }

    /// To be asked before a reading begins whose outcome is kept.
    pub(crate) fn since(&self) -> Since {
        self.0.marks.now()
    }

    /// Whether none of these has changed since. What was read from memory that listens to this feed is right then.
    #[inline]
    pub(crate) fn unchanged(&self, marks: &[Mark], since: Since) -> bool {
        self.0.marks.unchanged(marks, since)
    }

    /// Whether a change of `subject` was heard of within the life of an entry of the shared cache: such an entry may be
    /// older than the change.
    pub(crate) fn changed_lately(&self, subject: Subject) -> bool {
        self.0.recent.holds(subject, Instant::now())
    }

    /// Wakes whoever sends mails. Stores call it after the commit of one.
    pub fn tell_of_mail(&self) {
        self.0.posted.notify_one();
    }

    /// Waits until this node has committed a mail.
    pub(crate) async fn mail_posted(&self) {
        self.0.posted.notified().await;
    }

    /// Waits until this node has committed something that others have yet to hear of.
    pub(crate) async fn published(&self) {
        self.0.published.notified().await;
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
