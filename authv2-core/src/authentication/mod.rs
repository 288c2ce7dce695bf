//! The orchestrator: the only room where the services meet.
//!
//! [`AuthenticationService`] is what an application holds: a cheap clone, made by [`AuthenticationService::builder`].
//! Every adapter authenticates through its one [`authenticate`](AuthenticationService::authenticate).

mod account;
mod admission;
mod analytics;
mod api_key;
mod api_keys;
mod at_hand;
mod authenticate;
mod authzen;
mod background;
mod builder;
mod client_credentials;
mod cookies;
mod credentials;
mod csrf;
mod deadline;
mod devices;
mod directory;
mod dpop;
#[cfg(feature = "issuers")]
mod external;
mod first_factor;
mod following;
mod foundation;
mod introspection;
mod key_use;
mod keys;
mod login;
mod mail;
mod measures;
mod members;
mod mere;
mod mfa;
mod monitor;
mod organizations;
mod outbox;
mod recovery;
mod requirement;
mod revocation;
mod roles;
mod security_events;
mod signing_keys;
mod tenancy;
mod tenant;
mod throttle;
mod tokens;

use std::{fmt, sync::Arc};

pub(crate) use self::authzen::{Action, Entity, Evaluation, Evaluator, Found, Page};
use self::{
    admission::SetLimits, api_key::ApiKeys, at_hand::CookiesAtHand, csrf::CsrfTokens, devices::DeviceCookies,
    dpop::Proofs, keys::KeyWatch, mail::Mails, mfa::Mfa, monitor::Monitor, throttle::Throttle, tokens::Tokens,
};
pub use self::{
    admission::{By, RequestLimit},
    authenticate::Authenticating,
    builder::{Builder, StartError, key_ring, user_service},
    credentials::{Peer, RequestHead, RequestId},
    devices::KnownDevice,
    directory::{Resource, ResourceDirectory, ResourcePage, ResourceQuery},
    dpop::TokenType,
    key_use::{KeyUsage, Metered, UsageBucket},
    login::{Credentials, Login, SignedIn},
    mfa::Reproof,
    recovery::LinkRedemption,
    requirement::Requirement,
};
pub(crate) use self::{
    api_keys::NewKey,
    client_credentials::invalid_client,
    cookies::CookieStyle,
    credentials::{REQUEST_ID, REVISION},
    devices::no_device,
    dpop::DPOP_NONCE,
    introspection::{INTROSPECTION_TYPE, Introspection},
    key_use::Bucket,
    login::FIRST_PARTY_CLIENT,
    members::{Candidate, WantedRole, no_member},
    monitor::About,
    roles::{Put, no_role, require_seeing_impact},
    security_events::EventWatch,
    signing_keys::NewSigningKey,
    tenancy::{Basis, Standing, Tries, Written},
    tenant::Whereabouts,
};
use crate::{
    changes::Feed,
    clock::{Clock, Timestamp},
    config::Config,
    jwt::{JwtService, KeyRing, RevokedTokens},
    limit::Limiter,
    metering::Metering,
    organization::OrganizationService,
    permission::PermissionService,
    session::SessionService,
    store::{Guard, SharedStore, breaker::BreakerHealth, shared::SharedCache},
    user::UserService,
};

/// Users, sessions and tokens as one service. A cheap clone.
#[derive(Clone)]
pub struct AuthenticationService(Arc<Inner>);

struct Inner {
    config: Config,
    issuer: String,
    audience: String,
    clock: Arc<dyn Clock>,
    store: SharedStore,
    guard: Arc<Guard>,
    shared: SharedCache,
    feed: Feed,
    users: UserService,
    sessions: SessionService,
    jwt: JwtService,
    ring: KeyRing,
    organizations: OrganizationService,
    permissions: PermissionService,
    metering: Metering,
    keys: KeyWatch,
    tokens: Tokens,
    api_keys: ApiKeys,
    cookies_at_hand: CookiesAtHand,
    revoked: Arc<RevokedTokens>,
    throttle: Throttle,
    limiter: Limiter,
    set_limits: SetLimits,
    monitor: Monitor,
    mails: Option<Mails>,
    csrf: CsrfTokens,
    devices: DeviceCookies,
    mfa: Mfa,
    proofs: Proofs,
    cookies: CookieStyle,
    directory: Option<Arc<dyn ResourceDirectory>>,
    #[cfg(feature = "issuers")]
    elsewhere: external::Elsewhere,
}

impl AuthenticationService {
    /// Begins a service with this configuration and secure parts everywhere.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// Whether both are handles to the same service.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The users.
    #[must_use]
    pub fn users(&self) -> &UserService {
        &self.0.users
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &SessionService {
        &self.0.sessions
    }

    /// The organizations and their stores.
    #[must_use]
    pub fn organizations(&self) -> &OrganizationService {
        &self.0.organizations
    }

    /// Roles, rights and decisions.
    #[must_use]
    pub fn permissions(&self) -> &PermissionService {
        &self.0.permissions
    }

    /// The access tokens' keys and rules.
    #[must_use]
    pub fn jwt(&self) -> &JwtService {
        &self.0.jwt
    }

    /// The change feed of this node: for whoever holds a principal longer than a request.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.0.store
    }

    /// What the circuit breaker in front of the store knows of it.
    #[must_use]
    pub fn store_health(&self) -> BreakerHealth {
        self.0.guard.health()
    }

    /// The cache that the nodes share.
    pub(crate) fn shared_cache(&self) -> &SharedCache {
        &self.0.shared
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The issuer of this deployment's tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The present moment, as all nodes of the deployment see it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn cookies(&self) -> CookieStyle {
        self.0.cookies
    }

    /// Writes what was deferred and closes the store. Requests after this fail as unavailable.
    pub async fn shut_down(&self) {
        if let Some(mails) = &self.0.mails {
            mails.worker.stop().await;
        }
        if let Err(error) = self.0.sessions.write_behind().await {
            tracing::warn!(%error, "the last uses of sessions were not written");
        }
        if let Err(error) = self.0.permissions.write_behind().await {
            tracing::warn!(%error, "the last statistics of decisions were not written");
        }
        if let Err(error) = self.0.metering.close(self.now()).await {
            tracing::warn!(%error, "the last uses of keys were not written");
        }
        self.0.monitor.flush().await;
        self.0.store.close().await;
    }
}

impl fmt::Debug for AuthenticationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationService").field("issuer", &self.0.issuer).finish_non_exhaustive()
    }
}
