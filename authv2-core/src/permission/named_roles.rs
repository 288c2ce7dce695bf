//! Roles by name, as an issuer elsewhere gives them to somebody who is no member.

use std::sync::Arc;

use super::{
    cache::{Organization, Resolution, Standing},
    model::Model,
};
use crate::store::Assignment;

/// Names of roles, held at the organization. Which roles they are is looked up when a decision is made: one that does
/// not exist there gives nothing.
#[derive(Debug)]
pub struct NamedRoles {
    names: Box<[String]>,
    resolved: Resolution,
}

impl NamedRoles {
    /// These roles.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self { names: names.into(), resolved: Resolution::default() }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The roles of these names that there are.
    pub(super) fn in_model(&self, model: &Model) -> Vec<Assignment> {
        let role = |name: &String| {
            let found = model.role(name);
            if found.is_none() {
                tracing::warn!(organization = %model.organization, role = name, "a role of role_map does not exist");
            }
            Some(Assignment { role: found?.id, store: None })
        };
        self.names.iter().filter_map(role).collect()
    }

    /// Where somebody with these roles stands in an organization.
    pub(super) fn standing(&self, within: &Arc<Organization>) -> Arc<Standing> {
        self.resolved.of(within, || self.in_model(within.snapshot.model()))
    }
}
