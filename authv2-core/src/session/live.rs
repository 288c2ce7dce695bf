//! A live session at hand, with its user: what requests share.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use super::context::Context;
use crate::{
    clock::Timestamp,
    secret::{SecretHash, equal_in_constant_time},
    store::{SessionRecord, UserRecord, UserStatus, cached::Weigh},
};

/// How far the time of the last use that is shown may lie behind.
const SHOWN_RESOLUTION: Duration = Duration::from_millis(100);

/// A session that was live when it was read, and its user. The user's password hash is left out: it stays in the store.
#[derive(Debug)]
pub struct LiveSession {
    session: SessionRecord,
    user: UserRecord,
    /// The user's id as conditions see it.
    subject: String,
    /// Where and on what it was opened.
    opened: Context,
    /// Moved by uses of the session on this node.
    idle_expires_at: AtomicI64,
    last_seen_at: AtomicI64,
    /// Somebody is moving the idle deadline in the store.
    pub(super) extending: AtomicBool,
}

impl LiveSession {
    pub(crate) fn new(session: SessionRecord, mut user: UserRecord) -> Self {
        user.password_hash = None;
        Self {
            subject: user.id.to_string(),
            opened: Context::of_session(&session),
            idle_expires_at: AtomicI64::new(session.idle_expires_at.as_micros()),
            last_seen_at: AtomicI64::new(session.last_seen_at.as_micros()),
            extending: AtomicBool::new(false),
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

    pub(super) fn opened(&self) -> &Context {
        &self.opened
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
        let SessionRecord { revoked_at, expires_at, .. } = self.session;
        self.user.status == UserStatus::Active
            && revoked_at.is_none()
            && now < expires_at
            && now < self.idle_expires_at()
    }

    /// Whether this cookie is the session's.
    pub(crate) fn is_opened_by(&self, cookie: &SecretHash) -> bool {
        self.session.cookie_hash.as_deref().is_some_and(|own| equal_in_constant_time(own, cookie.as_bytes()))
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
