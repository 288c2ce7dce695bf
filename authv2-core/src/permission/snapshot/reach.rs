//! Which roles reach which permission: the table that decisions are looked up in.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    atoms::{Atom, Atoms},
    grants::{Class, Grants},
    hierarchy::{Held, Matrix, count, unite},
};

/// For each atom and class of grants the set of roles that have such a grant, of their own or inherited. Many atoms
/// have the same set, most often the empty one; each different set is there once.
#[derive(Debug)]
pub(super) struct Reach {
    width: usize,
    cells: Vec<u32>,
    rows: Vec<Row>,
}

/// Where an atom's sets begin among the cells; 0 is the empty set.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    deny: u32,
    deny_if: u32,
    allow: u32,
    allow_if: u32,
}

/// What the table says without looking at any condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    /// It depends on conditions, or on the sign-in.
    Depends,
}

impl Reach {
    /// `heirs` are each role's heirs, itself among them.
    pub(super) fn new(atoms: &Atoms, grants: &Grants, heirs: &Matrix, roles: u32) -> Self {
        let width = super::hierarchy::width(roles);
        let mut sets = Sets { width, cells: vec![0; width], known: HashMap::default() };
        let mut rows: Vec<Row> = Vec::with_capacity(atoms.len());
        for atom in atoms.iter() {
            let wider = atoms.wider(atom).and_then(|wider| rows.get(wider.0 as usize)).copied().unwrap_or_default();
            let mut set = |class, inherited: u32| {
                let own = grants.of(atom, class);
                if own.is_empty() {
                    return inherited;
                }
                let mut union = sets.at(inherited).to_vec();
                own.iter().for_each(|entry| unite(&mut union, heirs.row(entry.id.role)));
                sets.intern(union)
            };
            rows.push(Row {
                deny: set(Class::Deny, wider.deny),
                deny_if: set(Class::DenyIf, wider.deny_if),
                allow: set(Class::Allow, wider.allow),
                allow_if: set(Class::AllowIf, wider.allow_if),
            });
        }
        let mut cells = sets.cells;
        cells.shrink_to_fit();
        Self { width, cells, rows }
    }

    /// What the holder of these roles may do, as far as no condition has a say.
    #[inline]
    pub(super) fn verdict(&self, held: &Held, atom: Atom) -> Verdict {
        let row = self.row(atom);
        if self.meets(held, row.deny) {
            Verdict::Denied
        } else if self.meets(held, row.deny_if) {
            Verdict::Depends
        } else if self.meets(held, row.allow) {
            Verdict::Allowed
        } else if self.meets(held, row.allow_if) {
            Verdict::Depends
        } else {
            Verdict::Denied
        }
    }

    /// Whether one of these roles allows it, whatever the conditions.
    pub(super) fn allows(&self, held: &Held, atom: Atom) -> bool {
        self.meets(held, self.row(atom).allow)
    }

    /// Whether the role denies it, whatever the conditions.
    pub(super) fn denies(&self, role: u32, atom: Atom) -> bool {
        super::hierarchy::contains(self.set(self.row(atom).deny), role)
    }

    #[inline]
    fn row(&self, atom: Atom) -> Row {
        self.rows.get(atom.0 as usize).copied().unwrap_or_default()
    }

    #[inline]
    fn meets(&self, held: &Held, start: u32) -> bool {
        start != 0 && held.meets(self.set(start))
    }

    #[inline]
    fn set(&self, start: u32) -> &[u32] {
        let start = start as usize;
        self.cells.get(start..start + self.width).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u32>() + self.rows.capacity() * size_of::<Row>()
    }
}

/// The sets being collected: each different one once.
struct Sets {
    width: usize,
    cells: Vec<u32>,
    known: HashMap<Box<[u32]>, u32, RandomState>,
}

impl Sets {
    fn at(&self, start: u32) -> &[u32] {
        let start = start as usize;
        self.cells.get(start..start + self.width).unwrap_or_default()
    }

    fn intern(&mut self, set: Vec<u32>) -> u32 {
        let next = count(self.cells.len());
        let cells = &mut self.cells;
        *self.known.entry(set.into_boxed_slice()).or_insert_with_key(|set| {
            cells.extend_from_slice(set);
            next
        })
    }
}
