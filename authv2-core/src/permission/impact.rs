//! What a change of roles would mean to those who hold them.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::{
    model::Model,
    name::Pattern,
    sum::{Atom, Sum, roles_at},
};
use crate::{
    id::{MemberId, RoleId, StoreId},
    store::Holder,
};

/// Who would gain and who would lose what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Impact {
    /// Who would be allowed more.
    pub gains: Vec<Shift>,
    /// Who would be allowed less.
    pub losses: Vec<Shift>,
}

/// What one member would gain or lose in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Shift {
    /// The member: of a user it is the user's id.
    #[serde(rename = "user_id")]
    #[schema(value_type = uuid::Uuid)]
    pub member: MemberId,
    /// The store, where the change means something else there than at the organization, be it nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub store: Option<StoreId>,
    /// The permissions that some grant names, as it names them: `orders:*` is also whatever of `orders` has no name.
    #[schema(value_type = Vec<String>, example = json!(["orders:*", "orders:read"]))]
    pub permissions: Vec<Pattern>,
}

/// Finds what a change from `before` to `after` would mean to `holders`. What comes or goes under a condition counts
/// like what comes or goes altogether; where one condition takes another's place, it is a gain and a loss.
#[must_use]
pub fn impact(before: &Model, after: &Model, holders: &[Holder]) -> Impact {
    let roles = before.roles().iter().chain(after.roles());
    let atoms: BTreeSet<Atom<'_>> =
        roles.flat_map(|role| &role.grants).map(|grant| Atom::of(&grant.permission)).collect();
    let compare = |roles: &BTreeSet<RoleId>| {
        let (old, new) = (Sum::of(before, roles.clone()), Sum::of(after, roles.clone()));
        let pick = |from: &Sum<'_>, to: &Sum<'_>| {
            atoms.iter().filter(|atom| from.gains(to, **atom)).map(|atom| atom.pattern()).collect::<Vec<_>>()
        };
        (pick(&old, &new), pick(&new, &old))
    };

    let mut found = Impact::default();
    let mut known: HashMap<BTreeSet<RoleId>, Change> = HashMap::new();
    for holder in holders {
        let mut change_at = |place| known.entry(roles_at(&holder.roles, place)).or_insert_with_key(compare).clone();
        let (gains, losses) = change_at(None);
        let stores: BTreeSet<StoreId> = holder.roles.iter().filter_map(|held| held.store).collect();
        for store in stores {
            let there = change_at(Some(store));
            for (list, permissions, everywhere) in
                [(&mut found.gains, there.0, &gains), (&mut found.losses, there.1, &losses)]
            {
                if permissions != *everywhere {
                    list.push(Shift { member: holder.member, store: Some(store), permissions });
                }
            }
        }
        for (list, permissions) in [(&mut found.gains, gains), (&mut found.losses, losses)] {
            if !permissions.is_empty() {
                list.push(Shift { member: holder.member, store: None, permissions });
            }
        }
    }
    found
}

/// What is gained, and what is lost.
type Change = (Vec<Pattern>, Vec<Pattern>);
