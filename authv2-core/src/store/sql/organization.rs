//! Organizations and their stores in SQL.
#![allow(unused_variables, clippy::unimplemented, reason = "being written")]

use async_trait::async_trait;

use super::SqlStore;
use crate::{audit::Act, clock::Timestamp, id::*, store::*, tenant::Tenant};

#[async_trait]
impl OrganizationStore for SqlStore {
    async fn create_organization(
        &self,
        new: NewOrganization,
        act: Act,
    ) -> Result<Named<OrganizationRecord>, StoreError> {
        unimplemented!()
    }
    async fn organization(&self, name: &OrganizationName) -> Result<Option<OrganizationRecord>, StoreError> {
        unimplemented!()
    }
    async fn organizations_of(&self, user: UserId) -> Result<Vec<OrganizationRecord>, StoreError> {
        unimplemented!()
    }
    async fn update_organization(
        &self,
        organization: OrgId,
        change: OrganizationChange,
        act: Act,
    ) -> Result<Option<OrganizationRecord>, StoreError> {
        unimplemented!()
    }
    async fn delete_organization(&self, at: AtRevision, act: Act) -> Result<Revised<()>, StoreError> {
        unimplemented!()
    }
    async fn create_store(
        &self,
        organization: OrgId,
        new: NewStore,
        act: Act,
    ) -> Result<Named<StoreRecord>, StoreError> {
        unimplemented!()
    }
    async fn enter(
        &self,
        user: UserId,
        session: SessionId,
        tenant: Tenant,
        act: Act,
    ) -> Result<Option<SessionRecord>, StoreError> {
        unimplemented!()
    }
}
