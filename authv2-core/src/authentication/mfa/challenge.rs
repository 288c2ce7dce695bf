//! Sign-ins that wait for their second factor.

use std::time::Duration;

use crate::{
    audit::{Act, Actor, Origin},
    authentication::{AuthenticationService, first_factor::FirstFactor},
    error::{Code, Error, MfaChallenge, Result},
    secret::{Secret, SecretHash, random_token},
    security::{Signs, risk},
    session::SessionError,
    store::{ChallengeRecord, Challenged, NewChallenge, Risk},
    user::PasswordCheck,
};

/// What every `mfa_token` starts with, for secret scanners.
const PREFIX: &str = "avt_";

/// How long a sign-in waits for its second factor.
const LIFE: Duration = Duration::from_secs(300);

impl AuthenticationService {
    /// Has a sign-in wait for its second factor: the refusal that says so, and carries the token to go on with. What the
    /// first factor was proven with is used up, and a password that was due is hashed anew.
    ///
    /// # Errors
    /// [`Code::InvalidCredentials`] if the account changed meanwhile, [`Code::InvalidToken`] for a link that was used
    /// meanwhile, [`Code::InvalidDpopProof`], or an outage.
    pub(in crate::authentication) async fn challenge(&self, first: FirstFactor, origin: &Origin) -> Result<Error> {
        let token = random_token(PREFIX)?;
        let user = first.user.id;
        // Before anything is used up: an outage must not cost a link.
        let has_codes = self.confirmed_totp(user).await?.is_some_and(|totp| totp.recovery_codes > 0);
        let record = ChallengeRecord {
            hash: SecretHash::of(token.expose().as_bytes()),
            user,
            transport: first.transport,
            organization: first.tenant.map(|tenant| tenant.organization),
            store: first.tenant.and_then(|tenant| tenant.store),
            amr: first.amr.join(" "),
            key_thumbprint: first.proof.map(|proof| proof.key.to_vec()),
            signs: first.signs.names(),
            tries: 0,
            expires_at: self.now() + LIFE,
        };
        let FirstFactor { verified_hash, rehashed, link, proof, .. } = first;
        let new = NewChallenge { record, verified_hash, rehashed, link, proof };
        let act = Act::new("session.mfa_required", Actor::User(user), self.now(), origin).on(user);
        let challenged = match (self.0.store.open_challenge(new.clone(), act.clone()).await?, &first.password) {
            // The hash that was verified has gone: perhaps a sign-in beside this one hashed the same password anew.
            (Challenged::Void, Some(password)) => self.challenge_again(new, password, act).await?,
            (other, _) => other,
        };
        match challenged {
            Challenged::New => {}
            Challenged::Void => return Err(SessionError::Void.into()),
            Challenged::ProofUsed => return Err(SessionError::ProofUsed.into()),
            Challenged::Spent => return Err(SessionError::Spent.into()),
        }
        let methods = if has_codes { vec!["totp", "recovery_code"] } else { vec!["totp"] };
        Ok(Error::mfa_required(MfaChallenge { token, methods }))
    }

    /// Judges the password once more, by the account as it is now.
    async fn challenge_again(&self, new: NewChallenge, password: &Secret, act: Act) -> Result<Challenged> {
        let user = self.0.store.user(new.record.user).await?;
        match self.0.users.check_password(user.as_ref(), password.expose()).await? {
            PasswordCheck::Right { rehashed } => {
                let verified_hash = user.and_then(|user| user.password_hash);
                let act = Act::new(act.action, act.actor, act.at, &act.origin).on(new.record.user);
                Ok(self.0.store.open_challenge(NewChallenge { verified_hash, rehashed, ..new }, act).await?)
            }
            PasswordCheck::Wrong => Ok(Challenged::Void),
        }
    }

    /// A challenge that codes can still be tried with.
    ///
    /// # Errors
    /// [`Code::InvalidToken`], or an outage.
    pub(super) async fn open_challenge(&self, token: &Secret, most: i64) -> Result<ChallengeRecord> {
        let hash = SecretHash::of(token.expose().as_bytes());
        let found = self.0.store.challenge(hash, self.now()).await?;
        found.filter(|challenge| challenge.tries < most).ok_or_else(no_challenge)
    }
}

pub(super) fn no_challenge() -> Error {
    Error::new(Code::InvalidToken, "the `mfa_token` is unknown, used up or expired: sign in again")
}

/// How risky a sign-in looks that a second factor completed, or a link in a mail. Whoever has that is hardly somebody
/// else: what was unusual is told, and holds nothing up.
pub(in crate::authentication) fn risk_left(signs: Signs) -> Risk {
    match risk(Signs { is_held: false, ..signs }) {
        Risk::High | Risk::Medium => Risk::Medium,
        Risk::Low => Risk::Low,
    }
}
