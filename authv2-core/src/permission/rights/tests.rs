use super::*;
use crate::{
    id::OrgId,
    permission::{Effect, Grant, RoleDefinition, StepUp, builtin_roles},
};

const WEB: Option<&str> = Some("context.channel == \"web\"");

/// An organization with its built-in roles, one store in play, and an owner.
struct Organization {
    model: Model,
    store: StoreId,
    founder: MemberId,
}

impl Organization {
    fn new() -> Self {
        let model = Model::new(OrgId::new(), 1, "UTC").with_roles(builtin_roles().to_vec()).unwrap();
        Self { model, store: StoreId::new(), founder: MemberId::from(crate::id::UserId::new()) }
    }

    fn with(mut self, name: &str, inherits: &[&str], grants: &[Grant]) -> Self {
        self.model = self.written(name, inherits, grants);
        self
    }

    fn written(&self, name: &str, inherits: &[&str], grants: &[Grant]) -> Model {
        let inherits = inherits.iter().map(|name| (*name).to_owned()).collect();
        let definition = RoleDefinition { name: name.to_owned(), description: None, inherits, grants: grants.to_vec() };
        self.model.with_role(&definition).unwrap()
    }

    fn at_org(&self, roles: &[&str]) -> Vec<Assignment> {
        roles.iter().map(|name| Assignment { role: self.model.role(name).unwrap().id, store: None }).collect()
    }

    fn at_store(&self, roles: &[&str]) -> Vec<Assignment> {
        self.at_org(roles).into_iter().map(|held| Assignment { store: Some(self.store), ..held }).collect()
    }

    fn holder(&self, roles: &[&str]) -> Holder {
        self.holding(self.at_org(roles))
    }

    fn holding(&self, roles: Vec<Assignment>) -> Holder {
        Holder { member: MemberId::from(crate::id::UserId::new()), is_active_user: true, roles }
    }

    fn founder(&self) -> Holder {
        Holder { member: self.founder, ..self.holder(&["owner"]) }
    }

    /// Judges a change of somebody's roles in an organization that has its founder.
    fn assign(&self, author: &[Assignment], before: &[Assignment], after: &[Assignment]) -> Result<(), Refusal> {
        let somebody = self.holding(before.to_vec());
        let mut owners = vec![self.founder()];
        owners.extend(is_owner(&self.model, before).then(|| somebody.clone()));
        judge_assignment(&self.model, by(author), somebody.member, before, after, &owners)
    }

    /// Judges the edit of a role that `holders` hold.
    fn edit(
        &self,
        author: &[Assignment],
        (name, inherits, grants): (&str, &[&str], &[Grant]),
        holders: &[Holder],
    ) -> Result<(), Refusal> {
        let after = self.written(name, inherits, grants);
        judge_role(&self.model, &after, name, by(author), holders, &[self.founder()])
    }
}

fn by(roles: &[Assignment]) -> Author<'_> {
    Author { roles, bound_to: None, scopes: None }
}

fn grant(effect: Effect, pattern: &str, when: Option<&str>) -> Grant {
    Grant { permission: pattern.parse().unwrap(), effect, when: when.map(str::to_owned), step_up: None }
}

fn allow(pattern: &str) -> Grant {
    grant(Effect::Allow, pattern, None)
}

fn allow_when(pattern: &str, when: Option<&str>) -> Grant {
    grant(Effect::Allow, pattern, when)
}

fn deny(pattern: &str) -> Grant {
    grant(Effect::Deny, pattern, None)
}

fn deny_when(pattern: &str, when: Option<&str>) -> Grant {
    grant(Effect::Deny, pattern, when)
}

fn allow_with(pattern: &str, max_age: u64) -> Grant {
    Grant { step_up: Some(StepUp { max_age: Some(max_age), acr: None }), ..allow(pattern) }
}

fn lacks(pattern: &str) -> Result<(), Refusal> {
    Err(Refusal::Escalation { pattern: pattern.parse().unwrap(), store: None })
}

/// `clerk` reads and writes orders, `chief` may do anything with them.
fn shop() -> Organization {
    Organization::new().with("clerk", &[], &[allow("orders:read"), allow("orders:write")]).with(
        "chief",
        &[],
        &[allow("orders:*")],
    )
}

