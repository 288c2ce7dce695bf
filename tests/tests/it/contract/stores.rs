//! Stores: opened, listed, and what is bound to one.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_invalid, assert_problem, members, on_each_store},
    tenancy::{
        NOBODY_ID, Organization, Person, allow, assert_not_found, assert_refuses, deploy, held, held_at, sorted,
    },
};

on_each_store!(opens_a_store_and_lists_it, a_slug_is_taken_once_within_one_organization);

async fn opens_a_store_and_lists_it(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let bob = acme.member("bob", json!([])).await;
    assert_eq!(bob.get(&acme.path("/stores")).await.json, json!({"stores": []}));
    let opened = acme.owner.post(&acme.path("/stores"), json!({"slug": "north", "name": "Nord \u{2744}"})).await;
    assert_eq!(opened.status, 201, "{}", opened.text);
    assert_eq!(members(&opened.json), ["store"]);
    assert_eq!(members(&opened.json["store"]), ["created_at", "id", "name", "slug"]);
    assert_eq!((opened.string("/store/slug"), opened.string("/store/name")), ("north", "Nord \u{2744}"));
    assert_eq!(uuid::Uuid::parse_str(opened.string("/store/id")).unwrap().get_version_num(), 7);
    let south = acme.owner.post(&format!("/auth/orgs/{}/stores", acme.id), json!({"slug": "south", "name": "S"})).await;
    assert_eq!(south.status, 201, "{}", south.text);
    // Any member may look.
    let listed = bob.get(&acme.path("/stores")).await;
    assert_eq!((listed.status, members(&listed.json)), (200, vec!["stores"]));
    assert_eq!(sorted(&listed.json["stores"]), sorted(&json!([opened.json["store"], south.json["store"]])));
}

async fn a_slug_is_taken_once_within_one_organization(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let other = Organization::found(&deployment.api, "other", "bob").await;
    other.store("north").await;
    let path = acme.path("/stores");
    let answers = join_all((0..6).map(|_| acme.owner.post(&path, json!({"slug": "north", "name": "N"})))).await;
    let (opened, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((opened.len(), refused.len()), (1, 5), "{answers:?}");
    for answer in refused {
        assert_problem(answer, 409, "slug_taken");
    }
    assert_eq!(acme.owner.get(&path).await.json["stores"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_is_opened_by_who_may_and_has_its_form() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("builder", json!([allow("stores:create")])).await;
    acme.role("not-enough", json!([allow("stores:read"), allow("stores:update"), allow("organization:*")])).await;
    let path = acme.path("/stores");
    for (name, role, status) in [("bea", "builder", 201), ("abe", "admin", 201), ("cyd", "not-enough", 403)] {
        let person = acme.member(name, json!([held(role)])).await;
        let answer = person.post(&path, json!({"slug": name, "name": "A store"})).await;
        assert_eq!(answer.status, status, "{role}: {}", answer.text);
        if status == 403 {
            assert_problem(&answer, 403, "permission_denied");
        }
    }
    let stranger = Person::new(&deployment.api, "eve").await;
    assert_not_found(&stranger.post(&path, json!({"slug": "eves", "name": "Eve's"})).await);
    assert_not_found(&stranger.get(&path).await);
    let open = |body: Value| acme.owner.post(&path, body);
    for slug in ["", "North", "9th", "a b", &"a".repeat(64)] {
        assert_refuses(&open(json!({"slug": slug, "name": "A store"})).await, "slug");
    }
    assert_refuses(&open(json!({"slug": "north", "name": ""})).await, "name");
    assert_invalid(&open(json!({"name": "North"})).await, "slug", "required");
    assert_invalid(&open(json!({"slug": "north"})).await, "name", "required");
    assert_invalid(&open(json!({"slug": "north", "name": "N", "x": 1})).await, "x", "unknown_field");
}

#[tokio::test]
async fn a_session_of_a_store_acts_nowhere_else() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let other = Organization::found_by(&acme.owner, "other").await;
    let (north, south) = (acme.store("north").await, acme.store("south").await);
    acme.role("clerk", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([])).await;
    let ada = acme.owner.at_store("acme", "north").await;

    for path in ["", "/members", "/stores", "/roles"] {
        assert_not_found(&ada.get(&other.path(path)).await);
    }
    assert_not_found(&ada.post(&other.path("/stores"), json!({"slug": "x", "name": "X"})).await);
    let role = json!({"inherits": [], "grants": [allow("orders:read")]});
    let answers = [
        ada.patch(&acme.path(""), json!({"name": "Mine"})).await,
        ada.delete(&acme.path("")).await,
        ada.post(&acme.path("/stores"), json!({"slug": "east", "name": "East"})).await,
        ada.put(&acme.path("/roles/new"), role.clone()).await,
        ada.put(&acme.path("/roles/clerk"), role.clone()).await,
        ada.delete(&acme.path("/roles/clerk")).await,
        ada.post(&acme.path("/roles/clerk/impact"), role).await,
        ada.put(&acme.path("/resource-types/orders"), json!({"attributes": {}})).await,
        ada.delete(&acme.path(&format!("/members/{}", bob.id))).await,
        ada.post(&acme.path("/service-accounts"), json!({"name": "robot", "roles": []})).await,
        acme.assign(&ada, &bob, json!([held("clerk")])).await,
        acme.assign(&ada, &bob, json!([held_at("clerk", &south)])).await,
    ];
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 403, "call {number}: {}", answer.text);
    }
    assert_eq!(acme.roles_of(&bob).await, Some(vec![]));
    assert_eq!(ada.get(&acme.path("")).await.status, 200);
    assert!(ada.get("/auth/me").await.string("/store/id") == north);

    // At its own store it acts as it may there.
    let assigned = acme.assign(&ada, &bob, json!([held_at("clerk", &north)])).await;
    assert_eq!(assigned.status, 200, "{}", assigned.text);
    assert_eq!(acme.roles_of(&bob).await, Some(vec![held_at("clerk", &north)]));
}

