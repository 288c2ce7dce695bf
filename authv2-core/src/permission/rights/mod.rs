//! Who may change whose rights: nobody hands out, or frees, what it does not hold itself.
//!
//! What is compared is what roles add up to at a place, the organization or one of its stores, permission by
//! permission, without evaluating a condition:
//!
//! 1. An unconditional deny leaves nothing. Else there is a set of allows and a set of denies, each known by its
//!    condition and its wish for a better sign-in, to the letter.
//! 2. A change *enlarges* somebody's rights where it brings an allow that was not there, or takes a deny away that
//!    stood beside an allow: then it sets free every allow there is. A condition that may ask for the caller's roles is
//!    another one once these change.
//! 3. The author *covers* an allow if it holds that one, or an unconditional one, and is under no deny that the other
//!    one is not under as well.
//! 4. Every enlargement has to be covered, wherever it takes effect. A role that comes to bring more has to be covered
//!    whole, at the organization, held by somebody or not; so has what its heirs come to bring.
//! 5. A key passes rights on as a role does: whoever makes it or rotates it holds each of its scopes, and covers what the
//!    member that bounds it has within them. Where that is another member, a condition on the caller is another one in
//!    its hands. A key that makes a change has the rights of its member within its scopes.
//! 6. Only an owner may take anything from an owner, and one owner remains whom nothing is denied.

mod key;
#[cfg(test)]
mod oracle;
mod owner;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

pub use self::key::{KeyRights, judge_key};
use self::owner::{Owners, heirs_of};
pub use self::owner::{has_owner, is_owner};
use super::{
    model::Model,
    name::Pattern,
    sum::{Atom, Sum, roles_at},
};
use crate::{
    id::{MemberId, RoleId, StoreId},
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
    /// The member that is to bound a key does not hold what the key is to be good for.
    #[error("the service account does not hold `{pattern}` itself")]
    NotHeld {
        /// What it lacks.
        pattern: Pattern,
    },
    /// It hands out a key, and the caller is a key with bounds that would not hold for that one, or a token.
    #[error("a key with an end, an address list, a limit or a quota, and a token of a key, hand out no keys")]
    BoundCaller,
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
    /// The store that its credential is bound to, if it is: it has no rights anywhere else then, and is no owner.
    pub bound_to: Option<StoreId>,
    /// The scopes of its credential, if it has any: it has no other rights then, and is an owner only with `*`.
    pub scopes: Option<&'a [Pattern]>,
}

impl Author<'_> {
    /// Whether it is an owner with this credential.
    #[must_use]
    pub fn is_owner(&self, model: &Model) -> bool {
        let is_unbound = self.bound_to.is_none() && self.scopes.is_none_or(|scopes| scopes.contains(&Pattern::All));
        is_unbound && is_owner(model, self.roles)
    }
}

/// Judges a change of one member's roles. Joining and leaving are changes from and to none.
///
/// `owners` are all holders of the built-in owner role as they are before, `member` itself among them if it is one.
///
/// # Errors
/// [`Refusal`].
pub fn judge_assignment(
    model: &Model,
    author: Author<'_>,
    member: MemberId,
    before: &[Assignment],
    after: &[Assignment],
    owners: &[Holder],
) -> Result<(), Refusal> {
    let mut judge = Judge::new(model, author);
    let mut narrowed = is_owner(model, before) && !is_owner(model, after);
    for place in places(&[before, after, author.roles], author.bound_to) {
        let (old, new) = (roles_at(before, place), roles_at(after, place));
        if old != new {
            let (old, new) = (Sum::of(model, old), Sum::of(model, new));
            judge.covers_gain(&old, &new, place)?;
            narrowed |= loses(&old, &new);
        }
    }
    // Being an owner is more than holding `*`: owners alone narrow owners, and end an organization.
    let becomes_owner = !is_owner(model, before) && is_owner(model, after);
    if (becomes_owner || narrowed && is_owner(model, before)) && !judge.is_owner() {
        return Err(Refusal::NotAnOwner);
    }
    let changed: Vec<Holder> = owners
        .iter()
        .map(
            |owner| {
                if owner.member == member { Holder { roles: after.to_vec(), ..owner.clone() } } else { owner.clone() }
            },
        )
        .collect();
    if has_owner(model, owners) && !has_owner(model, &changed) { Err(Refusal::LastOwner) } else { Ok(()) }
}

/// Judges a change of the roles themselves: `before` and `after` are the models around it, `changed` the name of the
/// role written, `holders` all who hold it or a role that inherits it, `owners` all holders of the built-in owner role
/// as they are before.
///
/// # Errors
/// [`Refusal`].
pub fn judge_role(
    before: &Model,
    after: &Model,
    changed: &str,
    author: Author<'_>,
    holders: &[Holder],
    owners: &[Holder],
) -> Result<(), Refusal> {
    let Some(role) = after.role(changed).or_else(|| before.role(changed)).map(|role| role.id) else { return Ok(()) };
    let affected = &heirs_of(before, changed) | &heirs_of(after, changed);
    let mut judge = Judge::new(before, author);
    judge.covers_role(before, after, role)?;
    judge.covers_heirs(before, after, &affected)?;
    judge.covers_holders(before, after, &affected, holders)?;
    let alone = [Assignment { role, store: None }];
    let makes_owners = !is_owner(before, &alone) && is_owner(after, &alone);
    if !judge.is_owner() && (makes_owners || narrows_an_owner(before, after, holders)) {
        return Err(Refusal::NotAnOwner);
    }
    let remains = || has_owner(after, owners) || has_owner(after, holders);
    if has_owner(before, owners) && !remains() { Err(Refusal::LastOwner) } else { Ok(()) }
}

