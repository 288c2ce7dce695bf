//! Organizations, stores and members as the API shows them.

use serde::Serialize;

use crate::{
    clock::Timestamp,
    id::{MemberId, OrgId, StoreId, UserId},
    permission::Model,
    store::{Assignment, MemberRecord, OrganizationRecord, StoreRecord},
};

/// An organization: the outer tenant boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Organization {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: OrgId,
    /// Its name in URLs: unique.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// The IANA time zone in which its conditions tell the time.
    pub time_zone: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<&OrganizationRecord> for Organization {
    fn from(record: &OrganizationRecord) -> Self {
        Self {
            id: record.id,
            slug: record.slug.clone(),
            name: record.name.clone(),
            time_zone: record.time_zone.clone(),
            created_at: record.created_at,
        }
    }
}

/// A store of an organization: the inner tenant boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Store {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: StoreId,
    /// Its name in URLs: unique in the organization.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<&StoreRecord> for Store {
    fn from(record: &StoreRecord) -> Self {
        Self { id: record.id, slug: record.slug.clone(), name: record.name.clone(), created_at: record.created_at }
    }
}

/// A role held: at the organization, which reaches its stores, or at one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RoleAssignment {
    /// The role's name.
    pub role: String,
    /// The store it is held at, if not at the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub store: Option<StoreId>,
}

impl RoleAssignment {
    /// These roles by name: those held at the organization first, then store by store. Roles that the model does not
    /// know are left out.
    #[must_use]
    pub fn all(assignments: &[Assignment], model: &Model) -> Vec<Self> {
        let named = |assignment: &Assignment| {
            let role = model.role_by_id(assignment.role)?;
            Some(Self { role: role.name.clone(), store: assignment.store })
        };
        let mut roles: Vec<Self> = assignments.iter().filter_map(named).collect();
        roles.sort_by(|a, b| (a.store, &a.role).cmp(&(b.store, &b.role)));
        roles
    }
}

/// A user that belongs to an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Member {
    /// The user's id.
    #[schema(value_type = String, format = Uuid)]
    pub user_id: UserId,
    /// Its e-mail.
    pub email: String,
    /// What to call it.
    pub display_name: Option<String>,
    /// The roles it holds.
    pub roles: Vec<RoleAssignment>,
    /// When it joined.
    #[schema(value_type = String, format = DateTime)]
    pub joined_at: Timestamp,
}

impl Member {
    /// What the API shows of a member that is a user, and holds these roles; `None` if it is none.
    #[must_use]
    pub fn of(record: &MemberRecord, roles: Vec<RoleAssignment>) -> Option<Self> {
        let user = record.user.as_ref()?;
        Some(Self {
            user_id: user.id,
            email: user.email.clone(),
            display_name: user.display_name.clone(),
            roles,
            joined_at: record.joined_at,
        })
    }
}

/// A non-human member that owns API keys and outlives whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ServiceAccount {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    pub id: MemberId,
    /// What people call it.
    pub name: String,
    /// The roles it holds.
    pub roles: Vec<RoleAssignment>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl ServiceAccount {
    /// What the API shows of a member that is a service account, and holds these roles; `None` if it is none.
    #[must_use]
    pub fn of(record: &MemberRecord, roles: Vec<RoleAssignment>) -> Option<Self> {
        let name = record.name.clone()?;
        Some(Self { id: record.id, name, roles, created_at: record.joined_at })
    }
}
