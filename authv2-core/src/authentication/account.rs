//! A user's own account: making it, changing it, leaving.

use super::{AuthenticationService, Tries};
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    client::Network,
    error::{Code, Error, Result},
    id::{MemberId, UserId},
    mail::{Kind, NewMail, Recipient},
    permission::{Model, OWNER, has_owner},
    principal::Principal,
    store::{AtRevision, OrganizationRecord, Updated, UserRecord},
    user::{NewAccount, PasswordCheck, Registered, User, email::Email},
};

impl AuthenticationService {
    /// Makes an account. Signs nobody in, least of all where the e-mail is taken. None where the settings want e-mails
    /// verified: whether there is an account now, or was before, a mail alone tells.
    ///
    /// # Errors
    /// [`Code::EmailTaken`], unless e-mails are to be verified; [`Code::ValidationFailed`] with each field,
    /// [`Code::TooManyAttempts`] for a network that finds many e-mails taken, or asks for many mails,
    /// [`Code::PermissionDenied`] where registration is closed, or an outage.
    pub async fn register(&self, new: NewAccount<'_>, origin: &Origin) -> Result<Option<User>> {
        if !self.0.config.registration.open {
            return Err(Error::new(Code::PermissionDenied, "registration is closed"));
        }
        let email_key = email_key(new.email);
        if self.0.config.registration.require_verified_email {
            let mail = self.count_registration(Kind::Registration, &new, email_key, origin).await?;
            self.0.users.register_unseen(new, mail, origin).await?;
            return Ok(None);
        }
        let network = origin.ip.map(Network::of);
        let attempt = self.0.throttle.admit_registration(&self.0.store, network, || self.now()).await?;
        let mail = match self.count_registration(Kind::VerifyEmail, &new, email_key, origin).await {
            // That a network has had many mails sent is no reason to make no account.
            Err(error) if error.code() == Code::TooManyAttempts => None,
            mail => mail?,
        };
        match self.0.users.register(new, attempt.on_failure.clone(), mail, origin).await? {
            Registered::New(user) => Ok(Some(User::from(&user))),
            Registered::EmailTaken | Registered::AlreadyFounded => {
                Err(Error::new(Code::EmailTaken, "sign in, or use another e-mail"))
            }
        }
    }

    /// Counts the mail of a registration, before anything is done: whoever hangs up has had it counted. None beyond what
    /// its address is sent, and where no mails are sent at all.
    async fn count_registration(
        &self,
        kind: Kind,
        new: &NewAccount<'_>,
        email_key: String,
        origin: &Origin,
    ) -> Result<Option<NewMail>> {
        self.0.users.check(new)?;
        if !self.sends_mails() {
            return Ok(None);
        }
        let (asking, mail) = self.admit_mail(kind, email_key, None, origin).await?;
        let act = Act::new("user.registration_requested", Actor::Anonymous, self.now(), origin);
        self.note_asking(&asking, act).await?;
        Ok(mail)
    }

    /// Changes the caller's profile; `Some(None)` removes the display name.
    ///
    /// # Errors
    /// [`Code::ValidationFailed`], [`Code::NotFound`] if the account has gone, or an outage.
    pub async fn update_me(
        &self,
        principal: &Principal,
        display_name: Option<Option<&str>>,
        origin: &Origin,
    ) -> Result<User> {
        if display_name.is_none() {
            return Ok(User::from(principal.signed_in()?.user()));
        }
        match self.0.users.update_profile(principal.signed_in()?.user().id, display_name, None, origin).await? {
            Updated::Done(user) => Ok(User::from(&user)),
            Updated::Missing => Err(gone()),
            Updated::Stale => Err(Error::new(Code::VersionConflict, "read it again")),
        }
    }