#[test]
fn one_assigns_what_one_holds_and_nothing_else() {
    let shop = shop();
    let [clerk, chief, admin] = ["clerk", "chief", "admin"].map(|name| shop.at_org(&[name]));
    assert_eq!(shop.assign(&chief, &[], &clerk), Ok(()));
    assert_eq!(shop.assign(&clerk, &[], &clerk), Ok(()));
    assert_eq!(shop.assign(&clerk, &[], &chief), lacks("orders:*"));
    assert_eq!(shop.assign(&chief, &clerk, &[chief.clone(), admin.clone()].concat()), lacks("api_keys:*"));
    assert_eq!(shop.assign(&admin, &[], &shop.at_org(&["owner"])), lacks("*"));
    assert_eq!(shop.assign(&shop.at_org(&["owner"]), &[], &[chief, admin].concat()), Ok(()));
    assert_eq!(shop.assign(&[], &[], &shop.at_org(&["member"])), Ok(()), "it gives nothing");
}

#[test]
fn one_may_not_promote_oneself() {
    let shop = shop();
    let admin = shop.at_org(&["admin"]);
    assert_eq!(shop.assign(&admin, &admin, &shop.at_org(&["admin", "owner"])), lacks("*"));
    assert_eq!(shop.assign(&admin, &admin, &shop.at_org(&["admin", "clerk"])), lacks("orders:read"));
}

#[test]
fn rights_at_a_store_are_handed_out_there_alone() {
    let shop = shop();
    let (here, everywhere) = (shop.at_store(&["clerk"]), shop.at_org(&["clerk"]));
    assert_eq!(shop.assign(&here, &[], &here), Ok(()));
    assert_eq!(shop.assign(&here, &[], &everywhere), lacks("orders:read"));
    assert_eq!(shop.assign(&everywhere, &[], &here), Ok(()));
    let elsewhere = [Assignment { store: Some(StoreId::new()), ..here[0] }];
    let refused = shop.assign(&here, &[], &elsewhere);
    assert!(matches!(refused, Err(Refusal::Escalation { store, .. }) if store == elsewhere[0].store), "{refused:?}");
}

#[test]
fn a_credential_bound_to_a_store_has_rights_there_alone() {
    let shop = shop();
    let (owner, owners) = (shop.at_org(&["owner"]), [shop.founder()]);
    let judge = |bound_to, before: &[Assignment], after: &[Assignment]| {
        let author = Author { roles: &owner, bound_to, scopes: None };
        judge_assignment(&shop.model, author, shop.holder(&[]).member, before, after, &owners)
    };
    let bound = Some(shop.store);
    assert_eq!(judge(bound, &[], &shop.at_store(&["clerk"])), Ok(()));
    assert_eq!(judge(bound, &[], &shop.at_org(&["clerk"])), lacks("orders:read"));
    assert!(judge(Some(StoreId::new()), &[], &shop.at_store(&["clerk"])).is_err());
    assert_eq!(judge(bound, &shop.at_org(&["owner"]), &[]), Err(Refusal::NotAnOwner));
    assert_eq!(judge(None, &[], &shop.at_org(&["clerk"])), Ok(()));
}

#[test]
fn a_conditional_right_passes_on_with_the_same_condition_alone() {
    let shop = shop()
        .with("web", &[], &[allow_when("orders:read", WEB)])
        .with("web-again", &[], &[allow_when("orders:read", WEB)])
        .with("web-spaced", &[], &[allow_when("orders:read", Some("context.channel  ==  \"web\""))])
        .with("fresh", &[], &[allow_with("orders:read", 300)])
        .with("fresher", &[], &[allow_with("orders:read", 60)])
        .with("reader", &[], &[allow("orders:read")]);
    let may = |author: &str, role: &str| shop.assign(&shop.at_org(&[author]), &[], &shop.at_org(&[role]));
    assert_eq!(may("web", "web-again"), Ok(()));
    assert_eq!(may("web", "reader"), lacks("orders:read"), "unconditionally what one holds under a condition");
    assert_eq!(may("web", "web-spaced"), lacks("orders:read"), "to the letter");
    assert_eq!(may("web", "fresh"), lacks("orders:read"));
    assert_eq!(may("fresh", "fresh"), Ok(()));
    assert_eq!(may("fresh", "fresher"), lacks("orders:read"), "the same wish for a sign-in");
    assert_eq!(may("fresh", "reader"), lacks("orders:read"));
    for role in ["web", "web-spaced", "fresh", "reader"] {
        assert_eq!(may("reader", role), Ok(()), "{role}");
    }
}

