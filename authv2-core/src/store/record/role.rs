//! Roles, declared resource types, and the whole book of an organization that decisions are compiled from.

use super::{OrganizationRecord, StoreRecord};
use crate::id::RoleId;

/// A role as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RoleRecord {
    /// Its id.
    #[sqlx(rename = "role_id")]
    pub id: RoleId,
    /// Its name: unique in the organization.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its grants: a JSON array of [`Grant`](crate::permission::Grant).
    pub grants: String,
    /// Whether it comes with every organization.
    pub builtin: bool,
    /// The organization's revision at which it was last written.
    pub revision: i64,
}

/// A role to write: new, or in place of the one that has its id.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its grants: a JSON array.
    pub grants: String,
    /// The roles it inherits from.
    pub inherits: Vec<RoleId>,
    /// Whether it comes with every organization.
    pub builtin: bool,
}

/// A declared resource type.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ResourceTypeRecord {
    /// Its name: the part of a permission before the colon.
    pub name: String,
    /// Its attributes and their types: a JSON object.
    pub attributes: String,
}

/// Everything that an organization's decisions are compiled from, as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBook {
    /// The organization.
    pub organization: OrganizationRecord,
    /// All roles.
    pub roles: Vec<RoleRecord>,
    /// Who inherits from whom: the heir first, then its parent.
    pub inherits: Vec<(RoleId, RoleId)>,
    /// The declared resource types.
    pub resource_types: Vec<ResourceTypeRecord>,
    /// The stores.
    pub stores: Vec<StoreRecord>,
}

/// What became of an attempt to delete a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleDeletion {
    /// It is gone.
    Done,
    /// A member holds it, or another role inherits it; it stays.
    InUse,
}
