//! The permission service: compiled organizations and members' rights, at hand and kept right by the change feed.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    access::{Access, Holder},
    cache::{Caches, Member, Organization},
    named_roles::NamedRoles,
    revision::Tokens,
    snapshot::Snapshot,
    tally::{Probe, Tally},
};
use crate::{
    changes::Feed,
    clock::Clock,
    config::PermissionConfig,
    id::{MemberId, OrgId},
    store::{OrganizationName, SharedStore, StoreError, cached::Missing, shared::SharedCache},
    telemetry,
};

/// How long a request waits for the revision that its token names.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(1);
const CATCH_UP_EVERY: Duration = Duration::from_millis(20);

/// How often an organization and a member are read again because one of them changed while the other was read.
const READINGS_MAX: usize = 16;

/// Decisions and what they are made from. A cheap clone.
#[derive(Clone)]
pub struct PermissionService(Arc<Inner>);

struct Inner {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    config: PermissionConfig,
    caches: Arc<Caches>,
    tally: Arc<Tally>,
    tokens: Tokens,
    feed: Feed,
}

impl PermissionService {
    /// Serves decisions from `store`, kept right by `feed`. `key` authenticates consistency tokens.
    pub(crate) fn new(
        store: SharedStore,
        shared: SharedCache,
        feed: &Feed,
        clock: Arc<dyn Clock>,
        config: PermissionConfig,
        key: &[u8; 32],
    ) -> Self {
        let caches = Caches::new(Arc::clone(&store), shared, feed.clone(), Arc::clone(&clock), config.cache_bytes);
        let caches = Arc::new(caches);
        feed.listen(Arc::clone(&caches) as _);
        let tally = Arc::new(Tally::new(config.audit_denials_per_minute));
        Self(Arc::new(Inner { store, clock, config, caches, tally, tokens: Tokens::new(key), feed: feed.clone() }))
    }

    /// The organization's roles, compiled; `None` if there is no such organization.
    ///
    /// # Errors
    /// The store's.
    pub async fn snapshot(&self, organization: OrgId) -> Result<Option<Arc<Snapshot>>, StoreError> {
        let Inner { caches, feed, .. } = &*self.0;
        if feed.is_stale() {
            caches.forget(organization);
        }
        let found = present(caches.organization(organization).await)?;
        Ok(found.map(|organization| Arc::clone(&organization.snapshot)))
    }

    /// What a member may do; `None` if it is no member. Waits for nothing once it is at hand.
    ///
    /// Roles and assignments always go together as they were at some moment after this was called, or after the
    /// revision that was last [caught up](Self::catch_up) with: never the roles of one moment with the assignments of
    /// another.
    ///
    /// # Errors
    /// The store's: an outage is not a denial.
    pub async fn access(&self, organization: OrgId, member: MemberId) -> Result<Option<Access>, StoreError> {
        let Inner { caches, tally, feed, .. } = &*self.0;
        tally.visit();
        if feed.is_stale() {
            // What others changed meanwhile is not known: the store is asked, and if it cannot answer, nobody is.
            caches.forget(organization);
            caches.forget_any_member(organization, member);
        }
        let found = match caches.at_hand(organization, member) {
            Some(found) => Some(found),
            None => self.read(organization, member).await?,
        };
        Ok(found.map(|(organization, member, standing)| {
            Access::new(organization, Holder::Member(member), standing, Arc::clone(tally))
        }))
    }

    /// What somebody may do who is no member and has these roles at the organization; `None` if there is no such
    /// organization. Waits for nothing once it is at hand.
    ///
    /// # Errors
    /// The store's: an outage is not a denial.
    pub async fn access_by_roles(
        &self,
        organization: OrgId,
        roles: &Arc<NamedRoles>,
    ) -> Result<Option<Access>, StoreError> {
        let Inner { caches, tally, feed, .. } = &*self.0;
        tally.visit();
        if feed.is_stale() {
            caches.forget(organization);
        }
        let Some(within) = present(caches.organization(organization).await)? else { return Ok(None) };
        let standing = roles.standing(&within);
        Ok(Some(Access::new(within, Holder::Elsewhere(Arc::clone(roles)), standing, Arc::clone(tally))))
    }

