//! Second factors: enrolling one, signing in with it, proving with it again who one is.

mod challenge;
mod enrolment;
mod policy;
mod step_up;
mod verify;

use std::sync::Arc;

use http::Uri;

pub use self::step_up::Reproof;
pub(super) use self::{challenge::risk_left, verify::Answer};
use super::{About, AuthenticationService, account::email_key, throttle::Attempt};
use crate::{
    audit::{Act, Origin},
    config::MfaConfig,
    error::{Code, Error, Result},
    id::UserId,
    master_key::{MasterKey, OpenError},
    mfa::{RecoveryCode, RecoveryKey, TotpSecret},
    secret::Secret,
    store::{SecondFactor, TotpRecord, UserRecord},
};

/// What second factors are kept and shown with.
pub(super) struct Mfa {
    master: Arc<MasterKey>,
    recovery: RecoveryKey,
    /// What authenticators call this deployment.
    issuer: String,
}

impl Mfa {
    pub(super) fn new(config: &MfaConfig, issuer: &str, master: &Arc<MasterKey>) -> Self {
        let host = || issuer.parse::<Uri>().ok().and_then(|issuer| issuer.host().map(str::to_owned));
        Self {
            master: Arc::clone(master),
            recovery: RecoveryKey::new(&master.derive("recovery codes")),
            issuer: config.issuer.clone().or_else(host).unwrap_or_else(|| issuer.to_owned()),
        }
    }

    /// A secret as the store keeps it.
    fn seal(&self, user: UserId, secret: &TotpSecret) -> Result<Vec<u8>> {
        self.master.seal(secret.expose(), &sealing_context(user)).map_err(Error::unavailable)
    }

    /// The secret that the store keeps.
    fn open(&self, user: UserId, sealed: &[u8]) -> Result<TotpSecret> {
        let bytes = self.master.open(sealed, &sealing_context(user)).map_err(Error::internal)?;
        TotpSecret::from_bytes(&bytes).ok_or_else(|| Error::internal(OpenError::Truncated))
    }
}

/// A sealed secret is nobody else's, and nothing else.
fn sealing_context(user: UserId) -> Vec<u8> {
    [b"totp secret of ".as_slice(), user.as_uuid().as_bytes()].concat()
}

impl AuthenticationService {
    /// The confirmed codes of a user.
    async fn confirmed_totp(&self, user: UserId) -> Result<Option<TotpRecord>> {
        Ok(self.0.store.totp(user).await?.filter(|totp| totp.confirmed_at.is_some()))
    }

    /// The second factor of `user` that a code is, of an authenticator or a recovery code. Whether a recovery code is one
    /// of the user's, shows when it is used up.
    async fn second_factor(&self, user: UserId, code: &Secret) -> Result<Option<SecondFactor>> {
        let Some(totp) = self.confirmed_totp(user).await? else { return Ok(None) };
        if let Some(code) = RecoveryCode::parse(code.expose()) {
            return Ok(Some(SecondFactor::RecoveryCode(self.0.mfa.recovery.hash(user, &code))));
        }
        let secret = self.0.mfa.open(user, &totp.sealed)?;
        // Authenticators show two groups of digits, and people type what they see.
        let digits = Secret::new(code.expose().replace(' ', ""));
        Ok(secret.step_of(digits.expose(), self.now(), totp.last_step).map(|step| SecondFactor::Totp { step }))
    }

    /// Counts a wrong code: the refusal.
    async fn wrong_code(&self, attempt: Attempt, user: UserId, act: Act) -> Result<Error> {
        self.count_wrong(attempt, user, act).await?;
        Ok(Error::new(Code::InvalidCode, "it is wrong, or was used before: wait for the next one"))
    }

    /// Counts a code, or a password asked again, that was wrong, and tells the monitor.
    pub(super) async fn count_wrong(&self, attempt: Attempt, user: UserId, act: Act) -> Result<()> {
        let about = About { user: Some(user), ip: act.origin.ip, ..About::default() };
        let failures = attempt.failures.of_account + 1;
        self.0.store.count_failure(attempt.on_failure, act).await?;
        self.0.monitor.failed_again(about, failures, &self.0.throttle);
        Ok(())
    }

    /// Lets a code or a password asked again be judged: these count per account, across sessions, tokens and networks, and
    /// apart on a device that the user is known on.
    pub(super) async fn admit_code(&self, user: &UserRecord, origin: &Origin) -> Result<Attempt> {
        let device = self.known_device(user.id, origin).await?;
        self.0.throttle.admit_reasked(&self.0.store, &email_key(&user.email), device, || self.now()).await
    }
}
