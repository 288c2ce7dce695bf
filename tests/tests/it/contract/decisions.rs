//! Decisions: what roles allow and deny, where, and why.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_invalid, assert_problem, members, on_each_store},
    tenancy::{
        NOBODY_ID, Organization, Person, allow, allow_when, assert_refuses, deny, deny_when, deploy, held, held_at,
    },
};

on_each_store!(a_grant_speaks_of_what_it_matches, rights_reach_down_to_stores_and_nowhere_else);

const CHECK: &str = "/auth/permissions/check";
const CHECK_MANY: &str = "/auth/permissions/check-many";

async fn a_grant_speaks_of_what_it_matches(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("clerk", json!([])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    for (grant, permission, allowed) in [
        ("orders:read", "orders:read", true),
        ("orders:read", "orders:refund", false),
        ("orders:read", "orders:read2", false),
        ("orders:read", "order:read", false),
        ("orders:*", "orders:read", true),
        ("orders:*", "orders:never-heard-of", true),
        ("orders:*", "orders2:read", false),
        ("*", "orders:read", true),
        ("*", "a:b", true),
    ] {
        acme.role("clerk", json!([allow(grant)])).await;
        let answer = bob.check(json!({"permission": permission})).await;
        assert_eq!(answer.json, json!({"allowed": allowed}), "{grant} for {permission}");
    }
    acme.role("clerk", json!([])).await;
    assert!(!bob.may("orders:read").await, "no grant, no right");
}

/// Wherever it stands.
#[tokio::test]
async fn deny_overrides_allow() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("top", json!([allow("*")])).await;
    acme.role("deny-top", json!([deny("orders:refund")])).await;
    acme.role_with("deny-heir", json!({"inherits": ["deny-top"], "grants": [allow("*")]})).await;
    acme.role_with("deny-grandchild", json!({"inherits": ["deny-heir", "top"], "grants": [allow("orders:*")]})).await;
    acme.role("both", json!([allow("orders:refund"), deny("orders:refund")])).await;
    acme.role("deny-wide", json!([deny("orders:*")])).await;
    acme.role("deny-all", json!([deny("*")])).await;
    acme.role("deny-when", json!([deny_when("orders:refund", "resource.amount > 10")])).await;
    let bob = acme.member("bob", json!([])).await;
    for (roles, allowed) in [
        (json!([held("top")]), true),
        (json!([held("top"), held("deny-top")]), false),
        (json!([held("deny-top")]), false),
        (json!([held("deny-heir")]), false),
        (json!([held("deny-grandchild")]), false),
        (json!([held("both")]), false),
        (json!([held("both"), held("top")]), false),
        (json!([held("top"), held("deny-wide")]), false),
        (json!([held("top"), held("deny-all")]), false),
        (json!([held("top"), held("deny-when")]), false),
        (json!([held("top"), held_at("deny-top", &north)]), true),
        (json!([held("deny-top"), held_at("top", &north)]), false),
    ] {
        acme.set_roles(&bob, roles.clone()).await;
        let refund = json!({"permission": "orders:refund", "resource": {"amount": 100}});
        assert_eq!(bob.passes(refund).await, allowed, "{roles}");
    }
    for (roles, at_north) in [
        (json!([held("top"), held_at("deny-top", &north)]), false),
        (json!([held("deny-top"), held_at("top", &north)]), false),
        (json!([held_at("top", &north)]), true),
    ] {
        acme.set_roles(&bob, roles.clone()).await;
        assert_eq!(bob.passes(json!({"permission": "orders:refund", "store": "north"})).await, at_north, "{roles}");
    }
    acme.set_roles(&bob, json!([held("top"), held("deny-when")])).await;
    for (resource, allowed) in [
        (json!({"amount": 10}), true),
        (json!({"amount": 11}), false),
        (json!({}), false),
        (json!({"amount": "x"}), false),
    ] {
        let refund = json!({"permission": "orders:refund", "resource": resource});
        assert_eq!(bob.passes(refund).await, allowed, "a deny that fails denies: {resource}");
    }
    assert!(!bob.may("orders:refund").await);
}

