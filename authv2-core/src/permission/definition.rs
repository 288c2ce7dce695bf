//! What a role says, as people write it and as it is stored.

use serde::{Deserialize, Serialize};

use super::name::Pattern;

/// Whether a grant gives or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It gives.
    Allow,
    /// It takes, whatever else gives.
    Deny,
}

/// How fresh or strong a sign-in a grant wants (RFC 9470).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// The sign-in is at most this old, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// The authentication context class wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
}

/// One line of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What it speaks of.
    #[schema(value_type = String, example = "orders:*")]
    pub permission: Pattern,
    /// Whether it gives or takes.
    pub effect: Effect,
    /// A Cedar expression: where it is given, the grant counts only while it is true. One that fails grants nothing,
    /// and denies in a deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The sign-in that the grant wants; not for denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}

/// A role by name, with the names of its parents: what the API, the shim and a what-if speak of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDefinition {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The roles whose grants it has too.
    #[serde(default)]
    pub inherits: Vec<String>,
    /// Its own grants.
    #[serde(default)]
    pub grants: Vec<Grant>,
}
