//! The rules of a decision, one by one.

use std::time::Duration;

use super::{model, role};
use crate::{
    clock::Timestamp,
    id::StoreId,
    permission,
    permission::{
        Decision, Effect, Explanation, Grant, Outcome, Permission, Question, Rights, Role, SessionFacts, Snapshot,
        StepUp, Subject,
    },
    store::{Assignment, Risk},
};

const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);
static READ: Permission = permission!("orders:read");
static REFUND: Permission = permission!("orders:refund");

fn allow(pattern: &str) -> Grant {
    Grant { permission: pattern.parse().unwrap(), effect: Effect::Allow, when: None, step_up: None }
}

fn deny(pattern: &str) -> Grant {
    Grant { effect: Effect::Deny, ..allow(pattern) }
}

fn when(text: &str, grant: Grant) -> Grant {
    Grant { when: Some(text.to_owned()), ..grant }
}

fn step_up(max_age: Option<u64>, acr: Option<&str>) -> StepUp {
    StepUp { max_age, acr: acr.map(str::to_owned) }
}

fn wants(wanted: StepUp, grant: Grant) -> Grant {
    Grant { step_up: Some(wanted), ..grant }
}

fn compile(roles: Vec<Role>) -> Snapshot {
    Snapshot::compile(model(roles))
}

fn holding(snapshot: &Snapshot, roles: &[&str]) -> Rights {
    let assignment = |name: &&str| Assignment { role: snapshot.model().role(name).unwrap().id, store: None };
    snapshot.rights(&roles.iter().map(assignment).collect::<Vec<_>>())
}

fn decide(snapshot: &Snapshot, rights: &Rights, permission: &Permission) -> Decision {
    snapshot.decide(rights, &Question::new(permission), &Subject::default(), NOW)
}

fn explain(snapshot: &Snapshot, roles: &[&str], permission: &Permission) -> Explanation {
    snapshot.explain(&holding(snapshot, roles), &Question::new(permission), &Subject::default(), NOW)
}

fn signed_in(age: u64, acr: &str) -> Subject<'_> {
    let auth_time = NOW - Duration::from_secs(age);
    let session = SessionFacts { amr: "pwd", acr, auth_time, opened_at: NOW, risk: Risk::Low };
    Subject { session: Some(session), ..Subject::default() }
}

#[test]
fn allows_what_a_role_or_an_ancestor_grants_and_nothing_else() {
    let snapshot = compile(vec![
        role("clerk", &["reader"], vec![allow("orders:refund")]),
        role("reader", &[], vec![allow("orders:read")]),
    ]);
    let (clerk, reader) = (holding(&snapshot, &["clerk"]), holding(&snapshot, &["reader"]));
    assert_eq!(decide(&snapshot, &clerk, &READ), Decision::Allowed);
    assert_eq!(decide(&snapshot, &reader, &READ), Decision::Allowed);
    assert_eq!(decide(&snapshot, &clerk, &REFUND), Decision::Allowed);
    assert_eq!(decide(&snapshot, &reader, &REFUND), Decision::Denied);
    assert_eq!(decide(&snapshot, &clerk, &permission!("orders:list")), Decision::Denied);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &[]), &READ), Decision::Denied);
    let empty = compile(Vec::new());
    assert_eq!(decide(&empty, &empty.rights(&[]), &READ), Decision::Denied);
}

#[test]
fn a_wildcard_speaks_of_permissions_that_no_grant_names() {
    let snapshot = compile(vec![
        role("orders", &[], vec![allow("orders:*"), deny("orders:refund")]),
        role("owner", &[], vec![allow("*")]),
    ]);
    let (orders, owner) = (holding(&snapshot, &["orders"]), holding(&snapshot, &["owner"]));
    assert_eq!(decide(&snapshot, &orders, &permission!("orders:invented")), Decision::Allowed);
    assert_eq!(decide(&snapshot, &orders, &REFUND), Decision::Denied);
    assert_eq!(decide(&snapshot, &orders, &permission!("invented:read")), Decision::Denied);
    assert_eq!(decide(&snapshot, &owner, &permission!("invented:read")), Decision::Allowed);
    assert_eq!(decide(&snapshot, &owner, &REFUND), Decision::Allowed);
}

