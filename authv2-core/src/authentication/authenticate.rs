//! The one way from a request head to a principal.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;

use super::{
    About, AuthenticationService, RequestHead,
    at_hand::AtHand,
    credentials::{CookieChecks, Credential, Presented},
    dpop::check_binding,
};
use crate::{
    audit::Origin,
    clock::Timestamp,
    error::{Challenge, Code, Error, Result, Scheme},
    id::UserId,
    jwt::{AccessClaims, TokenRefusal, jkt},
    permission::CatchUpError,
    principal::{Assurance, Known, Membership, Principal, Who},
    secret::Secret,
    session::{LiveSession, Watched},
    store::{Proof, UserRecord},
    telemetry,
    tenant::Tenant,
};

/// An authentication under way, or done already where what it takes was at hand. It holds nothing of the request.
#[must_use = "nobody is authenticated before this was awaited"]
pub struct Authenticating(State);

enum State {
    Done(Option<Result<Option<Principal>>>),
    UnderWay(BoxFuture<'static, Result<Option<Principal>>>),
}

impl Future for Authenticating {
    type Output = Result<Option<Principal>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // A future must not be polled after it was ready.
            State::Done(outcome) => outcome.take().map_or(Poll::Pending, Poll::Ready),
            State::UnderWay(future) => future.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Authenticating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticating").finish_non_exhaustive()
    }
}

/// What a request wants of the session that it presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To act.
    Act,
    /// To end it, or others of its user: good also where its user has to prove again who it is.
    End,
    /// To prove that: likewise.
    Prove,
}

impl AuthenticationService {
    /// Who makes this request: `None` if it presents no credential, or only a cookie that has lost its session.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] for an explicit credential that is not good: it never falls back to a cookie or to
    /// nobody; [`Code::InvalidDpopProof`] or [`Code::UseDpopNonce`] for its proof of possession.
    /// [`Code::StepUpRequired`] for a session that was used from elsewhere than it was opened, where the settings want
    /// that. [`Code::AmbiguousCredentials`], [`Code::CsrfFailed`] and [`Code::WrongOrganization`] as the contract has
    /// them. [`Code::RateLimited`] and [`Code::QuotaExceeded`] for a caller that asks too often. [`Code::Unavailable`]
    /// if the question cannot be answered now: an outage is never a denial.
    pub fn authenticate<R: RequestHead + ?Sized>(&self, head: &R) -> Authenticating {
        if let Some(AtHand { known, ip, now }) = self.at_hand(head) {
            telemetry::count_accepted();
            return match self.is_unlimited(&known) {
                true => Authenticating(State::Done(Some(Ok(Some(Principal::new(known, ip)))))),
                false => self.within_limits(Principal::new(known, ip), now),
            };
        }
        self.look_into(head, Purpose::Act)
    }

    /// Lets somebody pass who is at hand, or refuses it, by its limits and its quota: at once, where what it takes is at
    /// hand too.
    fn within_limits(&self, mut principal: Principal, now: Timestamp) -> Authenticating {
        let limits = self.admit_at_hand(&mut principal, now);
        let is_within_limits = limits.is_some();
        let admitted = limits.and_then(|limits| match limits {
            Ok(()) => self.quota_at_hand(&principal, now),
            Err(error) => Some(Err(error)),
        });
        Authenticating(match admitted {
            Some(admitted) => State::Done(Some(admitted.map(|()| Some(principal)))),
            None => {
                let service = self.clone();
                State::UnderWay(Box::pin(async move {
                    if !is_within_limits {
                        service.admit(&mut principal).await?;
                    }
                    service.in_time(Duration::ZERO, service.draw_quota(&principal)).await?;
                    Ok(Some(principal))
                }))
            }
        })
    }

    /// [`authenticate`](Self::authenticate) for calls that end sessions: a session that may do nothing else may end.
    pub(crate) fn authenticate_to_end<R: RequestHead + ?Sized>(&self, head: &R) -> Authenticating {
        self.look_into(head, Purpose::End)
    }

    /// [`authenticate`](Self::authenticate) for the call by which a user proves again who it is.
    pub(crate) fn authenticate_to_prove<R: RequestHead + ?Sized>(&self, head: &R) -> Authenticating {
        self.look_into(head, Purpose::Prove)
    }

