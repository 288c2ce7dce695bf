//! Rate limits over HTTP: of API keys, users, organizations and networks, on one node and on three.

use std::time::{Duration, Instant};

use authv2_tests::{
    client::{Answer, Api},
    nodes::{Backend, Fault, Nodes, Plan},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    fixture::{Deployment, Store, assert_problem, get, on_each_store, quick, start},
    tenancy::{Organization, Person, deploy},
};

const SLOW: u64 = 86_400;

/// Mints a key that lists keys; its secret.
async fn mint(acme: &Organization, rate_limit: Value) -> String {
    let mut body = json!({"name": "robot", "scopes": ["api_keys:read"]});
    if !rate_limit.is_null() {
        body["rate_limit"] = rate_limit;
    }
    let minted = acme.owner.post(&acme.path("/api-keys"), body).await;
    assert_eq!(minted.status, 201, "{}", minted.text);
    minted.string("/secret").to_owned()
}

fn assert_limited(answer: &Answer, policy: &str, quota: &str) {
    assert_problem(answer, 429, "rate_limited");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!(wait >= 1, "{wait}");
    assert_eq!(answer.header("ratelimit-policy"), format!("\"{policy}\";{quota}"));
    assert_eq!(answer.header("ratelimit"), format!("\"{policy}\";r=0;t={wait}"));
}

/// So many requests at once, spread over the nodes; how many passed. None is answered otherwise than 200 or 429.
async fn storm(apis: &[Api], path: &str, token: &str, requests: usize) -> usize {
    let answers = (0..requests).map(|number| get(&apis[number % apis.len()], path, token));
    let answers = join_all(answers).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    answers.iter().filter(|answer| answer.status != 200).for_each(|answer| assert_problem(answer, 429, "rate_limited"));
    passed
}

/// The first answer that is refused: on a slow machine some of the limit has come back.
async fn until_limited(ask: impl AsyncFn() -> Answer) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = ask().await;
        if answer.status == 429 {
            return answer;
        }
        assert!(Instant::now() < deadline, "never refused: {}", answer.text);
    }
}

on_each_store!(a_key_passes_as_often_as_its_limit_says_and_its_secrets_share_it);

async fn a_key_passes_as_often_as_its_limit_says_and_its_secrets_share_it(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let keys = acme.path("/api-keys");
    let secret = mint(&acme, json!({"requests": 5, "per_seconds": SLOW})).await;
    let first = get(&deployment.api, &keys, &secret).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.header("ratelimit-policy"), "\"key\";q=5;w=86400");
    assert_eq!(first.header("ratelimit"), "\"key\";r=4;t=17280");
    assert_eq!(storm(std::slice::from_ref(&deployment.api), &keys, &secret, 40).await, 4);
    assert_limited(&get(&deployment.api, &keys, &secret).await, "key", "q=5;w=86400");

    // A new secret is the same key; the owner has no limit of its own.
    let listed = acme.owner.get(&keys).await;
    assert_eq!((listed.status, listed.header("ratelimit")), (200, ""));
    let id = listed.string("/api_keys/0/id").to_owned();
    let rotated = acme.owner.post(&format!("{keys}/{id}/rotate"), json!({})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    assert_limited(&get(&deployment.api, &keys, rotated.string("/secret")).await, "key", "q=5;w=86400");
    assert_problem(&get(&deployment.api, &keys, &secret).await, 401, "invalid_token");

    let burst = mint(&acme, json!({"requests": 5, "per_seconds": SLOW, "burst": 2})).await;
    assert_eq!(storm(std::slice::from_ref(&deployment.api), &keys, &burst, 40).await, 2);
    // The slowest that can be asked for.
    let slowest = mint(&acme, json!({"requests": 1, "per_seconds": SLOW, "burst": 1_000_000})).await;
    assert_eq!(get(&deployment.api, &keys, &slowest).await.header("ratelimit"), "\"key\";r=999999;t=86400");
}

async fn limited(setting: &str, requests: &str) -> Deployment {
    start(quick().with(setting, requests)).await
}