#[test]
fn a_deny_beats_every_allow_wherever_it_stands() {
    let snapshot = compile(vec![
        role("base", &[], vec![deny("orders:refund")]),
        role("heir", &["base"], vec![allow("orders:refund")]),
        role("owner", &[], vec![allow("*")]),
    ]);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["heir"]), &REFUND), Decision::Denied);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["owner", "heir"]), &REFUND), Decision::Denied);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["owner", "heir"]), &READ), Decision::Allowed);
}

#[test]
fn a_role_held_at_a_store_counts_there_alone() {
    let roles = vec![
        role("clerk", &[], vec![allow("orders:refund")]),
        role("reader", &[], vec![allow("orders:read")]),
        role("suspended", &[], vec![deny("*")]),
    ];
    let (north, south) = (StoreId::new(), StoreId::new());
    let mut model = model(roles);
    model.stores = vec![(north, "north".to_owned()), (south, "south".to_owned())];
    let snapshot = Snapshot::compile(model);
    let id = |name| snapshot.model().role(name).unwrap().id;
    let rights = snapshot.rights(&[
        Assignment { role: id("reader"), store: None },
        Assignment { role: id("clerk"), store: Some(north) },
        Assignment { role: id("suspended"), store: Some(south) },
    ]);
    let decide = |permission, store| {
        snapshot.decide(&rights, &Question { store, ..Question::new(permission) }, &Subject::default(), NOW)
    };
    assert_eq!(decide(&READ, None), Decision::Allowed);
    assert_eq!(decide(&READ, Some(north)), Decision::Allowed);
    assert_eq!(decide(&READ, Some(south)), Decision::Denied);
    assert_eq!(decide(&REFUND, None), Decision::Denied);
    assert_eq!(decide(&REFUND, Some(north)), Decision::Allowed);
    assert_eq!(decide(&REFUND, Some(south)), Decision::Denied);
    assert_eq!(decide(&READ, Some(StoreId::new())), Decision::Denied, "a store of another organization");
    assert_eq!(snapshot.roles(&rights, Some(north)), ["clerk", "reader"]);
    assert_eq!(snapshot.roles(&rights, None), ["reader"]);
    assert_eq!(snapshot.roles(&rights, Some(StoreId::new())), [""; 0]);
}

#[test]
fn rights_of_another_snapshot_allow_nothing() {
    let roles = vec![role("owner", &[], vec![allow("*")])];
    let (before, after) = (compile(roles.clone()), compile(roles));
    let rights = holding(&before, &["owner"]);
    assert_eq!(decide(&before, &rights, &READ), Decision::Allowed);
    assert_eq!(decide(&after, &rights, &READ), Decision::Denied);
    assert_eq!(after.explain(&rights, &Question::new(&READ), &Subject::default(), NOW).decision, Decision::Denied);
    assert!(after.permissions(&rights, None).is_empty());
}

#[test]
fn a_stored_condition_that_does_not_compile_never_grants_and_always_denies() {
    let snapshot = compile(vec![
        role("broken-allow", &[], vec![when("((", allow("orders:read"))]),
        role("broken-deny", &[], vec![when("((", deny("orders:read"))]),
        role("owner", &[], vec![allow("*")]),
    ]);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["broken-allow"]), &READ), Decision::Denied);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["broken-allow", "owner"]), &READ), Decision::Allowed);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["broken-deny", "owner"]), &READ), Decision::Denied);
    let explanation = explain(&snapshot, &["owner", "broken-deny"], &READ);
    assert!(matches!(explanation.tried[0].outcome, Outcome::Failed(_)), "{explanation:?}");
    assert_eq!(explanation.reason.unwrap().role, "broken-deny");
}

