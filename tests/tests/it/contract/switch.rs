//! In which organization and store a session is, and how it gets there.

use authv2_tests::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{
        Browser, PASSWORD, Store, Tokens, WRONG, assert_invalid, assert_problem, get, members, on_each_store, refresh,
        send,
    },
    tenancy::{NOBODY_ID, Organization, Person, allow, deny, deploy, held, held_at, sign_in_to, sorted},
};

on_each_store!(a_session_switches_and_refreshes_into_the_tenant, me_tells_where_one_is_and_what_one_may);

/// The claims of an access token, unverified: what verifies them is another test's concern.
fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims
}

async fn switch(person: &Person, organization: &str, store: Option<&str>) -> Answer {
    let mut body = json!({"organization": organization});
    if let Some(store) = store {
        body["store"] = json!(store);
    }
    person.post("/auth/session/switch", body).await
}

async fn a_session_switches_and_refreshes_into_the_tenant(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let other = Organization::found_by(&acme.owner, "other").await;
    let north = acme.store("north").await;
    let ada = Person::sign_in(api, &acme.owner.email, json!({})).await;
    assert_eq!(claims(&ada.tokens.access).get("org"), None);

    let mut refresh_token = ada.tokens.refresh.clone();
    let places: [(&str, Option<&str>, &str, Option<&str>); 5] = [
        ("acme", None, &acme.id, None),
        (&acme.id, Some("north"), &acme.id, Some(&north)),
        ("other", None, &other.id, None),
        ("acme", Some(&north), &acme.id, Some(&north)),
        ("acme", None, &acme.id, None),
    ];
    for (organization, store, org_id, store_id) in places {
        let switched = switch(&ada, organization, store).await;
        assert_eq!(switched.status, 200, "{}", switched.text);
        assert_eq!(members(&switched.json), ["access_token", "expires_in", "session", "token_type"]);
        assert_eq!((switched.string("/token_type"), &switched.json["expires_in"]), ("Bearer", &json!(600)));
        assert_eq!(switched.string("/session/id"), ada.tokens.session);
        let renewed = refresh(api, &refresh_token).await;
        assert_eq!(renewed.status, 200, "{}", renewed.text);
        refresh_token = renewed.string("/refresh_token").to_owned();
        for answer in [&switched, &renewed] {
            assert_eq!(answer.string("/session/organization"), org_id, "{}", answer.text);
            assert_eq!(answer.json["session"].get("store"), store_id.map(|id| json!(id)).as_ref());
            let token = answer.string("/access_token");
            let claims = claims(token);
            assert_eq!((claims["org"].as_str(), claims.get("store").and_then(Value::as_str)), (Some(org_id), store_id));
            assert_eq!(claims["sid"], json!(ada.tokens.session));
            let me = get(api, "/auth/me", token).await;
            assert_eq!(me.string("/organization/id"), org_id, "{}", me.text);
            assert_eq!(me.json.get("store").and_then(|store| store["id"].as_str()), store_id);
        }
        let sessions = ada.get("/auth/sessions").await;
        let own = sessions.json["sessions"].as_array().unwrap().iter().find(|own| own["current"] == true).unwrap();
        assert_eq!(own["organization"], json!(org_id));
    }
}

#[tokio::test]
async fn nobody_switches_or_signs_in_to_what_one_is_no_member_of() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let other = Organization::found(api, "other", "bob").await;
    let (own, foreign) = (acme.store("north").await, other.store("east").await);
    let places = [
        json!({"organization": "other"}),
        json!({"organization": other.id}),
        json!({"organization": other.id, "store": foreign}),
        json!({"organization": "other", "store": "east"}),
        json!({"organization": "other", "store": own}),
        json!({"organization": "nobodys"}),
        json!({"organization": NOBODY_ID}),
        json!({"organization": "Not a slug"}),
        json!({"organization": "acme", "store": foreign}),
        json!({"organization": "acme", "store": "east"}),
        json!({"organization": "acme", "store": "nowhere"}),
        json!({"organization": "acme", "store": NOBODY_ID}),
    ];
    let mut texts = Vec::new();
    for place in places {
        let switched = acme.owner.post("/auth/session/switch", place.clone()).await;
        let signed_in = sign_in_to(api, &acme.owner.email, PASSWORD, place.clone()).await;
        for answer in [switched, signed_in] {
            assert_eq!(answer.status, 403, "{place}: {}", answer.text);
            assert_problem(&answer, 403, "not_a_member");
            texts.push(answer.text.replace(answer.string("/request_id"), ""));
        }
    }
    // Who does not know the password is told nothing of it.
    for place in [json!({"organization": "acme"}), json!({"organization": "other"}), json!({"organization": "nobodys"})]
    {
        let wrong = sign_in_to(api, &acme.owner.email, WRONG, place).await;
        assert_problem(&wrong, 401, "invalid_credentials");
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
    assert_eq!(acme.owner.get("/auth/me").await.string("/organization/id"), acme.id, "the session stayed");
    let nothing = acme.owner.post("/auth/session/switch", json!({})).await;
    assert_invalid(&nothing, "organization", "required");
    let more = acme.owner.post("/auth/session/switch", json!({"organization": "acme", "x": 1})).await;
    assert_invalid(&more, "x", "unknown_field");
    let nobody = api.post("/auth/session/switch", "", &json!({"organization": "acme"})).await.unwrap();
    assert_problem(&nobody, 401, "unauthenticated");
}