    fn look_into<R: RequestHead + ?Sized>(&self, head: &R, purpose: Purpose) -> Authenticating {
        // Everything of the head is read here.
        let (service, presented) = (self.clone(), self.presented(head));
        Authenticating(State::UnderWay(Box::pin(async move {
            let result = match presented {
                Ok(presented) => service.in_time(Duration::ZERO, service.judge(presented, purpose)).await,
                Err(error) => Err(error),
            };
            let outcome = match &result {
                Ok(Some(_)) => "accepted",
                Ok(None) => "anonymous",
                Err(error) if error.code() == Code::Unavailable => "unavailable",
                Err(_) => "refused",
            };
            telemetry::count(telemetry::AUTHENTICATIONS, "outcome", outcome);
            let Some(mut principal) = result? else { return Ok(None) };
            // Whoever wants to end a session may, however often it has asked for other things. A key has none.
            if purpose != Purpose::End || principal.api_key().is_some() {
                service.admit(&mut principal).await?;
                service.in_time(Duration::ZERO, service.draw_quota(&principal)).await?;
            }
            Ok(Some(principal))
        })))
    }

    /// [`authenticate`](Self::authenticate), together with the cookie that did it: to be set anew.
    pub(crate) async fn authenticate_with_cookie<R: RequestHead + ?Sized + Sync>(
        &self,
        head: &R,
    ) -> Result<Option<(Principal, Secret)>> {
        self.look_at_cookie(head, Purpose::Act).await
    }

    /// The cookie of a request that it was authenticated by, to prove again who its user is.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] where another one has taken its place since: the answer must not fall back to a token.
    pub(crate) async fn cookie_to_prove<R: RequestHead + ?Sized + Sync>(&self, head: &R) -> Result<Secret> {
        let found = self.look_at_cookie(head, Purpose::Prove).await?;
        found.map(|(_, secret)| secret).ok_or_else(invalid_token)
    }

    /// Likewise, to act elsewhere.
    ///
    /// # Errors
    /// As [`cookie_to_prove`](Self::cookie_to_prove).
    pub(crate) async fn cookie_to_switch<R: RequestHead + ?Sized + Sync>(&self, head: &R) -> Result<Secret> {
        let found = self.look_at_cookie(head, Purpose::Act).await?;
        found.map(|(_, secret)| secret).ok_or_else(invalid_token)
    }

    async fn look_at_cookie<R: RequestHead + ?Sized + Sync>(
        &self,
        head: &R,
        purpose: Purpose,
    ) -> Result<Option<(Principal, Secret)>> {
        let Presented { credential, revision, origin } = self.presented(head)?;
        self.catch_up(revision).await?;
        match credential {
            Credential::Cookie { secret, checks } => {
                let principal = self.by_cookie(&secret, &checks, &origin, purpose).await?;
                Ok(principal.map(|principal| (principal, secret)))
            }
            _ => Ok(None),
        }
    }

    async fn judge(&self, presented: Presented, purpose: Purpose) -> Result<Option<Principal>> {
        let Presented { credential, revision, origin } = presented;
        if revision.is_some() {
            self.catch_up(revision).await?;
            // What is at hand may be older than that: the feed may have yet to tell of it.
            match &credential {
                Credential::Bearer(token) | Credential::Dpop { token, .. } => self.0.tokens.forget(token.expose()),
                Credential::ApiKey(key) => self.0.api_keys.forget(key.id),
                _ => {}
            }
        }
        match credential {
            Credential::Missing => Ok(None),
            Credential::Unacceptable => Err(invalid_token()),
            Credential::Bearer(token) => self.by_token(&token, None, &origin, purpose).await.map(Some),
            Credential::ApiKey(key) => self.by_key(&key, &origin).await.map(Some),
            Credential::Dpop { token, proof } => {
                let judged = self.by_token(&token, Some(proof), &origin, purpose).await;
                judged.map(Some).map_err(|error| error.with_scheme(Scheme::Dpop))
            }
            Credential::Cookie { secret, checks } => self.by_cookie(&secret, &checks, &origin, purpose).await,
        }
    }

    /// Whatever is decided after this is decided on data at least as new as the consistency token says.
    async fn catch_up(&self, revision: Option<Vec<u8>>) -> Result<()> {
        let Some(token) = revision else { return Ok(()) };
        let caught_up = match std::str::from_utf8(&token) {
            Ok(token) => self.0.permissions.catch_up(token).await,
            Err(_) => Err(CatchUpError::Invalid),
        };
        caught_up.map_err(|error| match error {
            CatchUpError::Invalid => Error::new(
                Code::MalformedRequest,
                "`X-Authv2-Revision` is not what a write of this deployment answered with",
            ),
            CatchUpError::Store(error) => error.into(),
            not_yet @ CatchUpError::NotYet => Error::unavailable(not_yet),
        })
    }

