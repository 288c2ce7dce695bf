//! Enrolling a second factor, replacing its recovery codes, and removing it.

use super::AuthenticationService;
use crate::{
    audit::{Act, Actor, Origin},
    error::{Code, Error, Result},
    id::UserId,
    mail::Kind,
    mfa::{RecoveryCode, TotpSecret, svg},
    principal::Principal,
    secret::{Secret, SecretHash},
    store::{SecondFactor, TotpConfirmation, UserRecord},
};

/// So many recovery codes there are.
const RECOVERY_CODES: usize = 10;

/// A secret to be taken into an authenticator, and confirmed with its first code.
#[derive(Debug)]
pub(crate) struct Enrolled {
    /// To be typed.
    pub(crate) secret: Secret,
    /// To be opened on the same device.
    pub(crate) otpauth_uri: Secret,
    /// The same to be scanned; none where it is too long.
    pub(crate) qr_svg: Option<Secret>,
}

impl AuthenticationService {
    /// Makes a secret for the caller's authenticator, in place of one that was not confirmed.
    ///
    /// # Errors
    /// [`Code::WrongPassword`], [`Code::TooManyAttempts`], [`Code::MfaAlreadyEnabled`], [`Code::PermissionDenied`] without
    /// a session, or an outage.
    pub(crate) async fn enrol_totp(
        &self,
        principal: &Principal,
        password: &Secret,
        origin: &Origin,
    ) -> Result<Enrolled> {
        let user = self.reask(principal, password.expose(), "mfa.enrolment_refused", origin).await?;
        let secret = TotpSecret::random()?;
        let sealed = self.0.mfa.seal(user.id, &secret)?;
        let act = self.own_act("mfa.enrolment_begun", user.id, origin);
        if !self.0.store.enrol_totp(user.id, sealed, act).await? {
            return Err(already_enabled());
        }
        let otpauth_uri = secret.uri(&self.0.mfa.issuer, &user.email);
        let qr_svg = svg(otpauth_uri.expose()).map(Secret::new);
        Ok(Enrolled { secret: secret.base32(), otpauth_uri, qr_svg })
    }

    /// Confirms the caller's secret with its first code: from now on a sign-in needs one. The recovery codes, shown this
    /// once.
    ///
    /// # Errors
    /// [`Code::InvalidCode`], [`Code::TooManyAttempts`], [`Code::NotFound`] where nothing waits to be confirmed,
    /// [`Code::MfaAlreadyEnabled`], [`Code::PermissionDenied`] without a session, or an outage.
    pub(crate) async fn confirm_totp(
        &self,
        principal: &Principal,
        code: &Secret,
        origin: &Origin,
    ) -> Result<Vec<Secret>> {
        let user = self.own_record(principal).await?;
        let attempt = self.admit_code(&user, origin).await?;
        let totp = self.0.store.totp(user.id).await?;
        let totp = totp.ok_or_else(|| Error::new(Code::NotFound, "nothing waits to be confirmed: enrol first"))?;
        if totp.confirmed_at.is_some() {
            return Err(already_enabled());
        }
        let secret = self.0.mfa.open(user.id, &totp.sealed)?;
        let digits = Secret::new(code.expose().replace(' ', ""));
        let Some(step) = secret.step_of(digits.expose(), self.now(), totp.last_step) else {
            let act = self.refused_act("mfa.confirmation_refused", user.id, origin);
            return Err(self.wrong_code(attempt, user.id, act).await?);
        };
        let (codes, recovery_codes) = self.new_recovery_codes(user.id)?;
        let confirmation = TotpConfirmation { user: user.id, sealed: totp.sealed, step, recovery_codes };
        let act =
            self.own_act("mfa.enabled", user.id, origin).telling(self.notice(Kind::MfaEnabled, user.id, origin)?);
        if !self.0.store.confirm_totp(confirmation, act).await? {
            return Err(Error::new(Code::VersionConflict, "it was confirmed or replaced meanwhile"));
        }
        Ok(codes)
    }

