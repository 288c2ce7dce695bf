//! Where an act takes place: an organization, and optionally a store inside it.

use crate::id::{OrgId, StoreId};

/// The tenant that a principal acts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The organization.
    pub organization: OrgId,
    /// The store, where the principal is bound to one: then it acts nowhere else.
    pub store: Option<StoreId>,
}
