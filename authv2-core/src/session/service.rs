//! The session service.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    LiveSession, Session, analytics::Counted, cache::Sessions, context::kept_user_agent, device::Device, touch::Touches,
};
use crate::{
    audit::{Act, Actor, Origin},
    changes::{Feed, Subject},
    clock::{Clock, Timestamp},
    config::SessionConfig,
    error::{Code, Error},
    id::{OrgId, SessionId, UserId},
    secret::{NoRandomness, Secret, SecretHash, random_token},
    store::{
        Bucket, NewSession, Opened, OpenedRecord, Redacted, Risk, SessionRecord, SharedStore, StoreError, Touch,
        Transport, UserRecord,
        shared::{Shared, SharedCache},
    },
    telemetry,
    tenant::Tenant,
};

/// What session cookies begin with.
const COOKIE_PREFIX: &str = "avs_";

/// How long a `last_seen_at` may be behind before a use is noted again.
const SEEN_RESOLUTION: std::time::Duration = std::time::Duration::from_secs(1);

/// A sign-in whose proof was checked: what a session is opened from.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The user.
    pub user: UserId,
    /// How the session's secret will travel.
    pub transport: Transport,
    /// How the user proved who it is.
    pub amr: &'static [&'static str],
    /// The authentication context class that this amounts to.
    pub acr: &'static str,
    /// The tenant chosen.
    pub tenant: Option<Tenant>,
    /// The hash that the password was checked against.
    pub verified_hash: Option<Redacted>,
    /// The password hashed anew, where that was due.
    pub rehashed: Option<Redacted>,
    /// The network signed in from.
    pub network: Option<String>,
    /// The counters that a completed sign-in clears.
    pub clear: Vec<Bucket>,
}

/// The secret of a session just opened: shown to the client once, stored as a hash.
#[derive(Debug, Clone)]
pub enum SessionSecret {
    /// The first refresh token.
    Refresh(Secret),
    /// The cookie's value.
    Cookie(Secret),
}

/// A session just opened.
#[derive(Debug, Clone)]
pub struct OpenedSession {
    /// The session.
    pub session: SessionRecord,
    /// Its user, as of the sign-in.
    pub user: UserRecord,
    /// Its secret.
    pub secret: SessionSecret,
}

/// Why the session service could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The user has as many sessions as allowed.
    #[error("too many sessions")]
    TooMany,
    /// The account changed between the proof and the opening.
    #[error("the account changed meanwhile")]
    Void,
    /// The system gave no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::TooMany => Self::new(Code::TooManySessions, "log out elsewhere first"),
            SessionError::Void => Self::new(Code::InvalidCredentials, "sign in again"),
            SessionError::NoRandomness(error) => error.into(),
            SessionError::Store(error) => error.into(),
        }
    }
}

/// Sessions and their secrets. Knows nothing of passwords or tokens' signatures. A cheap clone.
#[derive(Clone)]
pub struct SessionService(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: SharedStore,
    shared: SharedCache,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: SessionConfig,
    /// Derives the successors of refresh tokens.
    pub(super) refresh_key: Zeroizing<[u8; 32]>,
    pub(super) feed: Feed,
    at_hand: Arc<Sessions>,
    touches: Touches,
    pub(super) counted: Counted,
}

impl fmt::Debug for SessionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl SessionService {
    pub(crate) fn new(
        store: SharedStore,
        shared: SharedCache,
        feed: &Feed,
        clock: Arc<dyn Clock>,
        config: SessionConfig,
        refresh_key: Zeroizing<[u8; 32]>,
    ) -> Self {
        let at_hand = Arc::new(Sessions::new(config.cache_bytes));
        feed.listen(Arc::clone(&at_hand) as _);
        Self(Arc::new(Inner {
            store,
            shared,
            clock,
            config,
            refresh_key,
            feed: feed.clone(),
            at_hand,
            touches: Touches::default(),
            counted: Counted::default(),
        }))
    }

