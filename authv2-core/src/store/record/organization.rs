//! Organizations, their stores, and writes under an organization's revision.

use crate::{
    clock::Timestamp,
    id::{OrgId, StoreId, UserId},
    store::{MfaDemand, NewRole, RoleNames},
};

/// An organization as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OrganizationRecord {
    /// Its id.
    #[sqlx(rename = "org_id")]
    pub id: OrgId,
    /// Its name in URLs: unique.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// The IANA time zone in which its conditions tell the time.
    pub time_zone: String,
    /// Counts the writes of roles, members and keys: every one raises it, under a lock of this row.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who in it needs a second factor.
    #[sqlx(try_from = "String")]
    pub mfa: MfaDemand,
    /// The roles that need one, where it depends on them.
    #[sqlx(try_from = "String")]
    pub mfa_roles: RoleNames,
}

/// A store of an organization, as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoreRecord {
    /// Its id.
    #[sqlx(rename = "store_id")]
    pub id: StoreId,
    /// Whose it is.
    #[sqlx(rename = "org_id")]
    pub organization: OrgId,
    /// Its name in URLs: unique in the organization.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How a request names an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrganizationName {
    /// By id.
    Id(OrgId),
    /// By slug.
    Slug(String),
}

/// An organization to found: it comes with its built-in roles and its first owner.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    /// Its id.
    pub id: OrgId,
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its time zone.
    pub time_zone: String,
    /// The roles that every organization has.
    pub roles: Vec<NewRole>,
    /// Its first member.
    pub owner: UserId,
    /// The role among `roles` that this member gets, at the organization.
    pub owner_role: crate::id::RoleId,
}

/// A store to open.
#[derive(Debug, Clone)]
pub struct NewStore {
    /// Its id.
    pub id: StoreId,
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// What is to change of an organization; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct OrganizationChange {
    /// A new name.
    pub name: Option<String>,
    /// A new time zone.
    pub time_zone: Option<String>,
    /// Who needs a second factor from now on, and the roles that do where it depends on them.
    pub mfa: Option<(MfaDemand, Vec<String>)>,
}

/// What became of an attempt to take a slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<T> {
    /// It was made.
    New(T),
    /// The slug belongs to another one; nothing was made.
    SlugTaken,
    /// The organization has gone, or the user.
    Missing,
}

/// An organization as somebody read it. A write that was decided on that reading goes through only while the
/// organization still has this revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AtRevision {
    /// Which.
    pub organization: OrgId,
    /// The revision that was read, before anything else was.
    pub revision: i64,
}

/// What became of a write that was decided at some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revised<T> {
    /// Done; the organization's revision from now on.
    Done {
        /// The new revision.
        revision: i64,
        /// What was written.
        value: T,
    },
    /// The organization has changed since it was read: read it again and decide again.
    Stale,
    /// There is no such organization, or what was to be written about has gone.
    Missing,
}
