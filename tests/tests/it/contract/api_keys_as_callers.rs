//! API keys as callers of the contract itself: within their scopes, in their organization, and never in person.

use authv2_tests::client::{Answer, Api};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    api_keys::{Key, opens},
    fixture::{Store, assert_problem, get, on_each_store, post, send},
    oauth::{TOKEN, form},
    tenancy::{Organization, Person, allow, assert_not_found, deploy, held},
};

on_each_store!(a_key_manages_its_organization_within_its_scopes);

impl Key {
    async fn call(&self, api: &Api, method: Method, path: &str, body: Option<Value>) -> Answer {
        api.call(method, path, &self.secret, body.as_ref()).await.unwrap()
    }
}

async fn a_key_manages_its_organization_within_its_scopes(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    acme.role("refunder", json!([allow("orders:refund")])).await;
    let bob = acme.member("bob", json!([])).await;
    // An owner's, good for everything that an owner may do but what its scopes leave out.
    let key = acme.key(&acme.owner, json!({"scopes": ["members:*", "roles:*", "api_keys:*", "orders:read"]})).await;
    let members = acme.path("/members");
    assert_eq!(get(api, &members, &key.secret).await.status, 200);
    let open = json!({"slug": "north", "name": "North"});
    assert_problem(&post(api, &acme.path("/stores"), &key.secret, open).await, 403, "insufficient_scope");
    let roles = acme.path(&format!("/members/{}/roles", bob.id));
    let assign = async |role: &str| key.call(api, Method::PUT, &roles, Some(json!({"roles": [held(role)]}))).await;
    let assigned = assign("clerk").await;
    assert_eq!(assigned.status, 200, "{}", assigned.text);
    for role in ["refunder", "owner", "admin"] {
        assert_problem(&assign(role).await, 403, "privilege_escalation");
    }
    let role = acme.path("/roles/new");
    let write = async |permission: &str| {
        let body = json!({"inherits": [], "grants": [allow(permission)]});
        key.call(api, Method::PUT, &role, Some(body)).await
    };
    assert_problem(&write("orders:refund").await, 403, "privilege_escalation");
    assert_problem(&write("*").await, 403, "privilege_escalation");
    assert_eq!(write("orders:read").await.status, 201);

    let mint = async |scopes: Value| {
        key.call(api, Method::POST, &acme.path("/api-keys"), Some(json!({"name": "x", "scopes": scopes}))).await
    };
    for scopes in [json!(["*"]), json!(["orders:*"]), json!(["stores:read"])] {
        assert_problem(&mint(scopes).await, 403, "privilege_escalation");
    }
    let minted = mint(json!(["orders:read"])).await;
    assert_eq!(minted.json["api_key"]["created_by"], json!(acme.owner.id), "{}", minted.text);
    let minted = acme.minted(&minted);
    assert_eq!(get(api, "/orders/7", &minted.secret).await.status, 200);
    // It rotates itself, and deletes itself.
    let rotated = key.call(api, Method::POST, &format!("{}/rotate", minted.path), None).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    assert_eq!(key.call(api, Method::DELETE, &key.path, None).await.status, 204);
    assert_problem(&get(api, &members, &key.secret).await, 401, "invalid_token");
}

#[tokio::test]
async fn a_key_of_a_service_account_is_a_caller_too() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let robot = acme.service_account("robot", json!([held("admin")])).await;
    let key = acme.key(&acme.owner, json!({"scopes": ["members:*", "api_keys:*"], "service_account": robot})).await;
    let stranger = Person::new(api, "stranger").await;
    let body = json!({"user_id": stranger.id, "roles": []});
    let added = post(api, &acme.path("/members"), &key.secret, body).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let made = post(api, &acme.path("/api-keys"), &key.secret, json!({"name": "x", "scopes": ["members:read"]})).await;
    assert_eq!(made.json["api_key"]["service_account"], json!(robot), "{}", made.text);
    let made = acme.minted(&made);
    assert_eq!(get(api, &acme.path("/members"), &made.secret).await.status, 200);
}

#[tokio::test]
async fn a_key_with_bounds_and_a_token_hand_out_no_secret() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let (keys, other) = (acme.path("/api-keys"), acme.key(&acme.owner, json!({})).await);
    let free = acme.key(&acme.owner, json!({})).await;
    let client = [("client_id", free.id.as_str()), ("client_secret", free.secret.as_str())];
    let token = send(form(api, TOKEN, &[&[("grant_type", "client_credentials")][..], &client].concat())).await;
    let mut bound = vec![token.string("/access_token").to_owned()];
    for bounds in [
        json!({"expires_in": 3600}),
        json!({"allowed_ips": ["127.0.0.0/8", "::1"]}),
        json!({"rate_limit": {"requests": 1000, "per_seconds": 1}}),
        json!({"quota": {"requests": 1000, "per": "day"}}),
    ] {
        bound.push(acme.key(&acme.owner, bounds).await.secret);
    }
    for secret in &bound {
        let refused = post(api, &keys, secret, json!({"name": "x", "scopes": ["orders:read"]})).await;
        assert_problem(&refused, 403, "privilege_escalation");
        let refused = post(api, &format!("{}/rotate", other.path), secret, json!({})).await;
        assert_problem(&refused, 403, "privilege_escalation");
    }
    assert!(opens(api, &other.secret).await, "nothing was rotated");
    acme.minted(&post(api, &keys, &free.secret, json!({"name": "x", "scopes": ["orders:read"]})).await);
}

#[tokio::test]
async fn a_key_does_nothing_in_person() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    Organization::found_by(&acme.owner, "globex").await;
    let key = acme.key(&acme.owner, json!({})).await;
    for (method, path, body) in [
        (Method::GET, "/auth/me", None),
        (Method::PATCH, "/auth/me", Some(json!({"display_name": "x"}))),
        (Method::DELETE, "/auth/me", Some(json!({"password": super::fixture::PASSWORD}))),
        (
            Method::POST,
            "/auth/password/change",
            Some(json!({"current_password": super::fixture::PASSWORD, "new_password": "a brand new battery staple"})),
        ),
        (Method::GET, "/auth/sessions", None),
        (Method::POST, "/auth/session/switch", Some(json!({"organization": "acme"}))),
        (Method::POST, "/auth/logout-all", Some(json!({}))),
        (Method::GET, "/auth/orgs", None),
        (Method::POST, "/auth/orgs", Some(json!({"slug": "mine", "name": "Mine"}))),
        (Method::DELETE, "/auth/orgs/acme", None),
        (Method::GET, "/auth/admin/signing-keys", None),
    ] {
        assert_problem(&key.call(api, method.clone(), path, body).await, 403, "permission_denied");
    }
    assert_eq!(acme.owner.get("/auth/me").await.status, 200);
    // Its member belongs to both; the key to one.
    assert_not_found(&get(api, "/auth/orgs/globex/members", &key.secret).await);
    assert_eq!(get(api, "/auth/orgs/acme", &key.secret).await.status, 200);
}

#[tokio::test]
async fn a_key_does_not_leave_for_its_member() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("keeper", json!([allow("api_keys:*"), allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held("keeper")])).await;
    let key = acme.key(&bob, json!({"scopes": ["orders:read"]})).await;
    let himself = acme.path(&format!("/members/{}", bob.id));
    let refused = key.call(api, Method::DELETE, &himself, None).await;
    assert_problem(&refused, 403, "insufficient_scope");
    assert!(acme.roles_of(&bob).await.is_some());
    assert_eq!(bob.delete(&himself).await.status, 204, "in person he may");
}