    /// Replaces the caller's password and ends every session but this one.
    ///
    /// # Errors
    /// [`Code::WrongPassword`], [`Code::ValidationFailed`] on `new_password`, [`Code::TooManyAttempts`],
    /// [`Code::VersionConflict`] if the password was replaced meanwhile, or an outage.
    pub async fn change_password(
        &self,
        principal: &Principal,
        current: &str,
        new: &str,
        origin: &Origin,
    ) -> Result<()> {
        let user = self.reask(principal, current, "user.password_change_refused", origin).await?;
        let keep = principal.session_id();
        let notice = self.notice(Kind::PasswordChanged, user.id, origin)?;
        match self.0.users.change_password(&user, new, keep, notice, origin).await? {
            Updated::Done(()) => Ok(()),
            Updated::Missing => Err(gone()),
            Updated::Stale => Err(Error::new(Code::VersionConflict, "the password was changed meanwhile")),
        }
    }

    /// Removes the caller's account for good. Every organization that it belongs to must do without it.
    ///
    /// # Errors
    /// [`Code::WrongPassword`], [`Code::TooManyAttempts`], [`Code::LastOwner`] if it is the last owner of an
    /// organization, or an outage.
    pub async fn delete_me(&self, principal: &Principal, password: &str, origin: &Origin) -> Result<()> {
        let UserRecord { id: user, email, .. } =
            self.reask(principal, password, "user.deletion_refused", origin).await?;
        let notice = self.notice_to(Kind::AccountDeleted, Recipient::Address(email), origin)?;
        let mut tries = Tries::new();
        loop {
            let memberships = self.dispensable(user).await?;
            match self.0.users.delete(user, memberships, notice.clone(), Actor::User(user), origin).await? {
                Updated::Done(()) | Updated::Missing => return Ok(()),
                Updated::Stale => tries.again().await?,
            }
        }
    }

    /// The organizations of a user, as they were when it was found that each has another owner or never had one.
    async fn dispensable(&self, user: UserId) -> Result<Vec<AtRevision>> {
        let mut memberships = Vec::new();
        for OrganizationRecord { id: organization, revision, .. } in self.0.store.organizations_of(user).await? {
            memberships.push(AtRevision { organization, revision });
            // What is read from here on is newer than that revision: if it differs, the removal finds it stale.
            let Some(book) = self.0.store.role_book(organization).await? else { continue };
            let model = Model::try_from(book)?;
            let Some(owner) = model.role(OWNER) else { continue };
            let holders = self.0.store.holders(organization, owner.id).await?;
            let (own, others): (Vec<_>, Vec<_>) =
                holders.into_iter().partition(|holder| holder.member == MemberId::from(user));
            if has_owner(&model, &own) && !has_owner(&model, &others) {
                return Err(Error::new(Code::LastOwner, "give each of your organizations another owner first"));
            }
        }
        Ok(memberships)
    }

    /// Asks the caller's password again. Wrong ones count per account, across sessions and networks, and a right one
    /// does not clear the count: only a completed sign-in does. The user, as it was judged.
    pub(super) async fn reask(
        &self,
        principal: &Principal,
        password: &str,
        action: &'static str,
        origin: &Origin,
    ) -> Result<UserRecord> {
        let user = self.0.store.user(principal.signed_in()?.user().id).await?.ok_or_else(gone)?;
        let attempt = self.admit_code(&user, origin).await?;
        match self.0.users.check_password(Some(&user), password).await? {
            PasswordCheck::Right { .. } => Ok(user),
            PasswordCheck::Wrong => {
                let act = Act::new(action, Actor::User(user.id), self.now(), origin)
                    .on(user.id)
                    .ended(Outcome::Denied, "wrong_password");
                self.count_wrong(attempt, user.id, act).await?;
                Err(Error::new(Code::WrongPassword, "check it and try again"))
            }
        }
    }
}

/// An e-mail in its comparison form. What is none is an unknown one, and is treated like any other.
pub(super) fn email_key(written: &str) -> String {
    Email::parse(written).map_or_else(|_| written.chars().take(254).collect(), |email| email.key().to_owned())
}

fn gone() -> Error {
    Error::new(Code::NotFound, "the account has been removed")
}
