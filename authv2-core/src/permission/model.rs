//! The roles of an organization as one model: what decisions are compiled from, and what a write is judged on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    definition::{Grant, RoleDefinition},
    role::{ResourceType, Role},
};
use crate::{
    id::{OrgId, RoleId, StoreId},
    mfa::MfaPolicy,
    store::{RoleBook, StoreError},
};

/// The roles of an organization at one revision, every parent known and no role its own ancestor.
#[derive(Debug, Clone)]
pub struct Model {
    /// The organization.
    pub organization: OrgId,
    /// Its slug.
    pub slug: String,
    /// Its revision.
    pub revision: i64,
    /// The IANA name of its time zone.
    pub time_zone: String,
    /// Who in it needs a second factor.
    pub mfa: MfaPolicy,
    roles: Vec<Role>,
    by_id: HashMap<RoleId, usize>,
    by_name: HashMap<String, usize>,
    /// The declared resource types by name.
    pub resource_types: BTreeMap<String, ResourceType>,
    /// The stores: id and slug.
    pub stores: Vec<(StoreId, String)>,
}

/// A role that does not fit into the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// It inherits from a role that is not there: its place among the parents.
    #[error("there is no role `{name}` to inherit from")]
    UnknownParent {
        /// Its place in `inherits`.
        index: usize,
        /// Its name.
        name: String,
    },
    /// It would be its own ancestor.
    #[error("the role would inherit from itself")]
    Cycle,
    /// Two roles have the same name.
    #[error("there are two roles called `{0}`")]
    Duplicate(String),
}

impl Model {
    /// A model without roles.
    #[must_use]
    pub fn new(organization: OrgId, revision: i64, time_zone: impl Into<String>) -> Self {
        Self {
            organization,
            slug: String::new(),
            revision,
            time_zone: time_zone.into(),
            mfa: MfaPolicy::default(),
            roles: Vec::new(),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            resource_types: BTreeMap::new(),
            stores: Vec::new(),
        }
    }

    /// A model of all these roles, in any order.
    ///
    /// # Errors
    /// [`ModelError`] if they do not fit together.
    pub fn with_roles(mut self, roles: Vec<Role>) -> Result<Self, ModelError> {
        for role in roles {
            if self.by_name.contains_key(&role.name) {
                return Err(ModelError::Duplicate(role.name));
            }
            self.push(role);
        }
        for role in &self.roles {
            self.check_parents(&role.inherits)?;
        }
        if self.has_cycle() { Err(ModelError::Cycle) } else { Ok(self) }
    }

    /// This model with one role written: added, or in place of the one of its name, whose id it keeps.
    ///
    /// # Errors
    /// [`ModelError`] if it does not fit.
    pub fn with_role(&self, definition: &RoleDefinition) -> Result<Self, ModelError> {
        self.check_parents(&definition.inherits)?;
        let before = self.role(&definition.name);
        let role = Role {
            id: before.map_or_else(RoleId::new, |role| role.id),
            name: definition.name.clone(),
            description: definition.description.clone(),
            inherits: definition.inherits.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect(),
            grants: definition.grants.clone(),
            builtin: before.is_some_and(|role| role.builtin),
            revision: self.revision,
        };
        let mut model = self.clone();
        let place = model.by_name.get(&role.name).copied();
        match place.and_then(|place| model.roles.get_mut(place)) {
            Some(there) => *there = role,
            None => model.push(role),
        }
        if model.has_cycle() { Err(ModelError::Cycle) } else { Ok(model) }
    }

    fn push(&mut self, role: Role) {
        self.by_id.insert(role.id, self.roles.len());
        self.by_name.insert(role.name.clone(), self.roles.len());
        self.roles.push(role);
    }

    fn check_parents(&self, parents: &[String]) -> Result<(), ModelError> {
        match parents.iter().position(|parent| !self.by_name.contains_key(parent)) {
            Some(index) => {
                let name = parents.get(index).cloned().unwrap_or_default();
                Err(ModelError::UnknownParent { index, name })
            }
            None => Ok(()),
        }
    }

