//! The outbox, and the links in mails, as the services ask for them.

use async_trait::async_trait;

use super::{MailClaim, NewLink, StoreError, UserRecord, WaitingMail};
use crate::{
    audit::Act,
    clock::Timestamp,
    id::{ClaimId, MailId, UserId},
    mail::Purpose,
    secret::SecretHash,
};

/// The outbox: mails that wait to be sent, each in one hand at a time. They come into it with the acts that they tell
/// of ([`Act::telling`]).
#[async_trait]
pub trait MailStore: Send + Sync {
    /// Takes mails that are due, those that have been so for longest first, at most `limit`. Nobody else is given one of
    /// them until the claim runs out.
    async fn claim_mails(&self, claim: MailClaim, limit: u32) -> Result<Vec<WaitingMail>, StoreError>;

    /// Keeps a mail for longer. `false` if it is no longer in this hand.
    async fn keep_mail(&self, mail: MailId, claim: ClaimId, until: Timestamp) -> Result<bool, StoreError>;

    /// Gives a mail back, to be tried again at `due_at`. `false` if it is no longer in this hand.
    async fn put_mail_off(&self, mail: MailId, claim: ClaimId, due_at: Timestamp) -> Result<bool, StoreError>;

    /// Removes a mail that was sent, or that never will be, which the act then tells. `false`, and nothing written, if it
    /// is no longer in this hand.
    async fn remove_mail(&self, mail: MailId, claim: ClaimId, act: Option<Act>) -> Result<bool, StoreError>;

    /// Makes the token of a mail's link live: the only one of its user and purpose from then on; older mails that wait
    /// with one of the same purpose go. `false`, and nothing written, if a newer one lives, the user has gone, or the mail
    /// is no longer in this hand, because a change of the account has overtaken it.
    async fn ready_link(&self, link: NewLink) -> Result<bool, StoreError>;
}

/// What the links in mails do. Of any number of parallel uses of one token exactly one succeeds.
#[async_trait]
pub trait LinkStore: Send + Sync {
    /// The user whose live token this is; uses nothing up.
    async fn linked_user(
        &self,
        token: SecretHash,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Option<UserRecord>, StoreError>;

    /// Uses a token up: its user's e-mail is verified. `None`, and nothing written, if the token does not live.
    async fn verify_email(&self, token: SecretHash, act: Act) -> Result<Option<UserRecord>, StoreError>;

    /// Uses a token up: its user has another password and a verified e-mail, and all its sessions, links and begun
    /// sign-ins end. `None`, and nothing written, if the token does not live.
    async fn reset_password(&self, token: SecretHash, new: String, act: Act) -> Result<Option<UserRecord>, StoreError>;

    /// Takes the password of an account whose e-mail nobody has verified, if it is still this one, and ends its sessions,
    /// links and begun sign-ins: whose it was, nobody knows. The act is recorded either way.
    async fn void_password(&self, user: UserId, current: String, act: Act) -> Result<(), StoreError>;
}
