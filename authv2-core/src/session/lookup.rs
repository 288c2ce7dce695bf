//! From a credential to a live session: in memory, else as the nodes share it, else as it is stored.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{LiveSession, SessionError, SessionService, service::Inner};
use crate::{
    changes::Subject,
    clock::Timestamp,
    id::SessionId,
    secret::{NoRandomness, Secret, SecretHash, random_token},
    store::{SharedStore, StoreError, Touch, shared::Shared},
};

/// What session cookies begin with.
const COOKIE_PREFIX: &str = "avs_";

/// How long a `last_seen_at` may be behind before a use is noted again.
const SEEN_RESOLUTION: Duration = Duration::from_secs(60);

/// How long a request waits for its session's idle deadline to be moved, at most, where that is urgent.
const URGENCY: Duration = Duration::from_millis(500);

impl SessionService {
    /// The live session of this id with its user, and notes its use; none if it has ended in any way.
    ///
    /// Waits for nothing once it is at hand: what ends or changes it, on whatever node, is heard of through the feed.
    ///
    /// # Errors
    /// The store's: an outage is not an ended session.
    pub async fn live(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, SessionError> {
        let now = self.0.clock.now();
        let found = self.find(id, now).await?;
        if let Some(live) = &found {
            self.used(live, now).await;
        }
        Ok(found)
    }

    /// The live session of this id with its user, without noting a use of it.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn look_up(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, SessionError> {
        self.find(id, self.0.clock.now()).await
    }

    /// Notes a use, if that takes no more than remembering it: not if the idle deadline is to be moved.
    #[inline]
    pub(crate) fn note_use(&self, live: &LiveSession, now: Timestamp) -> bool {
        if self.due_extension(live, now).is_some() {
            return false;
        }
        if now.since(live.seen(now)) >= SEEN_RESOLUTION {
            self.0.touches.note(live.session().id, now);
        }
        true
    }

    /// The live session of this cookie with its user, and notes its use; none if it has ended in any way.
    ///
    /// # Errors
    /// The store's: an outage is not an ended session.
    pub async fn live_by_cookie(&self, cookie: &str) -> Result<Option<Arc<LiveSession>>, SessionError> {
        let Some(id) = session_of_cookie(cookie) else { return Ok(None) };
        let hash = SecretHash::of(cookie.as_bytes());
        let now = self.0.clock.now();
        let found = match self.find(id, now).await? {
            // Its user may have proved again who it is, on another node, and have got another cookie for that.
            Some(live) if !live.is_opened_by(&hash) => self.stored(id).await?,
            found => found,
        };
        // Whoever knows the id alone must not keep the session from ending.
        let found = found.filter(|live| live.is_opened_by(&hash));
        if let Some(live) = &found {
            self.used(live, now).await;
        }
        Ok(found)
    }

    async fn find(&self, id: SessionId, now: Timestamp) -> Result<Option<Arc<LiveSession>>, SessionError> {
        let Inner { feed, at_hand, .. } = &*self.0;
        if feed.is_stale() {
            // What others ended meanwhile is not known: the store is asked, and if it cannot answer, nobody is.
            return self.stored(id).await;
        }
        if let Some(live) = at_hand.at_hand(id)
            && live.is_live(now)
        {
            return Ok(Some(live));
        }
        let found = at_hand.find(id, || self.read(id, now)).await?;
        if found.as_ref().is_none_or(|live| live.is_live(now)) {
            return Ok(found);
        }
        // Another node may have moved its idle deadline: the store decides before anybody is refused.
        at_hand.forget(id);
        Ok(at_hand.find(id, || self.read(id, now)).await?)
    }

    /// Forgets what is at hand of a session: the next one to ask reads it anew.
    pub(crate) fn forget(&self, id: SessionId) {
        self.0.at_hand.forget(id);
    }