#[tokio::test]
async fn a_key_without_a_limit_has_the_settings() {
    let deployment = limited("AUTHV2_LIMITS__KEY_PER_MINUTE", "3").await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let (own, none) = (mint(&acme, json!({"requests": 9, "per_seconds": SLOW})).await, mint(&acme, Value::Null).await);
    let keys = acme.path("/api-keys");
    let apis = std::slice::from_ref(&deployment.api);
    assert_eq!((storm(apis, &keys, &own, 20).await, storm(apis, &keys, &none, 20).await), (9, 3));
}

#[tokio::test]
async fn a_user_is_limited_over_all_of_its_sessions_and_can_still_leave() {
    let deployment = limited("AUTHV2_LIMITS__USER_PER_MINUTE", "6").await;
    let ada = Person::new(&deployment.api, "ada").await;
    let again = Person::sign_in(&deployment.api, &ada.email, json!({})).await;
    for left in (0..6).rev() {
        let asking = if left % 2 == 0 { &ada } else { &again };
        let answer = asking.get("/auth/me").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.header("ratelimit").starts_with(&format!("\"user\";r={left};t=")), "{left}");
    }
    assert_limited(&again.get("/private").await, "user", "q=6;w=60");
    let bob = Person::new(&deployment.api, "bob").await;
    let answer = bob.get("/private").await;
    assert!(answer.header("ratelimit").starts_with("\"user\";r=5;t="), "the layer tells it as well");
    assert_eq!(ada.post("/auth/logout-all", json!({})).await.status, 200);
}

#[tokio::test]
async fn an_organization_is_limited_over_all_of_its_members() {
    let deployment = limited("AUTHV2_LIMITS__ORGANIZATION_PER_MINUTE", "30").await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let globex = Organization::found(&deployment.api, "globex", "bob").await;
    let begun = Instant::now();
    let secret = mint(&acme, Value::Null).await;
    let keys = acme.path("/api-keys");
    let passed = storm(std::slice::from_ref(&deployment.api), &keys, &secret, 90).await;
    // One request has minted the key; one comes back every two seconds.
    let back = usize::try_from(begun.elapsed().as_secs() / 2 + 1).unwrap();
    assert!((29..=29 + back).contains(&passed), "{passed}, {back} came back");
    let refused = until_limited(async || acme.owner.get("/auth/me").await).await;
    assert_limited(&refused, "organization", "q=30;w=60");
    assert_eq!(globex.owner.get("/auth/me").await.status, 200);
}

#[tokio::test]
async fn a_network_is_limited_whoever_asks_but_for_health() {
    let deployment = limited("AUTHV2_LIMITS__NETWORK_PER_MINUTE", "20").await;
    let (one, other) = (deployment.from(9, 1), deployment.from(9, 2));
    let begun = Instant::now();
    let answers = join_all((0..60).map(|_| get(&one, "/auth/me", "nonsense"))).await;
    let (judged, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    // One comes back every three seconds.
    let back = usize::try_from(begun.elapsed().as_secs() / 3 + 1).unwrap();
    assert!((20..=20 + back).contains(&judged.len()), "{}, {back} came back", judged.len());
    refused.into_iter().for_each(|answer| assert_limited(answer, "network", "q=20;w=60"));
    assert_eq!(get(&one, "/health/live", "").await.status, 200);
    assert_eq!(get(&other, "/auth/me", "nonsense").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_let_through_exactly_the_limit_and_never_go_without() {
    let test = "three_nodes_let_through_exactly_the_limit_and_never_go_without";
    let Some(nodes) = Nodes::start_or_skip(test, &Plan::three().redis(true)).await.unwrap() else { return };
    let apis = nodes.apis().unwrap();
    let acme = Organization::found(&apis[0], "acme", "ada").await;
    let keys = acme.path("/api-keys");
    let limit = json!({"requests": 100, "per_seconds": SLOW});
    let (together, alone) = (mint(&acme, limit.clone()).await, mint(&acme, limit).await);
    let mut passed = 0;
    for _ in 0..5 {
        passed += storm(&apis, &keys, &together, 64).await;
    }
    assert_eq!(passed, 100);
    nodes.strike(Backend::Redis, Fault::Kill).unwrap();
    assert_eq!(storm(&apis, &keys, &together, 64).await, 0, "what was used is not forgotten");
    let mut passed = 0;
    for _ in 0..5 {
        passed += storm(&apis, &keys, &alone, 64).await;
    }
    assert_eq!(passed, 75, "a quarter on each node");
}
