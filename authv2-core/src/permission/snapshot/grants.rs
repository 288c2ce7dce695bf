//! All grants of an organization by what they speak of, and the conditions they are under.

use std::{collections::HashMap, sync::OnceLock};

use foldhash::fast::RandomState;

use super::{
    atoms::{Atom, Atoms},
    hierarchy::{Hierarchy, Place, count},
};
use crate::permission::{
    condition::Condition,
    definition::{Effect, Grant},
    model::Model,
    role::Role,
};

/// What kind of a grant it is, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// It denies, whatever else.
    Deny,
    /// It denies if its condition holds, or cannot be evaluated.
    DenyIf,
    /// It allows.
    Allow,
    /// It allows if its condition holds and the sign-in is as it wants.
    AllowIf,
}

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Deny, Self::DenyIf, Self::Allow, Self::AllowIf];

    fn of(grant: &Grant) -> Self {
        match grant.effect {
            Effect::Deny if grant.when.is_none() => Self::Deny,
            Effect::Deny => Self::DenyIf,
            Effect::Allow if grant.when.is_none() && grant.step_up.is_none() => Self::Allow,
            Effect::Allow => Self::AllowIf,
        }
    }
}

/// Which grant: a place in a role of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GrantId {
    pub(super) role: Place,
    pub(super) place: u32,
}

/// A grant as it is found by what it speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: GrantId,
    /// The condition it is under.
    condition: Option<u32>,
}

/// The grants of all roles, by atom and class; among those of one atom and class by role and place.
#[derive(Debug)]
pub(super) struct Grants {
    entries: Vec<Entry>,
    /// Where each atom's each class begins; the next one begins where it ends.
    starts: Vec<u32>,
    conditions: Vec<Stored>,
}

/// A condition that some grant is under. It is compiled when it is first needed: most changes of an organization's
/// roles touch none of its conditions, and all of them make a new snapshot.
#[derive(Debug)]
struct Stored {
    text: String,
    compiled: OnceLock<Result<Condition, String>>,
}

impl Grants {
    pub(super) fn new(model: &Model, hierarchy: &Hierarchy, atoms: &mut Atoms) -> Self {
        let mut conditions: HashMap<&str, u32, RandomState> = HashMap::default();
        let mut texts = Vec::new();
        let mut found: Vec<(Atom, Class, Entry)> = Vec::new();
        for role in 0..hierarchy.size() {
            for (grant, place) in role_at(model, hierarchy, role).into_iter().flat_map(|role| &role.grants).zip(0..) {
                let condition = grant.when.as_deref().map(|text| {
                    *conditions.entry(text).or_insert_with(|| {
                        texts.push(Stored { text: text.to_owned(), compiled: OnceLock::new() });
                        count(texts.len() - 1)
                    })
                });
                let entry = Entry { id: GrantId { role, place }, condition };
                found.push((atoms.intern(&grant.permission), Class::of(grant), entry));
            }
        }
        found.sort_by_key(|(atom, class, _)| (*atom, *class));
        let mut starts = Vec::with_capacity(atoms.len() * Class::ALL.len() + 1);
        let mut entries: Vec<Entry> = Vec::with_capacity(found.len());
        let mut rest = found.into_iter().peekable();
        for atom in atoms.iter() {
            for class in Class::ALL {
                starts.push(count(entries.len()));
                while let Some((.., entry)) = rest.next_if(|(its, kind, _)| (*its, *kind) == (atom, class)) {
                    entries.push(entry);
                }
            }
        }
        starts.push(count(entries.len()));
        Self { entries, starts, conditions: texts }
    }

    /// The grants of a class whose pattern is exactly this atom's.
    pub(super) fn of(&self, atom: Atom, class: Class) -> &[Entry] {
        let group = atom.0 as usize * Class::ALL.len() + class as usize;
        let bounds = (self.starts.get(group), self.starts.get(group + 1));
        let (Some(start), Some(end)) = bounds else { return &[] };
        self.entries.get(*start as usize..*end as usize).unwrap_or_default()
    }

    /// The condition that a grant is under, compiled, or why it cannot be.
    pub(super) fn condition(&self, entry: &Entry) -> Option<&Result<Condition, String>> {
        let stored = self.conditions.get(entry.condition? as usize)?;
        Some(stored.compiled.get_or_init(|| Condition::parse(&stored.text).map_err(|error| error.to_string())))
    }

    pub(super) fn bytes(&self) -> usize {
        /// What a compiled condition takes, as a multiple of its text: an estimate on the safe side.
        const COMPILED: usize = 50;
        let conditions: usize =
            self.conditions.iter().map(|stored| size_of::<Stored>() + stored.text.capacity() * COMPILED).sum();
        self.entries.capacity() * size_of::<Entry>() + self.starts.capacity() * size_of::<u32>() + conditions
    }
}

/// The role at a place.
pub(super) fn role_at<'a>(model: &'a Model, hierarchy: &Hierarchy, role: Place) -> Option<&'a Role> {
    model.roles().get(hierarchy.index(role)?)
}
