//! API keys as the API shows them: never a secret, never a hash.

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};

use super::format;
use crate::{
    clock::Timestamp,
    id::{KeyId, MemberId, StoreId},
    store::{ApiKeyRecord, KeyQuota, KeyRateLimit, MemberKind},
};

/// An API key.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ApiKey {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// The environment in its prefix.
    pub environment: String,
    /// What its secrets begin with: enough to know it by in a log or a scanner's finding, nothing that opens anything.
    pub prefix: String,
    /// What it may do, as far as the member that bounds it may do that: permissions and patterns of them.
    pub scopes: Vec<String>,
    /// The store that it acts at, and nowhere else; at the organization and its stores if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub store: Option<StoreId>,
    /// The user whose rights bound it: who made it, or last rotated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub created_by: Option<MemberId>,
    /// The service account that it is of, whose rights bound it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub service_account: Option<MemberId>,
    /// How often it may be used in a short time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How often it may be used in a day or a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// The networks that it may be used from; from anywhere if empty.
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    pub allowed_ips: Vec<IpNet>,
    /// What the organization notes about it.
    pub metadata: Map<String, Value>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, up to a few seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_ip: Option<String>,
}

/// How often a key may be used in a short time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RateLimit {
    /// Requests.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests: u32,
    /// In so many seconds.
    #[schema(minimum = 1, maximum = 86_400)]
    pub per_seconds: u64,
    /// So many at once; `requests` where it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: Option<u32>,
}

/// How often a key may be used in a day or a month of its organization's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Quota {
    /// Requests.
    #[schema(minimum = 1)]
    pub requests: u64,
    /// `day` or `month`.
    pub per: &'static str,
}

impl ApiKey {
    /// What the API shows of a key that a member of this kind bounds.
    #[must_use]
    pub fn of(record: ApiKeyRecord, kind: MemberKind) -> Self {
        let (created_by, service_account) = match kind {
            MemberKind::User => (Some(record.member), None),
            MemberKind::ServiceAccount => (None, Some(record.member)),
        };
        Self {
            id: record.id,
            prefix: format::shown(&record.environment, record.id),
            name: record.name,
            environment: record.environment,
            scopes: record.scopes,
            store: record.store,
            created_by,
            service_account,
            rate_limit: record.rate_limit.map(RateLimit::from),
            quota: record.quota.map(Quota::from),
            allowed_ips: record.allowed_ips,
            metadata: record.metadata,
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
            last_used_ip: record.last_used_ip,
        }
    }
}

impl From<KeyRateLimit> for RateLimit {
    fn from(KeyRateLimit { requests, per, burst }: KeyRateLimit) -> Self {
        Self { requests, per_seconds: per.as_secs(), burst }
    }
}

impl From<KeyQuota> for Quota {
    fn from(KeyQuota { requests, period }: KeyQuota) -> Self {
        Self { requests, per: period.as_str() }
    }
}
