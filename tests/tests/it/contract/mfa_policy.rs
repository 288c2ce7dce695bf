//! Organizations that want a second factor of their members.

use authv2_tests::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{PASSWORD, Store, Tokens, assert_invalid, assert_problem, call, get, on_each_store, post},
    mfa_client::{Authenticator, mfa_token, step_up, verify_recovery},
    tenancy::{Organization, Person, allow, deploy, held, sign_in_to},
};

on_each_store!(
    a_policy_is_written_by_whoever_shows_a_second_factor,
    everybody_needs_one_where_it_is_required,
    only_those_who_hold_a_role_need_one,
);

/// An organization whose owner is signed in to it with a second factor.
async fn strong_owner(organization: &mut Organization) -> Authenticator {
    let mut authenticator = Authenticator::enrol(&organization.owner.api, &organization.owner.tokens.access).await;
    let code = authenticator.recovery_code();
    strengthen(&mut organization.owner, &code).await;
    authenticator
}

async fn strengthen(person: &mut Person, code: &str) {
    let stepped = step_up(&person.api, &person.tokens.access, json!({"code": code})).await;
    assert_eq!(stepped.status, 200, "{}", stepped.text);
    stepped.string("/access_token").clone_into(&mut person.tokens.access);
}

async fn put(organization: &Organization, body: Value) -> Answer {
    organization.owner.put(&organization.path("/mfa-policy"), body).await
}

fn assert_wants_second_factor(answer: &Answer) {
    assert_problem(answer, 401, "step_up_required");
    assert!(answer.header("www-authenticate").contains("acr_values=\"aal2\""), "{:?}", answer.headers);
}

async fn a_policy_is_written_by_whoever_shows_a_second_factor(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let mut acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let path = acme.path("/mfa-policy");
    assert_eq!(acme.owner.get(&path).await.json, json!({"mfa_policy": {"require": "optional"}}));
    assert_wants_second_factor(&put(&acme, json!({"require": "required"})).await);
    assert_eq!(acme.owner.get(&path).await.json, json!({"mfa_policy": {"require": "optional"}}));
    strong_owner(&mut acme).await;
    for (body, field, code) in [
        (json!({}), "require", "required"),
        (json!({"require": "always"}), "require", "invalid_choice"),
        (json!({"require": "roles"}), "roles", "required"),
        (json!({"require": "roles", "roles": []}), "roles", "required"),
        (json!({"require": "required", "roles": ["clerk"]}), "roles", "not_allowed"),
        (json!({"require": "roles", "roles": ["clerk", "a-nobody"]}), "roles[1]", "unknown_role"),
        (json!({"require": "optional", "x": 1}), "x", "unknown_field"),
    ] {
        assert_invalid(&put(&acme, body).await, field, code);
    }
    for policy in [json!({"require": "roles", "roles": ["clerk", "owner"]}), json!({"require": "optional"})] {
        let written = put(&acme, policy.clone()).await;
        assert_eq!(written.status, 200, "{}", written.text);
        assert_eq!(written.json, json!({"mfa_policy": policy}));
        assert!(!written.header("x-authv2-revision").is_empty());
        assert_eq!(bob.get(&path).await.json, json!({"mfa_policy": policy}), "every member may know");
    }
    assert_problem(&bob.put(&path, json!({"require": "optional"})).await, 403, "permission_denied");
    let stranger = Person::new(api, "eve").await;
    assert_problem(&stranger.get(&path).await, 404, "not_found");
    assert_problem(&call(api, Method::PATCH, &path, &acme.owner.tokens.access).await, 405, "method_not_allowed");
    let scopes = json!({"name": "n", "scopes": ["organization:update", "orders:read"]});
    let minted = acme.owner.post(&acme.path("/api-keys"), scopes).await;
    let by_key = api.call(Method::PUT, &path, minted.string("/secret"), Some(&json!({"require": "required"}))).await;
    assert_problem(&by_key.unwrap(), 403, "permission_denied");
}

