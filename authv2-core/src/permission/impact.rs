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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{OrgId, UserId},
        permission::{Effect, Grant, RoleDefinition, builtin_roles},
        store::Assignment,
    };

    fn grant(effect: Effect, pattern: &str, when: Option<&str>) -> Grant {
        Grant { permission: pattern.parse().unwrap(), effect, when: when.map(str::to_owned), step_up: None }
    }

    fn allow(pattern: &str) -> Grant {
        grant(Effect::Allow, pattern, None)
    }

    fn write(model: &Model, name: &str, inherits: &[&str], grants: &[Grant]) -> Model {
        let inherits = inherits.iter().map(|name| (*name).to_owned()).collect();
        let definition = RoleDefinition { name: name.to_owned(), description: None, inherits, grants: grants.to_vec() };
        model.with_role(&definition).unwrap()
    }

    /// `clerk` reads and voids orders, `chief` also refunds them, `strict` voids none, `seller` refunds on the web.
    fn shop() -> Model {
        let model = Model::new(OrgId::new(), 1, "UTC").with_roles(builtin_roles().to_vec()).unwrap();
        let model = write(&model, "clerk", &[], &[allow("orders:read"), allow("orders:void")]);
        let model = write(&model, "chief", &["clerk"], &[allow("orders:refund")]);
        let model = write(&model, "strict", &[], &[grant(Effect::Deny, "orders:*", None)]);
        write(&model, "seller", &["clerk"], &[grant(Effect::Allow, "orders:refund", Some("context.web"))])
    }

    fn holder(model: &Model, held: &[(&str, Option<StoreId>)]) -> Holder {
        let assignment =
            |(name, store): &(&str, Option<StoreId>)| Assignment { role: model.role(name).unwrap().id, store: *store };
        let roles = held.iter().map(assignment).collect();
        Holder { member: MemberId::from(UserId::new()), is_active_user: true, roles }
    }

    fn shift(holder: &Holder, store: Option<StoreId>, permissions: &[&str]) -> Shift {
        let permissions = permissions.iter().map(|text| text.parse().unwrap()).collect();
        Shift { member: holder.member, store, permissions }
    }

    #[test]
    fn tells_each_holder_what_it_has_not_anyway() {
        let before = shop();
        let after = write(&before, "clerk", &[], &[allow("orders:read"), allow("orders:refund")]);
        let [clerk, chief, owner, strict] = [
            holder(&before, &[("clerk", None)]),
            holder(&before, &[("chief", None)]),
            holder(&before, &[("clerk", None), ("owner", None)]),
            holder(&before, &[("clerk", None), ("strict", None)]),
        ];
        let found = impact(&before, &after, &[clerk.clone(), chief.clone(), owner, strict]);
        assert_eq!(found.gains, [shift(&clerk, None, &["orders:refund"])]);
        assert_eq!(found.losses, [shift(&clerk, None, &["orders:void"]), shift(&chief, None, &["orders:void"])]);
        assert_eq!(impact(&before, &before, &[clerk, chief]), Impact::default());
    }

    #[test]
    fn a_store_is_told_where_it_differs() {
        let before = shop();
        let after = write(&before, "clerk", &[], &[allow("orders:read"), allow("orders:void"), allow("orders:refund")]);
        let (here, there) = (Some(StoreId::new()), Some(StoreId::new()));
        let at_store = holder(&before, &[("clerk", here)]);
        let everywhere = holder(&before, &[("clerk", None), ("clerk", here), ("chief", there)]);
        let found = impact(&before, &after, &[at_store.clone(), everywhere.clone()]);
        let gains = [
            shift(&at_store, here, &["orders:refund"]),
            // It refunds there already.
            shift(&everywhere, there, &[]),
            shift(&everywhere, None, &["orders:refund"]),
        ];
        assert_eq!(found, Impact { gains: gains.into(), losses: Vec::new() });
    }

    #[test]
    fn a_condition_that_comes_or_goes_counts() {
        let before = shop();
        let seller = holder(&before, &[("seller", None)]);
        let refund = |when| {
            let after = write(&before, "seller", &["clerk"], &[grant(Effect::Allow, "orders:refund", when)]);
            impact(&before, &after, std::slice::from_ref(&seller))
        };
        let shift = vec![shift(&seller, None, &["orders:refund"])];
        assert_eq!(refund(Some("context.web")), Impact::default());
        assert_eq!(refund(None), Impact { gains: shift.clone(), losses: Vec::new() });
        assert_eq!(refund(Some("context.shop")), Impact { gains: shift.clone(), losses: shift.clone() });
        let denied = [
            grant(Effect::Allow, "orders:refund", Some("context.web")),
            grant(Effect::Deny, "orders:refund", Some("context.late")),
        ];
        let after = write(&before, "seller", &["clerk"], &denied);
        let found = impact(&before, &after, std::slice::from_ref(&seller));
        assert_eq!(found, Impact { gains: Vec::new(), losses: shift });
    }

    #[test]
    fn a_pattern_stands_beside_the_names_it_covers() {
        let before = shop();
        let clerk = holder(&before, &[("clerk", None)]);
        let found = impact(&before, &write(&before, "clerk", &[], &[allow("*")]), std::slice::from_ref(&clerk));
        let gains = &found.gains[0].permissions;
        for pattern in ["*", "orders:*", "orders:refund", "members:*", "audit:read"] {
            assert!(gains.contains(&pattern.parse().unwrap()), "{pattern} in {gains:?}");
        }
        // It could read and void orders before.
        assert!(!gains.contains(&"orders:read".parse().unwrap()) && found.losses.is_empty(), "{found:?}");
    }
}
