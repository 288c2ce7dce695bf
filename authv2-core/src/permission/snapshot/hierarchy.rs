//! Who inherits from whom: every role's ancestors and heirs, and the roles that a member holds.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{id::RoleId, permission::model::Model};

/// A role's place among the roles of a snapshot, which stand in the order of their names.
pub(super) type Place = u32;

/// A count of things in memory: there are never as many as four thousand million of them.
pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A set of roles for each of many rows: one bit a role, all rows equally wide.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    width: usize,
    cells: Vec<u32>,
}

impl Matrix {
    /// A row for each of `size` roles, with that role alone in it.
    fn identity(size: u32) -> Self {
        let mut matrix = Self { width: width(size), cells: Vec::new() };
        matrix.cells.resize(matrix.width * size as usize, 0);
        for role in 0..size {
            let start = role as usize * matrix.width;
            insert(matrix.cells.get_mut(start..).unwrap_or_default(), role);
        }
        matrix
    }

    /// The roles of a row.
    pub(super) fn row(&self, row: Place) -> &[u32] {
        let start = row as usize * self.width;
        self.cells.get(start..start + self.width).unwrap_or_default()
    }

    /// Adds all of one row to another.
    fn absorb(&mut self, into: Place, from: Place) {
        let row = self.row(from).to_vec();
        let start = into as usize * self.width;
        if let Some(into) = self.cells.get_mut(start..start + self.width) {
            unite(into, &row);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u32>()
    }
}

/// How many cells a set of that many roles takes.
pub(super) fn width(roles: u32) -> usize {
    roles.div_ceil(u32::BITS) as usize
}

/// Adds all roles of one set to another.
pub(super) fn unite(into: &mut [u32], from: &[u32]) {
    for (cell, more) in into.iter_mut().zip(from) {
        *cell |= more;
    }
}

/// Adds a role to a set; whether it is new there.
fn insert(set: &mut [u32], role: Place) -> bool {
    let bit = 1 << (role % u32::BITS);
    set.get_mut((role / u32::BITS) as usize).is_some_and(|cell| {
        let is_new = *cell & bit == 0;
        *cell |= bit;
        is_new
    })
}

/// Whether a role is in a set.
pub(super) fn contains(set: &[u32], role: Place) -> bool {
    set.get((role / u32::BITS) as usize).is_some_and(|cell| cell & (1 << (role % u32::BITS)) != 0)
}

/// The roles that a member holds somewhere, as they were assigned: a few words of a set that is mostly empty.
#[derive(Debug, Default)]
pub(super) struct Held(Box<[Word]>);

#[derive(Debug, Clone, Copy)]
struct Word {
    cell: u32,
    bits: u32,
}

impl Held {
    pub(super) fn new(mut roles: Vec<Place>) -> Self {
        roles.sort_unstable();
        let mut words: Vec<Word> = Vec::with_capacity(roles.len());
        for role in roles {
            let (cell, bit) = (role / u32::BITS, 1 << (role % u32::BITS));
            match words.last_mut() {
                Some(word) if word.cell == cell => word.bits |= bit,
                _ => words.push(Word { cell, bits: bit }),
            }
        }
        Self(words.into_boxed_slice())
    }

    /// Whether any of them is in `set`. Looks at all of them, so that a yes takes as long as a no.
    #[inline]
    pub(super) fn meets(&self, set: &[u32]) -> bool {
        let common = self
            .0
            .iter()
            .fold(0, |common, word| common | set.get(word.cell as usize).map_or(0, |cell| cell & word.bits));
        common != 0
    }