    /// The live session as it is stored, whatever is at hand.
    pub(super) async fn stored(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, SessionError> {
        let Inner { store, clock, at_hand, .. } = &*self.0;
        at_hand.forget(id);
        let found = store.session(id).await?.map(|(session, user)| LiveSession::new(session, user));
        Ok(found.filter(|live| live.is_live(clock.now())).map(Arc::new))
    }

    /// The session as the nodes share it, else as it is stored, if it is live.
    async fn read(&self, id: SessionId, now: Timestamp) -> Result<Option<LiveSession>, StoreError> {
        if let Some(live) = self.read_shared(id, now).await {
            return Ok(Some(live));
        }
        let Inner { store, shared, .. } = &*self.0;
        let Some((session, user)) = store.session(id).await? else { return Ok(None) };
        let live = LiveSession::new(session, user);
        if !live.is_live(now) {
            return Ok(None);
        }
        if shared.is_there() {
            let (shared, value) = (shared.clone(), (live.session().clone(), live.user().clone()));
            tokio::spawn(async move { shared.put_session(id, &Shared { value, read_at: now }, now).await });
        }
        Ok(Some(live))
    }

    /// The session as another node read it up to a minute ago, unless it may have changed since: what this node heard
    /// of reaches further back.
    async fn read_shared(&self, id: SessionId, now: Timestamp) -> Option<LiveSession> {
        let Inner { shared, feed, at_hand, .. } = &*self.0;
        if !shared.is_there() || feed.is_stale() || feed.changed_lately(Subject::Session(id)) {
            return None;
        }
        let (session, user) = shared.session(id, now).await?.value;
        let live = LiveSession::new(session, user);
        // Judged after it was read: what changes from here on makes it be read anew.
        let is_current = !feed.changed_lately(Subject::Session(id))
            && !feed.changed_lately(Subject::User(live.user().id))
            && at_hand.lives(live.session(), now);
        (is_current && live.session().id == id && live.is_live(now)).then_some(live)
    }

    /// Reads which generations of sessions live: what the nodes share is judged by it.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn know_generations(&self) -> Result<(), StoreError> {
        self.0.at_hand.know(&self.0.store.session_floors().await?);
        Ok(())
    }

    /// Notes that a session was used. Nobody waits for that, unless so much of the idle window has passed without it
    /// being noted that the next use might come too late: then for a moment.
    pub(crate) async fn used(&self, live: &Arc<LiveSession>, now: Timestamp) {
        let before = live.seen(now);
        let Some(deadline) = self.due_extension(live, now) else {
            if now.since(before) >= SEEN_RESOLUTION {
                self.0.touches.note(live.session().id, now);
            }
            return;
        };
        let is_urgent = live.idle_expires_at().since(now) <= self.0.config.idle_ttl / 2;
        if !live.extending.swap(true, Ordering::AcqRel) {
            tokio::spawn(extend(Arc::clone(&self.0.store), Arc::clone(live), now, deadline));
        }
        if is_urgent {
            let done = async {
                while live.extending.load(Ordering::Acquire) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let _ = tokio::time::timeout(URGENCY, done).await;
        }
    }

    /// The new idle deadline, once a tenth of its window has passed.
    #[inline]
    fn due_extension(&self, live: &LiveSession, now: Timestamp) -> Option<Timestamp> {
        let (idle, expires_at) = (self.0.config.idle_ttl, live.ends_at());
        let deadline = (now + idle).min(expires_at);
        let gain = deadline.since(live.idle_expires_at());
        // The last step, to the absolute end, may be a short one.
        let is_due = gain >= idle / 10 || (!gain.is_zero() && deadline == expires_at);
        is_due.then_some(deadline)
    }
}

/// A cookie names its session, so that it is found by that name, and proves by 256 random bits that it is its own.
pub(super) fn cookie(session: SessionId) -> Result<Secret, NoRandomness> {
    let name = URL_SAFE_NO_PAD.encode(session.as_uuid().as_bytes());
    random_token(&format!("{COOKIE_PREFIX}{name}"))
}

/// The session that a cookie names.
pub(crate) fn session_of_cookie(cookie: &str) -> Option<SessionId> {
    // 128 bits, then 256.
    const NAME: usize = 22;
    const WHOLE: usize = NAME + 43;
    let rest = cookie.strip_prefix(COOKIE_PREFIX).filter(|rest| rest.len() == WHOLE)?;
    // Room for what the decoder thinks that the digits may hold.
    let mut bytes = [0; 18];
    let length = URL_SAFE_NO_PAD.decode_slice(rest.get(..NAME)?, &mut bytes).ok()?;
    Some(SessionId::from(Uuid::from_slice(bytes.get(..length)?).ok()?))
}

/// Moves a session's idle deadline in the store.
async fn extend(store: SharedStore, live: Arc<LiveSession>, now: Timestamp, deadline: Timestamp) {
    let touch = Touch { session: live.session().id, seen_at: now, idle_expires_at: Some(deadline) };
    match store.touch_sessions(vec![touch]).await {
        Ok(()) => live.extended(deadline),
        // The deadline stands where it was, and the session is live by it: the next use tries again.
        Err(error) => tracing::debug!(%error, "a session's idle deadline was not moved"),
    }
    live.extending.store(false, Ordering::Release);
}
