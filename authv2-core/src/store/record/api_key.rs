//! API keys.

use std::time::Duration;

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
#[derive(Debug, Clone, PartialEq)]
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
