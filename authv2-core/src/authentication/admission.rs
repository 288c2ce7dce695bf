//! Whether a request may pass once it is known who makes it: the limits of its caller, and those that an application
//! puts around its routes.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{AuthenticationService, RequestHead};
use crate::{
    api_key::LiveKey,
    clock::Timestamp,
    config::LimitConfig,
    error::Result,
    limit::{Counted, Limiter, Outage, Policy, Rate, Subject, Take, Takes, Taking, Verdict},
    metering::{Outcome, RouteClass},
    principal::{Known, Principal, Who},
};

const MINUTE: Duration = Duration::from_secs(60);

/// Who is counted by a [`RequestLimit`]. Where a caller has no such identity (nobody signed in, no API key, in no
/// organization) its network is counted instead; where it has no known address either, all such callers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// The client's network: an IPv4 address or an IPv6 /64, with four times as much for the /56 around it and sixteen
    /// times for the /48.
    Network,
    /// The caller: an API key, or else by [`Principal::id`].
    Caller,
    /// Everybody in the caller's organization.
    Organization,
    /// All requests together: a limit on the route itself.
    Everybody,
}

/// Limits on requests, of which one passes only if all of them let it: for any route of an application, by a layer around
/// it or by [`AuthenticationService::take`].
///
/// ```
/// use std::time::Duration;
/// use authv2_core::{authentication::{By, RequestLimit}, limit::{Policy, Rate}};
///
/// let a_minute = Duration::from_secs(60);
/// let limit = RequestLimit::new(By::Caller, Policy::new("search", Rate::new(60, a_minute, Some(10))?))
///     .and(By::Organization, Policy::new("search-all", Rate::new(600, a_minute, None)?));
/// # Ok::<(), authv2_core::limit::InvalidRate>(())
/// ```
#[derive(Debug, Clone)]
pub struct RequestLimit {
    rules: Arc<[(By, Policy)]>,
    outage: Outage,
}

impl RequestLimit {
    /// A limit of `policy` for each of those that `by` tells apart.
    #[must_use]
    pub fn new(by: By, policy: Policy) -> Self {
        Self { rules: Arc::new([(by, policy)]), outage: Outage::default() }
    }

    /// A further limit, which has to let a request pass as well.
    #[must_use]
    pub fn and(self, by: By, policy: Policy) -> Self {
        let rules = self.rules.iter().copied().chain([(by, policy)]).collect();
        Self { rules, ..self }
    }

    /// What happens while Redis does not answer. Default: [`Outage::LocalShare`].
    #[must_use]
    pub fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = outage;
        self
    }
}

/// The limits that the settings have.
#[derive(Debug)]
pub(super) struct SetLimits {
    network: Option<Policy>,
    user: Option<Policy>,
    key: Option<Policy>,
    organization: Option<Policy>,
}

impl SetLimits {
    pub(super) fn of(config: &LimitConfig) -> Self {
        Self {
            network: a_minute("network", config.network_per_minute),
            user: a_minute("user", config.user_per_minute),
            key: a_minute("key", config.key_per_minute),
            organization: a_minute("organization", config.organization_per_minute),
        }
    }
}

impl AuthenticationService {
    /// The rate limits: to take from them by hand.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Takes one request from a limit. It is `principal`'s, or nobody's; the client's address is found as for
    /// [`authenticate`](Self::authenticate).
    ///
    /// # Errors
    /// As [`Limiter::take`].
    pub fn take<R: RequestHead + ?Sized>(
        &self,
        limit: &RequestLimit,
        principal: Option<&Principal>,
        head: &R,
    ) -> Taking {
        self.0.limiter.take(&self.takes_of(limit, principal, head), limit.outage)
    }

    /// [`take`](Self::take), from those that have not `counted` this request yet: nothing if all of them have. From then on
    /// they have. The same limit counts another subject for itself, such as the caller where it counted the network.
    ///
    /// # Errors
    /// As [`Limiter::take`].
    pub fn take_once<R: RequestHead + ?Sized>(
        &self,
        limit: &RequestLimit,
        principal: Option<&Principal>,
        head: &R,
        counted: &mut Counted,
    ) -> Option<Taking> {
        let mut takes = self.takes_of(limit, principal, head);
        self.0.limiter.leave_out(&mut takes, counted);
        (!takes.is_empty()).then(|| self.0.limiter.take(&takes, limit.outage))
    }

