//! Nodes whose wall clocks are two minutes apart: they agree on everything, since the database says what time it is.

use std::time::{Duration, Instant};

use authv2_tests::{
    client::{Answer, Api},
    fuzz::Nonsense,
    nodes::{Nodes, Plan},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{begin, judge, load};

const PASSWORD: &str = "correct horse battery";
const CLOCKS: [i64; 3] = [-60, 0, 60];

async fn post(api: &Api, path: &str, token: &str, body: Value, status: u16) -> Answer {
    let answer = api.post(path, token, &body).await.unwrap();
    assert_eq!(answer.status, status, "{path}: {}", answer.text);
    answer
}

async fn sign_in(api: &Api) -> Answer {
    post(api, "/auth/login", "", json!({"email": "ada@example.org", "password": PASSWORD}), 200).await
}

async fn register(api: &Api) {
    post(api, "/auth/register", "", json!({"email": "ada@example.org", "password": PASSWORD}), 201).await;
}

/// How each node answers a request with this token.
async fn statuses(nodes: &[Api], token: &str) -> Vec<u16> {
    let answers = join_all(nodes.iter().map(|api| api.get("/private", token))).await;
    answers.into_iter().map(|answer| answer.unwrap().status).collect()
}

/// Waits until every node refuses it; when each of them first did.
async fn refused(nodes: &[Api], token: &str, patience: Duration) -> Vec<Duration> {
    let begin = Instant::now();
    join_all(nodes.iter().map(async |api| {
        loop {
            let asked = begin.elapsed();
            let answer = api.get("/private", token).await.unwrap();
            if answer.status == 401 {
                return asked;
            }
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert!(asked < patience, "still taken after {asked:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_other_clocks_agree_on_every_credential() {
    let test = "nodes_with_other_clocks_agree_on_every_credential";
    let plan = Plan::three().clocks(&CLOCKS);
    let Some(deployment) = Nodes::start_or_skip(test, &plan).await.unwrap() else { return };
    let nodes = deployment.apis().unwrap();
    register(&nodes[0]).await;
    for (number, node) in nodes.iter().enumerate() {
        let next = &nodes[(number + 1) % nodes.len()];
        let signed_in = sign_in(node).await;
        assert_eq!(statuses(&nodes, signed_in.string("/access_token")).await, [200; 3], "signed in by {number}");
        let refreshed = next.refresh(signed_in.string("/refresh_token")).await.unwrap();
        assert_eq!(refreshed.status, 200, "{}", refreshed.text);
        // The answer may have been lost: either node gives the same again.
        let again = node.refresh(signed_in.string("/refresh_token")).await.unwrap();
        assert_eq!(again.string("/refresh_token"), refreshed.string("/refresh_token"), "{}", again.text);
        let access = refreshed.string("/access_token");
        assert_eq!(statuses(&nodes, access).await, [200; 3], "refreshed after {number}");

        let slug = format!("org{number}");
        post(node, "/auth/orgs", access, json!({"slug": slug, "name": slug}), 201).await;
        let switched = post(next, "/auth/session/switch", access, json!({"organization": slug}), 200).await;
        assert_eq!(statuses(&nodes, switched.string("/access_token")).await, [200; 3], "switched after {number}");
        post(next, "/auth/logout", access, json!({}), 204).await;
        refused(&nodes, access, Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_expires_on_all_nodes_at_once() {
    let test = "a_token_expires_on_all_nodes_at_once";
    let plan = Plan::three().clocks(&CLOCKS).with("AUTHV2_TOKENS__ACCESS_TTL", "2");
    let Some(deployment) = Nodes::start_or_skip(test, &plan).await.unwrap() else { return };
    let nodes = deployment.apis().unwrap();
    register(&nodes[0]).await;
    for node in &nodes {
        let signed_in = sign_in(node).await;
        let times = refused(&nodes, signed_in.string("/access_token"), Duration::from_secs(6)).await;
        // `exp` counts whole seconds.
        for time in times {
            assert!((Duration::from_millis(700)..Duration::from_millis(3500)).contains(&time), "{time:?}");
        }
        assert_eq!(node.refresh(signed_in.string("/refresh_token")).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_right_after_ending_all_sessions_lives_and_the_one_before_does_not() {
    let test = "a_sign_in_right_after_ending_all_sessions_lives_and_the_one_before_does_not";
    let plan = Plan::three().clocks(&CLOCKS);
    let Some(deployment) = Nodes::start_or_skip(test, &plan).await.unwrap() else { return };
    let nodes = deployment.apis().unwrap();
    register(&nodes[0]).await;
    // Each order of three clocks: who signs in first, who ends all, who signs in next.
    for (first, ends, next) in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)] {
        let before = sign_in(&nodes[first]).await;
        let by = sign_in(&nodes[ends]).await;
        let ended = post(&nodes[ends], "/auth/logout-all", by.string("/access_token"), json!({}), 200).await;
        assert!(ended.json["revoked"].as_u64().unwrap() >= 2, "{}", ended.text);
        let after = sign_in(&nodes[next]).await;
        for dead in [&before, &by] {
            refused(&nodes, dead.string("/access_token"), Duration::from_secs(1)).await;
            assert_eq!(nodes[next].refresh(dead.string("/refresh_token")).await.unwrap().status, 401);
        }
        assert_eq!(statuses(&nodes, after.string("/access_token")).await, [200; 3], "{first} {ends} {next}");
        assert_eq!(nodes[first].refresh(after.string("/refresh_token")).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_shows_no_difference_between_clocks() {
    let test = "a_load_shows_no_difference_between_clocks";
    let plan = Plan::three().redis(true).clocks(&CLOCKS);
    let Some(nodes) = Nodes::start_or_skip(test, &plan).await.unwrap() else { return };
    let load = begin(&nodes, load(Nonsense::from_environment().seed())).await;
    while load.requests() < 500 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    judge(&nodes, load).await;
}
