//! A live session at hand, with its user: what requests share.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use super::context::{Agent, Context};
use crate::{
    clock::Timestamp,
    secret::{SecretHash, equal_in_constant_time},
    store::{ContextChange, Risk, SessionRecord, UserRecord, UserStatus, cached::Weigh},
};

/// How far the time of the last use that is shown may lie behind.
const SHOWN_RESOLUTION: Duration = Duration::from_millis(100);

/// A session that was live when it was read, and its user. The user's password hash is left out: it stays in the store.
///
/// What each request looks at stands first, together: of a session that was not used for a while, it comes from afar.
#[derive(Debug)]
#[repr(C)]
pub struct LiveSession {
    /// Moved by uses of the session on this node.
    idle_expires_at: AtomicI64,
    last_seen_at: AtomicI64,
    /// When it ends, whatever happens; it has already where it was revoked, or where its user is not active.
    ends_at: Timestamp,
    /// The `User-Agent` that it was opened with.
    agent: Option<Agent>,
    /// Where and on what it was opened.
    opened: Context,
    /// What has changed of that since.
    noted: ContextChange,
    risk: Risk,
    is_bound: bool,
    /// Somebody is moving the idle deadline in the store.
    pub(super) extending: AtomicBool,
    cookie: Option<SecretHash>,
    session: SessionRecord,
    user: UserRecord,
    /// The user's id as conditions see it.
    subject: String,
}

impl LiveSession {
    pub(crate) fn new(session: SessionRecord, mut user: UserRecord) -> Self {
        user.password_hash = None;
        let is_usable = user.status == UserStatus::Active && session.revoked_at.is_none();
        Self {
            idle_expires_at: AtomicI64::new(session.idle_expires_at.as_micros()),
            last_seen_at: AtomicI64::new(session.last_seen_at.as_micros()),
            ends_at: if is_usable { session.expires_at } else { Timestamp::from_micros(i64::MIN) },
            agent: session.user_agent.as_deref().map(|agent| Agent::of(agent.as_bytes())),
            opened: Context::of_session(&session),
            noted: ContextChange { network: session.network_changed, device: session.device_changed },
            risk: session.risk,
            is_bound: session.key_thumbprint.is_some(),
            extending: AtomicBool::new(false),
            cookie: session.cookie_hash.as_deref().and_then(SecretHash::from_stored),
            subject: user.id.to_string(),
            session,
            user,
        }
    }

    /// The session as it was read; [`record`](Self::record) has its last use and idle deadline as of now.
    #[must_use]
    pub fn session(&self) -> &SessionRecord {
        &self.session
    }

    /// Its user, without the password hash.
    #[must_use]
    pub fn user(&self) -> &UserRecord {
        &self.user
    }

    /// The session as of now.
    #[must_use]
    pub fn record(&self) -> SessionRecord {
        SessionRecord {
            idle_expires_at: self.idle_expires_at(),
            last_seen_at: self.last_seen_at(),
            ..self.session.clone()
        }
    }

    /// The user's id as conditions see it.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// How a request differs from the one that opened it.
    #[inline]
    pub(super) fn changed_by(&self, ip: Option<IpAddr>, user_agent: Option<&[u8]>) -> Option<ContextChange> {
        self.opened.changed_by(self.agent, ip, user_agent)
    }

    /// What was noted of such differences.
    pub(super) fn noted(&self) -> ContextChange {
        self.noted
    }

    pub(super) fn risk(&self) -> Risk {
        self.risk
    }

    /// Whether it is bound to a key.
    pub(crate) fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// When it ends, whatever happens.
    pub(super) fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    pub(super) fn idle_expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.idle_expires_at.load(Ordering::Relaxed))
    }

    pub(super) fn last_seen_at(&self) -> Timestamp {
        Timestamp::from_micros(self.last_seen_at.load(Ordering::Relaxed))
    }

    /// The idle deadline has been moved in the store.
    pub(super) fn extended(&self, deadline: Timestamp) {
        self.idle_expires_at.fetch_max(deadline.as_micros(), Ordering::Relaxed);
    }

    /// Notes a use; when the last one before it was.
    #[inline]
    pub(super) fn seen(&self, at: Timestamp) -> Timestamp {
        let before = self.last_seen_at();
        // Requests at the same time must not wait for each other's writes to one place in memory.
        if at.since(before) < SHOWN_RESOLUTION {
            return before;
        }
        Timestamp::from_micros(self.last_seen_at.fetch_max(at.as_micros(), Ordering::Relaxed))
    }

    /// Whether it can be used at `now`, as far as is known here: another node may have moved its idle deadline.
    #[inline]
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.ends_at && now < self.idle_expires_at()
    }

    /// Whether this cookie is the session's.
    pub(crate) fn is_opened_by(&self, cookie: &SecretHash) -> bool {
        self.cookie.as_ref().is_some_and(|own| equal_in_constant_time(own.as_bytes(), cookie.as_bytes()))
    }
}

impl Weigh for LiveSession {
    fn bytes(&self) -> u64 {
        // The key, the place in the cache, the allocator's share.
        const AROUND: usize = 200;
        let SessionRecord { ip, user_agent, amr, acr, cookie_hash, key_thumbprint, .. } = &self.session;
        let UserRecord { external_id, email, display_name, metadata, .. } = &self.user;
        let optional =
            [ip, user_agent, external_id, display_name].map(|text| text.as_ref().map_or(0, String::capacity));
        let texts = [amr, acr, email, metadata, &self.subject].map(String::capacity);
        let hashes = [cookie_hash, key_thumbprint].map(|hash| hash.as_ref().map_or(0, Vec::capacity));
        let held = optional.iter().chain(&texts).chain(&hashes).sum::<usize>();
        crate::store::cached::bytes(size_of::<Self>() + held + AROUND)
    }
}
