//! The warm path: whoever presents again what this node has seen is known at once. No signature is checked, nothing is
//! read, and nothing allocated.
//!
//! A token is found by a keyed hash and compared whole, so that none passes for another. A cookie and an API key are
//! found by the id in them, and their secret is compared, hashed. What is known of the caller holds until it expires, or
//! until the feed brings a change of what it rests on. Anything else that a request brings with it, sends it the long way.

use std::{net::IpAddr, sync::Arc};

use tokio::time::Instant;

use super::{AuthenticationService, Inner, RequestHead, mere::Mere};
use crate::{
    api_key::claimed_id,
    clock::Timestamp,
    error::Error,
    id::SessionId,
    principal::{Known, Who},
    secret::SecretHash,
    session::session_of_cookie,
    store::cached::Cached,
};

/// What is known of those who come with cookies, by session.
#[derive(Debug)]
pub(super) struct CookiesAtHand(Cached<SessionId, Known, Error>);

impl CookiesAtHand {
    /// Room for about `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        const TYPICAL: usize = 512;
        Self(Cached::new(capacity, TYPICAL, None))
    }

    /// Keeps what was found out of the user of a session.
    pub(super) fn keep(&self, known: &Arc<Known>) {
        if let Who::User(live) = &known.who {
            self.0.keep(live.session().id, Arc::clone(known));
        }
    }

    #[inline]
    fn at_hand(&self, session: SessionId, now: Instant) -> Option<Arc<Known>> {
        self.0.at_hand(&session, now)
    }
}

impl Inner {
    /// Lets go of what holds no longer.
    pub(super) fn sweep_cookies(&self) {
        let now = self.clock.now();
        self.cookies_at_hand.0.sweep(|known| known.holds(&self.feed, now));
    }
}

/// A caller whose credential is at hand.
pub(super) struct AtHand {
    pub(super) known: Arc<Known>,
    pub(super) ip: Option<IpAddr>,
    pub(super) now: Timestamp,
}

impl AuthenticationService {
    /// The caller of a request whose credential is at hand, where there is nothing else to look at.
    #[inline]
    pub(super) fn at_hand<R: RequestHead + ?Sized>(&self, head: &R) -> Option<AtHand> {
        let (presented, user_agent) = Mere::of(head, self.0.cookies.session_name())?;
        let instant = Instant::now();
        if self.0.feed.is_stale_at(instant) {
            return None;
        }
        let now = self.0.clock.now_at(instant.into_std());
        let known = match presented {
            Mere::Token(token) => self.0.tokens.at_hand(token, instant)?,
            Mere::Key(key) => {
                let known = self.0.api_keys.at_hand(claimed_id(key)?, instant)?;
                let hash = SecretHash::of(key);
                matches!(&known.who, Who::Key(live) if live.opens_with(&hash, now)).then_some(known)?
            }
            Mere::Cookie(cookie) => {
                let known = self.0.cookies_at_hand.at_hand(session_of_cookie(cookie)?, instant)?;
                let hash = SecretHash::of(cookie.as_bytes());
                matches!(&known.who, Who::User(live) if live.is_opened_by(&hash)).then_some(known)?
            }
        };
        // A proof of possession is a matter of its own.
        if known.is_bound || !known.holds(&self.0.feed, now) {
            return None;
        }
        let ip = self.client_ip(head);
        let is_as_ever = match &known.who {
            Who::User(live) => {
                let sessions = &self.0.sessions;
                sessions.is_as_opened(live, ip, user_agent) && sessions.note_use(live, now)
            }
            Who::Key(key) if key.may_come_from(ip) => {
                self.0.monitor.key_used(key.record().id, key.record().organization, ip, now);
                true
            }
            Who::Key(_) => false,
            Who::External(..) => true,
        };
        is_as_ever.then_some(AtHand { known, ip, now })
    }
}
