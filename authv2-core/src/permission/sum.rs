//! What a set of roles adds up to, in terms that two sets can be compared in without evaluating a condition.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    definition::{Effect, StepUp},
    model::Model,
    name::{Pattern, Permission},
};
use crate::{
    id::{RoleId, StoreId},
    store::Assignment,
};

/// Permissions that the grants looked at cannot tell apart: one that is named, or what no narrower name covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Atom<'m> {
    /// Whatever has no name.
    Rest,
    /// Whatever has no name of its own in a resource.
    RestOf(&'m str),
    /// A permission.
    One(&'m Permission),
}

impl<'m> Atom<'m> {
    pub(super) fn of(pattern: &'m Pattern) -> Self {
        match pattern {
            Pattern::All => Self::Rest,
            Pattern::Resource(resource) => Self::RestOf(resource),
            Pattern::One(permission) => Self::One(permission),
        }
    }

    pub(super) fn pattern(self) -> Pattern {
        match self {
            Self::Rest => Pattern::All,
            Self::RestOf(resource) => Pattern::Resource(resource.to_owned()),
            Self::One(permission) => Pattern::One(permission.clone()),
        }
    }

    /// Whether all of it is among what a pattern speaks of.
    fn is_in(self, pattern: &Pattern) -> bool {
        match (self, pattern) {
            (_, Pattern::All) => true,
            (Self::RestOf(resource), Pattern::Resource(whole)) => resource == whole,
            (Self::One(permission), _) => pattern.matches(permission),
            (Self::Rest, _) | (Self::RestOf(_), Pattern::One(_)) => false,
        }
    }

    /// Whether all of it is among what these patterns speak of.
    pub(super) fn is_among(self, patterns: &[Pattern]) -> bool {
        patterns.iter().any(|pattern| self.is_in(pattern))
    }

    /// What the next wider grant is written for.
    fn wider(self) -> Option<Self> {
        match self {
            Self::Rest => None,
            Self::RestOf(_) => Some(Self::Rest),
            Self::One(permission) => Some(Self::RestOf(permission.resource())),
        }
    }
}

impl Pattern {
    /// Whether it speaks of all that `other` does.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        Atom::of(other).is_in(self)
    }
}

/// What an allow waits for. Terms are the same when they are written the same: what a condition means is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term<'m> {
    when: Option<&'m str>,
    step_up: Option<&'m StepUp>,
}

impl Term<'_> {
    /// It waits for nothing.
    const ALWAYS: Self = Self { when: None, step_up: None };
}

/// The allows and denies that meet at an atom. In its normal form an allow or deny that waits for nothing stands
/// alone, and where nothing is ever allowed there is nothing at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Terms<'m> {
    allows: BTreeSet<Term<'m>>,
    denies: BTreeSet<Option<&'m str>>,
}

impl<'m> Terms<'m> {
    fn normal(mut self) -> Self {
        if self.denies.contains(&None) || self.allows.is_empty() {
            return Self::default();
        }
        if self.allows.contains(&Term::ALWAYS) {
            self.allows = BTreeSet::from([Term::ALWAYS]);
        }
        self
    }

    /// Whether whoever has this may give `term` to somebody who is under `denies` already.
    fn covers(&self, term: &Term<'m>, denies: &BTreeSet<Option<&'m str>>) -> bool {
        (self.allows.contains(&Term::ALWAYS) || self.allows.contains(term)) && self.denies.is_subset(denies)
    }
}

/// What a set of roles adds up to in one place.
#[derive(Debug, Clone)]
pub(super) struct Sum<'m> {
    assigned: BTreeSet<RoleId>,
    grants: BTreeMap<Atom<'m>, Terms<'m>>,
    may_do_everything: bool,
    /// What of all that counts, if not all of it.
    scopes: Option<&'m [Pattern]>,
}

/// The roles that reach a place: those held at the organization, and those held at the store.
pub(super) fn roles_at(assignments: &[Assignment], place: Option<StoreId>) -> BTreeSet<RoleId> {
    let reaches = |held: &&Assignment| held.store.is_none() || held.store == place;
    assignments.iter().filter(reaches).map(|held| held.role).collect()
}

impl<'m> Sum<'m> {
    /// Adds up roles. Those that are not in the model give nothing.
    pub(super) fn of(model: &'m Model, assigned: BTreeSet<RoleId>) -> Self {
        let mut grants: BTreeMap<Atom<'m>, Terms<'m>> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut denies = false;
        for role in assigned.iter().flat_map(|role| model.closure(*role)).filter(|role| seen.insert(role.id)) {
            for grant in &role.grants {
                let there = grants.entry(Atom::of(&grant.permission)).or_default();
                let when = grant.when.as_deref();
                match grant.effect {
                    Effect::Allow => there.allows.insert(Term { when, step_up: grant.step_up.as_ref() }),
                    Effect::Deny => there.denies.insert(when),
                };
                denies |= grant.effect == Effect::Deny;
            }
        }
        let all = grants.get(&Atom::Rest).is_some_and(|rest| rest.allows.contains(&Term::ALWAYS));
        Self { assigned, grants, may_do_everything: all && !denies, scopes: None }
    }

