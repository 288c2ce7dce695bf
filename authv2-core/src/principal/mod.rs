//! Who calls: the outcome of authentication, handed to the application.

mod assurance;
mod check;
mod external;

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

pub(crate) use self::{assurance::Assurance, check::refuse, external::Trust};
pub use self::{check::Check, external::ExternalIdentity};
use crate::{
    api_key::LiveKey,
    changes::{Feed, Mark, Since},
    clock::{Clock, Timestamp},
    error::{Error, Result, Scheme},
    id::{KeyId, MemberId, SessionId, TokenId, UserId},
    limit::Verdict,
    permission::{Access, Decision, Permission, SessionFacts, Subject},
    session::{LiveSession, Session},
    store::{
        Risk, SessionRecord, Transport,
        cached::{Weigh, bytes},
    },
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
    /// An API key.
    ApiKey,
}

impl Method {
    /// As the API shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
            Self::ApiKey => "api_key",
        }
    }
}

/// An authenticated caller. A cheap clone.
///
/// It was true at the moment of authentication; whoever holds it for longer than a request (a socket, a job) must
/// follow the change feed.
#[derive(Debug, Clone)]
pub struct Principal {
    known: Arc<Known>,
    /// Where this very request came from.
    ip: Option<IpAddr>,
    /// What the limit says that it ran against.
    limit: Option<Verdict>,
}

/// What is known of a caller, whichever of its requests it makes.
///
/// What each request looks at stands first, together: of a caller that did not come for a while, it comes from afar.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Known {
    pub(crate) who: Who,
    pub(crate) validity: Validity,
    /// Whether its credential is [bound](Self::bound_to) to a key.
    pub(crate) is_bound: bool,
    pub(crate) method: Method,
    /// How its user proved who it is, where its credential says otherwise than its session.
    pub(crate) assurance: Option<Box<Assurance>>,
    /// Found true for the tenant that the credential names.
    pub(crate) membership: Option<Membership>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How many bytes its token takes, and what is said of it that is kept nowhere else.
    pub(crate) held: usize,
}

/// As long as what is known of a caller holds.
#[derive(Debug, Clone)]
pub(crate) struct Validity {
    /// Until its credential expires.
    pub(crate) until: Timestamp,
    /// Until one of these changes: the session, its user and so on.
    pub(crate) marks: [Mark; 6],
    /// When the reading of them began.
    pub(crate) since: Since,
}

impl Weigh for Known {
    fn bytes(&self) -> u64 {
        // Its place in the cache, the allocator's share. A session is weighed where sessions are.
        const AROUND: usize = 250;
        bytes(size_of::<Self>() + self.held + AROUND)
    }
}

impl Known {
    /// Until `until`, or until its session, its user, what it may do in its tenant, the token itself or the signing keys
    /// change.
    pub(crate) fn of_user(
        live: Arc<LiveSession>,
        membership: Option<Membership>,
        clock: Arc<dyn Clock>,
        token: Option<TokenId>,
        (until, since): (Timestamp, Since),
    ) -> Self {
        let session = live.session();
        let of_session = Mark::of_session(session.id);
        let organization = membership.as_ref().map(|membership| membership.tenant.organization);
        let marks = [
            of_session,
            Mark::of_user(session.user_id),
            session.organization.map_or(of_session, Mark::of_organization),
            organization.map_or(of_session, Mark::of_organization),
            token.map_or(of_session, Mark::of_token),
            Mark::KEYS,
        ];
        let method = match session.transport {
            Transport::Bearer => Method::Bearer,
            Transport::Cookie => Method::Cookie,
        };
        let (is_bound, validity) = (live.is_bound(), Validity { until, marks, since });
        Self { who: Who::User(live), validity, is_bound, method, assurance: None, membership, clock, held: 0 }
    }

