//! What API keys were used for: the sum is what was served, for whoever may read keys.

use std::time::{Duration, Instant};

use authv2_tests::client::{Answer, Api};
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_invalid, assert_problem, get, members, on_each_store, quick},
    key_quotas::key,
    tenancy::{Organization, Person, assert_not_found, deploy},
};

on_each_store!(tells_how_requests_came_out, is_for_those_who_may_read_keys);

/// Waits for the counts to be written: longer than the window of five seconds.
async fn eventually_used(of: &Organization, path: &str, total: i64) -> Answer {
    let begun = Instant::now();
    loop {
        let usage = of.owner.get(&format!("{path}/usage")).await;
        assert_eq!(usage.status, 200, "{}", usage.text);
        if usage.json["total"].as_i64() >= Some(total) {
            return usage;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{}", usage.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn sums(usage: &Value) -> [i64; 4] {
    ["total", "allowed", "denied", "rate_limited"].map(|name| usage[name].as_i64().unwrap())
}

async fn tells_how_requests_came_out(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let more = json!({"scopes": ["orders:read"], "quota": {"requests": 9, "per": "month"}});
    let used = key(&acme, more).await;
    let unused = acme.owner.get(&format!("{}/usage", used.path)).await;
    assert_eq!(sums(&unused.json), [0; 4]);
    assert_eq!((&unused.json["buckets"], &unused.json["last_used_at"]), (&json!([]), &json!(null)));

    let asked = json!({"permission": "orders:read"});
    for (path, status, times) in [("/private", 200, 3), ("/orders/1", 200, 1)] {
        for _ in 0..times {
            assert_eq!(get(api, path, &used.secret).await.status, status, "{path}");
        }
    }
    for _ in 0..2 {
        let checked = api.post("/auth/permissions/check", &used.secret, &asked).await.unwrap();
        assert_eq!(checked.status, 200, "{}", checked.text);
    }
    // Not within its scopes, here and in the application.
    assert_eq!(get(api, &acme.path("/members"), &used.secret).await.status, 403);
    let refund = api.post("/orders/1/refund", &used.secret, &json!({"amount": 1})).await.unwrap();
    assert_eq!(refund.status, 403, "{}", refund.text);
    assert_eq!(get(api, "/private", &used.secret).await.status, 200);
    for _ in 0..4 {
        assert_eq!(get(api, "/private", &used.secret).await.status, 429);
    }
    // Who has not proved anything is nobody's use.
    assert_eq!(get(api, "/private", &format!("{}x", used.secret)).await.status, 401);

    let usage = eventually_used(&acme, &used.path, 13).await;
    assert_eq!(sums(&usage.json), [13, 7, 2, 4], "{}", usage.text);
    let expected = ["allowed", "buckets", "denied", "last_used_at", "last_used_ip", "rate_limited", "total"];
    assert_eq!(members(&usage.json), expected);
    assert_eq!(usage.string("/last_used_ip"), "127.0.0.1");
    for bucket in usage.json["buckets"].as_array().unwrap() {
        assert_eq!(members(bucket), ["allowed", "denied", "rate_limited", "start"]);
    }
    let by_day = acme.owner.get(&format!("{}/usage?bucket=day", used.path)).await;
    assert_eq!(sums(&by_day.json), sums(&usage.json));
    assert!(by_day.string("/buckets/0/start").ends_with("T00:00:00Z"), "{}", by_day.text);
    let before = acme.owner.get(&format!("{}/usage?to=2020-01-01T00:00:00Z", used.path)).await;
    assert_eq!((sums(&before.json), &before.json["buckets"]), ([0; 4], &json!([])));
}

async fn is_for_those_who_may_read_keys(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let (acme, other) = (Organization::found(api, "acme", "ada").await, Organization::found(api, "other", "bob").await);
    let used = key(&acme, json!({})).await;
    let usage = format!("{}/usage", used.path);
    let eve = Person::new(api, "eve").await;
    let joined = acme.owner.post(&acme.path("/members"), json!({"user_id": eve.id, "roles": []})).await;
    assert_eq!(joined.status, 201, "{}", joined.text);
    assert_problem(&eve.get(&usage).await, 403, "permission_denied");
    assert_not_found(&other.owner.get(&usage).await);
    assert_not_found(&other.owner.get(&other.path(&format!("/api-keys/{}/usage", used.id))).await);
    assert_not_found(&acme.owner.get(&acme.path("/api-keys/no-id/usage")).await);
    assert_problem(&get(api, &usage, "").await, 401, "unauthenticated");
    // A key that may read keys may read of itself.
    let reader = key(&acme, json!({"scopes": ["api_keys:read"]})).await;
    assert_eq!(get(api, &usage, &reader.secret).await.status, 200);
    for (query, field, code) in [
        ("bucket=week", "bucket", "invalid_choice"),
        ("from=yesterday", "from", "invalid_timestamp"),
        ("to=2026-01-01", "to", "invalid_timestamp"),
    ] {
        assert_invalid(&acme.owner.get(&format!("{usage}?{query}")).await, field, code);
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_loses_no_count_and_one_that_is_killed_the_last_seconds_at_most() {
    let mut server = quick().start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let acme = Organization::found(&api, "acme", "ada").await;
    let used = key(&acme, json!({})).await;
    for _ in 0..25 {
        assert_eq!(get(&api, "/private", &used.secret).await.status, 200);
    }
    server.stop().unwrap();
    server.restart().unwrap();
    let mut acme = acme;
    acme.owner.api = Api::new(server.url()).unwrap();
    let usage = acme.owner.get(&format!("{}/usage", used.path)).await;
    assert_eq!(sums(&usage.json), [25, 25, 0, 0], "{}", usage.text);

    for _ in 0..10 {
        assert_eq!(get(&acme.owner.api, "/private", &used.secret).await.status, 200);
    }
    eventually_used(&acme, &used.path, 35).await;
    for _ in 0..10 {
        assert_eq!(get(&acme.owner.api, "/private", &used.secret).await.status, 200);
    }
    server.kill_9().unwrap();
    server.restart().unwrap();
    acme.owner.api = Api::new(server.url()).unwrap();
    let usage = acme.owner.get(&format!("{}/usage", used.path)).await;
    assert!((35..=45).contains(&usage.json["total"].as_i64().unwrap()), "{}", usage.text);
}
