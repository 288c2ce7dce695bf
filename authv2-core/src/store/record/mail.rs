//! Mails that wait, and the tokens of their links.

use crate::{
    clock::Timestamp,
    id::{ClaimId, MailId, UserId},
    mail::Purpose,
    secret::SecretHash,
};

/// A hold on mails.
#[derive(Debug, Clone, Copy)]
pub struct MailClaim {
    /// The hand that they are in.
    pub id: ClaimId,
    /// The present moment.
    pub now: Timestamp,
    /// How long they are.
    pub until: Timestamp,
}

/// A mail that waits, as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WaitingMail {
    /// Its id.
    #[sqlx(rename = "mail_id")]
    pub id: MailId,
    /// What it says: a [`Kind`](crate::mail::Kind), by its name.
    pub kind: String,
    /// To whom: `user`, `owner` of an e-mail, or an `address` as such.
    pub recipient: String,
    /// The user it goes to, where that is known.
    pub user_id: Option<UserId>,
    /// The e-mail in its comparison form, or the address.
    pub address: Option<String>,
    /// The language that whoever asked for it likes best.
    pub language: Option<String>,
    /// Facts for the text: a JSON object.
    pub details: String,
    /// What the token in its link is derived from.
    pub salt: Vec<u8>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it is no longer worth sending.
    pub expires_at: Timestamp,
    /// How many times it was taken to be sent, this time counted.
    pub attempts: i64,
}

/// The token of a mail's link, about to live.
#[derive(Debug, Clone, Copy)]
pub struct NewLink {
    /// The mail.
    pub mail: MailId,
    /// The hand that it is in.
    pub claim: ClaimId,
    /// Whose token it is.
    pub user: UserId,
    /// What for.
    pub purpose: Purpose,
    /// Its hash.
    pub hash: SecretHash,
    /// When the mail was asked for.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}