#[tokio::test]
async fn rights_at_one_store_reach_no_other_and_not_the_organization() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let (north, south) = (acme.store("north").await, acme.store("south").await);
    acme.role("clerk", json!([allow("orders:read")])).await;
    acme.role("chief", json!([allow("members:update"), allow("roles:*"), allow("stores:*"), allow("orders:*")])).await;
    let bob = acme.member("bob", json!([])).await;
    let chief = acme.member("cyd", json!([held_at("chief", &north)])).await;

    // By the store's slug or its id, in the answers always by its id.
    for store in ["north", &north] {
        let assigned = acme.assign(&chief, &bob, json!([held_at("clerk", store)])).await;
        assert_eq!(assigned.status, 200, "{}", assigned.text);
        assert_eq!(assigned.json["member"]["roles"], json!([held_at("clerk", &north)]));
    }
    for roles in [
        json!([held("clerk")]),
        json!([held_at("clerk", "south")]),
        json!([held_at("clerk", &north), held_at("clerk", &south)]),
    ] {
        assert_eq!(acme.assign(&chief, &bob, roles.clone()).await.status, 403, "{roles}");
    }
    acme.set_roles(&bob, json!([held_at("clerk", &south)])).await;
    assert_eq!(acme.assign(&chief, &bob, json!([])).await.status, 403, "what another store gives is not its to take");
    assert_eq!(acme.roles_of(&bob).await, Some(vec![held_at("clerk", &south)]));
    let answers = [
        chief.put(&acme.path("/roles/new"), json!({"inherits": [], "grants": []})).await,
        chief.post(&acme.path("/stores"), json!({"slug": "east", "name": "East"})).await,
        chief.get(&acme.path("/roles")).await,
    ];
    for answer in &answers {
        assert_problem(answer, 403, "permission_denied");
    }
    let unknown = acme.assign(&acme.owner, &bob, json!([held_at("clerk", NOBODY_ID)])).await;
    assert_invalid(&unknown, "roles[0].store", "unknown_store");
}