#[test]
fn a_role_that_is_edited_is_covered_whole() {
    let shop = shop().with("mixed", &[], &[allow("orders:read"), allow("vaults:open")]);
    let clerk = shop.at_org(&["clerk"]);
    let more = [allow("orders:read"), allow("vaults:open"), allow("orders:write")];
    assert_eq!(shop.edit(&clerk, ("mixed", &[], &more), &[]), lacks("vaults:open"));
    assert_eq!(shop.edit(&clerk, ("mixed", &[], &more[..1]), &[]), lacks("vaults:open"), "narrowing too");
    assert_eq!(shop.edit(&clerk, ("mixed", &[], &more[..2]), &[]), Ok(()), "changing nothing is free");
    let denied = [more[0].clone(), more[1].clone(), deny("orders:*")];
    assert_eq!(shop.edit(&clerk, ("mixed", &[], &denied), &[]), lacks("vaults:open"));
    assert_eq!(shop.edit(&clerk, ("new", &[], &[allow("orders:write")]), &[]), Ok(()));
    assert_eq!(shop.edit(&clerk, ("new", &[], &[allow("orders:refund")]), &[]), lacks("orders:refund"));
    assert_eq!(shop.edit(&clerk, ("new", &[], &[allow("orders:*")]), &[]), lacks("orders:*"));
    assert_eq!(shop.edit(&clerk, ("new", &[], &[allow("*")]), &[]), lacks("*"));
}

#[test]
fn a_right_held_at_a_store_alone_makes_no_role() {
    let shop = shop();
    let refused = shop.edit(&shop.at_store(&["owner"]), ("new", &[], &[allow("orders:read")]), &[]);
    assert_eq!(refused, lacks("orders:read"));
}

#[test]
fn a_role_inherits_only_what_its_editor_holds() {
    let shop = shop().with("junior", &[], &[]).with("senior", &["junior"], &[allow("vaults:open")]);
    let clerk = shop.at_org(&["clerk"]);
    assert_eq!(shop.edit(&clerk, ("new", &["clerk"], &[]), &[]), Ok(()));
    assert_eq!(shop.edit(&clerk, ("new", &["chief"], &[]), &[]), lacks("orders:*"));
    assert_eq!(shop.edit(&clerk, ("new", &["owner"], &[]), &[]), lacks("*"));
    // The heir holds more than the editor, and gets nothing that the editor has not.
    assert_eq!(shop.edit(&clerk, ("junior", &[], &[allow("orders:read")]), &[shop.holder(&["senior"])]), Ok(()));
    assert_eq!(shop.edit(&clerk, ("junior", &[], &[allow("orders:refund")]), &[]), lacks("orders:refund"));
}

#[test]
fn an_heir_is_not_set_free_by_way_of_its_parent() {
    let shop = shop().with("sealed", &[], &[deny("vaults:*")]).with("heir", &["sealed"], &[allow("vaults:open")]);
    let chief = shop.at_org(&["chief"]);
    assert_eq!(shop.edit(&chief, ("sealed", &[], &[]), &[]), lacks("vaults:open"));
    assert_eq!(shop.edit(&shop.at_org(&["owner"]), ("sealed", &[], &[]), &[]), Ok(()));
}

#[test]
fn lifting_a_deny_needs_the_rights_that_it_sets_free() {
    let shop = shop().with("suspended", &[], &[deny("*")]).with("held-back", &[], &[deny_when("orders:*", WEB)]);
    let [clerk, chief, suspended] = ["clerk", "chief", "suspended"].map(|name| shop.at_org(&[name]));
    let sleeping = [chief.clone(), suspended.clone()].concat();
    assert_eq!(shop.assign(&clerk, &sleeping, &chief), lacks("orders:*"));
    assert_eq!(shop.assign(&chief, &sleeping, &chief), Ok(()));
    assert_eq!(shop.assign(&clerk, &suspended, &[]), Ok(()), "it sets nothing free");
    assert_eq!(shop.assign(&clerk, &chief, &sleeping), Ok(()), "narrowing is free");
    assert_eq!(shop.assign(&sleeping, &sleeping, &chief), lacks("orders:*"), "not one's own deny");

    let sleeper = shop.holding(sleeping.clone());
    assert_eq!(shop.edit(&clerk, ("suspended", &[], &[]), std::slice::from_ref(&sleeper)), lacks("orders:*"));
    assert_eq!(shop.edit(&clerk, ("suspended", &[], &[deny("orders:*")]), &[sleeper]), Ok(()), "nothing to set free");

    let held_back = [chief.clone(), shop.at_org(&["held-back"])].concat();
    assert_eq!(shop.assign(&clerk, &held_back, &chief), lacks("orders:*"));
    assert_eq!(shop.assign(&chief, &held_back, &chief), Ok(()));
    assert_eq!(shop.assign(&held_back, &[], &chief), lacks("orders:*"), "what one holds under a deny");
    assert_eq!(shop.assign(&held_back, &[], &held_back), Ok(()), "and passes on under the same");
}

