//! Who in an organization needs a second factor.

use std::collections::BTreeSet;

use crate::store::{MfaDemand, OrganizationRecord};

/// The authentication context class of a sign-in with two factors (NIST SP 800-63B).
pub const SECOND_FACTOR: &str = "aal2";

/// Who in an organization needs a second factor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MfaPolicy {
    /// Nobody.
    #[default]
    Optional,
    /// Every member.
    Required,
    /// Whoever holds one of these roles, by name, or one that inherits it, anywhere in the organization.
    Roles(BTreeSet<String>),
}

impl MfaPolicy {
    /// As it is stored.
    #[must_use]
    pub fn of(record: &OrganizationRecord) -> Self {
        match record.mfa {
            MfaDemand::Optional => Self::Optional,
            MfaDemand::Required => Self::Required,
            MfaDemand::Roles => Self::Roles(record.mfa_roles.0.iter().cloned().collect()),
        }
    }

    /// As it is to be stored: the demand, and the names of the roles that it speaks of.
    pub(crate) fn parts(&self) -> (MfaDemand, Vec<String>) {
        match self {
            Self::Optional => (MfaDemand::Optional, Vec::new()),
            Self::Required => (MfaDemand::Required, Vec::new()),
            Self::Roles(names) => (MfaDemand::Roles, names.iter().cloned().collect()),
        }
    }
}
