//! A user as the API shows it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    id::UserId,
    store::{UserRecord, UserStatus},
};

/// A user as the API shows it: never a credential.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct User {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    /// The application's own id for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The e-mail as the user wrote it.
    pub email: String,
    /// Whether the user showed that it reads the mail sent there.
    pub email_verified: bool,
    /// What to call it.
    pub display_name: Option<String>,
    /// Whether it may sign in.
    pub status: UserStatus,
    /// Whether a second factor is enrolled.
    pub mfa_enabled: bool,
    /// The application's data.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it last signed in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_login_at: Option<Timestamp>,
}

impl From<&UserRecord> for User {
    fn from(record: &UserRecord) -> Self {
        Self {
            id: record.id,
            external_id: record.external_id.clone(),
            email: record.email.clone(),
            email_verified: record.email_verified,
            display_name: record.display_name.clone(),
            status: record.status,
            mfa_enabled: record.mfa_enabled,
            // Written by this crate alone, always as an object.
            metadata: serde_json::from_str(&record.metadata).unwrap_or_default(),
            created_at: record.created_at,
            updated_at: record.updated_at,
            last_login_at: record.last_login_at,
        }
    }
}
