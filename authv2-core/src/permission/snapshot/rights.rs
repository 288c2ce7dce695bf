//! What a member may do, compiled against a snapshot.

use std::collections::BTreeMap;

use super::hierarchy::{Held, Hierarchy, Place};
use crate::{id::StoreId, store::Assignment};

/// The roles of a member where they count: at the organization, and at each store where it holds more.
///
/// Made by [`Snapshot::rights`](super::Snapshot::rights), and good for that snapshot alone: any other one allows
/// nothing by them.
#[derive(Debug)]
pub struct Rights {
    /// The snapshot whose roles these are.
    pub(super) snapshot: u64,
    organization: Held,
    /// The organization's and the store's own, by store.
    stores: Box<[(StoreId, Held)]>,
    /// Whether the organization wants a second factor of whoever holds these roles.
    wants_mfa: bool,
}

impl Rights {
    pub(super) fn new(snapshot: u64, hierarchy: &Hierarchy, assignments: &[Assignment], wants_mfa: bool) -> Self {
        let mut everywhere: Vec<Place> = Vec::new();
        let mut stores: BTreeMap<StoreId, Vec<Place>> = BTreeMap::new();
        for assignment in assignments {
            let Some(place) = hierarchy.place(assignment.role) else { continue };
            match assignment.store {
                None => everywhere.push(place),
                Some(store) => stores.entry(store).or_default().push(place),
            }
        }
        let stores = stores
            .into_iter()
            .map(|(store, mut places)| {
                places.extend_from_slice(&everywhere);
                (store, Held::new(places))
            })
            .collect();
        Self { snapshot, organization: Held::new(everywhere), stores, wants_mfa }
    }

    /// The roles that reach a store, or the organization.
    #[inline]
    pub(super) fn at(&self, store: Option<StoreId>) -> &Held {
        let Some(store) = store else { return &self.organization };
        match self.stores.binary_search_by_key(&store, |(at, _)| *at) {
            Ok(found) => self.stores.get(found).map_or(&self.organization, |(_, held)| held),
            Err(_) => &self.organization,
        }
    }

    /// Whether the organization wants a second factor of a member that holds these roles.
    #[must_use]
    pub fn wants_mfa(&self) -> bool {
        self.wants_mfa
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + self.organization.bytes()
            + self.stores.iter().map(|entry| size_of_val(entry) + entry.1.bytes()).sum::<usize>()
    }
}
