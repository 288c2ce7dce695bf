//! Organizations: founded, shown, changed, ended.

use authv2_tests::postgres::Postgres;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Executor as _;

use super::{
    fixture::{Store, assert_invalid, assert_problem, members, on_each_store, quick},
    tenancy::{NOBODY_ID, Organization, Person, allow, assert_not_found, assert_refuses, deploy, held},
};

on_each_store!(
    who_founds_an_organization_owns_it,
    a_slug_is_taken_once_however_many_ask,
    an_owner_ends_it_and_nothing_of_it_is_left,
);

async fn who_founds_an_organization_owns_it(store: Store) {
    let deployment = deploy(store).await;
    let ada = Person::new(&deployment.api, "ada").await;
    assert_eq!(ada.get("/auth/orgs").await.json, json!({"organizations": []}));
    let founded = ada.post("/auth/orgs", json!({"slug": "acme", "name": "Acme \u{1f9ee} GmbH"})).await;
    assert_eq!(founded.status, 201, "{}", founded.text);
    assert_eq!(members(&founded.json), ["organization"]);
    let organization = &founded.json["organization"];
    assert_eq!(members(organization), ["created_at", "id", "name", "slug", "time_zone"]);
    assert_eq!((&organization["slug"], &organization["name"]), (&json!("acme"), &json!("Acme \u{1f9ee} GmbH")));
    let id = founded.string("/organization/id");
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert!(founded.string("/organization/created_at").ends_with('Z'));
    assert!(!founded.string("/organization/time_zone").is_empty());

    for name in ["acme", id] {
        let shown = ada.get(&format!("/auth/orgs/{name}")).await;
        assert_eq!((shown.status, &shown.json), (200, &founded.json));
    }
    assert_eq!(ada.get("/auth/orgs").await.json, json!({"organizations": [organization]}));
    let listed = ada.get("/auth/orgs/acme/members").await;
    assert_eq!(listed.json["members"][0]["user_id"], json!(ada.id), "{}", listed.text);
    assert_eq!(listed.json["members"][0]["roles"], json!([{"role": "owner"}]));
    // Founding moves nobody's session.
    assert!(ada.get("/auth/me").await.json.get("organization").is_none());
    assert!(ada.at("acme").await.may("anything:at-all").await);
}

async fn a_slug_is_taken_once_however_many_ask(store: Store) {
    let deployment = deploy(store).await;
    let ada = Person::new(&deployment.api, "ada").await;
    let bob = Person::new(&deployment.api, "bob").await;
    let founders = [&ada, &bob].into_iter().cycle().take(8);
    let answers =
        join_all(founders.map(|person| person.post("/auth/orgs", json!({"slug": "acme", "name": "A"})))).await;
    let (founded, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((founded.len(), refused.len()), (1, 7));
    for answer in refused {
        assert_problem(answer, 409, "slug_taken");
    }
    let mut listed = 0;
    for person in [&ada, &bob] {
        listed += person.get("/auth/orgs").await.json["organizations"].as_array().unwrap().len();
    }
    assert_eq!(listed, 1);
}

#[tokio::test]
async fn a_slug_and_a_name_have_their_form() {
    let deployment = deploy(Store::Sqlite).await;
    let ada = Person::new(&deployment.api, "ada").await;
    let found = |body| ada.post("/auth/orgs", body);
    for slug in ["", "Acme", "1acme", "-acme", "_acme", "a b", "ac.me", "acme\n", "\u{e9}toile", "a/b", &"a".repeat(64)]
    {
        assert_refuses(&found(json!({"slug": slug, "name": "Acme"})).await, "slug");
    }
    for slug in ["a", "a-b_c9", "z--", &"a".repeat(63)] {
        let answer = found(json!({"slug": slug, "name": "Acme"})).await;
        assert_eq!(answer.status, 201, "{slug}: {}", answer.text);
    }
    for name in ["", "  ", &"x".repeat(10_000), "bell\u{7}"] {
        assert_refuses(&found(json!({"slug": "acme", "name": name})).await, "name");
    }
    assert_invalid(&found(json!({"name": "Acme"})).await, "slug", "required");
    assert_invalid(&found(json!({"slug": "acme"})).await, "name", "required");
    assert_invalid(&found(json!({"slug": 7, "name": "Acme"})).await, "slug", "invalid_type");
    let more = json!({"slug": "acme", "name": "Acme", "owner": "ada"});
    assert_invalid(&found(more).await, "owner", "unknown_field");
    let nobody = deployment.api.post("/auth/orgs", "", &json!({"slug": "acme", "name": "Acme"})).await.unwrap();
    assert_problem(&nobody, 401, "unauthenticated");
}

#[tokio::test]
async fn one_sees_the_organizations_that_one_is_a_member_of_and_no_other() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let other = Organization::found(&deployment.api, "other", "bob").await;
    let third = Organization::found_by(&acme.owner, "third").await;
    let slugs = |listed: &Value| -> Vec<String> {
        let mut slugs: Vec<String> = listed["organizations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|organization| organization["slug"].as_str().unwrap().to_owned())
            .collect();
        slugs.sort_unstable();
        slugs
    };
    assert_eq!(slugs(&acme.owner.get("/auth/orgs").await.json), ["acme", "third"]);
    assert_eq!(slugs(&other.owner.get("/auth/orgs").await.json), ["other"]);
    for name in [&*other.slug, &other.id, "nobodys", NOBODY_ID, "Not%20a%20slug", "%00", "*"] {
        let answer = acme.owner.get(&format!("/auth/orgs/{name}")).await;
        assert_not_found(&answer);
    }
    // A session in one organization, or in none, calls for all of one's own.
    assert_eq!(acme.owner.get("/auth/orgs/third").await.status, 200);
    let nowhere = Person::sign_in(&deployment.api, &third.owner.email, json!({})).await;
    assert_eq!(nowhere.get("/auth/orgs/third").await.status, 200);
    assert_problem(&deployment.api.get("/auth/orgs", "").await.unwrap(), 401, "unauthenticated");
    assert_problem(&deployment.api.get("/auth/orgs/acme", "").await.unwrap(), 401, "unauthenticated");
}

#[tokio::test]
async fn name_and_time_zone_are_changed_by_who_may() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("namer", json!([allow("organization:update")])).await;
    acme.role("not-enough", json!([allow("organization:read"), allow("members:*"), allow("stores:*")])).await;
    let path = acme.path("");
    let namer = acme.member("nan", json!([held("namer")])).await;
    let renamed = namer.patch(&path, json!({"name": "Acme & Sons"})).await;
    assert_eq!((renamed.status, renamed.string("/organization/name")), (200, "Acme & Sons"), "{}", renamed.text);
    let admin = acme.member("bob", json!([held("admin")])).await;
    let moved = admin.patch(&path, json!({"time_zone": "Europe/Berlin"})).await;
    assert_eq!((moved.status, moved.string("/organization/time_zone")), (200, "Europe/Berlin"), "{}", moved.text);
    assert_eq!(moved.string("/organization/name"), "Acme & Sons");
    let nothing = acme.owner.patch(&path, json!({})).await;
    assert_eq!((nothing.status, &nothing.json), (200, &moved.json));
    assert_eq!(acme.owner.get(&path).await.json, moved.json);

    for zone in ["Mars/Olympus", "", "europe berlin", "../etc/passwd"] {
        assert_refuses(&acme.owner.patch(&path, json!({"time_zone": zone})).await, "time_zone");
    }
    assert_refuses(&acme.owner.patch(&path, json!({"name": " "})).await, "name");
    for field in ["slug", "id", "created_at"] {
        assert_invalid(&acme.owner.patch(&path, json!({field: "x"})).await, field, "unknown_field");
    }
    let other = acme.member("cyd", json!([held("not-enough"), held("member")])).await;
    assert_problem(&other.patch(&path, json!({"name": "Mine"})).await, 403, "permission_denied");
    let stranger = Person::new(&deployment.api, "eve").await;
    assert_not_found(&stranger.patch(&path, json!({"name": "Mine"})).await);
    assert_eq!(acme.owner.get(&path).await.json, moved.json);
}

