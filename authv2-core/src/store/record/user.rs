//! Users.

use super::{BucketRule, stored_as_text};
use crate::{clock::Timestamp, id::UserId, store::StoreError};

/// Whether an account may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// It may.
    Active,
    /// An administrator switched it off.
    Disabled,
    /// Locked until somebody looks at it.
    Locked,
}

/// A user as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// The application's own id for it.
    pub external_id: Option<String>,
    /// The e-mail as the user wrote it, in NFC.
    pub email: String,
    /// Whether the user showed that it reads the mail sent there.
    pub email_verified: bool,
    /// What to call it.
    pub display_name: Option<String>,
    /// Whether it may sign in.
    #[sqlx(try_from = "String")]
    pub status: UserStatus,
    /// The PHC string of its password; none for accounts that sign in elsewhere.
    pub password_hash: Option<PasswordHashText>,
    /// Whether it is an administrator of the whole deployment.
    pub platform_admin: bool,
    /// Whether a second factor is enrolled.
    pub mfa_enabled: bool,
    /// The application's data: a JSON object.
    pub metadata: String,
    /// Counts the changes: for optimistic locking.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it last signed in.
    pub last_login_at: Option<Timestamp>,
}

impl UserRecord {
    /// Whether nobody has shown yet that the account is theirs: not by the mailbox, not by signing in, and no operator
    /// made it.
    #[must_use]
    pub fn is_unclaimed(&self) -> bool {
        !self.email_verified && !self.platform_admin && self.last_login_at.is_none()
    }
}

/// A password hash in PHC string format, kept out of logs.
pub type PasswordHashText = Redacted;

/// Text that `Debug` does not print: not a secret in itself, yet nobody's business.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Redacted(pub String);

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A user to add.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The e-mail as written, in NFC.
    pub email: String,
    /// The e-mail in its comparison form: unique.
    pub email_key: String,
    /// What to call it.
    pub display_name: Option<String>,
    /// The PHC string of its password.
    pub password_hash: Option<PasswordHashText>,
    /// Whether it administers the deployment.
    pub platform_admin: bool,
    /// The counters that count it if the e-mail turns out to be taken.
    pub count_if_taken: Vec<BucketRule>,
}

/// What became of an attempt to add a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was added.
    New(UserRecord),
    /// Its e-mail belongs to another account; nothing was added.
    EmailTaken,
    /// A platform administrator exists; nothing was added (only where one is founded).
    AlreadyFounded,
}

/// What became of a change under optimistic locking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Updated<T> {
    /// Done.
    Done(T),
    /// There is no such record.
    Missing,
    /// The record changed since it was read.
    Stale,
}

/// The part of the profile that its owner may change.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// A new display name; `Some(None)` removes it.
    pub display_name: Option<Option<String>>,
}

stored_as_text!(UserStatus { Active = "active", Disabled = "disabled", Locked = "locked" });
