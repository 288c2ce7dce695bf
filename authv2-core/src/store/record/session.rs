//! Sessions and refresh tokens.

use std::time::Duration;

use super::{Bucket, PasswordHashText, UserRecord, stored_as_text};
use crate::{
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId, UserId},
    secret::SecretHash,
    store::StoreError,
};

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
    /// The hash of its cookie, for the cookie transport.
    pub cookie_hash: Option<Vec<u8>>,
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

stored_as_text!(Transport { Bearer = "bearer", Cookie = "cookie" });
stored_as_text!(Risk { Low = "low", Medium = "medium", High = "high" });