async fn everybody_needs_one_where_it_is_required(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let mut acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let mut bob = acme.member("bob", json!([held("clerk")])).await;
    let minted = acme.owner.post(&acme.path("/api-keys"), json!({"name": "n", "scopes": ["orders:read"]})).await;
    let key = minted.string("/secret").to_owned();
    assert_eq!(bob.get("/orders/1").await.status, 200);
    strong_owner(&mut acme).await;
    assert_eq!(put(&acme, json!({"require": "required"})).await.status, 200);

    // At each check, whatever was signed in to before.
    assert_wants_second_factor(&bob.get("/orders/1").await);
    assert!(!bob.may("orders:read").await);
    assert_problem(&bob.get("/orders/1").await, 401, "step_up_required");
    assert_eq!(acme.owner.get(&acme.path("/roles")).await.status, 200, "the owner has shown one");
    assert_eq!(get(api, "/orders/1", &key).await.status, 200, "keys have no second factor");

    // At the sign-in and the switch of somebody who has none.
    let refused = sign_in_to(api, &bob.email, PASSWORD, json!({"organization": "acme"})).await;
    assert_problem(&refused, 403, "mfa_enrollment_required");
    let nowhere = Person::sign_in(api, &bob.email, json!({})).await;
    let refused = nowhere.post("/auth/session/switch", json!({"organization": "acme"})).await;
    assert_problem(&refused, 403, "mfa_enrollment_required");
    let mut authenticator = Authenticator::enrol(api, &nowhere.tokens.access).await;
    let switch = json!({"organization": "acme"});
    assert_wants_second_factor(&nowhere.post("/auth/session/switch", switch.clone()).await);

    // And of somebody who shows it.
    strengthen(&mut bob, &authenticator.recovery_code()).await;
    assert_eq!(bob.get("/orders/1").await.status, 200);
    let mut there = nowhere.clone();
    strengthen(&mut there, &authenticator.recovery_code()).await;
    let switched = there.post("/auth/session/switch", switch).await;
    assert_eq!(switched.status, 200, "{}", switched.text);
    assert_eq!(get(api, "/orders/1", switched.string("/access_token")).await.status, 200);
    let begun = sign_in_to(api, &bob.email, PASSWORD, json!({"organization": "acme"})).await;
    let verified = verify_recovery(api, &mfa_token(&begun), &authenticator.recovery_code()).await;
    assert_eq!(get(api, "/orders/1", &Tokens::of(&verified).access).await.status, 200);

    // What is denied anyway stays denied, and says so.
    let check = json!({"permission": "orders:refund"});
    assert!(!bob.passes(check.clone()).await);
    let weak = post(api, "/orders/1/refund", &nowhere.tokens.access, json!({"amount": 1})).await;
    assert_problem(&weak, 403, "permission_denied");
    assert_eq!(put(&acme, json!({"require": "optional"})).await.status, 200);
}

async fn only_those_who_hold_a_role_need_one(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let mut acme = Organization::found(api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    acme.role_with("chief", json!({"inherits": ["clerk"], "grants": []})).await;
    acme.role("guest", json!([allow("orders:read")])).await;
    let clerk = acme.member("bob", json!([held("clerk")])).await;
    let chief = acme.member("carol", json!([held("chief")])).await;
    let guest = acme.member("dave", json!([held("guest")])).await;
    let at_store = acme.member("erin", json!([held("guest"), super::tenancy::held_at("clerk", &north)])).await;
    strong_owner(&mut acme).await;
    assert_eq!(put(&acme, json!({"require": "roles", "roles": ["clerk"]})).await.status, 200);
    for person in [&clerk, &chief, &at_store] {
        assert_wants_second_factor(&person.get("/orders/1").await);
    }
    assert_eq!(guest.get("/orders/1").await.status, 200);
    assert_eq!(sign_in_to(api, &guest.email, PASSWORD, json!({"organization": "acme"})).await.status, 200);
    // A role that somebody gets brings the demand with it.
    acme.set_roles(&guest, json!([held("chief")])).await;
    assert_wants_second_factor(&guest.get("/orders/1").await);
    acme.set_roles(&clerk, json!([held("guest")])).await;
    assert_eq!(clerk.get("/orders/1").await.status, 200);
}
