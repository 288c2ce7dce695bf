//! The records that cross the store boundary.

use std::time::Duration;

use super::StoreError;
use crate::{
    changes::Change,
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId, UserId},
    secret::{Secret, SecretHash},
};

/// Gives an enum its one spelling in the database.
macro_rules! stored_as_text {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $name {
            /// As it is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl TryFrom<String> for $name {
            type Error = StoreError;

            fn try_from(text: String) -> Result<Self, StoreError> {
                match text.as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(StoreError::corrupt(concat!("unknown ", stringify!($name)))),
                }
            }
        }
    };
}

stored_as_text!(UserStatus { Active = "active", Disabled = "disabled", Locked = "locked" });
stored_as_text!(Transport { Bearer = "bearer", Cookie = "cookie" });
stored_as_text!(Risk { Low = "low", Medium = "medium", High = "high" });
stored_as_text!(KeyState { Pending = "pending", Active = "active", Retiring = "retiring", Retired = "retired" });

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

/// How a session's secret travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Access and refresh tokens in bodies and headers.
    Bearer,
    /// A cookie; no token is ever shown.
    Cookie,
}

/// How risky a session looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing unusual.
    Low,
    /// Something changed.
    Medium,
    /// Likely not the user.
    High,
}

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SessionRecord {
    /// Its id.
    #[sqlx(rename = "session_id")]
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// How its secret travels.
    #[sqlx(try_from = "String")]
    pub transport: Transport,
    /// When it was opened.
    #[sqlx(rename = "opened_at")]
    pub created_at: Timestamp,
    /// When the user last proved who it is.
    pub auth_time: Timestamp,
    /// When it was last used, as far as written down.
    pub last_seen_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// When it ends if it is not used.
    pub idle_expires_at: Timestamp,
    /// The client's address when it was opened.
    pub ip: Option<String>,
    /// The client's `User-Agent`, shortened.
    pub user_agent: Option<String>,
    /// How the user proved who it is: RFC 8176 `amr` values, separated by spaces.
    pub amr: String,
    /// The authentication context class reached.
    pub acr: String,
    /// The organization it acts in.
    #[sqlx(rename = "org_id")]
    pub organization: Option<OrgId>,
    /// The store it acts in.
    #[sqlx(rename = "store_id")]
    pub store: Option<StoreId>,
    /// How risky it looks.
    #[sqlx(try_from = "String")]
    pub risk: Risk,
    /// When it was ended, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl SessionRecord {
    /// Whether it can be used at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.ends_at()
    }

    /// When it ends if nobody uses it again.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.min(self.idle_expires_at)
    }
}

/// What happens when a user opens more sessions than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// The oldest session ends.
    EvictOldest,
    /// The new sign-in is refused.
    Reject,
}

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The session.
    pub record: SessionRecord,
    /// The hash of its cookie, for the cookie transport.
    pub cookie: Option<SecretHash>,
    /// The hash of its first refresh token, for the bearer transport.
    pub refresh: Option<SecretHash>,
    /// The most live sessions the user may have, this one included.
    pub max_per_user: u32,
    /// What to do over that.
    pub over_limit: OverLimit,
    /// The network signed in from: it is known from now on.
    pub network: Option<String>,
    /// The password hash that was verified: if it was replaced meanwhile, the sign-in is void.
    pub verified_hash: Option<PasswordHashText>,
    /// The same password under the present parameters, if they changed.
    pub rehashed: Option<PasswordHashText>,
    /// Counters that a completed sign-in clears.
    pub clear: Vec<Bucket>,
}

/// What became of an attempt to open a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is open; the user as it is now.
    New(UserRecord),
    /// The user has as many sessions as allowed, and the policy is to refuse.
    TooMany,
    /// The account was removed, disabled, or its password replaced since it was verified.
    Void,
}

/// One use of a refresh token.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The hash of the token presented.
    pub presented: SecretHash,
    /// The salt its successor was derived with.
    pub salt: [u8; 16],
    /// The hash of that successor.
    pub successor: SecretHash,
    /// How long after its use a token may come again and get the same successor.
    pub grace: Duration,
    /// The idle time allowed, for the new idle deadline.
    pub idle_ttl: Duration,
}

