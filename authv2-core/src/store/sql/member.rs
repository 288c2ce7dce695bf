//! Members and their roles in SQL.
#![allow(unused_variables, clippy::unimplemented, reason = "being written")]

use async_trait::async_trait;

use super::SqlStore;
use crate::{audit::Act, clock::Timestamp, id::*, store::*, tenant::Tenant};

#[async_trait]
impl MemberStore for SqlStore {
    async fn member(&self, organization: OrgId, member: MemberId) -> Result<Option<MemberRecord>, StoreError> {
        unimplemented!()
    }
    async fn members(&self, organization: OrgId, page: MemberPage) -> Result<Vec<MemberRecord>, StoreError> {
        unimplemented!()
    }
    async fn access(&self, organization: OrgId, member: MemberId) -> Result<Option<AccessRecord>, StoreError> {
        unimplemented!()
    }
    async fn holders(&self, organization: OrgId, role: RoleId) -> Result<Vec<Holder>, StoreError> {
        unimplemented!()
    }
    async fn add_member(&self, at: AtRevision, new: NewMember, act: Act) -> Result<Revised<Joined>, StoreError> {
        unimplemented!()
    }
    async fn assign_roles(
        &self,
        at: AtRevision,
        member: MemberId,
        roles: Vec<Assignment>,
        act: Act,
    ) -> Result<Revised<MemberRecord>, StoreError> {
        unimplemented!()
    }
    async fn remove_member(&self, at: AtRevision, member: MemberId, act: Act) -> Result<Revised<()>, StoreError> {
        unimplemented!()
    }
}
