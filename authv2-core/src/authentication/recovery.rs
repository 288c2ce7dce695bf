//! What only the owner of a mailbox can do: verify an e-mail, reset a password, sign in by a link.
//!
//! Asking costs the same whether there is an account: one entry in the audit trail, one mail for whoever has the e-mail.
//! Who that is, if anybody, is found out when the mail is sent.

use super::{
    AuthenticationService, Inner, SignedIn,
    account::email_key,
    dpop::refused,
    first_factor::FirstFactor,
    throttle::{Asking, Place},
};
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    client::Network,
    error::{Code, Error, Result},
    id::UserId,
    jwt::ProofRefusal,
    mail::{Kind, NewMail, Purpose, Recipient},
    principal::Principal,
    secret::{Secret, SecretHash},
    security::Signs,
    store::{Proof, SignInFacts, Transport, UserRecord},
    telemetry,
};

/// A link to sign in with, as it comes back.
#[derive(Debug, Clone)]
pub struct LinkRedemption {
    /// The token in it.
    pub token: Secret,
    /// How the session's secret is to travel.
    pub transport: Transport,
    /// The proof of the key that the session's tokens are to be bound to, from [`AuthenticationService::proof`]. A cookie
    /// session is bound to none.
    pub proof: Option<Proof>,
}

impl AuthenticationService {
    /// Has the owner of an account sent a link to set another password. Whether there is an account is not told.
    ///
    /// # Errors
    /// [`Code::TooManyAttempts`] for a network that asks for many mails, or an outage.
    pub async fn forgot_password(&self, email: &str, origin: &Origin) -> Result<()> {
        self.ask_for_mail(Kind::ResetPassword, "user.password_reset_requested", email_key(email), origin).await
    }

    /// Has the owner of an account sent a link to sign in with, past whatever failed attempts have closed. Whether there
    /// is an account is not told.
    ///
    /// # Errors
    /// As [`forgot_password`](Self::forgot_password).
    pub async fn request_sign_in_link(&self, email: &str, origin: &Origin) -> Result<()> {
        self.ask_for_mail(Kind::SignInLink, "session.link_requested", email_key(email), origin).await
    }

    /// Has the caller sent a link to verify its e-mail, unless it is verified.
    ///
    /// # Errors
    /// As [`forgot_password`](Self::forgot_password).
    pub async fn request_verification(&self, principal: &Principal, origin: &Origin) -> Result<()> {
        let user = principal.signed_in()?.user();
        if user.email_verified {
            return Ok(());
        }
        let (asking, mail) = self.admit_mail(Kind::VerifyEmail, email_key(&user.email), Some(user.id), origin).await?;
        let action = "user.email_verification_requested";
        let act = Act::new(action, Actor::User(user.id), self.now(), origin).on(user.id);
        self.note_asking(&asking, act.telling(mail)).await
    }

    /// Asks for a mail to whoever has an e-mail.
    async fn ask_for_mail(&self, kind: Kind, action: &'static str, email_key: String, origin: &Origin) -> Result<()> {
        let (asking, mail) = self.admit_mail(kind, email_key, None, origin).await?;
        self.note_asking(&asking, Act::new(action, Actor::Anonymous, self.now(), origin).telling(mail)).await
    }

    /// Counts an asking, in the act that it is.
    pub(super) async fn note_asking(&self, asking: &Asking, act: Act) -> Result<()> {
        let act = if asking.goes_out { act } else { act.ended(Outcome::Denied, "too_many_mails") };
        Ok(self.0.store.count_failure(asking.count.clone(), act).await?)
    }

    /// Lets a mail be asked for, or refuses it: too many to one address are left out in silence, too many from one network
    /// are refused. With the mail, unless it is left out or none are sent at all.
    ///
    /// # Errors
    /// [`Code::TooManyAttempts`], or an outage.
    pub(super) async fn admit_mail(
        &self,
        kind: Kind,
        email_key: String,
        owner: Option<UserId>,
        origin: &Origin,
    ) -> Result<(Asking, Option<NewMail>)> {
        let network = origin.ip.map(Network::of);
        let asking =
            self.0.throttle.admit_mail(&self.0.store, (kind, &email_key), owner, network, || self.now()).await?;
        let to = owner.map_or(Recipient::Owner(email_key), Recipient::User);
        let mail = if asking.goes_out { self.mail(kind, to, origin)? } else { None };
        Ok((asking, mail))
    }

