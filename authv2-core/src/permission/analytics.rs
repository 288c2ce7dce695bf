//! How an organization's rights are used: what to look into, and what to take away.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use serde::Serialize;

use super::{model::Model, name::Pattern, service::PermissionService, tally::Outcome};
use crate::{
    clock::Timestamp,
    id::{MemberId, OrgId, RoleId},
    store::{DecisionCount, StoreError},
};

/// The most rows of each list.
const ROWS: usize = 100;
const DAY: Duration = Duration::from_secs(86_400);

/// How an organization's rights were used over the last days: `permissions.stale_after_days` of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Analytics {
    /// What was denied, the most often denied first; at most 100.
    pub most_denied: Vec<Denied>,
    /// Grants that decided nothing, by role; at most 100.
    pub never_used_grants: Vec<UnusedGrant>,
    /// Roles that nobody holds, be it through a role that inherits them; at most 100.
    pub empty_roles: Vec<String>,
    /// Members that hold roles and have used no right, the longest idle first; at most 100.
    pub stale_members: Vec<StaleMember>,
}

/// A permission that was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Denied {
    /// The permission as the organization's grants name it: `orders:*` or `*` for one that none names.
    pub permission: String,
    /// The role that denies it, where one does; otherwise no grant allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How often.
    pub count: i64,
}

/// A grant that decided nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
pub struct UnusedGrant {
    /// The role that has it.
    pub role: String,
    /// What it speaks of.
    #[schema(value_type = String)]
    pub permission: Pattern,
}

/// A member that has used no right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StaleMember {
    /// The member.
    #[schema(value_type = String, format = Uuid)]
    pub user_id: MemberId,
    /// When it last used one, if ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

impl PermissionService {
    /// How an organization's rights were used, up to now on this node and up to a few seconds ago on others; `None`
    /// if there is no such organization.
    ///
    /// # Errors
    /// The store's.
    pub async fn analytics(&self, organization: OrgId) -> Result<Option<Analytics>, StoreError> {
        if let Err(error) = self.write_behind().await {
            tracing::warn!(%error, "the latest statistics of decisions are missing from an answer");
        }
        let Some(snapshot) = self.snapshot(organization).await? else { return Ok(None) };
        let (store, now) = (self.store(), self.clock().now());
        let since = now - DAY * self.config().stale_after_days;
        let counts = store.decision_counts(organization, since.as_seconds().div_euclid(86_400)).await?;
        let held = store.held_roles(organization).await?;
        let idle = store.idle_members(organization, since, u32::try_from(ROWS).unwrap_or(u32::MAX)).await?;
        let stale = idle.into_iter().map(|idle| StaleMember { user_id: idle.member, last_used_at: idle.used_at });
        Ok(Some(Analytics {
            most_denied: most_denied(&counts),
            never_used_grants: never_used(snapshot.model(), &counts),
            empty_roles: empty_roles(snapshot.model(), &held),
            stale_members: stale.collect(),
        }))
    }
}

fn most_denied(counts: &[DecisionCount]) -> Vec<Denied> {
    let mut denied: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for row in counts.iter().filter(|row| row.outcome == Outcome::Denied.as_str()) {
        let sum = denied.entry((&row.permission, &row.role)).or_default();
        *sum = sum.saturating_add(row.count);
    }
    let mut denied: Vec<Denied> = denied
        .into_iter()
        .map(|((permission, role), count)| Denied {
            permission: permission.to_owned(),
            role: (!role.is_empty()).then(|| role.to_owned()),
            count,
        })
        .collect();
    // Stable: among equally many they stay in the order of their names.
    denied.sort_by_key(|denied| Reverse(denied.count));
    denied.truncate(ROWS);
    denied
}