async fn rights_reach_down_to_stores_and_nowhere_else(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let other = Organization::found_by(&acme.owner, "other").await;
    let (north, south, foreign) = (acme.store("north").await, acme.store("south").await, other.store("east").await);
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.role("refunder", json!([allow("orders:refund")])).await;
    let bob = acme.member("bob", json!([held("reader"), held_at("refunder", &north)])).await;
    let (at_north, at_south) = (bob.at_store("acme", "north").await, bob.at_store("acme", "south").await);
    let read = |store: &str| json!({"permission": "orders:read", "store": store});
    let refund = |store: &str| json!({"permission": "orders:refund", "store": store});
    for store in ["north", &north, "south", &south] {
        assert!(bob.passes(read(store)).await, "{store}");
        assert_eq!(bob.passes(refund(store)).await, store == "north" || store == north, "{store}");
    }
    // Without a store: the one of the token, else the organization.
    for (person, refunds) in [(&bob, false), (&at_north, true), (&at_south, false)] {
        assert!(person.may("orders:read").await);
        assert_eq!(person.may("orders:refund").await, refunds);
    }
    // A session of one store says nothing of another.
    for body in [read("south"), read(&south), refund("south")] {
        let answer = at_north.post(CHECK, body).await;
        assert_ne!(answer.json["allowed"], true, "{}", answer.text);
    }
    // Nor does anything of another organization, or of none: and both alike.
    let mut answers = Vec::new();
    for store in [&*foreign, "east", NOBODY_ID, "nowhere"] {
        let mut answer = acme.owner.post(CHECK, read(store)).await;
        assert_ne!(answer.json["allowed"], true, "{}", answer.text);
        if answer.status != 200 {
            answer.json["request_id"] = json!("");
        }
        answers.push((answer.status, answer.json));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn who_is_in_no_organization_may_nothing() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let nowhere = Person::sign_in(&deployment.api, &acme.owner.email, json!({})).await;
    assert_eq!(nowhere.check(json!({"permission": "orders:read"})).await.json, json!({"allowed": false}));
    let many =
        nowhere.post(CHECK_MANY, json!({"checks": [{"permission": "a:b"}, {"permission": "orders:read"}]})).await;
    assert_eq!(many.json, json!({"results": [{"allowed": false}, {"allowed": false}]}), "{}", many.text);
    assert_problem(&nowhere.get("/orders/7").await, 403, "permission_denied");
    for path in [CHECK, CHECK_MANY] {
        let nobody = deployment.api.post(path, "", &json!({"permission": "a:b"})).await.unwrap();
        assert_problem(&nobody, 401, "unauthenticated");
    }
}

#[tokio::test]
async fn refuses_a_question_that_is_none() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let check = |body| acme.owner.post(CHECK, body);
    for permission in ["", "orders", "orders:*", "*", "Orders:read", "orders:read:x", "platform_admin"] {
        assert_refuses(&check(json!({"permission": permission})).await, "permission");
    }
    assert_invalid(&check(json!({})).await, "permission", "required");
    for (body, field, code) in [
        (json!({"permission": "a:b", "user": "x"}), "user", "unknown_field"),
        (json!({"permission": "a:b", "resource": "x"}), "resource", "invalid_type"),
        (json!({"permission": "a:b", "context": []}), "context", "invalid_type"),
        (json!({"permission": "a:b", "explain": "yes"}), "explain", "invalid_type"),
        (json!({"permission": "a:b", "store": 7}), "store", "invalid_type"),
    ] {
        assert_invalid(&check(body).await, field, code);
    }
    let check_many = |body| acme.owner.post(CHECK_MANY, body);
    let many = |count| json!({"checks": vec![json!({"permission": "a:b"}); count]});
    let most = check_many(many(100)).await;
    assert_eq!((most.status, most.json["results"].as_array().map(Vec::len)), (200, Some(100)), "{}", most.text);
    assert_refuses(&check_many(many(101)).await, "checks");
    assert_invalid(&check_many(json!({})).await, "checks", "required");
    let bad = json!({"checks": [{"permission": "a:b"}, {"permission": "nonsense"}]});
    assert_refuses(&check_many(bad).await, "checks[1].permission");
    let unknown = json!({"checks": [{"permission": "a:b", "x": 1}]});
    assert_invalid(&check_many(unknown).await, "checks[0].x", "unknown_field");
}

#[tokio::test]
async fn many_are_answered_in_order_as_each_alone() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read"), allow_when("orders:refund", "resource.amount <= 500")])).await;
    acme.role("chief", json!([allow("stock:*")])).await;
    let bob = acme.member("bob", json!([held("clerk"), held_at("chief", &north)])).await;
    let checks = json!([
        {"permission": "orders:read"},
        {"permission": "orders:void"},
        {"permission": "orders:refund", "resource": {"amount": 500}},
        {"permission": "orders:refund", "resource": {"amount": 501}},
        {"permission": "stock:count"},
        {"permission": "stock:count", "store": "north"},
        {"permission": "orders:read", "explain": true},
        {"permission": "orders:refund"},
    ]);
    let many = bob.post(CHECK_MANY, json!({"checks": checks})).await;
    assert_eq!((many.status, members(&many.json)), (200, vec!["results"]), "{}", many.text);
    let allowed: Vec<&Value> = many.json["results"].as_array().unwrap().iter().map(|one| &one["allowed"]).collect();
    assert_eq!(json!(allowed), json!([true, false, true, false, false, true, true, false]));
    for (check, result) in checks.as_array().unwrap().iter().zip(many.json["results"].as_array().unwrap()) {
        assert_eq!(bob.check(check.clone()).await.json, *result, "{check}");
    }
}