    async fn by_token(
        &self,
        token: &Secret,
        proof: Option<Proof>,
        origin: &Origin,
        purpose: Purpose,
    ) -> Result<Principal> {
        let known = self.known(token.expose()).await?;
        check_binding(known.bound_to().map(jkt).as_deref(), proof.as_ref())?;
        if let Some(proof) = proof {
            self.use_proof(proof).await?;
        }
        let live = match &known.who {
            Who::User(live) => live,
            Who::Key(key) => {
                self.may_come_from(key, origin.ip)?;
                return Ok(Principal::new(known, origin.ip));
            }
            Who::External(..) => return Ok(Principal::new(known, origin.ip)),
        };
        self.0.sessions.used(live, self.now()).await;
        let Some(watched) = self.watched(Arc::clone(live), origin, purpose).await? else {
            return Err(invalid_token());
        };
        if Arc::ptr_eq(&watched, live) {
            return Ok(Principal::new(known, origin.ip));
        }
        // The look at where it is used from has changed the session: only for this request, the next one reads it.
        Ok(Principal::new(Arc::new(known.by(watched)), origin.ip))
    }

    /// What is to be known of the bearer of a token: whether it was issued here, and what it stands for at present.
    pub(super) async fn find_out(&self, token: &str) -> Result<Known> {
        // What changes from here on is not in what is read.
        let since = self.0.feed.since();
        // What the token says of its issuer only chooses whose keys are tried: none of another one's passes.
        #[cfg(feature = "issuers")]
        if let Some(issuer) = self.0.elsewhere.issuers.of(token) {
            return self.find_out_elsewhere(issuer, token, since).await;
        }
        let (claims, until) = match self.verify(token).await? {
            Ok(verified) => verified,
            Err(refusal) => {
                telemetry::count(telemetry::TOKEN_REFUSALS, "reason", refusal.as_str());
                tracing::debug!(reason = refusal.as_str(), "access token refused");
                return Err(invalid_token());
            }
        };
        // A token without a session speaks for a client.
        let Some(session) = claims.sid else { return self.find_out_client(&claims, (until, since)).await };
        let is_its_own = |live: &Arc<LiveSession>| {
            // A session's key is the one that it was opened with, whatever a token says.
            let key = live.session().key_thumbprint.as_deref().map(jkt);
            is_of(&claims, live.user()) && key.as_deref() == claims.cnf.as_ref().map(|key| key.jkt.as_str())
        };
        let Some(live) = self.0.sessions.look_up(session).await?.filter(is_its_own) else {
            telemetry::count(telemetry::TOKEN_REFUSALS, "reason", "session_ended");
            return Err(invalid_token());
        };
        // A token acts in the tenant that it was issued for, wherever its session has gone since.
        let tenant = claims.org.map(|organization| Tenant { organization, store: claims.store });
        let membership = self.membership(live.user(), tenant).await?;
        if membership.is_none() && claims.store.is_some() {
            // Bound to a store that is not there for it: it acts nowhere else.
            telemetry::count(telemetry::TOKEN_REFUSALS, "reason", "store_left");
            return Err(invalid_token());
        }
        let assurance = Assurance::of(&claims, live.session());
        let clock = Arc::clone(&self.0.clock);
        let known = Known::of_user(live, membership, clock, Some(claims.token_id()), (until, since));
        Ok(Known { assurance, ..known })
    }

    /// The session after a look at where it is used from; `None` if that has ended it.
    ///
    /// # Errors
    /// [`Code::StepUpRequired`], unless the request is to end it or to prove again who it is; or an outage.
    async fn watched(
        &self,
        live: Arc<LiveSession>,
        origin: &Origin,
        purpose: Purpose,
    ) -> Result<Option<Arc<LiveSession>>> {
        match self.watch(live, origin).await? {
            Watched::Good(live) => Ok(Some(live)),
            Watched::StepUp(live) if purpose != Purpose::Act => Ok(Some(live)),
            Watched::StepUp(_) => {
                let challenge = Challenge::InsufficientAuthentication { max_age: None, acr_values: None };
                let error =
                    Error::new(Code::StepUpRequired, "the session is held: prove again who you are, or sign in again");
                Err(error.with_challenge(challenge))
            }
            Watched::Ended => Ok(None),
        }
    }

