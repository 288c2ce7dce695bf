//! What a key may do: its scopes, as far as the member that bounds it may do that, and from where.

use authv2_tests::client::Api;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    api_keys::{Key, opens},
    fixture::{PASSWORD, Store, assert_problem, get, on_each_store, post, quick, send, start},
    tenancy::{Organization, Person, allow, allow_when, assert_not_found, deploy, held, held_at},
};

on_each_store!(
    a_key_loses_what_its_maker_loses,
    a_key_of_a_service_account_outlives_who_made_it,
    a_key_that_is_bound_to_a_store_acts_nowhere_else,
);

/// Whether a check by the key says yes.
async fn may(api: &Api, key: &Key, body: Value) -> bool {
    let answer = post(api, "/auth/permissions/check", &key.secret, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json["allowed"] == true
}

async fn a_key_loses_what_its_maker_loses(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("keeper", json!([allow("api_keys:*")])).await;
    acme.role("clerk", json!([allow("orders:*")])).await;
    let bob = acme.member("bob", json!([held("keeper"), held("clerk")])).await;
    let key = acme.key(&bob, json!({"scopes": ["orders:read"]})).await;
    let reads = async || get(api, "/orders/7", &key.secret).await;
    assert_eq!(reads().await.status, 200);
    assert_problem(&post(api, "/orders/7/refund", &key.secret, json!({"amount": 1})).await, 403, "insufficient_scope");
    assert!(!may(api, &key, json!({"permission": "orders:refund"})).await);
    assert!(may(api, &key, json!({"permission": "orders:read"})).await);

    acme.set_roles(&bob, json!([held("keeper")])).await;
    assert_problem(&reads().await, 403, "permission_denied");
    acme.set_roles(&bob, json!([held("clerk")])).await;
    assert_eq!(reads().await.status, 200, "it is good for it again");
    acme.role("clerk", json!([allow("orders:write")])).await;
    assert_problem(&reads().await, 403, "permission_denied");
    acme.role("clerk", json!([allow("orders:*")])).await;

    assert_eq!(acme.owner.delete(&acme.path(&format!("/members/{}", bob.id))).await.status, 204);
    assert!(!opens(api, &key.secret).await, "who has left has no key");
    acme.admit(&bob, json!([held("clerk")])).await;
    assert!(!opens(api, &key.secret).await, "nor has who comes back");
    assert_not_found(&acme.owner.get(&key.path).await);
}

async fn a_key_of_a_service_account_outlives_who_made_it(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held("admin"), held("clerk")])).await;
    let robot = acme.service_account("robot", json!([held("clerk")])).await;
    let body = json!({"name": "nightly", "scopes": ["orders:read"], "service_account": robot});
    let made = acme.mint(&bob, body).await;
    let key = acme.minted(&made);
    assert_eq!(
        (&made.json["api_key"]["service_account"], &made.json["api_key"]["created_by"]),
        (&json!(robot), &Value::Null)
    );
    let own = acme.key(&bob, json!({"scopes": ["orders:read"]})).await;
    let gone = bob.call(Method::DELETE, "/auth/me", Some(&json!({"password": PASSWORD}))).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    assert!(!opens(api, &own.secret).await);
    let answer = get(api, "/private", &key.secret).await;
    assert_eq!(answer.json, json!({"user_id": robot, "organization": acme.id, "method": "api_key"}));
    assert_eq!(get(api, "/orders/7", &key.secret).await.status, 200);

    // Rotated by somebody else, it stays the account's.
    let rotated = acme.owner.post(&format!("{}/rotate", key.path), json!({})).await;
    assert_eq!(rotated.json["api_key"]["service_account"], json!(robot), "{}", rotated.text);
    let key = acme.minted(&rotated);
    let account = acme.path(&format!("/service-accounts/{robot}"));
    let without = acme.owner.put(&format!("{account}/roles"), json!({"roles": []})).await;
    assert_eq!(without.status, 200, "{}", without.text);
    assert_problem(&get(api, "/orders/7", &key.secret).await, 403, "permission_denied");
    assert_eq!(acme.owner.delete(&account).await.status, 204);
    assert!(!opens(api, &key.secret).await);
}

async fn a_key_that_is_bound_to_a_store_acts_nowhere_else(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let (north, south) = (acme.store("north").await, acme.store("south").await);
    let key = acme.key(&acme.owner, json!({"store": "north"})).await;
    let check = |store: &str| json!({"permission": "orders:read", "store": store});
    assert!(may(api, &key, json!({"permission": "orders:read"})).await, "where it is bound to");
    assert!(may(api, &key, check(&north)).await);
    assert_not_found(&post(api, "/auth/permissions/check", &key.secret, check(&south)).await);
    assert_eq!(get(api, "/orders/7", &key.secret).await.status, 200);
    assert_problem(&get(api, &acme.path("/members"), &key.secret).await, 403, "permission_denied");
    assert_eq!(get(api, &acme.path("/api-keys"), &key.secret).await.status, 200, "those of its store");

    // Who may make keys at one store makes them there.
    acme.role("keeper", json!([allow("api_keys:*"), allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held_at("keeper", "south")])).await;
    let body = |store: Option<&str>| json!({"name": "x", "scopes": ["orders:read"], "store": store});
    for refused in [body(None), body(Some("north"))] {
        assert_problem(&acme.mint(&bob, refused).await, 403, "permission_denied");
    }
    let theirs = acme.minted(&acme.mint(&bob, body(Some("south"))).await);
    assert!(may(api, &theirs, check(&south)).await);
    assert_problem(&bob.post(&format!("{}/rotate", key.path), json!({})).await, 403, "permission_denied");
    assert_problem(&bob.delete(&key.path).await, 403, "permission_denied");
    assert_eq!(bob.delete(&theirs.path).await.status, 204);
}

