//! Second factors on three nodes of one PostgreSQL: what is used on one is used on all.

use authv2_tests::{
    client::{Answer, Api},
    postgres::Postgres,
    server::Server,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{
    fixture::{ADA, Browser, PASSWORD, assert_problem, eventually, get, post, quick, register, send, set_cookie},
    mfa_client::{begin, sign_up_with_mfa, step_up, verify, verify_recovery},
};

/// Three servers on one database, and a client of each.
struct Three {
    apis: Vec<Api>,
    // Ended before the database is dropped.
    _servers: Vec<Server>,
    _database: authv2_tests::postgres::Database,
}

async fn three() -> Three {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let servers: Vec<Server> = (0..3).map(|_| quick().store(database.url()).start().unwrap()).collect();
    let apis = servers.iter().map(|server| Api::new(server.url()).unwrap()).collect();
    Three { apis, _servers: servers, _database: database }
}

fn winners(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test]
async fn a_code_used_on_one_node_is_used_on_all() {
    let nodes = three().await;
    let [one, two, three] = nodes.apis.as_slice() else { panic!("three nodes") };
    let (mut authenticator, _) = sign_up_with_mfa(one, ADA).await;
    let code = authenticator.next_code();
    let token = begin(two, ADA).await;
    assert_eq!(verify(three, &token, &code).await.status, 200, "a sign-in goes on on any node");
    for node in [one, two, three] {
        assert_problem(&verify(node, &token, &code).await, 401, "invalid_token");
        let other = begin(node, ADA).await;
        assert_problem(&verify(node, &other, &code).await, 401, "invalid_code");
    }
    let recovery = authenticator.recovery_code();
    let token = begin(one, ADA).await;
    assert_eq!(verify_recovery(two, &token, &recovery).await.status, 200);
    let token = begin(two, ADA).await;
    assert_problem(&verify_recovery(three, &token, &recovery).await, 401, "invalid_code");
}

#[tokio::test]
async fn of_many_uses_on_all_nodes_at_once_one_wins() {
    let nodes = three().await;
    let (mut authenticator, ada) = sign_up_with_mfa(&nodes.apis[0], ADA).await;
    let (token, code) = (begin(&nodes.apis[0], ADA).await, authenticator.recovery_code());
    let answers = join_all(nodes.apis.iter().map(|api| verify_recovery(api, &token, &code))).await;
    assert_eq!(winners(&answers), 1, "one token and one recovery code");
    let tokens = join_all(nodes.apis.iter().map(|api| begin(api, ADA))).await;
    let code = authenticator.next_code();
    let answers = join_all(nodes.apis.iter().zip(&tokens).map(|(api, token)| verify(api, token, &code))).await;
    assert_eq!(winners(&answers), 1, "a token each and one code");
    let code = json!({"code": authenticator.recovery_code()});
    let answers = join_all(nodes.apis.iter().map(|api| step_up(api, &ada.access, code.clone()))).await;
    assert_eq!(winners(&answers), 1, "one session and one recovery code");
}

#[tokio::test]
async fn five_codes_are_tried_with_a_token_on_all_nodes_together() {
    let nodes = three().await;
    let (authenticator, _) = sign_up_with_mfa(&nodes.apis[0], ADA).await;
    let token = begin(&nodes.apis[0], ADA).await;
    let wrong = authenticator.wrong_code();
    let tries = nodes.apis.iter().cycle().take(9);
    let answers = join_all(tries.map(|api| verify(api, &token, &wrong))).await;
    let codes: Vec<&str> = answers.iter().map(Answer::code).collect();
    assert_eq!(codes.iter().filter(|code| **code == "invalid_code").count(), 5, "{codes:?}");
    for api in &nodes.apis {
        assert_problem(&verify(api, &token, &authenticator.recovery_codes[0]).await, 401, "invalid_token");
    }
}

#[tokio::test]
async fn what_is_enrolled_or_proven_on_one_node_holds_on_the_others() {
    let nodes = three().await;
    let [one, two, three] = nodes.apis.as_slice() else { panic!("three nodes") };
    let (mut authenticator, ada) = sign_up_with_mfa(one, ADA).await;
    eventually(async || get(two, "/auth/me", &ada.access).await.json["user"]["mfa_enabled"] == true).await;
    let stepped = step_up(two, &ada.access, json!({"code": authenticator.next_code()})).await;
    assert_eq!(stepped.status, 200, "{}", stepped.text);
    // At once: the new token loses nothing on a node that has yet to hear of it, and the old one gains nothing.
    let new = get(three, "/auth/me", stepped.string("/access_token")).await;
    assert_eq!(new.string("/auth/acr"), "aal2", "{}", new.text);
    let old = get(three, "/auth/me", &ada.access).await;
    assert_eq!(old.string("/auth/acr"), "aal1", "{}", old.text);
    let body = json!({"password": PASSWORD, "code": authenticator.recovery_code()});
    assert_eq!(post(three, "/auth/mfa/totp/delete", &ada.access, body).await.status, 204);
    assert_eq!(super::fixture::login(one, ADA, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn another_cookie_is_good_on_every_node_at_once() {
    let nodes = three().await;
    let [one, two, three] = nodes.apis.as_slice() else { panic!("three nodes") };
    register(one, ADA).await;
    let (mut browser, _) = Browser::sign_in(one, ADA).await;
    for _ in 0..5 {
        for node in [one, two, three] {
            let there = Browser { api: node.clone(), ..browser.clone() };
            assert_eq!(there.get("/auth/me").await.status, 200, "every node has it at hand");
        }
        let body = json!({"password": PASSWORD});
        let stepped = send(browser.page_request(Method::POST, "/auth/mfa/step-up").json(&body)).await;
        assert_eq!(stepped.status, 200, "{}", stepped.text);
        browser.session = set_cookie(&stepped, "authv2").unwrap().0;
        for node in [two, three, one] {
            let there = Browser { api: node.clone(), ..browser.clone() };
            let me = there.get("/auth/me").await;
            assert_eq!(me.status, 200, "{}", me.text);
        }
    }
}
