//! The permissions that an organization's grants can tell apart.

use std::{collections::HashMap, iter, sync::Arc};

use foldhash::fast::RandomState;

use super::hierarchy::count;
use crate::permission::name::{Pattern, Permission};

/// What every question is about, as far as grants can tell: a permission that some grant names, any other one of a
/// resource that some grant names, or any other at all. So there is one for each pattern that a grant could have, and
/// what speaks of it are the grants of that pattern and of the wider ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Atom(pub(super) u32);

impl Atom {
    /// Whatever no grant names: what only `*` speaks of.
    pub(super) const REST: Self = Self(0);
}

/// All atoms. A wider one always stands before the narrower ones.
#[derive(Debug)]
pub(super) struct Atoms {
    permissions: HashMap<Arc<str>, Atom, RandomState>,
    resources: HashMap<Arc<str>, Atom, RandomState>,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The pattern whose rest it is.
    name: Arc<str>,
    wider: Option<Atom>,
}

impl Atoms {
    pub(super) fn new() -> Self {
        let rest = Entry { name: Arc::from("*"), wider: None };
        Self { permissions: HashMap::default(), resources: HashMap::default(), all: vec![rest] }
    }

    /// The atom of a pattern, new if need be.
    pub(super) fn intern(&mut self, pattern: &Pattern) -> Atom {
        match pattern {
            Pattern::All => Atom::REST,
            Pattern::Resource(resource) => self.intern_resource(resource),
            Pattern::One(permission) => {
                if let Some(atom) = self.permissions.get(permission.as_str()) {
                    return *atom;
                }
                let wider = self.intern_resource(permission.resource());
                let name: Arc<str> = Arc::from(permission.as_str());
                let atom = self.push(Arc::clone(&name), wider);
                self.permissions.insert(name, atom);
                atom
            }
        }
    }

    fn intern_resource(&mut self, resource: &str) -> Atom {
        if let Some(atom) = self.resources.get(resource) {
            return *atom;
        }
        let atom = self.push(Arc::from(format!("{resource}:*")), Atom::REST);
        self.resources.insert(Arc::from(resource), atom);
        atom
    }

    fn push(&mut self, name: Arc<str>, wider: Atom) -> Atom {
        let atom = Atom(count(self.all.len()));
        self.all.push(Entry { name, wider: Some(wider) });
        atom
    }

    /// The one atom that a permission is.
    #[inline]
    pub(super) fn find(&self, permission: &Permission) -> Atom {
        match self.permissions.get(permission.as_str()) {
            Some(atom) => *atom,
            None => self.resources.get(permission.resource()).copied().unwrap_or(Atom::REST),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Atom> + use<> {
        (0..count(self.all.len())).map(Atom)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn name(&self, atom: Atom) -> &str {
        self.all.get(atom.0 as usize).map_or("*", |entry| &entry.name)
    }

    pub(super) fn wider(&self, atom: Atom) -> Option<Atom> {
        self.all.get(atom.0 as usize)?.wider
    }

    /// The atoms whose grants speak of this one: itself, then ever wider.
    pub(super) fn chain(&self, atom: Atom) -> impl Iterator<Item = Atom> {
        iter::successors(Some(atom), |atom| self.wider(*atom))
    }

    pub(super) fn bytes(&self) -> usize {
        /// The counts of an `Arc`, and what an allocator adds.
        const OVERHEAD: usize = 2 * size_of::<usize>() + 8;
        let slots = self.permissions.capacity() + self.resources.capacity();
        let texts: usize = self.all.iter().map(|entry| entry.name.len() + OVERHEAD).sum();
        let resources: usize = self.resources.keys().map(|name| name.len() + OVERHEAD).sum();
        slots * size_of::<(Arc<str>, Atom, u8)>() + self.all.capacity() * size_of::<Entry>() + texts + resources
    }
}
