//! The warm path: whoever presents again what this node has seen is known at once. No signature is checked, nothing is
//! read, and nothing allocated.
//!
//! A token is found by a keyed hash and compared whole, so that none passes for another. A cookie and an API key are
//! found by the id in them, and their secret is compared, hashed. What is known of the caller holds until it expires, or
//! until the feed brings a change of what it rests on. Anything else that a request brings with it, sends it the long way.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    AuthenticationService, Inner, RequestHead,
    credentials::{Mere, user_agent},
};
use crate::{
    error::Error,
    id::SessionId,
    principal::{Known, Principal, Who},
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

impl AuthenticationService {
    /// The caller of a request whose credential is at hand, where there is nothing else to look at.
    #[inline]
    pub(super) fn at_hand<R: RequestHead + ?Sized>(&self, head: &R) -> Option<Principal> {
        let presented = Mere::of(head, self.0.cookies.session_name())?;
        let instant = Instant::now();
        if self.0.feed.is_stale_at(instant) {
            return None;
        }
        let now = self.now();
        let known = match presented {
            Mere::Token(token) => self.0.tokens.at_hand(token, instant)?,
            Mere::Key(key) => {
                let known = self.0.api_keys.at_hand(key.id, instant)?;
                matches!(&known.who, Who::Key(live) if live.opens_with(&key.hash, now)).then_some(known)?
            }
            Mere::Cookie(cookie) => {
                let known = self.0.cookies_at_hand.at_hand(session_of_cookie(cookie)?, instant)?;
                let hash = SecretHash::of(cookie.as_bytes());
                matches!(&known.who, Who::User(live) if live.is_opened_by(&hash)).then_some(known)?
            }
        };
        // A proof of possession is a matter of its own.
        if known.bound_to().is_some() || !known.holds(&self.0.feed, now) {
            return None;
        }
        let ip = self.client_ip(head);
        let is_as_ever = match &known.who {
            Who::User(live) => {
                let sessions = &self.0.sessions;
                sessions.is_as_opened(live, ip, user_agent(head)) && sessions.note_use(live, now)
            }
            Who::Key(key) => key.may_come_from(ip) && self.may_come_from(key, ip).is_ok(),
            Who::External(..) => true,
        };
        is_as_ever.then(|| Principal::new(known, ip))
    }
}