#[test]
fn a_deny_at_a_store_weighs_there_alone() {
    let shop = shop().with("suspended", &[], &[deny("*")]);
    let author = [shop.at_org(&["chief"]), shop.at_store(&["suspended"])].concat();
    let refused = shop.assign(&author, &[], &shop.at_org(&["clerk"]));
    assert!(matches!(refused, Err(Refusal::Escalation { store, .. }) if store == Some(shop.store)), "{refused:?}");
    let careful = [shop.at_org(&["clerk"]), shop.at_store(&["suspended"])].concat();
    assert_eq!(shop.assign(&author, &[], &careful), Ok(()));
}

#[test]
fn a_condition_on_roles_is_another_one_with_other_roles() {
    for when in ["principal.roles.contains(\"lead\")", "principal[\"\\u{72}oles\"].contains(\"lead\")"] {
        let shop = shop().with("lead", &[], &[]).with("refunds", &[], &[allow_when("orders:refund", Some(when))]);
        let (before, after) = (shop.at_org(&["refunds"]), shop.at_org(&["refunds", "lead"]));
        assert_eq!(shop.assign(&shop.at_org(&["clerk"]), &before, &after), lacks("orders:refund"));
        assert_eq!(shop.assign(&shop.at_org(&["chief"]), &before, &after), Ok(()));
        assert_eq!(shop.assign(&before, &[], &before), Ok(()), "verbatim");
    }
}

#[test]
fn only_an_owner_takes_anything_from_an_owner() {
    let shop = shop().with("suspended", &[], &[deny("orders:write")]).with("all", &[], &[allow("*")]);
    let [owner, admin, all] = ["owner", "admin", "all"].map(|name| shop.at_org(&[name]));
    let suspended = [owner.clone(), shop.at_org(&["suspended"])].concat();
    let suspended_at_store = [owner.clone(), shop.at_store(&["suspended"])].concat();
    for after in [&[][..], &all, &suspended, &suspended_at_store] {
        assert_eq!(shop.assign(&admin, &owner, after), Err(Refusal::NotAnOwner), "{after:?}");
        assert_eq!(shop.assign(&all, &owner, after), Err(Refusal::NotAnOwner), "{after:?}");
        assert_eq!(shop.assign(&owner, &owner, after), Ok(()), "{after:?}");
    }
    assert_eq!(shop.assign(&all, &owner, &[owner.clone(), admin.clone()].concat()), Ok(()), "it takes nothing");
    assert_eq!(shop.assign(&all, &[], &owner), Err(Refusal::NotAnOwner), "an owner is more than one who may do all");
    assert_eq!(shop.assign(&owner, &[], &owner), Ok(()));
    assert_eq!(shop.assign(&admin, &shop.at_store(&["owner"]), &[]), Ok(()), "an owner is one at the organization");
    assert_eq!(shop.assign(&shop.at_store(&["owner"]), &owner, &[]), Err(Refusal::NotAnOwner));
}

#[test]
fn only_an_owner_edits_away_what_an_owner_has() {
    let shop = shop().with("watched", &[], &[]).with("boss", &["owner"], &[]).with("all", &[], &[allow("*")]);
    let (admin, owner) = (shop.at_org(&["admin"]), shop.at_org(&["owner"]));
    let holder = shop.holder(&["owner", "watched"]);
    let deny_writes: (&str, &[&str], &[Grant]) = ("watched", &[], &[deny("orders:write")]);
    assert_eq!(shop.edit(&admin, deny_writes, std::slice::from_ref(&holder)), Err(Refusal::NotAnOwner));
    assert_eq!(shop.edit(&owner, deny_writes, &[holder]), Ok(()));
    assert_eq!(shop.edit(&admin, deny_writes, &[shop.holder(&["clerk", "watched"])]), Ok(()));

    let boss = shop.holder(&["boss"]);
    for grants in [&[][..], &[allow("*")]] {
        let demoted: (&str, &[&str], &[Grant]) = ("boss", &[], grants);
        let refused = shop.edit(&shop.at_org(&["owner"]), demoted, std::slice::from_ref(&boss));
        assert_eq!(refused, Ok(()), "the founder is an owner still");
        let refused = shop.edit(&admin, demoted, std::slice::from_ref(&boss));
        assert_eq!(refused, if grants.is_empty() { lacks("*") } else { Err(Refusal::NotAnOwner) });
        let all = shop.at_org(&["all"]);
        assert_eq!(shop.edit(&all, demoted, std::slice::from_ref(&boss)), Err(Refusal::NotAnOwner));
    }
}

