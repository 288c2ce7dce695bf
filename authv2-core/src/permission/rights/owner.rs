//! Owners: who may do everything in an organization.

use std::collections::{BTreeSet, HashMap};

use crate::{
    id::RoleId,
    permission::{definition::Effect, model::Model, role::OWNER},
    store::{Assignment, Holder},
};

/// Whether these roles make an owner: the built-in role, held at the organization, itself or by inheritance.
#[must_use]
pub fn is_owner(model: &Model, roles: &[Assignment]) -> bool {
    Owners::of(model).has(roles)
}

/// Whether somebody among `holders` may do everything in the organization, whatever happens: an owner that is an
/// active user, and that nothing is denied anywhere, be it under a condition.
#[must_use]
pub fn has_owner(model: &Model, holders: &[Holder]) -> bool {
    let owners = Owners::of(model);
    let mut denying: HashMap<RoleId, bool> = HashMap::new();
    let mut denies = |role: RoleId| {
        *denying.entry(role).or_insert_with(|| {
            model.closure(role).iter().any(|role| role.grants.iter().any(|grant| grant.effect == Effect::Deny))
        })
    };
    holders.iter().any(|holder| {
        holder.is_active_user && owners.has(&holder.roles) && !holder.roles.iter().any(|held| denies(held.role))
    })
}

/// The roles that make an owner.
pub(super) struct Owners(BTreeSet<RoleId>);

impl Owners {
    pub(super) fn of(model: &Model) -> Self {
        Self(heirs_of(model, OWNER))
    }

    pub(super) fn has(&self, roles: &[Assignment]) -> bool {
        roles.iter().any(|held| held.store.is_none() && self.0.contains(&held.role))
    }
}

/// A role and all that inherit it, over any number of steps.
pub(super) fn heirs_of(model: &Model, name: &str) -> BTreeSet<RoleId> {
    let mut found: BTreeSet<RoleId> = model.role(name).map(|role| role.id).into_iter().collect();
    let mut next: Vec<&str> = vec![name];
    while let Some(name) = next.pop() {
        for heir in model.heirs(name) {
            if found.insert(heir.id) {
                next.push(&heir.name);
            }
        }
    }
    found
}
