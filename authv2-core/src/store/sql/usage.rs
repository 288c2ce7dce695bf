//! Statistics of decisions in SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read_within, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    audit::Act,
    clock::Timestamp,
    id::{OrgId, RoleId},
    store::{DecisionCount, IdleMember, MemberUse, StoreError, Usage, UsageStore},
};

const ADD: &str = "INSERT INTO decision_counts (org_id, day, permission, role, granted, outcome, count)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (org_id, day, permission, role, granted, outcome)
    DO UPDATE SET count = decision_counts.count + excluded.count";

const USED: &str = "UPDATE members SET used_at = $3
    WHERE org_id = $1 AND member_id = $2 AND (used_at IS NULL OR used_at < $3)";

/// PostgreSQL's sum is wider than what it sums.
const COUNTS: &str = "SELECT org_id, MIN(day) AS day, permission, role, granted, outcome,
        CAST(SUM(count) AS BIGINT) AS count
    FROM decision_counts
    WHERE org_id = $1 AND day >= $2
    GROUP BY org_id, permission, role, granted, outcome
    ORDER BY permission, role, granted, outcome";

const HELD: &str = "SELECT role_id FROM roles
    WHERE org_id = $1
      AND EXISTS (SELECT 1 FROM role_assignments held
        WHERE held.org_id = roles.org_id AND held.role_id = roles.role_id)
    ORDER BY role_id";

const IDLE: &str = "SELECT member_id, used_at FROM members
    WHERE org_id = $1 AND joined_at <= $2 AND (used_at IS NULL OR used_at < $2)
      AND EXISTS (SELECT 1 FROM role_assignments held
        WHERE held.org_id = members.org_id AND held.member_id = members.member_id)
    ORDER BY COALESCE(used_at, joined_at), member_id
    LIMIT $3";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[USED, COUNTS, HELD, IDLE];

/// What was counted in one organization.
#[derive(Default)]
struct OfOrganization {
    decisions: Vec<DecisionCount>,
    members: Vec<MemberUse>,
}

#[async_trait]
impl UsageStore for SqlStore {
    async fn add_usage(&self, usage: Usage, denials: Vec<Act>) -> Result<(), StoreError> {
        if usage.decisions.is_empty() && usage.members.is_empty() && denials.is_empty() {
            return Ok(());
        }
        let organizations = sorted(usage);
        self.write(move |tx| {
            Box::pin(async move {
                for (organization, usage) in &organizations {
                    tx.add_usage_of(*organization, usage).await?;
                }
                for denial in &denials {
                    tx.record(denial).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn decision_counts(&self, organization: OrgId, since_day: i64) -> Result<Vec<DecisionCount>, StoreError> {
        read_within!(self, Scope::Organization(organization), conn =>
            sqlx::query_as(COUNTS).bind(organization).bind(since_day).fetch_all(conn))
    }

    async fn held_roles(&self, organization: OrgId) -> Result<Vec<RoleId>, StoreError> {
        let rows: Vec<(RoleId,)> = read_within!(self, Scope::Organization(organization), conn =>
            sqlx::query_as(HELD).bind(organization).fetch_all(conn))?;
        Ok(rows.into_iter().map(|(role,)| role).collect())
    }

    async fn idle_members(
        &self,
        organization: OrgId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<IdleMember>, StoreError> {
        read_within!(self, Scope::Organization(organization), conn =>
            sqlx::query_as(IDLE).bind(organization).bind(before).bind(i64::from(limit)).fetch_all(conn))
    }
}

/// By organization, and in one order within each, so that two nodes that write at the same time lock the same rows one
/// after the other.
fn sorted(usage: Usage) -> BTreeMap<OrgId, OfOrganization> {
    let mut organizations = BTreeMap::<OrgId, OfOrganization>::new();
    for decision in usage.decisions {
        organizations.entry(decision.organization).or_default().decisions.push(decision);
    }
    for member in usage.members {
        organizations.entry(member.organization).or_default().members.push(member);
    }
    for of in organizations.values_mut() {
        of.decisions.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        of.members.sort_unstable_by_key(|used| used.member);
    }
    organizations
}

fn key(count: &DecisionCount) -> (i64, &str, &str, &str, &str) {
    (count.day, &count.permission, &count.role, &count.granted, &count.outcome)
}

impl Tx {
    async fn add_usage_of(&mut self, organization: OrgId, usage: &OfOrganization) -> Result<(), StoreError> {
        self.enter(Scope::Organization(organization)).await?;
        let sql = self.texts().keep_organization;
        let kept: Option<(OrgId,)> =
            within!(self, conn => sqlx::query_as(sql).bind(organization).fetch_optional(conn))?;
        if kept.is_none() {
            return Ok(());
        }
        for count in &usage.decisions {
            execute!(
                self,
                sqlx::query(ADD)
                    .bind(organization)
                    .bind(count.day)
                    .bind(&count.permission)
                    .bind(&count.role)
                    .bind(&count.granted)
                    .bind(&count.outcome)
                    .bind(count.count)
            )?;
        }
        for used in &usage.members {
            execute!(self, sqlx::query(USED).bind(organization).bind(used.member).bind(used.used_at))?;
        }
        Ok(())
    }
}