    /// Until `until`, or until the key, the member that bounds it, or what that may do in its organization change.
    /// `credential` is how it came: the key itself, or a token that was issued for it.
    pub(crate) fn of_key(
        key: Arc<LiveKey>,
        membership: Membership,
        clock: Arc<dyn Clock>,
        (method, token): (Method, Option<TokenId>),
        (until, since): (Timestamp, Since),
    ) -> Self {
        let record = key.record();
        let of_key = Mark::of_key(record.id);
        let marks = [
            of_key,
            Mark::of_member(record.member),
            Mark::of_organization(record.organization),
            token.map_or(of_key, Mark::of_token),
            // A key that is presented itself needs no signing key.
            token.map_or(of_key, |_| Mark::KEYS),
            of_key,
        ];
        let held = key.bytes();
        let validity = Validity { until, marks, since };
        let membership = Some(membership);
        Self { who: Who::Key(key), validity, is_bound: false, method, assurance: None, membership, clock, held }
    }

    /// With the token that is kept beside it.
    pub(crate) fn weighed(mut self, token: &str) -> Self {
        self.held = token.len()
            + self.assurance.as_ref().map_or(0, |assurance| assurance.bytes())
            + match &self.who {
                Who::User(_) => 0,
                Who::Key(key) => key.bytes(),
                Who::External(identity, _) => identity.bytes(),
            };
        self
    }

    /// The thumbprint of the key that its credential is bound to: no bearer's.
    pub(crate) fn bound_to(&self) -> Option<&[u8]> {
        match &self.who {
            Who::User(live) => live.session().key_thumbprint.as_deref(),
            Who::Key(_) => None,
            Who::External(identity, _) => identity.key_thumbprint.as_deref(),
        }
    }

    /// Until `until`, until its issuer is no longer trusted for it, or until what it may do in its tenant changes.
    #[cfg(feature = "issuers")]
    pub(crate) fn of_external(
        identity: ExternalIdentity,
        trust: Trust,
        membership: Membership,
        clock: Arc<dyn Clock>,
        (until, since): (Timestamp, Since),
    ) -> Self {
        let marks = [Mark::of_organization(membership.tenant.organization); 6];
        let is_bound = identity.key_thumbprint.is_some();
        let who = Who::External(Box::new(identity), trust);
        let validity = Validity { until, marks, since };
        let membership = Some(membership);
        Self { who, validity, is_bound, method: Method::Bearer, assurance: None, membership, clock, held: 0 }
    }

    /// The same, by the session as it has become.
    pub(crate) fn by(&self, live: Arc<LiveSession>) -> Self {
        let Self { method, assurance, membership, clock, validity, .. } = self;
        let (assurance, membership) = (assurance.clone(), membership.clone());
        let (clock, validity, is_bound) = (Arc::clone(clock), validity.clone(), live.is_bound());
        let who = Who::User(live);
        Self { who, validity, is_bound, method: *method, assurance, membership, clock, held: self.held }
    }

    /// Whether it still holds at `now`, as far as this node has heard.
    #[inline]
    pub(crate) fn holds(&self, feed: &Feed, now: Timestamp) -> bool {
        let is_live = match &self.who {
            Who::User(live) => live.is_live(now),
            Who::Key(_) => true,
            Who::External(_, trust) => trust.holds(),
        };
        is_live && now < self.validity.until && feed.unchanged(&self.validity.marks, self.validity.since)
    }
}

/// Who is behind a credential.
#[derive(Debug)]
pub(crate) enum Who {
    /// A user of this deployment, by a live session.
    User(Arc<LiveSession>),
    /// An API key, or a token that was issued for one.
    Key(Arc<LiveKey>),
    /// Somebody whom an issuer elsewhere vouches for, for as long as that is trusted.
    #[cfg_attr(not(feature = "issuers"), allow(dead_code, reason = "there are none then"))]
    External(Box<ExternalIdentity>, Trust),
}

