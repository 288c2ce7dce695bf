//! Statistics of decisions: written behind, never a fact.

use crate::{
    clock::Timestamp,
    id::{MemberId, OrgId},
};

/// How often a grant decided, on one day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::FromRow)]
pub struct DecisionCount {
    /// The organization.
    #[sqlx(rename = "org_id")]
    pub organization: OrgId,
    /// The day: whole days since the epoch, in UTC.
    pub day: i64,
    /// The permission asked for, as the roles name it: `orders:read`, or `orders:*` or `*` for one that none names.
    pub permission: String,
    /// The role whose grant decided; empty where none did.
    pub role: String,
    /// The grant that decided; empty where none did.
    pub granted: String,
    /// `allowed`, `denied` or `step_up`.
    pub outcome: String,
    /// How often.
    pub count: i64,
}

/// When a member last used any right of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct MemberUse {
    /// The organization.
    #[sqlx(rename = "org_id")]
    pub organization: OrgId,
    /// The member.
    #[sqlx(rename = "member_id")]
    pub member: MemberId,
    /// When.
    pub used_at: Timestamp,
}

/// What was counted since the last time.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Decisions, one row for each combination.
    pub decisions: Vec<DecisionCount>,
    /// Members that used a right.
    pub members: Vec<MemberUse>,
}

/// A member that holds roles and has not used any right lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct IdleMember {
    /// The member.
    #[sqlx(rename = "member_id")]
    pub member: MemberId,
    /// When it last used a right, as far as known.
    pub used_at: Option<Timestamp>,
}
