//! Signing in, refreshing and signing out.

use std::{sync::Arc, time::Duration};

use super::{
    About, AuthenticationService, Inner, TokenType, account::email_key, first_factor::FirstFactor,
    tenant::not_a_member, throttle::Place,
};
use crate::{
    audit::{Act, Actor, DeviceClaim, Origin, Outcome},
    clock::Timestamp,
    error::{Code, Error, Result},
    id::{SessionId, TokenId},
    jwt::{AccessClaims, Audience, Confirmation, MintError, jkt},
    principal::Principal,
    secret::Secret,
    security::Signs,
    session::{LiveSession, OpenedSession, RefreshError, Refreshed, Session, SessionSecret, Watched},
    store::{Proof, SessionRecord, SignInFacts, Transport, UserRecord, UserStatus},
    telemetry,
    user::{PasswordCheck, User},
};

/// The `client_id` of tokens that users of this deployment get (RFC 9068 section 2.2).
pub(crate) const FIRST_PARTY_CLIENT: &str = "authv2";

/// A sign-in as asked for.
#[derive(Debug, Clone)]
pub struct Login {
    /// The e-mail as typed.
    pub email: String,
    /// The password as typed.
    pub password: Secret,
    /// The organization to act in, by slug or id.
    pub organization: Option<String>,
    /// The store inside it, by slug or id; means nothing without an organization.
    pub store: Option<String>,
    /// How the session's secret is to travel.
    pub transport: Transport,
    /// The proof of the key that the session's tokens are to be bound to, from [`AuthenticationService::proof`]. A cookie
    /// session is bound to none.
    pub proof: Option<Proof>,
}

/// A session with what its client needs to use it.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The session.
    pub session: Session,
    /// Its credentials.
    pub credentials: Credentials,
}

/// The credentials of a session.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// For clients that hold tokens.
    Tokens {
        /// How the access token is to be presented.
        token_type: TokenType,
        /// The access token.
        access_token: Secret,
        /// Its life.
        expires_in: Duration,
        /// The refresh token.
        refresh_token: Secret,
        /// Its life.
        refresh_expires_in: Duration,
    },
    /// For clients that hold tokens and keep the refresh token they have.
    Access {
        /// How the access token is to be presented.
        token_type: TokenType,
        /// The access token.
        access_token: Secret,
        /// Its life.
        expires_in: Duration,
    },
    /// For browsers: a cookie that no script can read.
    Cookie {
        /// The cookie's value.
        secret: Secret,
        /// The token that a page sends back with unsafe requests.
        csrf_token: Secret,
        /// How long the cookie lives.
        life: Duration,
        /// What makes the browser known again: the value of a cookie of its own, after a sign-in.
        device: Option<Secret>,
    },
}

impl Credentials {
    fn on_device(mut self, cookie: Option<Secret>) -> Self {
        if let Self::Cookie { device, .. } = &mut self {
            *device = cookie;
        }
        self
    }
}

impl AuthenticationService {
    /// Signs a user in by password.
    ///
    /// Unknown e-mail, wrong password and disabled account give the same answer after the same work.
    ///
    /// # Errors
    /// [`Code::InvalidCredentials`], [`Code::TooManyAttempts`], [`Code::NotAMember`], [`Code::EmailUnverified`] where the
    /// settings want it verified and all else was right, [`Code::TooManySessions`],
    /// [`Code::InvalidDpopProof`] for a proof that was used before, or that is missing where the settings want one,
    /// [`Code::MalformedRequest`] for one with a cookie, or an outage (a full hash pool is one).
    pub async fn login(&self, login: Login, origin: &Origin) -> Result<SignedIn> {
        let result = self.try_login(login, origin).await;
        let outcome = match &result {
            Ok(_) => "success",
            Err(error) => error.code().as_str(),
        };
        telemetry::count(telemetry::LOGINS, "outcome", outcome);
        result
    }

