//! Roles and resource types in SQL.
#![allow(unused_variables, clippy::unimplemented, reason = "being written")]

use async_trait::async_trait;

use super::SqlStore;
use crate::{audit::Act, clock::Timestamp, id::*, store::*, tenant::Tenant};

#[async_trait]
impl RoleStore for SqlStore {
    async fn role_book(&self, organization: OrgId) -> Result<Option<RoleBook>, StoreError> {
        unimplemented!()
    }
    async fn put_role(&self, at: AtRevision, role: NewRole, act: Act) -> Result<Revised<RoleRecord>, StoreError> {
        unimplemented!()
    }
    async fn delete_role(&self, at: AtRevision, role: RoleId, act: Act) -> Result<Revised<RoleDeletion>, StoreError> {
        unimplemented!()
    }
    async fn put_resource_type(
        &self,
        at: AtRevision,
        resource_type: ResourceTypeRecord,
        act: Act,
    ) -> Result<Revised<()>, StoreError> {
        unimplemented!()
    }
}
