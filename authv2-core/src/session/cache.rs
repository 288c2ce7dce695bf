//! Live sessions at hand, kept right by the change feed.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::live::LiveSession;
use crate::{
    changes::{Change, Listener},
    clock::Timestamp,
    id::{SessionId, UserId},
    store::{
        Floors, SessionRecord, StoreError,
        cached::{Cached, Missing, Weigh},
    },
};

/// Users are told apart by so many marks: a change of one makes the few others with its mark be read again.
const MARKS: usize = 4096;

/// Sessions at hand.
#[derive(Debug)]
pub(super) struct Sessions {
    entries: Cached<SessionId, Marked>,
    /// How many changes of users were heard of.
    changes: AtomicU64,
    /// The last of them for each mark. What was read before it is not used.
    marks: Box<[AtomicU64]>,
    /// Which generations live, and how often that has changed.
    floors: RwLock<Floors>,
    raised: AtomicU64,
}

/// A session, and how many changes of users had been heard of when its reading began.
#[derive(Debug)]
struct Marked {
    live: Arc<LiveSession>,
    read_after: u64,
    /// As of which raising of floors its generation was found to live.
    judged_at: AtomicU64,
}

impl Weigh for Marked {
    fn bytes(&self) -> u64 {
        self.live.bytes()
    }
}

impl Sessions {
    /// Room for about `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        const TYPICAL: usize = 1024;
        Self {
            entries: Cached::new(capacity, TYPICAL, None),
            changes: AtomicU64::new(0),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            floors: RwLock::default(),
            raised: AtomicU64::new(0),
        }
    }

    /// The session at hand.
    #[inline]
    pub(super) fn at_hand(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        let marked = self.entries.at_hand(&id, Instant::now())?;
        self.is_right(&marked).then(|| Arc::clone(&marked.live))
    }

    /// The session at hand, or the one that `read` brings: for all who ask at the same time.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn find<F>(
        &self,
        id: SessionId,
        read: impl Fn() -> F,
    ) -> Result<Option<Arc<LiveSession>>, StoreError>
    where
        F: Future<Output = Result<Option<LiveSession>, StoreError>>,
    {
        loop {
            let marked = async {
                let read_after = self.changes.load(Ordering::Acquire);
                // The store knows every floor that was raised before it is asked.
                let judged_at = AtomicU64::new(self.raised.load(Ordering::Acquire));
                let live = read().await.map_err(Missing::Failed)?.ok_or(Missing::Absent)?;
                Ok(Marked { live: Arc::new(live), read_after, judged_at })
            };
            match self.entries.find(id, marked).await {
                Ok(marked) if self.is_right(&marked) => return Ok(Some(Arc::clone(&marked.live))),
                Ok(outdated) => self.entries.forget_exactly(&id, &outdated),
                Err(Missing::Absent) => return Ok(None),
                Err(Missing::Failed(error)) => return Err(error),
            }
        }
    }

    /// Forgets a session: the next one to ask reads it anew.
    pub(super) fn forget(&self, id: SessionId) {
        self.entries.forget(&id);
    }

    /// The floors as they are stored; those heard of meanwhile stay.
    pub(super) fn know(&self, stored: &Floors) {
        self.floors.write().unwrap_or_else(PoisonError::into_inner).raise_all(stored);
        self.raised.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a session that was read elsewhere is live, its generation included.
    pub(super) fn lives(&self, session: &SessionRecord, now: Timestamp) -> bool {
        session.is_live_above(&self.floors.read().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// How many sessions were read since the last time.
    pub(super) fn take_read(&self) -> u64 {
        self.entries.take_read()
    }

    #[inline]
    fn is_right(&self, marked: &Marked) -> bool {
        let mark = self.marks.get(mark(marked.live.user().id));
        mark.is_some_and(|last| last.load(Ordering::Acquire) <= marked.read_after)
            && self.is_of_a_live_generation(marked)
    }

    #[inline]
    fn is_of_a_live_generation(&self, marked: &Marked) -> bool {
        let raised = self.raised.load(Ordering::Acquire);
        if marked.judged_at.load(Ordering::Acquire) == raised {
            return true;
        }
        let session = marked.live.session();
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        let lives = session.generation >= floors.of(session.organization);
        if lives {
            marked.judged_at.store(raised, Ordering::Release);
        }
        lives
    }

    fn forget_of(&self, user: UserId) {
        let change = self.changes.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(last) = self.marks.get(mark(user)) {
            last.fetch_max(change, Ordering::AcqRel);
        }
    }
}

impl Listener for Sessions {
    fn apply(&self, change: &Change) {
        match *change {
            Change::SessionRevoked { session, .. } | Change::SessionChanged { session, .. } => self.forget(session),
            Change::UserChanged { user } => self.forget_of(user),
            // The floor first: whoever sees that it was raised judges by it.
            Change::SessionsRevoked { organization, generation } => {
                self.floors.write().unwrap_or_else(PoisonError::into_inner).raise(organization, generation);
                self.raised.fetch_add(1, Ordering::AcqRel);
            }
            Change::Everything => self.entries.forget_everything(),
            // What a member may do is asked for at each request.
            Change::SigningKeysChanged
            | Change::TokenRevoked { .. }
            | Change::ApiKeyChanged { .. }
            | Change::OrganizationChanged { .. }
            | Change::MemberChanged { .. } => {}
        }
    }
}

/// Which mark a user has: the last bits of a UUIDv7 are random.
fn mark(user: UserId) -> usize {
    let [.., high, low] = user.as_uuid().into_bytes();
    usize::from(u16::from_be_bytes([high, low])) % MARKS
}

#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod tests;