#[tokio::test]
async fn a_decision_tells_its_reason_when_asked() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let small = "resource.amount <= 500";
    acme.role("clerk", json!([allow("orders:read"), allow_when("orders:refund", small)])).await;
    acme.role_with("seller", json!({"inherits": ["member", "clerk"], "grants": [allow("stock:*")]})).await;
    acme.role_with("chief", json!({"inherits": ["seller"], "grants": []})).await;
    acme.role("suspended", json!([deny("stock:void")])).await;
    let bob = acme.member("bob", json!([held("chief"), held("suspended")])).await;
    let explain = |permission: &str| json!({"permission": permission, "resource": {"amount": 7}, "explain": true});
    for (permission, allowed, reason) in [
        (
            "orders:read",
            true,
            json!({"effect": "allow", "role": "clerk", "via": ["chief", "seller", "clerk"], "grant": "orders:read"}),
        ),
        (
            "orders:refund",
            true,
            json!({"effect": "allow", "role": "clerk", "via": ["chief", "seller", "clerk"], "grant": "orders:refund",
                "condition": small}),
        ),
        (
            "stock:count",
            true,
            json!({"effect": "allow", "role": "seller", "via": ["chief", "seller"], "grant": "stock:*"}),
        ),
        (
            "stock:void",
            false,
            json!({"effect": "deny", "role": "suspended", "via": ["suspended"], "grant": "stock:void"}),
        ),
    ] {
        let answer = bob.check(explain(permission)).await;
        assert_eq!(answer.json["allowed"], allowed, "{permission}: {}", answer.text);
        assert_eq!(answer.json["reason"], reason, "{permission}: {}", answer.text);
        let plain = bob.check(json!({"permission": permission, "resource": {"amount": 7}})).await;
        assert_eq!(plain.json, json!({"allowed": allowed}));
    }
    // Nothing speaks of it: no grant decided.
    let answer = bob.check(explain("nobody:cares")).await;
    assert_eq!((&answer.json["allowed"], answer.json.get("reason")), (&json!(false), None), "{}", answer.text);
}

#[tokio::test]
async fn the_example_routes_are_guarded_by_their_permissions() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.role("refunder", json!([allow_when("orders:refund", "resource.amount <= 500")])).await;
    let bob = acme.member("bob", json!([held("reader")])).await;
    let cyd = acme.member("cyd", json!([held("refunder")])).await;
    assert_eq!(bob.get("/orders/7").await.status, 200);
    assert_problem(&cyd.get("/orders/7").await, 403, "permission_denied");
    assert_problem(&deployment.api.get("/orders/7", "").await.unwrap(), 401, "unauthenticated");
    let refund = |amount: i64| json!({"amount": amount});
    for (person, amount, passes) in
        [(&cyd, 500, true), (&cyd, 501, false), (&bob, 1, false), (&acme.owner, 9_999, true)]
    {
        let answer = person.post("/orders/7/refund", refund(amount)).await;
        if passes {
            assert!((200..300).contains(&answer.status), "{amount}: {}", answer.text);
        } else {
            assert_problem(&answer, 403, "permission_denied");
        }
    }
    let nobody = deployment.api.post("/orders/7/refund", "", &refund(1)).await.unwrap();
    assert_problem(&nobody, 401, "unauthenticated");
}

/// RFC 9470: what only a better sign-in is missing for is asked for, and not denied.
#[tokio::test]
async fn a_grant_may_want_a_better_sign_in() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let wanting = |step_up: Value| json!({"permission": "orders:read", "effect": "allow", "step_up": step_up});
    acme.role("strong", json!([wanting(json!({"acr": "aal2"}))])).await;
    acme.role("fresh", json!([wanting(json!({"max_age": 600}))])).await;
    acme.role("plain", json!([allow("orders:read")])).await;
    acme.role("suspended", json!([deny("orders:read")])).await;
    let unmet = json!({"permission": "orders:read", "effect": "allow", "when": "false", "step_up": {"acr": "aal2"}});
    acme.role("unmet", json!([unmet])).await;
    let bob = acme.member("bob", json!([])).await;
    for (roles, status) in [
        (json!([held("strong")]), 401),
        (json!([held("fresh")]), 200),
        (json!([held("strong"), held("fresh")]), 200),
        (json!([held("strong"), held("plain")]), 200),
        (json!([held("strong"), held("suspended")]), 403),
        // More is missing than the sign-in: a better one would not help.
        (json!([held("unmet")]), 403),
        (json!([]), 403),
    ] {
        acme.set_roles(&bob, roles.clone()).await;
        let answer = bob.get("/orders/7").await;
        assert_eq!(answer.status, status, "{roles}: {}", answer.text);
        match status {
            401 => {
                assert_problem(&answer, 401, "step_up_required");
                let challenge = answer.header("www-authenticate");
                assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
                assert!(challenge.contains("acr_values=\"aal2\""), "{challenge}");
            }
            403 => assert_problem(&answer, 403, "permission_denied"),
            _ => {}
        }
        assert_eq!(bob.may("orders:read").await, status == 200, "{roles}");
    }
    // A call of our own asks alike.
    let careful = json!({"permission": "organization:update", "effect": "allow", "step_up": {"acr": "aal2"}});
    acme.role("careful", json!([careful])).await;
    acme.set_roles(&bob, json!([held("careful")])).await;
    let refused = bob.call(Method::PATCH, &acme.path(""), Some(&json!({"name": "Acme"}))).await;
    assert_problem(&refused, 401, "step_up_required");
}