async fn an_owner_ends_it_and_nothing_of_it_is_left(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("everything", json!([allow("*")])).await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    acme.store("north").await;
    acme.service_account("robot", json!([held("clerk")])).await;
    let clerk = acme.member("bob", json!([held("clerk")])).await;
    let root = acme.member("cyd", json!([held("everything"), held("admin")])).await;
    assert!(clerk.may("orders:read").await);
    for person in [&clerk, &root] {
        assert_problem(&person.delete(&acme.path("")).await, 403, "permission_denied");
    }
    let stranger = Person::new(&deployment.api, "eve").await;
    assert_not_found(&stranger.delete(&acme.path("")).await);

    let ended = acme.owner.delete(&acme.path("")).await;
    assert_eq!((ended.status, &*ended.text), (204, ""));
    for person in [&acme.owner, &clerk, &root] {
        for rest in ["", "/members", "/roles", "/stores"] {
            assert_not_found(&person.get(&acme.path(rest)).await);
        }
        assert!(!person.may("orders:read").await);
        assert_eq!(person.get("/auth/orgs").await.json, json!({"organizations": []}));
        assert_eq!(person.get("/private").await.status, 200, "the account goes on");
    }
    let renewed = super::fixture::refresh(&deployment.api, &clerk.tokens.refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let me = super::fixture::get(&deployment.api, "/auth/me", renewed.string("/access_token")).await;
    assert_eq!((me.json.get("organization"), &me.json["roles"]), (None, &json!([])), "{}", me.text);
}

/// Nobody waits fifteen minutes here: the sign-ins are made older in the database.
#[tokio::test]
async fn who_signed_in_long_ago_signs_in_again_before_ending_it() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let mut server = quick().store(database.url()).start().unwrap();
    let api = authv2_tests::client::Api::new(server.url()).unwrap();
    let acme = Organization::found(&api, "acme", "ada").await;
    let fresh = json!({"permission": "orders:read", "effect": "allow", "step_up": {"max_age": 600}});
    acme.role("careful", json!([fresh])).await;
    let bob = acme.member("bob", json!([held("careful")])).await;
    assert!(bob.may("orders:read").await);
    server.stop().unwrap();
    let pool = sqlx::PgPool::connect(&database.admin_url()).await.unwrap();
    pool.execute("UPDATE sessions SET auth_time = auth_time - 901000000").await.unwrap();
    pool.close().await;
    server.restart().unwrap();

    let api = authv2_tests::client::Api::new(server.url()).unwrap();
    let (owner, bob) = (acme.owner.refreshed(&api).await, bob.refreshed(&api).await);
    let refused = owner.delete(&acme.path("")).await;
    assert_problem(&refused, 401, "step_up_required");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    assert!(challenge.contains("max_age=\"900\"") || challenge.contains("max_age=900"), "{challenge}");
    assert!(!bob.may("orders:read").await);
    let refused = bob.get("/orders/7").await;
    assert_problem(&refused, 401, "step_up_required");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("max_age=\"600\"") || challenge.contains("max_age=600"), "{challenge}");

    let again = owner.at("acme").await;
    assert!(bob.at("acme").await.may("orders:read").await);
    assert_eq!(again.delete(&acme.path("")).await.status, 204);
}
