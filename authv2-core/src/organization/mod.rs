//! Organizations, their stores, and who belongs to them.

mod model;
mod service;

pub(crate) use self::service::named;
pub use self::{
    model::{Member, Organization, RoleAssignment, ServiceAccount, Store},
    service::{OrganizationError, OrganizationService},
};