    async fn try_login(&self, login: Login, origin: &Origin) -> Result<SignedIn> {
        self.require_fitting_proof(login.transport, login.proof)?;
        let email_key = email_key(&login.email);
        let Inner { throttle, monitor, .. } = &*self.0;
        let place = Place::of(origin, origin.device.map(|claim| claim.device));
        let (network, device) = (place.network, place.device.clone());
        let (facts, attempt) = throttle.admit(&self.0.store, &email_key, place, || self.now()).await?;
        let SignInFacts { user, known_network, new_device, known_device, .. } = facts;
        let is_known = known_network || known_device.is_some();
        let mut watched = monitor.sign_in(&email_key, &login.password, origin.ip, is_known);
        monitor.admit(&mut watched)?;
        let checked = self.0.users.check_password(user.as_ref(), login.password.expose()).await;
        let checked = checked.inspect_err(|_| monitor.came_to_nothing(&watched))?;
        let (user, rehashed) = match (user, checked) {
            (Some(user), PasswordCheck::Right { rehashed }) if user.status == UserStatus::Active => (user, rehashed),
            (user, _) => {
                let act = self.failed_login(user.as_ref(), origin, "invalid_credentials");
                let counted = self.0.store.count_failure(attempt.on_failure, act).await;
                monitor.failed(&watched, user.map(|user| user.id), attempt.failures, throttle);
                counted?;
                return Err(Error::new(Code::InvalidCredentials, "check both and try again"));
            }
        };
        let signs = Signs {
            // Where somebody signs in for the first time everything is new.
            new_network: network.is_some() && !known_network && user.last_login_at.is_some(),
            new_device: new_device && known_device.is_none(),
            dormant: monitor.is_dormant(user.last_login_at),
            breached: monitor.is_breached(&login.password).await,
            ..Signs::default()
        };
        let signs = monitor.was_right(&watched, signs, attempt.failures);
        let tenant = match &login.organization {
            None => None,
            Some(organization) => {
                let tenant = self.tenant_of(user.id, organization, login.store.as_deref()).await?;
                if tenant.is_none() {
                    let act = self.failed_login(Some(&user), origin, "not_a_member");
                    self.0.store.count_failure(Vec::new(), act).await?;
                    return Err(not_a_member());
                }
                tenant
            }
        };
        // Administrators are made by operators, who know whose the address is.
        if self.0.config.registration.require_verified_email && !user.email_verified && !user.platform_admin {
            let act = self.failed_login(Some(&user), origin, "email_unverified");
            self.0.store.count_failure(Vec::new(), act).await?;
            return Err(Error::new(Code::EmailUnverified, "follow the link in the mail that you were sent"));
        }
        let first = FirstFactor {
            verified_hash: user.password_hash.clone(),
            user,
            amr: vec!["pwd"],
            password: Some(login.password),
            link: None,
            rehashed,
            transport: login.transport,
            tenant,
            network,
            device,
            signs,
            clear: attempt.clear,
            proof: login.proof,
        };
        self.complete(first, origin).await
    }

    pub(super) fn failed_login(&self, user: Option<&UserRecord>, origin: &Origin, reason: &'static str) -> Act {
        let act = Act::new("session.login_failed", Actor::Anonymous, self.now(), origin);
        let act = match user {
            Some(user) => act.on(user.id),
            None => act,
        };
        act.ended(Outcome::Denied, reason)
    }

    pub(super) async fn signed_in(&self, opened: OpenedSession) -> Result<SignedIn> {
        let OpenedSession { session, user, secret, device } = opened;
        let credentials = match secret {
            SessionSecret::Refresh(refresh_token) => self.tokens(&session, refresh_token).await?,
            SessionSecret::Cookie(secret) => {
                let device = device.map(|device| self.0.devices.cookie(DeviceClaim { device, user: user.id }));
                self.cookie(&session, secret).on_device(device)
            }
        };
        Ok(SignedIn { user: User::from(&user), session: Session::of(&session, true), credentials })
    }

    /// Uses a refresh token up, for a new token set, and with it the proof that came with it, if one did: the token of a
    /// session that is bound to a key is good with a proof of that key only.
    ///
    /// # Errors
    /// [`Code::InvalidRefreshToken`], with a proof of another key too; [`Code::RefreshTokenReused`] (the session is then
    /// over); [`Code::InvalidDpopProof`] for a proof that is missing or was used before; or an outage.
    pub async fn refresh(&self, refresh_token: &str, proof: Option<Proof>, origin: &Origin) -> Result<SignedIn> {
        self.require_signing().await?;
        let result = self.0.sessions.refresh(refresh_token, proof, origin).await;
        let outcome = match &result {
            Ok(_) => "success",
            Err(RefreshError::Invalid) => "invalid",
            Err(RefreshError::Reused { .. }) => "reused",
            Err(RefreshError::Unproven | RefreshError::ProofUsed) => "unproven",
            Err(_) => "unavailable",
        };
        telemetry::count(telemetry::REFRESHES, "outcome", outcome);
        if let Err(RefreshError::Reused { user, session }) = &result {
            let about = About { user: Some(*user), ip: origin.ip, ..About::default() };
            self.0.monitor.refresh_token_reused(about, *session);
        }
        let Refreshed { session, user, refresh_token } = result?;
        // Whoever has to prove again who it is keeps a refresh token for afterwards: this one is used up.
        let live = Arc::new(LiveSession::new(session, user));
        let live = match self.watch(live, origin).await? {
            Watched::Good(live) | Watched::StepUp(live) => live,
            Watched::Ended => return Err(RefreshError::Invalid.into()),
        };
        let session = live.record();
        Ok(SignedIn {
            user: User::from(live.user()),
            session: Session::of(&session, true),
            credentials: self.tokens(&session, refresh_token).await?,
        })
    }