/// What became of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The successor is stored.
    Fresh(SessionRecord, UserRecord),
    /// The token was used a moment ago, and its successor is unused: derive it again with this salt.
    Again(SessionRecord, UserRecord, [u8; 16]),
    /// Unknown, expired, of a dead session, or its successor is in use already. Nothing changed.
    Invalid,
    /// It was used long ago: the session has been revoked.
    Reused(SessionRecord),
}

/// One use of a session to write down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Which session.
    pub session: SessionId,
    /// When it was used.
    pub seen_at: Timestamp,
    /// How far its idle deadline reaches now, if it is to be extended.
    pub idle_expires_at: Option<Timestamp>,
}

/// The name of a counter of failed attempts: a keyed hash, so that the table names nobody.
pub type Bucket = [u8; 16];

/// A counter of failed attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Which.
    pub bucket: Bucket,
    /// Failures in the present window.
    pub count: i64,
    /// When the window began.
    pub window_start: Timestamp,
    /// No attempt before this.
    pub blocked_until: Timestamp,
}

/// How failures count on one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRule {
    /// Which counter.
    pub bucket: Bucket,
    /// Failures allowed in a window.
    pub limit: i64,
    /// The window.
    pub window: Duration,
    /// The first wait once the limit is reached; it doubles with each failure after that.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl BucketRule {
    /// How long no further attempt is allowed once `count` have failed; none below the limit.
    #[must_use]
    pub fn wait_after(&self, count: i64) -> Option<Duration> {
        let over = u32::try_from(count.checked_sub(self.limit)?).ok()?;
        let factor = 1_u32.checked_shl(over).unwrap_or(u32::MAX);
        Some(self.first_wait.saturating_mul(factor).min(self.longest_wait)).filter(|wait| !wait.is_zero())
    }
}

/// What to look up to judge a sign-in.
#[derive(Debug, Clone)]
pub struct SignInQuery {
    /// The e-mail in its comparison form.
    pub email_key: String,
    /// The network of the caller.
    pub network: Option<String>,
    /// A sign-in from there after this makes the pair a known one.
    pub known_since: Timestamp,
    /// The counters to read.
    pub buckets: Vec<Bucket>,
}

/// What a sign-in is judged by.
#[derive(Debug, Clone)]
pub struct SignInFacts {
    /// The user, if the e-mail has one.
    pub user: Option<UserRecord>,
    /// Whether it signed in from this network lately.
    pub known_network: bool,
    /// The counters that exist.
    pub attempts: Vec<Attempts>,
}

/// Where a signing key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, does not sign yet.
    Pending,
    /// Signs.
    Active,
    /// Verifies only.
    Retiring,
    /// Refused.
    Retired,
}

/// A signing key as stored: its private half sealed under the master key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SigningKeyRecord {
    /// The `kid`, generated here.
    pub kid: String,
    /// The JOSE algorithm, which belongs to the key.
    pub alg: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: KeyState,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it signs from.
    pub activates_at: Timestamp,
    /// When it stops verifying.
    pub retires_at: Option<Timestamp>,
}

/// A change as the feed's table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Its place in the table.
    pub seq: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What changed.
    pub change: Change,
}

/// An audit entry as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// What, as `session.login`.
    pub action: String,
    /// `success`, `denied` or `failure`.
    pub outcome: String,
    /// What kind of actor: `user`, `anonymous`, `system`.
    pub actor_kind: String,
    /// Which actor.
    pub actor_id: Option<String>,
    /// On what: an id.
    pub target: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// Why, where it was not a success.
    pub reason: Option<String>,
}

/// What [`super::Upkeep::purge`] may remove.
#[derive(Debug, Clone, Copy)]
pub struct PurgeBefore {
    /// Sessions dead since before this.
    pub sessions: Timestamp,
    /// Networks last signed in from before this.
    pub networks: Timestamp,
    /// Counters untouched since before this.
    pub counters: Timestamp,
    /// Changes written before this.
    pub changes: Timestamp,
}

/// The connection string, whose password must not be printed.
pub type StoreUrl = Secret;