    fn takes_of<'a, R: RequestHead + ?Sized>(
        &self,
        limit: &RequestLimit,
        principal: Option<&'a Principal>,
        head: &R,
    ) -> Takes<'a> {
        let mut takes = Takes::new();
        for (by, policy) in limit.rules.iter() {
            let subject = match by {
                By::Network => None,
                By::Caller => principal.map(caller),
                By::Organization => {
                    let tenant = principal.and_then(Principal::tenant);
                    tenant.map(|tenant| Subject::Organization(tenant.organization))
                }
                By::Everybody => Some(Subject::Everybody),
            };
            match subject {
                Some(subject) => takes.push(Take::one(*policy, subject)),
                None => takes.extend(by_network(*policy, self.client_ip(head))),
            }
        }
        takes
    }

    /// Takes a request to the HTTP API from the limit of the network that it comes from.
    ///
    /// # Errors
    /// [`Code::RateLimited`](crate::Code::RateLimited).
    pub(crate) async fn admit_network<R: RequestHead + ?Sized>(&self, head: &R) -> Result<Option<Verdict>> {
        let Some(policy) = self.0.set_limits.network else { return Ok(None) };
        let verdict = self.0.limiter.take(&by_network(policy, self.client_ip(head)), Outage::LocalShare).await?;
        verdict.require().map(|()| Some(verdict))
    }

    /// Whether a caller's requests run against nothing: neither a limit nor a quota.
    #[inline]
    pub(super) fn is_unlimited(&self, known: &Known) -> bool {
        let SetLimits { user, key, organization, .. } = &self.0.set_limits;
        organization.is_none()
            && match &known.who {
                Who::Key(live) => live.limit().is_none() && key.is_none() && live.record().quota.is_none(),
                Who::User(_) | Who::External(..) => user.is_none(),
            }
    }

    /// Lets a request of this caller pass, or refuses it, by the caller's rate limits; no answer where that takes asking
    /// Redis. What the limits say is kept in the principal.
    #[inline]
    pub(super) fn admit_at_hand(&self, principal: &mut Principal, now: Timestamp) -> Option<Result<()>> {
        let verdict = {
            let takes = self.takes(principal);
            if takes.is_empty() {
                return Some(Ok(()));
            }
            self.0.limiter.take_at_hand_at(&takes, now)?
        };
        Some(self.limited(principal, verdict))
    }

    /// [`admit_at_hand`](Self::admit_at_hand), asking Redis where that is needed.
    pub(super) async fn admit(&self, principal: &mut Principal) -> Result<()> {
        let taking = {
            let takes = self.takes(principal);
            if takes.is_empty() {
                return Ok(());
            }
            self.0.limiter.take(&takes, Outage::LocalShare)
        };
        let verdict = taking.await?;
        self.limited(principal, verdict)
    }

    /// Goes on within the limits; a use of a key beyond them is counted as such.
    fn limited(&self, principal: &mut Principal, verdict: Verdict) -> Result<()> {
        principal.set_limit(verdict);
        if !verdict.allowed {
            self.count_use(principal, RouteClass::OTHER, Outcome::RateLimited);
        }
        verdict.require()
    }

    /// The limits that a caller's requests run against: an API key's own, or a user's; and the organization's.
    fn takes<'a>(&self, principal: &'a Principal) -> Takes<'a> {
        let limits = &self.0.set_limits;
        let own = match principal.api_key() {
            Some(key) => key.limit().or(limits.key),
            None => limits.user,
        };
        let own = own.map(|policy| Take::one(policy, caller(principal)));
        let organization = limits
            .organization
            .zip(principal.tenant())
            .map(|(policy, tenant)| Take::one(policy, Subject::Organization(tenant.organization)));
        own.into_iter().chain(organization).collect()
    }
}

/// An API key counts for itself, not for the member that bounds it.
fn caller(principal: &Principal) -> Subject<'_> {
    match principal.api_key().map(LiveKey::record) {
        Some(key) => Subject::ApiKey(key.organization, key.id),
        None => Subject::Caller(principal.id()),
    }
}

/// So many requests a minute; no limit for none.
fn a_minute(name: &'static str, requests: u32) -> Option<Policy> {
    let rate = if requests == 0 { None } else { Rate::new(requests, MINUTE, None).ok() };
    rate.map(|rate| Policy::built_in(name, rate))
}

/// All whose address is not known count together.
fn by_network<'a>(policy: Policy, ip: Option<IpAddr>) -> Takes<'a> {
    let Some(ip) = ip else { return std::iter::once(Take::one(policy, Subject::Other("no address"))).collect() };
    let take = |(network, times)| Take::one(policy.with_rate(policy.rate().times(times)), network);
    Subject::networks(ip).map(take).collect()
}
