//! Signing in with the second factor.

use super::{challenge::no_challenge, email_key};
use crate::{
    audit::Origin,
    authentication::{
        AuthenticationService, Inner, dpop::refused, first_factor::FirstFactor, login::SignedIn, tenant::not_a_member,
        throttle::Place,
    },
    error::{Code, Error, Result},
    jwt::ProofRefusal,
    secret::{Secret, SecretHash},
    security::Signs,
    store::{ChallengeRecord, Proof, SecondFactor, SignInFacts, Transport, UserRecord, UserStatus},
    telemetry,
    tenant::Tenant,
};

/// So many codes may be tried with one `mfa_token`.
const TRIES: i64 = 5;

/// The methods of first factors (RFC 8176).
const FIRST: [&str; 2] = ["pwd", "email"];

/// The right answer to a challenge.
#[derive(Debug, Clone, Copy)]
pub(in crate::authentication) struct Answer {
    pub(in crate::authentication) challenge: SecretHash,
    pub(in crate::authentication) factor: SecondFactor,
}

impl AuthenticationService {
    /// Completes a sign-in with its second factor: a code of the user's authenticator, or a recovery code. `mfa_token` is
    /// what [`login`](Self::login) was refused with, and `proof` one of the key that it came with, if it came with one.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] for an `mfa_token` that is unknown, expired, used, or with which five codes were tried;
    /// [`Code::InvalidCode`] for a code that is wrong or was used; [`Code::TooManyAttempts`] for the right one too;
    /// [`Code::NotAMember`] for a user that has left the organization since; [`Code::TooManySessions`];
    /// [`Code::InvalidDpopProof`]; or an outage.
    pub async fn verify_mfa(
        &self,
        mfa_token: &Secret,
        code: &Secret,
        proof: Option<Proof>,
        origin: &Origin,
    ) -> Result<SignedIn> {
        let result = self.try_verify(mfa_token, code, proof, origin).await;
        let outcome = match &result {
            Ok(_) => "success",
            Err(error) => error.code().as_str(),
        };
        telemetry::count(telemetry::LOGINS, "outcome", outcome);
        result
    }

    async fn try_verify(
        &self,
        mfa_token: &Secret,
        code: &Secret,
        proof: Option<Proof>,
        origin: &Origin,
    ) -> Result<SignedIn> {
        let challenge = self.open_challenge(mfa_token, TRIES).await?;
        require_key(&challenge, proof.as_ref())?;
        let user = self.0.store.user(challenge.user).await?;
        let user = user.filter(|user| user.status == UserStatus::Active).ok_or_else(no_challenge)?;
        let attempt = self.admit_code(&user, origin).await?;
        // Counted before it is looked at: however many come at once, on however many nodes, five are.
        if !self.0.store.count_try(challenge.hash, TRIES, self.now()).await? {
            return Err(no_challenge());
        }
        if let Some(factor) = self.second_factor(user.id, code).await? {
            let answer = Answer { challenge: challenge.hash, factor };
            let first = self.first_factor(&challenge, user.clone(), proof, origin).await?;
            match self.open(first, Some(answer), origin).await {
                Err(error) if error.code() == Code::InvalidToken => {}
                Err(error) if error.code() == Code::InvalidCredentials => return Err(no_challenge()),
                other => return other,
            }
            // One of the two was used meanwhile: which, shows the challenge.
            if self.0.store.challenge(challenge.hash, self.now()).await?.is_none() {
                return Err(no_challenge());
            }
        }
        let act = self.failed_login(Some(&user), origin, "invalid_code");
        Err(self.wrong_code(attempt, user.id, act).await?)
    }

    /// The first factor as it was proven, by somebody who goes on from `origin`.
    ///
    /// # Errors
    /// [`Code::NotAMember`], or an outage.
    async fn first_factor(
        &self,
        challenge: &ChallengeRecord,
        user: UserRecord,
        proof: Option<Proof>,
        origin: &Origin,
    ) -> Result<FirstFactor> {
        let Inner { throttle, monitor, store, .. } = &*self.0;
        // It may have left the organization since, or the store may have gone.
        let tenant = challenge.organization.map(|organization| Tenant { organization, store: challenge.store });
        if tenant.is_some() && self.membership(&user, tenant).await?.is_none() {
            let act = self.failed_login(Some(&user), origin, "not_a_member");
            store.count_failure(Vec::new(), act).await?;
            return Err(not_a_member());
        }
        let place = Place::of(origin, origin.device.and_then(|claim| claim.of(user.id)));
        let (network, device) = (place.network, place.device.clone());
        let (facts, clear) = throttle.facts(store, &email_key(&user.email), place, self.now()).await?;
        let SignInFacts { known_network, new_device, known_device, .. } = facts;
        // What is unusual about where it goes on from, and what was unusual about where it began.
        let began = Signs::named(&challenge.signs);
        let signs = Signs {
            new_network: began.new_network || (network.is_some() && !known_network && user.last_login_at.is_some()),
            new_device: began.new_device || (new_device && known_device.is_none()),
            dormant: monitor.is_dormant(user.last_login_at),
            is_held: false,
            ..began
        };
        let amr = challenge.amr.split(' ').filter_map(|method| FIRST.into_iter().find(|first| *first == method));
        Ok(FirstFactor {
            amr: amr.chain(["otp", "mfa"]).collect(),
            password: None,
            verified_hash: None,
            rehashed: None,
            link: None,
            transport: challenge.transport,
            tenant,
            network,
            device,
            signs,
            clear,
            proof,
            user,
        })
    }
}

/// Goes on only if the proof is of the key that the sign-in began with, or there is neither.
fn require_key(challenge: &ChallengeRecord, proof: Option<&Proof>) -> Result<()> {
    match (&challenge.key_thumbprint, proof) {
        (None, None) => Ok(()),
        (Some(key), Some(proof)) if proof.key.as_slice() == key.as_slice() => Ok(()),
        (Some(_), None) => Err(refused(ProofRefusal::Missing)),
        (None, Some(_)) if challenge.transport == Transport::Cookie => {
            Err(Error::new(Code::MalformedRequest, "a cookie is bound to no key: send no `DPoP` with it"))
        }
        (_, Some(_)) => Err(Error::new(Code::InvalidDpopProof, "prove the key that the sign-in began with")),
    }
}
