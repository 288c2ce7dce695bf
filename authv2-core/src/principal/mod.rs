//! Who calls: the outcome of authentication, handed to the application.

mod check;

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

pub use self::check::Check;
pub(crate) use self::check::refuse;
use crate::{
    clock::{Clock, Timestamp},
    error::Result,
    id::{SessionId, UserId},
    permission::{Access, Decision, Permission, SessionFacts, Subject},
    session::{LiveSession, Session},
    store::{SessionRecord, Transport, UserRecord},
    tenant::Tenant,
    user::User,
};

/// How a caller proved who it is on this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// An access token in the `Authorization` header.
    Bearer,
    /// The session cookie.
    Cookie,
}

impl Method {
    /// As the API shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }
}

/// An authenticated caller. A cheap clone.
///
/// It was true at the moment of authentication; whoever holds it for longer than a request (a socket, a job) must
/// follow the change feed.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    live: Arc<LiveSession>,
    method: Method,
    membership: Option<Membership>,
    ip: Option<IpAddr>,
    clock: Arc<dyn Clock>,
}

/// The tenant that a principal acts in, with what it may do there.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) tenant: Tenant,
    pub(crate) access: Access,
}

impl Principal {
    /// A caller whose session is live. `membership` was found true for the tenant that the credential names.
    pub(crate) fn new(
        live: Arc<LiveSession>,
        membership: Option<Membership>,
        ip: Option<IpAddr>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let method = match live.session().transport {
            Transport::Bearer => Method::Bearer,
            Transport::Cookie => Method::Cookie,
        };
        Self(Arc::new(Inner { live, method, membership, ip, clock }))
    }

    /// The user.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.user_record().id
    }

    /// The user's record as the API shows it.
    #[must_use]
    pub fn user(&self) -> User {
        User::from(self.user_record())
    }

    /// The session.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.live.session().id
    }

    /// The session as the API shows it.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::of(&self.0.live.record(), true)
    }

    /// How the caller proved who it is on this request.
    #[must_use]
    pub fn method(&self) -> Method {
        self.0.method
    }

    /// The tenant it acts in, if it chose one and belongs to it.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        self.0.membership.as_ref().map(|membership| membership.tenant)
    }

    /// What it may do in the organization of its tenant; none in no tenant.
    #[must_use]
    pub fn access(&self) -> Option<&Access> {
        self.0.membership.as_ref().map(|membership| &membership.access)
    }

    /// Asks whether it may do this in its tenant: at the credential's store if it is bound to one, else at the
    /// organization. Without a tenant it may do nothing.
    ///
    /// ```
    /// use authv2_core::{Principal, Result, permission};
    /// use serde_json::json;
    ///
    /// fn refund(principal: &Principal, amount: u64) -> Result<()> {
    ///     principal.check(permission!("orders:refund")).resource(json!({"amount": amount})).require()
    /// }
    /// ```
    pub fn check(&self, permission: Permission) -> Check<'_> {
        Check::new(self, permission)
    }

    /// Whether it administers the whole deployment. No role and no permission gives this.
    #[must_use]
    pub fn is_platform_admin(&self) -> bool {
        self.user_record().platform_admin
    }

    /// The authentication methods of its sign-in (RFC 8176 `amr`).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.0.live.session().amr.split(' ')
    }

    /// The authentication context class of its sign-in.
    #[must_use]
    pub fn acr(&self) -> &str {
        &self.0.live.session().acr
    }

    /// When the user last proved who it is.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        self.0.live.session().auth_time
    }

    /// Goes on only if its credential is bound to no store: one that is acts nowhere else.
    pub(crate) fn require_unbound(&self) -> Result<()> {
        let is_bound = self.tenant().is_some_and(|tenant| tenant.store.is_some());
        refuse(if is_bound { Decision::Denied } else { Decision::Allowed })
    }

    /// What conditions may know of it.
    pub(crate) fn subject(&self) -> Subject<'_> {
        let session = self.0.live.session();
        Subject {
            id: self.0.live.subject(),
            email: Some(&self.user_record().email),
            properties: None,
            session: Some(SessionFacts {
                method: self.0.method.as_str(),
                amr: &session.amr,
                acr: &session.acr,
                auth_time: session.auth_time,
                opened_at: session.created_at,
                risk: session.risk,
            }),
            ip: self.0.ip,
        }
    }

    /// The present moment, by the clock of the service that authenticated it.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The user, without the password hash: whoever needs that reads it anew.
    pub(crate) fn user_record(&self) -> &UserRecord {
        self.0.live.user()
    }

    /// The session with its last use and idle deadline as of now.
    pub(crate) fn session_record(&self) -> SessionRecord {
        self.0.live.record()
    }
}
