//! Proofs of possession on several nodes, and when a backend fails: none is good twice, and no outage lets one through.

use authv2_tests::{
    client::Api,
    nodes::{Backend, Fault, Nodes, Plan},
    postgres::Postgres,
};
use reqwest::Method;
use serde_json::json;

use super::{
    dpop_client::{Key, dpop, new_key, proof, sign_in_with},
    fixture::{ADA, PASSWORD, Tokens, assert_problem, quick, register, send, start},
};

/// The issuer of [`Plan::three`]: where clients reach all of its nodes.
const BASE: &str = "http://nodes.test";

/// How often one proof is taken, if it is sent to every node at once, several times.
async fn times_taken(nodes: &[Api], key: &Key, token: &str) -> usize {
    let made = proof(key, "GET", &format!("{BASE}/private"), Some(token));
    let requests = (0..nodes.len() * 6).map(|turn| {
        let request = nodes[turn % nodes.len()].request(Method::GET, "/private");
        send(request.header("authorization", format!("DPoP {token}")).header("dpop", &made))
    });
    let mut taken = 0;
    for answer in futures_util::future::join_all(requests).await {
        match answer.status {
            200 => taken += 1,
            _ => assert_problem(&answer, 401, "invalid_dpop_proof"),
        }
    }
    taken
}

async fn taken_once(test: &str, redis: bool) {
    let Some(nodes) = Nodes::start_or_skip(test, &Plan::three().redis(redis)).await.unwrap() else { return };
    let (apis, key) = (nodes.apis().unwrap(), new_key());
    register(&apis[0], ADA).await;
    let token = Tokens::of(&sign_in_with(&apis[0], &key, BASE, ADA).await).access;
    for _ in 0..4 {
        assert_eq!(times_taken(&apis, &key, &token).await, 1);
    }
    // One proof opens one session, wherever it is sent.
    let made = proof(&key, "POST", &format!("{BASE}/auth/login"), None);
    let sign_ins = apis.iter().map(|api| {
        let request = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
        send(request.header("dpop", &made))
    });
    let answers = futures_util::future::join_all(sign_ins).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    if redis {
        // What is known of used proofs is in the database: a Redis that comes back empty forgets none.
        let made = proof(&key, "GET", &format!("{BASE}/private"), Some(&token));
        let request = |api: &Api| {
            let request = api.request(Method::GET, "/private").header("authorization", format!("DPoP {token}"));
            send(request.header("dpop", &made))
        };
        assert_eq!(request(&apis[0]).await.status, 200);
        nodes.strike(Backend::Redis, Fault::Kill).unwrap();
        assert_problem(&request(&apis[1]).await, 401, "invalid_dpop_proof");
        nodes.heal(Backend::Redis, Fault::Kill).unwrap();
        assert_problem(&request(&apis[2]).await, 401, "invalid_dpop_proof");
        assert_eq!(times_taken(&apis, &key, &token).await, 1);
    }
}

#[tokio::test]
async fn a_proof_is_taken_once_by_all_nodes_together() {
    taken_once("a_proof_is_taken_once_by_all_nodes_together", false).await;
}

#[tokio::test]
async fn a_proof_is_taken_once_by_all_nodes_together_with_redis() {
    taken_once("a_proof_is_taken_once_by_all_nodes_together_with_redis", true).await;
}

#[tokio::test]
async fn an_outage_lets_no_proof_through() {
    let Some(postgres) = Postgres::start_own_or_skip("an_outage_lets_no_proof_through").unwrap() else { return };
    let database = postgres.fresh_database().await.unwrap();
    let deployment = start(quick().store(database.url()).with("AUTHV2_STORE__ACQUIRE_TIMEOUT", "1")).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let token = Tokens::of(&sign_in_with(api, &key, base, ADA).await).access;
    let call = || send(dpop(api, &key, Method::GET, base, "/private", &token));
    assert_eq!(call().await.status, 200);
    drop((database, postgres));
    // The session is at hand; whether the proof was used elsewhere is not.
    assert_problem(&call().await, 503, "unavailable");
}
