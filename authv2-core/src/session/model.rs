//! A session as the API shows it.

use serde::Serialize;

use super::device::Device;
use crate::{
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId},
    store::{Risk, SessionRecord},
};

/// A session as the API shows it: never its secret.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: SessionId,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last used.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// When it ends, whatever happens.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it ends if it is not used.
    #[schema(value_type = String, format = DateTime)]
    pub idle_expires_at: Timestamp,
    /// The client's address when it was opened.
    pub ip: Option<String>,
    /// The client's `User-Agent` when it was opened.
    pub user_agent: Option<String>,
    /// What that says about the device.
    pub device: Device,
    /// How the user proved who it is (RFC 8176 `amr`).
    pub auth_methods: Vec<String>,
    /// The organization it acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub organization: Option<OrgId>,
    /// The store it acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub store: Option<StoreId>,
    /// How risky it looks.
    pub risk: Risk,
}

impl Session {
    /// What the API shows of `record`.
    #[must_use]
    pub fn of(record: &SessionRecord, current: bool) -> Self {
        Self {
            id: record.id,
            current,
            created_at: record.created_at,
            last_seen_at: record.last_seen_at,
            expires_at: record.expires_at,
            idle_expires_at: record.idle_expires_at,
            ip: record.ip.clone(),
            device: Device::of(record.user_agent.as_deref().unwrap_or_default()),
            user_agent: record.user_agent.clone(),
            auth_methods: record.amr.split(' ').map(str::to_owned).collect(),
            organization: record.organization,
            store: record.store,
            risk: record.risk,
        }
    }
}