    /// All roles.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// A role by name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.by_name.get(name).and_then(|place| self.roles.get(*place))
    }

    /// A role by id.
    #[must_use]
    pub fn role_by_id(&self, id: RoleId) -> Option<&Role> {
        self.by_id.get(&id).and_then(|place| self.roles.get(*place))
    }

    /// A store by slug or id.
    #[must_use]
    pub fn store(&self, name: &str) -> Option<StoreId> {
        let id: Option<StoreId> = name.parse().ok();
        self.stores.iter().find(|(store, slug)| slug == name || Some(*store) == id).map(|(store, _)| *store)
    }

    /// Whether this is a store of the organization.
    #[must_use]
    pub fn has_store(&self, id: StoreId) -> bool {
        self.stores.iter().any(|(store, _)| *store == id)
    }

    /// The role and all its ancestors, each once, nearest first, with the grants that each brings itself.
    pub fn closure(&self, role: RoleId) -> Vec<&Role> {
        let mut seen = HashSet::new();
        let mut found: Vec<&Role> = self.role_by_id(role).into_iter().collect();
        seen.extend(found.iter().map(|role| role.id));
        let mut next = 0;
        while let Some(role) = found.get(next).copied() {
            for parent in role.inherits.iter().filter_map(|name| self.role(name)) {
                if seen.insert(parent.id) {
                    found.push(parent);
                }
            }
            next += 1;
        }
        found
    }

    /// The names of the roles that inherit this one directly.
    pub fn heirs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Role> {
        self.roles.iter().filter(move |role| role.inherits.iter().any(|parent| parent == name))
    }

    /// Whether some role is its own ancestor: roles are taken away from the end that inherits nothing until none is
    /// left, or only such as wait for each other.
    fn has_cycle(&self) -> bool {
        let mut waiting: HashMap<&str, usize> =
            self.roles.iter().map(|role| (role.name.as_str(), role.inherits.len())).collect();
        let mut heirs: HashMap<&str, Vec<&str>> = HashMap::new();
        for role in &self.roles {
            for parent in &role.inherits {
                heirs.entry(parent).or_default().push(&role.name);
            }
        }
        let mut free: Vec<&str> = waiting.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
        let mut done = 0;
        while let Some(name) = free.pop() {
            done += 1;
            for heir in heirs.get(name).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(heir) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(heir);
                    }
                }
            }
        }
        done < self.roles.len()
    }
}

impl TryFrom<RoleBook> for Model {
    type Error = StoreError;

    fn try_from(book: RoleBook) -> Result<Self, StoreError> {
        let names: HashMap<RoleId, &str> = book.roles.iter().map(|role| (role.id, role.name.as_str())).collect();
        let mut parents: HashMap<RoleId, BTreeSet<&str>> = HashMap::new();
        for (heir, parent) in &book.inherits {
            let Some(name) = names.get(parent) else { return Err(StoreError::corrupt("a role without its parent")) };
            parents.entry(*heir).or_default().insert(name);
        }
        let mut roles = Vec::with_capacity(book.roles.len());
        for record in &book.roles {
            let grants: Vec<Grant> = serde_json::from_str(&record.grants)
                .map_err(|_| StoreError::corrupt("a role's grants cannot be read"))?;
            roles.push(Role {
                id: record.id,
                name: record.name.clone(),
                description: record.description.clone(),
                inherits: parents.get(&record.id).into_iter().flatten().map(|name| (*name).to_owned()).collect(),
                grants,
                builtin: record.builtin,
                revision: record.revision,
            });
        }
        let organization = &book.organization;
        let mut model = Self::new(organization.id, organization.revision, organization.time_zone.as_str())
            .with_roles(roles)
            .map_err(|_| StoreError::corrupt("roles that do not fit together"))?;
        model.slug.clone_from(&organization.slug);
        model.mfa = MfaPolicy::of(organization);
        for record in &book.resource_types {
            let attributes = serde_json::from_str(&record.attributes)
                .map_err(|_| StoreError::corrupt("a resource type cannot be read"))?;
            model.resource_types.insert(record.name.clone(), ResourceType { attributes });
        }
        model.stores = book.stores.into_iter().map(|store| (store.id, store.slug)).collect();
        Ok(model)
    }
}