#[test]
fn a_wish_for_a_better_sign_in_is_told_only_where_nothing_else_allows() {
    let fresh = step_up(Some(300), None);
    let strong = step_up(None, Some("aal2"));
    let snapshot = compile(vec![
        role("a-fresh", &[], vec![wants(fresh.clone(), allow("orders:refund"))]),
        role("b-strong", &[], vec![wants(strong.clone(), allow("orders:refund"))]),
        role("plain", &[], vec![allow("orders:refund")]),
        role("never", &[], vec![deny("orders:*")]),
    ]);
    let ask = |roles: &[&str], subject: &Subject<'_>| {
        snapshot.decide(&holding(&snapshot, roles), &Question::new(&REFUND), subject, NOW)
    };
    assert_eq!(ask(&["a-fresh"], &signed_in(300, "aal1")), Decision::Allowed);
    assert_eq!(ask(&["a-fresh"], &signed_in(301, "aal1")), Decision::StepUp(fresh.clone()));
    assert_eq!(ask(&["a-fresh"], &Subject::default()), Decision::StepUp(fresh.clone()));
    assert_eq!(ask(&["b-strong", "a-fresh"], &Subject::default()), Decision::StepUp(fresh));
    assert_eq!(ask(&["b-strong", "a-fresh"], &signed_in(9_999, "aal3")), Decision::Allowed);
    assert_eq!(ask(&["a-fresh", "plain"], &Subject::default()), Decision::Allowed);
    assert_eq!(ask(&["a-fresh", "never"], &signed_in(0, "aal3")), Decision::Denied);
    let explanation = explain(&snapshot, &["b-strong"], &REFUND);
    assert_eq!(explanation.tried[0].outcome, Outcome::StepUp(strong));
    assert_eq!(explanation.reason.unwrap().role, "b-strong");
}

#[test]
fn a_class_is_met_by_itself_and_by_known_stronger_ones() {
    for (has, wanted, met) in [
        ("aal1", "aal1", true),
        ("aal2", "aal1", true),
        ("aal3", "aal2", true),
        ("aal1", "aal2", false),
        ("aal2", "aal3", false),
        ("silver", "silver", true),
        ("aal3", "silver", false),
        ("silver", "aal1", false),
        ("", "aal1", false),
        ("AAL3", "aal1", false),
    ] {
        let snapshot = compile(vec![role("r", &[], vec![wants(step_up(None, Some(wanted)), allow("*"))])]);
        let rights = holding(&snapshot, &["r"]);
        let decision = snapshot.decide(&rights, &Question::new(&READ), &signed_in(0, has), NOW);
        assert_eq!(decision.is_allowed(), met, "{has} for {wanted}");
    }
}

#[test]
fn a_deny_takes_no_notice_of_a_wish() {
    let snapshot = compile(vec![role("r", &[], vec![wants(step_up(Some(1), None), deny("*")), allow("*")])]);
    assert_eq!(decide(&snapshot, &holding(&snapshot, &["r"]), &READ), Decision::Denied);
}

#[test]
fn explains_by_the_shortest_path() {
    let snapshot = compile(vec![
        role("top", &[], vec![allow("orders:read")]),
        role("middle", &["top"], vec![]),
        role("long", &["middle"], vec![]),
        role("other-way", &["top"], vec![]),
        role("wide", &["long", "other-way"], vec![]),
    ]);
    let explanation = explain(&snapshot, &["wide"], &READ);
    let reason = explanation.reason.unwrap();
    assert_eq!((reason.role.as_str(), reason.grant.to_string().as_str()), ("top", "orders:read"));
    assert_eq!(reason.via, ["wide", "other-way", "top"]);
    assert!(explanation.needed.is_empty() && explanation.tried.is_empty());
    assert_eq!(explain(&snapshot, &["wide", "top"], &READ).reason.unwrap().via, ["top"]);
}

