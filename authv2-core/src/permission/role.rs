//! Roles and declared resource types as the services and the API know them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::definition::{Effect, Grant};
use crate::id::RoleId;

/// A role of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Role {
    /// Its id, which the API does not show: a role is named.
    #[serde(skip)]
    pub id: RoleId,
    /// Its name: unique in the organization.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The names of the roles whose grants it has too, in order.
    pub inherits: Vec<String>,
    /// Its own grants.
    pub grants: Vec<Grant>,
    /// Whether it comes with every organization, and cannot be changed.
    pub builtin: bool,
    /// The organization's revision at which it was last written.
    pub revision: i64,
}

/// The type of an attribute of a declared resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Long,
    /// True or false.
    Boolean,
    /// An IP address or a range of them.
    Ip,
    /// A set of texts.
    StringSet,
}

/// What an organization says of a resource: conditions on its permissions are checked against this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResourceType {
    /// Its attributes and their types.
    pub attributes: BTreeMap<String, AttributeType>,
}

/// The name of the built-in role that may do everything.
pub const OWNER: &str = "owner";
/// The name of the built-in role that runs an organization.
pub const ADMIN: &str = "admin";
/// The name of the built-in role that may do nothing by itself.
pub const MEMBER: &str = "member";

/// The roles that every organization has, with new ids.
#[must_use]
pub fn builtin_roles() -> [Role; 3] {
    let role = |name: &str, description: &str, grants: &[&str]| Role {
        id: RoleId::new(),
        name: name.to_owned(),
        description: Some(description.to_owned()),
        inherits: Vec::new(),
        // The texts below are patterns: a test holds it.
        grants: grants.iter().filter_map(|pattern| pattern.parse().ok()).map(allow).collect(),
        builtin: true,
        revision: 1,
    };
    [
        role(OWNER, "May do everything", &["*"]),
        role(
            ADMIN,
            "Runs the organization",
            &["members:*", "roles:*", "stores:*", "api_keys:*", "audit:read", "organization:update"],
        ),
        role(MEMBER, "Belongs to the organization", &[]),
    ]
}

fn allow(permission: super::Pattern) -> Grant {
    Grant { permission, effect: Effect::Allow, when: None, step_up: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_roles_grant_what_the_contract_says() {
        let counts = builtin_roles().map(|role| (role.name, role.grants.len()));
        assert_eq!(counts, [(OWNER.to_owned(), 1), (ADMIN.to_owned(), 6), (MEMBER.to_owned(), 0)]);
    }
}