    /// Opens a session for a sign-in whose proof was checked.
    ///
    /// # Errors
    /// [`SessionError::TooMany`] under the policy `reject`, [`SessionError::Void`] if the account was disabled,
    /// removed or given another password since the check; otherwise an outage.
    pub async fn open(&self, sign_in: SignIn, origin: &Origin) -> Result<OpenedSession, SessionError> {
        let Inner { store, clock, config, .. } = &*self.0;
        let now = clock.now();
        let expires_at = now + config.absolute_ttl;
        let id = SessionId::new();
        let is_cookie = sign_in.transport == Transport::Cookie;
        let (secret, hash) = if is_cookie {
            hashed(session_cookie(id)?, SessionSecret::Cookie)
        } else {
            hashed(random_token("avr_")?, SessionSecret::Refresh)
        };
        let record = SessionRecord {
            id,
            user_id: sign_in.user,
            transport: sign_in.transport,
            cookie_hash: is_cookie.then(|| hash.as_bytes().to_vec()),
            created_at: now,
            auth_time: now,
            last_seen_at: now,
            expires_at,
            idle_expires_at: (now + config.idle_ttl).min(expires_at),
            ip: origin.ip.map(|ip| ip.to_string()),
            user_agent: origin.user_agent.as_deref().map(kept_user_agent),
            amr: sign_in.amr.join(" "),
            acr: sign_in.acr.to_owned(),
            organization: sign_in.tenant.map(|tenant| tenant.organization),
            store: sign_in.tenant.and_then(|tenant| tenant.store),
            risk: Risk::Low,
            revoked_at: None,
            generation: 0,
            device: Device::of(origin.user_agent.as_deref().unwrap_or_default()).kind,
            network_changed: false,
            device_changed: false,
        };
        let new = NewSession {
            record: record.clone(),
            refresh: (!is_cookie).then_some(hash),
            max_per_user: config.max_per_user,
            over_limit: config.over_limit,
            network: sign_in.network,
            verified_hash: sign_in.verified_hash,
            rehashed: sign_in.rehashed,
            clear: sign_in.clear,
        };
        let act = Act::new("session.login", Actor::User(sign_in.user), now, origin).on(record.id);
        match store.open_session(new, act).await? {
            Opened::New(OpenedRecord { user, generation }) => {
                Ok(OpenedSession { session: SessionRecord { generation, ..record }, user, secret })
            }
            Opened::TooMany => Err(SessionError::TooMany),
            Opened::Void => Err(SessionError::Void),
        }
    }

    /// The live session of this id with its user; none if it has ended in any way.
    ///
    /// Waits for nothing once it is at hand: what ends or changes it, on whatever node, is heard of through the feed.
    ///
    /// # Errors
    /// The store's: an outage is not an ended session.
    pub async fn live(&self, id: SessionId) -> Result<Option<Arc<LiveSession>>, SessionError> {
        let Inner { clock, feed, at_hand, .. } = &*self.0;
        let now = clock.now();
        if feed.is_stale() {
            // What others ended meanwhile is not known: the store is asked, and if it cannot answer, nobody is.
            at_hand.forget(id);
            let live = self.read(id, now).await?.map(Arc::new);
            return Ok(live.inspect(|live| self.used(live, now)));
        }
        if let Some(live) = at_hand.at_hand(id)
            && live.is_live(now)
        {
            self.used(&live, now);
            return Ok(Some(live));
        }
        let mut found = at_hand.find(id, || self.read(id, now)).await?;
        if found.as_ref().is_some_and(|live| !live.is_live(now)) {
            // Another node may have moved its idle deadline: the store decides before anybody is refused.
            at_hand.forget(id);
            found = at_hand.find(id, || self.read(id, now)).await?;
        }
        Ok(found.inspect(|live| self.used(live, now)))
    }

    /// The live session of this cookie with its user; none if it has ended in any way.
    ///
    /// # Errors
    /// The store's: an outage is not an ended session.
    pub async fn live_by_cookie(&self, cookie: &str) -> Result<Option<Arc<LiveSession>>, SessionError> {
        let Some(id) = session_of_cookie(cookie) else { return Ok(None) };
        let hash = SecretHash::of(cookie.as_bytes());
        Ok(self.live(id).await?.filter(|live| live.is_opened_by(&hash)))
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

    /// Notes that a session was used. Nobody waits for that.
    fn used(&self, live: &Arc<LiveSession>, now: Timestamp) {
        let before = live.seen(now);
        if let Some(deadline) = self.due_extension(live, now) {
            if !live.extending.swap(true, Ordering::AcqRel) {
                self.extend(Arc::clone(live), now, deadline);
            }
        } else if now.since(before) >= SEEN_RESOLUTION {
            self.0.touches.note(live.session().id, now);
        }
    }

    /// Moves the idle deadline in the store, beside the request that was a use of the session.
    fn extend(&self, live: Arc<LiveSession>, now: Timestamp, deadline: Timestamp) {
        let store = Arc::clone(&self.0.store);
        tokio::spawn(async move {
            let touch = Touch { session: live.session().id, seen_at: now, idle_expires_at: Some(deadline) };
            match store.touch_sessions(vec![touch]).await {
                Ok(()) => live.extended(deadline),
                // The deadline stands where it was: the next use tries again.
                Err(error) => tracing::debug!(%error, "a session's idle deadline was not moved"),
            }
            live.extending.store(false, Ordering::Release);
        });
    }

    /// The new idle deadline, once a tenth of its window has passed.
    fn due_extension(&self, live: &LiveSession, now: Timestamp) -> Option<Timestamp> {
        let (idle, expires_at) = (self.0.config.idle_ttl, live.session().expires_at);
        let deadline = (now + idle).min(expires_at);
        let gain = deadline.since(live.idle_expires_at());
        // The last step, to the absolute end, may be a short one.
        let is_due = gain >= idle / 10 || (!gain.is_zero() && deadline == expires_at);
        is_due.then_some(deadline)
    }

    /// The user's live sessions, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, user: UserId, current: SessionId) -> Result<Vec<Session>, SessionError> {
        let sessions = self.0.store.sessions_of(user, self.0.clock.now()).await?;
        Ok(sessions
            .into_iter()
            .map(|mut record| {
                if let Some(seen) = self.0.touches.latest(record.id) {
                    record.last_seen_at = record.last_seen_at.max(seen);
                }
                Session::of(&record, record.id == current)
            })
            .collect())
    }