    /// Removes the caller's second factor, with its recovery codes.
    ///
    /// # Errors
    /// [`Code::WrongPassword`], [`Code::InvalidCode`], [`Code::TooManyAttempts`], [`Code::NotFound`] where there is none,
    /// [`Code::PermissionDenied`] without a session, or an outage.
    pub(crate) async fn remove_mfa(
        &self,
        principal: &Principal,
        password: &Secret,
        code: &Secret,
        origin: &Origin,
    ) -> Result<()> {
        let user = self.reask(principal, password.expose(), "mfa.removal_refused", origin).await?;
        let notice = self.notice(Kind::MfaDisabled, user.id, origin)?;
        let act = self.own_act("mfa.disabled", user.id, origin).telling(notice);
        let remove = async |factor| self.0.store.remove_mfa(user.id, factor, act).await;
        self.with_code(&user, code, "mfa.removal_refused", origin, remove).await
    }

    /// Replaces the caller's recovery codes: the new ones, shown this once.
    ///
    /// # Errors
    /// As [`remove_mfa`](Self::remove_mfa).
    pub(crate) async fn replace_recovery_codes(
        &self,
        principal: &Principal,
        password: &Secret,
        code: &Secret,
        origin: &Origin,
    ) -> Result<Vec<Secret>> {
        let user = self.reask(principal, password.expose(), "mfa.recovery_codes_refused", origin).await?;
        let (codes, hashes) = self.new_recovery_codes(user.id)?;
        let notice = self.notice(Kind::RecoveryCodesReplaced, user.id, origin)?;
        let act = self.own_act("mfa.recovery_codes_replaced", user.id, origin).telling(notice);
        let replace = async |factor| self.0.store.replace_recovery_codes(user.id, factor, hashes, act).await;
        self.with_code(&user, code, "mfa.recovery_codes_refused", origin, replace).await?;
        Ok(codes)
    }

    /// Does what a code is used up for.
    async fn with_code(
        &self,
        user: &UserRecord,
        code: &Secret,
        refused: &'static str,
        origin: &Origin,
        verb: impl AsyncFnOnce(SecondFactor) -> std::result::Result<bool, crate::store::StoreError>,
    ) -> Result<()> {
        let attempt = self.admit_code(user, origin).await?;
        if self.confirmed_totp(user.id).await?.is_none() {
            return Err(Error::new(Code::NotFound, "no second factor is enrolled"));
        }
        if let Some(factor) = self.second_factor(user.id, code).await?
            && verb(factor).await?
        {
            return Ok(());
        }
        Err(self.wrong_code(attempt, user.id, self.refused_act(refused, user.id, origin)).await?)
    }

    /// Recovery codes as they are shown, and as they are stored.
    fn new_recovery_codes(&self, user: UserId) -> Result<(Vec<Secret>, Vec<SecretHash>)> {
        let mut codes = (Vec::with_capacity(RECOVERY_CODES), Vec::with_capacity(RECOVERY_CODES));
        for _ in 0..RECOVERY_CODES {
            let code = RecoveryCode::random()?;
            codes.0.push(code.grouped());
            codes.1.push(self.0.mfa.recovery.hash(user, &code));
        }
        Ok(codes)
    }

    fn own_act(&self, action: &'static str, user: UserId, origin: &Origin) -> Act {
        Act::new(action, Actor::User(user), self.now(), origin).on(user)
    }

    fn refused_act(&self, action: &'static str, user: UserId, origin: &Origin) -> Act {
        self.own_act(action, user, origin).ended(crate::audit::Outcome::Denied, "invalid_code")
    }

    /// The caller's account as it is stored now.
    pub(super) async fn own_record(&self, principal: &Principal) -> Result<UserRecord> {
        let user = self.0.store.user(principal.signed_in()?.user().id).await?;
        user.ok_or_else(|| Error::new(Code::NotFound, "the account has been removed"))
    }
}

fn already_enabled() -> Error {
    Error::new(Code::MfaAlreadyEnabled, "remove it before you enrol another one")
}