/// Who calls, told apart by where its identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity<'a> {
    /// A user of this deployment.
    User(UserId),
    /// An API key.
    ApiKey {
        /// Which.
        key: KeyId,
        /// The member whose rights bound it: a user, or a service account.
        member: MemberId,
    },
    /// Somebody whom an issuer elsewhere vouches for: only both together name them.
    External {
        /// The issuer.
        issuer: &'a str,
        /// Its name for the caller.
        subject: &'a str,
    },
}

/// The tenant that a principal acts in, with what it may do there.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) tenant: Tenant,
    pub(crate) access: Access,
}

impl Principal {
    /// The caller of a request that came from `ip`.
    pub(crate) fn new(known: Arc<Known>, ip: Option<IpAddr>) -> Self {
        Self { known, ip, limit: None }
    }

    /// What the rate limit says that this request ran against, if there is one for its caller.
    #[must_use]
    pub fn limit(&self) -> Option<&Verdict> {
        self.limit.as_ref()
    }

    pub(crate) fn set_limit(&mut self, limit: Verdict) {
        self.limit = Some(limit);
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity<'_> {
        match &self.known.who {
            Who::User(live) => Identity::User(live.user().id),
            Who::Key(key) => Identity::ApiKey { key: key.record().id, member: key.record().member },
            Who::External(identity, _) => Identity::External { issuer: &identity.issuer, subject: &identity.subject },
        }
    }

