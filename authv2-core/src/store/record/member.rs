//! Members of an organization and the roles assigned to them.

use super::stored_as_text;
use crate::{
    clock::Timestamp,
    id::{MemberId, RoleId, StoreId, UserId},
    store::StoreError,
};

/// What kind of member it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A person or other account that signs in.
    User,
    /// A non-human member that owns API keys and outlives whoever made it.
    ServiceAccount,
}

/// A role held: at the organization, which reaches its stores, or at one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::FromRow)]
pub struct Assignment {
    /// Which role.
    #[sqlx(rename = "role_id")]
    pub role: RoleId,
    /// The store it is held at, if not at the organization.
    #[sqlx(rename = "store_id")]
    pub store: Option<StoreId>,
}

/// A member as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its id.
    pub id: MemberId,
    /// What kind.
    pub kind: MemberKind,
    /// The account, where it is a user's: id, e-mail and display name.
    pub user: Option<MemberUser>,
    /// The name, where it is a service account.
    pub name: Option<String>,
    /// When it joined.
    pub joined_at: Timestamp,
    /// The roles it holds, in the order of [`Assignment`].
    pub roles: Vec<Assignment>,
}

/// The account behind a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberUser {
    /// Its id.
    pub id: UserId,
    /// Its e-mail.
    pub email: String,
    /// What to call it.
    pub display_name: Option<String>,
}

/// A member to add.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// Its id: the user's for users.
    pub id: MemberId,
    /// The account, where it is a user's.
    pub user: Option<UserId>,
    /// The name, where it is a service account.
    pub name: Option<String>,
    /// The roles it gets.
    pub roles: Vec<Assignment>,
}

/// What became of an attempt to add a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It was added.
    New(MemberRecord),
    /// It belongs to the organization already; nothing was written.
    Already,
}

/// A member's rights as the store has them: what a decision about it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRecord {
    /// The organization's revision at the time of reading.
    pub revision: i64,
    /// The roles it holds, in the order of [`Assignment`].
    pub roles: Vec<Assignment>,
}

/// A member with all its roles, as seen by who edits one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub member: MemberId,
    /// Whether it is a user whose account is active.
    pub is_active_user: bool,
    /// All the roles it holds, in the order of [`Assignment`].
    pub roles: Vec<Assignment>,
}

/// Which members to list: one kind, oldest first, after the one given.
#[derive(Debug, Clone, Copy)]
pub struct MemberPage {
    /// The kind.
    pub kind: MemberKind,
    /// The last one of the page before.
    pub after: Option<(Timestamp, MemberId)>,
    /// The most to list.
    pub limit: u32,
}

stored_as_text!(MemberKind { User = "user", ServiceAccount = "service_account" });