fn never_used(model: &Model, counts: &[DecisionCount]) -> Vec<UnusedGrant> {
    let used: HashSet<(&str, &str)> = counts.iter().map(|row| (row.role.as_str(), row.granted.as_str())).collect();
    let unused: BTreeSet<UnusedGrant> = model
        .roles()
        .iter()
        .flat_map(|role| role.grants.iter().map(|grant| (role.name.as_str(), &grant.permission)))
        .filter(|(role, pattern)| !used.contains(&(*role, pattern.to_string().as_str())))
        .map(|(role, pattern)| UnusedGrant { role: role.to_owned(), permission: pattern.clone() })
        .collect();
    unused.into_iter().take(ROWS).collect()
}

fn empty_roles(model: &Model, held: &[RoleId]) -> Vec<String> {
    let held: HashSet<RoleId> = held.iter().flat_map(|role| model.closure(*role)).map(|role| role.id).collect();
    let empty = model.roles().iter().filter(|role| !held.contains(&role.id)).map(|role| role.name.clone());
    let empty: BTreeSet<String> = empty.collect();
    empty.into_iter().take(ROWS).collect()
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::{
        clock::Clock as _,
        permission::service::tests::world::{World, role},
    };

    #[tokio::test]
    async fn tells_what_is_denied_unused_empty_and_stale() {
        let world = World::new().await;
        let base = role("base", &["orders:read", "orders:list"]);
        let mut clerk = role("clerk", &["invoices:*", "!invoices:void"]);
        clerk.inherits = vec!["base".to_owned()];
        for role in [&base, &clerk, &role("spare", &["spare:use"])] {
            world.put_role(role).await;
        }
        let stale = world.join("stale", &[&clerk]).await;
        world.clock.advance(DAY * 100);
        let member = world.join("member", &[&clerk]).await;
        for permission in ["orders:read", "invoices:void", "invoices:void", "a:b", "orders:refund"] {
            world.decide(member, permission).await;
        }
        world.decide(world.owner, "orders:read").await;

        let analytics = world.node.analytics(world.organization).await.unwrap().unwrap();
        let denied = |permission: &str, role: Option<&str>, count| Denied {
            permission: permission.to_owned(),
            role: role.map(str::to_owned),
            count,
        };
        let expected = [denied("invoices:void", Some("clerk"), 2), denied("*", None, 1), denied("orders:*", None, 1)];
        assert_eq!(analytics.most_denied, expected);
        let unused: Vec<_> = analytics
            .never_used_grants
            .iter()
            .filter(|unused| unused.role != "admin")
            .map(|unused| format!("{} {}", unused.role, unused.permission))
            .collect();
        assert_eq!(unused, ["base orders:list", "clerk invoices:*", "spare spare:use"]);
        assert_eq!(analytics.empty_roles, ["admin", "member", "spare"], "base is held through clerk");
        assert_eq!(analytics.stale_members, [StaleMember { user_id: stale, last_used_at: None }]);

        world.decide(stale, "orders:read").await;
        world.clock.advance(DAY * 91);
        let later = world.node.analytics(world.organization).await.unwrap().unwrap();
        assert!(later.most_denied.is_empty(), "that was before the days it looks at");
        let used_at = Some(world.clock.now() - DAY * 91);
        assert!(later.stale_members.iter().all(|member| member.last_used_at == used_at));
        assert_eq!(later.stale_members.len(), 3);
        assert_eq!(world.node.analytics(OrgId::new()).await.unwrap(), None);
    }

    #[test]
    fn lists_are_bounded_and_in_one_order() {
        let count = |index: i64| DecisionCount {
            organization: OrgId::new(),
            day: 0,
            permission: format!("orders:act-{index:03}"),
            role: String::new(),
            granted: String::new(),
            outcome: "denied".to_owned(),
            count: index % 3,
        };
        let denied = most_denied(&(0..300).rev().map(count).collect::<Vec<_>>());
        assert_eq!(denied.len(), ROWS);
        assert!(denied.is_sorted_by_key(|denied| (Reverse(denied.count), denied.permission.clone())));
        assert_eq!((denied[0].count, denied[0].permission.as_str()), (2, "orders:act-002"));
    }
}