    /// The roles in the order of their names.
    pub(super) fn roles(&self) -> impl Iterator<Item = Place> {
        self.0.iter().flat_map(|word| {
            (0..u32::BITS).filter(|bit| word.bits & (1 << bit) != 0).map(|bit| word.cell * u32::BITS + bit)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// The roles of a model in the order of their names, and their inheritance.
#[derive(Debug)]
pub(super) struct Hierarchy {
    by_id: HashMap<RoleId, Place, RandomState>,
    /// Where each role stands in the model.
    order: Vec<usize>,
    parents: Vec<Box<[Place]>>,
    ancestors: Matrix,
}

impl Hierarchy {
    /// The hierarchy, and each role's heirs: the roles that have its grants, itself among them.
    pub(super) fn new(model: &Model) -> (Self, Matrix) {
        let roles = model.roles();
        let size = count(roles.len());
        let mut order: Vec<usize> = (0..roles.len()).collect();
        order.sort_unstable_by_key(|index| roles.get(*index).map(|role| role.name.as_str()));
        let sorted = || order.iter().filter_map(|index| roles.get(*index)).zip(0..size);
        let by_name: HashMap<&str, Place, RandomState> =
            sorted().map(|(role, place)| (role.name.as_str(), place)).collect();
        let parents: Vec<Box<[Place]>> = sorted()
            .map(|(role, _)| role.inherits.iter().filter_map(|name| by_name.get(name.as_str()).copied()).collect())
            .collect();
        let by_id = sorted().map(|(role, place)| (role.id, place)).collect();

        let (mut ancestors, mut heirs) = (Matrix::identity(size), Matrix::identity(size));
        let parents_first = parents_first(&parents);
        let parents_of = |role: Place| parents.get(role as usize).into_iter().flatten();
        for role in &parents_first {
            parents_of(*role).for_each(|parent| ancestors.absorb(*role, *parent));
        }
        for role in parents_first.iter().rev() {
            parents_of(*role).for_each(|parent| heirs.absorb(*parent, *role));
        }
        (Self { by_id, order, parents, ancestors }, heirs)
    }

    pub(super) fn size(&self) -> u32 {
        count(self.order.len())
    }

    pub(super) fn place(&self, role: RoleId) -> Option<Place> {
        self.by_id.get(&role).copied()
    }

    /// Where a role stands in the model.
    pub(super) fn index(&self, role: Place) -> Option<usize> {
        self.order.get(role as usize).copied()
    }

    /// All roles whose grants the holder of these has: they and their ancestors.
    pub(super) fn ancestors(&self, held: &Held) -> Vec<u32> {
        let mut set = vec![0; width(self.size())];
        held.roles().for_each(|role| unite(&mut set, self.ancestors.row(role)));
        set
    }

    /// The shortest way from a role held to `owner`, both included; among equally short ones the first by name.
    pub(super) fn path(&self, held: &Held, owner: Place) -> Vec<Place> {
        // Only roles from which the owner can be reached are worth a step.
        let leads = |role: Place| contains(self.ancestors.row(role), owner);
        let mut seen = vec![0; width(self.size())];
        let mut steps: Vec<(Place, Option<usize>)> = Vec::new();
        let mut take = |steps: &mut Vec<_>, role, before| {
            if leads(role) && insert(&mut seen, role) {
                steps.push((role, before));
            }
        };
        held.roles().for_each(|role| take(&mut steps, role, None));
        let mut next = 0;
        while let Some((role, _)) = steps.get(next).copied() {
            if role == owner {
                break;
            }
            let parents = self.parents.get(role as usize).into_iter().flatten();
            parents.for_each(|parent| take(&mut steps, *parent, Some(next)));
            next += 1;
        }
        let mut path = Vec::new();
        let mut step = Some(next);
        while let Some((role, before)) = step.and_then(|step| steps.get(step)).copied() {
            path.push(role);
            step = before;
        }
        path.reverse();
        path
    }

    pub(super) fn bytes(&self) -> usize {
        self.by_id.capacity() * size_of::<(RoleId, Place, u8)>()
            + self.order.capacity() * size_of::<usize>()
            + self.parents.iter().map(|parents| size_of_val(parents) + size_of_val(&**parents)).sum::<usize>()
            + self.ancestors.bytes()
    }
}

/// All roles, each after its parents. A model has no cycles, so none is left over.
fn parents_first(parents: &[Box<[Place]>]) -> Vec<Place> {
    let mut waiting: Vec<usize> = parents.iter().map(|parents| parents.len()).collect();
    let mut heirs: Vec<Vec<Place>> = vec![Vec::new(); parents.len()];
    for (parents, role) in parents.iter().zip(0..) {
        for parent in parents {
            if let Some(heirs) = heirs.get_mut(*parent as usize) {
                heirs.push(role);
            }
        }
    }
    let mut sorted: Vec<Place> =
        waiting.iter().zip(0..).filter(|(waiting, _)| **waiting == 0).map(|(_, role)| role).collect();
    let mut next = 0;
    while let Some(role) = sorted.get(next).copied() {
        for heir in heirs.get(role as usize).into_iter().flatten() {
            if let Some(waiting) = waiting.get_mut(*heir as usize) {
                *waiting -= 1;
                if *waiting == 0 {
                    sorted.push(*heir);
                }
            }
        }
        next += 1;
    }
    sorted
}
