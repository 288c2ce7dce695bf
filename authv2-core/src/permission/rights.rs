//! Who may change whose rights: nobody hands out, or frees, what it does not hold itself.
#![allow(unused_variables, dead_code, clippy::unimplemented, reason = "being written")]

use super::{model::Model, name::Pattern};
use crate::{
    id::StoreId,
    store::{Assignment, Holder},
};

/// A change of rights that its author may not make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It enlarges somebody's rights by what the author does not hold.
    #[error("needs `{pattern}` itself")]
    Escalation {
        /// What the author lacks.
        pattern: Pattern,
        /// Where: at the organization if none.
        store: Option<StoreId>,
    },
    /// It narrows the rights of an owner, and the author is none.
    #[error("only an owner may narrow an owner")]
    NotAnOwner,
    /// Nobody would be left who may do everything.
    #[error("an organization needs an owner")]
    LastOwner,
}

/// The rights of whoever makes a change.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The roles it holds.
    pub roles: &'a [Assignment],
    /// The store that its credential is bound to, if it is.
    pub bound_to: Option<StoreId>,
}

/// Judges a change of one member's roles (joining and leaving are changes from and to none).
///
/// `owners` are all holders of the built-in owner role, the member itself perhaps among them, as they are before.
///
/// # Errors
/// [`Refusal`].
pub fn judge_assignment(
    model: &Model,
    author: Author<'_>,
    before: &[Assignment],
    after: &[Assignment],
) -> Result<(), Refusal> {
    unimplemented!()
}

/// Judges a change of the roles themselves: `before` and `after` are the models around it, `changed` the name of the
/// role written, `holders` all who hold it or a role that inherits it.
///
/// # Errors
/// [`Refusal`].
pub fn judge_role(
    before: &Model,
    after: &Model,
    changed: &str,
    author: Author<'_>,
    holders: &[Holder],
) -> Result<(), Refusal> {
    unimplemented!()
}

/// Whether somebody among `holders` may do everything in the organization, whatever happens: an active user with an
/// unconditional `*` at the organization and under no deny anywhere.
#[must_use]
pub fn has_owner(model: &Model, holders: &[Holder]) -> bool {
    unimplemented!()
}

/// Whether these roles make an owner: the built-in role, held at the organization, itself or by inheritance.
#[must_use]
pub fn is_owner(model: &Model, roles: &[Assignment]) -> bool {
    unimplemented!()
}
