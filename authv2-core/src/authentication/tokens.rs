//! Access tokens at hand: what is known of the bearer of each holds until it expires, or until the feed brings a change of
//! its session, its user, its organization, its roles or the signing keys. Only success is kept.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use quick_cache::Equivalent;
use tokio::time::Instant;

use super::{AuthenticationService, Inner};
use crate::{
    error::{Error, Result},
    principal::Known,
    store::cached::{Cached, Missing},
};

/// What is known of the bearers of tokens.
#[derive(Debug)]
pub(super) struct Tokens(Cached<Kept, Known, Error>);

/// A token that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept(Arc<[u8]>);

/// A token that was presented.
#[derive(Clone, Copy)]
struct Presented<'a>(&'a [u8]);

impl Kept {
    fn of(token: &str) -> Self {
        Self(Arc::from(token.as_bytes()))
    }
}

impl Hash for Kept {
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        Presented(&self.0).hash(hasher);
    }
}

impl Hash for Presented<'_> {
    /// By its end, which is of its signature and differs from token to token. Of those whose signature is not verified
    /// yet, with whatever end, there is no more than is being looked into.
    #[inline]
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        const END: usize = 48;
        let end = self.0.last_chunk::<END>().map_or(self.0, |end| end);
        hasher.write(end);
    }
}

impl Equivalent<Kept> for Presented<'_> {
    #[inline]
    fn equivalent(&self, kept: &Kept) -> bool {
        *self.0 == *kept.0
    }
}

impl Tokens {
    /// Room for about `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        const TYPICAL: usize = 1024;
        Self(Cached::new(capacity, TYPICAL, None))
    }

    /// Forgets a token, also where it is being found out: the next one to ask finds out anew.
    pub(super) fn forget(&self, token: &str) {
        self.0.forget(&Kept::of(token));
    }

    /// What is known of the bearer of `token`, if it is at hand.
    #[inline]
    pub(super) fn at_hand(&self, token: &[u8], now: Instant) -> Option<Arc<Known>> {
        self.0.at_hand(&Presented(token), now)
    }
}

impl AuthenticationService {
    /// What is known of the bearer of `token`: at hand, or found out once for all who ask at the same time.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate): refusals and outages go to all who asked meanwhile, and are forgotten.
    pub(super) async fn known(&self, token: &str) -> Result<Arc<Known>> {
        let Tokens(cached) = &self.0.tokens;
        if self.0.feed.is_stale() {
            return Box::pin(self.find_out(token)).await.map(Arc::new);
        }
        if let Some(known) = cached.at_hand(&Presented(token.as_bytes()), Instant::now()) {
            if known.holds(&self.0.feed, self.now()) {
                return Ok(known);
            }
            cached.forget_exactly(&Kept::of(token), &known);
        }
        let finding_out = async {
            let known = Box::pin(self.find_out(token)).await.map_err(Missing::Failed)?;
            Ok(known.weighed(token))
        };
        match cached.find(Kept::of(token), finding_out).await {
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
