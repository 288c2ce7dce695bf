//! Service accounts: members that are nobody's.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_invalid, assert_problem, members, on_each_store},
    tenancy::{NOBODY_ID, Organization, allow, assert_not_found, assert_refuses, deploy, held, held_at, sorted},
};

on_each_store!(a_service_account_is_made_listed_given_roles_and_removed);

async fn a_service_account_is_made_listed_given_roles_and_removed(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let path = acme.path("/service-accounts");
    assert_eq!(acme.owner.get(&path).await.json, json!({"service_accounts": []}));
    let made = acme.owner.post(&path, json!({"name": "Nightly export", "roles": [held_at("clerk", "north")]})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(members(&made.json), ["service_account"]);
    let account = &made.json["service_account"];
    assert_eq!(members(account), ["created_at", "id", "name", "roles"]);
    assert_eq!((&account["name"], &account["roles"]), (&json!("Nightly export"), &json!([held_at("clerk", &north)])));
    let id = made.string("/service_account/id");
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!(acme.owner.get(&path).await.json, json!({"service_accounts": [account]}));

    let both = json!([held("clerk"), held_at("clerk", &north)]);
    let changed = acme.owner.put(&format!("{path}/{id}/roles"), json!({"roles": both})).await;
    assert_eq!((changed.status, members(&changed.json)), (200, vec!["service_account"]), "{}", changed.text);
    assert_eq!(sorted(&changed.json["service_account"]["roles"]), sorted(&both));
    assert_problem(&acme.owner.delete(&acme.path("/roles/clerk")).await, 409, "role_in_use");

    let removed = acme.owner.delete(&format!("{path}/{id}")).await;
    assert_eq!((removed.status, &*removed.text), (204, ""));
    assert_not_found(&acme.owner.delete(&format!("{path}/{id}")).await);
    assert_eq!(acme.owner.get(&path).await.json, json!({"service_accounts": []}));
    assert_eq!(acme.owner.delete(&acme.path("/roles/clerk")).await.status, 204);
}

#[tokio::test]
async fn it_outlives_who_made_it() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let bob = acme.member("bob", json!([held("admin")])).await;
    let made = bob.post(&acme.path("/service-accounts"), json!({"name": "robot", "roles": []})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let gone = bob.call(Method::DELETE, "/auth/me", Some(&json!({"password": super::fixture::PASSWORD}))).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    let listed = acme.owner.get(&acme.path("/service-accounts")).await;
    assert_eq!(listed.json["service_accounts"], json!([made.json["service_account"]]));
}

#[tokio::test]
async fn refuses_what_is_no_account_and_no_role() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let path = acme.path("/service-accounts");
    let make = |body: Value| acme.owner.post(&path, body);
    for name in ["", "  ", &"x".repeat(10_000)] {
        assert_refuses(&make(json!({"name": name, "roles": []})).await, "name");
    }
    assert_invalid(&make(json!({"roles": []})).await, "name", "required");
    assert_invalid(&make(json!({"name": "robot"})).await, "roles", "required");
    let unknown = json!({"name": "robot", "roles": [held("nonsense")]});
    assert_invalid(&make(unknown).await, "roles[0].role", "unknown_role");
    let nowhere = json!({"name": "robot", "roles": [held_at("member", NOBODY_ID)]});
    assert_invalid(&make(nowhere).await, "roles[0].store", "unknown_store");
    assert_invalid(&make(json!({"name": "robot", "roles": [], "x": 1})).await, "x", "unknown_field");
    assert_eq!(acme.owner.get(&path).await.json, json!({"service_accounts": []}));

    // A member is no service account, and the other way round.
    let bob = acme.member("bob", json!([])).await;
    let robot = acme.service_account("robot", json!([])).await;
    for id in [&*bob.id, NOBODY_ID, "nonsense", "%00"] {
        assert_not_found(&acme.owner.put(&format!("{path}/{id}/roles"), json!({"roles": []})).await);
        assert_not_found(&acme.owner.delete(&format!("{path}/{id}")).await);
    }
    let as_member = acme.path(&format!("/members/{robot}"));
    assert_not_found(&acme.owner.put(&format!("{as_member}/roles"), json!({"roles": []})).await);
    assert_not_found(&acme.owner.delete(&as_member).await);
    assert_eq!(acme.roles_of(&bob).await, Some(vec![]));
}

#[tokio::test]
async fn service_accounts_are_managed_by_who_may() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let id = acme.service_account("robot", json!([])).await;
    let (path, own) = (acme.path("/service-accounts"), acme.path(&format!("/service-accounts/{id}")));
    let roles = format!("{own}/roles");
    let calls = [
        ("create", Method::POST, &path, json!({"name": "another", "roles": []}), 201),
        ("read", Method::GET, &path, json!(null), 200),
        ("update", Method::PUT, &roles, json!({"roles": []}), 200),
        ("delete", Method::DELETE, &own, json!(null), 204),
    ];
    let nobody = acme.member("bob", json!([held("member")])).await;
    for (action, method, path, body, status) in calls {
        let body = Some(&body).filter(|body| !body.is_null());
        assert_problem(&nobody.call(method.clone(), path, body).await, 403, "permission_denied");
        acme.role(action, json!([allow(&format!("members:{action}"))])).await;
        let with = acme.member(&format!("with-{action}"), json!([held(action)])).await;
        let done = with.call(method, path, body).await;
        assert_eq!(done.status, status, "{action}: {}", done.text);
    }
}