    /// Looks at where a session is used from, and tells of what is found.
    pub(super) async fn watch(&self, live: Arc<LiveSession>, origin: &Origin) -> Result<Watched> {
        let before = live.session();
        let about = About { user: Some(before.user_id), organization: before.organization, ip: origin.ip };
        let session = before.id;
        let (watched, found) = self.0.sessions.watch(live, origin).await?;
        if let Some(change) = found {
            self.0.monitor.session_moved(about, session, change, matches!(watched, Watched::Ended));
        }
        Ok(watched)
    }

    /// What a user may do in the tenant that its credential names: nothing in one that it does not belong to (any
    /// longer), where the credential is good for itself and for no tenant.
    pub(super) async fn membership(&self, user: &UserRecord, tenant: Option<Tenant>) -> Result<Option<Membership>> {
        let Some(tenant) = tenant else { return Ok(None) };
        let access = self.0.permissions.access(tenant.organization, user.id.into()).await?;
        Ok(access
            .filter(|access| tenant.store.is_none_or(|store| access.snapshot().model().has_store(store)))
            .map(|access| Membership { tenant, access }))
    }

    async fn by_cookie(
        &self,
        secret: &Secret,
        checks: &CookieChecks,
        origin: &Origin,
        purpose: Purpose,
    ) -> Result<Option<Principal>> {
        let since = self.0.feed.since();
        let Some(live) = self.0.sessions.live_by_cookie(secret.expose()).await? else { return Ok(None) };
        if let Some(csrf) = &checks.csrf {
            let sent = csrf.as_ref().is_some_and(|token| self.0.csrf.matches(live.session().id, token.expose()));
            if !sent {
                return Err(Error::new(
                    Code::CsrfFailed,
                    "send the value of the cookie `authv2_csrf` in the header `X-CSRF-Token`",
                ));
            }
        }
        let Some(live) = self.watched(live, origin, purpose).await? else { return Ok(None) };
        let session = live.session();
        let expires_at = session.expires_at;
        let tenant = session.organization.map(|organization| Tenant { organization, store: session.store });
        let membership = self.membership(live.user(), tenant).await?;
        if tenant.is_some() && membership.is_none() {
            // The organization has gone, or the user from it: the session is in none by now.
            self.0.sessions.forget(live.session().id);
        }
        if let Some(believed) = &checks.believed_organization {
            let is_there = membership.as_ref().is_some_and(|membership| {
                let model = membership.access.snapshot().model();
                *believed == model.slug || believed.parse() == Ok(model.organization)
            });
            if !is_there {
                return Err(Error::new(Code::WrongOrganization, "the session is not in that organization"));
            }
        }
        let term = (expires_at, since);
        let known = Known::of_user(live, membership, Arc::clone(&self.0.clock), None, term);
        let known = Arc::new(known);
        self.0.cookies_at_hand.keep(&known);
        Ok(Some(Principal::new(known, origin.ip)))
    }

    /// Verifies a token, reading the signing keys again if they have changed, or if another node may have made one. With
    /// its claims comes until when its own time and its key's let it be good.
    pub(super) async fn verify(&self, token: &str) -> Result<Result<(AccessClaims, Timestamp), TokenRefusal>> {
        self.current_keys().await?;
        let now = self.now();
        let mut verdict = self.0.jwt.verify_until(token, now);
        if matches!(verdict, Err(TokenRefusal::UnknownKeyId))
            && let Some(made_at) = self.0.jwt.key_made_at(token)
            && self.look_for_key(made_at).await?
        {
            verdict = self.0.jwt.verify_until(token, now);
        }
        match verdict {
            Ok((claims, _)) if self.is_token_revoked(claims.token_id()).await? => Ok(Err(TokenRefusal::Revoked)),
            verdict => Ok(verdict),
        }
    }
}

/// The session must be the very user's that the token was issued to.
fn is_of(claims: &AccessClaims, user: &UserRecord) -> bool {
    claims.sub.parse::<UserId>().is_ok_and(|subject| subject == user.id)
}

pub(super) fn invalid_token() -> Error {
    Error::new(Code::InvalidToken, "the token is malformed, expired, revoked or not from here")
}
