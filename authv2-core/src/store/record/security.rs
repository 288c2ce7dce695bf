//! What the security monitor noticed.

use std::{net::IpAddr, str::FromStr};

use serde_json::{Map, Value};

use super::stored_as_text;
use crate::{
    clock::Timestamp,
    id::{EventId, OrgId, UserId},
    store::StoreError,
};

/// What a security event tells of. A closed set: it is a label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// Many accounts are tried, a few times each.
    CredentialStuffing,
    /// One password is tried on many accounts.
    PasswordSpraying,
    /// Many passwords are tried on one account.
    BruteForce,
    /// A refresh token came back after it was used: its session was ended.
    RefreshTokenReused,
    /// A sign-in on a device that the user has not signed in on lately.
    NewDevice,
    /// A sign-in from a network that the user has not signed in from lately.
    NewNetwork,
    /// A session is used from another network than it was opened from.
    SessionNetworkChanged,
    /// An API key is used from a network that it was not used from lately.
    ApiKeyNewNetwork,
    /// Somebody is denied one thing after the other.
    PermissionProbing,
    /// Somebody was given a role, or a role was given more rights.
    PrivilegeChanged,
    /// A sign-in to an account that nobody has signed in to for long.
    DormantAccountUsed,
    /// A sign-in with a password that is known from a breach.
    BreachedPasswordUsed,
    /// Events came faster than they could be written: some are missing.
    EventsDropped,
}

/// How much an event matters.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Worth a look by whom it concerns.
    Low,
    /// Worth a look by an administrator.
    Medium,
    /// An attack, or likely a theft.
    High,
    /// An attack that succeeded.
    Critical,
}

/// Something that the security monitor noticed. It holds ids, addresses and numbers: no secret, no token, no e-mail.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct SecurityEvent {
    /// Its id: whoever is told twice knows it again by this.
    #[schema(value_type = uuid::Uuid)]
    pub id: EventId,
    /// When it was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What it tells of.
    pub kind: EventKind,
    /// How much it matters.
    pub severity: Severity,
    /// The user it concerns, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub user_id: Option<UserId>,
    /// The organization it concerns, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub organization: Option<OrgId>,
    /// Where it came from, if from one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// More of it, by kind.
    #[schema(value_type = Object)]
    pub detail: Map<String, Value>,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its number. On PostgreSQL a smaller one may be committed later.
    pub seq: i64,
    /// The event.
    pub event: SecurityEvent,
}

/// Which events to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of this kind alone.
    pub kind: Option<EventKind>,
    /// Of this severity alone.
    pub severity: Option<Severity>,
    /// At this moment or later.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
    /// Older than the event of this moment and number.
    pub before: Option<(Timestamp, i64)>,
    /// At most so many.
    pub limit: u32,
}

/// What is known of a network that an API key is used from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNetwork {
    /// The key was used from there before.
    Known,
    /// It is the first network that the key is used from.
    First,
    /// The key was used from others, and never from there.
    New,
}

stored_as_text!(EventKind {
    CredentialStuffing = "credential_stuffing",
    PasswordSpraying = "password_spraying",
    BruteForce = "brute_force",
    RefreshTokenReused = "refresh_token_reused",
    NewDevice = "new_device",
    NewNetwork = "new_network",
    SessionNetworkChanged = "session_network_changed",
    ApiKeyNewNetwork = "api_key_new_network",
    PermissionProbing = "permission_probing",
    PrivilegeChanged = "privilege_changed",
    DormantAccountUsed = "dormant_account_used",
    BreachedPasswordUsed = "breached_password_used",
    EventsDropped = "events_dropped",
});
stored_as_text!(Severity { Info = "info", Low = "low", Medium = "medium", High = "high", Critical = "critical" });

/// The text names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such kind or severity of event")]
pub struct UnknownEventName;

macro_rules! read_from_text {
    ($($name:ident)+) => {$(
        impl FromStr for $name {
            type Err = UnknownEventName;

            fn from_str(text: &str) -> Result<Self, UnknownEventName> {
                Self::try_from(text.to_owned()).map_err(|_| UnknownEventName)
            }
        }
    )+};
}

read_from_text!(EventKind Severity);