    /// Notes that the e-mail of an account is read by whom it belongs to, by the token of a link.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] if it was used, has ended or was superseded; or an outage.
    pub async fn verify_email(&self, token: &str, origin: &Origin) -> Result<()> {
        let token = SecretHash::of(token.as_bytes());
        let act = Act::new("user.email_verified", Actor::Anonymous, self.now(), origin);
        match self.0.store.verify_email(token, act).await? {
            Some(_) => Ok(()),
            None => Err(invalid_link()),
        }
    }

    /// Sets another password by the token of a link, which verifies the e-mail too, and ends all sessions of the account.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] if the token was used, has ended, or was superseded by a newer one or a change of the
    /// account; [`Code::ValidationFailed`] on `new_password`, which leaves the token good; or an outage.
    pub async fn reset_password(&self, token: &str, new: &str, origin: &Origin) -> Result<()> {
        let hash = SecretHash::of(token.as_bytes());
        let user = self.linked_user(hash, Purpose::ResetPassword).await?;
        let notice = self.notice(Kind::PasswordChanged, user.id, origin)?;
        match self.0.users.reset_password(&user, hash, new, notice, origin).await? {
            Some(_) => Ok(()),
            None => Err(invalid_link()),
        }
    }

    /// Signs in by the token of a link. No count of failed attempts stands in its way; a second factor does.
    ///
    /// # Errors
    /// [`Code::InvalidToken`] if the token was used, has ended, or was superseded; [`Code::TooManySessions`],
    /// [`Code::InvalidDpopProof`], [`Code::MalformedRequest`] as at a sign-in by password; or an outage.
    pub async fn redeem_sign_in_link(&self, redemption: LinkRedemption, origin: &Origin) -> Result<SignedIn> {
        let result = self.try_redeem(redemption, origin).await;
        let outcome = match &result {
            Ok(_) => "success",
            Err(error) => error.code().as_str(),
        };
        telemetry::count(telemetry::LOGINS, "outcome", outcome);
        result
    }

    async fn try_redeem(&self, redemption: LinkRedemption, origin: &Origin) -> Result<SignedIn> {
        self.require_fitting_proof(redemption.transport, redemption.proof)?;
        let hash = SecretHash::of(redemption.token.expose().as_bytes());
        let user = self.linked_user(hash, Purpose::SignIn).await?;
        let Inner { throttle, monitor, store, .. } = &*self.0;
        let place = Place::of(origin, origin.device.and_then(|claim| claim.of(user.id)));
        let (network, device) = (place.network, place.device.clone());
        let (facts, clear) = throttle.facts(store, &email_key(&user.email), place, self.now()).await?;
        let SignInFacts { known_network, new_device, known_device, .. } = facts;
        let signs = Signs {
            new_network: network.is_some() && !known_network && user.last_login_at.is_some(),
            new_device: new_device && known_device.is_none(),
            dormant: monitor.is_dormant(user.last_login_at),
            ..Signs::default()
        };
        let first = FirstFactor {
            user,
            amr: vec!["email"],
            password: None,
            verified_hash: None,
            rehashed: None,
            link: Some(hash),
            transport: redemption.transport,
            tenant: None,
            network,
            device,
            // It is not held: whoever reads the mailbox has shown more than the password, which a hold is about.
            signs,
            clear,
            proof: redemption.proof,
        };
        self.complete(first, origin).await.map_err(|error| match error.code() {
            // The account has changed since, or the link was used beside this.
            Code::InvalidCredentials | Code::InvalidToken => invalid_link(),
            _ => error,
        })
    }

    /// The proof of possession that a transport wants, or none.
    ///
    /// # Errors
    /// [`Code::MalformedRequest`] for one with a cookie, [`Code::InvalidDpopProof`] where one is missing.
    pub(super) fn require_fitting_proof(&self, transport: Transport, proof: Option<Proof>) -> Result<()> {
        match (transport, proof) {
            (Transport::Cookie, Some(_)) => {
                Err(Error::new(Code::MalformedRequest, "a cookie is bound to no key: send no `DPoP` with it"))
            }
            (Transport::Bearer, None) if self.0.config.dpop.required => Err(refused(ProofRefusal::Missing)),
            _ => Ok(()),
        }
    }

    async fn linked_user(&self, token: SecretHash, purpose: Purpose) -> Result<UserRecord> {
        self.0.store.linked_user(token, purpose, self.now()).await?.ok_or_else(invalid_link)
    }
}

fn invalid_link() -> Error {
    Error::new(Code::InvalidToken, "it was used, has ended, or a newer one has taken its place")
}
