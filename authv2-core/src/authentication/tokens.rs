//! Access tokens at hand: whoever presents one again is known at once. No signature is checked, nothing is read and
//! nothing allocated.
//!
//! A token is found by a keyed hash and compared whole, so that none passes for another. What is known of its bearer
//! holds until it expires, or until the feed brings a change of its session, its user, its organization, its roles or
//! the signing keys. Only success is kept.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    AuthenticationService, Inner, RequestHead,
    credentials::{mere_bearer, user_agent},
};
use crate::{
    error::{Error, Result},
    principal::{Known, Principal, Who},
    store::cached::{Cached, Missing},
};

/// What is known of the bearers of tokens.
#[derive(Debug)]
pub(super) struct Tokens(Cached<Arc<str>, Known, Error>);

impl Tokens {
    /// Room for about `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        const TYPICAL: usize = 1024;
        Self(Cached::new(capacity, TYPICAL, None))
    }
}

impl AuthenticationService {
    /// The caller of a request that presents an access token at hand, where there is nothing else to look at.
    #[inline]
    pub(super) fn at_hand<R: RequestHead + ?Sized>(&self, head: &R) -> Option<Principal> {
        let token = mere_bearer(head)?;
        let instant = Instant::now();
        if self.0.feed.is_stale_at(instant) {
            return None;
        }
        let known = self.0.tokens.0.at_hand(token, instant)?;
        let now = self.now();
        if known.bound_to().is_some() || !known.holds(&self.0.feed, now) {
            return None;
        }
        let ip = self.client_ip(head);
        if let Who::User(live) = &known.who {
            let sessions = &self.0.sessions;
            if !sessions.is_as_opened(live, ip, user_agent(head)) || !sessions.note_use(live, now) {
                return None;
            }
        }
        Some(Principal::new(known, ip))
    }

    /// What is known of the bearer of `token`: at hand, or found out once for all who ask at the same time.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate): refusals and outages go to all who asked meanwhile, and are forgotten.
    pub(super) async fn known(&self, token: &str) -> Result<Arc<Known>> {
        let Tokens(cached) = &self.0.tokens;
        if self.0.feed.is_stale() {
            return Box::pin(self.find_out(token)).await.map(Arc::new);
        }
        if let Some(known) = cached.at_hand(token, Instant::now()) {
            if known.holds(&self.0.feed, self.now()) {
                return Ok(known);
            }
            cached.forget_exactly(&Arc::from(token), &known);
        }
        let finding_out = async {
            let known = Box::pin(self.find_out(token)).await.map_err(Missing::Failed)?;
            Ok(known.weighed(token))
        };
        match cached.find(Arc::from(token), finding_out).await {
            Ok(known) if known.holds(&self.0.feed, self.now()) => Ok(known),
            Err(Missing::Failed(error)) => Err(error),
            // It changed meanwhile.
            _ => Box::pin(self.find_out(token)).await.map(Arc::new),
        }
    }
}

impl Inner {
    /// Lets go of what holds no longer: each token keeps the roles of its organization in memory, as they were.
    pub(super) fn sweep_tokens(&self) {
        let now = self.clock.now();
        self.tokens.0.sweep(|known| known.holds(&self.feed, now));
    }
}
