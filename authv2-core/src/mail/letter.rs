//! A mail about to be written to the outbox, in the transaction of what it tells.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use crate::{
    clock::Timestamp,
    id::{MailId, UserId},
    secret::{NoRandomness, random_bytes},
};

/// What a mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Somebody registered with the address: its owner is asked whether it was them, or is told if it has an account.
    Registration,
    /// Asks the owner of an account to show that it reads this mailbox.
    VerifyEmail,
    /// A link to set another password.
    ResetPassword,
    /// A link to sign in with, once.
    SignInLink,
    /// The password was changed.
    PasswordChanged,
    /// A second factor was enrolled.
    MfaEnabled,
    /// The second factor was removed.
    MfaDisabled,
    /// New recovery codes took the place of the old ones.
    RecoveryCodesReplaced,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// Somebody signed in with a browser that was not known.
    NewDevice,
    /// The account was removed.
    AccountDeleted,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Registration,
        Self::VerifyEmail,
        Self::ResetPassword,
        Self::SignInLink,
        Self::PasswordChanged,
        Self::MfaEnabled,
        Self::MfaDisabled,
        Self::RecoveryCodesReplaced,
        Self::RecoveryCodeUsed,
        Self::NewDevice,
        Self::AccountDeleted,
    ];

    /// As it is stored, and as its templates are named.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::SignInLink => "sign_in_link",
            Self::PasswordChanged => "password_changed",
            Self::MfaEnabled => "mfa_enabled",
            Self::MfaDisabled => "mfa_disabled",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::NewDevice => "new_device",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// The kind that is stored so.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// How long after it was asked for a mail of this kind is still worth sending; the life of the link in it too,
    /// which counts from the same moment.
    #[must_use]
    pub const fn life(self) -> Duration {
        Duration::from_secs(match self {
            Self::SignInLink => 10 * 60,
            Self::ResetPassword => 60 * 60,
            Self::Registration | Self::VerifyEmail => 24 * 60 * 60,
            _ => 3 * 24 * 60 * 60,
        })
    }
}

/// To whom a mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// To a user, at the address that it has when the mail is sent.
    User(UserId),
    /// To whoever has this e-mail, in its comparison form: whether somebody does is found out when the mail is sent, so
    /// that asking for it costs the same either way. Nobody unknown gets mail.
    Owner(String),
    /// To an address as such, of an account that will have gone.
    Address(String),
}

/// Facts for the text, by name: none of them a secret.
pub type Details = BTreeMap<Cow<'static, str>, String>;

/// A mail to write to the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// Its id.
    pub id: MailId,
    /// What it says.
    pub kind: Kind,
    /// To whom.
    pub to: Recipient,
    /// The language that whoever asked for it likes best.
    pub language: Option<String>,
    /// Facts for the text.
    pub details: Details,
    /// What the token in its link is derived from, with a key that the store does not have: a reader of the outbox can
    /// make no link.
    pub salt: [u8; 32],
    /// When it was asked for.
    pub at: Timestamp,
}

impl NewMail {
    /// A mail asked for at `at`.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system gives none.
    pub fn new(kind: Kind, to: Recipient, language: Option<String>, at: Timestamp) -> Result<Self, NoRandomness> {
        let salt = random_bytes()?;
        Ok(Self { id: MailId::new(), kind, to, language, details: Details::new(), salt, at })
    }

    /// Adds a fact for the text.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<String>) -> Self {
        self.details.insert(Cow::Borrowed(name), fact.into());
        self
    }
}
