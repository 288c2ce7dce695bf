//! What an organization may not have too much of, and what only its owners may do to it.

use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_problem},
    tenancy::{Organization, allow, allow_when, assert_refuses, deny, deny_when, deploy, held},
};

#[tokio::test]
async fn an_organization_has_only_so_many_conditions() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let conditions = |count: usize| -> Vec<Value> {
        (0..count).map(|number| allow_when("orders:read", &format!("resource.n == {number}"))).collect()
    };
    acme.role("full", json!(conditions(500))).await;
    let path = acme.path("/roles/more");
    let refused = acme.owner.put(&path, json!({"inherits": [], "grants": conditions(1)})).await;
    assert_eq!((refused.status, refused.string("/errors/0/code")), (422, "too_many"), "{}", refused.text);
    assert_eq!(acme.owner.put(&path, json!({"inherits": [], "grants": [allow("orders:read")]})).await.status, 201);
}

#[tokio::test]
async fn a_class_that_could_not_stand_in_a_challenge_is_refused() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    for acr in ["", "a b", "a\"b", "a\\b", "\u{e9}"] {
        let grant = json!({"permission": "vault:open", "effect": "allow", "step_up": {"acr": acr}});
        let refused = acme.owner.put(&acme.path("/roles/keeper"), json!({"inherits": [], "grants": [grant]})).await;
        assert_refuses(&refused, "grants[0].step_up.acr");
    }
}

#[tokio::test]
async fn only_owners_make_owners_and_change_how_conditions_read() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("everything", json!([allow("*")])).await;
    acme.role("watched", json!([deny_when("*", "resource.source == \"10.0.0.1\"")])).await;
    let bob = acme.member("bob", json!([held("everything"), held("admin")])).await;
    let own = acme.assign(&bob, &bob, json!([held("everything"), held("owner")])).await;
    assert_problem(&own, 403, "privilege_escalation");
    let heir = bob.put(&acme.path("/roles/boss"), json!({"inherits": ["owner"], "grants": []})).await;
    assert_problem(&heir, 403, "privilege_escalation");
    let declared = json!({"attributes": {"source": "ip"}});
    let path = acme.path("/resource-types/orders");
    assert_problem(&bob.put(&path, declared.clone()).await, 403, "privilege_escalation");
    assert_eq!(acme.owner.put(&path, declared).await.status, 201);
}

#[tokio::test]
async fn an_owner_under_a_deny_does_not_end_the_organization() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("suspended", json!([deny("*")])).await;
    let bob = acme.member("bob", json!([held("owner"), held("suspended")])).await;
    assert_problem(&bob.delete(&acme.path("")).await, 403, "permission_denied");
    assert_eq!(acme.owner.delete(&acme.path("")).await.status, 204);
}

#[tokio::test]
async fn what_is_needed_is_told_to_who_may_read_roles() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("keeper", json!([allow("vault:open")])).await;
    acme.role("reader", json!([allow("roles:read")])).await;
    let asked = json!({"permission": "vault:open", "explain": true});
    let plain = acme.member("bob", json!([])).await.at("acme").await.check(asked.clone()).await;
    assert_eq!((&plain.json["allowed"], plain.json.get("needed")), (&json!(false), None), "{}", plain.text);
    let reader = acme.member("cyd", json!([held("reader")])).await.at("acme").await.check(asked).await;
    // The owner's `*` would do as well.
    let roles: Vec<&Value> = reader.json["needed"].as_array().unwrap().iter().map(|needed| &needed["role"]).collect();
    assert_eq!(roles, ["keeper", "owner"], "{}", reader.text);
}

#[tokio::test]
async fn a_store_bound_credential_does_not_learn_of_other_stores() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.store("north").await;
    acme.store("south").await;
    let bound = acme.owner.at_store("acme", "north").await;
    assert_eq!(bound.check(json!({"permission": "a:b", "store": "north"})).await.json["allowed"], true);
    for store in ["south", "nowhere"] {
        let asked = json!({"permission": "a:b", "store": store});
        assert_problem(&bound.post("/auth/permissions/check", asked).await, 404, "not_found");
    }
}