#[tokio::test]
async fn what_is_held_under_a_condition_stays_under_it() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let small = allow_when("orders:refund", "resource.amount <= 100");
    acme.role("keeper", json!([allow("api_keys:*"), small])).await;
    acme.role("refunder", json!([allow("orders:refund")])).await;
    let bob = acme.member("bob", json!([held("keeper")])).await;
    let key = acme.key(&bob, json!({"scopes": ["orders:refund"]})).await;
    let refund =
        async |key: &Key, amount: u64| post(api, "/orders/7/refund", &key.secret, json!({"amount": amount})).await;
    assert_eq!(refund(&key, 100).await.status, 200);
    assert_problem(&refund(&key, 101).await, 403, "permission_denied");

    // An account that is under no condition is no way around one's own.
    let robot = acme.service_account("robot", json!([held("refunder")])).await;
    let body = json!({"name": "x", "scopes": ["orders:refund"], "service_account": robot});
    assert_problem(&acme.mint(&bob, body.clone()).await, 403, "privilege_escalation");
    let its = acme.minted(&acme.mint(&acme.owner, body).await);
    assert_eq!(refund(&its, 101).await.status, 200);
    assert_problem(&bob.post(&format!("{}/rotate", its.path), json!({})).await, 403, "privilege_escalation");
    assert_eq!(refund(&its, 101).await.status, 200, "nothing was rotated");
}

#[tokio::test]
async fn nobody_makes_or_rotates_a_key_beyond_its_own_rights() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("keeper", json!([allow("api_keys:*"), allow("orders:read"), allow("stock:*")])).await;
    let mallory = acme.member("mallory", json!([held("keeper")])).await;
    let owners = acme.key(&acme.owner, json!({})).await;
    let weak = acme.service_account("weak", json!([])).await;
    let strong = acme.service_account("strong", json!([held("owner")])).await;
    let state = async || acme.owner.get(&acme.path("/api-keys")).await.json;
    let before = state().await;
    let mint = |scopes: Value| json!({"name": "x", "scopes": scopes});
    let of = |account: &str, scopes: Value| json!({"name": "x", "scopes": scopes, "service_account": account});
    for body in [
        mint(json!(["*"])),
        mint(json!(["orders:*"])),
        mint(json!(["orders:read", "orders:refund"])),
        mint(json!(["members:read"])),
        of(&strong, json!(["*"])),
        of(&strong, json!(["orders:refund"])),
        of(&weak, json!(["orders:read"])),
    ] {
        assert_problem(&acme.mint(&mallory, body).await, 403, "privilege_escalation");
    }
    assert_problem(&mallory.post(&format!("{}/rotate", owners.path), json!({})).await, 403, "privilege_escalation");
    assert_eq!(state().await, before);
    assert!(opens(api, &owners.secret).await);
    for body in [mint(json!(["orders:read", "stock:*", "stock:count"])), of(&strong, json!(["orders:read"]))] {
        acme.minted(&acme.mint(&mallory, body).await);
    }
    // Who rotates a key bounds it from then on.
    let narrow = acme.key(&acme.owner, json!({"scopes": ["orders:read"]})).await;
    let rotated = mallory.post(&format!("{}/rotate", narrow.path), json!({})).await;
    assert_eq!((rotated.status, &rotated.json["api_key"]["created_by"]), (201, &json!(mallory.id)), "{}", rotated.text);
    let narrow = acme.minted(&rotated);
    assert_eq!(get(api, "/orders/7", &narrow.secret).await.status, 200);
    acme.set_roles(&mallory, json!([])).await;
    assert_problem(&get(api, "/orders/7", &narrow.secret).await, 403, "permission_denied");

    let bob = acme.member("bob", json!([held("member")])).await;
    for answer in [
        acme.mint(&bob, mint(json!(["orders:read"]))).await,
        bob.get(&acme.path("/api-keys")).await,
        bob.get(&owners.path).await,
        bob.get(&acme.path("/api-keys/nonsense")).await,
        bob.post(&format!("{}/rotate", owners.path), json!({})).await,
        bob.delete(&owners.path).await,
    ] {
        assert_problem(&answer, 403, "permission_denied");
    }
    let stranger = Person::new(api, "stranger").await;
    assert_not_found(&stranger.get(&owners.path).await);
}

#[tokio::test]
async fn a_key_with_a_list_of_networks_comes_from_these_alone() {
    let deployment = start(quick().with("AUTHV2_PROXY__TRUSTED", "127.0.0.1")).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let networks = json!(["198.51.100.0/24", "192.0.2.7", "2001:db8:1::/48", "::ffff:203.0.113.0/120"]);
    let key = acme.key(&acme.owner, json!({"allowed_ips": networks})).await;
    let from = async |address: &str| {
        let request = api.request(Method::GET, "/private").bearer_auth(&key.secret);
        send(request.header("x-forwarded-for", address)).await
    };
    for good in
        ["198.51.100.1", "198.51.100.255", "192.0.2.7", "2001:db8:1:ffff::9", "::ffff:198.51.100.9", "203.0.113.9"]
    {
        let answer = from(good).await;
        assert_eq!(answer.status, 200, "{good}: {}", answer.text);
    }
    for bad in ["198.51.101.1", "192.0.2.8", "2001:db8:2::1", "::ffff:192.0.2.8", "203.0.114.9", "10.0.0.1"] {
        assert_problem(&from(bad).await, 403, "permission_denied");
    }
    assert_problem(&get(api, "/private", &key.secret).await, 403, "permission_denied");
    // A wrong secret is told nothing of networks.
    let mut wrong = key.clone();
    wrong.secret.pop();
    assert_problem(&get(api, "/private", &wrong.secret).await, 401, "invalid_token");
}