    /// Brings together what is not at hand yet, or not in this constellation: the roles and the assignments must both
    /// hold at the later one of the revisions at which they were read.
    async fn read(&self, organization: OrgId, member: MemberId) -> Result<Option<Found>, StoreError> {
        let caches = &self.0.caches;
        for _ in 0..READINGS_MAX {
            let before = caches.followed(organization);
            let Some(within) = present(caches.organization(organization).await)? else { return Ok(None) };
            let found = caches.member(organization, member, before, within.revision()).await;
            let Some(member) = present(found)? else { return Ok(None) };
            // What is still at hand was kept right until now, anything else at least until before it was looked up.
            let now = within.followed.reach();
            let roles_until = if caches.is_at_hand(&within) { now } else { before }.extends(within.revision());
            let member_until = if caches.is_member_at_hand(&member) { now } else { before }.extends(member.revision);
            if member_until < within.revision() {
                caches.forget_member(&member);
            } else if roles_until < member.revision {
                caches.forget_organization(&within);
            } else {
                let standing = match member.standing_in(&within) {
                    Some(standing) => standing,
                    None => member.resolve(&within),
                };
                return Ok(Some((within, member, standing)));
            }
        }
        Err(StoreError::unavailable("the organization changes faster than it can be read"))
    }

    /// The consistency token of an organization's revision: opaque, authenticated.
    #[must_use]
    pub fn token(&self, organization: OrgId, revision: i64) -> String {
        self.0.tokens.write(organization, revision)
    }

    /// Makes sure that whatever is decided from now on, is decided on data at least as new as `token` says. Waits at
    /// most a second for it.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(&self, token: &str) -> Result<(), CatchUpError> {
        let (organization, revision) = self.0.tokens.read(token).ok_or(CatchUpError::Invalid)?;
        self.reach(organization, revision).await
    }

    /// As [`catch_up`](Self::catch_up), for a revision that is at hand.
    ///
    /// # Errors
    /// [`CatchUpError::NotYet`] or [`CatchUpError::Store`].
    pub(crate) async fn reach(&self, organization: OrgId, revision: i64) -> Result<(), CatchUpError> {
        let Inner { store, caches, .. } = &*self.0;
        if caches.has_reached(organization, revision) {
            return Ok(());
        }
        let end = Instant::now() + CATCH_UP_WITHIN;
        loop {
            let asked = timeout_at(end, store.organization(&OrganizationName::Id(organization))).await;
            let there = asked.map_err(|_| CatchUpError::NotYet)??;
            // One that has gone has nothing to wait for.
            if there.is_none_or(|there| there.revision >= revision) {
                // The next decision reads the roles anew, and after them the members that were read before.
                caches.forget(organization);
                return Ok(());
            }
            if Instant::now() + CATCH_UP_EVERY > end {
                return Err(CatchUpError::NotYet);
            }
            sleep(CATCH_UP_EVERY).await;
        }
    }

    /// Writes the statistics of decisions counted since the last time.
    ///
    /// # Errors
    /// The store's; what was counted is then kept for the next time, as far as there is room.
    pub async fn write_behind(&self) -> Result<(), StoreError> {
        let Inner { store, clock, caches, tally, .. } = &*self.0;
        let visits = tally.take_visits();
        for (name, read) in [
            (telemetry::ORGANIZATION_LOOKUPS, caches.organizations.take_read()),
            (telemetry::MEMBER_LOOKUPS, caches.members.take_read()),
        ] {
            telemetry::add(name, "outcome", "miss", read);
            telemetry::add(name, "outcome", "hit", visits.saturating_sub(read));
        }
        tally.take(clock.now()).write(&**store).await
    }

    /// From now on, `limit` denials of one user or key within `window` are a burst.
    pub(crate) fn watch_denials(&self, limit: u32, window: Duration) {
        self.0.tally.watch_denials(limit, window);
    }

    /// The bursts of denials on this node since the last time.
    pub(crate) fn take_bursts(&self) -> Vec<Probe> {
        self.0.tally.take_bursts()
    }

    pub(super) fn store(&self) -> &SharedStore {
        &self.0.store
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(super) fn config(&self) -> &PermissionConfig {
        &self.0.config
    }
}

type Found = (Arc<Organization>, Arc<Member>, Arc<super::cache::Standing>);

/// What was found, if it exists.
fn present<T>(found: Result<T, Missing>) -> Result<Option<T>, StoreError> {
    match found {
        Ok(there) => Ok(Some(there)),
        Err(Missing::Absent) => Ok(None),
        Err(Missing::Failed(error)) => Err(error),
    }
}

impl fmt::Debug for PermissionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermissionService").field("config", &self.0.config).finish_non_exhaustive()
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

#[cfg(all(test, feature = "sqlite"))]
pub(super) mod tests;
