//! API keys: whoever makes one, or gets a new secret of it, holds what it is good for.

use std::collections::BTreeSet;

use super::{Author, Judge, Refusal, atoms, places, refuse_at};
use crate::{
    id::StoreId,
    permission::{
        model::Model,
        name::Pattern,
        sum::{Sum, roles_at},
    },
    store::Assignment,
};

/// What a key is good for: whatever its scopes speak of, as far as the member that bounds it may do that.
#[derive(Debug, Clone, Copy)]
pub struct KeyRights<'a> {
    /// Its scopes.
    pub scopes: &'a [Pattern],
    /// The store that it acts at, and nowhere else; at the organization and its stores if none.
    pub store: Option<StoreId>,
    /// The roles of the member that bounds it.
    pub holder: &'a [Assignment],
    /// Whether that member is the author: else a condition may mean another thing for whoever presents the key.
    pub is_own: bool,
}

/// Judges whether `author` may have the secret of a key. A right held under a condition is held: the key stays under it.
/// Of a new key its member must hold each scope too; of one that is rotated it may have lost some.
///
/// # Errors
/// [`Refusal::Escalation`], [`Refusal::NotHeld`].
pub fn judge_key(model: &Model, author: Author<'_>, key: KeyRights<'_>, is_new: bool) -> Result<(), Refusal> {
    let KeyRights { scopes, store, holder, is_own } = key;
    let mut judge = Judge::new(model, author);
    let key_at = |place| Sum::of(model, roles_at(holder, place)).within(scopes);

    let (own, there) = (judge.at(store), key_at(store));
    for atom in atoms(&[own, &there]).into_iter().filter(|atom| atom.is_among(scopes)) {
        if own.is_empty_at(atom) {
            return Err(Refusal::Escalation { pattern: atom.pattern(), store });
        }
        if is_new && there.is_empty_at(atom) {
            return Err(Refusal::NotHeld { pattern: atom.pattern() });
        }
    }
    let reached = match store {
        Some(_) => BTreeSet::from([store]),
        None => places(&[holder, author.roles], author.bound_to),
    };
    reached.into_iter().try_for_each(|place| {
        let (own, there) = (judge.at(place), key_at(place));
        let atoms = atoms(&[own, &there]).into_iter();
        let uncovered = if is_own { there.uncovered(own, atoms) } else { there.uncovered_as_another(own, atoms) };
        refuse_at(uncovered, place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::OrgId,
        permission::{Effect, Grant, RoleDefinition, builtin_roles},
    };

    const SMALL: &str = "resource.amount <= 100";

    fn grant(effect: Effect, pattern: &str, when: Option<&str>) -> Grant {
        Grant { permission: pattern.parse().unwrap(), effect, when: when.map(str::to_owned), step_up: None }
    }

    fn allow(pattern: &str) -> Grant {
        grant(Effect::Allow, pattern, None)
    }

    /// An organization whose roles have one grant each, or a few.
    struct Shop {
        model: Model,
        store: StoreId,
    }

    impl Shop {
        fn new() -> Self {
            let roles: [(&str, Vec<Grant>); 6] = [
                ("reader", vec![allow("orders:read")]),
                ("chief", vec![allow("orders:*")]),
                ("small", vec![grant(Effect::Allow, "orders:refund", Some(SMALL))]),
                ("refunder", vec![allow("orders:refund")]),
                ("careful", vec![allow("orders:*"), grant(Effect::Deny, "orders:delete", None)]),
                ("wary", vec![allow("orders:*"), grant(Effect::Deny, "orders:delete", Some(SMALL))]),
            ];
            let mut model = Model::new(OrgId::new(), 1, "UTC").with_roles(builtin_roles().to_vec()).unwrap();
            for (name, grants) in roles {
                let name = name.to_owned();
                let role = RoleDefinition { name, description: None, inherits: vec![], grants };
                model = model.with_role(&role).unwrap();
            }
            Self { model, store: StoreId::new() }
        }

        fn held(&self, roles: &[&str]) -> Vec<Assignment> {
            roles.iter().map(|name| Assignment { role: self.model.role(name).unwrap().id, store: None }).collect()
        }

        fn held_there(&self, roles: &[&str]) -> Vec<Assignment> {
            self.held(roles).into_iter().map(|held| Assignment { store: Some(self.store), ..held }).collect()
        }

        /// Makes a key of one's own.
        fn mint(&self, roles: &[&str], scopes: &[&str]) -> Result<(), Refusal> {
            let roles = self.held(roles);
            self.judge(author(&roles), &roles, None, scopes, true)
        }

        /// Makes a key of a service account.
        fn mint_for(&self, roles: &[&str], account: &[&str], scopes: &[&str]) -> Result<(), Refusal> {
            self.judge(author(&self.held(roles)), &self.held(account), None, scopes, true)
        }

        fn judge(
            &self,
            author: Author<'_>,
            holder: &[Assignment],
            store: Option<StoreId>,
            scopes: &[&str],
            is_new: bool,
        ) -> Result<(), Refusal> {
            let key = KeyRights { scopes: &patterns(scopes), store, holder, is_own: false };
            judge_key(&self.model, author, key, is_new)
        }
    }

    fn author(roles: &[Assignment]) -> Author<'_> {
        Author { roles, bound_to: None, scopes: None }
    }

    fn patterns(scopes: &[&str]) -> Vec<Pattern> {
        scopes.iter().map(|scope| scope.parse().unwrap()).collect()
    }

    fn lacks(pattern: &str) -> Result<(), Refusal> {
        Err(Refusal::Escalation { pattern: pattern.parse().unwrap(), store: None })
    }

    #[test]
    fn a_key_gets_what_its_maker_holds_and_nothing_else() {
        let shop = Shop::new();
        for (roles, scopes, outcome) in [
            (&["reader"][..], &["orders:read"][..], Ok(())),
            (&["reader"], &["orders:write"], lacks("orders:write")),
            (&["reader"], &["orders:read", "stock:read"], lacks("stock:read")),
            (&["reader"], &["orders:*"], lacks("orders:*")),
            (&["reader", "refunder"], &["orders:read", "orders:refund"], Ok(())),
            (&["chief"], &["orders:*"], Ok(())),
            (&["chief"], &["orders:anything", "orders:read"], Ok(())),
            (&["chief"], &["*"], lacks("*")),
            (&["admin"], &["members:*", "audit:read"], Ok(())),
            (&["admin"], &["audit:*"], lacks("audit:*")),
            (&["owner"], &["*"], Ok(())),
            (&["member"], &["orders:read"], lacks("orders:read")),
            (&[], &["*"], lacks("*")),
        ] {
            assert_eq!(shop.mint(roles, scopes), outcome, "{roles:?} {scopes:?}");
        }
    }

    #[test]
    fn what_is_held_under_a_condition_is_held_and_what_is_denied_is_not() {
        let shop = Shop::new();
        assert_eq!(shop.mint(&["small"], &["orders:refund"]), Ok(()));
        assert_eq!(shop.mint(&["wary"], &["orders:*"]), Ok(()));
        assert_eq!(shop.mint(&["careful"], &["orders:read"]), Ok(()));
        assert_eq!(shop.mint(&["careful"], &["orders:*"]), lacks("orders:delete"));
        assert_eq!(shop.mint(&["owner", "careful"], &["*"]), lacks("orders:delete"));
    }

    #[test]
    fn a_service_account_holds_the_scopes_and_the_maker_covers_what_it_holds_of_them() {
        let shop = Shop::new();
        let not_held = |pattern: &str| Err(Refusal::NotHeld { pattern: pattern.parse().unwrap() });
        assert_eq!(shop.mint_for(&["chief"], &["reader"], &["orders:read"]), Ok(()));
        assert_eq!(shop.mint_for(&["chief"], &["reader"], &["orders:write"]), not_held("orders:write"));
        assert_eq!(shop.mint_for(&["owner"], &["chief"], &["*"]), not_held("*"));
        assert_eq!(shop.mint_for(&["reader"], &["owner"], &["orders:read"]), Ok(()), "within the scopes");
        assert_eq!(shop.mint_for(&["reader"], &["owner"], &["orders:*"]), lacks("orders:*"));
        // Under a condition oneself, one gets nothing that is under none.
        assert_eq!(shop.mint_for(&["small"], &["refunder"], &["orders:refund"]), lacks("orders:refund"));
        assert_eq!(shop.mint_for(&["wary"], &["chief"], &["orders:read"]), Ok(()));
        assert_eq!(shop.mint_for(&["wary"], &["chief"], &["orders:delete"]), lacks("orders:delete"));
        assert_eq!(shop.mint_for(&["small"], &["small"], &["orders:refund"]), Ok(()));
        assert_eq!(shop.mint_for(&["refunder"], &["small"], &["orders:refund"]), Ok(()));
    }

    #[test]
    fn a_condition_on_the_caller_is_another_one_in_the_hands_of_another() {
        let mut shop = Shop::new();
        let chiefs = Some("principal.roles.contains(\"chief\")");
        let spelled = Some("principal[\"\\u{72}oles\"].contains(\"chief\")");
        for (name, grants) in [
            ("personal", vec![grant(Effect::Allow, "orders:refund", chiefs)]),
            ("spelled", vec![grant(Effect::Allow, "orders:refund", spelled)]),
            ("barred", vec![allow("orders:refund"), grant(Effect::Deny, "orders:refund", chiefs)]),
        ] {
            let role = RoleDefinition { name: name.to_owned(), description: None, inherits: vec![], grants };
            shop.model = shop.model.with_role(&role).unwrap();
        }
        let scopes = patterns(&["orders:refund"]);
        let judged = |roles: &[&str], account: &[&str], is_own, is_new| {
            let (roles, holder) = (shop.held(roles), shop.held(account));
            let key = KeyRights { scopes: &scopes, store: None, holder: &holder, is_own };
            judge_key(&shop.model, author(&roles), key, is_new)
        };
        for name in ["personal", "spelled", "barred"] {
            for is_new in [true, false] {
                assert_eq!(judged(&[name], &[name], true, is_new), Ok(()), "{name}: one's own");
                assert_eq!(judged(&[name], &[name], false, is_new), lacks("orders:refund"), "{name}");
                assert_eq!(judged(&["refunder"], &[name], false, is_new), Ok(()), "{name}: under no condition oneself");
            }
        }
    }

    #[test]
    fn what_an_account_holds_at_a_store_alone_is_covered_there() {
        let shop = Shop::new();
        let (small, at_store) = (shop.held(&["small"]), shop.held_there(&["refunder"]));
        let account = [small.clone(), at_store.clone()].concat();
        let there = Some(shop.store);
        let lacks_there = Err(Refusal::Escalation { pattern: "orders:refund".parse().unwrap(), store: there });
        assert_eq!(shop.judge(author(&small), &account, None, &["orders:refund"], true), lacks_there);
        assert_eq!(shop.judge(author(&account), &account, None, &["orders:refund"], true), Ok(()));
        assert_eq!(shop.judge(author(&at_store), &at_store, there, &["orders:refund"], true), Ok(()));
        assert_eq!(shop.judge(author(&at_store), &at_store, None, &["orders:refund"], true), lacks("orders:refund"));
        let bound = Author { bound_to: there, ..author(&small) };
        assert_eq!(shop.judge(bound, &small, None, &["orders:refund"], true), lacks("orders:refund"));
        assert_eq!(shop.judge(bound, &small, there, &["orders:refund"], true), Ok(()));
    }

    #[test]
    fn a_key_that_makes_a_key_stays_within_its_own_scopes() {
        let (shop, own) = (Shop::new(), patterns(&["orders:read", "stock:*"]));
        let owner = shop.held(&["owner"]);
        let key = Author { scopes: Some(&own), ..author(&owner) };
        for (scopes, outcome) in [
            (&["orders:read"][..], Ok(())),
            (&["stock:*", "stock:count"], Ok(())),
            (&["orders:write"], lacks("orders:write")),
            (&["orders:*"], lacks("orders:*")),
            (&["*"], lacks("*")),
        ] {
            assert_eq!(shop.judge(key, &owner, None, scopes, true), outcome, "{scopes:?}");
        }
        let all = patterns(&["*"]);
        let key = Author { scopes: Some(&all), ..author(&owner) };
        assert_eq!(shop.judge(key, &owner, None, &["*"], true), Ok(()));
        assert!(key.is_owner(&shop.model));
        assert!(!Author { scopes: Some(&own), ..key }.is_owner(&shop.model));
    }

    #[test]
    fn who_rotates_holds_the_scopes_though_the_account_may_have_lost_them() {
        let (shop, nothing) = (Shop::new(), []);
        let (reader, chief) = (shop.held(&["reader"]), shop.held(&["chief"]));
        assert_eq!(shop.judge(author(&chief), &nothing, None, &["orders:read"], false), Ok(()));
        assert_eq!(shop.judge(author(&reader), &nothing, None, &["orders:write"], false), lacks("orders:write"));
        assert_eq!(shop.judge(author(&chief), &reader, None, &["orders:*"], false), Ok(()));
    }
}
