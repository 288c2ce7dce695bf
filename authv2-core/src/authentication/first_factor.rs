//! From a first factor that was proven to a session.

use super::{
    About, AuthenticationService,
    login::SignedIn,
    mfa::{Answer, risk_left},
};
use crate::{
    audit::Origin,
    client::Network,
    error::{Code, Error, Result},
    id::DeviceId,
    mail::Kind,
    mfa::assurance,
    secret::{Secret, SecretHash},
    security::{Signs, risk},
    session::{OpenedSession, SessionError, SignIn, device::Device},
    store::{Bucket, NewDevice, Proof, Redacted, SecondFactor, Spends, Transport, UserRecord},
    tenant::Tenant,
    user::PasswordCheck,
};

/// A first factor that was proven, with everything that a session is opened from.
#[derive(Debug, Clone)]
pub(super) struct FirstFactor {
    /// Who proved it.
    pub(super) user: UserRecord,
    /// How (RFC 8176).
    pub(super) amr: Vec<&'static str>,
    /// The password, where that was it.
    pub(super) password: Option<Secret>,
    /// The hash that it was checked against.
    pub(super) verified_hash: Option<Redacted>,
    /// It hashed anew, where that was due.
    pub(super) rehashed: Option<Redacted>,
    /// The hash of the link's token, where that was it.
    pub(super) link: Option<SecretHash>,
    pub(super) transport: Transport,
    pub(super) tenant: Option<Tenant>,
    pub(super) network: Option<Network>,
    /// What it is signed in on, as devices are compared.
    pub(super) device: Option<String>,
    /// What is unusual about it.
    pub(super) signs: Signs,
    /// The counters that the sign-in clears once it is complete.
    pub(super) clear: Vec<Bucket>,
    pub(super) proof: Option<Proof>,
}

impl AuthenticationService {
    /// Opens the session, or has the sign-in wait for its second factor.
    ///
    /// # Errors
    /// [`Code::MfaRequired`]; [`Code::MfaEnrollmentRequired`] where the organization wants a second factor and the user
    /// has none; [`Code::TooManySessions`], [`Code::InvalidCredentials`] if the account changed meanwhile, [`Code::InvalidToken`]
    /// for a link that was used meanwhile, [`Code::InvalidDpopProof`], or an outage.
    pub(super) async fn complete(&self, first: FirstFactor, origin: &Origin) -> Result<SignedIn> {
        if first.user.mfa_enabled {
            return Err(self.challenge(first, origin).await?);
        }
        if let Some(tenant) = first.tenant
            && let Err(refused) = self.require_second_factor(tenant, &first.user, assurance(&first.amr)).await
        {
            if refused.code() == Code::MfaEnrollmentRequired {
                let act = self.failed_login(Some(&first.user), origin, "mfa_enrollment_required");
                self.0.store.count_failure(Vec::new(), act).await?;
            }
            return Err(refused);
        }
        self.open(first, None, origin).await
    }

    /// Opens the session, `second` being the answer to the challenge where there was one.
    ///
    /// # Errors
    /// As [`complete`](Self::complete); [`Code::InvalidToken`] for a challenge or a second factor that was used meanwhile.
    pub(super) async fn open(&self, first: FirstFactor, second: Option<Answer>, origin: &Origin) -> Result<SignedIn> {
        let (user, last_login_at, signs) = (first.user.id, first.user.last_login_at, first.signs);
        let notices = match second.as_ref().map(|answer| answer.factor) {
            Some(SecondFactor::RecoveryCode(_)) => self.notice(Kind::RecoveryCodeUsed, user, origin)?,
            _ => None,
        };
        let is_cookie = first.transport == Transport::Cookie;
        let presented = origin.device.and_then(|claim| claim.of(user));
        // Bearer clients keep no cookie: they are told apart by what they say they are.
        let is_news = last_login_at.is_some() && (is_cookie || signs.new_device);
        let mut notice = if is_news { self.notice(Kind::NewDevice, user, origin)? } else { None };
        let browser = (is_cookie && !signs.is_held).then(|| NewDevice {
            presented,
            id: DeviceId::new(),
            name: Device::of(origin.user_agent.as_deref().unwrap_or_default()).title(),
            notice: notice.take(),
        });
        // A sign-in that is held makes no browser known, and says no more of a known one.
        let notice = notice.filter(|_| !is_cookie || presented.is_none());
        let has_shown_more = second.is_some() || first.link.is_some();
        let sign_in = SignIn {
            browser,
            notices: notices.into_iter().chain(notice).collect(),
            user,
            transport: first.transport,
            amr: first.amr.clone(),
            tenant: first.tenant,
            verified_hash: first.verified_hash.clone(),
            rehashed: first.rehashed.clone(),
            network: first.network.map(|network| network.to_string()),
            device: first.device.clone(),
            risk: if has_shown_more { risk_left(signs) } else { risk(signs) },
            is_held: signs.is_held,
            clear: first.clear.clone(),
            proof: first.proof,
            spends: Spends {
                link: first.link,
                challenge: second.as_ref().map(|answer| answer.challenge),
                factor: second.as_ref().map(|answer| answer.factor),
            },
        };
        if sign_in.transport == Transport::Bearer {
            self.require_signing().await?;
        }
        let opened = match self.0.sessions.open(sign_in.clone(), origin).await {
            Err(SessionError::Void) if second.is_none() => self.open_again(first.clone(), sign_in, origin).await,
            other => other.map_err(Error::from),
        };
        match opened {
            Ok(opened) => {
                let about = About { user: Some(user), ip: origin.ip, ..About::default() };
                self.0.monitor.signed_in(about, signs, last_login_at);
                self.signed_in(opened).await
            }
            Err(error) => {
                if error.code() == Code::TooManySessions {
                    let act = self.failed_login(Some(&first.user), origin, "too_many_sessions");
                    self.0.store.count_failure(Vec::new(), act).await?;
                }
                Err(error)
            }
        }
    }

    /// Judges the first factor once more, by the account as it is now: the user may have confirmed a second one beside this
    /// sign-in, or another sign-in may have hashed the same password anew.
    async fn open_again(&self, first: FirstFactor, sign_in: SignIn, origin: &Origin) -> Result<OpenedSession> {
        let user = self.0.store.user(sign_in.user).await?;
        if user.as_ref().is_some_and(|user| user.mfa_enabled) {
            return Err(self.challenge(first, origin).await?);
        }
        let Some(password) = &first.password else { return Err(SessionError::Void.into()) };
        match self.0.users.check_password(user.as_ref(), password.expose()).await? {
            PasswordCheck::Right { rehashed } => {
                let verified_hash = user.and_then(|user| user.password_hash);
                Ok(self.0.sessions.open(SignIn { verified_hash, rehashed, ..sign_in }, origin).await?)
            }
            PasswordCheck::Wrong => Err(SessionError::Void.into()),
        }
    }
}