fn narrows_an_owner(before: &Model, after: &Model, holders: &[Holder]) -> bool {
    let (was, is) = (Owners::of(before), Owners::of(after));
    holders.iter().filter(|holder| was.has(&holder.roles)).any(|owner| {
        let narrowed_at = |place: Option<StoreId>| {
            let roles = roles_at(&owner.roles, place);
            loses(&Sum::of(before, roles.clone()), &Sum::of(after, roles))
        };
        !is.has(&owner.roles) || places(&[&owner.roles], None).into_iter().any(narrowed_at)
    })
}

/// An author's rights, added up where they are asked for.
struct Judge<'m> {
    model: &'m Model,
    author: Author<'m>,
    sums: HashMap<Option<StoreId>, Sum<'m>>,
}

impl<'m> Judge<'m> {
    fn new(model: &'m Model, author: Author<'m>) -> Self {
        Self { model, author, sums: HashMap::new() }
    }

    fn is_owner(&self) -> bool {
        self.author.is_owner(self.model)
    }

    /// Every place where the author's rights are those it has at `place`, by one of them.
    fn stands_at(&self, place: Option<StoreId>) -> Option<StoreId> {
        let differs = self.author.bound_to == place || self.author.roles.iter().any(|held| held.store == place);
        place.filter(|_| differs)
    }

    fn at(&mut self, place: Option<StoreId>) -> &Sum<'m> {
        let place = self.stands_at(place);
        let Author { roles, bound_to, scopes } = self.author;
        let model = self.model;
        self.sums.entry(place).or_insert_with(|| {
            let acts_there = bound_to.is_none() || bound_to == place;
            let sum = Sum::of(model, if acts_there { roles_at(roles, place) } else { BTreeSet::new() });
            match scopes {
                Some(scopes) => sum.within(scopes),
                None => sum,
            }
        })
    }

    /// Whatever `new` has at `place` that `old` has not, the author has.
    fn covers_gain(&mut self, old: &Sum<'_>, new: &Sum<'_>, place: Option<StoreId>) -> Result<(), Refusal> {
        let own = self.at(place);
        if own.may_do_everything() {
            return Ok(());
        }
        refuse_at(old.uncovered_gain(new, own, atoms(&[old, new, own]).into_iter()), place)
    }

    /// Whoever changes what a role brings covers all of it, as it was and as it will be: else one could prepare what
    /// somebody else hands out, or take what one could not give back.
    fn covers_role(&mut self, before: &Model, after: &Model, role: RoleId) -> Result<(), Refusal> {
        let own = self.at(None);
        let (old, new) = (Sum::of(before, BTreeSet::from([role])), Sum::of(after, BTreeSet::from([role])));
        let atoms = atoms(&[&old, &new, own]);
        let changes = |atom: &Atom<'_>| old.gains(&new, *atom) || new.gains(&old, *atom);
        if own.may_do_everything() || !atoms.iter().any(changes) {
            return Ok(());
        }
        refuse_at(old.uncovered(own, atoms.iter().copied()).or_else(|| new.uncovered(own, atoms.iter().copied())), None)
    }

    /// What other roles come to bring by inheritance, the author has.
    fn covers_heirs(&mut self, before: &Model, after: &Model, heirs: &BTreeSet<RoleId>) -> Result<(), Refusal> {
        if self.at(None).may_do_everything() {
            return Ok(());
        }
        heirs
            .iter()
            .map(|heir| BTreeSet::from([*heir]))
            .try_for_each(|alone| self.covers_gain(&Sum::of(before, alone.clone()), &Sum::of(after, alone), None))
    }

    /// What comes to those who hold one of the `affected` roles, the author has.
    fn covers_holders(
        &mut self,
        before: &Model,
        after: &Model,
        affected: &BTreeSet<RoleId>,
        holders: &[Holder],
    ) -> Result<(), Refusal> {
        // Many hold the same roles: each set is judged once wherever the author's rights are the same.
        let mut judged: HashSet<(BTreeSet<RoleId>, Option<StoreId>)> = HashSet::new();
        for holder in holders {
            for place in places(&[&holder.roles, self.author.roles], self.author.bound_to) {
                let roles = roles_at(&holder.roles, place);
                if roles.is_disjoint(affected) || self.at(place).may_do_everything() {
                    continue;
                }
                if judged.insert((roles.clone(), self.stands_at(place))) {
                    self.covers_gain(&Sum::of(before, roles.clone()), &Sum::of(after, roles), place)?;
                }
            }
        }
        Ok(())
    }
}

fn refuse_at(atom: Option<Atom<'_>>, store: Option<StoreId>) -> Result<(), Refusal> {
    match atom {
        Some(atom) => Err(Refusal::Escalation { pattern: atom.pattern(), store }),
        None => Ok(()),
    }
}

/// Whether somebody who had `old` and has `new` may do less than before.
fn loses(old: &Sum<'_>, new: &Sum<'_>) -> bool {
    atoms(&[old, new]).into_iter().any(|atom| new.gains(old, atom))
}

/// Atoms fine enough for all these sums: what none of them names, they treat like one of these, or do not speak of.
fn atoms<'m>(sums: &[&Sum<'m>]) -> BTreeSet<Atom<'m>> {
    sums.iter().flat_map(|sum| sum.atoms()).collect()
}

/// The organization, and the stores at which one of these holds a role: any other store is like the organization.
fn places(all: &[&[Assignment]], bound_to: Option<StoreId>) -> BTreeSet<Option<StoreId>> {
    let held = all.iter().flat_map(|held| held.iter().map(|held| held.store));
    held.chain([None, bound_to]).collect()
}
