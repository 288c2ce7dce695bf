//! The permission service: compiled organizations and members' rights, at hand and kept right by the change feed.
#![allow(
    unused_variables,
    dead_code,
    clippy::unimplemented,
    clippy::unused_async,
    clippy::unused_self,
    reason = "being written"
)]

use std::sync::Arc;

use super::{access::Access, snapshot::Snapshot};
use crate::{
    changes::Feed,
    clock::Clock,
    id::{MemberId, OrgId},
    store::{SharedStore, StoreError},
};

/// Decisions and what they are made from. A cheap clone.
#[derive(Debug, Clone)]
pub struct PermissionService(());

impl PermissionService {
    /// Serves decisions from `store`, kept right by `feed`. `key` authenticates consistency tokens.
    pub(crate) fn new(store: SharedStore, feed: &Feed, clock: Arc<dyn Clock>, key: &[u8; 32]) -> Self {
        unimplemented!()
    }

    /// The organization's roles, compiled; `None` if there is no such organization.
    ///
    /// # Errors
    /// The store's.
    pub async fn snapshot(&self, organization: OrgId) -> Result<Option<Arc<Snapshot>>, StoreError> {
        unimplemented!()
    }

    /// What a member may do; `None` if it is no member. Waits for nothing once it is at hand.
    ///
    /// # Errors
    /// The store's: an outage is not a denial.
    pub async fn access(&self, organization: OrgId, member: MemberId) -> Result<Option<Access>, StoreError> {
        unimplemented!()
    }

    /// The consistency token of an organization's revision: opaque, authenticated.
    #[must_use]
    pub fn token(&self, organization: OrgId, revision: i64) -> String {
        unimplemented!()
    }

    /// Makes sure that whatever is decided from now on, is decided on data at least as new as `token` says.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(&self, token: &str) -> Result<(), CatchUpError> {
        unimplemented!()
    }

    /// Writes the statistics of decisions counted since the last time.
    ///
    /// # Errors
    /// The store's; what was counted is then kept for the next time, as far as there is room.
    pub async fn write_behind(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}

/// Why a consistency token could not be honoured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError {
    /// It is none of ours.
    #[error("not a revision of this deployment")]
    Invalid,
    /// The data is not there yet.
    #[error("the revision has not arrived here yet")]
    NotYet,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