    /// Its id as text: the user's, the service account's, or issuer and subject with a `|` between. No two callers have the same, though an
    /// issuer elsewhere may call somebody just like a user here.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.known.who {
            Who::User(live) => live.subject(),
            Who::Key(key) => key.subject(),
            Who::External(identity, _) => &identity.id,
        }
    }

    /// The user, if it is one of this deployment, or a key that acts for one: ask [`Principal::session_id`] where only a
    /// user in person will do.
    #[must_use]
    pub fn user_id(&self) -> Option<UserId> {
        match &self.known.who {
            Who::User(live) => Some(live.user().id),
            Who::Key(key) => key.user(),
            Who::External(..) => None,
        }
    }

    /// Where this request came from, where that is known.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The API key, if it is one, or presents a token that was issued for one.
    #[must_use]
    pub fn api_key(&self) -> Option<&LiveKey> {
        match &self.known.who {
            Who::Key(key) => Some(key),
            Who::User(_) | Who::External(..) => None,
        }
    }

    /// The user's record as the API shows it, if one of this deployment makes the request in person.
    #[must_use]
    pub fn user(&self) -> Option<User> {
        self.live().map(|live| User::from(live.user()))
    }

    /// The session, if it has one.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        self.live().map(|live| live.session().id)
    }

    /// The session as the API shows it, if it has one.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.live().map(|live| Session::of(&live.record(), true))
    }

    /// How the caller proved who it is on this request.
    #[must_use]
    pub fn method(&self) -> Method {
        self.known.method
    }

    /// The scheme that challenges to it name: the one under which its credential is presented.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.known.bound_to().is_some() { Scheme::Dpop } else { Scheme::Bearer }
    }

    /// The tenant it acts in, if it chose one and belongs to it.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        self.known.membership.as_ref().map(|membership| membership.tenant)
    }

    /// What it may do in the organization of its tenant; none in no tenant.
    #[must_use]
    pub fn access(&self) -> Option<&Access> {
        self.known.membership.as_ref().map(|membership| &membership.access)
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

    /// Whether it administers the whole deployment. No role and no permission gives this, and no issuer elsewhere.
    #[must_use]
    pub fn is_platform_admin(&self) -> bool {
        self.live().is_some_and(|live| live.user().platform_admin)
    }

    /// The authentication methods of its sign-in (RFC 8176 `amr`).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        let amr = match (&self.known.who, &self.known.assurance) {
            (_, Some(own)) => &own.amr,
            (Who::User(live), None) => &live.session().amr,
            (Who::Key(_), None) => "",
            (Who::External(identity, _), None) => &identity.amr,
        };
        amr.split(' ').filter(|method| !method.is_empty())
    }

    /// The authentication context class of its sign-in; empty where its issuer does not tell.
    #[must_use]
    pub fn acr(&self) -> &str {
        match (&self.known.who, &self.known.assurance) {
            (_, Some(own)) => &own.acr,
            (Who::User(live), None) => &live.session().acr,
            (Who::Key(_), None) => "",
            (Who::External(identity, _), None) => &identity.acr,
        }
    }

    /// When the user last proved who it is; of a key, and of an issuer that does not tell, the earliest moment there is.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        match (&self.known.who, &self.known.assurance) {
            (_, Some(own)) => own.auth_time,
            (Who::User(live), None) => live.session().auth_time,
            (Who::Key(_), None) => Timestamp::from_micros(0),
            (Who::External(identity, _), None) => identity.auth_time,
        }
    }

    /// Its session as its credential has it: what a token is issued from in exchange for it.
    pub(crate) fn assured(&self, session: SessionRecord) -> SessionRecord {
        match &self.known.assurance {
            Some(own) => own.over(session),
            None => session,
        }
    }

    /// Goes on only if its credential is bound to no store: one that is acts nowhere else.
    pub(crate) fn require_unbound(&self) -> Result<()> {
        let is_bound = self.tenant().is_some_and(|tenant| tenant.store.is_some());
        refuse(if is_bound { Decision::Denied } else { Decision::Allowed })
    }

    /// Turns a decision on `permission` into the refusal that fits the credential.
    ///
    /// # Errors
    /// [`Code::InsufficientScope`] where its scopes do not cover the permission; [`Code::PermissionDenied`]; or
    /// [`Code::StepUpRequired`] where a fresher or stronger sign-in would do, which no key can make.
    pub(crate) fn refuse(&self, permission: &Permission, decision: Decision) -> Result<()> {
        let scope = self.access().and_then(Access::scope);
        match decision {
            Decision::Denied if scope.is_some_and(|scope| !scope.covers(permission)) => {
                Err(Error::insufficient_scope(permission.as_str()))
            }
            Decision::StepUp(_) if self.api_key().is_some() => refuse(Decision::Denied),
            decision => refuse(decision),
        }
        .map_err(|error| error.with_scheme(self.scheme()))
    }

    /// What conditions may know of it.
    pub(crate) fn subject(&self) -> Subject<'_> {
        let method = Some(self.known.method.as_str());
        let (email, facts) = match &self.known.who {
            Who::User(live) => {
                let session = live.session();
                let (amr, acr, auth_time) = match &self.known.assurance {
                    Some(own) => (&own.amr, &own.acr, own.auth_time),
                    None => (&session.amr, &session.acr, session.auth_time),
                };
                let facts = SessionFacts { amr, acr, auth_time, opened_at: session.created_at, risk: session.risk };
                (Some(live.user().email.as_str()), Some(facts))
            }
            Who::Key(key) => (key.email(), None),
            Who::External(identity, _) => {
                let facts = SessionFacts {
                    amr: &identity.amr,
                    acr: &identity.acr,
                    auth_time: identity.auth_time,
                    opened_at: identity.issued_at,
                    risk: Risk::Low,
                };
                (identity.email.as_deref(), Some(facts))
            }
        };
        Subject { id: self.id(), email, properties: None, method, session: facts, ip: self.ip }
    }

    /// Until when its credential is good, if nothing ends it before.
    pub(crate) fn valid_until(&self) -> Timestamp {
        self.known.validity.until
    }

    /// The present moment, by the clock of the service that authenticated it.
    pub(crate) fn now(&self) -> Timestamp {
        self.known.clock.now()
    }

    /// Goes on only with a session of this deployment: what a caller may do to its own account.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`].
    pub(crate) fn signed_in(&self) -> Result<&Arc<LiveSession>> {
        self.live().ok_or_else(Error::not_signed_in_here)
    }

    fn live(&self) -> Option<&Arc<LiveSession>> {
        match &self.known.who {
            Who::User(live) => Some(live),
            Who::Key(_) | Who::External(..) => None,
        }
    }
}
