//! How many sessions there are.

use reqwest::Method;
use serde_json::json;

use super::{
    fixture::{ADA, PASSWORD, Store, assert_invalid, assert_problem, get, members, on_each_store, quick, send},
    tenancy::{Organization, Person},
};

on_each_store!(tells_administrators_how_many_sessions_there_are);

const ANALYTICS: &str = "/auth/analytics/sessions";
const PHONE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";

async fn tells_administrators_how_many_sessions_there_are(store: Store) {
    let settings = quick()
        .with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root@example.org")
        .with("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", PASSWORD);
    let deployment = store.deploy_confined(settings).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    for _ in 0..2 {
        acme.owner.at("acme").await;
    }
    let body = json!({"email": ADA, "password": PASSWORD});
    let phone = send(api.request(Method::POST, "/auth/login").header("user-agent", PHONE).json(&body)).await;
    assert_eq!(phone.status, 200, "{}", phone.text);
    let left = Person::sign_in(api, ADA, json!({})).await;
    assert_eq!(left.post("/auth/logout", json!({})).await.status, 204);
    for refused in ["0", "91", "x"] {
        let root = Person::sign_in(api, "root@example.org", json!({})).await;
        assert_invalid(&root.get(&format!("{ANALYTICS}?days={refused}")).await, "days", "out_of_range");
        assert_eq!(root.post("/auth/logout", json!({})).await.status, 204);
    }
    let root = Person::sign_in(api, "root@example.org", json!({})).await;
    let answer = root.get(ANALYTICS).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(members(&answer.json), ["active", "by_device", "by_organization", "median_seconds", "peak"]);
    // Ada's first one, three in her organization (founding it signs in there), her phone, and the administrator's.
    assert_eq!((&answer.json["active"], &answer.json["peak"]), (&json!(6), &json!(6)));
    assert_eq!(answer.json["by_device"], json!({"mobile": 1, "unknown": 5}));
    assert_eq!(answer.json["by_organization"], json!({acme.id.as_str(): 3}));
    assert!(answer.json["median_seconds"].as_u64().unwrap() < 60, "{}", answer.text);
    assert_problem(&acme.owner.get(ANALYTICS).await, 403, "permission_denied");
    assert_problem(&get(api, ANALYTICS, "").await, 401, "unauthenticated");
}