#[test]
fn one_owner_remains_whom_nothing_is_denied() {
    let shop = shop().with("quiet", &[], &[deny_when("orders:read", WEB)]).with("boss", &["owner"], &[]);
    let founder = shop.founder();
    let denied = |mut holder: Holder, roles: Vec<Assignment>| {
        holder.roles.extend(roles);
        holder
    };
    let sleeping = Holder { is_active_user: false, ..shop.holder(&["owner"]) };
    let quiet = denied(shop.holder(&["owner"]), shop.at_org(&["quiet"]));
    let quiet_at_store = denied(shop.holder(&["boss"]), shop.at_store(&["quiet"]));
    let judge = |others: &[Holder], after: &[Assignment]| {
        let owners = [std::slice::from_ref(&founder), others].concat();
        judge_assignment(&shop.model, by(&founder.roles), founder.member, &founder.roles, after, &owners)
    };
    let weaker = [vec![], shop.at_org(&["admin"]), shop.at_store(&["owner"]), quiet.roles.clone()];
    for after in &weaker {
        for others in [vec![], vec![sleeping.clone()], vec![quiet.clone(), quiet_at_store.clone()]] {
            assert_eq!(judge(&others, after), Err(Refusal::LastOwner), "{after:?} beside {others:?}");
        }
        assert_eq!(judge(&[shop.holder(&["boss"])], after), Ok(()), "{after:?}");
    }
    assert_eq!(judge(&[], &shop.at_org(&["boss"])), Ok(()), "an owner still");

    // One who does not hold what it takes away is refused for that, whoever would remain.
    let refused = judge_assignment(
        &shop.model,
        by(&shop.at_org(&["admin"])),
        founder.member,
        &founder.roles,
        &[],
        std::slice::from_ref(&founder),
    );
    assert_eq!(refused, Err(Refusal::NotAnOwner));
    // Where nobody is left already, nobody is guarded.
    let roles = &sleeping.roles;
    let left = judge_assignment(&shop.model, by(roles), sleeping.member, roles, &[], std::slice::from_ref(&sleeping));
    assert_eq!(left, Ok(()));
}

#[test]
fn an_edit_leaves_an_owner_whom_nothing_is_denied() {
    let shop = shop().with("watched", &[], &[]).with("boss", &["owner"], &[]).with("all", &[], &[allow("*")]);
    let watched = shop.holder(&["owner", "watched"]);
    let boss = shop.holder(&["boss"]);
    let author = shop.at_org(&["owner"]);
    let edit = |name: &str, grants: &[Grant], holders: &[Holder], owners: &[Holder]| {
        judge_role(&shop.model, &shop.written(name, &[], grants), name, by(&author), holders, owners)
    };
    let (watched_alone, boss_alone) = (std::slice::from_ref(&watched), std::slice::from_ref(&boss));
    assert_eq!(edit("watched", &[deny("x:y")], watched_alone, watched_alone), Err(Refusal::LastOwner));
    assert_eq!(edit("watched", &[deny("x:y")], watched_alone, &[watched.clone(), boss.clone()]), Ok(()));
    assert_eq!(edit("watched", &[allow("x:y")], watched_alone, watched_alone), Ok(()));
    assert_eq!(edit("boss", &[allow("*")], boss_alone, boss_alone), Err(Refusal::LastOwner));
    assert_eq!(edit("boss", &[allow("*")], boss_alone, &[boss.clone(), shop.founder()]), Ok(()));
}

#[test]
fn an_edit_is_judged_wherever_its_holders_hold_it() {
    let shop = shop().with("sealed", &[], &[deny("orders:*")]);
    let holder = shop.holding(shop.at_store(&["chief", "sealed"]));
    let lift: (&str, &[&str], &[Grant]) = ("sealed", &[], &[]);
    let refused = shop.edit(&shop.at_org(&["clerk"]), lift, std::slice::from_ref(&holder));
    assert!(matches!(refused, Err(Refusal::Escalation { store, .. }) if store == Some(shop.store)), "{refused:?}");
    assert_eq!(shop.edit(&shop.at_store(&["chief"]), lift, &[holder]), Ok(()));
}