    /// Only what these scopes speak of as well.
    pub(super) fn within(self, scopes: &'m [Pattern]) -> Self {
        let may_do_everything = self.may_do_everything && Atom::Rest.is_among(scopes);
        Self { scopes: Some(scopes), may_do_everything, ..self }
    }

    /// Whether it allows everything, whatever happens.
    pub(super) fn may_do_everything(&self) -> bool {
        self.may_do_everything
    }

    /// Whether it allows nothing at `atom`, under whatever condition.
    pub(super) fn is_empty_at(&self, atom: Atom<'m>) -> bool {
        self.at(atom).allows.is_empty()
    }

    /// The atoms that its grants and scopes are written for.
    pub(super) fn atoms(&self) -> impl Iterator<Item = Atom<'m>> {
        let scopes = self.scopes.into_iter().flatten();
        self.grants.keys().copied().chain(scopes.map(Atom::of))
    }

    /// The first of `atoms` at which `after` has more than this, in the order given, that `author` does not cover.
    pub(super) fn uncovered_gain(
        &self,
        after: &Self,
        author: &Self,
        mut atoms: impl Iterator<Item = Atom<'m>>,
    ) -> Option<Atom<'m>> {
        atoms.find(|atom| {
            let (own, new) = (author.at(*atom), after.at(*atom));
            self.gained(after, *atom).iter().any(|term| !own.covers(term, &new.denies))
        })
    }

    /// The first of `atoms` at which this has something that `author` does not cover.
    pub(super) fn uncovered(&self, author: &Self, mut atoms: impl Iterator<Item = Atom<'m>>) -> Option<Atom<'m>> {
        atoms.find(|atom| {
            let (own, there) = (author.at(*atom), self.at(*atom));
            there.allows.iter().any(|term| !own.covers(term, &there.denies))
        })
    }

    /// [`uncovered`](Self::uncovered), where somebody else than `author` is the caller that the conditions of this ask
    /// about: one that may ask about the caller covers nothing, and a deny of that kind may bar `author` alone.
    pub(super) fn uncovered_as_another(
        &self,
        author: &Self,
        mut atoms: impl Iterator<Item = Atom<'m>>,
    ) -> Option<Atom<'m>> {
        atoms.find(|atom| {
            let (mut own, there) = (author.at(*atom), self.at(*atom));
            own.allows.retain(|term| !term.when.is_some_and(may_ask_for_caller));
            let bars_author = own.denies.iter().flatten().any(|when| may_ask_for_caller(when));
            there.allows.iter().any(|term| bars_author || !own.covers(term, &there.denies))
        })
    }

    /// Whether `after` allows at `atom` what this does not, under whatever condition.
    pub(super) fn gains(&self, after: &Self, atom: Atom<'m>) -> bool {
        !self.gained(after, atom).is_empty()
    }

    /// The terms under which `after` may allow at `atom` what this does not.
    fn gained(&self, after: &Self, atom: Atom<'m>) -> BTreeSet<Term<'m>> {
        let (old, new) = (self.at(atom), after.at(atom));
        // A condition that asks for the caller's roles is another one once these change.
        let moved = self.assigned != after.assigned;
        let stays = |when: &Option<&str>| !(moved && when.is_some_and(may_ask_for_roles));
        if old.denies.iter().any(|deny| !(new.denies.contains(deny) && stays(deny))) {
            return new.allows;
        }
        let had =
            |term: &Term<'m>| old.allows.contains(&Term::ALWAYS) || (old.allows.contains(term) && stays(&term.when));
        new.allows.into_iter().filter(|term| !had(term)).collect()
    }

    fn at(&self, atom: Atom<'m>) -> Terms<'m> {
        let mut terms = Terms::default();
        if self.scopes.is_some_and(|scopes| !atom.is_among(scopes)) {
            return terms;
        }
        let mut next = Some(atom);
        while let Some(atom) = next {
            if let Some(there) = self.grants.get(&atom) {
                terms.allows.extend(&there.allows);
                terms.denies.extend(&there.denies);
            }
            next = atom.wider();
        }
        terms.normal()
    }
}

/// Whether a condition may depend on the caller. An escape could spell the variable's name.
fn may_ask_for_caller(when: &str) -> bool {
    when.contains("principal") || when.contains('\\')
}

/// Whether a condition may depend on the caller's roles. An escape could spell the attribute's name.
fn may_ask_for_roles(when: &str) -> bool {
    when.contains("roles") || when.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_speaks_of_and_no_more() {
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        for (own, wanted, is_covered) in [
            ("*", "*", true),
            ("*", "orders:*", true),
            ("*", "orders:read", true),
            ("orders:*", "*", false),
            ("orders:*", "orders:*", true),
            ("orders:*", "orders:read", true),
            ("orders:*", "stock:*", false),
            ("orders:*", "stock:read", false),
            ("orders:read", "orders:read", true),
            ("orders:read", "orders:*", false),
            ("orders:read", "*", false),
            ("orders:read", "orders:write", false),
        ] {
            assert_eq!(pattern(own).covers(&pattern(wanted)), is_covered, "{own} {wanted}");
        }
    }
}