#[test]
fn names_what_would_allow_it_unless_a_deny_stands_in_the_way() {
    let mut roles: Vec<Role> =
        (0..12).rev().map(|index| role(&format!("r{index:02}"), &[], vec![allow("orders:read")])).collect();
    roles.push(role("a-owner", &[], vec![allow("*")]));
    roles.push(role("a-vain", &[], vec![allow("orders:*"), deny("orders:read")]));
    roles.push(role("nothing", &[], vec![]));
    let snapshot = compile(roles);
    let denied = explain(&snapshot, &["nothing"], &READ);
    let names: Vec<&str> = denied.needed.iter().map(|needed| needed.role.as_str()).collect();
    assert_eq!(names, ["a-owner", "r00", "r01", "r02", "r03", "r04", "r05", "r06"]);
    assert_eq!((denied.reason, denied.tried), (None, Vec::new()));
    assert!(explain(&snapshot, &["a-vain"], &READ).needed.is_empty());
}

#[test]
fn lists_the_patterns_granted_less_those_denied_as_a_whole() {
    let snapshot = compile(vec![role(
        "r",
        &[],
        vec![
            allow("orders:read"),
            allow("orders:*"),
            deny("orders:read"),
            allow("items:list"),
            allow("items:*"),
            deny("items:*"),
            when("true", allow("users:read")),
            when("true", deny("users:read")),
            wants(step_up(Some(1), None), allow("reports:read")),
        ],
    )]);
    let listed = snapshot.permissions(&holding(&snapshot, &["r"]), None);
    assert_eq!(listed, ["orders:*", "reports:read", "users:read"]);
}

#[test]
fn knows_the_actions_that_grants_name() {
    let snapshot = compile(vec![
        role("a", &[], vec![allow("orders:write"), allow("orders:*"), allow("order:x")]),
        role("b", &[], vec![deny("orders:read"), when("true", allow("orders:write"))]),
    ]);
    assert_eq!(snapshot.actions("orders"), ["read", "write"]);
    assert!(snapshot.actions("items").is_empty());
}

#[test]
fn statistics_name_what_a_question_was_about_and_who_decided() {
    let snapshot = compile(vec![
        role("clerk", &["reader"], vec![allow("orders:*")]),
        role("reader", &[], vec![allow("orders:read"), deny("orders:refund")]),
    ]);
    let rights = holding(&snapshot, &["clerk"]);
    let told = |permission: &Permission| {
        let judged = snapshot.judge(&rights, &Question::new(permission), &Subject::default(), NOW);
        let atom = judged.atom.unwrap();
        let by = snapshot.attribute(&rights, atom, None).and_then(|by| snapshot.grant(by));
        (snapshot.name(atom).to_owned(), by.map(|(role, grant)| format!("{role}/{}", grant.permission)))
    };
    let by = |name: &str| Some(name.to_owned());
    assert_eq!(told(&READ), ("orders:read".to_owned(), by("reader/orders:read")));
    assert_eq!(told(&REFUND), ("orders:refund".to_owned(), by("reader/orders:refund")));
    assert_eq!(told(&permission!("orders:invented")), ("orders:*".to_owned(), by("clerk/orders:*")));
    assert_eq!(told(&permission!("invented:read")), ("*".to_owned(), None));
}

#[test]
fn many_roles_at_once_are_all_counted() {
    let roles: Vec<Role> =
        (0..200).map(|index| role(&format!("r{index}"), &[], vec![allow(&format!("p{index}:do"))])).collect();
    let snapshot = compile(roles);
    let names: Vec<String> = (0..200).filter(|index| index % 3 == 0).map(|index| format!("r{index}")).collect();
    let rights = holding(&snapshot, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for index in 0..200 {
        let permission: Permission = format!("p{index}:do").parse().unwrap();
        assert_eq!(decide(&snapshot, &rights, &permission).is_allowed(), index % 3 == 0, "{permission}");
    }
}
