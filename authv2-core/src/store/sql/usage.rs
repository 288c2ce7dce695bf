//! Statistics of decisions in SQL.
#![allow(unused_variables, clippy::unimplemented, reason = "being written")]

use async_trait::async_trait;

use super::SqlStore;
use crate::{audit::Act, clock::Timestamp, id::*, store::*, tenant::Tenant};

#[async_trait]
impl UsageStore for SqlStore {
    async fn add_usage(&self, usage: Usage, denials: Vec<Act>) -> Result<(), StoreError> {
        unimplemented!()
    }
    async fn decision_counts(&self, organization: OrgId, since_day: i64) -> Result<Vec<DecisionCount>, StoreError> {
        unimplemented!()
    }
    async fn idle_members(
        &self,
        organization: OrgId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<IdleMember>, StoreError> {
        unimplemented!()
    }
}
