//! Proving again, in a session, who one is (RFC 9470).

use super::AuthenticationService;
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    authentication::{Credentials, SignedIn, TokenType},
    error::{Code, Error, Result},
    mail::Kind,
    principal::Principal,
    secret::Secret,
    session::{LiveSession, Session, SessionError, Shown},
    store::{SecondFactor, UserRecord},
    user::{PasswordCheck, User},
};

/// With what a user proves again who it is.
#[derive(Debug, Clone)]
pub enum Reproof {
    /// The password.
    Password(Secret),
    /// A code of the authenticator, or a recovery code.
    Code(Secret),
}

impl AuthenticationService {
    /// Proves again, in the caller's session, who it is: the session is as fresh as that from now on, and as strong as all
    /// that was shown in it. `cookie` is the cookie that the request came with, where it came with one: another one takes
    /// its place. Tokens issued before keep what they say.
    ///
    /// # Errors
    /// [`Code::WrongPassword`], [`Code::InvalidCode`], [`Code::TooManyAttempts`]; [`Code::StepUpRequired`] for a password
    /// in a session that takes more; [`Code::PermissionDenied`] without a session; [`Code::InvalidToken`] if the session
    /// has ended meanwhile; or an outage.
    pub async fn step_up(
        &self,
        principal: &Principal,
        reproof: Reproof,
        cookie: Option<Secret>,
        origin: &Origin,
    ) -> Result<SignedIn> {
        let live = principal.signed_in()?;
        let user = self.own_record(principal).await?;
        if cookie.is_none() {
            self.require_signing().await?;
        }
        let attempt = self.admit_code(&user, origin).await?;
        let refused = |reason| {
            let act = Act::new("session.step_up_refused", Actor::User(user.id), self.now(), origin);
            act.on(live.session().id).ended(Outcome::Denied, reason)
        };
        let shown = match &reproof {
            Reproof::Password(password) => match self.0.users.check_password(Some(&user), password.expose()).await? {
                PasswordCheck::Right { .. } => Shown {
                    methods: vec!["pwd"],
                    factor: None,
                    verified_hash: user.password_hash.clone(),
                    releases: self.released_by(live, &user, &reproof)?,
                },
                PasswordCheck::Wrong => {
                    self.count_wrong(attempt, user.id, refused("wrong_password")).await?;
                    return Err(Error::new(Code::WrongPassword, "check it and try again"));
                }
            },
            Reproof::Code(code) => match self.second_factor(user.id, code).await? {
                Some(factor) => Shown {
                    methods: vec!["otp", "mfa"],
                    factor: Some(factor),
                    verified_hash: None,
                    releases: self.released_by(live, &user, &reproof)?,
                },
                None => return Err(self.wrong_code(attempt, user.id, refused("invalid_code")).await?),
            },
        };
        let act = Act::new("session.stepped_up", Actor::User(user.id), self.now(), origin).on(live.session().id);
        let act = match shown.factor {
            Some(SecondFactor::RecoveryCode(_)) => act.telling(self.notice(Kind::RecoveryCodeUsed, user.id, origin)?),
            _ => act,
        };
        let (session, user, secret) = match self.0.sessions.step_up(live, shown, cookie.as_ref(), act).await {
            Ok(done) => done,
            Err(SessionError::Spent) => return Err(self.wrong_code(attempt, user.id, refused("invalid_code")).await?),
            Err(SessionError::Void) => {
                return Err(Error::new(Code::InvalidToken, "the session has ended, or its account has changed"));
            }
            Err(error) => return Err(error.into()),
        };
        let credentials = match secret {
            Some(secret) => self.cookie(&session, secret),
            None => {
                let (access_token, expires_in) = self.access_token(&session).await?;
                Credentials::Access { token_type: TokenType::of(&session), access_token, expires_in }
            }
        };
        Ok(SignedIn { user: User::from(&user), session: Session::of(&session, true), credentials })
    }

    /// Whether a session that is held is held no longer, once its user has shown this.
    ///
    /// A right code releases it. A password does where the session is held for nothing but being used from elsewhere than
    /// it was opened, and the user has nothing better; a sign-in that was held had the right password already.
    ///
    /// # Errors
    /// [`Code::StepUpRequired`] where it stays held: what was shown is not enough.
    fn released_by(&self, live: &LiveSession, user: &UserRecord, reproof: &Reproof) -> Result<bool> {
        let session = live.session();
        if !self.0.sessions.is_held(live) {
            return Ok(false);
        }
        let is_held_for_its_risk = self.0.sessions.is_held_for_its_risk(session);
        match reproof {
            Reproof::Code(_) => Ok(true),
            Reproof::Password(_) if !is_held_for_its_risk && !user.mfa_enabled => Ok(true),
            Reproof::Password(_) => Err(Error::second_factor_wanted()),
        }
    }
}