    /// Gives the cookies of a cookie session anew, with the life that the session has now.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] without a session.
    pub(crate) fn renew_cookie(&self, principal: &Principal, secret: Secret) -> Result<SignedIn> {
        let live = principal.signed_in()?;
        let session = live.record();
        Ok(SignedIn {
            user: User::from(live.user()),
            session: Session::of(&session, true),
            credentials: self.cookie(&session, secret),
        })
    }

    /// The double-submit token of a cookie session.
    #[must_use]
    pub fn csrf_token(&self, session: SessionId) -> Secret {
        self.0.csrf.of(session)
    }

    /// Ends the caller's session with all its tokens, everywhere.
    ///
    /// # Errors
    /// An outage. A session that has ended meanwhile is as good.
    pub async fn logout(&self, principal: &Principal, origin: &Origin) -> Result<()> {
        let live = principal.signed_in()?;
        self.0.sessions.revoke(live.user().id, live.session().id, origin).await?;
        Ok(())
    }

    /// Ends the session that a refresh token belongs to: for clients whose access token has expired.
    ///
    /// # Errors
    /// [`Code::InvalidRefreshToken`] if it belongs to none, or an outage.
    pub async fn logout_by_refresh_token(&self, refresh_token: &str, origin: &Origin) -> Result<()> {
        let session = self.0.sessions.of_refresh_token(refresh_token).await?;
        self.0.sessions.revoke(session.user_id, session.id, origin).await?;
        Ok(())
    }

    /// Ends all sessions of the caller, or all others; how many.
    ///
    /// # Errors
    /// An outage.
    pub async fn logout_all(&self, principal: &Principal, except_current: bool, origin: &Origin) -> Result<u64> {
        let live = principal.signed_in()?;
        let keep = except_current.then(|| live.session().id);
        Ok(self.0.sessions.revoke_all(live.user().id, keep, origin).await?)
    }

    async fn tokens(&self, session: &SessionRecord, refresh_token: Secret) -> Result<Credentials> {
        let (access_token, expires_in) = self.access_token(session).await?;
        let refresh_expires_in = session.ends_at().since(self.now());
        let token_type = TokenType::of(session);
        Ok(Credentials::Tokens { token_type, access_token, expires_in, refresh_token, refresh_expires_in })
    }

    /// Goes on only if access tokens can be signed: a session is not opened, nor a refresh token used up, for one that
    /// cannot be given.
    ///
    /// # Errors
    /// An outage of whoever holds the key.
    pub(super) async fn require_signing(&self) -> Result<()> {
        self.current_keys().await?;
        Ok(self.0.jwt.try_signing(self.now()).await?)
    }

    pub(super) async fn access_token(&self, session: &SessionRecord) -> Result<(Secret, Duration)> {
        // A key that was replaced must not go on signing here: it does not verify for ever.
        self.current_keys().await?;
        match self.sign_for(session).await {
            // The key was replaced by one that promises less, after the life of the token was chosen.
            Err(MintError::TooLong) => Ok(self.sign_for(session).await?),
            other => Ok(other?),
        }
    }

    async fn sign_for(&self, session: &SessionRecord) -> Result<(Secret, Duration), MintError> {
        let now = self.now();
        let longest = self.0.config.tokens.access_ttl.min(self.0.jwt.token_life(now));
        let expires_in = longest.min(session.ends_at().since(now));
        let claims = AccessClaims {
            iss: self.0.issuer.clone(),
            aud: Audience::one(self.0.audience.clone()),
            sub: session.user_id.to_string(),
            exp: now + expires_in,
            iat: now,
            jti: TokenId::new().to_string(),
            client_id: FIRST_PARTY_CLIENT.to_owned(),
            sid: Some(session.id),
            org: session.organization,
            store: session.store,
            amr: session.amr.split(' ').map(str::to_owned).collect(),
            acr: Some(session.acr.clone()),
            auth_time: Some(session.auth_time),
            scope: None,
            cnf: session.key_thumbprint.as_deref().map(|key| Confirmation { jkt: jkt(key) }),
        };
        Ok((Secret::new(self.0.jwt.mint(&claims, now).await?), expires_in))
    }

    pub(super) fn cookie(&self, session: &SessionRecord, secret: Secret) -> Credentials {
        let now: Timestamp = self.now();
        let (csrf_token, life) = (self.0.csrf.of(session.id), session.ends_at().since(now));
        Credentials::Cookie { secret, csrf_token, life, device: None }
    }
}
