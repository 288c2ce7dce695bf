//! API keys.

use std::{fmt, time::Duration};

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{MemberKind, UserStatus, stored_as_text};
use crate::{
    clock::Timestamp,
    id::{KeyId, MemberId, OrgId, StoreId},
    secret::SecretHash,
    store::StoreError,
};

/// An API key as it is stored, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKeyRecord {
    /// Which.
    pub id: KeyId,
    /// Whose.
    pub organization: OrgId,
    /// The member whose rights bound it: whoever made or last rotated it, or a service account.
    pub member: MemberId,
    /// The store that it acts at, and nowhere else; at the organization and its stores if none.
    pub store: Option<StoreId>,
    /// What people call it.
    pub name: String,
    /// The environment in its prefix.
    pub environment: String,
    /// What it may do, as far as its member may: permissions and patterns of them.
    pub scopes: Vec<String>,
    /// Where it may be used from; anywhere if empty.
    pub allowed_ips: Vec<IpNet>,
    /// How often it may be used in a short time.
    pub rate_limit: Option<KeyRateLimit>,
    /// How often it may be used in a day or a month.
    pub quota: Option<KeyQuota>,
    /// What the organization notes about it.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, up to a few seconds ago.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_ip: Option<String>,
}

/// The rate at which a key may be used: `requests` in `per`, evenly, after a burst of at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRateLimit {
    /// Requests.
    pub requests: u32,
    /// In this time.
    pub per: Duration,
    /// That many at once; `requests` if it is not told.
    pub burst: Option<u32>,
}

/// How often a key may be used in a day or a month of its organization's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyQuota {
    /// Requests.
    pub requests: u64,
    /// In this time.
    pub period: QuotaPeriod,
}

/// What a quota is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaPeriod {
    /// A day.
    Day,
    /// A month.
    Month,
}

stored_as_text!(QuotaPeriod { Day = "day", Month = "month" });

/// A secret of a key, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySecret {
    /// The SHA-256 of the whole of what is presented.
    pub hash: SecretHash,
    /// When it ends, if it has been replaced.
    pub expires_at: Option<Timestamp>,
}

/// Everything that a request which presents a key is judged by.
#[derive(Clone, PartialEq)]
pub struct PresentedKey {
    /// The key.
    pub key: ApiKeyRecord,
    /// The secrets that are not past their end.
    pub secrets: Vec<KeySecret>,
    /// What the member is that bounds it.
    pub member_kind: MemberKind,
    /// The account's status, and its e-mail, where the member is a user.
    pub user: Option<(UserStatus, String)>,
}

impl fmt::Debug for PresentedKey {
    /// Its id alone: what else there is tells of people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey").field("id", &self.key.id).finish_non_exhaustive()
    }
}

/// A key to add, with its first secret.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The key; nothing has used it yet.
    pub key: ApiKeyRecord,
    /// The SHA-256 of the whole of what is presented.
    pub secret: SecretHash,
    /// The most keys that its organization may have with it.
    pub max_per_organization: u32,
}

/// What became of an attempt to add a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCreation {
    /// It was added.
    Done,
    /// The organization has as many as it may; nothing was written.
    TooMany,
}

/// How many replaced secrets of one key work at a time: one more, and the first of them ends.
pub const SECRETS_IN_GRACE: u32 = 4;

/// A new secret for a key.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    /// Which key.
    pub key: KeyId,
    /// The SHA-256 of the whole of what is presented from now on.
    pub secret: SecretHash,
    /// When the secrets that it has now end at the latest; at once if that has passed.
    pub grace_until: Timestamp,
    /// The member whose rights bound it from now on.
    pub member: MemberId,
}

/// Which keys to list: oldest first, after the one given.
#[derive(Debug, Clone, Copy)]
pub struct ApiKeyPage {
    /// Those of one store only.
    pub store: Option<StoreId>,
    /// The last one of the page before.
    pub after: Option<(Timestamp, KeyId)>,
    /// The most to list.
    pub limit: u32,
}

/// That a key was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Whose.
    pub organization: OrgId,
    /// Which.
    pub key: KeyId,
    /// When.
    pub used_at: Timestamp,
    /// From where.
    pub ip: Option<String>,
}