    /// Ends one live session of `user`, with all its tokens. `false` if it has no such session.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke(&self, user: UserId, session: SessionId, origin: &Origin) -> Result<bool, SessionError> {
        let act = Act::new("session.revoked", Actor::User(user), self.0.clock.now(), origin).on(session);
        Ok(self.0.store.revoke_session(user, session, act).await?)
    }

    /// Ends all live sessions of `user` but `keep`; how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_all(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        origin: &Origin,
    ) -> Result<u64, SessionError> {
        let act = Act::new("session.revoked_all", Actor::User(user), self.0.clock.now(), origin).on(user);
        Ok(self.0.store.revoke_sessions(user, keep, act).await?)
    }

    /// Ends every session that is in an organization at this moment, in one write however many there are. Later ones
    /// are not touched. `false` if there is no such organization.
    ///
    /// Whoever may do this is for the caller to judge.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_organization(
        &self,
        organization: OrgId,
        actor: Actor,
        origin: &Origin,
    ) -> Result<bool, SessionError> {
        let act = Act::new("session.revoked_organization", actor, self.0.clock.now(), origin);
        let act = act.within(organization).on(organization);
        Ok(self.0.store.revoke_generation(Some(organization), act).await?.is_some())
    }

    /// Ends every session of the deployment at this moment, in one write however many there are: after a theft of the
    /// database or the restore of an old one. Later ones are not touched.
    ///
    /// Whoever may do this is for the caller to judge.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_everything(&self, actor: Actor, origin: &Origin) -> Result<(), SessionError> {
        let act = Act::new("session.revoked_everything", actor, self.0.clock.now(), origin);
        self.0.store.revoke_generation(None, act).await?;
        Ok(())
    }

    /// Writes the uses noted since the last time.
    ///
    /// # Errors
    /// The store's; what was noted is then lost, which costs precision of `last_seen_at` and nothing else.
    pub async fn write_behind(&self) -> Result<(), SessionError> {
        telemetry::add(telemetry::SESSION_LOOKUPS, "outcome", "miss", self.0.at_hand.take_read());
        Ok(self.0.store.touch_sessions(self.0.touches.take()).await?)
    }
}

/// A cookie names its session, so that it is found by that name, and proves by 256 random bits that it is its own.
pub(super) fn session_cookie(session: SessionId) -> Result<Secret, NoRandomness> {
    let name = URL_SAFE_NO_PAD.encode(session.as_uuid().as_bytes());
    random_token(&format!("{COOKIE_PREFIX}{name}"))
}

/// The session that a cookie names.
fn session_of_cookie(cookie: &str) -> Option<SessionId> {
    // 128 bits, then 256.
    const NAME: usize = 22;
    const WHOLE: usize = NAME + 43;
    let rest = cookie.strip_prefix(COOKIE_PREFIX).filter(|rest| rest.len() == WHOLE)?;
    let bytes = URL_SAFE_NO_PAD.decode(rest.get(..NAME)?).ok()?;
    Some(SessionId::from(Uuid::from_slice(&bytes).ok()?))
}

fn hashed(secret: Secret, kind: fn(Secret) -> SessionSecret) -> (SessionSecret, SecretHash) {
    let hash = SecretHash::of(secret.expose().as_bytes());
    (kind(secret), hash)
}
