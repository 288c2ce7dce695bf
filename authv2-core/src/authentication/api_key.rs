//! API keys as credentials: found by their id, opened by their secret, bounded by what their member may do.
//!
//! A key that was seen is at hand until the feed brings a change of it, of the member that bounds it, or of its
//! organization: no request with it waits for anything. Its secret is compared, hashed, at every request. Only success
//! is kept.

use std::{net::IpAddr, sync::Arc};

use tokio::time::Instant;

use super::{AuthenticationService, Inner, authenticate::invalid_token};
use crate::{
    api_key::{LiveKey, ParsedKey},
    audit::Origin,
    clock::Timestamp,
    error::{Code, Error, Result},
    id::KeyId,
    principal::{Known, Membership, Method, Principal, Who},
    store::cached::{Cached, Missing},
    telemetry,
    tenant::Tenant,
};

/// What is known of keys, by id.
#[derive(Debug)]
pub(super) struct ApiKeys(Cached<KeyId, Known, Error>);

impl ApiKeys {
    /// Room for about `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        const TYPICAL: usize = 1024;
        Self(Cached::new(capacity, TYPICAL, None))
    }

    /// Forgets a key, also where it is being found out: the next one to ask finds out anew.
    pub(super) fn forget(&self, key: KeyId) {
        self.0.forget(&key);
    }

    /// What is known of a key, if it is at hand.
    #[inline]
    pub(super) fn at_hand(&self, key: KeyId, now: Instant) -> Option<Arc<Known>> {
        self.0.at_hand(&key, now)
    }
}

impl AuthenticationService {
    /// The caller that presents `key`.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] for a key that is unknown, past its end or deleted, for a wrong secret, and where the
    /// member that bounds it has gone or is not active; [`Code::PermissionDenied`] from where it may not be used; or an
    /// outage.
    pub(super) async fn by_key(&self, key: &ParsedKey, origin: &Origin) -> Result<Principal> {
        let ApiKeys(cached) = &self.0.api_keys;
        let is_stale = self.0.feed.is_stale();
        let at_hand = cached.at_hand(&key.id, Instant::now()).filter(|_| !is_stale);
        let mut known = match at_hand {
            Some(known) if known.holds(&self.0.feed, self.now()) => known,
            at_hand => {
                if let Some(known) = at_hand {
                    cached.forget_exactly(&key.id, &known);
                }
                self.look_for_api_key(key.id).await?
            }
        };
        if !self.opens(&known, key) {
            // It may have a new secret that this node has not heard of. Whoever only guesses costs one reading a second.
            if is_stale || !may_be_read_again(&known, self.now()) {
                return Err(refused("secret"));
            }
            known = Arc::new(Box::pin(self.find_out_key(key.id)).await?);
            if !self.opens(&known, key) {
                return Err(refused("secret"));
            }
            cached.keep(key.id, Arc::clone(&known));
        }
        if let Who::Key(key) = &known.who {
            self.may_come_from(key, origin.ip)?;
        }
        Ok(Principal::new(known, origin.ip))
    }

    /// What is known of a key, from the store: read once for all who ask at the same time.
    async fn look_for_api_key(&self, id: KeyId) -> Result<Arc<Known>> {
        let find_out = async || Box::pin(self.find_out_key(id)).await;
        if self.0.feed.is_stale() {
            return find_out().await.map(Arc::new);
        }
        let reading = async { find_out().await.map_err(Missing::Failed) };
        match self.0.api_keys.0.find(id, reading).await {
            Ok(known) if known.holds(&self.0.feed, self.now()) => Ok(known),
            Err(Missing::Failed(error)) => Err(error),
            // It changed meanwhile.
            _ => find_out().await.map(Arc::new),
        }
    }

    async fn find_out_key(&self, id: KeyId) -> Result<Known> {
        // What changes from here on is not in what is read.
        let since = self.0.feed.since();
        let (key, membership) = self.live_key(id).await?;
        let until = key.record().expires_at.unwrap_or(Timestamp::MAX);
        Ok(Known::of_key(key, membership, Arc::clone(&self.0.clock), (Method::ApiKey, None), (until, since)))
    }

    /// A key, and what it may do at present.
    ///
    /// # Errors
    /// [`Code::InvalidToken`], or an outage.
    pub(super) async fn live_key(&self, id: KeyId) -> Result<(Arc<LiveKey>, Membership)> {
        let now = self.now();
        let presented = self.0.store.presented_key(id, now).await?.ok_or_else(|| refused("unknown"))?;
        if presented.key.expires_at.is_some_and(|end| end <= now) {
            return Err(refused("expired"));
        }
        let meter = self.0.metering.meter(presented.key.organization, presented.key.id);
        let key = Arc::new(LiveKey::new(presented, meter)?.ok_or_else(|| refused("inactive"))?);
        let record = key.record();
        let access = self.0.permissions.access(record.organization, record.member).await?;
        let access = access.ok_or_else(|| refused("member_left"))?.within(Arc::clone(key.scope()));
        let tenant = Tenant { organization: record.organization, store: record.store };
        Ok((key, Membership { tenant, access }))
    }

    /// Goes on only where a key may be used; the monitor is told from where it is.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`]: whoever presents it has its secret, so this tells nothing.
    #[inline]
    pub(super) fn may_come_from(&self, key: &LiveKey, ip: Option<IpAddr>) -> Result<()> {
        if !key.may_come_from(ip) {
            telemetry::count(telemetry::KEY_REFUSALS, "reason", "address");
            return Err(Error::new(Code::PermissionDenied, "the key may not be used from this address"));
        }
        self.0.monitor.key_used(key.record().id, key.record().organization, ip, self.now());
        Ok(())
    }

    fn opens(&self, known: &Known, presented: &ParsedKey) -> bool {
        matches!(&known.who, Who::Key(key) if key.opens_with(&presented.hash, self.now()))
    }
}

impl Inner {
    /// Lets go of what holds no longer.
    pub(super) fn sweep_api_keys(&self) {
        let now = self.clock.now();
        self.api_keys.0.sweep(|known| known.holds(&self.feed, now));
    }
}

fn may_be_read_again(known: &Known, now: Timestamp) -> bool {
    matches!(&known.who, Who::Key(key) if key.may_be_read_again(now))
}

fn refused(reason: &'static str) -> Error {
    telemetry::count(telemetry::KEY_REFUSALS, "reason", reason);
    tracing::debug!(reason, "API key refused");
    invalid_token()
}