#[tokio::test]
async fn signs_in_to_an_organization_and_a_store() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held_at("clerk", &north)])).await;
    for (organization, store) in [("acme", "north"), (&*acme.id, &*north)] {
        let answer = sign_in_to(api, &bob.email, PASSWORD, json!({"organization": organization, "store": store})).await;
        let tokens = Tokens::of(&answer);
        assert_eq!(answer.string("/session/organization"), acme.id, "{}", answer.text);
        assert_eq!(answer.string("/session/store"), north, "{}", answer.text);
        let claims = claims(&tokens.access);
        assert_eq!((&claims["org"], &claims["store"]), (&json!(acme.id), &json!(north)));
        let private = get(api, "/private", &tokens.access).await;
        assert_eq!((private.status, private.string("/organization")), (200, &*acme.id), "{}", private.text);
    }
}

async fn me_tells_where_one_is_and_what_one_may(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read"), allow("stock:*"), deny("stock:void")])).await;
    acme.role_with("chief", json!({"inherits": ["clerk"], "grants": [allow("orders:refund")]})).await;
    let nowhere = Person::new(api, "bob").await;
    acme.admit(&nowhere, json!([held("clerk"), held_at("chief", &north)])).await;
    let me = nowhere.get("/auth/me").await;
    assert_eq!(members(&me.json), ["auth", "permissions", "roles", "session", "user"]);
    assert_eq!((&me.json["roles"], &me.json["permissions"]), (&json!([]), &json!([])));

    let organization = acme.owner.get(&acme.path("")).await.json["organization"].clone();
    let me = nowhere.at("acme").await.get("/auth/me").await;
    assert_eq!(members(&me.json), ["auth", "organization", "permissions", "roles", "session", "user"]);
    assert_eq!(me.json["organization"], organization);
    assert!(sorted(&me.json["roles"]).contains(&held("clerk")), "{}", me.text);
    assert_eq!(me.json["permissions"], json!(["orders:read", "stock:*"]));

    let stores = acme.owner.get(&acme.path("/stores")).await;
    let me = nowhere.at_store("acme", "north").await.get("/auth/me").await;
    assert_eq!(members(&me.json), ["auth", "organization", "permissions", "roles", "session", "store", "user"]);
    assert_eq!((&me.json["organization"], &me.json["store"]), (&organization, &stores.json["stores"][0]));
    assert_eq!(sorted(&me.json["roles"]), sorted(&json!([held("clerk"), held_at("chief", &north)])));
    assert_eq!(me.json["permissions"], json!(["orders:read", "orders:refund", "stock:*"]));

    let me = acme.owner.get("/auth/me").await;
    assert_eq!((&me.json["roles"], &me.json["permissions"]), (&json!([held("owner")]), &json!(["*"])));
    // What is denied as a whole is no permission any more.
    acme.role("suspended", json!([deny("stock:*")])).await;
    acme.set_roles(&nowhere, json!([held("clerk"), held("suspended")])).await;
    let me = nowhere.at("acme").await.get("/auth/me").await;
    assert_eq!(me.json["permissions"], json!(["orders:read"]));
}

#[tokio::test]
async fn a_cookie_session_switches_and_sees_no_token() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let other = Organization::found_by(&acme.owner, "other").await;
    let (mut browser, _) = Browser::sign_in(api, &acme.owner.email).await;
    let request = browser.request(Method::POST, "/auth/session/switch").json(&json!({"organization": "acme"}));
    assert_problem(&send(request).await, 403, "csrf_failed");
    let request = browser.page_request(Method::POST, "/auth/session/switch").json(&json!({"organization": "acme"}));
    let switched = send(request).await;
    assert_eq!(switched.status, 200, "{}", switched.text);
    assert_eq!(members(&switched.json), ["csrf_token", "session", "user"]);
    assert_eq!(switched.string("/session/organization"), acme.id);
    let renewed = |name| super::fixture::set_cookie(&switched, name).expect("a renewed cookie").0;
    (browser.session, browser.csrf) = (renewed("authv2"), renewed("authv2_csrf"));
    assert_eq!(browser.get("/auth/me").await.string("/organization/id"), acme.id);

    for (believed, right) in [
        ("acme", true),
        (&*acme.id, true),
        ("other", false),
        (&*other.id, false),
        ("nobodys", false),
        (NOBODY_ID, false),
    ] {
        let answer = send(browser.request(Method::GET, "/auth/me").header("x-authv2-organization", believed)).await;
        if right {
            assert_eq!(answer.status, 200, "{believed}: {}", answer.text);
        } else {
            assert_problem(&answer, 409, "wrong_organization");
        }
    }
    let (nowhere, _) = Browser::sign_in(api, &acme.owner.email).await;
    let answer = send(nowhere.request(Method::GET, "/auth/me").header("x-authv2-organization", "acme")).await;
    assert_problem(&answer, 409, "wrong_organization");
}

#[tokio::test]
async fn a_cookie_session_signs_in_to_an_organization() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let place = json!({"organization": "acme", "transport": "cookie"});
    let answer = sign_in_to(&deployment.api, &acme.owner.email, PASSWORD, place).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(members(&answer.json), ["csrf_token", "session", "user"]);
    assert_eq!(answer.string("/session/organization"), acme.id);
}
