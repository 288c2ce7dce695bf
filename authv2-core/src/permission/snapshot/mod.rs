//! The roles of an organization, compiled: immutable, shared, decided on in nanoseconds.

mod atoms;
mod decision;
mod explanation;
mod grants;
mod hierarchy;
mod reach;
mod rights;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::fast::RandomState;
use jiff::tz::TimeZone;

pub use self::rights::Rights;
pub(crate) use self::{
    atoms::Atom,
    decision::{Judged, is_at_least, with_second_factor},
    grants::GrantId,
};
use self::{
    atoms::Atoms,
    grants::{Class, Grants},
    hierarchy::{Held, Hierarchy, Place},
    reach::Reach,
};
use super::{
    definition::{Effect, Grant},
    model::Model,
    name::Pattern,
    role::Role,
};
use crate::{id::StoreId, mfa::MfaPolicy, store::Assignment};

/// A compiled model.
///
/// Every permission that some grant names, every resource and the rest of all are an atom; a question is about exactly
/// one of them. For each atom the snapshot has the set of roles that allow it, inheritance and wildcards included, and
/// three more: those that deny it, and those that allow or deny it under a condition. A member's [`Rights`] are the
/// roles it holds. So a decision is one look-up by name and a few words of two sets compared; it costs the same for
/// any number of members, roles and grants, and for a yes as for a no.
pub struct Snapshot {
    /// Tells snapshots apart, so that nobody's rights are taken for those of another one.
    number: u64,
    model: Model,
    stores: HashSet<StoreId, RandomState>,
    time_zone: TimeZone,
    hierarchy: Hierarchy,
    atoms: Atoms,
    grants: Grants,
    reach: Reach,
}

impl Snapshot {
    /// Compiles a model. A stored condition that does not compile never grants, and always denies. A time zone that is
    /// not known counts as UTC.
    #[must_use]
    pub fn compile(model: Model) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (hierarchy, heirs) = Hierarchy::new(&model);
        let mut atoms = Atoms::new();
        let grants = Grants::new(&model, &hierarchy, &mut atoms);
        let reach = Reach::new(&atoms, &grants, &heirs, hierarchy.size());
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            stores: model.stores.iter().map(|(store, _)| *store).collect(),
            time_zone: TimeZone::get(&model.time_zone).unwrap_or(TimeZone::UTC),
            model,
            hierarchy,
            atoms,
            grants,
            reach,
        }
    }

    /// The model it was compiled from.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What a member with these roles may do. Roles that are not in the snapshot give nothing.
    #[must_use]
    pub fn rights(&self, assignments: &[Assignment]) -> Rights {
        Rights::new(self.number, &self.hierarchy, assignments, self.wants_mfa(assignments))
    }

    /// Whether the policy wants a second factor of a member with these roles, wherever it holds them.
    fn wants_mfa(&self, assignments: &[Assignment]) -> bool {
        match &self.model.mfa {
            MfaPolicy::Optional => false,
            MfaPolicy::Required => true,
            MfaPolicy::Roles(names) => assignments
                .iter()
                .any(|held| self.model.closure(held.role).iter().any(|role| names.contains(&role.name))),
        }
    }

    /// The names of the roles, in order, that reach a store, or the organization: as they were assigned, without what
    /// they inherit.
    #[must_use]
    pub fn roles(&self, rights: &Rights, store: Option<StoreId>) -> Vec<&str> {
        self.held(rights, store).map_or_else(Vec::new, |held| self.names(held))
    }

    /// The patterns, sorted, that a member is granted at a store, or at the organization, be it under a condition;
    /// without those that it is denied as a whole and under no condition. What is denied in part stands there: a
    /// summary for people and user interfaces, not to decide by.
    #[must_use]
    pub fn permissions(&self, rights: &Rights, store: Option<StoreId>) -> Vec<String> {
        let Some(held) = self.held(rights, store) else { return Vec::new() };
        let ancestors = self.hierarchy.ancestors(held);
        let grants = || {
            (0..self.hierarchy.size())
                .filter(|role| hierarchy::contains(&ancestors, *role))
                .filter_map(|role| self.role(role))
                .flat_map(|role| &role.grants)
        };
        let denied: HashSet<&Pattern, RandomState> = grants()
            .filter(|grant| grant.effect == Effect::Deny && grant.when.is_none())
            .map(|grant| &grant.permission)
            .collect();
        let is_denied = |pattern: &Pattern| {
            denied.contains(&Pattern::All)
                || denied.contains(pattern)
                || matches!(pattern, Pattern::One(one) if denied.contains(&Pattern::Resource(one.resource().to_owned())))
        };
        let allowed: BTreeSet<String> = grants()
            .filter(|grant| grant.effect == Effect::Allow && !is_denied(&grant.permission))
            .map(|grant| grant.permission.to_string())
            .collect();
        allowed.into_iter().collect()
    }

    /// The actions of a resource, sorted, that any grant of the organization names.
    #[must_use]
    pub fn actions(&self, resource: &str) -> Vec<&str> {
        let named =
            self.model.roles().iter().flat_map(|role| &role.grants).filter_map(|grant| match &grant.permission {
                Pattern::One(permission) if permission.resource() == resource => Some(permission.action()),
                _ => None,
            });
        named.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// About how many bytes it takes, its model included.
    #[must_use]
    pub fn weight(&self) -> usize {
        let role = |role: &Role| {
            let grants: usize = role.grants.iter().map(grant_bytes).sum();
            // Its name is there four times: in the role, and in three indexes.
            size_of::<Role>() + 4 * (role.name.len() + size_of::<String>()) + role.inherits.len() * 48 + grants
        };
        size_of::<Self>()
            + self.model.roles().iter().map(role).sum::<usize>()
            + self.model.stores.iter().map(|(_, slug)| 2 * size_of::<(StoreId, String)>() + slug.len()).sum::<usize>()
            + self.hierarchy.bytes()
            + self.atoms.bytes()
            + self.grants.bytes()
            + self.reach.bytes()
    }

    /// The pattern whose rest an atom is, or the permission, as text: what statistics call it.
    pub(crate) fn name(&self, atom: Atom) -> &str {
        self.atoms.name(atom)
    }

    /// A grant and the name of its role.
    pub(crate) fn grant(&self, id: GrantId) -> Option<(&str, &Grant)> {
        let role = self.role(id.role)?;
        Some((&role.name, role.grants.get(id.place as usize)?))
    }

    /// The roles that reach a place; none where it is not of this organization, or the rights are not of this snapshot.
    #[inline]
    fn held<'r>(&self, rights: &'r Rights, store: Option<StoreId>) -> Option<&'r Held> {
        let known = rights.snapshot == self.number && store.is_none_or(|store| self.stores.contains(&store));
        known.then(|| rights.at(store))
    }

    fn role(&self, role: Place) -> Option<&Role> {
        grants::role_at(&self.model, &self.hierarchy, role)
    }

    fn names(&self, held: &Held) -> Vec<&str> {
        held.roles().filter_map(|role| self.role(role)).map(|role| role.name.as_str()).collect()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("organization", &self.model.organization)
            .field("revision", &self.model.revision)
            .finish_non_exhaustive()
    }
}

fn grant_bytes(grant: &Grant) -> usize {
    let pattern = match &grant.permission {
        Pattern::All => 0,
        Pattern::Resource(resource) => resource.len(),
        Pattern::One(permission) => permission.as_str().len(),
    };
    size_of::<Grant>() + pattern + grant.when.as_ref().map_or(0, String::len) + 16
}
